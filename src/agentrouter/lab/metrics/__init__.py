"""The metrics: pure functions over arrays, one literal table that names them all (docs/metrics.md).

Law: numpy only; no files, no clock, no global random state (a seed is a parameter). To add one: write the function in
the module it belongs to, add its row here, its definition to docs/metrics.md and its hand-worked test
(docs/how-to/add-a-metric.md).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from agentrouter.lab.metrics import (
    bootstrap,
    calibration,
    curves,
    labels,
    ope,
    operating_point,
    ranking,
    savings,
    switching,
)


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"
    """Descriptive: read it with others."""


class Metric(msgspec.Struct, frozen=True):
    """One metric: its function, the unit of its value, which way is better, and where it is defined."""

    function: Callable[..., object]
    unit: str
    direction: Direction
    source: str


METRICS: dict[str, Metric] = {
    "cost_reduction": Metric(savings.cost_reduction, "fraction", Direction.HIGHER, "docs/metrics.md"),
    "quality_retention": Metric(savings.quality_retention, "ratio", Direction.HIGHER, "docs/metrics.md"),
    "retention_interval": Metric(bootstrap.ratio_interval, "ratio", Direction.NEITHER, "paired cluster bootstrap"),
    "non_inferiority": Metric(bootstrap.non_inferiority, "test", Direction.NEITHER, "docs/metrics.md, margin 3 %"),
    "bill": Metric(savings.bill_usd, "USD", Direction.LOWER, "2605.18859, dynamic track"),
    "tier_recall": Metric(labels.tier_recall, "fraction by tier", Direction.HIGHER, "docs/metrics.md"),
    "exact_rate": Metric(labels.exact_rate, "fraction", Direction.HIGHER, "2605.18859 RowExact"),
    "pass_rate": Metric(labels.pass_rate, "fraction", Direction.HIGHER, "2605.18859 RowPass"),
    "under_routing_rate": Metric(labels.under_routing_rate, "fraction", Direction.LOWER, "docs/metrics.md"),
    "over_routing_rate": Metric(labels.over_routing_rate, "fraction", Direction.LOWER, "docs/metrics.md"),
    "confusion": Metric(labels.confusion, "steps, gold x chosen", Direction.NEITHER, "docs/metrics.md"),
    "usd_regret": Metric(labels.usd_regret, "USD per step", Direction.LOWER, "docs/metrics.md"),
    "trajectory_pass": Metric(labels.trajectory_pass, "fraction", Direction.HIGHER, "2605.18859 TrajPass"),
    "cost_save": Metric(labels.cost_save, "fraction", Direction.HIGHER, "2605.18859 CostSave"),
    "combined": Metric(labels.twin_score, "fraction", Direction.HIGHER, "2605.18859 Combined"),
    "pgr": Metric(curves.pgr, "fraction", Direction.HIGHER, "2406.18665"),
    "apgr": Metric(curves.apgr, "fraction", Direction.HIGHER, "2406.18665"),
    "cpt": Metric(curves.cpt, "share of strong calls", Direction.LOWER, "2406.18665"),
    "capgr": Metric(curves.capgr, "fraction", Direction.HIGHER, "docs/metrics.md"),
    "aiq": Metric(curves.aiq, "quality", Direction.HIGHER, "2403.12031"),
    "pareto_distance": Metric(curves.pareto_distance, "quality", Direction.LOWER, "docs/metrics.md, after 2601.07206"),
    "router_arena_score": Metric(savings.router_arena_score, "score", Direction.HIGHER, "2510.00202"),
    "perf_gain": Metric(savings.perf_gain, "fraction", Direction.HIGHER, "2601.07206"),
    "cost_save_at_best_single": Metric(savings.cost_save_at_best_single, "fraction", Direction.HIGHER, "2601.07206"),
    "regret": Metric(savings.regret, "unit of the cost", Direction.LOWER, "docs/metrics.md"),
    "operating_point": Metric(operating_point.operating_point, "fraction", Direction.HIGHER, "docs/metrics.md"),
    "auc": Metric(ranking.auc, "probability", Direction.HIGHER, "Hanley and McNeil 1982"),
    "ece": Metric(calibration.ece, "probability", Direction.LOWER, "1904.01685"),
    "brier": Metric(calibration.brier, "squared probability", Direction.LOWER, "Brier 1950"),
    "tier_reliability": Metric(calibration.tier_reliability, "diagram by tier", Direction.NEITHER, "docs/metrics.md"),
    "ordinal_ece": Metric(calibration.ordinal_ece, "probability by cut", Direction.LOWER, "docs/metrics.md"),
    "conformal_summary": Metric(calibration.conformal_summary, "summary", Direction.NEITHER, "2208.02814"),
    "set_size": Metric(calibration.set_size, "tiers", Direction.LOWER, "docs/metrics.md"),
    "switching": Metric(switching.switching, "summary", Direction.NEITHER, "docs/metrics.md"),
    "overhead": Metric(switching.overhead, "ms", Direction.LOWER, "docs/metrics.md"),
    "ips": Metric(ope.ips, "unit of the reward", Direction.NEITHER, "Horvitz and Thompson 1952"),
    "snips": Metric(ope.snips, "unit of the reward", Direction.NEITHER, "Swaminathan and Joachims 2015"),
    "doubly_robust": Metric(ope.doubly_robust, "unit of the reward", Direction.NEITHER, "1103.4601"),
}
