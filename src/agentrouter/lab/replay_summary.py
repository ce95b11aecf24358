"""From a replay's sums to its report.

Law: pure arithmetic; the same tally and facts give the same report, whatever the order the shards came in.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from agentrouter.lab.assumptions import RunFacts, assumptions_of
from agentrouter.lab.intervals import pooled, resampled, saving_share, share_interval
from agentrouter.lab.replay_report import (
    Bill,
    CurvePoint,
    GroupRow,
    Motion,
    Outcomes,
    OutputLength,
    RecordQuality,
    ReplayReport,
    Saving,
    TierPoint,
    TraceProblem,
    TraceSummary,
    Unpriced,
)
from agentrouter.lab.tally import MAX_INDEX, Column, Sums, Tally
from agentrouter.lab.trace import TraceReport
from agentrouter.types import Tier

_SECONDS_PER_DAY = 86_400
_IDENTITY = "recorded"

_BILLS = (
    ("recorded", "Recorded", "as billed", Column.RECORDED),
    ("recorded_cached", "Recorded models, caches simulated", "simulated", Column.RECORDED_CACHED),
    ("recorded_uncached", "Recorded models, no caches", "none", Column.RECORDED_UNCACHED),
    ("frontier_cached", "Frontier only, with caches", "simulated", Column.FRONTIER_CACHED),
    ("frontier_uncached", "Frontier only, no caches", "none", Column.FRONTIER_UNCACHED),
    ("policy", "Policy", "as billed", Column.POLICY),
    ("policy_cached", "Policy, caches simulated", "simulated", Column.POLICY_CACHED),
    ("policy_uncached", "Policy, no caches", "none", Column.POLICY_UNCACHED),
)

_COMPARED = (
    ("recorded", "policy", "recorded bill", Column.RECORDED, Column.POLICY, Column.REDO),
    (
        "recorded_cached",
        "policy_cached",
        "recorded models, caches simulated",
        Column.RECORDED_CACHED,
        Column.POLICY_CACHED,
        Column.REDO_CACHED,
    ),
    (
        "frontier_cached",
        "policy_cached",
        "frontier only, with caches",
        Column.FRONTIER_CACHED,
        Column.POLICY_CACHED,
        Column.REDO_CACHED,
    ),
    (
        "recorded_uncached",
        "policy_uncached",
        "recorded models, no caches",
        Column.RECORDED_UNCACHED,
        Column.POLICY_UNCACHED,
        Column.REDO_UNCACHED,
    ),
    (
        "frontier_uncached",
        "policy_uncached",
        "frontier only, no caches",
        Column.FRONTIER_UNCACHED,
        Column.POLICY_UNCACHED,
        Column.REDO_UNCACHED,
    ),
)
_FRONTIER_COMPARISON = 2


def summarise(tally: Tally, facts: RunFacts, trace: TraceReport | None) -> ReplayReport:
    """Return the report of a replay."""
    totals = tally.totals()
    counts = tally.counts
    names, by_task = tally.by_task()
    quality = _quality(tally)
    recorded_total = int(totals[Column.RECORDED])
    return ReplayReport(
        command=facts.command,
        policy=facts.policy,
        policy_hash=facts.policy_hash,
        frontier=facts.frontier,
        seed=facts.seed,
        confidence=facts.confidence,
        resamples=facts.resamples,
        steps=counts["steps"],
        priced_steps=int(totals[Column.STEPS]),
        trajectories=len(tally.trajectories),
        tasks=len(names),
        complete=not tally.unpriced,
        bills=tuple(
            Bill(name=name, label=_label(label, facts), caches=caches, nusd=int(totals[column]))
            for name, label, caches, column in _BILLS
        ),
        savings=_savings(totals, names, by_task, facts),
        headline=_FRONTIER_COMPARISON if facts.policy == _IDENTITY else 0,
        quality=quality,
        outcomes=_outcomes(tally, totals),
        recorded_motion=_motion(totals, recorded=True),
        policy_motion=_motion(totals, recorded=False),
        output_length=_output_length(totals, facts),
        unpriced=_unpriced(tally),
        by_role=_rows(((str(key), sums) for key, sums in tally.grouped(0).items()), recorded_total),
        by_tier_recorded=_tier_rows(tally, 1, recorded_total),
        by_tier_policy=_tier_rows(tally, 2, recorded_total),
        by_model_recorded=_rows(((str(key), sums) for key, sums in tally.grouped(1).items()), recorded_total),
        by_model_policy=_rows(((str(key), sums) for key, sums in tally.grouped(2).items()), recorded_total),
        by_day=_day_rows(tally, recorded_total),
        top_trajectories=_top(tally, facts.top, recorded_total),
        curve=_curve(tally),
        tiers=_tier_points(tally),
        trace=summarise_trace(trace),
        assumptions=assumptions_of(facts, quality, trace, complete=not tally.unpriced),
    )


def summarise_trace(trace: TraceReport | None) -> TraceSummary:
    """Return what the reader met as plain data."""
    if trace is None:
        return TraceSummary()
    return TraceSummary(
        files=tuple(str(file) for file in trace.files),
        format=trace.format,
        lines=trace.lines,
        steps=trace.steps,
        skipped=dict(sorted(trace.skipped.items())),
        malformed=trace.malformed,
        problems=tuple(TraceProblem(item.file, item.line, item.field, item.message) for item in trace.problems),
        lacks=dict(sorted(trace.lacks.items())),
    )


def _label(label: str, facts: RunFacts) -> str:
    if label.startswith("Frontier"):
        return label.replace("Frontier only", f"Frontier only ({facts.frontier})")
    return label.replace("Policy", f"Policy {facts.policy}") if label.startswith("Policy") else label


def _savings(totals: Sums, names: list[str], by_task: Sums, facts: RunFacts) -> tuple[Saving, ...]:
    samples = resampled(pooled(names, by_task), facts.resamples, facts.seed)
    savings = []
    for baseline, policy, label, before, after, redo in _COMPARED:
        base, spent, again = int(totals[before]), int(totals[after]), int(totals[redo])
        optimistic = pessimistic = None
        if samples is not None:
            optimistic = share_interval(samples[:, before], samples[:, after], facts.confidence)
            worse = samples[:, after] + samples[:, redo]
            pessimistic = share_interval(samples[:, before], worse, facts.confidence)
        savings.append(
            Saving(
                baseline=baseline,
                policy=policy,
                label=label,
                baseline_nusd=base,
                policy_nusd=spent,
                pessimistic_nusd=spent + again,
                share=saving_share(base, spent),
                share_pessimistic=saving_share(base, spent + again),
                sampling=optimistic,
                sampling_pessimistic=pessimistic,
            )
        )
    return tuple(savings)


def _quality(tally: Tally) -> RecordQuality:
    counts = tally.counts
    return RecordQuality(
        invoice_steps=counts["invoice"] + counts["invoice_only"],
        listed_steps=counts["listed"],
        estimated_steps=counts["estimated"],
        invoice_only_steps=counts["invoice_only"],
        kept_steps=counts["kept"],
        kept_rules=dict(sorted(tally.kept_rules.items())),
        clock_steps=counts["clock"],
        returned_trajectories=counts["returned"],
        notes=dict(sorted(tally.notes.items())),
    )


def _outcomes(tally: Tally, totals: Sums) -> Outcomes:
    counts = tally.counts
    return Outcomes(
        changed=int(totals[Column.CHANGED]),
        downgraded=sum(counts[name] for name in ("unknown", "known_good", "known_bad", "recorded_failed")),
        unknown=counts["unknown"],
        known_good=counts["known_good"],
        known_bad=counts["known_bad"],
        recorded_failed=counts["recorded_failed"],
    )


def _motion(totals: Sums, *, recorded: bool) -> Motion:
    if recorded:
        switch, read, total, cold = Column.RECORDED_SWITCH, Column.RECORDED_READ, Column.INPUT, Column.RECORDED_COLD
    else:
        switch, read, total, cold = Column.POLICY_SWITCH, Column.POLICY_READ, Column.POLICY_INPUT, Column.POLICY_COLD
    return Motion(
        switches=int(totals[switch]),
        cache_read_share=_share(totals[read], totals[total]),
        cold_input_nusd=int(totals[cold]),
    )


def _output_length(totals: Sums, facts: RunFacts) -> OutputLength:
    low, high = facts.output_factors
    policy, written = int(totals[Column.POLICY]), int(totals[Column.CHANGED_OUTPUT])
    return OutputLength(
        low_factor=low,
        high_factor=high,
        low_nusd=policy + round(written * (low - 1.0)),
        high_nusd=policy + round(written * (high - 1.0)),
    )


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part) / float(whole) if whole > 0 else None


def _row(key: str, sums: Sums, recorded_total: int) -> GroupRow:
    return GroupRow(
        key=key,
        steps=int(sums[Column.STEPS]),
        changed=int(sums[Column.CHANGED]),
        input_tokens=int(sums[Column.INPUT]),
        output_tokens=int(sums[Column.OUTPUT]),
        cache_read_share=_share(sums[Column.USAGE_READ], sums[Column.USAGE_INPUT]),
        recorded_nusd=int(sums[Column.RECORDED]),
        policy_nusd=int(sums[Column.POLICY]),
        pessimistic_nusd=int(sums[Column.POLICY] + sums[Column.REDO]),
        frontier_nusd=int(sums[Column.FRONTIER_CACHED]),
        spend_share=int(sums[Column.RECORDED]) / recorded_total if recorded_total > 0 else None,
    )


def _rows(groups: Iterable[tuple[str, Sums]], recorded_total: int) -> tuple[GroupRow, ...]:
    """Return one row a group, the dearest first."""
    rows = [_row(key, sums, recorded_total) for key, sums in groups]
    return tuple(sorted(rows, key=lambda row: (-row.recorded_nusd, row.key)))


def _tier_rows(tally: Tally, part: int, recorded_total: int) -> tuple[GroupRow, ...]:
    """Return one row a tier, the highest first."""
    groups: dict[int, Sums] = {}
    for model, sums in tally.grouped(part).items():
        tier = tally.tiers.get(str(model), len(Tier))
        groups[tier] = groups[tier] + sums if tier in groups else sums
    order = sorted(groups, key=lambda tier: -1 if tier == len(Tier) else tier, reverse=True)
    return tuple(_row(tier_label(tier), groups[tier], recorded_total) for tier in order)


def tier_label(tier: int) -> str:
    """Return a tier's name; ``unknown`` for 4."""
    return Tier(tier).label if tier < len(Tier) else "unknown"


def _day_rows(tally: Tally, recorded_total: int) -> tuple[GroupRow, ...]:
    groups = sorted(tally.grouped(3).items(), key=lambda item: int(item[0]))
    return tuple(_row(_day_label(int(day)), sums, recorded_total) for day, sums in groups)


def _day_label(day: int) -> str:
    if day < 0:
        return "unknown"
    try:
        return datetime.fromtimestamp(day * _SECONDS_PER_DAY, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return f"day {day}"


def _top(tally: Tally, top: int, recorded_total: int) -> tuple[GroupRow, ...]:
    """Return the trajectories that cost most as recorded."""
    names = list(tally.trajectories)
    spent = tally.trajectory_sums[: len(names), Column.RECORDED]
    count = min(top, len(names))
    if not count:
        return ()
    # Everything at least as dear as the last one of the list, so that a tie is broken by name and not by order.
    least = np.partition(spent, len(names) - count)[len(names) - count]
    places = sorted(np.flatnonzero(spent >= least).tolist(), key=lambda place: (-int(spent[place]), names[place]))
    return tuple(_row(names[place], tally.trajectory_sums[place], recorded_total) for place in places[:count])


def _curve(tally: Tally) -> tuple[CurvePoint, ...]:
    count = len(tally.trajectories)
    spent = np.cumsum(tally.index_sums, axis=0)
    points = []
    for index in range(MAX_INDEX + 1):
        steps = int(tally.index_sums[index, Column.STEPS])
        if not steps:
            continue
        points.append(
            CurvePoint(
                index=index,
                steps=steps,
                recorded_nusd=int(spent[index, Column.RECORDED]) / count,
                policy_nusd=int(spent[index, Column.POLICY]) / count,
                frontier_nusd=int(spent[index, Column.FRONTIER_CACHED]) / count,
            )
        )
    return tuple(points)


def _tier_points(tally: Tally) -> tuple[TierPoint, ...]:
    return tuple(
        TierPoint(index=index, recorded=_five(tally.tier_counts[index, 0]), policy=_five(tally.tier_counts[index, 1]))
        for index in range(MAX_INDEX + 1)
        if tally.tier_counts[index].any()
    )


def _five(counts: Sums) -> tuple[int, int, int, int, int]:
    minimal, efficient, mid, frontier, unknown = (int(count) for count in counts)
    return minimal, efficient, mid, frontier, unknown


def _unpriced(tally: Tally) -> tuple[Unpriced, ...]:
    rows = [
        Unpriced(
            model=model, reason=reason, steps=row[0], input_tokens=row[1], output_tokens=row[2], recorded_nusd=row[3]
        )
        for (model, reason), row in tally.unpriced.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.steps, row.model, row.reason)))
