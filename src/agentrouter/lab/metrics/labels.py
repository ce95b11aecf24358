"""Tier labels against tier choices: what TwinRouterBench scores, and the errors behind the score.

A label is the minimal sufficient tier of a step, 0..3; a choice passes when it is that tier or one above
(2605.18859). That definition presumes that a higher tier never fails where a lower one passes, which data contradict;
the evaluation therefore prints the measured success of the choices beside it.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Bools, Ints, codes, floats, tiers

N_TIERS = 4


class TwinScore(msgspec.Struct, frozen=True, kw_only=True):
    """TwinRouterBench's four scores and their mean, as fractions (the paper prints percent)."""

    row_pass: float
    row_exact: float
    traj_pass: float
    cost_save: float
    combined: float


def confusion(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> Ints:
    """Return the 4x4 table of counts, rows by gold tier, columns by chosen tier."""
    label, choice = _pair(gold, chosen)
    table: Ints = np.bincount(label * N_TIERS + choice, minlength=N_TIERS**2).reshape(N_TIERS, N_TIERS).astype(np.int64)
    return table


def tier_recall(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> tuple[float | None, ...]:
    """Recall of each gold tier: n(gold = a and chosen = a) / n(gold = a); None where no step has that label."""
    table = confusion(gold, chosen)
    totals = table.sum(axis=1)
    return tuple(float(table[a, a] / totals[a]) if totals[a] else None for a in range(N_TIERS))


def exact_rate(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> float:
    """RowExact: share of steps with chosen = gold."""
    label, choice = _pair(gold, chosen)
    return float((choice == label).mean())


def pass_rate(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> float:
    """RowPass: share of steps with chosen >= gold."""
    label, choice = _pair(gold, chosen)
    return float((choice >= label).mean())


def under_routing_rate(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> float:
    """Share of steps with chosen < gold: 1 - RowPass."""
    label, choice = _pair(gold, chosen)
    return float((choice < label).mean())


def over_routing_rate(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> float:
    """Share of steps with chosen > gold: RowPass - RowExact."""
    label, choice = _pair(gold, chosen)
    return float((choice > label).mean())


def usd_regret(
    gold: npt.ArrayLike, chosen: npt.ArrayLike, cost_usd: npt.ArrayLike, *, miss_usd: npt.ArrayLike | float
) -> float:
    """USD-weighted regret per step: mean of what the wrong tier cost.

    Over-routing costs c(chosen) - c(gold), never less than 0; under-routing costs the wasted call c(chosen) and the
    miss itself, since the sufficient tier's price has to be paid all the same:
    regret_i = max(0, c_i(chosen) - c_i(gold)) if chosen >= gold else c_i(chosen) + miss_i.

    Args:
        gold: minimal sufficient tiers.
        chosen: chosen tiers.
        cost_usd: (n, 4) cost of each tier on each step.
        miss_usd: price of a miss: one number, or one a step.
    """
    label, choice = _pair(gold, chosen)
    cost = np.asarray(cost_usd, dtype=np.float64)
    if cost.shape != (label.size, N_TIERS):
        raise InputError(f"expected shape ({label.size}, {N_TIERS}), got {cost.shape}", field="cost_usd")
    miss = np.broadcast_to(np.asarray(miss_usd, dtype=np.float64), label.shape)
    rows = np.arange(label.size)
    paid = cost[rows, choice]
    over = np.maximum(0.0, paid - cost[rows, label])
    return float(np.where(choice >= label, over, paid + miss).mean())


def trajectory_pass(gold: npt.ArrayLike, chosen: npt.ArrayLike, trajectories: npt.ArrayLike) -> float:
    """TrajPass: share of steps whose whole trajectory passes (row-weighted, so never above RowPass)."""
    return float(passing_rows(gold, chosen, trajectories).mean())


def passing_rows(gold: npt.ArrayLike, chosen: npt.ArrayLike, trajectories: npt.ArrayLike) -> Bools:
    """Return for each step whether every step of its trajectory has chosen >= gold."""
    label, choice = _pair(gold, chosen)
    code = codes("trajectories", trajectories, like=label.size)
    misses = np.bincount(code, weights=choice < label)
    passed: Bools = misses[code] == 0
    return passed


def cost_save(
    passed: npt.ArrayLike, cost: npt.ArrayLike, frontier_cost: npt.ArrayLike, benchmarks: npt.ArrayLike | None = None
) -> float:
    """CostSave = sum_b (n_b / n) N_b / D_b (TwinRouterBench).

    D_b = sum of c(frontier) over the steps of benchmark b; N_b = sum over steps of passing trajectories of
    c(frontier) - c(chosen), minus sum over steps of failing ones of c(chosen): a failed run is paid for and then done
    again by the frontier tier. At most 1, and negative when failures waste more than passes save.

    Args:
        passed: from ``passing_rows``.
        cost: cost of the choice on each step.
        frontier_cost: cost of frontier-only on each step.
        benchmarks: benchmark of each step; None: one benchmark.

    Raises:
        InputError: lengths differ, or a benchmark's frontier cost is not positive.
    """
    base = floats("frontier_cost", frontier_cost)
    paid = floats("cost", cost, like=base.size)
    ok = floats("passed", passed, like=base.size) != 0
    names = np.zeros(base.size) if benchmarks is None else benchmarks
    code = codes("benchmarks", names, like=base.size)
    saved = np.bincount(code, weights=np.where(ok, base - paid, -paid))
    spent = np.bincount(code, weights=base)
    if (spent <= 0).any():
        raise InputError("a benchmark's frontier cost is not positive", field="frontier_cost")
    return float((np.bincount(code) / base.size * saved / spent).sum())


def twin_score(
    gold: npt.ArrayLike,
    chosen: npt.ArrayLike,
    trajectories: npt.ArrayLike,
    cost: npt.ArrayLike,
    frontier_cost: npt.ArrayLike,
    benchmarks: npt.ArrayLike | None = None,
) -> TwinScore:
    """Combined = mean(RowPass, RowExact, TrajPass, CostSave) (TwinRouterBench, 2605.18859), as fractions."""
    passed = passing_rows(gold, chosen, trajectories)
    parts = (
        pass_rate(gold, chosen),
        exact_rate(gold, chosen),
        float(passed.mean()),
        cost_save(passed, cost, frontier_cost, benchmarks),
    )
    return TwinScore(
        row_pass=parts[0], row_exact=parts[1], traj_pass=parts[2], cost_save=parts[3], combined=sum(parts) / len(parts)
    )


def _pair(gold: npt.ArrayLike, chosen: npt.ArrayLike) -> tuple[Ints, Ints]:
    label = tiers("gold", gold)
    return label, tiers("chosen", chosen, like=label.size)
