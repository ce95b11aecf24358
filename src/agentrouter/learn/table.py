"""The training table's columns: names, types and meaning in one place (docs/learn/dataset.md).

Law: a model may see ``instruction``, ``observation`` and ``x_...``, and nothing else: the columns that say what a step
is called or where it comes from (``id`` ... ``label_level``) are for splitting and reporting, ``y_...``, ``n_...`` and
``w_...`` are what it learns and how much.
"""

from __future__ import annotations

import msgspec

from agentrouter.scorers.encode import COLUMNS
from agentrouter.types import Tier

SCHEMA = "agentrouter.steps/1"


class Field(msgspec.Struct, frozen=True):
    """One column."""

    name: str
    type: str
    """Name of the polars type."""
    meaning: str


FIELDS: tuple[Field, ...] = (
    Field("id", "String", "file / row of the step table, from 1"),
    Field("source", "String", "where the row comes from"),
    Field("category", "String", "kind of task, as the source says"),
    Field("task", "String", "the source's name of the task"),
    Field("group", "String", "the task instance across sources"),
    Field("unit", "String", "split unit: groups that open with the same words share one"),
    Field("split", "String", "train, validation or test; decided by the unit"),
    Field("trajectory", "String", "the source's name of the run"),
    Field("step_index", "Int32", "position in the run, from 0"),
    Field("role_given", "String", "role as the source names it"),
    Field("role", "String", "canonical role (given, else inferred)"),
    Field("label_level", "String", "what was judged: step, turn, task or trajectory"),
    Field("opening", "String", "fingerprint of what the user first asked; empty: nothing"),
    Field("instruction", "String", "newest instruction, head and tail"),
    Field("observation", "String", "newest observation, head and tail"),
    *(Field(f"x_{column.name}", "Float32", f"{column.group}: {column.unit}") for column in COLUMNS),
    *(Field(f"y_{tier.label}", "Float32", f"mean success of {tier.label} models; NaN: none") for tier in Tier),
    *(Field(f"n_{tier.label}", "Int16", f"{tier.label} models measured") for tier in Tier),
    *(Field(f"w_{tier.label}", "Float32", f"how much y_{tier.label} counts; 0 where not measured") for tier in Tier),
    Field("y_tier", "Int8", "cheapest sufficient tier 0..3, from a verdict on the step itself; -1: not known"),
    Field("y_tier_at_most", "Int8", "no dearer tier is needed; -1: not known"),
    Field("y_bag", "String", "run-level rows: the run; null where the verdict is the step's own"),
    Field("y_bag_rows", "Int32", "rows of that run in the table; 1 without a run"),
    Field("y_run_steps", "Int32", "steps of the whole run where the source says, seen or not; 0: unknown"),
    Field("y_violations", "Int8", "pairs of measured tiers in which the cheaper did better"),
    Field("y_pairs", "Int8", "pairs of measured tiers"),
    Field("outcomes", "List", "{model, tier or null, success} of every model measured"),
)
"""Every column, in order."""

FEATURES: tuple[str, ...] = tuple(f"x_{column.name}" for column in COLUMNS)
"""The numeric columns, parallel to ``encode.COLUMNS``."""
SUCCESS: tuple[str, ...] = tuple(f"y_{tier.label}" for tier in Tier)
MODELS: tuple[str, ...] = tuple(f"n_{tier.label}" for tier in Tier)
WEIGHTS: tuple[str, ...] = tuple(f"w_{tier.label}" for tier in Tier)
"""One column a tier, minimal first."""
