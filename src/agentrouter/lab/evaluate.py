"""Evaluating policies on step tables: ``agentrouter lab evaluate``.

Law: policies see exactly what they see in service, drive the same flow, and are printed beside the same references
(oracle, random, every constant tier). What the figures mean and what is left out is part of the result
(``evaluation_report.RULES``).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.errors import ConfigError, InputError
from agentrouter.flow import FlowSettings
from agentrouter.lab.evaluation_drive import Bills, Driven, Progress, drive, only, tier_candidates
from agentrouter.lab.evaluation_figures import (
    FRONTIER,
    Rows,
    Taken,
    best_choice,
    cheapest_choice,
    label_of,
    policy_results,
    pooled,
    read_as,
)
from agentrouter.lab.evaluation_report import (
    CurveResult,
    EvaluationReport,
    PolicyInfo,
    SourceResult,
    TwoModels,
)
from agentrouter.lab.metrics import curves
from agentrouter.lab.metrics.arrays import Bools, Floats, Ints, complete, known
from agentrouter.lab.metrics.bootstrap import RESAMPLES, Interval
from agentrouter.lab.step_tables import StepTable, TierMap, find_tiers, load_tiers, read_tables, step_files, tier_map
from agentrouter.lab.trace import TraceReport
from agentrouter.policies import Policy, build, policy_hash
from agentrouter.trajectory import World
from agentrouter.types import Candidate, Tier

STEP_LEVELS = frozenset({"step", "turn"})

PolicySpec = str | Mapping[str, object] | Policy


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluated source, before it is summed up."""

    table: StepTable
    rows: Rows
    takens: list[Taken]
    bills: Bills
    draws: Floats
    """The random reference's uniform draw of each row."""
    unusable: int
    chars: Floats
    """Length of each prompt in characters."""


def evaluate(
    steps: Path | str,
    policies: Sequence[PolicySpec],
    *,
    model_tiers: Path | str | Mapping[str, str | Tier | None] | None = None,
    catalog: Catalog | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Evaluate policies on all step tables of a folder.

    Args:
        steps: folder of step tables (``*.parquet``), or one table.
        policies: policy specs, or policies.
        model_tiers: model -> tier, or the JSON file of it; None: ``model_tiers.json`` in the folder or beside it.
        catalog: the models; the first of each tier stands for it. None: the built-in example.
        seed: of the policies' draws, the random reference and the bootstrap.
        resamples: bootstrap resamples.
        progress: called with (source, rows done, rows of the source).

    Raises:
        InputError: no table there, a table that cannot be read or lacks a column, or no row that can be used.
        ConfigError: an unknown policy, two of the same name, or a tier without a model.
        MissingExtraError: polars is not installed.
    """
    where = Path(steps)
    files = step_files(where)
    tiers = _tiers(where, model_tiers)
    built = _built(policies)
    candidates = tier_candidates(catalog if catalog is not None else builtin_catalog())
    world = World(catalog=Catalog(candidates), settings=FlowSettings(seed=seed))
    report = TraceReport()
    without: Counter[str] = Counter()
    parts: list[_Part] = []
    for file in files:
        for table in read_tables(file, tiers, report):
            without.update(table.models_without_tier)
            parts.append(_part(table, built, world, report, progress))
    if not any(part.rows.run.size for part in parts):
        raise InputError(f"no row can be used ({report.lines} read)", file=str(where))
    return _report(parts, built, candidates, (report, without), (seed, resamples))


def _report(
    parts: list[_Part],
    policies: list[Policy],
    candidates: tuple[Candidate, ...],
    read: tuple[TraceReport, Counter[str]],
    draws: tuple[int, int],
) -> EvaluationReport:
    filled = [part for part in parts if part.rows.run.size]
    (report, without), (seed, resamples) = read, draws
    return EvaluationReport(
        seed=seed,
        resamples=resamples,
        policies=[PolicyInfo(name=policy.name, hash=policy_hash(policy)) for policy in policies],
        prices={one.tier.label: _prices(one) for one in candidates},
        files=[Path(file).name for file in report.files],
        rows=report.lines,
        used=sum(part.rows.run.size for part in parts),
        overall=_pool("all sources", filled, None, seed=seed, resamples=resamples),
        step_level=_step_level(filled, seed=seed, resamples=resamples),
        sources=[_source(part, seed=seed, resamples=resamples) for part in parts],
        models_without_tier=dict(sorted(without.items())),
        malformed=report.malformed,
        problems=report.problems,
    )


def _tiers(where: Path, given: Path | str | Mapping[str, str | Tier | None] | None) -> TierMap:
    if isinstance(given, Mapping):
        return tier_map(given)
    return load_tiers(Path(given) if given is not None else find_tiers(where))


def _built(specs: Sequence[PolicySpec]) -> list[Policy]:
    built = [build(spec) if isinstance(spec, str | Mapping) else spec for spec in specs]
    names = Counter(policy.name for policy in built)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ConfigError([f"policy {name} is given more than once" for name in twice])
    return built


def _prices(candidate: Candidate) -> dict[str, int]:
    price = candidate.price
    return {
        "input": price.input,
        "output": price.output,
        "cache_read": price.cache_read,
        "cache_write": price.cache_write,
    }


def _part(
    table: StepTable, policies: list[Policy], world: World, report: TraceReport, progress: Progress | None
) -> _Part:
    driven = drive(table, policies, world, report, progress)
    unusable = int((~driven.usable).sum())
    if unusable:
        table, driven = only(table, driven.usable), _kept(driven)
    bills = Bills(table, driven, world.catalog.candidates)
    measured = known(table.outcome)
    step_level = np.array([level in STEP_LEVELS for level in table.label_levels], dtype=bool)
    rows = Rows(
        groups=table.groups,
        run=table.run,
        source=np.zeros(table.run.size, dtype=np.int64),
        outcome=table.outcome,
        read=read_as(measured),
        compared=measured.sum(axis=1) >= 2,
        label=label_of(table.outcome, step_level),
        plain=bills.plain,
        input=bills.input,
    )
    # Seeded by the source's name, so that the draws do not depend on which other files are there.
    draws = np.random.default_rng([world.settings.seed, zlib.crc32(table.source.encode())]).random(table.run.size)
    takens = []
    for index, policy in enumerate(policies):
        p_ok = driven.p_ok[index] if known(driven.p_ok[index]).any() else None
        choice, errors = driven.tiers[index], int(driven.errors[index])
        takens.append(_taken(policy.name, choice, rows, bills, p_ok=p_ok, errors=errors))
    takens += [_taken(name, choice, rows, bills) for name, choice in _references(rows, draws).items()]
    chars = np.array([row.context_chars or len(row.messages) for row in table.rows], dtype=np.float64)
    # The prompts are the bulk of a table and have served their purpose.
    table = msgspec.structs.replace(table, rows=[])
    return _Part(table=table, rows=rows, takens=takens, bills=bills, draws=draws, unusable=unusable, chars=chars)


def _kept(driven: Driven) -> Driven:
    keep = driven.usable
    places = np.flatnonzero(keep).tolist()
    return Driven(
        tiers=driven.tiers[:, keep],
        p_ok=driven.p_ok[:, keep],
        errors=driven.errors,
        usable=keep[keep],
        heads=[driven.heads[place] for place in places],
        sizes=driven.sizes[keep],
    )


def _references(rows: Rows, draws: Floats) -> dict[str, Ints]:
    """The choices every report shows beside the policies. The hard rules do not bind them."""
    constant = {f"always-{tier.label}": np.full(draws.size, int(tier), dtype=np.int64) for tier in Tier}
    return {
        "oracle": best_choice(rows.outcome, rows.plain),
        "oracle-cheapest": cheapest_choice(rows.outcome, rows.read, rows.plain),
        "random": np.minimum((draws * len(Tier)).astype(np.int64), FRONTIER),
        **constant,
    }


def _taken(
    name: str, choice: Ints, rows: Rows, bills: Bills, *, p_ok: Floats | None = None, errors: int | None = None
) -> Taken:
    cost, cache_read = bills.with_caches(choice)
    as_read = rows.read[np.arange(choice.size), choice]
    read_cost = cost if np.array_equal(as_read, choice) else bills.with_caches(as_read)[0]
    return Taken(
        policy=name,
        reference=errors is None,
        choice=choice,
        cost=cost,
        read_cost=read_cost,
        cache_read=cache_read,
        p_ok=p_ok,
        errors=errors or 0,
    )


def _source(part: _Part, *, seed: int, resamples: int) -> SourceResult:
    left_out = Counter(part.table.left_out)
    if part.unusable:
        left_out["unreadable_or_no_candidate"] += part.unusable
    result = _result(part.table.source, part.rows, part.takens, seed=seed, resamples=resamples)
    levels = part.table.label_levels
    return msgspec.structs.replace(
        result,
        label_levels=dict(sorted(Counter(levels).items())),
        left_out=dict(sorted(left_out.items())),
        not_labelled=_not_labelled(part),
        estimated_input=int(part.bills.estimated_input.sum()),
        estimated_output=int(part.bills.estimated_output.sum()),
        two_models=_two_models(part, seed=seed, resamples=resamples),
    )


def _not_labelled(part: _Part) -> dict[str, int]:
    reasons: Counter[str] = Counter()
    whole = complete(part.rows.outcome)
    for level, all_four, label in zip(part.table.label_levels, whole.tolist(), part.rows.label.tolist(), strict=True):
        if label < 0 and level not in STEP_LEVELS:
            reasons["task_level"] += 1
        elif label < 0:
            reasons["no_tier_sufficient" if all_four else "tiers_missing"] += 1
    return dict(sorted(reasons.items()))


def _pool(name: str, parts: list[_Part], keep: list[Bools] | None, *, seed: int, resamples: int) -> SourceResult:
    rows, takens = pooled([(part.rows, part.takens) for part in parts], keep)
    result = _result(name, rows, takens, seed=seed, resamples=resamples)
    counts: dict[str, Counter[str]] = {"left_out": Counter(), "label_levels": Counter(), "not_labelled": Counter()}
    masks = keep if keep is not None else [np.ones(part.rows.run.size, dtype=bool) for part in parts]
    for part, mask in zip(parts, masks, strict=True):
        counts["label_levels"].update(np.array(part.table.label_levels, dtype=object)[mask].tolist())
        counts["left_out"].update(part.table.left_out)
        counts["left_out"]["unreadable_or_no_candidate"] += part.unusable
        counts["left_out"]["task_level"] += int((~mask).sum())
        counts["not_labelled"].update(_not_labelled(part))
    if keep is not None:
        del counts["not_labelled"]["task_level"]
    return msgspec.structs.replace(
        result,
        **{name: {key: count for key, count in sorted(found.items()) if count} for name, found in counts.items()},
        estimated_input=sum(int(p.bills.estimated_input[m].sum()) for p, m in zip(parts, masks, strict=True)),
        estimated_output=sum(int(p.bills.estimated_output[m].sum()) for p, m in zip(parts, masks, strict=True)),
    )


def _step_level(parts: list[_Part], *, seed: int, resamples: int) -> SourceResult | None:
    keep = [np.array([level in STEP_LEVELS for level in part.table.label_levels], dtype=bool) for part in parts]
    if not sum(int(mask.sum()) for mask in keep):
        return None
    return _pool("all sources, step and turn level", parts, keep, seed=seed, resamples=resamples)


def _result(name: str, rows: Rows, takens: list[Taken], *, seed: int, resamples: int) -> SourceResult:
    """Sum up one set of rows; what only the tables know is filled in by the caller."""
    n = rows.run.size
    measured = known(rows.outcome)
    count = measured.sum(axis=1)
    reasons = {"not_measured": int((count == 0).sum()), "one_tier": int((count == 1).sum())}
    return SourceResult(
        source=name,
        n=n,
        groups=len(set(rows.groups)),
        trajectories=int(np.unique(rows.run).size),
        compared=int(rows.compared.sum()),
        labelled=int((rows.label >= 0).sum()),
        measured=tuple(int(x) for x in measured.sum(axis=0)),
        label_levels={},
        left_out={},
        not_compared={reason: count for reason, count in reasons.items() if count},
        not_labelled={},
        estimated_input=0,
        estimated_output=0,
        two_models=None,
        results=policy_results(rows, takens, seed=seed, resamples=resamples) if n else [],
    )


def _two_models(part: _Part, *, seed: int, resamples: int) -> TwoModels | None:
    """RouteLLM's curves where exactly two tiers were measured, and both on every row that can be compared."""
    at = part.rows.compared
    present = known(part.rows.outcome)
    tiers = np.flatnonzero(present[at].sum(axis=0)).tolist()
    if len(tiers) != 2 or present[at].sum() < 2 * at.sum():
        return None
    low, high = tiers
    weak, strong = part.rows.outcome[at, low], part.rows.outcome[at, high]
    means = (float(weak.mean()), float(strong.mean()))
    better = means[1] > means[0]
    found = []
    if better:
        groups = np.array(part.rows.groups, dtype=object)[at].astype(str)
        for name, basis, score in _curve_scores(part, low, high):
            found.append(_curve(name, basis, score[at], (weak, strong, groups), (seed, resamples)))
    return TwoModels(
        weak=Tier(low).label,
        strong=Tier(high).label,
        n=int(at.sum()),
        weak_success=means[0],
        strong_success=means[1],
        curves=found,
        note="" if better else "the higher tier is not better here: no curve is defined",
    )


def _curve_scores(part: _Part, low: int, high: int) -> list[tuple[str, str, Floats]]:
    scores: list[tuple[str, str, Floats]] = []
    for taken in part.takens:
        if not taken.reference and taken.p_ok is not None and known(taken.p_ok).all():
            scores.append((taken.policy, "scores", taken.p_ok[:, high] - taken.p_ok[:, low]))
        elif not taken.reference:
            scores.append((taken.policy, "tiers", taken.choice.astype(np.float64)))
    gain = part.rows.outcome[:, high] - part.rows.outcome[:, low]
    yardsticks = [("oracle", gain), ("prompt-length", part.chars), ("random", part.draws)]
    return [*scores, *((name, name, score) for name, score in yardsticks)]


def _curve(
    name: str, basis: str, score: Floats, table: tuple[Floats, Floats, Floats], draws: tuple[int, int]
) -> CurveResult:
    weak, strong, groups = table
    low, high = float(weak.mean()), float(strong.mean())
    if basis == "oracle":
        exact = curves.oracle_curve(weak, strong, points=None)
        return CurveResult(
            policy=name,
            basis=basis,
            apgr=curves.apgr(curves.oracle_curve(weak, strong), low, high),
            apgr_continuous=Interval(curves.apgr(exact, low, high)),
            cpt50=curves.cpt(exact, 0.5, low, high),
            cpt80=curves.cpt(exact, 0.8, low, high),
        )
    curve = curves.routing_curve(score, weak, strong)
    return CurveResult(
        policy=name,
        basis=basis,
        apgr=curves.apgr(curves.sampled_curve(curve), low, high),
        apgr_continuous=curves.apgr_interval(score, weak, strong, groups, seed=draws[0], resamples=draws[1]),
        cpt50=curves.cpt(curve, 0.5, low, high),
        cpt80=curves.cpt(curve, 0.8, low, high),
    )
