"""Which models were measured on which row, from step tables: means and counts by tier, and the single outcomes.

Law: a model counts once. Where a table has it in several calling modes (``gpt-x`` prompted, ``gpt-x-FC`` with function
calling) the mode with the better mean over the source stands for it, and the others are left out and listed: they fail
by the form of their answers, not by what they can do.
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
    """Models left out for another mode of the same model."""


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
    modes = sorted(set(found["model"].unique()) - set(kept["model"].unique()))
    codes = {model: int(tier) for model, tier in tiers.items() if tier is not None}
    kept = kept.with_columns(
        tier=pl.col("model").replace_strict(codes, default=None, return_dtype=pl.Int8),
    ).sort("place", "model")
    success = np.full((numbers.size, N_TIERS), np.nan)
    models = np.zeros((numbers.size, N_TIERS), dtype=np.int64)
    by_tier = kept.drop_nulls("tier").group_by("place", "tier").agg(pl.col("success").mean(), count=pl.len())
    place, tier = by_tier["place"].to_numpy(), by_tier["tier"].to_numpy()
    success[place, tier] = by_tier["success"].to_numpy()
    models[place, tier] = by_tier["count"].to_numpy()
    return Measured(success=success, models=models, single=_single(kept, rows), modes=modes)


def _best_modes(found: polars.DataFrame) -> polars.DataFrame:
    """Keep of each model the mode with the best mean success, ties to the first by name."""
    import polars as pl

    means = found.group_by("model").agg(pl.col("success").mean()).with_columns(pl.col("success").round(9))
    named = means.with_columns(base=pl.col("model").str.replace(_MODE, ""))
    best = named.sort(["base", "success", "model"], descending=[False, True, False]).unique("base", keep="first")
    return found.join(best.select("model"), on="model", how="semi")


def _single(kept: polars.DataFrame, rows: polars.DataFrame) -> polars.Series:
    import polars as pl

    one = pl.struct("model", "tier", pl.col("success").cast(pl.Float32))
    lists = kept.group_by("place", maintain_order=True).agg(outcomes=one)
    joined = rows.join(lists, on="place", how="left", maintain_order="left")
    return joined["outcomes"]
