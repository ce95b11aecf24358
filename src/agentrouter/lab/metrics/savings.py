"""What was saved, what quality was kept, and scores that mix the two.

All costs of one call are in the same unit (nano-dollars or USD; the ratios have none). Sources: docs/metrics.md.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Floats, floats

GAMMA_USD = 0.60
"""What an unresolved task costs its owner, USD (TwinRouterBench, 2605.18859, dynamic track)."""

ARENA_BETA = 0.1
ARENA_DEAREST_USD = 200.0
ARENA_CHEAPEST_USD = 0.0044
"""RouterArena's cost anchors, USD per 1,000 queries (2510.00202)."""


class BestSingle(msgspec.Struct, frozen=True, kw_only=True):
    """The best single model of a table: its column, mean quality and mean cost."""

    model: int
    quality: float
    cost: float


def cost_reduction(cost: npt.ArrayLike, baseline_cost: npt.ArrayLike) -> float:
    """CR = 1 - sum c(policy) / sum c(frontier only), over the same steps; negative when the policy costs more.

    Both sides must use the same cache accounting: with caches on both, or on neither. Costs of routers, verifiers,
    retries and failed attempts belong into ``cost``.

    Raises:
        InputError: lengths differ, or the baseline costs nothing.
    """
    base = floats("baseline_cost", baseline_cost)
    paid = floats("cost", cost, like=base.size)
    total = float(base.sum())
    if total <= 0:
        raise InputError("sums to 0 or less, so a reduction is not defined", field="baseline_cost")
    return 1.0 - float(paid.sum()) / total


def quality_retention(quality: npt.ArrayLike, baseline_quality: npt.ArrayLike) -> float:
    """QR = mean S(policy) / mean S(frontier only), over the same steps. Interval: ``bootstrap.non_inferiority``.

    Raises:
        InputError: lengths differ, or the baseline never succeeds.
    """
    base = floats("baseline_quality", baseline_quality)
    kept = floats("quality", quality, like=base.size)
    total = float(base.sum())
    if total <= 0:
        raise InputError("sums to 0 or less, so a retention is not defined", field="baseline_quality")
    return float(kept.sum()) / total


def bill_usd(cost_usd: npt.ArrayLike, success: npt.ArrayLike, *, gamma_usd: float = GAMMA_USD) -> float:
    """Bill = sum_j [ cost_j + (1 - S_j) * gamma ], USD, one entry a task (TwinRouterBench, dynamic track).

    Raises:
        InputError: lengths differ.
    """
    cost = floats("cost_usd", cost_usd)
    solved = floats("success", success, like=cost.size)
    return float(cost.sum() + (1.0 - solved).sum() * gamma_usd)


def regret(cost: npt.ArrayLike, loss: npt.ArrayLike, optimum: npt.ArrayLike, *, loss_price: float) -> Floats:
    """Regret to the hindsight optimum of each trajectory: (c + mu * loss) - optimum, in the unit of ``cost``.

    Args:
        cost: what the policy paid, by trajectory.
        loss: quality lost against frontier only, 0..1, by trajectory.
        optimum: the least value of c + mu * loss in hindsight, by trajectory.
        loss_price: mu, the price of one whole trajectory lost, in the unit of ``cost``.
    """
    paid = floats("cost", cost)
    return paid + loss_price * floats("loss", loss, like=paid.size) - floats("optimum", optimum, like=paid.size)


def cumulative_regret(by_trajectory: npt.ArrayLike) -> Floats:
    """Running sum of ``regret`` over a stream, in the order of arrival."""
    return np.cumsum(floats("by_trajectory", by_trajectory))


def router_arena_score(accuracy: float, usd_per_1k: float, *, beta: float = ARENA_BETA) -> float:
    """RouterArena score S = (1 + beta) A C / (beta A + C), C = (log2 200 - log2 cost) / (log2 200 - log2 0.0044).

    Args:
        accuracy: A, 0..1.
        usd_per_1k: cost in USD per 1,000 queries, above 0. Outside the anchors C leaves [0, 1], as in the paper.
        beta: weight of cost; 0.1 in the paper (2510.00202).

    Raises:
        InputError: a cost that is not positive, or an accuracy outside [0, 1].
    """
    if not 0.0 <= accuracy <= 1.0:
        raise InputError(f"expected 0..1, got {accuracy:g}", field="accuracy")
    return arena_mean(accuracy, arena_cost_score(usd_per_1k), beta=beta)


def arena_cost_score(usd_per_1k: float) -> float:
    """RouterArena's C: 1 at 0.0044 USD per 1,000 queries, 0 at 200 USD.

    Raises:
        InputError: a cost that is not positive.
    """
    if usd_per_1k <= 0 or not math.isfinite(usd_per_1k):
        raise InputError(f"expected a positive cost, got {usd_per_1k:g}", field="usd_per_1k")
    span = math.log2(ARENA_DEAREST_USD) - math.log2(ARENA_CHEAPEST_USD)
    return (math.log2(ARENA_DEAREST_USD) - math.log2(usd_per_1k)) / span


def arena_mean(accuracy: float, cost_score: float, *, beta: float = ARENA_BETA) -> float:
    """RouterArena's weighted harmonic mean of accuracy and cost score; A = C gives A. 0 where both are 0."""
    bottom = beta * accuracy + cost_score
    return (1.0 + beta) * accuracy * cost_score / bottom if bottom else 0.0


def best_single(quality: npt.ArrayLike, cost: npt.ArrayLike) -> BestSingle:
    """Return the model (column) with the highest mean quality; of equals the cheapest.

    Args:
        quality: (n, models) quality of each model on each query.
        cost: (n, models) cost.
    """
    q, c = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    if q.ndim != 2 or q.shape != c.shape or not q.size:
        raise InputError(f"expected two equal (n, models) tables, got {q.shape} and {c.shape}", field="quality")
    means, costs = q.mean(axis=0), c.mean(axis=0)
    column = min(range(means.size), key=lambda index: (-means[index], costs[index]))
    return BestSingle(model=column, quality=float(means[column]), cost=float(costs[column]))


def perf_gain(quality: npt.ArrayLike, single: BestSingle) -> float:
    """PerfGain = mean quality of the router / that of the best single model - 1 (LLMRouterBench, 2601.07206)."""
    if single.quality <= 0:
        raise InputError("the best single model never succeeds, so a gain is not defined", field="single")
    return float(floats("quality", quality).mean()) / single.quality - 1.0


def cost_save_at_best_single(mean_cost: npt.ArrayLike, mean_quality: npt.ArrayLike, single: BestSingle) -> float | None:
    """CostSave@best-single = 1 - (least cost at which the router equals the best single model) / that model's cost.

    Args:
        mean_cost: cost of each operating point of the router, in the unit of ``single.cost``.
        mean_quality: quality of each operating point.
        single: from ``best_single``.

    Returns:
        The saving (LLMRouterBench, 2601.07206), or None where no operating point is as good.
    """
    cost = floats("mean_cost", mean_cost)
    good = cost[floats("mean_quality", mean_quality, like=cost.size) >= single.quality]
    if single.cost <= 0:
        raise InputError("the best single model costs nothing, so a saving is not defined", field="single")
    return 1.0 - float(good.min()) / single.cost if good.size else None
