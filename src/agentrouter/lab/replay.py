"""Replay of recorded steps under a policy: the bill before and after, no model called.

Law: one pass, streaming; it drives the same ``prepare``, ``route_flow`` and ``advance`` as serving does and only
answers the calls from the record instead of a provider. What is computed and assumed: docs/replay-method.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

import msgspec

from agentrouter import bill
from agentrouter.catalog import Catalog
from agentrouter.errors import NoCandidateError
from agentrouter.features import infer_role
from agentrouter.flow import route_flow
from agentrouter.lab.assumptions import RunFacts
from agentrouter.lab.intervals import pool_of
from agentrouter.lab.recorded_models import RecordedModels, frontier_of, unlimited
from agentrouter.lab.replay_booking import (
    ABSURD,
    PricedStep,
    Verdicts,
    answer,
    figures,
    judge,
    price_step,
    spend,
    tokens_of,
    unusable,
)
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.replay_summary import summarise
from agentrouter.lab.tally import Cell, Tally
from agentrouter.lab.trace import ModelOutcome, RecordedStep, TraceReport
from agentrouter.policies import Policy, policy_hash
from agentrouter.prices import PriceOverride
from agentrouter.trajectory import KEPT_LINEAGES, SHRINK_TOLERANCE, Lineage, TrajectoryState, World, advance, prepare
from agentrouter.types import CacheEntry, CallKind, Candidate, Pins, Step, StepFeatures, StepRecord, TokenCounts

_UNKNOWN_TIER = 4
_SECONDS_PER_DAY = 86_400


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to replay."""

    seed: int = 0
    resamples: int = 1_000
    confidence: float = 0.95
    step_gap_s: float = 10.0
    """Assumed time from one step to the next where a trace has no times."""
    output_factors: tuple[float, float] = (0.5, 2.0)
    """How much shorter or longer another model's answer may be than the recorded one (an assumption)."""
    live_trajectories: int = 20_000
    """Trajectories whose state is kept; beyond it the one idle longest is dropped and would restart cold."""
    top: int = 10
    """Trajectories listed."""
    frontier: str = ""
    """Candidate of the frontier-only baseline; empty: the first of the catalogue's highest tier."""
    price_date: date | None = None
    """Date for list prices of models outside the catalogue where a step has no time; None: today (UTC)."""
    overrides: tuple[PriceOverride, ...] = ()
    """Rows of the price override table."""
    split_subagents: bool = False
    """Whether a sub-agent's steps make a role of their own (``<role> (sub-agent)``)."""
    command: str = ""
    """What the user typed, for the page."""


def replay(
    steps: Iterable[RecordedStep],
    policy: Policy,
    world: World,
    options: ReplayOptions | None = None,
    trace: TraceReport | None = None,
) -> ReplayReport:
    """Replay ``steps`` under ``policy`` and report the bills.

    Args:
        steps: recorded steps, each trajectory's in order; trajectories may interleave.
        policy: what decides. Under ``recorded`` the policy's bill is the recorded bill to the nano-dollar.
        world: catalogue, hard rules and flow settings, as in serving.
        options: seed, resamples, assumptions.
        trace: what the reader met; read after the last step, for the report.

    Raises:
        InputError: a reader's error, a frontier baseline that is not in the catalogue, or an empty catalogue.
    """
    engine = Replay(policy, world, options)
    for recorded in steps:
        engine.feed(recorded)
    return engine.report(trace)


class _Live:
    """What is carried from one step of a trajectory to the next: the policy's state, and the other plans' caches."""

    __slots__ = ("count", "frontier", "last_policy", "last_recorded", "now", "recorded", "row", "state")

    def __init__(self, row: int) -> None:
        self.row = row
        self.state = TrajectoryState()
        self.recorded: dict[str, Lineage] = {}
        self.frontier: dict[str, Lineage] = {}
        self.count = 0
        self.now = 0.0
        self.last_recorded = ""
        self.last_policy = ""


class Replay:
    """One replay under way; feed it steps, then ask for the report. ``tally`` may be merged with other shards'.

    Args:
        policy: what decides.
        world: catalogue, hard rules and flow settings.
        options: how to replay.
        follows: for which steps (given their role's name in the report) the record is followed instead: the one legal
            candidate is the recorded model, and no rule bars it. Empty: for all under ``recorded``, else for none.
    """

    def __init__(
        self,
        policy: Policy,
        world: World,
        options: ReplayOptions | None = None,
        follows: Callable[[str], bool] | None = None,
    ) -> None:
        self.policy, self.world, self.options = policy, world, options or ReplayOptions()
        self.tally = Tally()
        self.frontier = frontier_of(world.catalog, self.options.frontier)
        self.models = RecordedModels(world.catalog, self.options.price_date, self.options.overrides)
        self.by_role: Tally | None = None
        """Set by the audit: sums by role and pool of tasks, for an interval of each role's saving."""
        self._follows = follows
        self._identity = policy.name == "recorded"
        self._worlds: dict[str, World] = {}
        self._live: dict[str, _Live] = {}
        self._dropped: set[int] = set()

    def feed(self, recorded: RecordedStep) -> PricedStep | None:
        """Replay one step; returns its figures as recorded, None if it is in no bill."""
        step = recorded.step
        self.tally.counts["steps"] += 1
        live = self._trajectory(step)
        now = self._clock(live, recorded)
        tokens = tokens_of(recorded)
        candidate = self.models.find(recorded.provider, recorded.model, recorded.started_at)
        reason = unusable(recorded, tokens, candidate)
        if reason:
            self._leave_out(recorded, tokens, reason)
        if tokens is None or reason == ABSURD:
            return None
        follow = self._identity or (self._follows is not None and self._follows(self.role_of(step)))
        step = _completed(step, tokens, candidate, follow=follow)
        frontier = self.frontier
        # A step whose model is unknown leaves the recorded plan's caches as they are, as it does the identity policy's.
        recorded_caches = _lineage(live.recorded, step) if candidate is not None else {}
        frontier_caches = _lineage(live.frontier, step)
        entries = (recorded_caches.get(candidate.name) if candidate else None, frontier_caches.get(frontier.name))
        priced = price_step(recorded, step, candidate, frontier, entries, now)
        world = self._world(candidate, follow=follow)
        record, caches = self._drive(recorded, step, live, priced, now, world) if world is not None else (None, {})
        if not reason:
            self._book(recorded, live, priced, record, caches, now)
        if candidate is not None:
            _warm(recorded_caches, candidate, step, now)
            live.last_recorded = candidate.name
        _warm(frontier_caches, frontier, step, now)
        if record is not None:
            live.state = advance(live.state, record, now)
            live.last_policy = record.served.name if record.served is not None else ""
        live.count += 1
        return None if reason else priced

    def role_of(self, step: Step, features: StepFeatures | None = None) -> str:
        """Return the name under which the report counts a step's role: as given, else as inferred."""
        role = step.role
        if role in ("", "unknown"):
            role = features.role.role if features is not None else infer_role(step)
        return subagent_role(step, role) if self.options.split_subagents else role

    def report(self, trace: TraceReport | None = None) -> ReplayReport:
        """Return the report over all steps fed so far."""
        options = self.options
        facts = RunFacts(
            command=options.command,
            policy=self.policy.name,
            policy_hash=policy_hash(self.policy),
            frontier=self.frontier.name,
            seed=options.seed,
            resamples=options.resamples,
            confidence=options.confidence,
            output_factors=options.output_factors,
            step_gap_s=options.step_gap_s,
            top=options.top,
        )
        return summarise(self.tally, facts, trace)

    # --- state ----------------------------------------------------------------------------------------------------

    def _trajectory(self, step: Step) -> _Live:
        lives = self._live
        live = lives.pop(step.trajectory_id, None)
        if live is None:
            row = self.tally.trajectory(step.trajectory_id, step.parent_id)
            live = _Live(row)
            if row in self._dropped:
                self._dropped.discard(row)
                self.tally.counts["returned"] += 1
            if len(lives) >= self.options.live_trajectories:
                oldest = next(iter(lives))
                self._dropped.add(lives.pop(oldest).row)
        lives[step.trajectory_id] = live  # re-inserted, so that the first one is the one idle longest
        return live

    def _clock(self, live: _Live, recorded: RecordedStep) -> float:
        """Return the step's time; never before the one of the step before it."""
        started = recorded.started_at
        if not started > 0.0 or started < live.now:
            self.tally.counts["clock"] += 1
            started = live.now + self.options.step_gap_s
        live.now = started
        return started

    # --- the policy -----------------------------------------------------------------------------------------------

    def _drive(
        self, recorded: RecordedStep, step: Step, live: _Live, priced: PricedStep, now: float, world: World
    ) -> tuple[StepRecord | None, dict[str, CacheEntry]]:
        """Drive the serving flow over the step; None: no legal candidate."""
        try:
            context = prepare(step, live.state, world, now)
        except NoCandidateError as error:
            self.tally.counts["kept"] += 1
            self.tally.kept_rules.update({rule for _, rule, _ in error.reasons})
            return None, {}
        flow = route_flow(self.policy, step, context, world.settings)
        call = next(flow)
        while True:
            known = self._known(recorded, call.candidate.name) if recorded.alternatives else None
            try:
                call = flow.send(answer(call, priced, context.caches.get(call.candidate.name), now, known))
            except StopIteration as stop:
                record: StepRecord = stop.value
                return record, context.caches

    def _world(self, candidate: Candidate | None, *, follow: bool) -> World | None:
        """Return the world to decide in; to follow the record, one of the model that ran and no rules.

        What happened was possible, so nothing bars it; None: it is not known what ran.
        """
        if not follow:
            return self.world
        if candidate is None:
            return None
        world = self._worlds.get(candidate.name)
        if world is None or world.catalog.candidates[0].price != candidate.price:
            world = World(catalog=Catalog((unlimited(candidate),)), settings=self.world.settings)
            self._worlds[candidate.name] = world
        return world

    def _known(self, recorded: RecordedStep, name: str) -> ModelOutcome | None:
        """Return what the record says another model did on this very step."""
        for outcome in recorded.alternatives:
            candidate = self.models.find("", outcome.model, recorded.started_at)
            if candidate is not None and candidate.name == name:
                return outcome
        return None

    # --- booking --------------------------------------------------------------------------------------------------

    def _book(
        self,
        recorded: RecordedStep,
        live: _Live,
        priced: PricedStep,
        record: StepRecord | None,
        caches: dict[str, CacheEntry],
        now: float,
    ) -> None:
        tally, candidate, step = self.tally, priced.candidate, recorded.step
        ran = candidate.name if candidate is not None else recorded.model or "(unknown)"
        ran_tier = int(candidate.tier) if candidate is not None else _UNKNOWN_TIER
        served, verdict, spent = candidate, Verdicts.SAME, None
        tally.counts[priced.source] += 1
        role = self.role_of(step, record.features if record is not None else None)
        if record is not None and record.served is not None:
            served = record.served
            known = self._known(recorded, served.name) if recorded.alternatives else None
            verdict = judge(recorded, priced, served, known)
            spent = spend(record, priced, caches, now)
            tally.counts[verdict] += 1
            if record.notes:
                tally.notes.update(note.partition(":")[0] for note in record.notes)
        chosen = served.name if served is not None else ran
        chosen_tier = int(served.tier) if served is not None else ran_tier
        day = int(recorded.started_at // _SECONDS_PER_DAY) if recorded.started_at > 0.0 else -1
        cell: Cell = (role, ran, chosen, day)
        if cell not in tally.cells:
            tally.tiers[ran], tally.tiers[chosen] = ran_tier, chosen_tier
        flags = (
            live.count > 0,
            live.last_recorded not in ("", ran),
            live.last_policy not in ("", chosen),
        )
        row = figures(recorded, priced, spent, verdict, flags)
        tally.add(cell, live.row, live.count, (ran_tier, chosen_tier), row)
        if self.by_role is not None:
            pool = f"{role}\0{pool_of(step.parent_id or step.trajectory_id)}"
            self.by_role.add(cell, self.by_role.trajectory(pool, ""), 0, (ran_tier, chosen_tier), row)

    def _leave_out(self, recorded: RecordedStep, tokens: TokenCounts | None, reason: str) -> None:
        sizes = (0, 0) if tokens is None or reason == ABSURD else (tokens.input, tokens.output)
        cost = 0 if reason == ABSURD else recorded.cost_nusd or 0
        self.tally.leave_out(recorded.model or "(unknown)", reason, (*sizes, cost))


def subagent_role(step: Step, role: str) -> str:
    """Return the role's name, marked if the step is a sub-agent's."""
    return f"{role} (sub-agent)" if step.parent_id or step.kind is CallKind.SUBAGENT else role


def _completed(step: Step, tokens: TokenCounts, candidate: Candidate | None, *, follow: bool) -> Step:
    """Give the step the record's token counts; where the record is followed, its model too, and no rule of its own."""
    if follow:
        name = candidate.name if candidate is not None else ""
        return msgspec.structs.replace(step, tokens=tokens, recorded=name, pins=Pins(), data_class="")
    return step if step.tokens is tokens else msgspec.structs.replace(step, tokens=tokens)


def _lineage(lineages: dict[str, Lineage], step: Step) -> Lineage:
    """Return one plan's caches for the step's prompt head.

    The same rules as ``trajectory.caches_for`` and ``advance`` apply to the policy's plan: a bounded number of heads,
    and a prompt shorter than a cached prefix was rewritten, so that its caches are cold.
    """
    lineage = lineages.pop(step.prefix_hash, None)
    if lineage is None:
        lineage = {}
        if len(lineages) >= KEPT_LINEAGES:
            del lineages[next(iter(lineages))]
    else:
        longest = step.tokens.input * SHRINK_TOLERANCE
        for entry in lineage.values():
            if entry.tokens > longest:
                lineage = {name: kept for name, kept in lineage.items() if kept.tokens <= longest}
                break
    lineages[step.prefix_hash] = lineage
    return lineage


def _warm(lineage: Lineage, candidate: Candidate, step: Step, now: float) -> None:
    entry = bill.cache_after(candidate, step.tokens, lineage.get(candidate.name), now)
    if entry is None:
        lineage.pop(candidate.name, None)
    else:
        lineage[candidate.name] = entry
