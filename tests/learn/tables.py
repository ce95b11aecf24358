"""Made-up step tables for the tests of the builder."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

TIERS = {
    "tiny": "minimal",
    "small": "efficient",
    "small-FC": "efficient",
    "medium": "mid",
    "large": "frontier",
    "large-b": "frontier",
    "odd": None,
}
OUTCOMES = pl.List(
    pl.Struct({"model": pl.String, "success": pl.Float32, "input_tokens": pl.Int32, "output_tokens": pl.Int32,
               "cost_usd": pl.Float64, "latency_s": pl.Float32})
)  # fmt: skip
SCHEMA = {
    "source": pl.String,
    "category": pl.String,
    "task_id": pl.String,
    "trajectory_id": pl.String,
    "step_index": pl.Int32,
    "n_steps": pl.Int32,
    "role": pl.String,
    "messages": pl.String,
    "tools": pl.String,
    "context_chars": pl.Int64,
    "outcomes": OUTCOMES,
    "label_level": pl.String,
    "split_hint": pl.String,
    "group": pl.String,
}


def row(source: str, task: str, successes: dict[str, float | None], **fields: object) -> dict[str, object]:
    """Return a row; its prompt is ``question <task> of <source>`` unless given."""
    empty = dict.fromkeys(("input_tokens", "output_tokens", "cost_usd", "latency_s"))
    return {
        "source": source,
        "category": "coding",
        "task_id": task,
        "trajectory_id": task,
        "step_index": 0,
        "n_steps": 1,
        "role": "planner",
        "messages": asked(f"question {task} of {source}"),
        "tools": None,
        "context_chars": 40,
        "outcomes": [{"model": model, "success": success, **empty} for model, success in successes.items()],
        "label_level": "step",
        "split_hint": None,
        "group": f"{source}:{task}",
        **fields,
    }


def asked(text: str) -> str:
    return json.dumps([{"role": "system", "content": "rules"}, {"role": "user", "content": text}])


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    """Write ``steps/<name>.parquet`` and ``model_tiers.json`` into a folder; return the folder."""
    steps = folder / "steps"
    steps.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(steps / f"{name}.parquet")
    (folder / "model_tiers.json").write_text(json.dumps(TIERS), encoding="utf-8")
    return folder
