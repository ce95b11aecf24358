"""The org chart of spend: who spends what on which tier, where a lower one may do, and what that would save.

Law: two or three passes over the trace, all through the replay: first the record as it is, then the suggested chart.
The suggestion is a rule anyone can check (``suggest``), never a claim about quality: the saving is an interval from
"every moved step has to be redone" to "none has".
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from agentrouter.lab.audit_report import AuditReport, ModelShare, RoleSpend, Waste
from agentrouter.lab.intervals import resampled, saving_share, share_interval
from agentrouter.lab.replay import Replay, ReplayOptions, subagent_role
from agentrouter.lab.replay_parallel import Open
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.replay_summary import tier_label
from agentrouter.lab.tally import Column, Sums, Tally
from agentrouter.lab.trace import RecordedStep
from agentrouter.policies.pool import accept, accepting, to_tier
from agentrouter.policies.recorded import Recorded
from agentrouter.policies.roles import DEFAULT_CHART
from agentrouter.roles import canonical_role
from agentrouter.trajectory import World
from agentrouter.types import Context, Decision, Reason, Status, Step, Tier

FEWEST_STEPS = 20
"""A role with fewer steps is left where it is."""
LONG_OUTPUT = 1_500.0
"""Mean output tokens above which a role is put one tier above its chart."""
MANY_ERRORS = 0.10
"""Share of failed steps above which a role is put one tier above its chart."""
MOSTLY_STRICT = 0.5
LOW_SUCCESS = 0.8
"""Mean recorded success under which a role is left where it is."""
WASTEFUL = 5


class RoleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the suggestion for a role depends on."""

    role: str
    steps: int
    tier: Tier | None
    """Where most of its spend goes now; None: models of unknown tier."""
    errors: int = 0
    retries: int = 0
    mean_output: float = 0.0
    strict_share: float = 0.0
    success: float | None = None


class Suggestion(msgspec.Struct, frozen=True):
    """A tier for a role, and why."""

    tier: Tier | None
    """None: keep the role as it is."""
    why: str


class OrgChart(msgspec.Struct, frozen=True, kw_only=True):
    """The suggested chart as a policy; roles that are not in it are replayed as recorded."""

    chart: dict[str, Tier]
    reviews: bool = False

    @property
    def name(self) -> str:
        """``audit``."""
        return "audit"

    def decide(self, step: Step, context: Context) -> Decision:
        """Send a role of the chart to its tier."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        role = step.role if step.role not in ("", "unknown") else context.features.role.role
        tier = self.chart.get(subagent_role(step, role), context.default.tier)
        return to_tier(step, context, tier, Reason.ROLE, policy=self.name, detail=role)


def suggest(facts: RoleFacts) -> Suggestion:
    """Suggest a tier for a role: that of the shipped chart, raised by what the trace shows, never above today's.

    One tier up for each of: long outputs, many errors, strict output contracts (from minimal only). Kept: roles with
    few steps, outside the chart, of unknown tier, or with low recorded success.
    """
    if facts.steps < FEWEST_STEPS:
        return Suggestion(None, f"fewer than {FEWEST_STEPS} steps")
    if facts.tier is None:
        return Suggestion(None, "its models have no known tier")
    if facts.success is not None and facts.success < LOW_SUCCESS:
        return Suggestion(None, f"only {facts.success:.0%} of its steps succeed today")
    base = facts.role.removesuffix(" (sub-agent)")
    canonical = base if base in DEFAULT_CHART else canonical_role(base.lower())
    wanted = DEFAULT_CHART.get(canonical)
    if wanted is None:
        return Suggestion(None, "the role is not in the chart")
    reasons = [f"{canonical} is {wanted.label} in the chart"]
    level = int(wanted)
    if facts.mean_output > LONG_OUTPUT:
        level, reasons = level + 1, [*reasons, f"outputs of {facts.mean_output:,.0f} tokens"]
    if facts.errors > MANY_ERRORS * facts.steps:
        level, reasons = level + 1, [*reasons, f"{facts.errors / facts.steps:.0%} errors"]
    if wanted is Tier.MINIMAL and facts.strict_share > MOSTLY_STRICT:
        level, reasons = level + 1, [*reasons, "strict output contracts"]
    tier = Tier(min(level, Tier.FRONTIER))
    if tier >= facts.tier:
        return Suggestion(None, "already there: " + ", ".join(reasons))
    return Suggestion(tier, ", ".join(reasons))


def audit(open_: Open, world: World, options: ReplayOptions | None = None) -> AuditReport:
    """Audit a trace.

    Args:
        open_: opens the traces anew; called two or three times.
        world: catalogue, hard rules and flow settings.
        options: as for ``replay``.

    Raises:
        InputError: what the reader raises, or an empty catalogue.
    """
    options = msgspec.structs.replace(options or ReplayOptions(), split_subagents=True)
    today = Replay(Recorded(), world, options)
    seen = _Observer()
    steps, trace = open_()
    for recorded in steps:
        priced = today.feed(recorded)
        if priced is not None:
            seen.see(recorded, today.role_of(recorded.step), priced.cost)
    facts = {role: seen.facts(role, sums, _tier_of(today.tally, role)) for role, sums in _roles(today.tally)}
    suggestions = {role: suggest(fact) for role, fact in facts.items()}
    planned = _under_chart(open_, world, options, suggestions)
    dearer = [
        role
        for role, sums in _roles(planned.tally)
        if suggestions[role].tier is not None and sums[Column.POLICY] >= sums[Column.RECORDED]
    ]
    if dearer:
        for role in dearer:
            suggestions[role] = Suggestion(None, "a lower tier of the catalogue would not be cheaper")
        planned = _under_chart(open_, world, options, suggestions)
    return _report(today.tally, planned, planned.report(trace), (facts, suggestions, seen), options)


def _under_chart(open_: Open, world: World, options: ReplayOptions, suggestions: dict[str, Suggestion]) -> Replay:
    chart = {role: suggestion.tier for role, suggestion in suggestions.items() if suggestion.tier is not None}
    planned = Replay(OrgChart(chart=chart), world, options, follows=lambda role: role not in chart)
    planned.by_role = Tally()
    for recorded in open_()[0]:
        planned.feed(recorded)
    return planned


class _Observer:
    """What the first pass notes beside the bills."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.strict: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()
        self.succeeded: dict[str, float] = {}
        self.repeated: Counter[str] = Counter()
        self.repeated_nusd: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.retries_nusd = self.repeats_nusd = self.comparable = 0
        self._calls: dict[str, set[int]] = {}

    def see(self, recorded: RecordedStep, role: str, cost: int) -> None:
        step = recorded.step
        trajectory = step.trajectory_id
        self.errors[role] += recorded.status is not Status.OK
        self.strict[role] += step.output.form == "json_schema" or bool(step.output.tool)
        if recorded.success is not None:
            self.judged[role] += 1
            self.succeeded[role] = self.succeeded.get(role, 0.0) + recorded.success
        if step.retry:
            self.retries[role] += 1
            self.retried[trajectory] += 1
            self.retries_nusd += cost
            self.repeated_nusd[trajectory] += cost
        if not step.messages:
            return
        self.comparable += 1
        call = hash((recorded.model, step.messages, step.tools))
        calls = self._calls.setdefault(trajectory, set())
        if call not in calls:
            calls.add(call)
        elif not step.retry:
            # A retry is a repeat by design and is counted as one above.
            self.repeated[trajectory] += 1
            self.repeats_nusd += cost
            self.repeated_nusd[trajectory] += cost

    def facts(self, role: str, sums: Sums, tier: Tier | None) -> RoleFacts:
        steps = int(sums[Column.STEPS])
        judged = self.judged[role]
        return RoleFacts(
            role=role,
            steps=steps,
            tier=tier,
            errors=self.errors[role],
            retries=self.retries[role],
            mean_output=int(sums[Column.OUTPUT]) / steps if steps else 0.0,
            strict_share=self.strict[role] / steps if steps else 0.0,
            success=self.succeeded[role] / judged if judged >= FEWEST_STEPS else None,
        )


def _roles(tally: Tally) -> list[tuple[str, Sums]]:
    rows = [(str(role), sums) for role, sums in tally.grouped(0).items()]
    return sorted(rows, key=lambda row: (-int(row[1][Column.RECORDED]), row[0]))


def _models(tally: Tally, role: str) -> Counter[str]:
    spent: Counter[str] = Counter()
    for (of_role, model, _, _), row in tally.cells.items():
        if of_role == role:
            spent[model] += int(tally.cell_sums[row, Column.RECORDED])
    return spent


def _tier_of(tally: Tally, role: str) -> Tier | None:
    """Return the tier on which the role spends most."""
    by_tier: Counter[int] = Counter()
    for model, nusd in _models(tally, role).items():
        by_tier[tally.tiers.get(model, len(Tier))] += nusd
    tier = max(by_tier, key=lambda each: (by_tier[each], each), default=len(Tier))
    return Tier(tier) if tier < len(Tier) else None


def _report(
    today: Tally,
    planned: Replay,
    replay: ReplayReport,
    found: tuple[dict[str, RoleFacts], dict[str, Suggestion], _Observer],
    options: ReplayOptions,
) -> AuditReport:
    facts, suggestions, seen = found
    total = replay.bill("recorded")
    rows = dict(_roles(planned.tally))
    return AuditReport(
        command=options.command,
        steps=replay.steps,
        spend_nusd=total,
        saving=replay.saving("recorded"),
        roles=tuple(
            _role(today, planned, rows[role], facts[role], suggestions[role], total) for role, _ in _roles(today)
        ),
        wasteful=_wasteful(planned.tally, seen),
        repeats=sum(seen.repeated.values()),
        repeats_nusd=seen.repeats_nusd,
        retries=sum(seen.retried.values()),
        retries_nusd=seen.retries_nusd,
        comparable_steps=seen.comparable,
        replay=replay,
    )


def _role(today: Tally, planned: Replay, sums: Sums, facts: RoleFacts, suggestion: Suggestion, total: int) -> RoleSpend:
    spent, after, redo = (int(sums[column]) for column in (Column.RECORDED, Column.POLICY, Column.REDO))
    usage_input = int(sums[Column.USAGE_INPUT])
    models = _models(today, facts.role)
    optimistic = pessimistic = None
    samples = _samples(planned, facts.role)
    if samples is not None:
        before, plan = samples[:, Column.RECORDED], samples[:, Column.POLICY]
        optimistic = share_interval(before, plan, planned.options.confidence)
        pessimistic = share_interval(before, plan + samples[:, Column.REDO], planned.options.confidence)
    now = tier_label(facts.tier if facts.tier is not None else len(Tier))
    return RoleSpend(
        role=facts.role,
        steps=facts.steps,
        spend_nusd=spent,
        spend_share=spent / total if total > 0 else None,
        input_tokens=int(sums[Column.INPUT]),
        output_tokens=int(sums[Column.OUTPUT]),
        cache_read_share=int(sums[Column.USAGE_READ]) / usage_input if usage_input else None,
        models=tuple(ModelShare(model, nusd / spent if spent else 0.0) for model, nusd in models.most_common(3)),
        tier=now,
        suggested=suggestion.tier.label if suggestion.tier is not None else now,
        why=suggestion.why,
        errors=facts.errors,
        retries=facts.retries,
        mean_output=facts.mean_output,
        strict_share=facts.strict_share,
        success=facts.success,
        after_nusd=after,
        pessimistic_nusd=after + redo,
        share=saving_share(spent, after),
        share_pessimistic=saving_share(spent, after + redo),
        sampling=optimistic,
        sampling_pessimistic=pessimistic,
    )


def _samples(planned: Replay, role: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    """Return bootstrap sums of one role over the pools of tasks it occurs in."""
    tally = planned.by_role
    if tally is None:
        return None
    tally.fold()
    pools = sorted(name for name in tally.trajectories if name.rpartition("\0")[0] == role)
    units = tally.trajectory_sums[[tally.trajectories[name] for name in pools]].astype(np.float64)
    return resampled(units, planned.options.resamples, planned.options.seed)


def _wasteful(tally: Tally, seen: _Observer) -> tuple[Waste, ...]:
    """Return the trajectories that the suggested chart and repeats together could have saved most on."""
    tally.fold()
    rows = []
    for name, row in tally.trajectories.items():
        sums = tally.trajectory_sums[row]
        waste = Waste(
            trajectory=name,
            steps=int(sums[Column.STEPS]),
            spend_nusd=int(sums[Column.RECORDED]),
            after_nusd=int(sums[Column.POLICY]),
            repeats=seen.repeated[name],
            retries=seen.retried[name],
            repeated_nusd=seen.repeated_nusd[name],
        )
        rows.append((waste.spend_nusd - min(waste.after_nusd, waste.spend_nusd - waste.repeated_nusd), waste))
    rows.sort(key=lambda pair: (-pair[0], pair[1].trajectory))
    return tuple(waste for wasted, waste in rows[:WASTEFUL] if wasted > 0)
