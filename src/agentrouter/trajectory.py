"""A trajectory as it unfolds: the state between two steps, the context of the next one, the fold over a finished one.

Law: pure. Library, gateway and replay all go through ``prepare`` and ``advance``, so that the same step meets the same
context in all three.
"""

from __future__ import annotations

import msgspec

from agentrouter import bill, features
from agentrouter.catalog import Catalog
from agentrouter.eligibility import HardRules, eligible
from agentrouter.errors import NoCandidateError
from agentrouter.flow import FlowSettings, draw_for
from agentrouter.types import (
    Budget,
    CacheEntry,
    Candidate,
    Context,
    History,
    PastStep,
    Status,
    Step,
    StepRecord,
    Tier,
)

Lineage = dict[str, CacheEntry]

KEPT_LINEAGES = 4
"""Prompt heads (tools and system prompt) whose caches are followed at once; a run's title, main and helper calls share
one trajectory but not one prompt."""

SHRINK_TOLERANCE = 1.02
"""A prompt shorter than the cached prefix by more than this was rewritten (compaction): its cache is cold."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all steps of a run: models, rules, settings, health, budget."""

    catalog: Catalog
    rules: HardRules = HardRules()
    settings: FlowSettings = FlowSettings()
    unhealthy: dict[str, str] = {}
    trajectory_budget_nusd: int | None = None


class TrajectoryState(msgspec.Struct, frozen=True, kw_only=True):
    """What is carried from one step of a trajectory to the next."""

    history: History = History()
    lineages: dict[str, Lineage] = {}
    """Prompt-head fingerprint -> prompt caches by candidate name; newest last."""


def caches_for(step: Step, state: TrajectoryState) -> Lineage:
    """Return the prompt caches that still match the step's prompt, by candidate name."""
    lineage = state.lineages.get(step.prefix_hash)
    if not lineage:
        return {}
    longest = step.tokens.input * SHRINK_TOLERANCE
    for entry in lineage.values():
        if entry.tokens > longest:
            return {name: kept for name, kept in lineage.items() if kept.tokens <= longest}
    return lineage


def prepare(step: Step, state: TrajectoryState, world: World, now: float, *, budget_nusd: int | None = None) -> Context:
    """Build the context of the step's first decision.

    Args:
        step: the step.
        state: the trajectory so far.
        world: models, rules and settings.
        now: seconds since the epoch.
        budget_nusd: what may still be spent by whoever pays; the tighter one of this and the trajectory budget counts.

    Raises:
        NoCandidateError: the hard rules leave no candidate.
    """
    caches = caches_for(step, state)
    budget = _budget(state.history, world, budget_nusd)
    legal, excluded = eligible(
        step,
        world.catalog.candidates,
        world.rules,
        unhealthy=world.unhealthy,
        budget=budget,
        caches=caches,
        now=now,
    )
    if not legal:
        raise NoCandidateError(step.id, tuple((item.candidate, item.rule, item.detail) for item in excluded))
    return Context(
        actions=legal,
        features=features.extract(step, state.history),
        default=nearest_tier(legal, world.settings.default_tier),
        history=state.history,
        excluded=excluded,
        budget=budget,
        caches=caches,
        draw=draw_for(world.settings.seed, step.id, 0),
        now=now,
    )


def advance(state: TrajectoryState, record: StepRecord, now: float) -> TrajectoryState:
    """Fold one finished step into the state: history, and the caches that its attempts warmed."""
    step = record.step
    served = record.served
    lineages = state.lineages
    if record.attempts:
        lineage = dict(caches_for(step, state))
        for attempt in record.attempts:
            if attempt.outcome.usage.input_total or attempt.outcome.status is Status.OK:
                name = attempt.candidate.name
                entry = bill.cache_after(attempt.candidate, step.tokens, lineage.get(name), now)
                if entry is None:
                    lineage.pop(name, None)
                else:
                    lineage[name] = entry
        lineages = {key: value for key, value in lineages.items() if key != step.prefix_hash}
        if len(lineages) >= KEPT_LINEAGES:
            del lineages[next(iter(lineages))]
        lineages[step.prefix_hash] = lineage
    last = served or (record.attempts[-1].candidate if record.attempts else None)
    history = state.history.after(
        PastStep(
            index=step.index,
            role=step.role,
            tier=last.tier if last is not None else Tier.FRONTIER,
            candidate=last.name if last is not None else "",
            status=record.status,
            escalated=record.escalated,
            cost_nusd=record.cost_nusd,
            output_tokens=record.attempts[-1].outcome.usage.output if record.attempts else 0,
            input_tokens=step.tokens.input,
        )
    )
    return TrajectoryState(history=history, lineages=lineages)


def nearest_tier(candidates: tuple[Candidate, ...], tier: Tier) -> Candidate:
    """Return the first candidate of ``tier``, else of the nearest tier above, else of the nearest below."""
    best = candidates[0]
    best_key = (9, 9)
    for candidate in candidates:
        distance = candidate.tier - tier
        key = (0, distance) if distance >= 0 else (1, -distance)
        if key < best_key:
            best, best_key = candidate, key
    return best


def _budget(history: History, world: World, budget_nusd: int | None) -> Budget:
    limit = world.trajectory_budget_nusd
    if limit is None:
        return Budget(remaining_nusd=budget_nusd, scope="caller") if budget_nusd is not None else Budget()
    left = limit - history.spend_nusd
    if budget_nusd is not None and budget_nusd < left:
        return Budget(remaining_nusd=budget_nusd, scope="caller")
    return Budget(remaining_nusd=left, scope="trajectory")
