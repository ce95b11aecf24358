"""The audit in words and as one self-contained HTML page.

Law: as ``report_html``: shows what is in the report and nothing else.
"""

from __future__ import annotations

from agentrouter.lab import report_page as page
from agentrouter.lab import report_plots as plots
from agentrouter.lab import report_words as words
from agentrouter.lab.audit_report import AuditReport, RoleSpend, Waste
from agentrouter.lab.report_text import count, percent, span, tokens, usd

_PAGE_HEADINGS = (
    "Role",
    "Tier now",
    "Suggested",
    "Spend",
    "Share",
    "Saving, pess. to opt.",
    "Optimistic, interval",
    "Pessimistic, interval",
)
_DETAIL_HEADINGS = ("Role", "Why", "Models", "Steps", "Input", "Output", "Cache read", "Errors", "Retries", "Success")
WASTE_HEADINGS = ("Trajectory", "Steps", "Spend", "Under the chart", "Repeats", "Retries", "Cost of both")

NOTE = (
    "A role's saving is that of its own steps. What its absence from the dearer model's cache costs the other roles "
    "is in their rows, so a role that is kept can show a loss; the total holds both."
)


def headline(report: AuditReport) -> str:
    """Return the one sentence to quote: which share of the spend a lower tier may have done without."""
    saving = report.saving
    moved = [row for row in report.roles if row.suggested != row.tier]
    if not report.spend_nusd:
        return "No spend is recorded: there is nothing to audit."
    if not moved:
        return f"{usd(report.spend_nusd)} spent; no role is suggested to move to a lower tier."
    low, high = percent(saving.share_pessimistic), percent(saving.share)
    return (
        f"Of {usd(report.spend_nusd)} spent, moving {len(moved)} of {len(report.roles)} roles to the suggested tier "
        f"saves between {low} (every moved step of unknown outcome redone) and {high} (none redone)."
    )


def sentences(report: AuditReport) -> list[str]:
    """Return what else there is to say: intervals, repeats, retries."""
    saving = report.saving
    level = percent(report.replay.confidence, 0)
    lines = [f"{level} intervals over tasks: {span(saving.sampling)} and {span(saving.sampling_pessimistic)}."]
    if report.comparable_steps:
        lines.append(
            f"{count(report.repeats)} calls repeat an earlier one of their trajectory exactly "
            f"({usd(report.repeats_nusd)})."
        )
    else:
        lines.append("The trace has no content, so repeated calls cannot be seen.")
    lines.append(f"{count(report.retries)} calls are retries ({usd(report.retries_nusd)}).")
    lines.append(NOTE)
    return lines


def render_audit(report: AuditReport) -> str:
    """Return the audit as one self-contained HTML page.

    Raises:
        MissingExtraError: matplotlib (extra ``lab``) is not installed.
    """
    replay = report.replay
    plot = ""
    if report.roles:
        described = "; ".join(
            f"{row.role} {usd(row.spend_nusd)}, {row.tier} to {row.suggested}" for row in report.roles
        )
        plot = page.figure(
            plots.roles_plot(replay.by_role, "suggested chart"),
            f"Bar chart of spend by role, as recorded and under the suggested chart: {described}.",
            "Spend by role, as recorded and under the suggested chart (optimistic end).",
        )
    chart = page.table("Roles by spend", _PAGE_HEADINGS, [_page_row(row) for row in report.roles], names=3)
    details = page.table("Why, and what the roles do", _DETAIL_HEADINGS, [_detail_row(row) for row in report.roles], 3)
    return page.page(
        "AgentRouter: the org chart of spend",
        (
            "<h1>The org chart of spend</h1>",
            page.paragraph(headline(report), "lead"),
            page.listing(sentences(report)),
            page.section("Roles", plot, chart, details),
            page.section(
                "Most wasteful trajectories",
                page.table(
                    "By what the chart, repeats and retries would have saved",
                    WASTE_HEADINGS,
                    waste_rows(report.wasteful),
                )
                or page.paragraph("None."),
            ),
            page.section(
                "What the record lacked",
                page.table("Gaps and other records", ("What", "How many"), words.gap_rows(replay))
                or page.paragraph("Nothing."),
                page.table("Unpriced steps", words.UNPRICED_HEADINGS, words.unpriced_rows(replay), names=2),
                page.table("Malformed places", ("Place", "Field", "What"), words.problem_rows(replay), names=3),
            ),
            page.section(
                "Assumptions, and how to make this page",
                page.listing(replay.assumptions),
                f"<pre><code>{page.text(report.command, 2_000)}</code></pre>" if report.command else "",
            ),
        ),
    )


def ends(row: RoleSpend) -> str:
    """Return both ends of the saving on a role's own steps."""
    if row.share is None:
        return percent(None)
    if row.after_nusd == row.pessimistic_nusd:
        return percent(row.share)
    return f"{percent(row.share_pessimistic)} to {percent(row.share)}"


def _page_row(row: RoleSpend) -> words.Row:
    return (
        row.role,
        row.tier,
        row.suggested,
        usd(row.spend_nusd),
        percent(row.spend_share),
        ends(row),
        span(row.sampling),
        span(row.sampling_pessimistic),
    )


def _detail_row(row: RoleSpend) -> words.Row:
    return (
        row.role,
        row.why,
        ", ".join(f"{model.model} {percent(model.share, 0)}" for model in row.models),
        count(row.steps),
        tokens(row.input_tokens),
        tokens(row.output_tokens),
        percent(row.cache_read_share, 0),
        count(row.errors),
        count(row.retries),
        percent(row.success, 0),
    )


def waste_rows(rows: tuple[Waste, ...]) -> list[words.Row]:
    """Return the most wasteful trajectories."""
    return [
        (
            row.trajectory,
            count(row.steps),
            usd(row.spend_nusd),
            usd(row.after_nusd),
            count(row.repeats),
            count(row.retries),
            usd(row.repeated_nusd),
        )
        for row in rows
    ]
