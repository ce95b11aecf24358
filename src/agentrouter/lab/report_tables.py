"""Replay and audit for the terminal, as rich renderables.

Law: builds, does not print; the command line prints. Foreign text goes in as ``Text``, so that neither markup nor
terminal sequences of a trace reach the screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentrouter.lab import report_audit as audit_words
from agentrouter.lab import report_words as words
from agentrouter.lab.audit_report import AuditReport
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.report_text import clean, count, percent, usd

MOST_ROWS = 12
MOST_PROBLEMS = 10


def replay_tables(report: ReplayReport) -> RenderableType:
    """Return the terminal's view of a replay: headline, bills, savings, roles, tiers, gaps."""
    parts: list[RenderableType] = [Text(words.headline(report), style="bold"), Text("")]
    if not report.complete:
        left_out = sum(row.steps for row in report.unpriced)
        parts.append(
            Text(f"Incomplete: {count(left_out)} of {count(report.steps)} steps are in no total (listed below).", "red")
        )
    parts.append(terminal_table("Bills", words.BILL_HEADINGS, words.bill_rows(report), names=2))
    parts.append(terminal_table("Savings", words.SHORT_SAVING_HEADINGS, words.short_saving_rows(report)))
    parts += [Text(f"- {sentence}") for sentence in words.outcome_sentences(report)]
    if words.simulator_sentence(report):
        parts.append(Text(f"- {words.simulator_sentence(report)}"))
    for title, rows in (
        ("By role", report.by_role),
        ("By tier as recorded", report.by_tier_recorded),
        ("By the policy's tier", report.by_tier_policy),
        ("By the policy's model", report.by_model_policy),
    ):
        short = [words.short_row(row) for row in words.group_rows(rows[:MOST_ROWS])]
        parts.append(terminal_table(_titled(title, len(rows)), words.SHORT_HEADINGS, short))
    parts.append(terminal_table("Switches and caches", ("", "Recorded", "Policy"), words.motion_rows(report)))
    gaps = words.gap_rows(report)
    if gaps:
        parts.append(terminal_table("What the record lacked", ("What", "How many"), gaps))
    if report.unpriced:
        parts.append(terminal_table("Unpriced", words.UNPRICED_HEADINGS, words.unpriced_rows(report), names=2))
    problems = words.problem_rows(report)
    if problems:
        title = _titled("Malformed places", report.trace.malformed, MOST_PROBLEMS)
        parts.append(terminal_table(title, ("Place", "Field", "What"), problems[:MOST_PROBLEMS], names=3))
    return Group(*parts)


CHART_HEADINGS = ("Role", "Steps", "Spend", "Share", "Tier now", "Suggested", "Saving, pess. to opt.")


def audit_tables(report: AuditReport) -> RenderableType:
    """Return the terminal's view of an audit."""
    parts: list[RenderableType] = [Text(audit_words.headline(report), style="bold"), Text("")]
    if not report.replay.complete:
        parts.append(Text("Incomplete: some steps are in no total (see the unpriced table).", "red"))
    rows = [
        (
            row.role,
            count(row.steps),
            usd(row.spend_nusd),
            percent(row.spend_share),
            row.tier,
            row.suggested,
            audit_words.ends(row),
        )
        for row in report.roles[:MOST_ROWS]
    ]
    parts.append(terminal_table("The org chart of spend", CHART_HEADINGS, rows))
    parts += [Text(f"- {sentence}") for sentence in audit_words.sentences(report)]
    parts += [Text(f"- {row.role}: {row.suggested}, {row.why}") for row in report.roles[:MOST_ROWS]]
    if report.wasteful:
        parts.append(
            terminal_table(
                "Most wasteful trajectories", audit_words.WASTE_HEADINGS, audit_words.waste_rows(report.wasteful)
            )
        )
    gaps = words.gap_rows(report.replay)
    if gaps:
        parts.append(terminal_table("What the record lacked", ("What", "How many"), gaps))
    if report.replay.unpriced:
        parts.append(terminal_table("Unpriced", words.UNPRICED_HEADINGS, words.unpriced_rows(report.replay), names=2))
    return Group(*parts)


def terminal_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> Table:
    """Return a table of text cells; the first ``names`` columns are left-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < names else "right", overflow="fold", no_wrap=place >= names)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table


def _titled(title: str, total: int, most: int = MOST_ROWS) -> str:
    return f"{title} ({most} of {count(total)})" if total > most else title
