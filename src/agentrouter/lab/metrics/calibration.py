"""Are predicted probabilities honest, and do conformal guarantees hold?

Sources: ECE with equal-mass bins: Nixon et al. 2019 (1904.01685); conformal risk control: 2208.02814.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Floats, floats, tiers

BINS = 15


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """One bin of a reliability diagram."""

    n: int
    predicted: float
    """Mean predicted probability in the bin."""
    observed: float
    """Mean outcome in the bin."""


class ConformalSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a conformal threshold did over many splits."""

    mean_risk: float
    """Mean test risk; the guarantee is on this mean: at most alpha, up to sampling error."""
    coverage: float
    """Share of splits whose test risk is at most alpha; no guarantee is made of a single split."""
    mean_share_down: float
    """Mean share of steps routed below the frontier."""
    splits: int


def brier(probability: npt.ArrayLike, outcome: npt.ArrayLike) -> float:
    """Brier = mean (p - y)^2; 0 is best, 0.25 is what a constant 0.5 gets."""
    p, y = _pair(probability, outcome)
    return float(((p - y) ** 2).mean())


def reliability(probability: npt.ArrayLike, outcome: npt.ArrayLike, *, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the reliability diagram over ``bins`` bins of (nearly) equal mass, ascending in probability.

    Equal predictions always fall into one bin, so that the order of the rows cannot matter; a scorer with few distinct
    values gets fewer bins.
    """
    p, y = _pair(probability, outcome)
    values, first = np.unique(np.sort(p), return_index=True)
    # The bin of a value is where the first of its rows would fall among n / bins equal parts.
    bin_of_value = first * bins // p.size
    code = bin_of_value[np.searchsorted(values, p)]
    out = []
    for index in np.unique(code):
        inside = code == index
        out.append(
            ReliabilityBin(n=int(inside.sum()), predicted=float(p[inside].mean()), observed=float(y[inside].mean()))
        )
    return tuple(out)


def ece(probability: npt.ArrayLike, outcome: npt.ArrayLike, *, bins: int = BINS) -> float:
    """ECE = sum_b (n_b / n) |mean p_b - mean y_b| over equal-mass bins; 0 is best.

    It is biased upwards by about sqrt(bins / n) / 3 even for perfect probabilities: compare only at equal n.
    """
    parts = reliability(probability, outcome, bins=bins)
    n = sum(part.n for part in parts)
    return sum(part.n * abs(part.predicted - part.observed) for part in parts) / n


def tier_reliability(
    probabilities: npt.ArrayLike, outcomes: npt.ArrayLike, *, bins: int = BINS
) -> tuple[tuple[ReliabilityBin, ...], ...]:
    """Return ``reliability`` of each tier's p_ok.

    Args:
        probabilities: (n, 4) P(the tier handles the step acceptably).
        outcomes: (n, 4) what it did, NaN where not measured; those entries are left out tier by tier.
        bins: number of equal-mass bins.

    Returns:
        One diagram a tier, minimal first; empty where a tier was never measured.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    if p.ndim != 2 or p.shape != y.shape:
        raise InputError(f"expected two equal (n, tiers) tables, got {p.shape} and {y.shape}", field="probabilities")
    known = ~np.isnan(y)
    return tuple(
        reliability(p[known[:, a], a], y[known[:, a], a], bins=bins) if known[:, a].any() else ()
        for a in range(p.shape[1])
    )


def ordinal_ece(p_above: npt.ArrayLike, gold: npt.ArrayLike, *, bins: int = BINS) -> tuple[float, ...]:
    """ECE of each cumulative event of an ordinal scorer: P(m* > j), j = 0, 1, 2.

    Args:
        p_above: (n, 3) predicted P(minimal sufficient tier > j).
        gold: minimal sufficient tiers.
        bins: number of equal-mass bins.
    """
    p = np.asarray(p_above, dtype=np.float64)
    if p.ndim != 2:
        raise InputError(f"expected two dimensions, got shape {p.shape}", field="p_above")
    label = tiers("gold", gold, like=p.shape[0])
    return tuple(ece(p[:, j], label > j, bins=bins) for j in range(p.shape[1]))


def conformal_summary(test_risks: npt.ArrayLike, shares_down: npt.ArrayLike, *, alpha: float) -> ConformalSummary:
    """Summarise conformal risk control over resplits: mean risk, coverage, share routed down .

    Args:
        test_risks: mean loss on the test part of each split, at the threshold its calibration part gave.
        shares_down: share of steps routed below the frontier in each split.
        alpha: the risk that was asked for.
    """
    risk = floats("test_risks", test_risks)
    down = floats("shares_down", shares_down, like=risk.size)
    return ConformalSummary(
        mean_risk=float(risk.mean()),
        coverage=float((risk <= alpha).mean()),
        mean_share_down=float(down.mean()),
        splits=risk.size,
    )


def set_size(p_above: npt.ArrayLike, level: float) -> float:
    """Mean size of the sets of tiers that a step may need: {a : P(m* = a) >= level}, 0..4.

    Args:
        p_above: (n, 3) P(m* > j), non-increasing in j.
        level: least probability of a tier in the set.
    """
    p = np.asarray(p_above, dtype=np.float64)
    edges = np.concatenate([np.ones((p.shape[0], 1)), p, np.zeros((p.shape[0], 1))], axis=1)
    return float((edges[:, :-1] - edges[:, 1:] >= level).sum(axis=1).mean())


def _pair(probability: npt.ArrayLike, outcome: npt.ArrayLike) -> tuple[Floats, Floats]:
    p = floats("probability", probability)
    if (p < 0).any() or (p > 1).any():
        raise InputError("expected values in [0, 1]", field="probability")
    return p, floats("outcome", outcome, like=p.size)
