"""The training table: step tables in, one row a step out, with features, soft labels, splits and a card.

Law: the same input and seed give the same bytes. Nothing is dropped in silence (the card counts it by source and
reason), no task is in two splits, and RouteLLM's evaluation questions train nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agentrouter.errors import InputError
from agentrouter.lab.evaluation_drive import Progress
from agentrouter.lab.metrics.arrays import Floats, Ints
from agentrouter.lab.step_tables import find_tiers, load_tiers, read_tables, step_files
from agentrouter.lab.trace import TraceReport
from agentrouter.learn.card import Card, Drawn, FileMark, Inputs, TableMark, card_of
from agentrouter.learn.card_page import markdown
from agentrouter.learn.labels import own_level, tier_labels, tolerances, violations, weights
from agentrouter.learn.licences import Use, mark, may_train
from agentrouter.learn.splits import shuffled, split_of, units
from agentrouter.learn.steps import Part, find_overlap, load_overlap, openings, part
from agentrouter.learn.table import FIELDS, MODELS, SCHEMA, SUCCESS, WEIGHTS
from agentrouter.scorers.encode import ENCODING

if TYPE_CHECKING:
    import polars

TABLE_FILE = "steps.parquet"
CARD_FILE = "card.json"
PAGE_FILE = "card.md"


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A training table and what is to be said of it."""

    frame: polars.DataFrame
    """The columns of ``table.FIELDS``."""
    card: Card


class _Read(msgspec.Struct, kw_only=True):
    """What was met while reading."""

    parts: list[Part] = []
    files: list[FileMark] = []
    yardstick: set[str] = set()
    """Openings of the sources for measuring."""
    refused: dict[str, int] = {}
    """Source -> rows, of sources that may not be in the table."""
    without_tier: set[str] = set()


def build(
    steps: Path | str,
    *,
    licensed_only: bool = True,
    shuffle_labels: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Build the training table from a folder of step tables, with ``model_tiers.json`` in it or beside it.

    Args:
        steps: folder of step tables (docs/metrics.md), or one table.
        licensed_only: only sources marked for training what ships (``licences.SOURCES``).
        shuffle_labels: the shuffle control: labels change places within source and level, so that a model fitted on
            the table can have learnt nothing about steps; says so in the card.
        seed: of the splits and of the shuffle.
        progress: called with (source, rows done, rows of the source).

    Raises:
        InputError: no table there, one that cannot be read, or no row that may be used.
        MissingExtraError: polars is not installed.
    """
    where = Path(steps)
    report = TraceReport()
    tiers_file, overlap_file = find_tiers(where), find_overlap(where)
    read = _read(where, licensed_only, report, progress)
    frame, success, models, repeats = _joined(read)
    if shuffle_labels:
        frame, success, models = _shuffle(frame, success, models, seed)
    drawn = _drawn(frame, seed)
    frame, tolerance = _labelled(frame, success, models, drawn)
    inputs = Inputs(
        files=read.files,
        model_tiers=_file_mark(tiers_file, 0),
        overlap=None if overlap_file is None else _file_mark(overlap_file, 0),
        refused=read.refused,
        repeats=repeats,
        without_tier=sorted(read.without_tier),
        unreadable=[f"{one.file}:{one.line}: {one.field}: {one.message}" for one in report.problems],
        left_out={one.source: one.left_out for one in read.parts},
        inconsistent_bags=sum(one.inconsistent_bags for one in read.parts),
        modes=sorted({model for one in read.parts for model in one.modes}),
        licensed_only=licensed_only,
        shuffled=shuffle_labels,
        seed=seed,
        tolerance=tolerance,
    )
    return Dataset(frame=frame, card=card_of(frame, drawn, inputs))


def write(dataset: Dataset, folder: Path) -> Card:
    """Write the table, its card as JSON and its card as a page; return the card with the table's hash.

    Raises:
        InputError: the folder or a file cannot be written.
    """
    target, partial = folder / TABLE_FILE, folder / f"{TABLE_FILE}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # In one piece, so that the bytes do not hang on the parts that it was put together from.
        dataset.frame.rechunk().write_parquet(
            partial, compression="zstd", row_group_size=20_000, metadata={"schema": SCHEMA, "encoding": ENCODING}
        )
        partial.replace(target)
        whole = _file_mark(target, dataset.frame.height)
        table = TableMark(name=whole.name, bytes=whole.bytes, sha256=whole.sha256, columns=dataset.frame.width)
        card = msgspec.structs.replace(dataset.card, table=table)
        (folder / CARD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
        (folder / PAGE_FILE).write_text(markdown(card), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(folder)) from None
    return card


def _read(where: Path, licensed_only: bool, report: TraceReport, progress: Progress | None) -> _Read:
    tiers = load_tiers(find_tiers(where))
    overlap_file = find_overlap(where)
    overlap = load_overlap(overlap_file) if overlap_file is not None else {}
    read = _Read()
    for file in step_files(where):
        lines = report.lines
        for table in read_tables(file, tiers, report):
            if mark(table.source).use is Use.MEASURE:
                read.yardstick |= openings(table, TraceReport())
            if not may_train(table.source, licensed_only=licensed_only):
                read.refused[table.source] = read.refused.get(table.source, 0) + len(table.rows)
                continue
            read.without_tier.update(table.models_without_tier)
            repeated = overlap.get(table.source, frozenset())
            read.parts.append(part(table, tiers, repeated, report, progress))
        read.files.append(_file_mark(file, report.lines - lines))
    return read


def _joined(read: _Read) -> tuple[polars.DataFrame, Floats, Ints, dict[str, int]]:
    """Put the sources together, without rows that open as a yardstick's question does; count those by source."""
    import polars as pl

    if not read.parts:
        names = ", ".join(sorted(read.refused)) or "none"
        raise InputError(
            f"no row may be used (sources without a licence mark, or for measuring only: {names}); --all takes every "
            "source that is not for measuring only"
        )
    frame = pl.concat([one.frame for one in read.parts])
    success = np.concatenate([one.success for one in read.parts])
    models = np.concatenate([one.models for one in read.parts])
    repeats = frame["opening"].is_in(sorted(read.yardstick))
    counts = dict(frame.filter(repeats)["source"].value_counts().sort("source").iter_rows())
    keep = ~repeats.to_numpy()
    if not keep.any():
        raise InputError("every row repeats a question of a source for measuring only")
    return frame.filter(pl.Series(keep)), success[keep], models[keep], counts


def _drawn(frame: polars.DataFrame, seed: int) -> Drawn:
    found = units(frame["group"].to_list(), frame["opening"].to_list())
    split = {name: split_of(name, seed) for name in set(found.names)}
    return Drawn(units=found, splits=[split[name] for name in found.names])


def _labelled(
    frame: polars.DataFrame, success: Floats, models: Ints, drawn: Drawn
) -> tuple[polars.DataFrame, tuple[float, ...]]:
    """Add splits and labels; the tolerances are chosen on the training rows alone."""
    import polars as pl

    levels = frame["label_level"].to_list()
    own = own_level(levels)
    train = np.array([split == "train" for split in drawn.splits], dtype=np.bool_)
    tolerance = tolerances(success[own & train])
    tier = tier_labels(success, own, tolerance)
    worse, pairs = violations(success)
    counted = pl.when(pl.col("y_bag").is_null()).then(1).otherwise(pl.len().over("y_bag"))
    bag_rows = frame.select(counted.cast(pl.Int32)).to_series()
    weight = weights(levels, models, bag_rows.to_numpy().astype(np.int64))
    columns: dict[str, Any] = {
        "unit": drawn.units.names,
        "split": drawn.splits,
        "y_tier": tier.exact.astype(np.int8),
        "y_tier_at_most": tier.at_most.astype(np.int8),
        "y_bag_rows": bag_rows,
        "y_violations": worse.astype(np.int8),
        "y_pairs": pairs.astype(np.int8),
    }
    for names, values, kind in ((SUCCESS, success, "f4"), (MODELS, models, "i2"), (WEIGHTS, weight, "f4")):
        columns |= {name: values[:, place].astype(kind) for place, name in enumerate(names)}
    added = frame.with_columns(pl.Series(name, values) for name, values in columns.items())
    return added.select(field.name for field in FIELDS), tolerance


def _shuffle(
    frame: polars.DataFrame, success: Floats, models: Ints, seed: int
) -> tuple[polars.DataFrame, Floats, Ints]:
    """Move outcomes between the steps of a source and level."""
    import polars as pl

    strata = frame.select(pl.concat_str("source", "label_level", separator="/")).to_series().to_list()
    items = frame.select(pl.coalesce("y_bag", "id")).to_series().to_list()
    donors = shuffled(items, strata, seed=seed)
    return frame.with_columns(frame["outcomes"].gather(donors)), success[donors], models[donors]


def _file_mark(path: Path, rows: int) -> FileMark:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return FileMark(name=path.name, bytes=path.stat().st_size, sha256=digest.hexdigest(), rows=rows)
