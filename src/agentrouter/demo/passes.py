"""One pass over all tasks under one policy, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from agentrouter.demo.agent import Agent, StepFailedError
from agentrouter.demo.tasks import Task, TaskVerdict
from agentrouter.router import Router
from agentrouter.types import Attempt, AttemptKind, Candidate, StepRecord, Tier


class Watcher(Protocol):
    """Who is told what happens while it happens."""

    def task_started(self, task: Task) -> None:
        """Hear that a task begins."""
        ...

    def step_done(self, record: StepRecord) -> None:
        """Hear of a finished step."""
        ...

    def task_done(self, result: TaskResult) -> None:
        """Hear of a finished task."""
        ...


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """One task's way and end."""

    name: str
    verdict: TaskVerdict
    records: tuple[StepRecord, ...]
    seconds: float
    broken: str = ""
    """Why a step got no answer at all; empty: the task came to its end."""

    @property
    def cost_nusd(self) -> int:
        """What the task cost, nano-dollars."""
        return sum(record.cost_nusd for record in self.records)


class PassResult(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks under one policy."""

    policy: str
    tasks: tuple[TaskResult, ...]
    seconds: float

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """All steps in order."""
        return tuple(record for task in self.tasks for record in task.records)

    @property
    def cost_nusd(self) -> int:
        """What the pass cost, nano-dollars."""
        return sum(task.cost_nusd for task in self.tasks)

    @property
    def solved(self) -> int:
        """How many tasks ended right."""
        return sum(task.verdict.solved for task in self.tasks)

    @property
    def broken(self) -> tuple[str, ...]:
        """What broke, as against what was merely got wrong."""
        return tuple(f"{task.name}: {task.broken}" for task in self.tasks if task.broken)


class BillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the bill; the rows of a breakdown add up to the whole."""

    key: str
    steps: int = 0
    calls: int = 0
    escalations: int = 0
    new_tokens: int = 0
    """Input tokens that were computed."""
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0


async def run_pass(router: Router, tasks: Sequence[Task], watcher: Watcher) -> PassResult:
    """Run every task, each a trajectory of its own. The policy is the router's."""
    began = time.perf_counter()
    results = []
    for task in tasks:
        watcher.task_started(task)
        result = await _run_task(router, task, watcher)
        watcher.task_done(result)
        results.append(result)
    return PassResult(policy=router.policy.name, tasks=tuple(results), seconds=time.perf_counter() - began)


async def _run_task(router: Router, task: Task, watcher: Watcher) -> TaskResult:
    began = time.perf_counter()
    records: list[StepRecord] = []

    def booked(record: StepRecord) -> None:
        records.append(record)
        watcher.step_done(record)

    broken = ""
    try:
        verdict = await task.run(Agent(router, task.name, task.system, booked))
    except StepFailedError as error:
        broken = str(error)
        verdict = TaskVerdict(solved=False, expected="an answer", got=broken)
    return TaskResult(
        name=task.name,
        verdict=verdict,
        records=tuple(records),
        seconds=time.perf_counter() - began,
        broken=broken,
    )


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of the comparison with simulated prompt caches, nano-dollars: only like is compared with like."""

    routed_nusd: int
    """The answers served, with simulated caches, and the rejected answers as they were paid."""
    frontier_nusd: int


def rejected_nusd(records: Iterable[StepRecord]) -> int:
    """Return what the answers cost that were not served."""
    total = 0
    for record in records:
        for attempt in record.attempts:
            if record.served is None or attempt.candidate.name != record.served.name:
                total += attempt.cost.total + sum(verdict.cost_nusd for verdict in attempt.outcome.verdicts)
    return total


def by_role(records: Iterable[StepRecord]) -> tuple[BillRow, ...]:
    """Return the bill by role of the step, in the order in which roles first appear."""
    return _rows(records, lambda record, candidate: record.step.role)


def by_tier(records: Iterable[StepRecord]) -> tuple[BillRow, ...]:
    """Return the bill by tier called, minimal first; a step counts in each tier that it called."""
    rows = _rows(records, lambda record, candidate: candidate.tier.label)
    return tuple(sorted(rows, key=lambda row: Tier.parse(row.key)))


def whole(records: Iterable[StepRecord]) -> BillRow:
    """Return the whole bill as one row."""
    rows = _rows(records, lambda record, candidate: "total")
    return rows[0] if rows else BillRow(key="total")


def _rows(records: Iterable[StepRecord], key_of: Callable[[StepRecord, Candidate], str]) -> tuple[BillRow, ...]:
    rows: dict[str, BillRow] = {}
    for record in records:
        seen: set[str] = set()
        for attempt in record.attempts:
            key = key_of(record, attempt.candidate)
            rows[key] = _plus(rows.get(key, BillRow(key=key)), attempt, new_step=key not in seen)
            seen.add(key)
    return tuple(rows.values())


def _plus(row: BillRow, attempt: Attempt, *, new_step: bool) -> BillRow:
    usage = attempt.outcome.usage
    checks = sum(verdict.cost_nusd for verdict in attempt.outcome.verdicts)
    return BillRow(
        key=row.key,
        steps=row.steps + new_step,
        calls=row.calls + 1,
        escalations=row.escalations + (attempt.kind is AttemptKind.ESCALATION),
        new_tokens=row.new_tokens + usage.input_total - usage.cache_read,
        cached_tokens=row.cached_tokens + usage.cache_read,
        output_tokens=row.output_tokens + usage.output,
        cost_nusd=row.cost_nusd + attempt.cost.total + checks,
    )
