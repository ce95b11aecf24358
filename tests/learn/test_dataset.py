"""The builder on made-up tables: every column by hand, what is left out, determinism; and the shared data."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="polars is not installed")

from agentrouter.errors import InputError  # noqa: E402
from agentrouter.features import extract  # noqa: E402
from agentrouter.lab.step_tables import read_tables, tier_map  # noqa: E402
from agentrouter.lab.trace import TraceReport  # noqa: E402
from agentrouter.learn.card import Card, SourceCard  # noqa: E402
from agentrouter.learn.dataset import CARD_FILE, PAGE_FILE, TABLE_FILE, Dataset, build, write  # noqa: E402
from agentrouter.learn.licences import SOURCES, Use, mark, may_train  # noqa: E402
from agentrouter.learn.splits import leave_out  # noqa: E402
from agentrouter.learn.table import FEATURES, FIELDS, MODELS, SUCCESS, WEIGHTS  # noqa: E402
from agentrouter.scorers.encode import numeric  # noqa: E402
from agentrouter.types import History  # noqa: E402
from agentrouter.wire import step_from_messages  # noqa: E402
from tests.cli.running import agentrouter  # noqa: E402
from tests.learn import tables  # noqa: E402
from tests.learn.tables import TIERS, asked, row  # noqa: E402

SHARED = Path(os.environ.get("AGENTROUTER_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
NAN = float("nan")


def source(card: Card, name: str) -> SourceCard:
    return next(one for one in card.sources if one.source == name)


def line(dataset: Dataset, name: str) -> dict[str, object]:
    found = dataset.frame.filter(pl.col("id") == name)
    assert found.height == 1, name
    return found.row(0, named=True)


def values(record: dict[str, object], names: tuple[str, ...]) -> list[float]:
    return [record[name] for name in names]  # type: ignore[misc]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Tables of four real names (for their licence marks) and one of nobody's."""
    every = {"tiny": 0.0, "small": 1.0, "medium": 1.0, "large": 1.0, "large-b": 0.0, "odd": 1.0}
    tables.write(
        tmp_path,
        "planbench",
        [
            row("planbench", "1", every),
            row("planbench", "2", {"tiny": None, "large": 1.0}, messages=asked("Same   QUESTION, twice!")),
            row("planbench", "3", {"tiny": None, "small": None}),
            row("planbench", "4", {"tiny": 1.0}, messages="no json"),
            row("planbench", "5", {"odd": 1.0}),
            row("planbench", "6", {"tiny": 1.0}, split_hint="contaminated"),
            row("planbench", "7", {"tiny": 1.0}, messages=asked("What is 2 + 2?")),
        ],
    )
    turns = [
        row("mint_turns", "a", {"tiny": 0.0}, step_index=index, n_steps=4, label_level="task", trajectory_id="a/tiny")
        for index in (1, 2, 3)
    ]
    torn = [
        row("mint_turns", "b", {"large": success}, step_index=index, label_level="task", trajectory_id="b/large")
        for index, success in ((1, 0.0), (2, 1.0))
    ]
    tables.write(tmp_path, "mint_turns", [*turns, *torn])
    modes = {"small": 0.0, "small-FC": 1.0}
    tables.write(
        tmp_path,
        "mmlupro",
        [
            row("mmlupro", "70", modes, messages=asked("same question twice")),
            row("mmlupro", "71", modes),
            row("mmlupro", "72", {"small": 1.0}),
        ],
    )
    tables.write(tmp_path, "routellm_gsm8k", [row("routellm_gsm8k", "g", {"tiny": 1.0}, messages=asked("what is 2 2"))])
    tables.write(tmp_path, "mine", [row("mine", "1", {"tiny": 1.0})])
    (tmp_path / "overlap_routellm.json").write_text('{"mmlupro": ["71"]}', encoding="utf-8")
    return tmp_path


def test_the_columns_are_the_documented_ones(made: Path) -> None:
    frame = build(made).frame
    assert frame.columns == [field.name for field in FIELDS]
    kinds = ["List" if isinstance(kind, pl.List) else str(kind) for kind in frame.dtypes]
    assert kinds == [field.type for field in FIELDS]


def test_a_row_by_hand(made: Path) -> None:
    found = line(build(made), "planbench/1")
    said = {name: found[name] for name in ("source", "category", "task", "group", "trajectory", "step_index", "role")}
    assert said == {
        "source": "planbench",
        "category": "coding",
        "task": "1",
        "group": "planbench:1",
        "trajectory": "1",
        "step_index": 0,
        "role": "plan",
    }
    assert (found["role_given"], found["instruction"], found["observation"]) == (
        "planner",
        "question 1 of planbench",
        "",
    )
    # large 1, large-b 0; odd has no tier.
    assert values(found, SUCCESS) == [0.0, 1.0, 1.0, 0.5]
    assert values(found, MODELS) == [1, 1, 1, 2]
    assert values(found, WEIGHTS) == pytest.approx([1 / 2, 1 / 2, 1 / 2, 2 / 3])
    # small is as good as frontier, and tiny was measured: exact. Of 6 pairs, small and medium are above frontier.
    assert (found["y_tier"], found["y_tier_at_most"], found["y_violations"], found["y_pairs"]) == (1, 1, 2, 6)
    assert (found["y_bag"], found["y_bag_rows"], found["y_run_steps"]) == (None, 1, 1)
    singles = {one["model"]: (one["tier"], one["success"]) for one in found["outcomes"]}  # type: ignore[attr-defined]
    assert singles == {
        "tiny": (0, 0.0),
        "small": (1, 1.0),
        "medium": (2, 1.0),
        "large": (3, 1.0),
        "large-b": (3, 0.0),
        "odd": (None, 1.0),
    }


def test_numbers_are_those_of_service(made: Path) -> None:
    found = line(build(made), "planbench/1")
    step = step_from_messages(
        asked("question 1 of planbench"), id="x", trajectory_id="y", role="planner", context_chars=40
    )
    served = np.array(numeric(extract(step, History())), dtype=np.float32)
    assert values(found, FEATURES) == served.tolist()


def test_runs_are_bags_and_never_gold(made: Path) -> None:
    dataset = build(made)
    rows = [line(dataset, f"mint_turns/{number}") for number in (1, 2, 3, 4, 5)]
    assert [one["y_bag"] for one in rows] == [
        "mint_turns/0", "mint_turns/0", "mint_turns/0", "mint_turns/1/4", "mint_turns/1/5",
    ]  # fmt: skip
    assert [(one["y_bag_rows"], one["y_run_steps"]) for one in rows] == [(3, 4)] * 3 + [(1, 1)] * 2
    # One verdict: .25 over three rows, one model: half. The rows that do not agree are runs of their own.
    assert [one["w_minimal"] for one in rows[:3]] == pytest.approx([0.25 / 3 / 2] * 3)
    assert [one["w_frontier"] for one in rows[3:]] == pytest.approx([0.25 / 2] * 2)
    assert [one["y_tier"] for one in rows] == [-1] * 5
    assert [one["y_tier_at_most"] for one in rows] == [-1, -1, -1, -1, 3]
    assert dataset.card.inconsistent_bags == 1
    (runs,) = dataset.card.runs
    # One run of three steps of one role, failed: every step is to blame.
    assert (runs.source, runs.runs, runs.steps, runs.run_failure, runs.implied_run_failure) == (
        "mint_turns",
        1,
        3,
        1,
        1,
    )


def test_what_is_left_out_is_counted(made: Path) -> None:
    card = build(made).card
    assert source(card, "planbench").left_out == {
        "not_measured": 1,
        "opens_as_a_yardstick": 1,
        "split_hint:contaminated": 1,
        "unreadable": 1,
    }
    assert source(card, "mmlupro").left_out == {"routellm_overlap": 1}
    assert card.refused == {"mine": 1, "routellm_gsm8k": 1}
    assert len(card.unreadable) == 1
    assert "planbench.parquet:4" in card.unreadable[0]
    # 3 of planbench (one without a tier), 5 turns, 2 of mmlupro.
    assert (card.rows, card.with_tier, source(card, "planbench").with_tier) == (10, 9, 2)
    assert card.without_tier == ["odd"]


def test_a_model_counts_once(made: Path) -> None:
    dataset = build(made)
    # small: 0, 0, 1 over the source; small-FC: 1, 1. The better mode counts where both are there.
    rows = [line(dataset, name) for name in ("mmlupro/1", "mmlupro/3")]
    assert [(one["y_efficient"], one["n_efficient"]) for one in rows] == [(1.0, 1), (1.0, 1)]
    assert [[single["model"] for single in one["outcomes"]] for one in rows] == [["small-FC"], ["small"]]  # type: ignore[attr-defined]
    assert dataset.card.modes == ["small"]


def test_groups_that_open_alike_share_a_split(made: Path) -> None:
    dataset = build(made)
    twins = [line(dataset, name) for name in ("planbench/2", "mmlupro/1")]
    assert [one["unit"] for one in twins] == ["mmlupro:70"] * 2
    assert twins[0]["split"] == twins[1]["split"]
    assert dataset.card.joined_groups == 2
    assert dataset.card.leaks == {"groups": 0, "units": 0, "openings": 0}
    fold = next(one for one in dataset.card.folds if one.source == "mmlupro")
    assert (fold.measure, fold.withheld) == (2, 1)


def test_licences() -> None:
    assert {name for name in SOURCES if name.startswith("routellm")} == {
        name for name, one in SOURCES.items() if one.use is Use.MEASURE
    }
    assert mark("routellm_new").use is Use.MEASURE
    assert mark("mine").use is Use.UNKNOWN
    for name in ("routellm_mmlu", "routellm_new"):
        assert not may_train(name, licensed_only=False)
    assert [may_train("mine", licensed_only=only) for only in (True, False)] == [False, True]
    assert [may_train("swebench_bash_only", licensed_only=only) for only in (True, False)] == [False, True]
    assert may_train("mint", licensed_only=True)


def test_all_takes_what_is_not_licensed_and_says_so(made: Path) -> None:
    card = build(made, licensed_only=False).card
    assert card.refused == {"routellm_gsm8k": 1}
    assert source(card, "mine").use is Use.UNKNOWN
    assert "Not for what ships: holds mine." in card.warnings
    assert not any("Not for what ships" in warning for warning in build(made).card.warnings)


def test_nothing_to_take(tmp_path: Path) -> None:
    tables.write(tmp_path, "mine", [row("mine", "1", {"tiny": 1.0})])
    with pytest.raises(InputError, match=r"no row may be used .*mine.* --all"):
        build(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        build(tmp_path / "nowhere")


def test_same_input_same_bytes(made: Path, tmp_path: Path) -> None:
    cards = [write(build(made), tmp_path / name) for name in ("one", "two")]
    files = [sorted((tmp_path / name).iterdir()) for name in ("one", "two")]
    assert [[file.name for file in folder] for folder in files] == [sorted([CARD_FILE, PAGE_FILE, TABLE_FILE])] * 2
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
    assert cards[0].table is not None
    assert cards[0].table.sha256 == hashlib.sha256((tmp_path / "one" / TABLE_FILE).read_bytes()).hexdigest()
    assert msgspec.json.decode((tmp_path / "one" / CARD_FILE).read_bytes(), type=Card) == cards[0]
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (made / "steps").iterdir()}
    assert {file.name: file.sha256 for file in cards[0].files} == hashes


def test_another_seed_moves_splits_only(made: Path) -> None:
    frames = [build(made, seed=seed).frame for seed in (0, 1, 2, 3)]
    assert len({tuple(frame["split"]) for frame in frames}) > 1
    told = [name for name in frames[0].columns if name not in ("split", "y_tier", "y_tier_at_most")]
    for frame in frames[1:]:
        assert frame.select(told).equals(frames[0].select(told))


def test_the_page_says_what_the_card_says(made: Path, tmp_path: Path) -> None:
    write(build(made), tmp_path / "out")
    page = (tmp_path / "out" / PAGE_FILE).read_text(encoding="utf-8")
    assert "| planbench | MIT | ship | 3 | 2 | 3 | 0 | not_measured 1," in page
    assert "Not taken: mine 1, routellm_gsm8k 1." in page
    assert "x_last_tier" in page
    # Nothing of the data itself.
    assert "question 1" not in page


def test_shuffle_control(tmp_path: Path) -> None:
    rows = [row("mint", str(i), {"tiny": float(i % 4 == 0), "large": 1.0}) for i in range(40)]
    tables.write(tmp_path, "mint", rows)
    plain, mixed = build(tmp_path), build(tmp_path, shuffle_labels=True)
    assert mixed.card.shuffled
    assert "SHUFFLED" in mixed.card.warnings[0]
    inputs = ["id", "unit", "split", "instruction", *FEATURES]
    assert plain.frame.select(inputs).equals(mixed.frame.select(inputs))
    assert plain.frame["y_minimal"].to_list() != mixed.frame["y_minimal"].to_list()
    # Ten of forty succeed, before as after; the single outcomes move with the means.
    assert (plain.frame["y_minimal"].sum(), mixed.frame["y_minimal"].sum()) == (10, 10)
    tiny = [outcomes[1]["success"] for outcomes in mixed.frame["outcomes"].to_list()]
    assert tiny == mixed.frame["y_minimal"].to_list()


def test_means_are_those_of_the_evaluation(made: Path) -> None:
    """One reading of outcomes: the builder's tier means are the evaluation's where no calling mode is left out."""
    (table,) = read_tables(made / "steps" / "mint_turns.parquet", tier_map(TIERS), TraceReport())
    frame = build(made).frame.filter(pl.col("source") == "mint_turns")
    assert np.array_equal(frame.select(SUCCESS).to_numpy(), table.outcome.astype(np.float32), equal_nan=True)


def test_tables_with_the_needed_columns_only(tmp_path: Path) -> None:
    tables.write(tmp_path, "own", [row("", "1", {"tiny": 1.0})])
    path = tmp_path / "steps" / "own.parquet"
    needed = ("messages", "outcomes", "trajectory_id", "step_index", "group")
    pl.read_parquet(path).select(needed).write_parquet(path)
    found = line(build(tmp_path, licensed_only=False), "own/1")
    assert [found[name] for name in ("source", "category", "task", "label_level")] == ["own", "unknown", "1", "step"]


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "steps").is_dir(), reason="the shared outcome data are not here")
def test_shared_data(tmp_path: Path) -> None:
    started = time.process_time()
    dataset = build(SHARED)
    card = write(dataset, tmp_path)
    assert time.process_time() - started < 180
    assert card.with_tier >= 50_000
    assert card.rows == sum(cell.rows for cell in card.cells) == sum(one.rows for one in card.splits)
    assert {cell.category for cell in card.cells} >= {"planning", "coding", "research", "data_analysis", "tool_use"}
    assert {cell.level for cell in card.cells} == {"step", "turn", "task"}
    assert all(tier.rows > 10_000 for tier in card.tiers)
    assert all(one.use is Use.SHIP for one in card.sources)
    assert card.leaks == {"groups": 0, "units": 0, "openings": 0}
    assert card.unreadable == []
    frame = dataset.frame
    overlap = json.loads((SHARED / "overlap_routellm.json").read_text(encoding="utf-8"))
    for name, tasks in overlap.items():
        assert frame.filter((pl.col("source") == name) & pl.col("task").is_in(tasks)).height == 0
    assert (frame.filter(pl.col("label_level") == "task")["y_tier"] == -1).all()
    assert frame.select(pl.all_horizontal(pl.col(FEATURES).is_finite().all())).item()
    names, splits, sources = (frame[name].to_list() for name in ("unit", "split", "source"))
    fold = leave_out("intercode_first", sources, names, splits)
    groups = frame["group"].to_numpy()
    assert not set(groups[fold.measure]) & set(groups[fold.fit | fold.choose])


def test_the_page_of_the_docs(made: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "learn" / "dataset.md").read_text(encoding="utf-8")
    for field in FIELDS:
        assert field.name.startswith("x_") or f"`{field.name}`" in page or field.name in (*SUCCESS, *MODELS, *WEIGHTS)
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code.replace('"DIR"', repr(str(made))).replace('"FOLDER"', repr(str(tmp_path / "out"))), names)
    train = names["dataset"].frame.filter(pl.col("split") == "train").height
    assert names["x"].shape == (train, len(FEATURES) - len(names["card"].constant_columns))
    assert names["y"].shape == names["w"].shape == (train, 4)


def test_the_command(made: Path, tmp_path: Path) -> None:
    done = agentrouter("learn", "dataset", "--steps", str(made), "--out", str(tmp_path / "out"), "--json", "-")
    # One row is malformed: the table is written, the row listed, and the exit code says so.
    assert done.code == 1
    printed = msgspec.json.decode(done.out, type=Card)
    assert printed == msgspec.json.decode((tmp_path / "out" / CARD_FILE).read_bytes(), type=Card)
    assert printed.licensed_only
    done = agentrouter("learn", "dataset", "--steps", str(made), "--out", str(tmp_path / "all"), "--all")
    assert "not taken: routellm_gsm8k, 1 rows" in done.out
    assert "planbench.parquet:4" in done.out
    done = agentrouter("learn", "dataset", "--steps", str(tmp_path / "none"), "--out", str(tmp_path / "all"))
    assert done.code != 0
    assert "no such file or folder" in done.err
