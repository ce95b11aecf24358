"""Paired bootstrap over groups: intervals for ratios and differences of sums.

Rows of one task are not independent, so whole groups are drawn, never rows. Numerator and denominator of a ratio are
summed over the same draw ("paired"), which is what makes the interval of a ratio to a baseline narrow.
Source: Efron and Tibshirani 1993, chapter 13 (percentile interval); the cluster form is the usual one.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Floats, Ints, codes, floats

RESAMPLES = 1_000
CHUNK = 64
"""Resamples drawn at once: bounds the memory at CHUNK times the number of groups."""


class Interval(msgspec.Struct, frozen=True):
    """A point estimate and its 95 % interval; ``low`` and ``high`` are None where there is only one group."""

    value: float
    low: float | None = None
    high: float | None = None


class NonInferiority(msgspec.Struct, frozen=True, kw_only=True):
    """Whether quality is kept up to a margin.

    ``holds`` is the decision at 2.5 % one-sided: the lower end of the 95 % interval is at least ``1 - margin``.
    ``p_value`` is the share of resamples below ``1 - margin``.
    """

    retention: Interval
    margin: float
    holds: bool
    p_value: float | None


def group_sums(values: npt.ArrayLike, groups: npt.ArrayLike) -> Floats:
    """Return the column sums of ``values`` (n, k) for each group: (g, k), groups in sorted order."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise InputError(f"expected two dimensions, got shape {table.shape}", field="values")
    code = codes("groups", groups, like=table.shape[0])
    n_groups = int(code.max()) + 1 if code.size else 0
    columns = [np.bincount(code, weights=column, minlength=n_groups) for column in table.T]
    return np.stack(columns, axis=1) if columns else np.zeros((n_groups, 0))


def resampled_counts(n_groups: int, *, seed: int, resamples: int = RESAMPLES) -> Iterator[Ints]:
    """Yield how often each group is drawn, in blocks of up to ``CHUNK`` resamples: (block, n_groups) counts.

    Each resample draws as many groups as there are, with replacement. The same seed, number of groups and number of
    resamples give the same draws, whatever is then summed: that is what pairs the statistics of several policies.

    Raises:
        InputError: there is no group.
    """
    if n_groups < 1:
        raise InputError("expected at least one group", field="groups")
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        drawn = rng.integers(0, n_groups, size=(size, n_groups), dtype=np.int64)
        drawn += (np.arange(size) * n_groups)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_groups).reshape(size, n_groups)


def resampled_sums(sums: npt.ArrayLike, *, seed: int, resamples: int = RESAMPLES) -> Floats:
    """Return the totals of ``resamples`` draws of groups.

    Args:
        sums: (g, k) sums by group, from ``group_sums``.
        seed: see ``resampled_counts``.
        resamples: number of draws.

    Returns:
        (resamples, k) totals.
    """
    table = np.asarray(sums, dtype=np.float64)
    counts = resampled_counts(table.shape[0], seed=seed, resamples=resamples)
    return np.concatenate([block.astype(np.float64) @ table for block in counts])


def percentile_interval(value: float, draws: npt.ArrayLike, *, n_groups: int) -> Interval:
    """Return the 95 % percentile interval of ``draws``; non-finite draws (an empty denominator) are left out.

    Draws are rounded to 12 decimals: sums over groups differ in the last bit with the order of addition, and an
    interval must not.
    """
    array = np.asarray(draws, dtype=np.float64)
    array = np.round(array[np.isfinite(array)], 12) + 0.0
    if n_groups < 2 or not array.size:
        return Interval(value)
    low, high = np.quantile(array, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def ratio_interval(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return sum(numerator) / sum(denominator) with a paired bootstrap interval over ``groups``.

    Raises:
        InputError: lengths differ, or the denominator sums to 0.
    """
    top = floats("numerator", numerator)
    bottom = floats("denominator", denominator, like=top.size)
    if bottom.sum() == 0:
        raise InputError("sums to 0, so the ratio is not defined", field="denominator")
    sums = group_sums(np.stack([top, bottom], axis=1), groups)
    totals = resampled_sums(sums, seed=seed, resamples=resamples)
    draws = _ratios(totals)
    return percentile_interval(float(top.sum() / bottom.sum()), draws, n_groups=sums.shape[0])


def non_inferiority(
    quality: npt.ArrayLike,
    baseline: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    seed: int,
    margin: float = 0.03,
    resamples: int = RESAMPLES,
) -> NonInferiority:
    """Test that retention is at least ``1 - margin`` (quality retention, margin 3 %).

    H0: mean(quality) < (1 - margin) mean(baseline). H0 is rejected (``holds``) when the lower end of the two-sided 95 %
    paired bootstrap interval of the ratio is not below ``1 - margin``.

    Raises:
        InputError: lengths differ, the baseline sums to 0, or the margin is not in [0, 1).
    """
    if not 0.0 <= margin < 1.0:
        raise InputError(f"expected a margin in [0, 1), got {margin:g}", field="margin")
    top, bottom = floats("quality", quality), floats("baseline", baseline)
    retention = ratio_interval(top, bottom, groups, seed=seed, resamples=resamples)
    sums = group_sums(np.stack([top, bottom], axis=1), groups)
    if sums.shape[0] < 2 or retention.low is None:
        return NonInferiority(retention=retention, margin=margin, holds=False, p_value=None)
    draws = _ratios(resampled_sums(sums, seed=seed, resamples=resamples))
    draws = draws[np.isfinite(draws)]
    return NonInferiority(
        retention=retention,
        margin=margin,
        holds=retention.low >= 1.0 - margin,
        p_value=float((draws < 1.0 - margin).mean()),
    )


def _ratios(totals: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Floats = totals[:, 0] / totals[:, 1]
    return ratios
