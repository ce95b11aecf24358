"""The ledger and the step tables: made here, read back."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from agentrouter.errors import InputError, LedgerError
from agentrouter.features import extract
from agentrouter.lab.sources import open_traces, step_table
from agentrouter.ledger import open_ledger
from agentrouter.types import (
    Attempt,
    AttemptKind,
    Candidate,
    Cost,
    DecisionRecord,
    History,
    Message,
    Outcome,
    Price,
    Reason,
    Status,
    Step,
    StepRecord,
    Tier,
    Usage,
)

polars = pytest.importorskip("polars", reason="the lab extra is not installed")

SHARED = Path(os.environ.get("AGENTROUTER_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def record(number: int, cost: int) -> StepRecord:
    price = Price(input=1, output=1, cache_read=1, cache_write=1)
    candidate = Candidate(name="example/mid", provider="example", model="mid", tier=Tier.MID, price=price)
    step = Step(id=f"s{number}", trajectory_id=f"t{number % 2}", index=number // 2, messages=(Message(role="user"),))
    usage = Usage(fresh_input=100 + number, cache_read=10, output=5)
    attempt = Attempt(
        candidate=candidate,
        number=1,
        kind=AttemptKind.FIRST,
        outcome=Outcome(usage=usage),
        cost=Cost(fresh_input=cost),
    )
    made = DecisionRecord(
        action=candidate.name, propensity=1.0, probabilities={candidate.name: 1.0}, reason=Reason.FIXED
    )
    return StepRecord(
        step=step,
        features=extract(step, History()),
        status=Status.OK,
        served=candidate,
        decisions=(made,),
        attempts=(attempt,),
        excluded=(),
        started_at=1_767_225_600.0 + number,
    )


def test_ledger_gives_its_own_bill(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        for number in range(10):
            ledger.append(record(number, cost=1000 + number))
    steps, report = open_traces(path)
    found = list(steps)
    assert (report.format, report.lines, report.steps, report.malformed) == ("ledger", 10, 10, 0)
    # 10 x 1000 + (0 + ... + 9); 10 x 100 + 45; 10 x 10; 10 x 5
    assert sum(one.cost_nusd or 0 for one in found) == 10_045
    assert sum(one.usage.fresh_input for one in found if one.usage) == 1045
    assert sum(one.usage.cache_read for one in found if one.usage) == 100
    assert len({one.step.trajectory_id for one in found}) == 2


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    open_ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    steps, _ = open_traces(path)
    with pytest.raises(LedgerError, match="schema version 999"):
        list(steps)


def outcome(model: str, success: float | None = 1.0, **more: object) -> dict[str, object]:
    empty = {"input_tokens": None, "output_tokens": None, "cost_usd": None, "latency_s": None}
    return {"model": model, "success": success, **empty, **more}


def row(index: int, *outcomes: dict[str, object], **more: object) -> dict[str, object]:
    made: dict[str, object] = {
        **{
            "source": "made_up",
            "category": "coding",
            "task_id": f"k{index}",
            "trajectory_id": "run",
            "step_index": index,
        },
        **{"n_steps": 3, "role": "worker", "messages": '[{"role": "user", "content": "Add it."}]', "tools": None},
        **{"context_chars": 4000, "outcomes": list(outcomes), "label_level": "step", "split_hint": "", "group": "g"},
    }
    return {**made, **more}


def table(path: Path, *rows: dict[str, object]) -> Path:
    polars.DataFrame(list(rows), infer_schema_length=None).write_parquet(path)
    return path


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return table(
        tmp_path / "made.parquet",
        row(
            0,
            outcome("big", input_tokens=1000, output_tokens=20, cost_usd=0.0123456, latency_s=1.5),
            outcome("small", 0.0),
        ),
        row(1, outcome("big", None, input_tokens=1100, output_tokens=10, cost_usd=0.1)),
        row(2, outcome("small", 0.5), tools='[{"name": "add", "parameters": ["a", "b"]}]'),
    )


def test_step_table_rows(made: Path) -> None:
    steps, report = open_traces(made)
    several, single, third = list(steps)
    assert (report.format, report.lines, report.steps, report.problems) == ("step_table", 3, 3, [])
    assert (several.model, several.cost_nusd, several.lacks) == ("", None, ("model", "usage", "cost", "time"))
    assert {one.model: (one.success, one.cost_nusd) for one in several.alternatives} == {
        "big": (1.0, 12_345_600),
        "small": (0.0, None),
    }
    assert (single.model, single.usage, single.cost_nusd) == ("big", Usage(fresh_input=1100, output=10), 100_000_000)
    assert single.step.tokens.input == 1100
    # 4,000 characters of context are more than the cut messages hold.
    assert several.step.tokens.input == 1000
    assert (third.step.index, third.step.trajectory_id, third.success) == (2, "run", 0.5)
    assert [tool.name for tool in third.step.tools] == ["add"]


def test_step_table_rows_without_messages_are_steps_that_lack_them(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", row(0, outcome("big"), messages="[]"), row(1, outcome("big"), messages=None))
    steps, report = open_traces(path)
    # 4,000 characters of context, four a token
    assert [(one.step.messages, one.step.tokens.input, "messages" in one.lacks) for one in steps] == [
        ((), 1000, True)
    ] * 2
    assert report.problems == []


def test_step_table_takes_the_model_that_is_asked_for(made: Path) -> None:
    from agentrouter.lab.trace import TraceReport

    report = TraceReport()
    found = list(step_table.StepTableSource(recorded_model="big").read(made, report))
    assert [one.model for one in found] == ["big", "big", "small"]
    assert found[0].cost_nusd == 12_345_600


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (row(1, outcome("big", 1.5)), "outcomes[0].success"),
        (row(1, outcome("big", input_tokens=-1)), "outcomes[0].input_tokens"),
        (row(1, outcome("big", cost_usd=-0.5)), "outcomes[0].cost_usd"),
        (row(1, outcome("big", cost_usd=float("nan"))), "outcomes[0].cost_usd"),
        (row(1, outcome("")), "outcomes[0].model"),
        (row(-1, outcome("big")), "step_index"),
        (row(1, outcome("big"), messages="[{"), "messages"),
        (row(1, outcome("big"), messages='[{"role": 5}]'), "messages[0].role"),
    ],
)
def test_a_malformed_row_is_counted_and_the_others_are_read(tmp_path: Path, bad: dict[str, object], field: str) -> None:
    path = table(tmp_path / "t.parquet", row(0, outcome("big")), bad, row(2, outcome("big")))
    steps, report = open_traces(path)
    assert [one.step.index for one in steps] == [0, 2]
    assert [(one.line, one.field) for one in report.problems] == [(2, field)]


def test_other_and_damaged_parquet_files_are_errors(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    polars.DataFrame({"a": [1]}).write_parquet(other)
    with pytest.raises(InputError, match="is no step table: it lacks task_id"):
        list(open_traces(other)[0])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(other.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        list(open_traces(cut)[0])


def test_outcomes_is_one_line_a_step_and_model(made: Path, tmp_path: Path) -> None:
    other = table(tmp_path / "other.parquet", row(0, outcome("tiny", 1)))
    frame = step_table.outcomes([made, other], ("group",)).collect()
    assert frame["model"].to_list() == ["big", "small", "big", "small", "tiny"]
    assert frame["row"].to_list() == [0, 0, 1, 2, 0]
    assert frame["cost_nusd"].to_list() == [12_345_600, None, 100_000_000, None, None]
    assert list(step_table.rows(made, ("group", "step_index")))[2] == {"group": "g", "step_index": 2}


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "steps").is_dir(), reason="the shared outcome data is not here")
@pytest.mark.parametrize("name", ["twinrouter_part", "whoandwhen", "intercode_first", "zeroeval_numersensev2"])
def test_shared_tables_read_without_a_problem(name: str) -> None:
    steps, report = open_traces(SHARED / "steps" / f"{name}.parquet")
    count = sum(1 for _ in steps)
    assert count == report.lines > 0
    assert report.problems == []
