"""The fits: equal to the library or the closed form they stand for, repeatable; the served scorer is the fitted one."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from scipy import sparse, special

from agentrouter.errors import InputError, ModelFileError
from agentrouter.learn import rivals
from agentrouter.learn.rival_inputs import Inputs, balanced
from agentrouter.scorers import load
from agentrouter.scorers.artefact import Artefact, packed, read_artefact
from agentrouter.scorers.gbdt import GbdtScorer
from agentrouter.scorers.knn import KnnScorer

from .made_rows import made_inputs, made_step

INPUTS, STEPS = made_inputs()


def artefact(files: dict[str, bytes]) -> Artefact:
    return read_artefact(files.__getitem__, "test")


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_fit_is_repeatable_and_tells_easy_from_hard(name: str) -> None:
    files = rivals.fit(name, INPUTS, card="# made\n")
    assert files == rivals.fit(name, INPUTS, card="# made\n")
    scorer = load(name, artefact(files))
    easy, hard = (scorer.score(*made_step(9_999, hard=hard)).p_ok for hard in (False, True))
    # Made with .93 and .1 on the lowest tier; length alone tells the table and the trees, words the others.
    assert easy[0] > 0.7
    assert hard[0] < 0.4
    assert all(low <= high for low, high in pairwise(hard))
    assert hard[3] > hard[0] + 0.2


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_the_served_scorer_is_the_fitted_one(name: str) -> None:
    """Calibration was fitted on what the fit predicted; the scorer must predict that."""
    train = INPUTS.weight * ~rivals.held_out(INPUTS.groups, 0)[:, None]
    fitted = rivals.RIVALS[name](INPUTS, train, 0)
    made = rivals.fit(name, INPUTS)
    # Without calibration the scorer gives sigmoid of its raw logits, put in order.
    config = msgspec.structs.replace(artefact(made).config, calibration=())
    scorer = load(name, artefact(packed(config, fitted.arrays, "")))
    from agentrouter.scorers.ordinal import monotone, sigmoid

    for row in range(0, 400, 7):
        expected = monotone([sigmoid(x) for x in fitted.logits[row].tolist()])
        # knn: the points are kept in half precision, so a tie among neighbours may fall otherwise.
        near = 0.06 if name == "knn" else 1e-4
        assert scorer.score(*STEPS[row]).p_ok == pytest.approx(expected, abs=near)


def test_trees_give_scikit_learns_own_bits() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(3)
    columns = INPUTS.numeric.shape[1]
    x = rng.normal(size=(600, columns)).round(2)
    models = []
    for tier in range(4):
        y = (x[:, tier] + x[:, 10 + tier] * x[:, 20] + rng.normal(size=600) > 0).astype(int)
        model = HistGradientBoostingClassifier(max_iter=15 + tier, max_leaf_nodes=5 + 4 * tier, early_stopping=False)
        models.append(model.fit(x, y))
    arrays, depth = rivals.exported(models)
    config = artefact(rivals.fit("gbdt", INPUTS)).config
    config = msgspec.structs.replace(config, parameters={"depth": float(depth)})
    scorer = GbdtScorer(artefact(packed(config, arrays, "")))
    # Rows never seen, and rows that lie on the very thresholds of the first trees.
    fresh = rng.normal(size=(300, columns))
    edge = np.repeat(fresh[:1], arrays["threshold"][:60].size, axis=0)
    edge[np.arange(edge.shape[0]), arrays["feature"][:60]] = arrays["threshold"][:60]
    rows = np.concatenate([fresh, edge, x[:100]])
    expected = np.stack([model.decision_function(rows) for model in models], axis=1)
    assert np.array([scorer.logits(row) for row in rows]).tolist() == expected.tolist()


def test_logistic_head_equals_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    x = sparse.csr_array(rng.normal(size=(300, 8)))
    y = (x @ np.arange(8.0) + rng.normal(size=300) > 0).astype(np.float64)
    weight = rng.uniform(0.5, 2.0, 300)
    l2 = 0.01
    w, b = rivals.logistic(x, y, weight, l2=l2)
    # Theirs minimises C sum w loss + |w|^2 / 2, ours sum w loss / sum w + l2 |w|^2 / 2: C = 1 / (l2 sum w).
    model = LogisticRegression(C=1 / (l2 * weight.sum()), tol=1e-10, max_iter=5_000).fit(x.toarray(), y, weight)
    assert w == pytest.approx(model.coef_[0], abs=2e-4)
    assert b == pytest.approx(model.intercept_[0], abs=2e-4)


def test_soft_targets_are_weighted_pairs_of_hard_ones() -> None:
    x = sparse.csr_array(np.array([[0.0], [1.0], [2.0]]))
    soft = rivals.logistic(x, np.array([0.2, 0.5, 0.9]), np.ones(3), l2=0.1)
    twice = sparse.csr_array(np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]]))
    hard = rivals.logistic(twice, np.array([1.0] * 3 + [0.0] * 3), np.array([0.2, 0.5, 0.9, 0.8, 0.5, 0.1]), l2=0.1)
    assert soft[0] == pytest.approx(hard[0], abs=1e-5)
    assert soft[1] == pytest.approx(hard[1], abs=1e-5)


def small(keys: list[tuple[str, ...]], target: list[list[float]]) -> Inputs:
    y = np.array(target)
    n = len(keys)
    empty = sparse.csr_array((n, rivals.BUCKETS))
    weight = np.where(np.isnan(y), 0.0, 1.0)
    return Inputs(
        keys=keys,
        words=empty,
        numeric=np.zeros((n, 1)),
        target=y,
        weight=weight,
        groups=[str(i) for i in range(n)],
        sources=["s"] * n,
    )


def test_role_table_by_hand() -> None:
    nan = float("nan")
    rows = [[1.0, 1.0, 1.0, 1.0]] * 4 + [[0.0, 0.0, 1.0, nan]] * 2
    inputs = small([("", "plan")] * 4 + [("", "chat")] * 2, rows)
    found = rivals.fit_role_table(inputs, inputs.weight, 0)
    table = dict(zip(found.keys, found.arrays["p_ok"].tolist(), strict=True))
    # All: Beta(1, 1): (4 + 1) / (6 + 2), the same, (6 + 1) / (6 + 2), and 4 of 4 measured: 5 / 6.
    assert table[""] == pytest.approx([5 / 8, 5 / 8, 7 / 8, 5 / 6])
    # plan: (4 + 10 * parent) / (4 + 10). chat: (0 + 10 * 5/8) / 12, (2 + 10 * 7/8) / 12; frontier unmeasured: parent's.
    assert table["plan"] == pytest.approx([10.25 / 14, 10.25 / 14, 12.75 / 14, (4 + 50 / 6) / 14])
    assert table["chat"] == pytest.approx([6.25 / 12, 6.25 / 12, 10.75 / 12, 5 / 6])


def test_thin_cells_are_left_to_their_parent() -> None:
    # One row of weight 4 in all tiers together: below MIN_CELL.
    inputs = small([("", "plan")] * 9 + [("", "chat")], [[1.0] * 4] * 10)
    assert "chat" not in rivals.fit_role_table(inputs, inputs.weight, 0).keys


def neighbours(k: int) -> KnnScorer:
    config = msgspec.structs.replace(artefact(rivals.fit("knn", INPUTS)).config, calibration=(), parameters={"k": k})
    fitted = rivals.fit_knn(INPUTS, INPUTS.weight, 0)
    return KnnScorer(artefact(packed(config, fitted.arrays, "")))


def test_all_neighbours_give_the_marginals() -> None:
    known = INPUTS.weight.sum(axis=0)
    mean = np.nansum(INPUTS.target, axis=0) / known
    # Shrinking the mean of all to the mean of all changes nothing.
    expected = sorted(((mean * known + mean) / (known + 1)).tolist())
    found = neighbours(400).score(*made_step(1, hard=True)).p_ok
    assert found == pytest.approx(expected, abs=1e-3)


def test_one_neighbour_is_the_step_itself() -> None:
    scorer = neighbours(1)
    mean = np.nansum(INPUTS.target, axis=0) / INPUTS.weight.sum(axis=0)
    hits = 0
    for row in range(0, 400, 5):
        y, w = np.nan_to_num(INPUTS.target[row]), INPUTS.weight[row]
        expected = (w * y + mean) / (w + 1)
        if all(low <= high for low, high in pairwise(expected.tolist())):
            hits += 1
            assert scorer.score(*STEPS[row]).p_ok == pytest.approx(tuple(expected), abs=1e-2)
    assert hits >= 10


def test_calibration_recovers_what_made_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    logits = np.repeat(rng.normal(size=(20_000, 1)), 4, axis=1)
    made = np.array([-1.0, -0.2, 0.5, 1.5])
    target = (rng.random((20_000, 4)) < special.expit(0.7 * logits + made)).astype(np.float64)
    found = rivals.ordinal_calibration(logits, target, np.ones((20_000, 4)))
    assert [slope for slope, _ in found] == pytest.approx([0.7] * 4, abs=0.03)
    assert [cut for _, cut in found] == pytest.approx(made, abs=0.06)


def test_calibration_keeps_tiers_in_order_where_data_does_not() -> None:
    logits, target = np.zeros((400, 4)), np.tile([1.0, 0.0, 0.0, 0.0], (400, 1))
    cuts = [cut for _, cut in rivals.ordinal_calibration(logits, target, np.ones((400, 4)))]
    assert all(high - low >= rivals.GAP - 1e-5 for low, high in pairwise(cuts))


def test_held_out_takes_whole_groups_about_as_many_as_asked() -> None:
    groups = [f"g{i // 3}" for i in range(9_000)]
    held = rivals.held_out(groups, 0)
    assert all(len(set(held[i : i + 3])) == 1 for i in range(0, 9_000, 3))
    # 3,000 groups, p = .15: five standard errors are .033.
    assert held.mean() == pytest.approx(rivals.CALIBRATION_SHARE, abs=0.033)
    assert (rivals.held_out(groups, 1) != held).any()


def test_balance_half_way() -> None:
    weight = balanced(np.array([[1.0]] * 9 + [[1.0]]), ["a"] * 9 + ["b"])
    # Totals 9 and 1 become 9 ** .5 = 3 and 1: a's rows weigh a third of b's.
    assert weight[0, 0] / weight[9, 0] == pytest.approx(1 / 3)
    assert weight.mean() == pytest.approx(1.0)
    assert balanced(np.array([[1.0], [1.0], [1.0]]), ["a", "a", "b"], power=1.0)[:, 0].tolist() == [0.75, 0.75, 1.5]


def test_what_cannot_be_fitted_is_said() -> None:
    with pytest.raises(InputError, match="no rival 'forest'"):
        rivals.fit("forest", INPUTS)
    bare = msgspec.structs.replace(INPUTS, weight=INPUTS.weight * np.array([1.0, 1.0, 1.0, 0.0]))
    with pytest.raises(InputError, match="every tier"):
        rivals.fit("role-table", bare)
    one = msgspec.structs.replace(INPUTS, groups=["g"] * 400)
    with pytest.raises(InputError, match="too few groups"):
        rivals.fit("role-table", one)


def test_trees_that_point_outside_are_refused() -> None:
    made = artefact(rivals.fit("gbdt", INPUTS))
    arrays = dict(made._arrays)
    for name in ("left", "right", "feature", "roots"):
        broken = {**arrays, name: np.full_like(arrays[name], 30_000)}
        with pytest.raises(ModelFileError, match="points outside"):
            GbdtScorer(artefact(packed(made.config, broken, "")))
