"""Labels by hand: weights, violations, tolerances, sufficient tiers; the noisy-OR finds what made the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agentrouter.learn.labels import (
    mean_difference,
    noisy_or,
    own_level,
    run_failure,
    tier_labels,
    tolerances,
    violations,
    weights,
)

NAN = float("nan")
EXACT = (0.0, 0.0, 0.0, 0.0)


def test_weights_by_hand() -> None:
    models = np.array([[1, 3, 0, 9], [1, 0, 0, 0], [1, 0, 0, 3], [1, 0, 0, 0], [1, 0, 0, 0]])
    found = weights(["step", "turn", "task", "trajectory", "odd"], models, np.array([7, 1, 5, 1, 2]))
    expected = [
        [1 / 2, 3 / 4, 0.0, 9 / 10],  # the step's own: 1 * k/(k+1), whatever the bag
        [0.7 / 2, 0.0, 0.0, 0.0],
        [0.25 / 5 / 2, 0.0, 0.0, 0.25 / 5 * 3 / 4],  # a run of 5 rows shares its one verdict
        [0.25 / 2, 0.0, 0.0, 0.0],
        [0.25 / 2 / 2, 0.0, 0.0, 0.0],  # an unknown level counts as a run's
    ]
    assert found == pytest.approx(np.array(expected))


def test_violations_by_hand() -> None:
    success = np.array(
        [
            [0.9, 0.5, 0.7, 0.7],  # min > eff, mid, frontier: 3 of 6 pairs
            [0.1, 0.2, 0.3, 0.4],
            [1.0, NAN, NAN, 0.0],  # 1 of 1
            [NAN, 0.5, NAN, NAN],
        ]
    )
    worse, pairs = violations(success)
    assert (worse.tolist(), pairs.tolist()) == ([3, 0, 1, 0], [6, 6, 1, 0])


@pytest.mark.parametrize(("ones", "n"), [(0, 4), (1, 4), (2, 4), (3, 10), (10, 10)])
def test_mean_difference_of_binary_labels(ones: int, n: int) -> None:
    share = ones / n
    assert mean_difference(np.array([1.0] * ones + [0.0] * (n - ones))) == pytest.approx(2 * share * (1 - share))


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_mean_difference_is_the_mean_over_pairs(labels: np.ndarray) -> None:
    assert mean_difference(labels) == pytest.approx(float(np.abs(labels[:, None] - labels).mean()), abs=1e-12)


def test_tolerances_by_hand() -> None:
    frontier = np.ones(10)
    # Matches on 3 of 10 rows; on 6 within 0.2, on 9 within 0.4. 2p(1-p): .42 at 0, .48 from 0.2 on, .18 from 0.4 on.
    minimal = np.array([1.0] * 3 + [0.8] * 3 + [0.6] * 3 + [0.0])
    # Matches on 8 of 10 at once: a gap would only make it 10 of 10.
    efficient = np.array([1.0] * 8 + [0.7] * 2)
    found = tolerances(np.column_stack([minimal, efficient, np.full(10, NAN), frontier]))
    assert found == pytest.approx((0.2, 0.0, 0.0, 0.0))
    assert tolerances(np.empty((0, 4))) == EXACT


@pytest.mark.parametrize(
    ("success", "own", "tolerance", "exact", "at_most"),
    [
        pytest.param([1.0, 1.0, 1.0, 1.0], True, EXACT, 0, 0, id="all do: the cheapest"),
        pytest.param([0.2, 0.6, 0.9, 0.9], True, EXACT, 2, 2, id="as good as frontier"),
        pytest.param([0.2, 0.8, 0.9, 0.9], True, (0.0, 0.1, 0.0, 0.0), 1, 1, id="within the tolerance"),
        pytest.param([0.2, NAN, 0.9, 0.9], True, EXACT, -1, 2, id="a cheaper one was not measured: only a bound"),
        pytest.param([0.9, NAN, NAN, 0.9], True, EXACT, 0, 0, id="dearer ones need no measure"),
        pytest.param([0.9, 0.1, 0.1, 0.2], True, EXACT, 0, 0, id="cheapest better than frontier"),
        pytest.param([0.1, 0.2, 0.3, 0.4], True, (0.3, 0.3, 0.3, 0.0), -1, -1, id="nobody manages"),
        pytest.param([0.2, 0.6, 0.9, 0.9], False, EXACT, -1, 2, id="a run's verdict is a bound"),
        pytest.param([NAN, 0.6, NAN, NAN], True, EXACT, -1, 1, id="no frontier: half is enough, and only a bound"),
        pytest.param([NAN, 0.4, NAN, NAN], True, EXACT, -1, -1, id="no frontier, under a half"),
        pytest.param([NAN, NAN, NAN, NAN], True, EXACT, -1, -1, id="nothing measured"),
    ],
)
def test_cheapest_sufficient_tier(
    success: list[float], own: bool, tolerance: tuple[float, ...], exact: int, at_most: int
) -> None:
    found = tier_labels(np.array([success]), np.array([own]), tolerance)
    assert (found.exact.tolist(), found.at_most.tolist()) == ([exact], [at_most])


@given(
    hnp.arrays(np.float64, (8, 4), elements=st.one_of(st.floats(0, 1), st.just(NAN))),
    hnp.arrays(np.bool_, 8),
)
def test_labels_hold_together(success: np.ndarray, own: np.ndarray) -> None:
    found = tier_labels(success, own, (0.2, 0.1, 0.0, 0.0))
    known = found.exact >= 0
    assert (found.exact[known] == found.at_most[known]).all()
    assert not known[~own].any()
    for row in np.flatnonzero(found.at_most >= 0):
        assert not np.isnan(success[row, found.at_most[row]])


def test_levels() -> None:
    assert own_level(["step", "turn", "task", "trajectory", ""]).tolist() == [True, True, False, False, False]


def test_run_failure_by_hand() -> None:
    # 1 - .5 * .8 = .6; 1 - .9 = .1 -> .1; a step that always fails fails its run.
    found = run_failure(np.array([0.5, 0.1, 0.2, 1.0, 0.3]), np.array([0, 1, 0, 2, 2]))
    assert found == pytest.approx([0.6, 0.1, 1.0])


def test_noisy_or_by_hand() -> None:
    # One kind, runs of one step: the share of failures. Runs of two, three of four failed: 1 - (1-h)^2 = .75, h = .5.
    assert noisy_or(np.zeros(4, int), np.arange(4), np.array([1.0, 0, 0, 0])) == pytest.approx([0.25])
    assert noisy_or(np.zeros(8, int), np.repeat(np.arange(4), 2), np.array([1.0, 1, 1, 0])) == pytest.approx([0.5])
    # Nothing failed, everything failed.
    assert noisy_or(np.zeros(4, int), np.repeat([0, 1], 2), np.zeros(2)) == pytest.approx([0.0])
    assert noisy_or(np.zeros(2, int), np.arange(2), np.ones(2)) == pytest.approx([1.0])


def test_noisy_or_recovers_the_steps_from_the_runs() -> None:
    """methods 5.5, L5: h from run verdicts alone; a label that gives each step its run's verdict is far off."""
    rng = np.random.default_rng(7)
    truth = np.array([0.02, 0.08, 0.2, 0.4])
    runs, length = 6_000, 5
    cells = rng.integers(0, truth.size, runs * length)
    bags = np.repeat(np.arange(runs), length)
    failed_step = rng.random(cells.size) < truth[cells]
    failed = (np.bincount(bags, weights=failed_step) > 0).astype(float)
    found = noisy_or(cells, bags, failed)
    # About 7,500 steps a kind, most hidden in failed runs: 0.02 is some 3 standard errors.
    assert found == pytest.approx(truth, abs=0.02)
    naive = np.bincount(cells, weights=failed[bags]) / np.bincount(cells)
    assert (naive - truth).min() > 0.2
