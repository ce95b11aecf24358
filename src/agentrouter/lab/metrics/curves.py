"""Curves of quality over strong share or cost, and the areas under them.

Sources: RouteLLM (2406.18665: PGR, APGR, CPT), RouterBench (2403.12031: AIQ); the four-tier form is ours
(docs/metrics.md).
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Floats, codes, floats
from agentrouter.lab.metrics.bootstrap import RESAMPLES, Interval, percentile_interval, resampled_counts

POINTS = 11
"""Operating points of RouteLLM's APGR: strong shares 0, 10, ..., 100 %."""


class Curve(msgspec.Struct, frozen=True):
    """Quality over an ascending ``x`` (strong share, or cost), both (points,) float arrays."""

    x: Floats
    quality: Floats


def routing_curve(score: npt.ArrayLike, weak: npt.ArrayLike, strong: npt.ArrayLike) -> Curve:
    """Return the exact accuracy at every strong share k/n when the k highest scores go to the strong model.

    Steps of equal score enter in random order: the curve is their expectation (straight across the tie), so that it
    depends neither on the order of the table nor on a seed.

    Args:
        score: the router's preference for the strong model, any scale.
        weak: quality of the weak model on each query.
        strong: quality of the strong model.
    """
    rank, w, s = _triple(score, weak, strong)
    order = np.argsort(-rank, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((s - w)[order])])
    ordered = rank[order]
    # Ends of the runs of equal scores: only there is the accuracy free of the order within a tie.
    ends = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1, [rank.size]])
    share = np.arange(rank.size + 1) / rank.size
    quality = np.interp(share, share[ends], w.mean() + gains[ends] / rank.size)
    return Curve(share, quality)


def sampled_curve(curve: Curve, points: int = POINTS) -> Curve:
    """Return a ``routing_curve`` at ``points`` even strong shares, each rounded to a whole number of queries."""
    n = curve.x.size - 1
    shares = np.linspace(0.0, 1.0, points)
    return Curve(shares, curve.quality[np.rint(shares * n).astype(np.int64)])


def oracle_curve(weak: npt.ArrayLike, strong: npt.ArrayLike, points: int | None = POINTS) -> Curve:
    """Return RouteLLM's optimal accuracy: weak + min(share, P(weak wrong and strong right)), flat from there on.

    It never pays for queries where only the weak model is right, so it may end above the strong model's accuracy.

    Args:
        weak: 0/1 (or 0..1) quality of the weak model.
        strong: quality of the strong model.
        points: number of evenly spaced shares; None: the exact curve, with its kink.
    """
    w = floats("weak", weak)
    gain = np.maximum(0.0, floats("strong", strong, like=w.size) - w)
    kink = float((gain > 0).mean())
    shares = np.unique([0.0, kink, 1.0]) if points is None else np.linspace(0.0, 1.0, points)
    best = np.concatenate([[0.0], np.cumsum(np.sort(gain)[::-1])]) / w.size
    return Curve(shares, w.mean() + np.interp(shares * w.size, np.arange(w.size + 1), best))


def pgr(quality: npt.ArrayLike, weak: float, strong: float) -> Floats:
    """Performance gap recovered: (r - r_weak) / (r_strong - r_weak); 0 at the weak model, 1 at the strong one.

    Raises:
        InputError: the strong model is not better than the weak one.
    """
    if strong <= weak:
        raise InputError(f"the strong model ({strong:g}) is not better than the weak one ({weak:g})", field="strong")
    return (floats("quality", quality) - weak) / (strong - weak)


def apgr(curve: Curve, weak: float, strong: float) -> float:
    """APGR = integral of PGR over the strong share 0..1, by trapezoids over the curve's points.

    Give it a ``sampled_curve`` for RouteLLM's 11-point figure, a ``routing_curve`` for the continuous one. A random
    router has 0.5; above 1 is possible, since the oracle beats the strong model.

    Raises:
        InputError: the strong model is not better than the weak one, or the curve does not run from 0 to 1.
    """
    _covers(curve)
    return float(np.trapezoid(pgr(curve.quality, weak, strong), curve.x))


def apgr_interval(
    score: npt.ArrayLike,
    weak: npt.ArrayLike,
    strong: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the continuous APGR of a score with a bootstrap interval over ``groups``; ties as in ``routing_curve``.

    Resamples in which the strong model is not the better one have no APGR and are left out.

    Raises:
        InputError: lengths differ, or the strong model is not better than the weak one.
    """
    rank, w, s = _triple(score, weak, strong)
    value = apgr(routing_curve(rank, w, s), float(w.mean()), float(s.mean()))
    code = codes("groups", groups, like=rank.size)
    order = np.argsort(-rank, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(rank[order])) + 1])
    gain = (s - w)[order]
    draws = []
    for block in resampled_counts(int(code.max()) + 1, seed=seed, resamples=resamples):
        for counts in block:
            times = counts[code[order]]
            share = np.cumsum(np.add.reduceat(times, starts)) / times.sum()
            gained = np.cumsum(np.add.reduceat(times * gain, starts)) / times.sum()
            area = np.trapezoid(np.concatenate([[0.0], gained]), np.concatenate([[0.0], share]))
            draws.append(area / gained[-1] if gained[-1] > 0 else np.nan)
    return percentile_interval(value, draws, n_groups=int(code.max()) + 1)


def cpt(curve: Curve, target: float, weak: float, strong: float) -> float | None:
    """CPT(p): smallest strong share (or cost share) with PGR >= p, by linear interpolation.

    A curve may dip; its running maximum is used, so that the answer is the first share that reaches the target.

    Args:
        curve: from ``routing_curve`` or ``sampled_curve``.
        target: p, 0..1 (0.5 for CPT(50)).
        weak: mean quality of the weak model.
        strong: mean quality of the strong model.

    Returns:
        The share, or None where the curve never reaches p.
    """
    reached = np.maximum.accumulate(pgr(curve.quality, weak, strong))
    at = int(np.searchsorted(reached, target - 1e-12))
    if at == reached.size:
        return None
    if at == 0:
        return float(curve.x[0])
    below, above = float(reached[at - 1]), float(reached[at])
    part = min(1.0, (target - below) / (above - below))
    return float(curve.x[at - 1] + part * (curve.x[at] - curve.x[at - 1]))


def capgr(
    cost: npt.ArrayLike, quality: npt.ArrayLike, minimal: tuple[float, float], frontier: tuple[float, float]
) -> float:
    """cAPGR: APGR for four tiers, over cost in place of the strong share.

    x = (cost - cost(always minimal)) / (cost(always frontier) - cost(always minimal)); PGR with always-minimal as the
    weak and always-frontier as the strong model; integral over x in [0, 1]. The two ends are operating points of every
    policy (it can always be turned into a constant), so they are added; points outside [0, 1] are cut off.

    Args:
        cost: cost of each operating point.
        quality: quality of each operating point.
        minimal: (cost, quality) of always-minimal.
        frontier: (cost, quality) of always-frontier.

    Raises:
        InputError: frontier is not both dearer and better than minimal.
    """
    paid = floats("cost", cost, empty=True)
    got = floats("quality", quality, like=paid.size, empty=True)
    span = frontier[0] - minimal[0]
    if span <= 0:
        raise InputError("always-frontier costs no more than always-minimal", field="frontier")
    x = np.concatenate([[0.0, 1.0], (paid - minimal[0]) / span])
    y = np.concatenate([[minimal[1], frontier[1]], got])
    order = np.lexsort((y, x))
    grid = np.unique(np.clip(x, 0.0, 1.0))
    return apgr(Curve(grid, np.interp(grid, x[order], y[order])), minimal[1], frontier[1])


def pareto_front(cost: npt.ArrayLike, quality: npt.ArrayLike) -> Curve:
    """Return the points that no other point beats: cheaper or equal and better, ascending in cost."""
    paid = floats("cost", cost)
    got = floats("quality", quality, like=paid.size)
    order = np.lexsort((-got, paid))
    best = np.maximum.accumulate(got[order])
    keep = np.concatenate([[True], np.diff(best) > 0])
    return Curve(paid[order][keep], got[order][keep])


def hull(cost: npt.ArrayLike, quality: npt.ArrayLike) -> Curve:
    """Return the non-decreasing convex hull: the least concave, non-decreasing curve over all points.

    Between two points of it a router can mix at random, so the hull is what the points make reachable (RouterBench).
    """
    front = pareto_front(cost, quality)
    kept: list[int] = []
    for index in range(front.x.size):
        while len(kept) >= 2 and _bends_up(front, kept[-2], kept[-1], index):
            kept.pop()
        kept.append(index)
    return Curve(front.x[kept], front.quality[kept])


def aiq(
    cost: npt.ArrayLike,
    quality: npt.ArrayLike,
    *,
    max_cost: float | None = None,
    division: Literal["range", "max"] = "range",
) -> float:
    """AIQ: mean height of the non-decreasing convex hull, extended flat to the largest cost compared.

    Args:
        cost: cost of the router's operating points.
        quality: their quality.
        max_cost: C, the largest cost over ALL compared routers; None: this router's own.
        division: ``range`` (the paper): area / (C - c_min), a mean quality. ``max`` (the RouterBench repository):
            area / C, which counts the stretch below the cheapest point as quality 0.

    Raises:
        InputError: ``max_cost`` is below a point's cost, or there is no area (one cost only, ``range``).
    """
    over = hull(cost, quality)
    dearest = float(np.max(floats("cost", cost)))
    end = dearest if max_cost is None else max_cost
    if end < dearest:
        raise InputError(f"expected at least {dearest:g}, the dearest point, got {end:g}", field="max_cost")
    width = end - float(over.x[0]) if division == "range" else end
    if width <= 0:
        raise InputError("all points cost the same: there is no area", field="cost")
    x = np.append(over.x, end)
    return float(np.trapezoid(np.append(over.quality, over.quality[-1]), x)) / width


def pareto_distance(
    point: tuple[float, float], cost: npt.ArrayLike, quality: npt.ArrayLike, *, cost_scale: float
) -> float:
    """Distance of an operating point from the Pareto front of others: 0 on or beyond the front.

    The least Euclidean move, in (cost / cost_scale, quality), that puts the point on the staircase of the front, i.e.
    to where no other point is both no dearer and better. LLMRouterBench (2601.07206) compares routers by their distance
    to the front; the scale and the Euclidean norm are choices of this module.

    Args:
        point: (cost, quality) of the router.
        cost: costs of the compared points.
        quality: their quality.
        cost_scale: the cost that counts as much as 1.0 of quality, e.g. that of frontier-only.
    """
    front = pareto_front(cost, quality)
    x, y = front.x / cost_scale, front.quality
    px, py = point[0] / cost_scale, point[1]
    if not ((x <= px) & (y > py)).any():
        return 0.0
    # The staircase: from each front point flat right to the next one's cost, then up; left of the cheapest point all
    # is undominated, so moving straight left past it is a way out as well.
    moves = [px - float(x[0]), float(y[x <= px].max()) - py]
    for step in range(x.size - 1):
        dx, dy = max(0.0, px - float(x[step + 1])), max(0.0, float(y[step]) - py)
        moves.append(float(np.hypot(dx, dy)))
    return min(moves)


def _bends_up(curve: Curve, first: int, middle: int, last: int) -> bool:
    x, y = curve.x, curve.quality
    left = (y[middle] - y[first]) * (x[last] - x[first])
    return bool(left <= (y[last] - y[first]) * (x[middle] - x[first]))


def _triple(score: npt.ArrayLike, weak: npt.ArrayLike, strong: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    rank = floats("score", score)
    return rank, floats("weak", weak, like=rank.size), floats("strong", strong, like=rank.size)


def _covers(curve: Curve) -> None:
    x = curve.x
    if x.size < 2 or x[0] != 0.0 or x[-1] != 1.0 or (np.diff(x) < 0).any():
        raise InputError("expected shares that ascend from 0 to 1", field="curve")
