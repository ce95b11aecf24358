"""What a step teaches: success by tier, how sure it is, the cheapest tier that will do, and runs as bags of steps.

Law: pure. Whole outcome vectors are kept: no label assumes that a dearer tier is better, and where one is worse that is
counted. A verdict on a whole run never becomes a label of one of its steps, only a bound:

* all steps of a run that succeeded were handled well enough, so its tier is an upper bound of each step's tier;
* a run that failed has at least one step that failed: P(run fails) = 1 - prod_t (1 - h_t), a noisy-OR over the steps.

All success arrays are (n, 4), minimal tier first, in [0, 1], NaN where not measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from agentrouter.lab.evaluation_figures import SUFFICIENT
from agentrouter.lab.metrics.arrays import Bools, Floats, Ints, known
from agentrouter.types import Tier

FRONTIER = int(Tier.FRONTIER)
NO_TIER = -1

LEVELS: dict[str, float] = {"step": 1.0, "turn": 0.7, "task": 0.25, "trajectory": 0.25}
"""How much a verdict counts, by what was judged; a level of another name counts as ``task``."""
OWN_LEVELS = frozenset({"step", "turn"})
"""Levels at which the verdict is the step's own."""

TOLERANCES: tuple[float, ...] = tuple(step / 20 for step in range(11))
"""Gaps to the frontier tier that are tried: 0, 0.05, ..., 0.5."""
_ROUNDING = 1e-6
"""Recorded means are single precision: smaller gaps are none."""


class TierLabels(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest sufficient tier of n rows, ``NO_TIER`` where it is not known."""

    exact: Ints
    """Judged on the step itself, against the frontier tier, with every cheaper tier measured and found wanting."""
    at_most: Ints
    """Some measured tier was sufficient, so no dearer one is needed; run-level verdicts give only this."""


def own_level(levels: Sequence[str]) -> Bools:
    """Say which rows carry a verdict on the step itself."""
    return np.array([level in OWN_LEVELS for level in levels], dtype=np.bool_)


def weights(levels: Sequence[str], models: Ints, bag_rows: Ints) -> Floats:
    """Return how much each tier's outcome counts.

    w = level / rows of the bag * k / (k + 1), with ``LEVELS`` for the level, k the number of the tier's models that
    were measured on the row (0: w = 0), and 1 row where the verdict is the step's own. k / (k + 1) is the reliability
    of a mean of k models where models of a tier differ as much as one model's chance does; a run is one verdict however
    long it is, so its rows share its weight.

    Args:
        levels: label level of each row.
        models: (n, 4) models measured by tier.
        bag_rows: (n,) rows of the row's bag; read on run-level rows only.
    """
    level = np.array([LEVELS.get(name, LEVELS["task"]) for name in levels], dtype=np.float64)
    share = np.where(own_level(levels), level, level / np.maximum(1, bag_rows))
    found: Floats = share[:, None] * (models / (models + 1.0))
    return found


def violations(success: Floats) -> tuple[Ints, Ints]:
    """Count, row by row, the pairs of measured tiers in which the cheaper did better, and all measured pairs."""
    worse = np.zeros(len(success), dtype=np.int64)
    pairs = np.zeros(len(success), dtype=np.int64)
    for low in range(FRONTIER):
        for high in range(low + 1, FRONTIER + 1):
            both = known(success[:, low]) & known(success[:, high])
            pairs += both
            worse += both & (_filled(success[:, low]) > _filled(success[:, high]) + _ROUNDING)
    return worse, pairs


def mean_difference(labels: Floats) -> float:
    """Return HybridLLM's objective, the mean of |y_i - y_j| over all ordered pairs; 2 p (1 - p) for 0/1 labels."""
    n = labels.size
    if not n:
        return 0.0
    # Sorted ascending, the i-th value is the larger of i pairs and the smaller of n - 1 - i.
    signs = 2.0 * np.arange(n) - (n - 1)
    return float(2.0 * (signs * np.sort(labels)).sum() / n**2)


def tolerances(success: Floats) -> tuple[float, float, float, float]:
    """Choose for each tier the gap to the frontier tier at which "as good as frontier" says most about a row.

    t_a = argmax_t of ``mean_difference`` of 1[s_a >= s_frontier - t], the smallest of equals (HybridLLM, 2404.14618,
    section 3.3, with a tier's mean in place of sampled responses); 0 for the frontier tier and for tiers never measured
    beside it. It leaves 0 only where a tier matches the frontier on less than half of the rows.
    """
    found = [0.0, 0.0, 0.0, 0.0]
    for tier in range(FRONTIER):
        both = known(success[:, tier]) & known(success[:, FRONTIER])
        gap = success[both, FRONTIER] - success[both, tier]
        gains = [mean_difference((gap <= t + _ROUNDING).astype(np.float64)) for t in TOLERANCES]
        found[tier] = TOLERANCES[int(np.argmax(np.round(gains, 12)))]
    return found[0], found[1], found[2], found[3]


def tier_labels(success: Floats, own: Bools, tolerance: Sequence[float]) -> TierLabels:
    """Return the cheapest sufficient tier of each row.

    A tier is sufficient if it comes within its tolerance of the frontier tier's success; where the frontier tier was
    not measured, if its own success is at least 0.5. Where no measured tier reaches 0.5 none is.

    Args:
        success: outcomes.
        own: rows whose verdict is the step's own.
        tolerance: allowed gap by tier (``tolerances``).
    """
    measured = known(success)
    filled = _filled(success)
    relative = filled >= filled[:, FRONTIER:] - np.asarray(tolerance, dtype=np.float64) - _ROUNDING
    enough = np.where(measured[:, FRONTIER:], relative, filled >= SUFFICIENT - _ROUNDING) & measured
    enough &= (filled.max(axis=1, initial=0.0) >= SUFFICIENT - _ROUNDING)[:, None]
    lowest = np.where(enough.any(axis=1), enough.argmax(axis=1), NO_TIER)
    # Cheaper tiers that nobody measured might do too.
    gapless = (measured | (np.arange(FRONTIER + 1) >= lowest[:, None])).all(axis=1)
    sure = own & measured[:, FRONTIER] & gapless
    return TierLabels(exact=np.where(sure, lowest, NO_TIER), at_most=lowest)


def run_failure(step_failure: Floats, bags: Ints) -> Floats:
    """Return P(run fails) = 1 - prod (1 - h) for bags 0..b-1 of steps with failure probabilities ``step_failure``."""
    with np.errstate(divide="ignore"):
        kept = np.log1p(-step_failure)
    found: Floats = -np.expm1(np.bincount(bags, weights=kept))
    return found


def noisy_or(cells: Ints, bags: Ints, failed: Floats, *, rounds: int = 2_000, stop: float = 1e-9) -> Floats:
    """Estimate each cell's step failure probability from which runs failed (expectation maximisation).

    With latent independent step failures of probability h[cell], a step of a failed run failed with probability
    h / P(run fails); the new h is the mean over the cell's steps. The likelihood never falls.

    Args:
        cells: (n,) kind of each step, 0..c-1, each at least once.
        bags: (n,) run of each step, 0..b-1, each at least once.
        failed: (b,) share of the run's repetitions that failed, in [0, 1].
        rounds: at most so many rounds.
        stop: ends when no cell changes by more.

    Returns:
        (c,) probabilities.
    """
    sizes = np.bincount(cells)
    rate = np.full(sizes.size, 0.5)
    for _ in range(rounds):
        step_failure = rate[cells]
        blame = failed[bags] * step_failure / np.maximum(run_failure(step_failure, bags)[bags], 1e-300)
        new: Floats = np.minimum(1.0, np.bincount(cells, weights=blame) / sizes)
        change = float(np.abs(new - rate).max(initial=0.0))
        rate = new
        if change <= stop:
            break
    return rate


def _filled(success: Floats) -> Floats:
    """Return the outcomes with -1 where not measured."""
    found: Floats = np.where(np.isnan(success), -1.0, success)
    return found
