"""One source's rows as part of the training table: parsed, encoded and joined with their outcomes.

Law: a row's features come from the row alone, by the functions that serve; what cannot be used is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agentrouter.errors import InputError
from agentrouter.features import extract
from agentrouter.lab.evaluation_drive import PROGRESS_EVERY, Progress, only, read_step
from agentrouter.lab.metrics.arrays import Bools, Floats, Ints
from agentrouter.lab.step_tables import StepTable, TierMap
from agentrouter.lab.trace import TraceReport
from agentrouter.learn.labels import own_level
from agentrouter.learn.outcomes import measured
from agentrouter.learn.splits import opening
from agentrouter.learn.table import FEATURES
from agentrouter.scorers.encode import numeric
from agentrouter.types import History, StepFeatures

if TYPE_CHECKING:
    import polars

OVERLAP_FILE = "overlap_routellm.json"

Overlap = dict[str, frozenset[str]]
_NO_HISTORY = History()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One source's n rows."""

    source: str
    frame: polars.DataFrame
    """What a row says; labels other than ``outcomes``, ``y_bag`` and ``y_run_steps`` come later."""
    success: Floats
    models: Ints
    left_out: dict[str, int]
    inconsistent_bags: int
    """Runs whose rows do not agree on the outcome: each row is a bag of its own."""
    modes: list[str]
    """Models some outcomes of which are left out for another calling mode of the same model."""


def find_overlap(where: Path) -> Path | None:
    """Return the list of task ids that repeat RouteLLM's questions, in the folder or beside it, if there is one."""
    folder = where if where.is_dir() else where.parent
    places = (folder / OVERLAP_FILE, folder.parent / OVERLAP_FILE)
    return next((place for place in places if place.is_file()), None)


def load_overlap(path: Path) -> Overlap:
    """Read source -> task ids.

    Raises:
        InputError: unreadable, or not such an object.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, frozenset[str]])
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except msgspec.DecodeError as error:
        raise InputError(f"expected an object of source name to list of task ids: {error}", file=str(path)) from None


def openings(table: StepTable, report: TraceReport) -> set[str]:
    """Return the fingerprints of what is first asked in the rows of a table."""
    steps = (read_step(table, row, report) for row in range(len(table.rows)))
    return {opening(step) for step in steps if step is not None} - {""}


def part(
    table: StepTable, tiers: TierMap, overlap: frozenset[str], report: TraceReport, progress: Progress | None
) -> Part:
    """Encode a source's rows; those without any outcome and those of ``overlap`` (task ids) are left out.

    Raises:
        InputError: the outcomes cannot be read.
    """
    import polars as pl

    left_out = Counter(table.left_out)
    file = Path(table.file)
    said = _said(file).filter(pl.col("row").is_in(table.numbers)).sort("row")
    found = measured(file, table.numbers, tiers)
    has = (found.models.sum(axis=1) > 0) | (found.single.list.len().fill_null(0) > 0).to_numpy()
    repeated = said["task"].is_in(sorted(overlap)).fill_null(False).to_numpy()
    left_out["not_measured"] += int((~has).sum())
    left_out["routellm_overlap"] += int((has & repeated).sum())
    keep: Bools = np.asarray(has & ~repeated, dtype=np.bool_)
    words, rows, usable = _encoded(only(table, keep), report, progress)
    left_out["unreadable"] += int((~usable).sum())
    keep[np.flatnonzero(keep)[~usable]] = False
    table = only(table, keep)
    success, models = found.success[keep], found.models[keep]
    bags, inconsistent = _bags(table, success, file.stem)
    mask = pl.Series(keep)
    labels = [pl.Series("y_bag", bags, dtype=pl.String), said.filter(mask)["y_run_steps"], found.single.filter(mask)]
    values = pl.DataFrame(rows, schema=dict.fromkeys(FEATURES, pl.Float32))
    return Part(
        source=table.source,
        frame=_words(table, said.filter(mask), words).hstack(values).hstack(labels),
        success=success,
        models=models,
        left_out={reason: count for reason, count in sorted(left_out.items()) if count},
        inconsistent_bags=inconsistent,
        modes=found.modes,
    )


def _words(table: StepTable, said: polars.DataFrame, words: dict[str, list[str]]) -> polars.DataFrame:
    """Return the columns that are text, and the position in the run."""
    import polars as pl

    columns: dict[str, Any] = {
        "id": [f"{Path(table.file).stem}/{number}" for number in table.numbers.tolist()],
        "source": [table.source] * len(table.rows),
        "category": said["category"],
        "task": said["task"],
        "group": table.groups,
        "trajectory": table.trajectory_ids,
        "role_given": [row.role for row in table.rows],
        **words,
        "label_level": table.label_levels,
    }
    named = [pl.Series(name, column, dtype=pl.String) for name, column in columns.items()]
    return pl.DataFrame([*named, pl.Series("step_index", table.step_index, dtype=pl.Int32)])


def _said(path: Path) -> polars.DataFrame:
    """Read what step tables may say beside what every table must; ``row`` counts from 1."""
    import polars as pl

    lazy = pl.scan_parquet(path)
    names = lazy.collect_schema().names()
    task = pl.col("task_id" if "task_id" in names else "trajectory_id").cast(pl.String)
    category = pl.col("category").cast(pl.String).fill_null("unknown") if "category" in names else pl.lit("unknown")
    steps = pl.col("n_steps").cast(pl.Int32).fill_null(0) if "n_steps" in names else pl.lit(0, dtype=pl.Int32)
    columns = (task.alias("task"), category.alias("category"), steps.alias("y_run_steps"))
    return lazy.with_row_index("row", offset=1).select(pl.col("row").cast(pl.Int64), *columns).collect()


def _encoded(
    table: StepTable, report: TraceReport, progress: Progress | None
) -> tuple[dict[str, list[str]], Floats, Bools]:
    """Return the words and the numbers of the rows that can be read, and which those are."""
    words: dict[str, list[str]] = {name: [] for name in ("role", "opening", "instruction", "observation")}
    n = len(table.rows)
    rows: Floats = np.zeros((n, len(FEATURES)))
    usable = np.ones(n, dtype=np.bool_)
    for row in range(n):
        if progress is not None and (row % PROGRESS_EVERY == 0 or row == n - 1):
            progress(table.source, row + 1, n)
        step = read_step(table, row, report)
        if step is None:
            usable[row] = False
            continue
        features = extract(step, _NO_HISTORY)
        rows[row] = numeric(features)
        for name, value in zip(words, (features.role.role, opening(step), *_windows(features)), strict=True):
            words[name].append(value)
    return words, rows[usable], usable


def _windows(features: StepFeatures) -> tuple[str, str]:
    """Return the encoder's texts; half surrogates, which Parquet cannot hold, become question marks."""
    semantics = features.semantics
    instruction, observation = (
        text.encode("utf-8", "replace").decode() for text in (semantics.instruction, semantics.observation)
    )
    return instruction, observation


def _bags(table: StepTable, success: Floats, stem: str) -> tuple[list[str | None], int]:
    """Name the run of each row whose verdict is a run's."""
    own = own_level(table.label_levels)
    outcome: dict[int, bytes] = {}
    broken: set[int] = set()
    for row in np.flatnonzero(~own).tolist():
        run = int(table.run[row])
        if outcome.setdefault(run, success[row].tobytes()) != success[row].tobytes():
            broken.add(run)
    names: list[str | None] = [None] * own.size
    for row in np.flatnonzero(~own).tolist():
        run = int(table.run[row])
        names[row] = f"{stem}/{run}" if run not in broken else f"{stem}/{run}/{int(table.numbers[row])}"
    return names, len(broken)
