from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from answers import right
from rich.console import Console

from agentrouter.demo import lineup, run
from agentrouter.demo.passes import BillRow
from agentrouter.demo.run import DemoResult, Stage, play
from agentrouter.errors import ConfigError, FailureKind, InputError, ModelFileError
from agentrouter.ledger import open_ledger
from agentrouter.policies import build
from agentrouter.providers.scripted import Scripted
from agentrouter.providers.store import ModelStore
from agentrouter.types import Call, Outcome, Price, Status, Tier

Answer = Callable[[Call], "str | Outcome"]
TASKS = 7
STEPS = 6 * 4 + 5  # two data, two research and two coding tasks of four steps, five tickets


def played(
    out: Path, script: Answer = right, *, models: int = 3, policy: str = "escalate:roles", fast: bool = False
) -> tuple[DemoResult, str]:
    """Play the demo on a scripted provider and return its result and what it printed."""
    screen = Console(file=io.StringIO(), width=110, highlight=False)
    stage = Stage(
        catalog=lineup.line_up(lineup.MODELS[:models]),
        provider=lambda: lineup.ListPriced(Scripted(script, name="local")),
        policy=build(policy),
        out=out,
        fast=fast,
    )
    result = asyncio.run(play(stage, screen))
    assert isinstance(screen.file, io.StringIO)
    return result, screen.file.getvalue()


def _bare(price: Price) -> Price:
    return msgspec.structs.replace(price, source="", as_of="")


@pytest.fixture(scope="module")
def all_right(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, str, Path]:
    out = tmp_path_factory.mktemp("demo")
    result, text = played(out)
    return result, text, out


def test_right_answers_solve_every_task_in_both_passes(all_right: tuple[DemoResult, str, Path]) -> None:
    result, text, _ = all_right
    assert result.frontier_only is not None
    assert (result.routed.solved, result.frontier_only.solved) == (TASKS, TASKS)
    assert [task.steps for task in result.routed.tasks] == [4, 4, 4, 4, 4, 4, 5]
    assert sum(row.calls for row in result.routed.by_role) == STEPS
    assert result.routed.broken == ()
    assert text.count("SOLVED") == TASKS
    assert "NOT SOLVED" not in text


def test_the_org_chart_sends_each_role_to_its_tier(all_right: tuple[DemoResult, str, Path]) -> None:
    _, _, out = all_right
    with open_ledger(out / "ledger.sqlite", read_only=True) as ledger:
        tiers = {(step.step.role, step.attempts[0].candidate.tier) for step in ledger.steps()}
    assert tiers == {
        ("plan", Tier.FRONTIER),
        ("tool_call", Tier.EFFICIENT),
        ("retrieve", Tier.EFFICIENT),
        ("summarise", Tier.EFFICIENT),
        ("format", Tier.MINIMAL),
        ("classify", Tier.MINIMAL),
        ("edit", Tier.FRONTIER),  # mid is empty: the nearest tier above
    }


def test_every_breakdown_and_the_ledger_add_up_to_the_bill(all_right: tuple[DemoResult, str, Path]) -> None:
    result, _, out = all_right
    assert result.frontier_only is not None
    for found, name in ((result.routed, "ledger"), (result.frontier_only, "ledger-frontier-only")):
        assert sum(row.cost_nusd for row in found.by_role) == found.cost_nusd
        assert sum(row.cost_nusd for row in found.by_tier) == found.cost_nusd
        assert sum(task.cost_nusd for task in found.tasks) == found.cost_nusd
        with open_ledger(out / f"{name}.sqlite", read_only=True) as ledger:
            (whole,) = ledger.totals()
            assert (whole.cost_nusd, whole.steps) == (found.cost_nusd, STEPS)
    assert result.saved_share == pytest.approx(1 - result.routed.cost_nusd / result.frontier_only.cost_nusd)


def test_ledger_page_and_config_are_left_behind(all_right: tuple[DemoResult, str, Path]) -> None:
    from agentrouter.config import load_config

    _, text, out = all_right
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "<script src" not in page
    loaded = load_config(str(out / "models.yaml"), environ={})
    played_by = lineup.line_up(lineup.MODELS).candidates
    read = loaded.world.catalog.candidates
    # All but the note of where a price comes from.
    assert [msgspec.structs.replace(each, price=_bare(each.price)) for each in read] == [
        msgspec.structs.replace(each, price=_bare(each.price)) for each in played_by
    ]
    for name in ("ledger.sqlite", "report.html", "models.yaml"):
        assert str(out / name) in text


def test_what_a_newcomer_reads(all_right: tuple[DemoResult, str, Path]) -> None:
    _, text, _ = all_right
    for said in ("why ", "check ", "says ", "By role", "By tier", "saved", "frontier-only", "escalate:roles"):
        assert said in text
    assert all(len(line) <= 112 for line in text.splitlines() if "/" not in line)


def test_a_wrong_answer_of_a_cheap_tier_is_escalated_and_paid(tmp_path: Path) -> None:
    def script(call: Call) -> str:
        if call.step.role == "tool_call" and call.candidate.tier is Tier.EFFICIENT:
            return "SELECT id FROM nowhere"
        if call.step.role == "format" and call.candidate.tier is Tier.MINIMAL:
            return "not JSON"
        return right(call)

    result, text = played(tmp_path, script, fast=True)
    assert result.routed.solved == TASKS
    rows = {row.key: row for row in result.routed.by_role}
    assert (rows["tool_call"].steps, rows["tool_call"].calls, rows["tool_call"].escalations) == (2, 4, 2)
    assert (rows["format"].steps, rows["format"].calls, rows["format"].escalations) == (6, 12, 6)
    assert text.count("s  escalated") == 8
    assert text.count("why    escalation: ") == 8
    assert "sql_runs FAILED (SQL error: no such table: nowhere)" in text


def test_rejected_answers_stay_in_the_simulated_bill(tmp_path: Path) -> None:
    def script(call: Call) -> str:
        return "not JSON" if call.candidate.tier is Tier.MINIMAL else right(call)

    clean, _ = played(tmp_path, fast=True)
    wasteful, _ = played(tmp_path, script, fast=True)
    rejected = sum(row.cost_nusd for row in wasteful.routed.by_tier if row.key == "minimal")
    assert rejected > 0
    assert wasteful.simulated.routed_nusd > clean.simulated.routed_nusd
    assert wasteful.simulated.routed_nusd > rejected


def test_code_that_fails_its_tests_is_fixed_in_further_rounds(tmp_path: Path) -> None:
    def script(call: Call) -> str:
        return "```python\ndef change(amount):\n    return []\n```" if call.step.role == "edit" else right(call)

    result, _ = played(tmp_path, script, fast=True)
    rows = {row.key: row for row in result.routed.by_role}
    # change's first code passes 1 of 3 tests, merge_spans' defines no such function: one round of fixing each.
    assert (rows["edit"].steps, rows["debug"].steps) == (2, 2)
    assert [task.steps for task in result.routed.tasks][4:6] == [5, 5]
    assert result.routed.solved == TASKS


def test_wrong_results_are_not_solved_and_that_is_no_breakage(tmp_path: Path) -> None:
    result, text = played(tmp_path, lambda call: "nonsense", fast=True)
    assert result.routed.solved == 0
    assert result.routed.broken == ()
    assert text.count("NOT SOLVED") == TASKS
    assert "failed at the top" in text


def test_a_model_that_does_not_run_is_a_breakage(tmp_path: Path) -> None:
    dead = Outcome(status=Status.ERROR, failure=FailureKind.SERVER_ERROR, failure_detail="no memory")
    result, text = played(tmp_path, lambda call: dead)
    assert len(result.routed.broken) == TASKS
    assert "no memory" in result.routed.broken[0]
    assert "server_error" in text


def test_one_dead_tier_is_survived(tmp_path: Path) -> None:
    dead = Outcome(status=Status.ERROR, failure=FailureKind.SERVER_ERROR, failure_detail="no memory")
    result, _ = played(tmp_path, lambda call: dead if call.candidate.tier is Tier.MINIMAL else right(call), fast=True)
    assert result.routed.solved == TASKS
    assert result.routed.broken == ()


def test_fast_leaves_frontier_only_out_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    result, text = played(tmp_path, fast=True)
    assert result.frontier_only is None
    assert result.simulated.frontier_nusd > result.simulated.routed_nusd > 0
    assert result.saved_share == pytest.approx(1 - result.simulated.routed_nusd / result.simulated.frontier_nusd)
    assert "simulated" in text
    assert not (tmp_path / "ledger-frontier-only.sqlite").exists()


def test_frontier_only_routed_saves_nothing(tmp_path: Path) -> None:
    result, _ = played(tmp_path, policy="fixed:frontier")
    assert result.frontier_only is not None
    assert result.routed.cost_nusd == result.frontier_only.cost_nusd
    assert result.saved_share == 0.0


def test_a_second_run_starts_afresh_and_gives_the_same(tmp_path: Path) -> None:
    first, _ = played(tmp_path)
    second, _ = played(tmp_path)
    assert first.routed.cost_nusd == second.routed.cost_nusd
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM steps").fetchone() == (STEPS,)


@pytest.mark.parametrize("models", [1, 2])
def test_fewer_models_play_fewer_tiers(tmp_path: Path, models: int) -> None:
    result, _ = played(tmp_path, models=models, fast=True)
    assert result.routed.solved == TASKS
    assert "frontier" in result.models
    assert len(result.models) == models


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        played(tmp_path / "file")


def test_a_model_that_cannot_be_had_is_said_and_left_out(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, sources=())
    screen = Console(file=io.StringIO(), width=200)
    with pytest.raises(ModelFileError, match="at least one model"):
        run.pull(store, lineup.MODELS, screen)
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue().count("cannot be had") == 3


def test_unknown_sets_and_policies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of small, all"):
        run.main(models="huge", out=tmp_path)
    with pytest.raises(ConfigError, match="roles"):
        run.main(models="small", policy="rolse", out=tmp_path)


def test_the_json_result_round_trips(all_right: tuple[DemoResult, str, Path]) -> None:
    result, _, _ = all_right
    assert msgspec.json.decode(msgspec.json.encode(result), type=DemoResult) == result
    assert isinstance(result.routed.by_role[0], BillRow)


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_demo(tmp_path: Path) -> None:
    from agentrouter.config import cache_dir

    store = ModelStore(cache_dir())
    try:
        for name in lineup.MODELS:
            store.path(name)
    except ModelFileError as error:
        pytest.skip(str(error))
    target = tmp_path / "demo.json"
    assert run.main(out=tmp_path / "out", json_path=target) == 0
    result = msgspec.json.decode(target.read_bytes(), type=DemoResult)
    assert result.frontier_only is not None
    assert result.frontier_only.solved >= 5  # 70 % of seven
    assert result.routed.cost_nusd < result.frontier_only.cost_nusd
    assert result.seconds < 300
