"""From choices, outcomes and bills to the figures of the report.

Law: pure; the rules are those of ``evaluation_report.RULES`` and nothing else happens to the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from agentrouter.lab.evaluation_report import Calibration, Labels, PolicyResult, Quality
from agentrouter.lab.metrics import calibration, curves, labels, savings
from agentrouter.lab.metrics.arrays import Bools, Floats, Ints, codes, complete, known
from agentrouter.lab.metrics.bootstrap import Interval, group_sums, percentile_interval, resampled_sums
from agentrouter.types import NUSD_PER_USD, Tier

SUFFICIENT = 0.5
MARGIN = 0.03
FRONTIER = int(Tier.FRONTIER)
SWEEP = 41
"""Prices of quality tried for AIQ and cAPGR, from 1/1000 to 1000 frontier calls per unit of success."""


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all policies on a set of n rows. Costs are nano-dollars."""

    groups: list[str]
    run: Ints
    source: Ints
    outcome: Floats
    """(n, 4) outcome of each measured tier, NaN elsewhere."""
    read: Ints
    """(n, 4) the tier as which each choice is read: itself where measured, else the nearest measured one."""
    compared: Bools
    label: Ints
    """Minimal sufficient tier, -1: no label."""
    plain: Floats
    """(n, 4) cost without caches."""
    input: Ints


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy chose on those rows, and the bills of it."""

    policy: str
    reference: bool
    choice: Ints
    cost: Floats
    read_cost: Floats
    """As ``cost``, for the tiers as read."""
    cache_read: Ints
    p_ok: Floats | None = None
    """(n, 4) scores, NaN on rows where the policy gave none; None: it never gave any."""
    errors: int = 0


def read_as(measured: Bools) -> Ints:
    """Return (n, 4): each tier itself if measured, else the nearest measured above, else below, else itself."""
    n, width = measured.shape
    out = np.tile(np.arange(width), (n, 1))
    for tier in range(width):
        order = [*range(tier, width), *range(tier - 1, -1, -1)]
        for other in reversed(order):
            out[measured[:, other], tier] = other
    return out


def label_of(outcome: Floats, step_level: Bools) -> Ints:
    """Return the lowest tier with outcome >= 0.5 on fully measured step-level rows; -1 elsewhere, or if none has."""
    enough = outcome >= SUFFICIENT
    has = complete(outcome) & step_level & enough.any(axis=1)
    return np.where(has, enough.argmax(axis=1), -1)


def best_choice(outcome: Floats, plain: Floats) -> Ints:
    """The oracle: the measured tier with the best outcome, ties to the cheaper; frontier where none was measured."""
    ranked = np.where(np.isnan(outcome), -1.0, outcome)
    price = np.where(ranked == ranked.max(axis=1, keepdims=True), plain, np.inf)
    return np.where((ranked >= 0).any(axis=1), price.argmin(axis=1), FRONTIER)


def cheapest_choice(outcome: Floats, read: Ints, plain: Floats) -> Ints:
    """The cheapest measured tier no worse than the reference; frontier where none was measured."""
    reference = np.take_along_axis(outcome, read[:, FRONTIER:], axis=1)
    price = np.where(outcome >= reference, plain, np.inf)
    return np.where(np.isfinite(price).any(axis=1), price.argmin(axis=1), FRONTIER)


def policy_results(rows: Rows, takens: Sequence[Taken], *, seed: int, resamples: int) -> list[PolicyResult]:
    """Return the figures of every policy; ``takens`` must hold ``always-frontier``, the baseline."""
    base = next(taken for taken in takens if taken.policy == "always-frontier")
    columns = [_columns(rows, taken, base) for taken in takens]
    sums = np.concatenate([group_sums(part, rows.groups) for part in columns], axis=1)
    width = columns[0].shape[1]
    draws = resampled_sums(sums, seed=seed, resamples=resamples)
    results = []
    for index, taken in enumerate(takens):
        part = slice(index * width, (index + 1) * width)
        ratios = _Ratios(columns[index].sum(axis=0), draws[:, part], sums.shape[0])
        results.append(_result(rows, taken, base, ratios))
    return results


_COST, _BASE, _PLAIN, _BASE_PLAIN, _GOT, _REF, _READ, _BASE_READ, _READ_PLAIN, _BASE_READ_PLAIN = range(10)


def _columns(rows: Rows, taken: Taken, base: Taken) -> Floats:
    """The ten sums that every interval is a ratio of; those of the comparison are 0 on rows that are not compared."""
    at = np.arange(taken.choice.size)
    read, reference = rows.read[at, taken.choice], rows.read[:, FRONTIER]
    in_comparison = [
        rows.outcome[at, read],
        rows.outcome[at, reference],
        taken.read_cost,
        base.read_cost,
        rows.plain[at, read],
        rows.plain[at, reference],
    ]
    everywhere = [taken.cost, base.cost, rows.plain[at, taken.choice], rows.plain[:, FRONTIER]]
    return np.stack([*everywhere, *(np.where(rows.compared, column, 0.0) for column in in_comparison)], axis=1)


class _Ratios:
    """Ratios of column sums with their bootstrap intervals."""

    def __init__(self, totals: Floats, draws: Floats, n_groups: int) -> None:
        self.totals, self.draws, self.n_groups = totals, draws, n_groups

    def ratio(self, top: int, bottom: int) -> Interval | None:
        if self.totals[bottom] <= 0:
            return None
        return percentile_interval(
            float(self.totals[top] / self.totals[bottom]), self.drawn(top, bottom), n_groups=self.n_groups
        )

    def reduction(self, top: int, bottom: int) -> Interval | None:
        if self.totals[bottom] <= 0:
            return None
        value = 1.0 - float(self.totals[top] / self.totals[bottom])
        return percentile_interval(value, 1.0 - self.drawn(top, bottom), n_groups=self.n_groups)

    def drawn(self, top: int, bottom: int) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn: Floats = self.draws[:, top] / self.draws[:, bottom]
        return drawn


def _result(rows: Rows, taken: Taken, base: Taken, ratios: _Ratios) -> PolicyResult:
    n = taken.choice.size
    order = np.argsort(rows.run, kind="stable")
    run, choice = rows.run[order], taken.choice[order]
    switches = int(((run[1:] == run[:-1]) & (choice[1:] != choice[:-1])).sum())
    total_input = int(rows.input.sum())
    return PolicyResult(
        policy=taken.policy,
        reference=taken.reference,
        n=n,
        tier_shares=tuple(float(x) for x in np.bincount(taken.choice, minlength=4) / n),
        cost_usd=float(ratios.totals[_COST]) / NUSD_PER_USD,
        cost_nocache_usd=float(ratios.totals[_PLAIN]) / NUSD_PER_USD,
        cost_reduction=ratios.reduction(_COST, _BASE),
        cost_reduction_nocache=ratios.reduction(_PLAIN, _BASE_PLAIN),
        quality=_quality(rows, taken, ratios),
        labels=_labels(rows, taken, base),
        calibration=_calibration(rows, taken),
        switches_per_trajectory=switches / np.unique(rows.run).size,
        cache_read_share=int(taken.cache_read.sum()) / total_input if total_input else 0.0,
        policy_errors=taken.errors,
    )


def _quality(rows: Rows, taken: Taken, ratios: _Ratios) -> Quality:
    n = int(rows.compared.sum())
    retention = ratios.ratio(_GOT, _REF)
    basis = "measured"
    if retention is None:
        identity = bool((taken.choice == FRONTIER).all())
        basis = "identity" if identity else "none"
        retention = Interval(1.0) if identity else None
    tested = basis == "measured" and retention is not None and retention.low is not None
    below = ratios.drawn(_GOT, _REF)
    below = below[np.isfinite(below)]
    picked, chosen = rows.read[np.arange(taken.choice.size), taken.choice], taken.choice
    success = float(ratios.totals[_GOT]) / n if n else None
    return Quality(
        n=n,
        basis=basis,
        success=success,
        reference_success=float(ratios.totals[_REF]) / n if n else None,
        retention=retention,
        non_inferior=retention.low >= 1.0 - MARGIN if tested and retention and retention.low is not None else None,
        non_inferior_p=float((below < 1.0 - MARGIN).mean()) if tested else None,
        cost_reduction=ratios.reduction(_READ, _BASE_READ),
        cost_reduction_nocache=ratios.reduction(_READ_PLAIN, _BASE_READ_PLAIN),
        read_up=int((rows.compared & (picked > chosen)).sum()),
        read_down=int((rows.compared & (picked < chosen)).sum()),
        **_frontier(rows, taken, success, float(ratios.totals[_READ_PLAIN])),
    )


def _frontier(rows: Rows, taken: Taken, success: float | None, read_plain: float) -> dict[str, float | None]:
    """Figures that place the policy among constant tiers: PerfGain, RouterArena, cAPGR, AIQ."""
    found: dict[str, float | None] = {"perf_gain": None, "arena_score": None, "capgr": None, "aiq": None}
    at = np.flatnonzero(rows.compared)
    if success is None or not at.size:
        return found
    outcome = np.take_along_axis(rows.outcome[at], rows.read[at], axis=1)
    price = np.take_along_axis(rows.plain[at], rows.read[at], axis=1)
    best = savings.best_single(outcome, price)
    if best.quality > 0:
        found["perf_gain"] = success / best.quality - 1.0
    usd_per_1k = read_plain / at.size / NUSD_PER_USD * 1000
    if usd_per_1k > 0:
        found["arena_score"] = savings.arena_mean(success, savings.arena_cost_score(usd_per_1k))
    low = (float(price[:, 0].mean()), float(outcome[:, 0].mean()))
    high = (float(price[:, FRONTIER].mean()), float(outcome[:, FRONTIER].mean()))
    points = [(read_plain / at.size, success)]
    if taken.p_ok is not None and known(taken.p_ok[at]).all():
        points = _sweep(taken.p_ok[at], outcome, price, high[0])
        swept_cost, swept_quality = np.array(points).T
        if high[0] > swept_cost.min():
            dearest = max(high[0], float(swept_cost.max()))
            found["aiq"] = curves.aiq(swept_cost, swept_quality, max_cost=dearest)
    if high[0] > low[0] and high[1] > low[1]:
        costs, qualities = np.array(points).T
        found["capgr"] = curves.capgr(costs, qualities, low, high)
    return found


def _sweep(p_ok: Floats, outcome: Floats, price: Floats, unit: float) -> list[tuple[float, float]]:
    """Operating points of argmax_a p_ok(a) - lambda c(a), lambda in units of one mean frontier call."""
    points = []
    at = np.arange(p_ok.shape[0])
    for weight in np.logspace(-3, 3, SWEEP) / unit:
        pick = (p_ok - weight * price).argmax(axis=1)
        points.append((float(price[at, pick].mean()), float(outcome[at, pick].mean())))
    return points


def _labels(rows: Rows, taken: Taken, base: Taken) -> Labels | None:
    has = rows.label >= 0
    if not has.any():
        return None
    gold, chosen = rows.label[has], taken.choice[has]
    at = np.arange(gold.size)
    enough = rows.outcome[has][at, chosen] >= SUFFICIENT
    run = codes("run", rows.run, like=rows.run.size)
    unlabelled = np.bincount(run, weights=~has)
    whole = unlabelled[run] == 0
    twin = None
    if whole.any():
        twin = labels.twin_score(
            rows.label[whole], taken.choice[whole], run[whole], taken.cost[whole], base.cost[whole], rows.source[whole]
        )
    return Labels(
        n=int(has.sum()),
        pass_rate=labels.pass_rate(gold, chosen),
        exact_rate=labels.exact_rate(gold, chosen),
        under_routing_rate=labels.under_routing_rate(gold, chosen),
        over_routing_rate=labels.over_routing_rate(gold, chosen),
        sufficient_rate=float(enough.mean()),
        recall=labels.tier_recall(gold, chosen),
        confusion=tuple(tuple(int(x) for x in row) for row in labels.confusion(gold, chosen)),
        usd_regret=labels.usd_regret(gold, chosen, rows.plain[has] / NUSD_PER_USD, miss_usd=0.0),
        twin=twin,
        twin_rows=int(whole.sum()),
    )


def _calibration(rows: Rows, taken: Taken) -> Calibration | None:
    if taken.p_ok is None:
        return None
    scored = complete(taken.p_ok)
    usable: Bools = known(rows.outcome) & scored[:, None]
    errors: list[float | None] = []
    briers: list[float | None] = []
    for tier in range(rows.outcome.shape[1]):
        at = usable[:, tier]
        pair = (taken.p_ok[at, tier], rows.outcome[at, tier])
        errors.append(calibration.ece(*pair) if at.any() else None)
        briers.append(calibration.brier(*pair) if at.any() else None)
    return Calibration(n=int(scored.sum()), ece=tuple(errors), brier=tuple(briers))


def pooled(parts: Sequence[tuple[Rows, list[Taken]]], keep: Sequence[Bools] | None = None) -> tuple[Rows, list[Taken]]:
    """Put the rows of several sources together; runs and sources stay apart.

    Args:
        parts: rows and choices of each source, the same policies in the same order.
        keep: which rows of each source to take; None: all.
    """
    masks = keep if keep is not None else [np.ones(rows.run.size, dtype=bool) for rows, _ in parts]

    def joined(pick: Any) -> Any:
        return np.concatenate([pick(part)[mask] for part, mask in zip(parts, masks, strict=True)])

    offsets = np.cumsum([0, *(int(rows.run.max(initial=-1)) + 1 for rows, _ in parts)])
    run = np.concatenate([rows.run[m] + start for (rows, _), m, start in zip(parts, masks, offsets[:-1], strict=True)])
    source = np.concatenate([np.full(int(mask.sum()), index) for index, mask in enumerate(masks)])
    fields = ("outcome", "read", "compared", "label", "plain", "input")
    groups = [np.array(part.groups, dtype=object)[mask] for (part, _), mask in zip(parts, masks, strict=True)]
    rows = Rows(
        groups=np.concatenate(groups).tolist(),
        run=run,
        source=source,
        **{name: joined(lambda part, name=name: getattr(part[0], name)) for name in fields},
    )
    takens = []
    for index, first in enumerate(parts[0][1]):
        arrays = {
            name: joined(lambda part, name=name, index=index: getattr(part[1][index], name))
            for name in ("choice", "cost", "read_cost", "cache_read")
        }
        scored = any(part[1][index].p_ok is not None for part in parts)
        p_ok = joined(lambda part, index=index: _scores(part[1][index])) if scored else None
        errors = sum(part[1][index].errors for part in parts)
        takens.append(Taken(policy=first.policy, reference=first.reference, p_ok=p_ok, errors=errors, **arrays))
    return rows, takens


def _scores(taken: Taken) -> Floats:
    return taken.p_ok if taken.p_ok is not None else np.full((taken.choice.size, len(Tier)), np.nan)
