"""The dataset card: what is in a training table, where it comes from, under which licence, and what to beware of.

Law: counts and hashes, never a row of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from agentrouter.learn.labels import noisy_or, run_failure
from agentrouter.learn.licences import AS_OF, Use, mark
from agentrouter.learn.splits import SHARES, Units, leaks, leave_out
from agentrouter.learn.table import FEATURES, MODELS, SCHEMA, SUCCESS
from agentrouter.scorers.encode import ENCODING
from agentrouter.types import Tier

if TYPE_CHECKING:
    import polars

BUILDER = "1"
"""Number of the building rules: what changes a row, a label or a split raises it."""

LARGE_SHARE = 0.3
"""A source with more of the rows than this gets a warning."""

WARNINGS: tuple[str, ...] = (
    "Verdicts on whole runs bound what single steps need; they are not labels of steps (y_tier is -1 there).",
    "A dearer tier is not always better: keep whole outcome vectors (y_violations counts where it is worse).",
    "Tiers are classes of list price and mix eras of models; single models' outcomes are in the column outcomes.",
    "Columns that are constant here (constant_columns) teach nothing: leave them out when fitting.",
    "role, category and source tell benchmarks apart: choose models by left-out sources, not by held-out rows alone.",
)


class FileMark(msgspec.Struct, frozen=True):
    """One file, by content."""

    name: str
    bytes: int
    sha256: str
    rows: int


class TableMark(msgspec.Struct, frozen=True):
    """The table's file."""

    name: str
    bytes: int
    sha256: str
    columns: int


class SourceCard(msgspec.Struct, frozen=True, kw_only=True):
    """One source."""

    source: str
    licence: str
    use: Use
    note: str
    rows: int
    with_tier: int
    """Rows on which a model with a tier was measured; the others weigh nothing."""
    groups: int
    later_steps: int
    """Rows that are not the first step of their run."""
    left_out: dict[str, int]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one source, category and label level."""

    source: str
    category: str
    level: str
    rows: int
    measured: tuple[int, ...]
    """Rows on which each tier was measured, minimal first."""


class SplitCard(msgspec.Struct, frozen=True, kw_only=True):
    """One split."""

    split: str
    rows: int
    units: int
    groups: int


class FoldCard(msgspec.Struct, frozen=True, kw_only=True):
    """One source left out."""

    source: str
    fit: int
    choose: int
    measure: int
    withheld: int


class TierCard(msgspec.Struct, frozen=True, kw_only=True):
    """One tier."""

    tier: str
    rows: int
    outcomes: int
    """Model outcomes behind them."""
    mean_success: float | None
    cheapest_sufficient: int
    """Rows with y_tier of this tier."""
    at_most: int
    tolerance: float


class RunCard(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a source whose single steps were not judged: what their failures say of a step."""

    source: str
    runs: int
    steps: int
    """Their steps that are in the table."""
    run_failure: float
    step_failure: dict[str, float]
    """Role -> P(step fails), by noisy-OR over the steps seen; steps not in the table make it too high."""
    implied_run_failure: float
    """Mean P(run fails) that those give: beside ``run_failure`` it shows how far the model fits."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a training table."""

    schema: str = SCHEMA
    builder: str = BUILDER
    encoding: str = ENCODING
    licences_as_of: str = AS_OF
    licensed_only: bool
    shuffled: bool
    """The shuffle control: labels are another row's, nothing may be learnt from it."""
    seed: int
    rows: int
    with_tier: int
    """Rows on which a model with a tier was measured."""
    groups: int
    table: TableMark | None = None
    files: list[FileMark]
    model_tiers: FileMark
    overlap: FileMark | None
    refused: dict[str, int]
    """Source -> rows of sources that may not be in the table."""
    sources: list[SourceCard]
    cells: list[Cell]
    tiers: list[TierCard]
    pairs: int
    violations: int
    """Pairs of measured tiers on a row, and those in which the cheaper did better."""
    rows_with_violations: int
    runs: list[RunCard]
    inconsistent_bags: int
    splits: list[SplitCard]
    folds: list[FoldCard]
    joined_groups: int
    templates: int
    leaks: dict[str, int]
    """Groups, units and openings that are in more than one split; openings: templates only."""
    modes: list[str]
    without_tier: list[str]
    constant_columns: list[str]
    unreadable: list[str]
    warnings: list[str]


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """Units and the split of each row."""

    units: Units
    splits: list[str]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the builder read and was told."""

    files: list[FileMark]
    model_tiers: FileMark
    overlap: FileMark | None
    refused: dict[str, int]
    repeats: dict[str, int]
    without_tier: list[str]
    unreadable: list[str]
    left_out: dict[str, dict[str, int]]
    inconsistent_bags: int
    modes: list[str]
    licensed_only: bool
    shuffled: bool
    seed: int
    tolerance: tuple[float, ...]


def card_of(frame: polars.DataFrame, drawn: Drawn, inputs: Inputs) -> Card:
    """Describe a table."""
    groups = frame["group"].to_list()
    found = frame["opening"].to_list()
    sources = _sources(frame, inputs)
    return Card(
        licensed_only=inputs.licensed_only,
        shuffled=inputs.shuffled,
        seed=inputs.seed,
        rows=frame.height,
        with_tier=sum(one.with_tier for one in sources),
        groups=frame["group"].n_unique(),
        files=inputs.files,
        model_tiers=inputs.model_tiers,
        overlap=inputs.overlap,
        refused=dict(sorted(inputs.refused.items())),
        sources=sources,
        cells=_cells(frame),
        tiers=_tiers(frame, inputs.tolerance),
        pairs=int(frame["y_pairs"].cast(int).sum()),
        violations=int(frame["y_violations"].cast(int).sum()),
        rows_with_violations=int((frame["y_violations"] > 0).sum()),
        runs=_runs(frame),
        inconsistent_bags=inputs.inconsistent_bags,
        splits=_splits(frame),
        folds=_folds(frame),
        joined_groups=drawn.units.joined_groups,
        templates=drawn.units.templates,
        leaks={
            "groups": len(leaks(groups, drawn.splits)),
            "units": len(leaks(drawn.units.names, drawn.splits)),
            "openings": len(set(leaks(found, drawn.splits)) - {""}),
        },
        modes=inputs.modes,
        without_tier=inputs.without_tier,
        constant_columns=[name for name in FEATURES if frame[name].n_unique() == 1],
        unreadable=inputs.unreadable,
        warnings=_warnings(frame, inputs),
    )


def _sources(frame: polars.DataFrame, inputs: Inputs) -> list[SourceCard]:
    import polars as pl

    found = frame.group_by("source").agg(
        rows=pl.len(),
        with_tier=(pl.sum_horizontal(MODELS) > 0).sum(),
        groups=pl.col("group").n_unique(),
        later_steps=(pl.col("step_index") > 0).sum(),
    )
    counts = {row["source"]: row for row in found.iter_rows(named=True)}
    cards = []
    for source in sorted(inputs.left_out):
        row = counts.get(source, {})
        licence = mark(source)
        left_out = dict(inputs.left_out[source])
        if source in inputs.repeats:
            left_out["opens_as_a_yardstick"] = inputs.repeats[source]
        cards.append(
            SourceCard(
                source=source,
                licence=licence.licence,
                use=licence.use,
                note=licence.note,
                rows=row.get("rows", 0),
                with_tier=row.get("with_tier", 0),
                groups=row.get("groups", 0),
                later_steps=row.get("later_steps", 0),
                left_out=left_out,
            )
        )
    return cards


def _cells(frame: polars.DataFrame) -> list[Cell]:
    import polars as pl

    keys = ("source", "category", "label_level")
    known = [(pl.col(name) > 0).sum() for name in MODELS]
    found = frame.group_by(keys).agg(pl.len().alias("rows"), *known).sort(keys)
    return [
        Cell(source=source, category=category, level=level, rows=rows, measured=tuple(measured))
        for source, category, level, rows, *measured in found.iter_rows()
    ]


def _tiers(frame: polars.DataFrame, tolerance: tuple[float, ...]) -> list[TierCard]:
    cards = []
    for tier in Tier:
        success = frame[SUCCESS[tier]].drop_nans()
        cards.append(
            TierCard(
                tier=tier.label,
                rows=success.len(),
                outcomes=int(frame[MODELS[tier]].cast(int).sum()),
                mean_success=round(float(success.cast(float).to_numpy().mean()), 6) if success.len() else None,
                cheapest_sufficient=int((frame["y_tier"] == int(tier)).sum()),
                at_most=int((frame["y_tier_at_most"] == int(tier)).sum()),
                tolerance=tolerance[tier],
            )
        )
    return cards


def _runs(frame: polars.DataFrame) -> list[RunCard]:
    """Say of sources with several steps of a run in the table what the runs' failures say of steps."""
    import polars as pl

    tiered = pl.sum_horizontal(MODELS) > 0
    several = frame.filter(pl.col("y_bag").is_not_null() & (pl.col("y_bag_rows") > 1) & tiered)
    cards = []
    for (source,), rows in sorted(several.partition_by("source", as_dict=True).items()):
        success = np.nanmean(np.column_stack([rows[name].to_numpy() for name in SUCCESS]).astype(np.float64), axis=1)
        bag_names, first, bags = np.unique(rows["y_bag"].to_numpy(), return_index=True, return_inverse=True)
        role_names, cells = np.unique(rows["role"].to_numpy(), return_inverse=True)
        failed = 1.0 - success[first]
        rate = noisy_or(cells, bags, failed)
        implied = run_failure(rate[cells], bags)
        cards.append(
            RunCard(
                source=str(source),
                runs=bag_names.size,
                steps=rows.height,
                run_failure=round(float(failed.mean()), 4),
                step_failure={str(role): round(float(one), 4) for role, one in zip(role_names, rate, strict=True)},
                implied_run_failure=round(float(implied.mean()), 4),
            )
        )
    return cards


def _splits(frame: polars.DataFrame) -> list[SplitCard]:
    import polars as pl

    found = frame.group_by("split").agg(pl.len(), pl.col("unit").n_unique(), pl.col("group").n_unique())
    counts = {split: (rows, own, groups) for split, rows, own, groups in found.iter_rows()}
    empty = (0, 0, 0)
    return [
        SplitCard(split=split, rows=rows, units=own, groups=groups)
        for split in SHARES
        for rows, own, groups in [counts.get(split, empty)]
    ]


def _folds(frame: polars.DataFrame) -> list[FoldCard]:
    sources, names, splits = (frame[name].to_list() for name in ("source", "unit", "split"))
    cards = []
    for source in sorted(set(sources)):
        fold = leave_out(source, sources, names, splits)
        cards.append(
            FoldCard(
                source=source,
                fit=int(fold.fit.sum()),
                choose=int(fold.choose.sum()),
                measure=int(fold.measure.sum()),
                withheld=fold.withheld,
            )
        )
    return cards


def _warnings(frame: polars.DataFrame, inputs: Inputs) -> list[str]:
    found = list(WARNINGS)
    if inputs.shuffled:
        found.insert(0, "LABELS ARE SHUFFLED: a control. A model fitted on this table has learnt nothing about steps.")
    for source, count in sorted(frame["source"].value_counts().iter_rows()):
        if count > LARGE_SHARE * frame.height:
            found.append(f"{source} is {100 * count / frame.height:.0f} % of the rows: balance sources when fitting.")
    internal = sorted(source for source in inputs.left_out if mark(source).use is not Use.SHIP)
    if internal:
        found.append(f"Not for what ships: holds {', '.join(internal)}.")
    if inputs.overlap is None:
        found.append("No list of RouteLLM's questions was there: only rows that open as one are left out.")
    return found
