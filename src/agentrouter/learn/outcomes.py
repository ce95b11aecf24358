"""Which models were measured on which row, from step tables: means and counts by tier, and the single outcomes.

Law: a model counts once. Where a table has it in several calling modes (``gpt-x`` prompted, ``gpt-x-FC`` with function
calling), a row keeps the one of them with the best mean over the source, and the models whose outcomes are left out for
that are listed: a mode that does worse fails by the form of its answers, not by what the model can do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agentrouter.lab.metrics.arrays import Floats, Ints
from agentrouter.lab.sources.step_table import outcomes
from agentrouter.lab.step_tables import N_TIERS, TierMap

if TYPE_CHECKING:
    import polars

_MODE = r"-FC(?:-(?:Any|Auto))?$"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes of n rows."""

    success: Floats
    """(n, 4) mean success of the tier's models; NaN: none was measured."""
    models: Ints
    """(n, 4) models measured."""
    single: Any
    """Polars list column: of each row {model, tier (null: none), success}, by model name."""
    modes: list[str]
    """Models some outcomes of which are left out for another mode of the same model."""


def measured(path: Path, numbers: Ints, tiers: TierMap) -> Measured:
    """Read the outcomes of some rows of a step table.

    Args:
        path: the table.
        numbers: the rows to take, counted from 1, in their order.
        tiers: model -> tier.

    Raises:
        InputError: the table lacks a column.
        MissingExtraError: polars is not installed.
    """
    import polars as pl

    rows = pl.DataFrame({"row": numbers - 1, "place": np.arange(numbers.size)})
    every = outcomes([path]).select("row", "model", "success").drop_nulls().collect()
    found = every.filter(pl.col("success").is_not_nan()).join(rows, on="row")
    kept = _best_modes(found)
    modes = sorted(found.join(kept, on=["place", "model"], how="anti")["model"].unique())
    codes = {model: int(tier) for model, tier in tiers.items() if tier is not None}
    kept = kept.with_columns(
        tier=pl.col("model").replace_strict(codes, default=None, return_dtype=pl.Int8),
    ).sort("place", "model")
    tiered = kept.drop_nulls("tier")
    # Summed in the order of the rows: a parallel mean would not give the same bits every time.
    cell = tiered["place"].to_numpy() * N_TIERS + tiered["tier"].to_numpy()
    models = np.bincount(cell, minlength=numbers.size * N_TIERS).reshape(numbers.size, N_TIERS).astype(np.int64)
    total = np.bincount(cell, weights=tiered["success"].to_numpy(), minlength=models.size).reshape(models.shape)
    success: Floats = np.where(models > 0, total / np.maximum(1, models), np.nan)
    return Measured(success=success, models=models, single=_single(kept, rows), modes=modes)


def _best_modes(found: polars.DataFrame) -> polars.DataFrame:
    """Keep on each row the mode of a model that has the best mean over the source, ties to the first by name."""
    import polars as pl

    means = found.group_by("model").agg(mean=pl.col("success").mean().round(9))
    named = means.with_columns(base=pl.col("model").str.replace(_MODE, ""))
    ranked = named.sort(["base", "mean", "model"], descending=[False, True, False]).with_row_index("rank")
    joined = found.join(ranked.select("model", "base", "rank"), on="model")
    return joined.filter(pl.col("rank") == pl.col("rank").min().over("place", "base")).drop("base", "rank")


def _single(kept: polars.DataFrame, rows: polars.DataFrame) -> polars.Series:
    import polars as pl

    one = pl.struct("model", "tier", pl.col("success").cast(pl.Float32))
    lists = kept.group_by("place", maintain_order=True).agg(outcomes=one)
    joined = rows.join(lists, on="place", how="left", maintain_order="left")
    return joined["outcomes"]
