"""Does a higher score mean a better outcome? Area under the ROC curve, with weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentrouter.lab.metrics.arrays import floats


def auc(score: npt.ArrayLike, good: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> float | None:
    """AUC = P(score of a good row > score of a bad row) + P(equal) / 2; None: only good or only bad rows.

    Args:
        score: any numbers.
        good: share of each row that is good, 0..1; a soft row counts on both sides by its shares.
        weight: of each row; None: 1.

    Raises:
        InputError: lengths differ, or a value is not finite.

    Source: Hanley and McNeil 1982 (the Mann-Whitney form).
    """
    s = floats("score", score)
    y = floats("good", good, like=s.size)
    w = np.ones(s.size) if weight is None else floats("weight", weight, like=s.size)
    _, place = np.unique(s, return_inverse=True)
    up = np.bincount(place, weights=w * y)
    down = np.bincount(place, weights=w * (1.0 - y))
    pairs = float(up.sum() * down.sum())
    if pairs <= 0:
        return None
    below = np.cumsum(down) - down
    return float((up * (below + 0.5 * down)).sum()) / pairs
