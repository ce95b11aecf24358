"""Hand-worked values for every metric, and the published fixtures where the shared data are there."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import InputError
from agentrouter.lab.metrics import METRICS, bootstrap, calibration, curves, labels, ope, savings, switching

SHARED = Path(os.environ.get("AGENTROUTER_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
WEAK_MODEL, STRONG_MODEL = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
PUBLISHED = {
    # rows, weak accuracy, strong accuracy, oracle APGR, prompt-length APGR
    "gsm8k": (1307, 0.63734, 0.85769, 1.1309, 0.5979),
    "mmlu": (14037, 0.68091, 0.80587, 1.2896, 0.5832),
}

# Four queries, one of each kind: (weak, strong) = right/right, wrong/right, right/wrong, wrong/wrong, plus one more
# wrong/right so that the strong model is better: weak 2/5, strong 3/5.
WEAK = [1, 0, 1, 0, 0]
STRONG = [1, 1, 0, 0, 1]


def routellm(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    path = SHARED / "steps" / f"routellm_{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    table = polars.read_parquet(path).filter(polars.col("split_hint") == "eval")
    success = [{one["model"]: one["success"] for one in row} for row in table["outcomes"].to_list()]
    weak = np.array([row[WEAK_MODEL] for row in success])
    strong = np.array([row[STRONG_MODEL] for row in success])
    return weak, strong, table["context_chars"].to_numpy()


# --- the table ---


@pytest.mark.parametrize("name", METRICS, ids=str)
def test_every_metric_is_documented(name: str) -> None:
    metric = METRICS[name]
    assert metric.function.__doc__
    assert metric.unit
    assert metric.source
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


# --- savings ---


def test_always_frontier_saves_nothing_and_keeps_everything() -> None:
    cost, quality = [0.1, 0.7, 0.3], [1, 0, 1]
    assert savings.cost_reduction(cost, cost) == 0.0
    assert savings.quality_retention(quality, quality) == 1.0
    assert labels.cost_save([1, 1, 1], cost, cost) == 0.0


def test_cost_reduction_is_a_ratio_of_sums() -> None:
    # 1 - (1 + 4) / (2 + 18) = 0.75, not the mean of 1 - 1/2 and 1 - 4/18.
    assert savings.cost_reduction([1, 4], [2, 18]) == pytest.approx(0.75)
    # A policy dearer than frontier only has a negative reduction: 1 - 30/20.
    assert savings.cost_reduction([10, 20], [2, 18]) == pytest.approx(-0.5)


def test_retention_is_a_ratio_of_means() -> None:
    assert savings.quality_retention([1, 0, 0.5, 1], [1, 1, 0.5, 0]) == pytest.approx(2.5 / 2.5)
    assert savings.quality_retention([1, 0], [1, 1]) == 0.5


def test_bill_adds_gamma_for_each_failure() -> None:
    # 0.2 + 0.3 + 0.6 * (0 + 1) = 1.1; with gamma 2: 0.5 + 2 = 2.5.
    assert savings.bill_usd([0.2, 0.3], [1, 0]) == pytest.approx(1.1)
    assert savings.bill_usd([0.2, 0.3], [1, 0], gamma_usd=2.0) == pytest.approx(2.5)


def test_regret_is_zero_at_the_optimum_and_adds_up() -> None:
    # cost 3 + mu 10 * loss 0.5 - optimum 2 = 6; cost 2 + 0 - 2 = 0.
    by_trajectory = savings.regret([3, 2], [0.5, 0.0], [2, 2], loss_price=10.0)
    assert by_trajectory.tolist() == [6.0, 0.0]
    assert savings.cumulative_regret(by_trajectory).tolist() == [6.0, 6.0]


def test_router_arena_formula() -> None:
    assert savings.arena_cost_score(200.0) == pytest.approx(0.0)
    assert savings.arena_cost_score(0.0044) == pytest.approx(1.0)
    # Halfway in log cost: sqrt(200 * 0.0044) = 0.93808 USD per 1k.
    assert savings.arena_cost_score(math.sqrt(200 * 0.0044)) == pytest.approx(0.5)
    # A = C = x gives 1.1 x x / (0.1 x + x) = x.
    assert savings.arena_mean(0.7, 0.7) == pytest.approx(0.7)
    # A = 0.8, C = 0.5: 1.1 * 0.4 / (0.08 + 0.5) = 0.44 / 0.58.
    assert savings.router_arena_score(0.8, math.sqrt(200 * 0.0044)) == pytest.approx(0.44 / 0.58)
    assert savings.arena_mean(0.0, 0.0) == 0.0


def test_best_single_perf_gain_and_cost_save() -> None:
    quality = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]  # all three models: 2/3
    cost = [[3, 2, 4]] * 3
    single = savings.best_single(quality, cost)
    assert (single.model, single.quality, single.cost) == (1, pytest.approx(2 / 3), 2.0)
    assert savings.perf_gain([1, 1, 1], single) == pytest.approx(0.5)  # 1 / (2/3) - 1
    # The cheapest point that reaches 2/3 costs 1.5: 1 - 1.5/2 = 0.25.
    assert savings.cost_save_at_best_single([1.0, 1.5, 1.8], [0.5, 0.7, 0.9], single) == pytest.approx(0.25)
    assert savings.cost_save_at_best_single([1.0], [0.5], single) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: savings.cost_reduction([1], [1, 2]), "expected 2 values, got 1"),
        (lambda: savings.cost_reduction([0], [0]), "not defined"),
        (lambda: savings.quality_retention([0.0], [0.0]), "not defined"),
        (lambda: savings.cost_reduction([float("nan")], [1]), "value 0 is not a finite number"),
        (lambda: savings.cost_reduction([], []), "at least one"),
        (lambda: savings.cost_reduction([[1]], [1]), "one dimension"),
        (lambda: savings.cost_reduction(["a"], [1]), "expected numbers"),
        (lambda: savings.router_arena_score(0.5, 0.0), "positive cost"),
        (lambda: savings.router_arena_score(1.5, 1.0), "expected 0..1"),
        (lambda: labels.pass_rate([4], [0]), "expected a tier 0..3"),
        (lambda: labels.pass_rate([1.5], [0]), "expected a tier 0..3"),
        (lambda: curves.pgr([0.5], 0.6, 0.6), "not better"),
        (lambda: curves.aiq([1, 1], [0.5, 0.6]), "no area"),
        (lambda: curves.aiq([1, 2], [0.5, 0.6], max_cost=1.5), "at least 2"),
        (lambda: calibration.brier([1.2], [1]), r"\[0, 1\]"),
        (lambda: ope.importance_weights([0.5], [0.0]), "propensity 0"),
        (lambda: ope.snips([1.0], [0.0]), "never took"),
        (lambda: bootstrap.non_inferiority([1], [1], ["a"], seed=0, margin=1.0), "margin"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


# --- bootstrap ---


def test_group_sums_by_group_in_sorted_order() -> None:
    sums = bootstrap.group_sums([[1, 10], [2, 20], [3, 30]], ["b", "a", "b"])
    assert sums.tolist() == [[2, 20], [4, 40]]


def test_bootstrap_is_deterministic_and_paired() -> None:
    rng = np.random.default_rng(3)
    top = rng.random(60)
    groups = np.repeat(np.arange(30), 2)
    first = bootstrap.ratio_interval(top, top + 1, groups, seed=7)
    assert first == bootstrap.ratio_interval(top, top + 1, groups, seed=7)
    assert first != bootstrap.ratio_interval(top, top + 1, groups, seed=8)
    # Paired: a ratio of a thing to itself has no width, whatever is drawn.
    same = bootstrap.ratio_interval(top + 1, top + 1, groups, seed=7)
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


def test_bootstrap_width_matches_the_closed_form() -> None:
    # Ratio to a constant 1 is a mean: 95 % width = 2 * 1.96 * sd / sqrt(n) = 2 * 1.96 * 0.5 / 20 = 0.098.
    top = np.repeat([0.0, 1.0], 200)
    interval = bootstrap.ratio_interval(top, np.ones(400), np.arange(400), seed=1, resamples=4000)
    assert interval.value == 0.5
    assert interval.high - interval.low == pytest.approx(0.098, rel=0.06)
    # Rows that only repeat a group add no information: 10 copies of each of 40 rows, width as for n = 40.
    copied = bootstrap.ratio_interval(
        np.repeat(np.repeat([0.0, 1.0], 20), 10), np.ones(400), np.repeat(np.arange(40), 10), seed=1, resamples=4000
    )
    assert copied.high - copied.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(40), rel=0.08)


def test_one_group_has_no_interval() -> None:
    interval = bootstrap.ratio_interval([1, 2], [2, 2], ["a", "a"], seed=0)
    assert (interval.value, interval.low, interval.high) == (0.75, None, None)


def test_non_inferiority_at_three_percent() -> None:
    groups = np.arange(500)
    base = np.ones(500)
    kept = base.copy()
    kept[:2] = 0  # retention 0.996, far inside the margin
    lost = base.copy()
    lost[:30] = 0  # retention 0.94: outside
    good = bootstrap.non_inferiority(kept, base, groups, seed=0)
    bad = bootstrap.non_inferiority(lost, base, groups, seed=0)
    assert (good.holds, bad.holds) == (True, False)
    assert good.retention.value == pytest.approx(0.996)
    assert good.p_value == 0.0
    assert bad.p_value > 0.95


# --- labels ---


def test_label_rates_by_hand() -> None:
    gold, chosen = [0, 1, 2, 3, 3], [0, 2, 1, 3, 0]
    # exact: 0 and 3 -> 2/5; pass: 0, 1->2, 3 -> 3/5; under: 2->1, 3->0 -> 2/5; over: 1->2 -> 1/5.
    assert labels.exact_rate(gold, chosen) == 0.4
    assert labels.pass_rate(gold, chosen) == 0.6
    assert labels.under_routing_rate(gold, chosen) == 0.4
    assert labels.over_routing_rate(gold, chosen) == 0.2
    assert labels.tier_recall(gold, chosen) == (1.0, 0.0, 0.0, 0.5)
    assert labels.tier_recall([3], [3]) == (None, None, None, 1.0)
    table = labels.confusion(gold, chosen)
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]]


def test_usd_regret_by_hand() -> None:
    cost = [[1, 2, 4, 8]] * 3
    # exact 0; over 1 -> 3: 8 - 2 = 6; under 2 -> 0: 1 + miss 10 = 11; mean 17/3.
    assert labels.usd_regret([0, 1, 2], [0, 3, 0], cost, miss_usd=10.0) == pytest.approx(17 / 3)
    # A dearer gold tier (prices need not be ordered) never gives a negative regret.
    assert labels.usd_regret([0], [1], [[5, 2, 4, 8]], miss_usd=10.0) == 0.0


def test_trajectory_pass_is_row_weighted_and_order_free() -> None:
    gold, chosen, runs = [0, 1, 2, 0], [0, 1, 1, 3], ["a", "a", "b", "c"]
    # Runs a (two rows) and c (one row) pass, b fails: 3 of 4 rows.
    assert labels.trajectory_pass(gold, chosen, runs) == 0.75
    assert labels.trajectory_pass(gold[::-1], chosen[::-1], runs[::-1]) == 0.75
    # One miss fails every row of its run: rows a1, a2 -> 0 of 2.
    assert labels.trajectory_pass([0, 3], [0, 0], ["a", "a"]) == 0.0


def test_cost_save_charges_failed_runs_in_full() -> None:
    # Benchmark x (2 rows): D = 10 + 10, row 1 passes at cost 1 (+9), row 2 fails at cost 4 (-4): N/D = 5/20.
    # Benchmark y (1 row): D = 2, passes at 1: 1/2. Weighted: 2/3 * 1/4 + 1/3 * 1/2 = 1/3.
    assert labels.cost_save([1, 0, 1], [1, 4, 1], [10, 10, 2], ["x", "x", "y"]) == pytest.approx(1 / 3)
    # All fail: -sum(cost)/D.
    assert labels.cost_save([0, 0], [1, 1], [10, 10]) == pytest.approx(-0.1)


def twin_bank() -> tuple[np.ndarray, np.ndarray]:
    """The published label counts (970 rows: 689, 62, 49, 170) on 520 trajectories of one or more rows."""
    gold = np.repeat([0, 1, 2, 3], [689, 62, 49, 170])
    runs = np.arange(970) % 520
    return gold, runs


@pytest.mark.parametrize(
    ("tier", "row_pass", "row_exact"),
    [(0, 689, 689), (1, 751, 62), (2, 800, 49), (3, 970, 170)],
    ids=["always-low", "always-mid", "always-mid_high", "always-high"],
)
def test_twin_constants(tier: int, row_pass: int, row_exact: int) -> None:
    gold, runs = twin_bank()
    price = np.array([1.0, 3.0, 8.0, 20.0])
    score = labels.twin_score(gold, np.full(970, tier), runs, np.full(970, price[tier]), np.full(970, 20.0))
    assert score.row_pass == pytest.approx(row_pass / 970)
    assert score.row_exact == pytest.approx(row_exact / 970)
    assert score.traj_pass <= score.row_pass
    assert len(np.unique(runs)) == 520


def test_twin_always_high_as_published() -> None:
    gold, runs = twin_bank()
    cost = np.linspace(0.01, 0.2, 970)
    score = labels.twin_score(gold, np.full(970, 3), runs, cost, cost)
    assert (score.row_pass, score.traj_pass, score.cost_save) == (1.0, 1.0, 0.0)
    assert round(100 * score.row_exact, 2) == 17.53  # 170 / 970
    assert round(100 * score.combined, 2) == 54.38  # (100 + 17.5258 + 100 + 0) / 4


def test_twin_gold_saves_money() -> None:
    gold, runs = twin_bank()
    price = np.array([1.0, 3.0, 8.0, 20.0])
    score = labels.twin_score(gold, gold, runs, price[gold], np.full(970, 20.0))
    # (689 * 19 + 62 * 17 + 49 * 12 + 0) / (970 * 20) = 14733 / 19400
    assert score.cost_save == pytest.approx(14733 / 19400)
    assert (score.row_pass, score.row_exact, score.traj_pass) == (1.0, 1.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40))
def test_label_identities(rows: list[tuple[int, int, int]]) -> None:
    gold, chosen, runs = (list(part) for part in zip(*rows, strict=True))
    exact, passed = labels.exact_rate(gold, chosen), labels.pass_rate(gold, chosen)
    under, over = labels.under_routing_rate(gold, chosen), labels.over_routing_rate(gold, chosen)
    assert exact + under + over == pytest.approx(1.0)
    assert passed + under == pytest.approx(1.0)
    assert labels.trajectory_pass(gold, chosen, runs) <= passed + 1e-12
    assert labels.confusion(gold, chosen).sum() == len(rows)


# --- curves ---


def test_routing_curve_by_hand() -> None:
    # Order by score: query 2 (gain +1), 3 (-1), 5 (+1), 1 (0), 4 (0); weak 2/5.
    curve = curves.routing_curve([0.2, 0.9, 0.8, 0.1, 0.5], WEAK, STRONG)
    assert curve.x.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve.quality.tolist() == pytest.approx([0.4, 0.6, 0.4, 0.6, 0.6, 0.6])
    # PGR = 0 1 0 1 1 1 -> trapezoids (.5 + .5 + .5 + 1 + 1) * 0.2 = 0.7
    assert curves.apgr(curve, 0.4, 0.6) == pytest.approx(0.7)
    # The target is first reached halfway into the first fifth, before the dip.
    assert curves.cpt(curve, 0.5, 0.4, 0.6) == pytest.approx(0.1)
    assert curves.cpt(curve, 0.0, 0.4, 0.6) == 0.0
    assert curves.cpt(curve, 1.2, 0.4, 0.6) is None


def test_ties_give_the_straight_line() -> None:
    curve = curves.routing_curve([0.5] * 5, WEAK, STRONG)
    assert curves.apgr(curve, 0.4, 0.6) == pytest.approx(0.5)
    assert curves.cpt(curve, 0.5, 0.4, 0.6) == pytest.approx(0.5)
    assert curves.cpt(curve, 0.8, 0.4, 0.6) == pytest.approx(0.8)


def test_reversed_score_mirrors_apgr() -> None:
    rng = np.random.default_rng(0)
    weak, strong = rng.random(200) < 0.5, rng.random(200) < 0.8
    score = rng.random(200)
    w, s = weak.mean(), strong.mean()
    up = curves.apgr(curves.routing_curve(score, weak, strong), w, s)
    down = curves.apgr(curves.routing_curve(-score, weak, strong), w, s)
    assert up + down == pytest.approx(1.0)


def test_oracle_curve_closed_form() -> None:
    # p = P(weak wrong, strong right) = 2/5, s - w = 1/5: (p - p^2/2) / (s - w) = (0.4 - 0.08) / 0.2 = 1.6.
    exact = curves.oracle_curve(WEAK, STRONG, points=None)
    assert curves.apgr(exact, 0.4, 0.6) == pytest.approx(1.6)
    assert exact.quality.tolist() == pytest.approx([0.4, 0.8, 0.8])
    # CPT(50) = 0.5 (s - w) = 0.1.
    assert curves.cpt(exact, 0.5, 0.4, 0.6) == pytest.approx(0.1)
    # Eleven points on the same kink (at 0.4, itself a point) give the same area.
    assert curves.apgr(curves.oracle_curve(WEAK, STRONG), 0.4, 0.6) == pytest.approx(1.6)


def test_oracle_is_above_every_router() -> None:
    rng = np.random.default_rng(1)
    weak, strong = rng.random(300) < 0.5, rng.random(300) < 0.7
    oracle = curves.oracle_curve(weak, strong, points=301)
    for seed in range(5):
        curve = curves.routing_curve(np.random.default_rng(seed).random(300), weak, strong)
        assert (curve.quality <= oracle.quality + 1e-12).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_routellm_figures(name: str) -> None:
    rows, weak_mean, strong_mean, oracle, length = PUBLISHED[name]
    weak, strong, chars = routellm(name)
    assert len(weak) == rows
    assert weak.mean() == pytest.approx(weak_mean, abs=5e-6)
    assert strong.mean() == pytest.approx(strong_mean, abs=5e-6)
    w, s = weak.mean(), strong.mean()
    assert curves.apgr(curves.oracle_curve(weak, strong), w, s) == pytest.approx(oracle, abs=5e-5)
    by_length = curves.sampled_curve(curves.routing_curve(chars, weak, strong))
    # Published with ties in table order; ours averages over the order within a tie.
    assert curves.apgr(by_length, w, s) == pytest.approx(length, abs=2e-3)
    gain = ((weak == 0) & (strong == 1)).mean()
    closed = (gain - gain**2 / 2) / (s - w)
    assert curves.apgr(curves.oracle_curve(weak, strong, points=None), w, s) == pytest.approx(closed, abs=1e-9)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_length_baseline_in_table_order(name: str) -> None:
    weak, strong, chars = routellm(name)
    # A tiny slope breaks ties by table order, as a stable sort does.
    score = chars - np.arange(len(chars)) * 1e-6
    curve = curves.sampled_curve(curves.routing_curve(score, weak, strong))
    assert round(curves.apgr(curve, weak.mean(), strong.mean()), 4) == PUBLISHED[name][4]


@pytest.mark.parametrize("name", PUBLISHED)
def test_random_router_is_one_half(name: str) -> None:
    weak, strong, _ = routellm(name)
    w, s = weak.mean(), strong.mean()
    found = [
        curves.apgr(curves.routing_curve(np.random.default_rng(seed).random(len(weak)), weak, strong), w, s)
        for seed in range(20)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.01)


def test_random_router_is_one_half_without_shared_data() -> None:
    rng = np.random.default_rng(5)
    weak, strong = rng.random(20_000) < 0.64, rng.random(20_000) < 0.86
    curve = curves.routing_curve(rng.random(20_000), weak, strong)
    assert curves.apgr(curve, weak.mean(), strong.mean()) == pytest.approx(0.5, abs=0.01)


def test_capgr_of_the_mixing_line_is_one_half() -> None:
    # No operating point but the two ends: random mixing of always-minimal and always-frontier.
    assert curves.capgr([], [], (1.0, 0.4), (5.0, 0.8)) == pytest.approx(0.5)
    # A point at a quarter of the way in cost with all the quality: x = .25, PGR = 1: .25 * .5 + .75 = 0.875.
    assert curves.capgr([2.0], [0.8], (1.0, 0.4), (5.0, 0.8)) == pytest.approx(0.875)


def test_pareto_front_and_hull_by_hand() -> None:
    cost, quality = [1, 2, 3, 4, 5], [0.2, 0.1, 0.5, 0.5, 0.6]
    front = curves.pareto_front(cost, quality)
    assert (front.x.tolist(), front.quality.tolist()) == ([1, 3, 5], [0.2, 0.5, 0.6])
    # A point under the chord (1, .2)-(5, .6), e.g. (3, .3), leaves the hull but not the front.
    under = curves.hull([1, 3, 5], [0.2, 0.3, 0.6])
    assert (under.x.tolist(), under.quality.tolist()) == ([1, 5], [0.2, 0.6])


def test_aiq_closed_forms() -> None:
    # Two points (0, q0), (C, q1): the mean height of a straight line, by either division.
    assert curves.aiq([0, 8], [0.3, 0.7]) == pytest.approx(0.5)
    assert curves.aiq([0, 8], [0.3, 0.7], division="max") == pytest.approx(0.5)
    # Extended flat to 16: (0.5 * 8 + 0.7 * 8) / 16 = 0.6.
    assert curves.aiq([0, 8], [0.3, 0.7], max_cost=16) == pytest.approx(0.6)
    # Starting at 2: range (0.5 * 6) / 6 = 0.5; max counts [0, 2] as nothing: 3 / 8.
    assert curves.aiq([2, 8], [0.3, 0.7]) == pytest.approx(0.5)
    assert curves.aiq([2, 8], [0.3, 0.7], division="max") == pytest.approx(3 / 8)
    # A dearer and worse point changes nothing but the extent.
    assert curves.aiq([0, 8, 16], [0.3, 0.7, 0.1]) == pytest.approx(0.6)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=2, max_size=25))
def test_hull_is_above_all_points_concave_and_non_decreasing(points: list[tuple[int, int]]) -> None:
    cost, quality = (np.array(part, dtype=float) for part in zip(*points, strict=True))
    over = curves.hull(cost, quality)
    assert (np.diff(over.quality) > 0).all()
    slopes = np.diff(over.quality) / np.diff(over.x)
    assert (np.diff(slopes) < 1e-12).all()
    assert (np.interp(cost, over.x, over.quality) >= quality - 1e-9).all()


def test_pareto_distance_by_hand() -> None:
    cost, quality = [1, 3], [0.4, 0.8]
    assert curves.pareto_distance((3, 0.9), cost, quality, cost_scale=10) == 0.0
    assert curves.pareto_distance((0.5, 0.1), cost, quality, cost_scale=10) == 0.0  # cheaper than all: undominated
    # (3, .7): up by .1, or left to below 3 (0 wide): it ties the point that beats it, so the move is 0 in the limit.
    assert curves.pareto_distance((3, 0.7), cost, quality, cost_scale=10) == pytest.approx(0.0)
    # (4, .7): up .1, or left by 1/10 to just below cost 3, where quality .7 is above .4: both 0.1.
    assert curves.pareto_distance((4, 0.7), cost, quality, cost_scale=10) == pytest.approx(0.1)
    # (4, .3), scale 1: up .5; left 1 and up .1: 1.005; left 3: 3. Least: .5.
    assert curves.pareto_distance((4, 0.3), cost, quality, cost_scale=1) == pytest.approx(0.5)
    # (4, .3), scale 10: left .1 and up .1 -> .1414; up .5; left .3. Least: .1414.
    assert curves.pareto_distance((4, 0.3), cost, quality, cost_scale=10) == pytest.approx(math.hypot(0.1, 0.1))


# --- calibration ---


def test_brier_and_ece_by_hand() -> None:
    assert calibration.brier([0.8, 0.3], [1, 0]) == pytest.approx((0.04 + 0.09) / 2)
    # Two bins of two: |0.2 - 0.5| and |0.8 - 1.0|, each half the rows: 0.25.
    p, y = [0.1, 0.3, 0.7, 0.9], [0, 1, 1, 1]
    assert calibration.ece(p, y, bins=2) == pytest.approx(0.25)
    bins = calibration.reliability(p, y, bins=2)
    assert [(part.n, part.predicted, part.observed) for part in bins] == [
        (2, pytest.approx(0.2), 0.5),
        (2, pytest.approx(0.8), 1.0),
    ]


def test_equal_predictions_share_a_bin() -> None:
    # All 0.5: one bin, so a balanced outcome gives exactly 0 whatever the order.
    assert calibration.ece([0.5] * 40, [0, 1] * 20) == 0.0
    assert len(calibration.reliability([0.5] * 40, [0, 1] * 20)) == 1


def test_ece_of_a_perfect_simulator_vanishes() -> None:
    rng = np.random.default_rng(0)
    found = []
    for n in (1_000, 10_000, 100_000):
        p = rng.random(n)
        found.append(calibration.ece(p, rng.random(n) < p))
    assert found[0] > found[1] > found[2]
    # About sqrt(15 / n) / 3: 0.0041 at 100,000.
    assert found[2] < 0.008


def test_masses_are_equal() -> None:
    rng = np.random.default_rng(0)
    bins = calibration.reliability(rng.random(1500), rng.random(1500) < 0.5)
    assert [part.n for part in bins] == [100] * 15


def test_tier_reliability_leaves_out_what_was_not_measured() -> None:
    p = [[0.2, 0.4, 0.6, 0.9]] * 4
    y = [[0, 1, np.nan, 1], [1, 1, np.nan, 1], [0, 0, np.nan, 1], [0, np.nan, np.nan, 1]]
    minimal, efficient, mid, frontier = calibration.tier_reliability(p, y)
    assert [(one.n, one.observed) for one in minimal] == [(4, 0.25)]
    assert [(one.n, one.observed) for one in efficient] == [(3, pytest.approx(2 / 3))]
    assert mid == ()
    assert frontier[0].observed == 1.0


def test_ordinal_ece_of_a_certain_scorer() -> None:
    gold = np.array([0, 1, 2, 3])
    p_above = (gold[:, None] > np.arange(3)).astype(float)
    assert calibration.ordinal_ece(p_above, gold) == (0.0, 0.0, 0.0)
    assert calibration.ordinal_ece(1 - p_above, gold) == (1.0, 1.0, 1.0)


def test_conformal_summary_and_set_size() -> None:
    summary = calibration.conformal_summary([0.04, 0.06, 0.05], [0.5, 0.7, 0.6], alpha=0.05)
    assert summary.mean_risk == pytest.approx(0.05)
    assert summary.coverage == pytest.approx(2 / 3)
    assert summary.mean_share_down == pytest.approx(0.6)
    # P(m*) = .1 .2 .3 .4 -> three at least .2; P(m*) = 1 0 0 0 -> one; mean 2.
    assert calibration.set_size([[0.9, 0.7, 0.4], [0, 0, 0]], 0.15) == pytest.approx(2.0)


# --- off-policy ---


def test_target_equal_to_logging_gives_the_sample_mean() -> None:
    reward = np.array([1.0, 0.0, 2.0, 0.5])
    w = ope.importance_weights([0.3, 0.2, 0.9, 1.0], [0.3, 0.2, 0.9, 1.0])
    predicted = np.array([0.4, 0.1, 1.0, 0.2])
    for estimate in (ope.ips(reward, w), ope.snips(reward, w), ope.doubly_robust(reward, w, predicted, predicted)):
        assert estimate.value == pytest.approx(0.875)
        assert estimate.ess == pytest.approx(4.0)
        assert estimate.max_share == pytest.approx(0.25)
        assert not estimate.trustworthy  # four records


def test_uniform_logging_of_four_tiers() -> None:
    # Deterministic target, K = 4: IPS = 4 * mean(r * match) = 4 * (1 + 0.5) / 6 = 1.0; SNIPS = mean of the matches.
    reward, match = np.array([1.0, 0.5, 1, 1, 1, 1]), np.array([1.0, 1, 0, 0, 0, 0])
    w = ope.importance_weights(match, np.full(6, 0.25))
    assert ope.ips(reward, w).value == pytest.approx(1.0)
    assert ope.snips(reward, w).value == pytest.approx(0.75)
    assert ope.ips(reward, w).max_weight == 4.0


def test_estimators_are_unbiased_by_exact_enumeration() -> None:
    # Two contexts, two actions, all rewards known: the expectation over the log is enumerated, not sampled.
    logging = np.array([[0.7, 0.3], [0.2, 0.8]])
    target = np.array([[0.1, 0.9], [0.5, 0.5]])
    reward = np.array([[1.0, 0.2], [0.4, 0.6]])
    truth = (target * reward).sum(axis=1).mean()
    rhat = np.array([[0.5, 0.5], [0.1, 0.9]])  # wrong on purpose
    ips_value = dr_value = 0.0
    for x in range(2):
        for a in range(2):
            mass = 0.5 * logging[x, a]
            w = ope.importance_weights([target[x, a]], [logging[x, a]])
            ips_value += mass * ope.ips([reward[x, a]], w).value
            direct = float((target[x] * rhat[x]).sum())
            dr_value += mass * ope.doubly_robust([reward[x, a]], w, [direct], [rhat[x, a]]).value
    assert ips_value == pytest.approx(truth, abs=1e-12)
    assert dr_value == pytest.approx(truth, abs=1e-12)


def test_doubly_robust_is_exact_with_the_true_rewards() -> None:
    # r = rhat: every correction is 0, so the value is the direct one whatever the weights are.
    reward = np.array([0.2, 0.9, 0.4])
    estimate = ope.doubly_robust(reward, [5.0, 0.1, 2.0], [0.5, 0.6, 0.7], reward)
    assert estimate.value == pytest.approx(0.6)


def test_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    logged = np.full(5_000, 0.25)
    action = rng.integers(0, 4, 5_000)
    reward = (rng.random(5_000) < np.array([0.2, 0.4, 0.6, 0.8])[action]).astype(float)
    w = ope.importance_weights(np.array([0, 0, 0.5, 0.5])[action], logged)
    for estimate in (ope.ips(reward, w), ope.snips(reward, w)):
        assert estimate.low < 0.7 < estimate.high  # 0.5 * 0.6 + 0.5 * 0.8
        assert estimate.trustworthy
    assert w.mean() == pytest.approx(1.0, abs=0.05)


def test_trajectory_weights_multiply_along_each_run() -> None:
    found = ope.trajectory_weights([2.0, 3.0, 0.5, 4.0], ["a", "b", "a", "a"])
    assert found.tolist() == [2.0, 3.0, 1.0, 4.0]


# --- switching ---


def test_switching_by_hand() -> None:
    # a: m f f -> one switch, interleaved with b: f f -> none. Two runs: 0.5 a run.
    found = switching.switching(
        ["m", "f", "f", "f", "f"],
        ["a", "b", "a", "a", "b"],
        cache_read=[0, 0, 0, 80, 90],
        input_tokens=[80, 90, 90, 100, 140],
        write_usd=[1.0, 2.0, 3.0, 0.5, 0.5],
        wasted_usd=[0, 0, 0.25, 0, 0],
    )
    assert found.trajectories == 2
    assert found.switches_per_trajectory == 0.5
    assert found.cache_read_share == pytest.approx(170 / 500)
    assert found.cold_write_usd == pytest.approx(6.0)
    assert found.wasted_usd == 0.25


def test_overhead_percentiles() -> None:
    found = switching.overhead(np.arange(101))
    assert (found.p50_ms, found.p95_ms) == (50.0, 95.0)
