"""The evaluation as tables for a terminal.

Law: shows, never computes; what is not in the report is not on the screen.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentrouter.lab.evaluation_report import EvaluationReport, PolicyResult, SourceResult, TwoModels
from agentrouter.lab.metrics.bootstrap import Interval

SHOWN_MODELS = 8


def render(report: EvaluationReport, *, by_source: bool = True) -> RenderableType:
    """Return the report for ``rich.console.Console.print``: overall, step level, then each source if asked for."""
    blocks: list[RenderableType] = [_block(report.overall)]
    if report.step_level is not None and report.step_level.n < report.overall.n:
        blocks.append(_block(report.step_level))
    for source in report.sources:
        if by_source:
            blocks.append(_block(source))
        if source.two_models is not None:
            blocks.append(_curves(source.source, source.two_models))
    blocks.append(Text(_notes(report)))
    return Group(*blocks)


def _block(source: SourceResult) -> RenderableType:
    table = Table(title=f"{source.source}  ({source.n:,} steps, {source.groups:,} groups)", title_justify="left")
    table.add_column("policy", no_wrap=True)
    heads = ("kept", "saved", "pass", "exact", "TrajPass", "CostSave", "all: USD", "all: saved", "all: no cache")
    for head in heads:
        table.add_column(head, justify="right")
    table.add_column("tiers %", justify="right", no_wrap=True)
    for result in source.results:
        table.add_row(*_cells(result), style="dim" if result.reference else "")
    lines = [
        f"compared {source.compared:,}{_listed(source.not_compared)}; labelled {source.labelled:,}"
        f"{_listed(source.not_labelled)}; estimated tokens: input {source.estimated_input:,}, output "
        f"{source.estimated_output:,}"
    ]
    if source.left_out:
        lines.append(f"left out{_listed(source.left_out)}")
    return Group(table, Text("\n".join(lines) + "\n", style="dim"))


def _cells(result: PolicyResult) -> list[str]:
    quality, labels = result.quality, result.labels
    twin = labels.twin if labels is not None else None
    kept = _interval(quality.retention) if quality.basis == "measured" else _interval(quality.retention) + "*"
    return [
        result.policy,
        kept if quality.retention is not None else "-",
        _interval(quality.cost_reduction),
        _percent(labels.pass_rate if labels is not None else None),
        _percent(labels.exact_rate if labels is not None else None),
        _percent(twin.traj_pass if twin is not None else None),
        _percent(twin.cost_save if twin is not None else None),
        f"{result.cost_usd:.4f}",
        _interval(result.cost_reduction),
        _interval(result.cost_reduction_nocache),
        "/".join(f"{100 * share:.0f}" for share in result.tier_shares),
    ]


def _curves(name: str, two: TwoModels) -> RenderableType:
    if two.note:
        return Text(f"{name}: {two.weak} against {two.strong}: {two.note}\n", style="dim")
    table = Table(
        title=f"{name}: {two.weak} ({100 * two.weak_success:.2f} %) against {two.strong} "
        f"({100 * two.strong_success:.2f} %), {two.n:,} steps",
        title_justify="left",
    )
    for head in ("policy", "by", "APGR", "APGR, continuous", "CPT(50)", "CPT(80)"):
        table.add_column(head, justify="left" if head in ("policy", "by") else "right")
    for curve in two.curves:
        found = curve.apgr_continuous
        spread = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
        table.add_row(
            curve.policy,
            curve.basis,
            f"{curve.apgr:.4f}",
            f"{found.value:.4f}{spread}",
            _percent(curve.cpt50),
            _percent(curve.cpt80),
        )
    return table


def _notes(report: EvaluationReport) -> str:
    lines = [
        f"{report.used:,} of {report.rows:,} rows of {len(report.files)} files; seed {report.seed}; brackets: 95 %, "
        f"{report.resamples:,} resamples over groups",
        "kept: retention of the reference's quality, saved: cost reduction against it, both on the compared steps with "
        "the tiers as read, prompt caches on (* by definition, nothing to compare). all: the bill over all steps with "
        "the tiers as chosen, whether their outcome is known or not.",
    ]
    if report.models_without_tier:
        names = list(report.models_without_tier)
        more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
        lines.append(f"models without a tier, left out: {', '.join(names[:SHOWN_MODELS])}{more}")
    if report.malformed:
        lines.append(f"malformed rows: {report.malformed:,}")
        lines += [f"  {one.file}:{one.line}: {one.field}: {one.message}" for one in report.problems[:SHOWN_MODELS]]
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    return " (" + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ")"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    value = f"{100 * interval.value:.1f}"
    if interval.low is None or interval.high is None:
        return value
    return f"{value} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
