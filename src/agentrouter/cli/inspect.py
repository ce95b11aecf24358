"""``agentrouter inspect``: one page about traces or a ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
from rich.table import Table

from agentrouter import bill
from agentrouter.cli.output import console, notes, print_json
from agentrouter.lab.sources import open_traces
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.ledger import open_ledger
from agentrouter.ledger.queries import Totals, check_group

LISTED = 12


class Share(msgspec.Struct, kw_only=True):
    """Steps, tokens and recorded cost of one model or role."""

    steps: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0
    uncosted: int = 0
    """Steps whose record has no cost."""


class Summary(msgspec.Struct, kw_only=True):
    """What is in some traces."""

    files: list[str]
    format: str
    lines: int
    steps: int
    trajectories: int
    failed_steps: int
    whole: Share
    by_model: dict[str, Share]
    by_role: dict[str, Share]
    lacks: dict[str, int]
    skipped: dict[str, int]
    malformed: int
    problems: list[str]


def run(traces: list[Path], format: str, by: tuple[str, ...], *, as_json: bool) -> int:
    """Print the summary; return 1 if lines were malformed."""
    for group in by:
        check_group(group)
    if by:
        _print_totals(traces, by, as_json=as_json)
        return 0
    steps, report = open_traces(traces, format)
    summary, trajectories = _empty(), set[str]()
    with notes().status("reading") as status:
        for number, recorded in enumerate(steps):
            if number % 5_000 == 0:
                status.update(f"reading: {number:,} steps")
            trajectories.add(recorded.step.trajectory_id)
            _count(summary, recorded)
    summary.trajectories = len(trajectories)
    _finish(summary, report)
    if as_json:
        print_json(summary)
    else:
        _print(summary)
    return 1 if summary.malformed else 0


def _empty() -> Summary:
    return Summary(
        files=[],
        format="",
        lines=0,
        steps=0,
        trajectories=0,
        failed_steps=0,
        whole=Share(),
        by_model={},
        by_role={},
        lacks={},
        skipped={},
        malformed=0,
        problems=[],
    )


def _count(summary: Summary, recorded: RecordedStep) -> None:
    model = recorded.model or "(unknown)"
    shares = (
        summary.whole,
        summary.by_model.setdefault(model, Share()),
        summary.by_role.setdefault(recorded.step.role, Share()),
    )
    summary.failed_steps += recorded.status.value != "ok"
    for share in shares:
        share.steps += 1
        if recorded.usage is not None:
            share.input_tokens += recorded.usage.input_total
            share.cached_tokens += recorded.usage.cache_read
            share.output_tokens += recorded.usage.output
        if recorded.cost_nusd is None:
            share.uncosted += 1
        else:
            share.cost_nusd += recorded.cost_nusd


def _finish(summary: Summary, report: TraceReport) -> None:
    summary.files, summary.format = report.files, report.format
    summary.lines, summary.steps, summary.malformed = report.lines, report.steps, report.malformed
    summary.lacks, summary.skipped = dict(report.lacks), dict(report.skipped)
    summary.problems = [
        ": ".join(part for part in (f"{p.file}:{p.line}" if p.line else p.file, p.field, p.message) if part)
        for p in report.problems
    ]


def _print(summary: Summary) -> None:
    out = console()
    out.print(
        f"{summary.steps:,} steps of {summary.trajectories:,} trajectories in {len(summary.files)} "
        f"file(s), format {summary.format or 'unknown'}; {summary.failed_steps:,} failed",
        style="bold",
    )
    for title, shares in (("by model", summary.by_model), ("by role", summary.by_role)):
        table = Table(title, "steps", "input", "of it cached", "output", "recorded cost", "without cost")
        ranked = sorted(shares.items(), key=lambda item: (-item[1].cost_nusd, -item[1].input_tokens, item[0]))
        for name, share in [*ranked[:LISTED], ("all", summary.whole)]:
            table.add_row(name, *_cells(share))
        out.print(table)
        if len(ranked) > LISTED:
            out.print(f"... and {len(ranked) - LISTED} more", style="dim")
    for label, counts in (("lacking", summary.lacks), ("other records", summary.skipped)):
        if counts:
            listed = ", ".join(f"{name} {count:,}" for name, count in Counter(counts).most_common())
            out.print(f"{label}: {listed}")
    if summary.malformed:
        out.print(f"{summary.malformed:,} malformed:", style="red")
        for problem in summary.problems:
            out.print(f"  {problem}")


def _cells(share: Share) -> tuple[str, ...]:
    return (
        f"{share.steps:,}",
        f"{share.input_tokens:,}",
        f"{share.cached_tokens / share.input_tokens:.0%}" if share.input_tokens else "",
        f"{share.output_tokens:,}",
        bill.format_usd(share.cost_nusd) if share.uncosted < share.steps else "",
        f"{share.uncosted:,}" if share.uncosted else "",
    )


def _print_totals(ledgers: list[Path], by: tuple[str, ...], *, as_json: bool) -> None:
    """Print a ledger's own sums, grouped."""
    found: dict[str, dict[str, tuple[Totals, ...]]] = {}
    for path in ledgers:
        with open_ledger(path, read_only=True) as ledger:
            found[str(path)] = {group: ledger.totals(group) for group in by} | {"": ledger.totals()}
    if as_json:
        print_json(found)
        return
    for name, groups in found.items():
        console().print(name, style="bold")
        for group in by:
            table = Table(group, "steps", "attempts", "fresh", "cached", "written", "out", "cost")
            for row in (*groups[group], *groups[""]):
                written = row.cache_write + row.cache_write_1h
                counts = (row.steps, row.attempts, row.fresh_input, row.cache_read, written, row.output)
                cells = (f"{count:,}" for count in counts)
                table.add_row(row.key or "all", *cells, bill.format_usd(row.cost_nusd))
            console().print(table)
