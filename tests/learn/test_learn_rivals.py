"""From step tables to a policy: ``agentrouter learn rivals``, then a policy file that names the artefact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from agentrouter.cli.app import app
from agentrouter.config import artefact_from, load_config, load_policy
from agentrouter.errors import ConfigError, InputError, ModelFileError
from agentrouter.learn.rival_rows import read_rows
from agentrouter.policies import build, policy_hash

from .made_rows import EASY, HARD

TIERS = {"m0": "minimal", "m1": "efficient", "m2": "mid", "m3": "frontier"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean source of 120 groups of two rows, and one that is not for training."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(240):
        hard = i % 2
        chance = (0.1, 0.3, 0.6, 0.9) if hard else (0.9, 0.9, 0.9, 0.95)
        outcomes = [{"model": f"m{a}", "success": float(rng.random() < chance[a])} for a in range(4)]
        for one in outcomes:
            one.update(input_tokens=None, output_tokens=None)
        text = json.dumps([{"role": "user", "content": f"{HARD if hard else EASY} {chr(97 + i % 26)}"}])
        rows.append(
            {
                "source": "planbench",
                "task_id": str(i),
                "trajectory_id": f"t{i}",
                "step_index": 0,
                "role": "planner",
                "messages": text,
                "tools": None,
                "context_chars": len(text),
                "outcomes": outcomes,
                "label_level": "step",
                "split_hint": None,
                "group": f"g{i // 2}",
            }
        )
    schema = {
        "outcomes": pl.List(
            pl.Struct({"model": pl.String, "success": pl.Float64, "input_tokens": pl.Int64, "output_tokens": pl.Int64})
        ),
        "tools": pl.String,
        "split_hint": pl.String,
    }
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(folder / "planbench.parquet")
    closed = [{**row, "source": "routerdc_7b"} for row in rows[:10]]
    pl.DataFrame(closed, schema_overrides=schema).write_parquet(folder / "routerdc_7b.parquet")
    (folder / "model_tiers.json").write_text(json.dumps(TIERS))
    (folder / "overlap_routellm.json").write_text(json.dumps({"planbench": ["0", "1"], "other": ["5"]}))
    return folder


@pytest.fixture(scope="module")
def artefacts(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artefacts")
    done = CliRunner().invoke(app, ["learn", "rivals", "--table", str(tables), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [one["scorer"] for one in told["artefacts"]] == ["role-table", "tfidf", "knn", "gbdt"]
    # Two rows repeat evaluation questions, ten are of a source that may not train.
    assert (told["rows"], told["left_out"]) == (238, {"not_measured": 0, "routellm_overlap": 2, "source": 10})
    return out


@pytest.mark.parametrize("name", ["role-table", "tfidf", "knn", "gbdt"])
def test_a_policy_file_names_the_artefact(name: str, artefacts: Path) -> None:
    file = artefacts / f"{name}.yaml"
    file.write_text(f"policy: sticky\ninner: {{policy: threshold, scorer: {name}, artefact: {name}}}\n")
    policy = load_policy(str(file))
    assert policy.name == f"sticky:threshold:{name}"
    assert policy_hash(policy) != policy_hash(build(f"sticky:threshold:{name}"))
    assert artefact_from(artefacts / name).config.sources == {"planbench": 238}


def test_a_config_file_names_the_artefact(artefacts: Path) -> None:
    file = artefacts / "config.yaml"
    file.write_text("policy: {policy: threshold, scorer: tfidf, artefact: tfidf}\n")
    assert load_config(str(file)).policy.name == "threshold:tfidf"
    file.write_text("policy: {policy: threshold, scorer: tfidf, artefact: nowhere}\n")
    with pytest.raises(ConfigError, match="has no file SHA256SUMS"):
        load_config(str(file))


def test_a_damaged_artefact_is_refused(artefacts: Path, tmp_path: Path) -> None:
    for file in (artefacts / "tfidf").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "arrays.npz").write_bytes((tmp_path / "arrays.npz").read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=r"arrays\.npz has sha256"):
        artefact_from(tmp_path)


def test_a_path_in_a_spec_is_read_by_config_only() -> None:
    with pytest.raises(ConfigError, match="expected a folder in a policy file"):
        build({"policy": "threshold", "scorer": "tfidf", "artefact": "somewhere"})


def test_cap_takes_whole_groups(tables: Path) -> None:
    rows = read_rows(tables, cap=51)
    assert len(rows.steps) == 50
    assert rows.left_out["cap"] == 188
    assert all(rows.groups.count(group) == 2 for group in rows.groups)


def test_rows_by_hand(tables: Path) -> None:
    rows = read_rows(tables)
    # 300 output tokens where none were recorded, input from characters: at 5/25 USD per million against .1/.4 a
    # frontier call costs between 50 and 62.5 times a minimal one.
    ratio = rows.cost[:, 3] / rows.cost[:, 0]
    assert (ratio > 50).all()
    assert (ratio < 62.5).all()
    assert set(np.unique(rows.outcome)) == {0.0, 1.0}
    inputs = rows.inputs()
    assert inputs.weight.tolist() == np.ones((238, 4)).tolist()


def test_no_such_source(tables: Path) -> None:
    with pytest.raises(InputError, match="none of the sources nothing"):
        read_rows(tables, sources=["nothing"])


def test_a_yardstick_trains_nothing(tables: Path, tmp_path: Path) -> None:
    arguments = ["learn", "rivals", "--table", str(tables), "--out", str(tmp_path), "--source", "routellm_mmlu"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "'routellm_mmlu' is for measuring only" in str(done.exception)


def test_an_unknown_scorer_is_named(tables: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["learn", "rivals", "--table", str(tables), "--out", str(tmp_path), "--scorer", "forest"]
    )
    assert done.exit_code == 1
    assert "unknown scorer 'forest'" in str(done.exception)
