"""Saving at a promised quality, and AUC."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import InputError
from agentrouter.lab.metrics.operating_point import Swept, operating_point
from agentrouter.lab.metrics.ranking import auc


def swept(kept: list[list[float]], cost: list[list[float]], groups: str) -> Swept:
    n = len(groups)
    return Swept(
        kept=np.array(kept), cost=np.array(cost), reference=np.ones(n), base=np.full(n, 10.0), groups=list(groups)
    )


# Settings: all cheap, half cheap, frontier only.
FIRST = swept([[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]], [[1] * 4, [1, 10, 1, 10], [10] * 4], "abcd")
# A source on which cheap is twice as good as the reference: it counts as 1.
SECOND = swept([[2, 2], [2, 2], [1, 1]], [[1, 1], [1, 1], [10, 10]], "ef")


def test_by_hand() -> None:
    # Retention: all cheap (.5 + 1) / 2 = .75, half (.75 + 1) / 2 = .875, frontier 1.
    # Saving: (.9 + .9) / 2 = .9, half (.45 + .9) / 2 = .675, 0.
    found = {target: operating_point([FIRST, SECOND], target) for target in (0.7, 0.8, 0.875, 0.9, 1.0)}
    assert [point.saving.value for point in found.values()] == pytest.approx([0.9, 0.675, 0.675, 0.0, 0.0])
    assert [point.setting for point in found.values()] == [0, 1, 1, 2, 2]
    assert np.array(found[0.8].by_source) == pytest.approx(np.array([(0.45, 0.75), (0.9, 2.0)]))
    assert found[0.8].retention == pytest.approx(0.875)


def test_a_good_source_does_not_pay_for_another() -> None:
    # Uncapped, the mean retention of all cheap would be (.5 + 2) / 2 = 1.25.
    assert operating_point([FIRST, SECOND], 0.9).setting == 2


def test_no_setting_keeps_the_target() -> None:
    bad = swept([[0, 1]], [[1, 1]], "ab")
    point = operating_point([bad], 0.9)
    assert (point.saving.value, point.setting, point.retention, point.by_source) == (0.0, None, None, ())


def test_interval_holds_the_value_and_repeats() -> None:
    point = operating_point([FIRST, SECOND], 0.8, seed=3)
    assert point == operating_point([FIRST, SECOND], 0.8, seed=3)
    assert point.saving.low is not None
    assert point.saving.high is not None
    assert point.saving.low <= point.saving.value <= point.saving.high


def test_settings_must_agree() -> None:
    with pytest.raises(InputError, match="same settings"):
        operating_point([FIRST, swept([[1]], [[1]], "a")], 0.9)
    with pytest.raises(InputError, match="at least one source"):
        operating_point([], 0.9)


def test_auc_by_hand() -> None:
    # Good rows score 3 and 1, bad ones 2 and 1: pairs 3>2, 3>1, 1<2, 1=1: (1 + 1 + 0 + .5) / 4.
    assert auc([3, 1, 2, 1], [1, 1, 0, 0]) == pytest.approx(0.625)
    # The tie weighs twice: good 1 (weight 2) against bad 2 and 1: (2 of 6 from the 3) + 2 * .5 / 6.
    assert auc([3, 1, 2, 1], [1, 1, 0, 0], [1, 2, 1, 1]) == pytest.approx((1 + 1 + 2 * 0.5) / 6)
    assert auc([1, 2], [1, 1]) is None


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_turns_round_with_the_score(rows: list[tuple[float, bool]]) -> None:
    score, good = [x for x, _ in rows], [float(y) for _, y in rows]
    found, turned = auc(score, good), auc([-x for x in score], good)
    if found is None or turned is None:
        assert len(set(good)) == 1
    else:
        assert found + turned == pytest.approx(1.0)
