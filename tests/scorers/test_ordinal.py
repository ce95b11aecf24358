"""Four scores into four ordered probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.scorers.ordinal import calibrated, logit, monotone, sigmoid

FOUR = st.lists(st.floats(0, 1), min_size=4, max_size=4)


def test_violators_are_pooled_to_their_mean() -> None:
    assert monotone([0.1, 0.5, 0.3, 0.9]) == pytest.approx((0.1, 0.4, 0.4, 0.9))
    # All fall: one block, (0.9 + 0.6 + 0.3 + 0.2) / 4 = 0.5.
    assert monotone([0.9, 0.6, 0.3, 0.2]) == pytest.approx((0.5, 0.5, 0.5, 0.5))


@given(FOUR)
def test_order_sum_and_idempotence(p: list[float]) -> None:
    found = monotone(p)
    assert list(found) == sorted(found)
    assert sum(found) == pytest.approx(sum(p))
    assert monotone(found) == pytest.approx(found)


@given(FOUR, FOUR)
def test_nothing_ordered_is_nearer(p: list[float], other: list[float]) -> None:
    near = sum((a - b) ** 2 for a, b in zip(p, monotone(p), strict=True))
    assert near <= sum((a - b) ** 2 for a, b in zip(p, sorted(other), strict=True)) + 1e-12


def test_calibration_mixes_with_the_mean_then_maps() -> None:
    # Logits 0, 0, 0, 4: mean 1, share .3: .7, .7, .7, 1.9; slope 2, intercepts -1, 0, 1, 2: .4, 1.4, 2.4, 5.8.
    found = calibrated([0.0, 0.0, 0.0, 4.0], ((2, -1), (2, 0), (2, 1), (2, 2)))
    assert found == pytest.approx([1 / (1 + math.exp(-z)) for z in (0.4, 1.4, 2.4, 5.8)])


def test_without_calibration_logits_count_as_they_are() -> None:
    assert calibrated([-1.0, 0.0, 1.0, 2.0], ()) == pytest.approx([sigmoid(x) for x in (-1, 0, 1, 2)])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_sigmoid_never_overflows(x: float) -> None:
    assert 0.0 <= sigmoid(x) <= 1.0


def test_logit_undoes_sigmoid() -> None:
    assert logit(sigmoid(1.3)) == pytest.approx(1.3)
    assert math.isfinite(logit(0.0))
    assert math.isfinite(logit(1.0))
