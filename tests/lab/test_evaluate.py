"""``lab evaluate`` on step tables of our own, and on the shared data where they are there."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="polars is not installed")

from agentrouter.catalog import builtin_catalog  # noqa: E402
from agentrouter.errors import ConfigError, InputError  # noqa: E402
from agentrouter.lab.evaluate import evaluate  # noqa: E402
from agentrouter.lab.evaluation_drive import Bills, Driven  # noqa: E402
from agentrouter.lab.evaluation_figures import best_choice, cheapest_choice, label_of, read_as  # noqa: E402
from agentrouter.lab.evaluation_report import EvaluationReport, PolicyResult, SourceResult, json_schema  # noqa: E402
from agentrouter.lab.evaluation_view import render  # noqa: E402
from agentrouter.lab.step_tables import read_tables, tier_map  # noqa: E402
from agentrouter.lab.trace import TraceReport  # noqa: E402
from agentrouter.policies import build  # noqa: E402
from agentrouter.types import Context, Decision, Step  # noqa: E402

SHARED = Path(os.environ.get("AGENTROUTER_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
TIERS = {
    "tiny": "minimal",
    "small": "efficient",
    "medium": "mid",
    "large": "frontier",
    "large-b": "frontier",
    "odd": None,
}
ALWAYS = ("always-minimal", "always-efficient", "always-mid", "always-frontier")
NAN = float("nan")


def outcome(
    model: str, success: float | None, tokens: tuple[int | None, int | None] = (1_000, 100)
) -> dict[str, object]:
    return {"model": model, "success": success, "input_tokens": tokens[0], "output_tokens": tokens[1]}


def row(name: str, outcomes: list[dict[str, object]], **fields: object) -> dict[str, object]:
    return {
        "source": "own",
        "trajectory_id": name,
        "step_index": 0,
        "role": "unknown",
        "messages": json.dumps([{"role": "user", "content": f"question {name}"}]),
        "tools": None,
        "context_chars": 400,
        "outcomes": outcomes,
        "label_level": "step",
        "split_hint": "eval",
        "group": name,
        **fields,
    }


OUTCOMES = pl.List(
    pl.Struct({"model": pl.String, "success": pl.Float64, "input_tokens": pl.Int64, "output_tokens": pl.Int64})
)


def write(folder: Path, rows: list[dict[str, object]], name: str = "own", **types: object) -> Path:
    schema = {
        "source": pl.String,
        "trajectory_id": pl.String,
        "step_index": pl.Int32,
        "role": pl.String,
        "messages": pl.String,
        "tools": pl.String,
        "context_chars": pl.Int64,
        "outcomes": OUTCOMES,
        "label_level": pl.String,
        "split_hint": pl.String,
        "group": pl.String,
    }
    folder.mkdir(exist_ok=True, parents=True)
    columns = {key: kind for key, kind in schema.items() if not rows or key in rows[0]}
    pl.DataFrame(rows, schema={**columns, **types}).write_parquet(folder / f"{name}.parquet")
    return folder


def four(*success: float) -> list[dict[str, object]]:
    return [outcome(model, value) for model, value in zip(("tiny", "small", "medium", "large"), success, strict=True)]


def of(result: SourceResult, policy: str) -> PolicyResult:
    return next(one for one in result.results if one.policy == policy)


def run(folder: Path, *policies: object, **options: object) -> EvaluationReport:
    return evaluate(folder, policies, model_tiers=TIERS, resamples=200, **options)


# --- the rules, by hand ---


def test_missing_tiers_are_read_upwards_then_downwards() -> None:
    measured = np.array([[False, True, False, True], [True, True, True, False], [False] * 4, [True] * 4])
    assert read_as(measured).tolist() == [[1, 1, 3, 3], [0, 1, 2, 2], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_labels_need_four_measured_tiers_and_a_sufficient_one() -> None:
    table = np.array([[0.2, 0.5, 0.4, 1.0], [0.1, 0.2, 0.3, 0.4], [NAN, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    step_level = np.array([True, True, True, True, False])
    # 0.5 is enough; no tier reaches it; not measured; lowest though the higher ones fail; judged as a task.
    assert label_of(table, step_level).tolist() == [1, -1, -1, 0, -1]


def test_oracles_choose_by_outcome_then_price() -> None:
    table = np.array([[0.2, 0.9, 0.9, 0.5], [NAN, 0.4, NAN, 0.8], [NAN] * 4, [0.7, 0.1, 0.8, 0.7]])
    price = np.tile([1.0, 3.0, 10.0, 50.0], (4, 1))
    read = read_as(~np.isnan(table))
    assert best_choice(table, price).tolist() == [1, 3, 3, 2]
    # No worse than frontier's .5, .8, nothing, .7: efficient, frontier, frontier, minimal.
    assert cheapest_choice(table, read, price).tolist() == [1, 3, 3, 0]


def test_costs_and_retention_by_hand(tmp_path: Path) -> None:
    rows = [
        row("a", four(1, 1, 1, 1)),
        row("b", four(0, 0, 1, 1)),
        row("c", four(0, 1, 0, 1)),
        row("d", four(0, 0, 0, 1)),
    ]
    report = run(write(tmp_path, rows), "fixed:efficient")
    found = of(report.sources[0], "fixed:efficient")
    # 1,000 in, 100 out, no cache: efficient 1000 * .3 + 100 * 1.2 = 420 micro-dollars, frontier 5000 + 2500 = 7500.
    assert found.cost_nocache_usd == pytest.approx(4 * 420e-6)
    assert found.cost_reduction_nocache.value == pytest.approx(1 - 420 / 7500)
    # One step a run: all input is a cache write at 1.25: 375 + 120 = 495 against 6250 + 2500 = 8750.
    assert found.cost_usd == pytest.approx(4 * 495e-6)
    assert found.cost_reduction.value == pytest.approx(1 - 495 / 8750)
    # Efficient passes a and c: 2 of frontier's 4.
    assert found.quality.retention.value == 0.5
    assert (found.quality.n, found.quality.basis, found.quality.non_inferior) == (4, "measured", False)
    # Labels 0, 2, 1, 3: pass a, c; exact c; recall of efficient 1, of the others 0.
    assert (found.labels.n, found.labels.pass_rate, found.labels.exact_rate) == (4, 0.5, 0.25)
    assert found.labels.recall == (0.0, 1.0, 0.0, 0.0)
    assert found.labels.sufficient_rate == 0.5
    # CostSave: passes a and c save 8750 - 495 each, failures b and d waste 495 each: 2 * 8255 - 2 * 495 over 4 * 8750.
    assert found.labels.twin.cost_save == pytest.approx((2 * 8255 - 2 * 495) / (4 * 8750))


def test_cache_accounting_over_a_trajectory(tmp_path: Path) -> None:
    rows = [
        row("run", [outcome(m, 1.0, (1_000 * (i + 1), 0)) for m in ("tiny", "small", "medium", "large")], step_index=i)
        for i in range(3)
    ]
    report = run(write(tmp_path, rows), "fixed:frontier")
    found = of(report.sources[0], "fixed:frontier")
    # Writes 1,000 then 1,000 more each step at 6.25, reads 1,000 and 2,000 at 0.5: 18750 + 1500 = 20250 micro-dollars.
    assert found.cost_usd == pytest.approx(20_250e-6)
    assert found.cost_nocache_usd == pytest.approx(6_000 * 5e-6)
    # Read 3,000 of 6,000 input tokens.
    assert found.cache_read_share == 0.5
    assert found.switches_per_trajectory == 0.0
    assert report.sources[0].trajectories == 1


def test_switching_tiers_costs_the_cache(tmp_path: Path) -> None:
    rows = [
        row("run", [outcome(m, 1.0, (1_000, 0)) for m in ("tiny", "small", "medium", "large")], step_index=i)
        for i in range(4)
    ]
    path = write(tmp_path, rows) / "own.parquet"
    table = read_tables(path, tier_map(TIERS), TraceReport())[0]
    driven = Driven(
        tiers=np.zeros((0, 4), dtype=np.int64),
        p_ok=np.zeros((0, 4, 4)),
        errors=np.zeros(0, dtype=np.int64),
        usable=np.ones(4, dtype=bool),
        heads=[""] * 4,
        sizes=np.full(4, 250),
    )
    bills = Bills(table, driven, builtin_catalog().candidates)
    # mid, frontier, mid, frontier: each tier writes 1,000 once (1.25 and 6.25) and reads it back once (0.1 and 0.5).
    cost, read = bills.with_caches(np.array([2, 3, 2, 3]))
    assert cost.tolist() == [1_250_000, 6_250_000, 100_000, 500_000]
    assert read.tolist() == [0, 0, 1_000, 1_000]


def test_a_rewritten_prompt_is_cold(tmp_path: Path) -> None:
    rows = [
        row("run", [outcome("large", 1.0, (size, 0)), outcome("tiny", 1.0)], step_index=i)
        for i, size in enumerate((1_000, 500))
    ]
    found = of(run(write(tmp_path, rows), "fixed:frontier").sources[0], "fixed:frontier")
    # Mean input with tiny's 1,000: 1,000 then 750; a prompt that shrank reads nothing.
    assert found.cache_read_share == 0.0


def test_unmeasured_choices_are_read_as_a_measured_tier(tmp_path: Path) -> None:
    rows = [row(name, [outcome("small", 0.0), outcome("large", 1.0)]) for name in "abcd"]
    report = run(write(tmp_path, rows), "fixed:minimal", "fixed:mid")
    minimal, mid = (of(report.sources[0], f"fixed:{tier}") for tier in ("minimal", "mid"))
    # minimal reads as efficient (fails, at efficient's price), mid as frontier (passes, at frontier's price).
    assert (minimal.quality.retention.value, mid.quality.retention.value) == (0.0, 1.0)
    assert minimal.quality.cost_reduction_nocache.value == pytest.approx(1 - 420 / 7500)
    assert mid.quality.cost_reduction_nocache.value == 0.0
    assert (minimal.quality.read_up, mid.quality.read_up, mid.quality.read_down) == (4, 4, 0)
    # The plain cost figure is of the tiers as chosen: 100 + 40 micro-dollars.
    assert minimal.cost_reduction_nocache.value == pytest.approx(1 - 140 / 7500)
    assert report.sources[0].not_labelled == {"tiers_missing": 4}
    assert minimal.labels is None


def test_rows_with_one_tier_are_not_compared(tmp_path: Path) -> None:
    rows = [row("a", [outcome("large", 1.0)]), row("b", [outcome("odd", 1.0)]), row("c", four(0, 0, 0, 1))]
    source = run(write(tmp_path, rows), "fixed:minimal").sources[0]
    assert source.not_compared == {"not_measured": 1, "one_tier": 1}
    assert of(source, "fixed:minimal").quality.n == 1
    assert of(source, "fixed:minimal").quality.retention.value == 0.0


def test_always_frontier_without_any_outcome(tmp_path: Path) -> None:
    report = run(write(tmp_path, [row("a", [outcome("odd", 1.0)])]), "fixed:frontier", "fixed:mid")
    frontier, mid = (of(report.sources[0], f"fixed:{tier}") for tier in ("frontier", "mid"))
    assert (frontier.quality.basis, frontier.quality.retention.value) == ("identity", 1.0)
    assert (mid.quality.basis, mid.quality.retention) == ("none", None)
    assert frontier.cost_reduction.value == 0.0
    assert report.models_without_tier == {"odd": 1}


def test_outcome_is_the_mean_over_the_tiers_models(tmp_path: Path) -> None:
    rows = [row("a", [outcome("tiny", 0.5), outcome("large", 1.0), outcome("large-b", 0.0), outcome("new", 1.0)])]
    report = run(write(tmp_path, rows), "fixed:minimal")
    found = of(report.sources[0], "fixed:minimal").quality
    assert (found.success, found.reference_success, found.retention.value) == (0.5, 0.5, 1.0)
    assert report.models_without_tier == {"new": 1}


def test_missing_tokens_are_estimated_and_counted(tmp_path: Path) -> None:
    rows = [row("a", [outcome("tiny", 1.0, (None, None)), outcome("large", 1.0, (None, None))], context_chars=4_000)]
    source = run(write(tmp_path, rows), "fixed:frontier").sources[0]
    assert (source.estimated_input, source.estimated_output) == (1, 1)
    # 4,000 characters / 4 = 1,000 tokens in, 300 out: 5000 + 7500 micro-dollars.
    assert of(source, "fixed:frontier").cost_nocache_usd == pytest.approx(12_500e-6)


def test_output_tokens_are_the_tiers_own(tmp_path: Path) -> None:
    rows = [row("a", [outcome("small", 1.0, (1_000, 10)), outcome("large", 1.0, (1_000, 200))])]
    source = run(write(tmp_path, rows), "fixed:efficient", "fixed:mid").sources[0]
    assert of(source, "fixed:efficient").cost_nocache_usd == pytest.approx((300 + 12) * 1e-6)
    # mid has none of its own: the row's mean, 105.
    assert of(source, "fixed:mid").cost_nocache_usd == pytest.approx((1_000 + 525) * 1e-6)


def test_the_same_step_judged_twice_is_two_runs(tmp_path: Path) -> None:
    rows = [row("a", four(1, 1, 1, 1)), row("a", four(0, 0, 0, 1), label_level="task")]
    source = run(write(tmp_path, rows), "fixed:frontier").sources[0]
    assert (source.trajectories, source.groups) == (2, 1)
    assert source.not_labelled == {"task_level": 1}
    # Both steps are first steps: nothing is read from a cache.
    assert of(source, "fixed:frontier").cache_read_share == 0.0


def test_two_model_sources_get_curves(tmp_path: Path) -> None:
    kinds = [(1, 1), (0, 1), (1, 0), (0, 0), (0, 1)]
    rows = [
        row(f"q{i}", [outcome("small", w), outcome("large", s)], context_chars=400 + i * 4_000)
        for i, (w, s) in enumerate(kinds)
    ]
    two = run(write(tmp_path, rows), "threshold:length", "fixed:frontier").sources[0].two_models
    assert (two.weak, two.strong, two.n, two.weak_success, two.strong_success) == ("efficient", "frontier", 5, 0.4, 0.6)
    curves = {curve.policy: curve for curve in two.curves}
    assert set(curves) == {"threshold:length", "fixed:frontier", "oracle", "prompt-length", "random"}
    # (p - p^2/2)/(s - w) = (0.4 - 0.08)/0.2 = 1.6.
    assert curves["oracle"].apgr == pytest.approx(1.6)
    assert curves["fixed:frontier"].apgr_continuous.value == pytest.approx(0.5)
    # Longest first: q4 (+1), q3 (0), q2 (-1), q1 (+1), q0: PGR 0 1 1 0 1 1 -> 0.2 * (.5 + 1 + .5 + .5 + 1) = 0.7.
    assert curves["prompt-length"].apgr_continuous.value == pytest.approx(0.7)
    assert curves["threshold:length"].basis == "scores"
    assert curves["threshold:length"].apgr_continuous.value == pytest.approx(0.7)


def test_a_strong_tier_that_is_worse_has_no_curve(tmp_path: Path) -> None:
    rows = [row("a", [outcome("small", 1.0), outcome("large", 0.0)])]
    two = run(write(tmp_path, rows), "fixed:frontier").sources[0].two_models
    assert (two.curves, two.note != "") == ([], True)


# --- the whole report ---


def many(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for task in range(60):
        skill = rng.random(4) < np.array([0.4, 0.6, 0.7, 0.9])
        for step in range(int(rng.integers(1, 4))):
            rows.append(
                row(
                    f"t{task}", four(*skill.astype(float)), step_index=step, context_chars=int(rng.integers(80, 40_000))
                )
            )
    write(folder, rows, "first")
    write(folder, [{**one, "source": "other", "label_level": "task"} for one in rows[:40]], "second")
    return folder


@pytest.mark.parametrize("policy", ["fixed:frontier", "always-frontier"])
def test_always_frontier_is_the_baseline_everywhere(tmp_path: Path, policy: str) -> None:
    report = run(many(tmp_path), "fixed:frontier", "roles")
    for source in (report.overall, report.step_level, *report.sources):
        found = of(source, policy)
        for reduction in (found.cost_reduction, found.cost_reduction_nocache, found.quality.cost_reduction):
            assert (reduction.value, reduction.low, reduction.high) == (0.0, 0.0, 0.0)
        assert (found.quality.retention.value, found.quality.retention.low) == (1.0, 1.0)
        assert found.quality.non_inferior


@pytest.mark.parametrize("tier", ["minimal", "efficient", "mid", "frontier"])
def test_a_fixed_policy_is_its_reference(tmp_path: Path, tier: str) -> None:
    report = run(many(tmp_path), f"fixed:{tier}")
    fixed, reference = of(report.overall, f"fixed:{tier}"), of(report.overall, f"always-{tier}")
    assert msgspec.structs.replace(fixed, policy="", reference=True) == msgspec.structs.replace(reference, policy="")


def test_references_are_ordered_as_they_must_be(tmp_path: Path) -> None:
    overall = run(many(tmp_path), "roles").overall
    success = {one.policy: one.quality.success for one in overall.results}
    assert all(success["oracle"] >= value for value in success.values())
    cheapest = of(overall, "oracle-cheapest")
    assert cheapest.quality.retention.value >= 1.0
    assert (
        cheapest.quality.cost_reduction_nocache.value
        >= of(overall, "oracle").quality.cost_reduction_nocache.value - 1e-12
    )
    assert of(overall, "random").tier_shares == pytest.approx((0.25,) * 4, abs=0.12)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    folder = many(tmp_path)
    first = run(folder, "uniform", "roles", seed=3).to_json()
    assert first == run(folder, "uniform", "roles", seed=3).to_json()
    assert first != run(folder, "uniform", "roles", seed=4).to_json()


def test_a_source_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    folder = many(tmp_path)
    together = run(folder, "uniform").sources[0]
    assert together == run(folder / "first.parquet", "uniform").sources[0]


def test_json_is_the_documented_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    report = run(many(tmp_path), "threshold:length")
    decoded = json.loads(report.to_json())
    jsonschema.validate(decoded, json_schema())
    assert decoded["schema"] == "agentrouter.evaluation/1"
    assert msgspec.json.decode(report.to_json(), type=EvaluationReport) == report
    assert not any(isinstance(number, float) and not math.isfinite(number) for number in _numbers(decoded))


def _numbers(value: object) -> list[object]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in _numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [value]


def test_the_view_names_every_policy_and_what_was_left_out(tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    folder = many(tmp_path)
    write(folder, [row("x", [outcome("new", 1.0)]), row("y", four(1, 1, 1, 1), messages="[]")], "third")
    report = run(folder, "roles", "threshold:length")
    text = StringIO()
    Console(file=text, width=160).print(render(report))
    for word in ("roles", "threshold:length", "oracle", "random", *ALWAYS, "own", "other"):
        assert word in text.getvalue()
    assert "new" in text.getvalue()
    assert "no_messages" in text.getvalue()


def test_progress_counts_every_row(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = run(many(tmp_path), "roles", progress=lambda *call: seen.append(call))
    assert [(name, done) for name, done, total in seen if done == total] == [
        ("own", report.sources[0].n),
        ("other", 40),
    ]


class _Broken:
    name, reviews = "broken", False

    def decide(self, step: Step, context: Context) -> Decision:
        raise ValueError("no")


class _Peeking:
    """Remembers what it was shown."""

    name, reviews = "peeking", False

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.contexts: list[Context] = []

    def decide(self, step: Step, context: Context) -> Decision:
        self.steps.append(step)
        self.contexts.append(context)
        return build("fixed:mid").decide(step, context)


def test_a_failing_policy_is_counted_and_the_default_tier_serves(tmp_path: Path) -> None:
    report = run(many(tmp_path), _Broken())
    found = of(report.overall, "broken")
    assert found.policy_errors == found.n
    assert found.tier_shares == (0.0, 0.0, 0.0, 1.0)


class _Sometimes:
    """Scores only the first step of a run."""

    name, reviews = "sometimes", False

    def decide(self, step: Step, context: Context) -> Decision:
        return build("roles" if step.index else "threshold:length").decide(step, context)


def test_scores_on_some_rows_only_are_calibrated_on_those(tmp_path: Path) -> None:
    rows = [row("run", four(0, 1, 1, 1), step_index=i) for i in range(2)]
    found = of(run(write(tmp_path, rows), _Sometimes()).overall, "sometimes")
    assert found.calibration.n == 1
    # One row: the frontier's p_ok is 1 and it passes, so both are 0.
    assert (found.calibration.ece[3], found.calibration.brier[3]) == (0.0, 0.0)
    assert found.quality.aiq is None


def test_policies_see_history_but_no_outcomes(tmp_path: Path) -> None:
    rows = [row("run", four(0, 0, 1, 1), step_index=i, context_chars=4_000 * (i + 1)) for i in (2, 0, 1)]
    peeking = _Peeking()
    run(write(tmp_path, rows), peeking)
    assert [step.index for step in peeking.steps] == [0, 1, 2]
    assert [context.history.steps for context in peeking.contexts] == [0, 1, 2]
    assert [bool(context.caches) for context in peeking.contexts] == [False, True, True]
    assert all(step.tokens.estimated for step in peeking.steps)


# --- what cannot be used ---


def test_bad_rows_are_counted_with_file_and_row(tmp_path: Path) -> None:
    rows = [
        row("ok", four(1, 1, 1, 1)),
        row("high", [outcome("large", 1.5)]),
        row("json", four(1, 1, 1, 1), messages='[{"role": "user", '),
        row("null", four(1, 1, 1, 1), group=None),
        row("none", four(1, 1, 1, 1), messages="[]"),
        row("known", four(1, 1, 1, 1), split_hint="contaminated"),
        row("negative", [outcome("large", 1.0, (-1, 5))]),
    ]
    report = run(write(tmp_path, rows), "fixed:frontier")
    assert (report.rows, report.used, report.malformed) == (7, 1, 4)
    places = sorted((Path(one.file).name, one.line, one.field.split("[")[0]) for one in report.problems)
    assert places == [
        ("own.parquet", 2, "outcomes.success"),
        ("own.parquet", 3, "messages"),
        ("own.parquet", 4, "group"),
        ("own.parquet", 7, "outcomes.tokens"),
    ]
    assert report.sources[0].left_out == {
        "bad_row": 3,
        "no_messages": 1,
        "split_hint:contaminated": 1,
        "unreadable_or_no_candidate": 1,
    }


def without(column: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return write(folder, [{key: value for key, value in row("a", four(1, 1, 1, 1)).items() if key != column}])

    return make


def retyped(**types: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        values = dict.fromkeys(types)
        return write(folder, [{**row("a", four(1, 1, 1, 1)), **values}], **types)

    return make


def garbage(folder: Path) -> Path:
    (folder / "own.parquet").write_bytes(b"PAR1 this is not parquet")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without("messages"), "own.parquet: lacks the column messages; a step table has"),
        (without("outcomes"), "lacks the column outcomes"),
        (retyped(step_index=pl.String), "step_index: expected integers, got String"),
        (retyped(group=pl.Int64), "group: expected text, got Int64"),
        (retyped(outcomes=pl.List(pl.String)), "outcomes: expected a list of"),
        (garbage, "own.parquet: cannot be read as parquet"),
        (lambda folder: folder, "holds no step table"),
        (lambda folder: folder / "absent", "no such file or folder"),
        (lambda folder: write(folder, [row("a", four(1, 1, 1, 1), messages="[]")]), r"no row can be used \(1 read\)"),
    ],
    ids=[
        "no-messages",
        "no-outcomes",
        "index-text",
        "group-int",
        "outcomes-text",
        "garbage",
        "empty",
        "absent",
        "unusable",
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(make(tmp_path), "fixed:frontier")


def test_tiers_are_found_beside_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "steps", [row("a", four(1, 1, 1, 1))])
    with pytest.raises(InputError, match=r"no model_tiers\.json"):
        evaluate(tmp_path / "steps", ["roles"], resamples=10)
    (tmp_path / "model_tiers.json").write_text(json.dumps(TIERS), encoding="utf-8")
    assert evaluate(tmp_path / "steps", ["roles"], resamples=10).used == 1
    # The folder above the tables is as good.
    assert evaluate(tmp_path, ["roles"], resamples=10).used == 1
    (tmp_path / "model_tiers.json").write_text('{"tiny": "giant"}', encoding="utf-8")
    with pytest.raises(InputError, match="tiny: unknown tier 'giant'"):
        evaluate(tmp_path / "steps", ["roles"], resamples=10)
    (tmp_path / "model_tiers.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match="expected an object"):
        evaluate(tmp_path / "steps", ["roles"], resamples=10)


def test_policies_must_be_known_and_different(tmp_path: Path) -> None:
    folder = many(tmp_path)
    with pytest.raises(ConfigError, match="unknown policy"):
        run(folder, "nonsense")
    with pytest.raises(ConfigError, match="roles is given more than once"):
        run(folder, "roles", {"policy": "roles"})


# --- the shared data ---


@pytest.fixture(scope="module")
def shared_report() -> tuple[EvaluationReport, float]:
    if not (SHARED / "steps").is_dir():
        pytest.skip(f"{SHARED / 'steps'} is absent")
    started = time.process_time()
    report = evaluate(SHARED / "steps", ["fixed:frontier", "threshold:length"], resamples=100)
    return report, time.process_time() - started


@pytest.mark.slow
def test_always_frontier_on_every_shared_source(shared_report: tuple[EvaluationReport, float]) -> None:
    report, seconds = shared_report
    files = list((SHARED / "steps").glob("*.parquet"))
    assert len(report.sources) >= len(files)
    for source in (report.overall, report.step_level, *report.sources):
        for policy in ("fixed:frontier", "always-frontier"):
            found = of(source, policy)
            assert (found.cost_reduction.value, found.cost_reduction_nocache.value) == (0.0, 0.0), source.source
            assert found.quality.retention.value == 1.0, source.source
    assert report.used + sum(report.overall.left_out.values()) == report.rows
    assert report.malformed == 0
    assert seconds < 240  # CPU seconds


@pytest.mark.slow
def test_published_yardstick_through_the_whole_evaluation(shared_report: tuple[EvaluationReport, float]) -> None:
    report, _ = shared_report
    by_name = {source.source: source.two_models for source in report.sources}
    for name, n, oracle, length in (("routellm_gsm8k", 1307, 1.1309, 0.5979), ("routellm_mmlu", 14037, 1.2896, 0.5832)):
        two = by_name[name]
        curves = {curve.policy: curve for curve in two.curves}
        assert two.n == n
        assert curves["oracle"].apgr == pytest.approx(oracle, abs=5e-5)
        assert curves["prompt-length"].apgr == pytest.approx(length, abs=2e-3)
        assert curves["random"].apgr == pytest.approx(0.5, abs=0.03)  # one draw; GSM8K has only 1,307 rows
        assert curves["fixed:frontier"].apgr_continuous.value == pytest.approx(0.5)
        # Eleven shares of 1,307 queries are rounded to whole queries.
        assert curves["fixed:frontier"].apgr == pytest.approx(0.5, abs=1e-3)
