"""TwinRouterBench's question bank (arXiv 2605.18859): real agent prefixes with the cheapest sufficient tier.

Rows of ``question_bank.jsonl``: id, benchmark, instance_id, step_index (from 1), total_steps, messages, functions,
target_tier (low, mid, mid_high, high) and target_tier_id (0 to 3). ``total_steps`` is not known when a step is routed
and is never handed on. The label was verified by running: tiers from the target upwards are taken to pass, those
below to fail. No row names a model, a usage (unless it carries token counts) or a cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import Seen, Tokens, given
from agentrouter.lab.trace import ModelOutcome, RecordedStep, TraceReport
from agentrouter.types import TokenCounts, Usage
from agentrouter.wire import step_from_messages

TIERS = ("low", "mid", "mid_high", "high")
"""The bank's tiers, ours from minimal to frontier; the outcomes are named ``tier:low`` and so on, as in step tables."""


class _Row(msgspec.Struct, kw_only=True):
    id: str
    messages: msgspec.Raw
    benchmark: str = ""
    instance_id: str | None = None
    step_index: Tokens | None = None
    functions: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    target_tier: str | None = None
    target_tier_id: int | None = None
    input_tokens: Tokens | None = None
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None


_DECODE_ROW = msgspec.json.Decoder(_Row)


class TwinRouterSource:
    """TwinRouterBench question banks; one instance reads the files of one import."""

    name = "twinrouter"

    def __init__(self) -> None:
        self._seen = Seen()

    def sniff(self, path: Path, head: bytes) -> bool:
        """Rows with a target tier."""
        if b'"target_tier' not in head and b'"instance_id"' not in head:
            return False
        keys = lines.top_keys(head)
        # The long prompts may hide the label behind the head's end; the other names come before them.
        return bool({b"target_tier", b"target_tier_id"} & keys) or {b"benchmark", b"instance_id", b"messages"} <= keys

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the rows in the order of the bank."""
        for number, row in lines.decoded(path, report, _DECODE_ROW.decode):
            try:
                recorded = _recorded(row)
            except (InputError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, number))
                continue
            if self._seen.again(row.id):
                report.skipped["duplicate"] += 1
                continue
            yield report.saw(recorded)


def _recorded(row: _Row) -> RecordedStep:
    target = _target(row)
    index = 0 if row.step_index is None else max(0, row.step_index - 1)
    step = step_from_messages(
        bytes(row.messages),
        given(row.functions) or given(row.tools) or None,
        id=row.id,
        trajectory_id=f"{row.benchmark}/{row.instance_id or row.id}",
        step_index=index,
    )
    read = row.input_tokens if row.input_tokens is not None else row.prompt_tokens
    written = row.output_tokens if row.output_tokens is not None else row.completion_tokens
    usage = None
    if read is not None:
        usage = Usage(fresh_input=read, output=written or 0, estimated=written is None)
        output = step.tokens.output if written is None else written
        tokens = TokenCounts(input=read, output=output, estimated=written is None)
        step = msgspec.structs.replace(step, tokens=tokens)
    lacks = ["model", "cost", "time", "role", *(["usage"] if usage is None else ["cache"])]
    if row.instance_id is None:
        lacks.append("trajectory")
    return RecordedStep(
        step=step,
        model="",
        label_level="step",
        alternatives=tuple(
            ModelOutcome(model=f"tier:{tier}", success=float(rank >= target), usage=usage)
            for rank, tier in enumerate(TIERS)
        ),
        lacks=tuple(lacks),
    )


def _target(row: _Row) -> int:
    """Rank of the cheapest sufficient tier; the two label fields must agree."""
    if row.target_tier is None and row.target_tier_id is None:
        raise InputError("expected target_tier or target_tier_id", field="target_tier")
    if row.target_tier is not None and row.target_tier not in TIERS:
        raise InputError(f"expected one of {', '.join(TIERS)}, got {row.target_tier!r}", field="target_tier")
    if row.target_tier_id is not None and not 0 <= row.target_tier_id < len(TIERS):
        raise InputError(f"expected 0 to 3, got {row.target_tier_id}", field="target_tier_id")
    if row.target_tier is None:
        return row.target_tier_id or 0
    rank = TIERS.index(row.target_tier)
    if row.target_tier_id is not None and row.target_tier_id != rank:
        raise InputError(f"{row.target_tier!r} and {row.target_tier_id} contradict each other", field="target_tier_id")
    return rank
