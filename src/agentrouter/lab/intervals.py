"""Bootstrap intervals of savings over tasks.

Law: seeded and independent of the order in which tasks were read. Source: Efron and Tibshirani, An Introduction to the
Bootstrap (1993), chapter 13 (percentile interval of a ratio of sums, resampling whole units).
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

MAX_UNITS = 4_096
"""Above this many tasks, tasks are pooled at random (by a hash of their names) and the pools are resampled: the
variance of a sum over many independent tasks is the same, and the work stays bounded."""

_BATCH = 128
"""Resamples drawn at once, to bound memory."""


class Interval(msgspec.Struct, frozen=True):
    """Both ends of an interval of a share."""

    low: float
    high: float


def pooled(names: Sequence[str], sums: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the resampling units: ``sums`` itself (rows = tasks), or its rows pooled into ``MAX_UNITS``."""
    if len(names) <= MAX_UNITS:
        return sums.astype(np.float64)
    pools = np.zeros((MAX_UNITS, sums.shape[1]), np.float64)
    np.add.at(pools, [pool_of(name) for name in names], sums)
    return pools


def pool_of(task: str) -> int:
    """Return the pool of a task, 0 to ``MAX_UNITS`` - 1; the same in every process."""
    return crc32(task.encode("utf-8", "surrogatepass")) % MAX_UNITS


def resampled(units: npt.NDArray[np.float64], resamples: int, seed: int) -> npt.NDArray[np.float64] | None:
    """Return the column sums of ``resamples`` bootstrap samples, shape (resamples, columns); None: under two units."""
    count = len(units)
    if count < 2 or resamples < 1:
        return None
    generator = np.random.default_rng(seed)
    even = np.full(count, 1.0 / count)
    parts = []
    for start in range(0, resamples, _BATCH):
        weights = generator.multinomial(count, even, size=min(_BATCH, resamples - start))
        parts.append(weights.astype(np.float64) @ units)
    return np.concatenate(parts)


def saving_share(baseline: float, policy: float) -> float | None:
    """Return 1 - policy / baseline; None: nothing was spent, so there is no share."""
    return 1.0 - policy / baseline if baseline > 0 else None


def share_interval(
    baseline: npt.NDArray[np.float64], policy: npt.NDArray[np.float64], confidence: float
) -> Interval | None:
    """Return the percentile interval of 1 - policy / baseline over resamples; None: no resample has a baseline."""
    valid = baseline > 0
    if not valid.any():
        return None
    shares = 1.0 - policy[valid] / baseline[valid]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(shares, (tail, 1.0 - tail))
    return Interval(float(low), float(high))
