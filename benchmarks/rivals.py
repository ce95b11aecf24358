"""The simple rivals on held-out groups of known sources, and on sources left out whole, beside the references.

Run: python benchmarks/rivals.py --steps DIR [--json OUT] [--cap ROWS] [--resamples N]
     python benchmarks/rivals.py --tables benchmarks/results/rivals.json    (the tables of docs/results.md)
What the figures mean is in docs/results.md. Needs the extras ``lab`` and ``train``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agentrouter.lab.evaluation_figures import read_as
from agentrouter.lab.metrics.bootstrap import percentile_interval, resampled_counts
from agentrouter.lab.metrics.calibration import brier, ece
from agentrouter.lab.metrics.operating_point import Swept, operating_point
from agentrouter.lab.metrics.ranking import auc
from agentrouter.learn.rival_inputs import Inputs
from agentrouter.learn.rival_rows import LEVEL_WEIGHT, Rows, read_rows
from agentrouter.learn.rivals import RIVALS, fit, held_out
from agentrouter.policies.roles import Roles
from agentrouter.scorers import Scorer, load
from agentrouter.scorers.artefact import read_artefact
from agentrouter.types import Tier

TARGETS = (0.973, 0.95)
SETTINGS = 201
TEST_SHARE = 0.3
TEST_SEED = 1_000
"""Not the fit's own seed: the calibration split must not be the test split."""
FRONTIER = int(Tier.FRONTIER)
TIERS = [tier.label for tier in Tier]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=Path)
    parser.add_argument("--tables", type=Path, help="print a result's tables as Markdown and do nothing else")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cap", type=int, default=1_500)
    parser.add_argument("--resamples", type=int, default=500)
    options = parser.parse_args()
    if options.tables:
        print(markdown(json.loads(options.tables.read_text(encoding="utf-8"))))
        return
    if options.steps is None:
        parser.error("--steps or --tables is needed")
    start = time.perf_counter()
    rows = read_rows(options.steps, cap=options.cap)
    inputs = rows.inputs()
    say(f"{len(rows.steps)} rows, {len(set(rows.sources))} sources", start)
    protocols = {"held_out_groups": held_out_groups(rows, inputs), "left_out_sources": left_out_sources(rows, inputs)}
    result: dict[str, Any] = {
        "command": f"python benchmarks/rivals.py --steps STEPS --cap {options.cap} --resamples {options.resamples}",
        "machine": {"python": platform.python_version(), "machine": platform.machine()},
        "rows": len(rows.steps),
        "sources": {name: rows.sources.count(name) for name in sorted(set(rows.sources))},
        "left_out": rows.left_out,
    }
    for name, predicted in protocols.items():
        result[name] = evaluated(rows, predicted, options.resamples)
        say(f"{name} evaluated", start)
        show(name, result[name])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def held_out_groups(rows: Rows, inputs: Inputs) -> dict[str, np.ndarray]:
    """Fit on 70 % of the groups, predict the rest; NaN on the rows fitted on."""
    test = held_out(rows.groups, TEST_SEED, TEST_SHARE)
    return {name: predictions(name, inputs.rows(~test), rows, test) for name in RIVALS} | {
        "length": scored(load("length"), rows, test)
    }


def left_out_sources(rows: Rows, inputs: Inputs) -> dict[str, np.ndarray]:
    """For each source: fit on all others, less the groups it shares with them, and predict it."""
    sources, groups = np.array(rows.sources), np.array(rows.groups)
    found = {name: np.full(rows.outcome.shape, np.nan) for name in RIVALS}
    for source in np.unique(sources):
        test = sources == source
        train = ~test & ~np.isin(groups, np.unique(groups[test]))
        for name in RIVALS:
            found[name][test] = predictions(name, inputs.rows(train), rows, test)[test]
        print(f"  left out {source}", file=sys.stderr, flush=True)
    return found | {"length": scored(load("length"), rows, np.ones(sources.size, dtype=bool))}


def predictions(name: str, train: Inputs, rows: Rows, test: np.ndarray) -> np.ndarray:
    """Fit, pack, read back and score with the very code that serves."""
    files = fit(name, train)
    return scored(load(name, read_artefact(files.__getitem__, "benchmark")), rows, test)


def scored(scorer: Scorer, rows: Rows, test: np.ndarray) -> np.ndarray:
    out = np.full(rows.outcome.shape, np.nan)
    for row in np.flatnonzero(test):
        out[row] = scorer.score(*rows.steps[row]).p_ok
    return out


def evaluated(rows: Rows, predicted: dict[str, np.ndarray], resamples: int) -> dict[str, Any]:
    measured = ~np.isnan(rows.outcome)
    scored_rows = ~np.isnan(predicted["length"]).any(axis=1)
    compared = scored_rows & (measured.sum(axis=1) >= 2)
    read = read_as(measured)
    step_level = np.array([LEVEL_WEIGHT.get(level, 0.0) > 0.5 for level in rows.level])
    out: dict[str, Any] = {"rows": int(scored_rows.sum()), "compared": int(compared.sum()), "saving": {}}
    for label, keep in (("all_levels", compared), ("step_and_turn_level", compared & step_level)):
        cuts = {name: retention_cuts(p[keep]) for name, p in predicted.items()}
        choices = {name: by_threshold(p[keep], cuts[name]) for name, p in predicted.items()}
        choices |= {f"{name} (cost rule)": by_price(p[keep], rows.cost[keep]) for name, p in predicted.items()}
        choices |= references(rows, keep)
        out["saving"][label] = {name: savings(rows, keep, read, choice, resamples) for name, choice in choices.items()}
        for name, settings in cuts.items():
            for point in out["saving"][label][name].values():
                at = point["setting"]
                point["retention_parameter"] = None if at is None or at >= settings.size else float(settings[at])
    out["scores"] = {name: quality(rows, p, scored_rows, resamples) for name, p in predicted.items()}
    return out


def retention_cuts(p: np.ndarray) -> np.ndarray:
    """Values of the threshold policy's ``retention`` to try: quantiles of the ratios that it compares."""
    ratio = p / p.max(axis=1, keepdims=True)
    cuts = np.unique(np.quantile(ratio[:, :FRONTIER], np.linspace(0, 1, SETTINGS - 1)))
    return np.pad(cuts, (0, SETTINGS - 1 - cuts.size), mode="edge")


def by_threshold(p: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """(T, n) choices of the threshold policy: lowest tier with p >= retention * max p; the last setting is frontier."""
    ratio = p / p.max(axis=1, keepdims=True)
    chosen = np.stack([(ratio >= cut).argmax(axis=1) for cut in cuts])
    return np.concatenate([chosen, np.full((1, p.shape[0]), FRONTIER)])


def by_price(p: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(T, n) choices of argmax p - c / price, the price of quality in mean frontier calls per unit of success."""
    unit = cost[:, FRONTIER].mean()
    prices = np.logspace(-3, 4, SETTINGS - 1)
    chosen = np.stack([(p - cost / (unit * price)).argmax(axis=1) for price in prices])
    return np.concatenate([chosen, np.full((1, p.shape[0]), FRONTIER)])


def references(rows: Rows, keep: np.ndarray) -> dict[str, np.ndarray]:
    """Choices that have no score: settings are the share of steps that follow them, the rest is frontier."""
    n = int(keep.sum())
    rng = np.random.default_rng(0)
    chart = Roles.from_spec("", {})
    at = np.flatnonzero(keep)
    fixed = {f"always-{tier.label}": np.full(n, int(tier)) for tier in Tier}
    fixed["random"] = rng.integers(0, 4, n)
    fixed["roles"] = np.array([int(role_tier(chart, rows.steps[row][1].role.role)) for row in at])
    draw = rng.permutation(n) / n
    shares = np.linspace(0, 1, SETTINGS)
    mixed = {name: np.where(draw < shares[:, None], tiers, FRONTIER) for name, tiers in fixed.items()}
    perfect = np.nan_to_num(rows.outcome[keep], nan=-1.0)
    return {**mixed, "oracle": by_price(perfect, rows.cost[keep])}


def role_tier(chart: Roles, role: str) -> Tier:
    return chart.chart.get(role, chart.default)


def savings(rows: Rows, keep: np.ndarray, read: np.ndarray, choice: np.ndarray, resamples: int) -> dict[str, Any]:
    outcome, cost, read = rows.outcome[keep], rows.cost[keep], read[keep]
    at = np.arange(outcome.shape[0])
    taken = read[at, choice]
    reference = read[:, FRONTIER]
    sources, groups = np.array(rows.sources)[keep], np.array(rows.groups)[keep]
    parts = []
    for source in np.unique(sources):
        own = sources == source
        if outcome[at, reference][own].sum() <= 0:
            continue
        parts.append(
            Swept(
                kept=outcome[at, taken][:, own],
                cost=cost[at, taken][:, own],
                reference=outcome[at, reference][own],
                base=cost[at, reference][own],
                groups=groups[own].tolist(),
            )
        )
    names = [str(source) for source in np.unique(sources) if outcome[at, reference][sources == source].sum() > 0]
    found = {}
    for target in TARGETS:
        point = operating_point(parts, target, resamples=resamples)
        by_source = dict(zip(names, point.by_source, strict=False))
        found[f"{target:g}"] = {**msgspec.to_builtins(point), "by_source": by_source}
    return found


def quality(rows: Rows, p: np.ndarray, scored_rows: np.ndarray, resamples: int) -> dict[str, Any]:
    """AUC, ECE and Brier of each tier with intervals, and AUC within a source (mean over sources)."""
    groups = np.unique(np.array(rows.groups)[scored_rows], return_inverse=True)[1]
    sources, outcome, p = np.array(rows.sources)[scored_rows], rows.outcome[scored_rows], p[scored_rows]
    counts = np.concatenate(list(resampled_counts(int(groups.max()) + 1, seed=0, resamples=min(resamples, 200))))
    found: dict[str, Any] = {}
    for tier, label in enumerate(TIERS):
        has = ~np.isnan(outcome[:, tier])
        x, y, g, s = p[has, tier], outcome[has, tier], groups[has], sources[has]
        drawn = []
        for count in counts:
            weight = count[g].astype(np.float64)
            row = np.repeat(np.arange(x.size), count[g])
            drawn.append((auc(x, y, weight) or np.nan, ece(x[row], y[row]), brier(x[row], y[row])))
        values = (auc(x, y), ece(x, y), brier(x, y))
        within = [auc(x[s == one], y[s == one]) for one in np.unique(s) if (s == one).sum() >= 50]
        within = [one for one in within if one is not None]
        entry = {
            name: msgspec.to_builtins(
                percentile_interval(float(value), [d[i] for d in drawn], n_groups=counts.shape[1])
            )
            for i, (name, value) in enumerate(zip(("auc", "ece", "brier"), values, strict=True))
            if value is not None
        }
        found[label] = {**entry, "auc_within_source": float(np.mean(within)), "rows": int(has.sum())}
    return found


def show(name: str, result: dict[str, Any]) -> None:
    print(f"\n{name}: {result['rows']} rows, {result['compared']} compared")
    for label, table in result["saving"].items():
        print(f"  saving, {label}")
        for policy, points in table.items():
            cells = [interval(points[f"{target:g}"]["saving"], 100, 1) for target in TARGETS]
            print(f"    {policy:28}" + "".join(f"{cell:>24}" for cell in cells))
    for scorer, tiers in result["scores"].items():
        for tier, entry in tiers.items():
            cells = [interval(entry[key], 1, 3) for key in ("auc", "ece", "brier")]
            print(
                f"    {scorer:12}{tier:10}" + "".join(f"{c:>24}" for c in cells) + f"{entry['auc_within_source']:8.3f}"
            )


def markdown(result: dict[str, Any]) -> str:
    """The tables of docs/results.md."""
    protocols = ("held_out_groups", "left_out_sources")
    heads = [f"{name.replace('_', ' ')}, {100 * target:g} %" for name in protocols for target in TARGETS]
    lines = ["| policy | " + " | ".join(heads) + " |", "|---" * 5 + "|"]
    for policy in result[protocols[0]]["saving"]["all_levels"]:
        points = [result[name]["saving"]["all_levels"][policy][f"{t:g}"] for name in protocols for t in TARGETS]
        lines.append(f"| {policy} | " + " | ".join(interval(point["saving"], 100, 1) for point in points) + " |")
    for name in protocols:
        lines += ["", f"{name.replace('_', ' ')}:", "", "| scorer | tier | AUC | within a source | ECE | Brier |"]
        lines.append("|---" * 6 + "|")
        for scorer, tiers in result[name]["scores"].items():
            for tier, entry in tiers.items():
                auc_, ece_, brier_ = (interval(entry[key], 1, 3) for key in ("auc", "ece", "brier"))
                lines.append(f"| {scorer} | {tier} | {auc_} | {entry['auc_within_source']:.3f} | {ece_} | {brier_} |")
    return "\n".join(lines)


def interval(value: dict[str, float], scale: float, digits: int) -> str:
    low, high = value["low"], value["high"]
    tail = "" if low is None else f" [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"
    return f"{scale * value['value']:.{digits}f}{tail}"


def say(text: str, start: float) -> None:
    print(f"[{time.perf_counter() - start:6.1f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
