"""Recorded steps for the tests of replay, audit and report, with the built-in example catalogue.

Its prices in nano-dollars per token (fresh, cache read, cache write, output): minimal 100, 10, 125, 400; efficient
300, 30, 375, 1,200; mid 1,000, 100, 1,250, 5,000; frontier 5,000, 500, 6,250, 25,000. A cache lives 300 s.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentrouter.catalog import builtin_catalog
from agentrouter.lab.replay import ReplayOptions
from agentrouter.lab.trace import ModelOutcome, RecordedStep
from agentrouter.trajectory import World
from agentrouter.types import Status, Step, TokenCounts, Usage

NOON = 1_700_000_000.0
WORLD = World(catalog=builtin_catalog())
OPTIONS = ReplayOptions(resamples=200)


def recorded(
    role: str = "plan",
    *,
    trajectory: str = "t",
    index: int = 0,
    usage: Usage | None = None,
    model: str = "example/frontier",
    at: float = NOON,
    cost: int | None = None,
    parent: str = "",
    prefix: str = "",
    status: Status = Status.OK,
    success: float | None = None,
    tokens: TokenCounts | None = None,
    alternatives: Sequence[ModelOutcome] = (),
    provider: str = "",
) -> RecordedStep:
    """Return one recorded step."""
    total = usage.input_total if usage else 0
    output = usage.output if usage else 0
    step = Step(
        id=f"{trajectory}-{index}",
        trajectory_id=trajectory,
        index=index,
        parent_id=parent,
        role=role,
        prefix_hash=prefix,
        tokens=tokens or TokenCounts(input=total, output=output, estimated=False),
    )
    return RecordedStep(
        step=step,
        model=model,
        provider=provider,
        usage=usage,
        cost_nusd=cost,
        status=status,
        success=success,
        started_at=at,
        alternatives=tuple(alternatives),
    )


def four_steps(
    roles: Sequence[str] = ("plan", "execute", "execute", "plan"), gap_s: float = 50.0
) -> list[RecordedStep]:
    """Return a trajectory recorded on the frontier, its usage exactly what the cache model gives."""
    usages = (
        Usage(cache_write=1_000, output=100),
        Usage(cache_read=1_000, cache_write=500, output=100),
        Usage(cache_read=1_500, cache_write=500, output=100),
        Usage(cache_read=2_000, cache_write=500, output=100),
    )
    return [
        recorded(role, index=index, usage=usage, at=NOON + gap_s * index)
        for index, (role, usage) in enumerate(zip(roles, usages, strict=True))
    ]
