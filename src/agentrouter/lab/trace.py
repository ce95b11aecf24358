"""Recorded steps, as every trace reader yields them and the replay consumes them.

Law: data only; a reader lives in ``lab/sources/``, one file a format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from agentrouter.types import Status, Step, Usage

LISTED_PROBLEMS = 100
"""How many malformed lines a report lists one by one; all are counted."""


class ModelOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did on a step, in sources that have several models on the same step."""

    model: str
    success: float | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    latency_ms: float | None = None


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a trace: the step as it was visible before the call, and what was recorded after it."""

    step: Step
    model: str
    """Name of the model as recorded (``claude-opus-4-6-20260205``, ``openai/gpt-5``, ...); empty: unknown."""
    provider: str = ""
    usage: Usage | None = None
    cost_nusd: int | None = None
    """The invoice's figure, if the trace has one."""
    status: Status = Status.OK
    success: float | None = None
    """Whether the step (or its task, see ``label_level``) was judged a success, 0..1."""
    label_level: str = ""
    latency_ms: float = 0.0
    started_at: float = 0.0
    """Seconds since the epoch; 0: unknown."""
    alternatives: tuple[ModelOutcome, ...] = ()
    lacks: tuple[str, ...] = ()
    """What this record did not say: ``usage``, ``cost``, ``messages``, ``time``, ``model``, ``role``, ``trajectory``,
    ``cache`` (usage without cached counts), ``system`` (the system prompt), ``tools``."""


class Problem(msgspec.Struct, frozen=True):
    """One malformed place of a trace."""

    file: str
    line: int
    field: str
    message: str


class TraceReport:
    """What a reader met: filled while reading, printed with every result so that nothing is dropped silently."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.format = ""
        self.lines = 0
        self.steps = 0
        self.skipped: Counter[str] = Counter()
        """Well-formed records that are not model calls, by kind (``tool``, ``summary``, ...)."""
        self.malformed = 0
        self.problems: list[Problem] = []
        self.lacks: Counter[str] = Counter()

    def bad(self, problem: Problem) -> None:
        """Count a malformed place, and list it while the list is short."""
        self.malformed += 1
        if len(self.problems) < LISTED_PROBLEMS:
            self.problems.append(problem)

    def saw(self, recorded: RecordedStep) -> RecordedStep:
        """Count a step and what it lacks; returns it unchanged."""
        self.steps += 1
        self.lacks.update(recorded.lacks)
        return recorded


class DataSource(Protocol):
    """One trace format."""

    name: str

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether a file that starts with ``head`` (up to 64 kB) is of this format."""
        ...

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the steps in the order of the file, streaming; steps of several trajectories may interleave."""
        ...
