"""A replay's report as one self-contained HTML page.

Law: the page shows what is in the ``ReplayReport`` and nothing else; it needs no script and makes no request.
"""

from __future__ import annotations

from agentrouter.lab import report_page as page
from agentrouter.lab import report_plots as plots
from agentrouter.lab import report_words as words
from agentrouter.lab.replay_report import GroupRow, ReplayReport
from agentrouter.lab.report_text import count, percent, span, usd


def render(report: ReplayReport, title: str = "", note: str = "") -> str:
    """Return the page as text (UTF-8).

    Args:
        report: the replay's report.
        title: heading of the page; empty: made from the policy's name.
        note: a paragraph before everything computed here.

    Raises:
        MissingExtraError: matplotlib (extra ``lab``) is not installed.
    """
    heading = title or (
        f"The bill under policy {report.policy}" if report.policy != "recorded" else "The bill as recorded"
    )
    return page.page(
        f"AgentRouter: {heading}",
        (
            f"<h1>{page.text(heading)}</h1>",
            page.paragraph(note, "lead") if note else "",
            page.paragraph(words.headline(report), "" if note else "lead"),
            _incomplete(report),
            _cards(report),
            _bills(report),
            _savings(report),
            _curve(report),
            _tiers(report),
            _groups(report),
            _motion(report),
            _record(report),
            _method(report),
        ),
    )


def _incomplete(report: ReplayReport) -> str:
    if report.complete:
        return ""
    left_out = sum(row.steps for row in report.unpriced)
    return (
        f'<div class="warn"><p><strong>Incomplete.</strong> {count(left_out)} of {count(report.steps)} steps are in no '
        "total, because their model, its price or their usage is unknown; they are listed below.</p></div>"
    )


def _cards(report: ReplayReport) -> str:
    if not report.priced_steps:
        return ""
    cards = []
    for saving in report.savings:
        if saving.baseline == "recorded" and report.policy == "recorded":
            continue
        if saving.baseline in ("recorded_cached", "recorded_uncached"):
            continue
        known = saving.pessimistic_nusd == saving.policy_nusd
        best, worst = saving.share or 0.0, saving.share_pessimistic or 0.0
        figure = percent(saving.share) if known else f"{percent(saving.share_pessimistic)} to {percent(saving.share)}"
        after = usd(saving.policy_nusd) + ("" if known else f" to {usd(saving.pessimistic_nusd)}")
        spread = "" if known else f"; pessimistic end {span(saving.sampling_pessimistic)}"
        cards.append(
            page.card(
                figure,
                f"saving against {saving.label}",
                f"{usd(saving.baseline_nusd)} before, {after} after; {words.sampling(saving, report)}{spread}",
                "good" if worst > 0 else "bad" if best < 0 else "",
            )
        )
    facts = (
        f"{count(report.priced_steps)} of {count(report.steps)} steps priced, {count(report.trajectories)} "
        f"trajectories, {count(report.tasks)} tasks. Savings without caches are shown for comparison "
        "only: a bill is paid with caches."
    )
    return f'<div class="cards">{"".join(cards)}</div>{page.paragraph(facts, "soft")}'


def _bills(report: ReplayReport) -> str:
    described = "; ".join(f"{bill.label} ({bill.caches}) {usd(bill.nusd)}" for bill in report.bills)
    plot = ""
    if report.priced_steps:
        plot = page.figure(
            plots.bills_plot(report),
            f"Bar chart of the bills: {described}.",
            "Before and after, as billed, with simulated caches and without caches.",
        )
    return page.section(
        "Before and after",
        plot,
        page.table("Every bill, to the micro-dollar", words.BILL_HEADINGS, words.bill_rows(report), names=2),
        page.paragraph(words.simulator_sentence(report), "soft"),
    )


def _savings(report: ReplayReport) -> str:
    if not report.priced_steps:
        return ""
    return page.section(
        "Saving, with both intervals",
        page.table(
            f"Same accounting on both sides; intervals are {percent(report.confidence, 0)} over tasks; a "
            "negative saving is an extra cost",
            words.SAVING_HEADINGS,
            words.saving_rows(report),
        ),
        page.listing(words.outcome_sentences(report)),
    )


def _curve(report: ReplayReport) -> str:
    if not report.curve:
        return ""
    last = report.curve[-1]
    return page.section(
        "Cost along the trajectory",
        page.figure(
            plots.curve_plot(report),
            f"Line chart of the mean cumulative cost per trajectory over {len(report.curve)} step numbers. At the end: "
            f"frontier only {usd(last.frontier_nusd)}, recorded {usd(last.recorded_nusd)}, policy "
            f"{usd(last.policy_nusd)}.",
            "Mean over all trajectories of what was spent up to each step; one that has ended keeps its total.",
        ),
    )


def _tiers(report: ReplayReport) -> str:
    if not report.tiers:
        return ""
    return page.section(
        "Tier by step",
        page.figure(
            plots.tiers_plot(report),
            "Two stacked bar charts of the share of steps by tier and step number, as recorded and under the policy. "
            + _tier_words(report.by_tier_policy),
            "Share of the steps of each number that go to each tier.",
        ),
        _group("By recorded tier", "Tier", report.by_tier_recorded),
        _group("By the policy's tier", "Tier", report.by_tier_policy),
    )


def _tier_words(rows: tuple[GroupRow, ...]) -> str:
    return "Under the policy: " + ", ".join(f"{row.key} {count(row.steps)} steps" for row in rows) + "."


def _groups(report: ReplayReport) -> str:
    if not report.by_role:
        return ""
    described = "; ".join(
        f"{row.key} {usd(row.recorded_nusd)} before, {usd(row.policy_nusd)} after"
        for row in report.by_role[: plots.MOST_ROLES]
    )
    days = _group("By day (UTC)", "Day", report.by_day) if len(report.by_day) > 1 else ""
    return page.section(
        "Spend by role, model and trajectory",
        page.figure(
            plots.roles_plot(report.by_role, report.policy),
            f"Bar chart of spend by role: {described}.",
            "Spend by role.",
        ),
        _group("By role", "Role", report.by_role),
        _group("By recorded model", "Model", report.by_model_recorded),
        _group("By the policy's model", "Model", report.by_model_policy),
        days,
        _group("The dearest trajectories", "Trajectory", report.top_trajectories),
    )


MOST_ROWS = 60


def _group(caption: str, heading: str, rows: tuple[GroupRow, ...]) -> str:
    more = f" (the {MOST_ROWS} dearest of {count(len(rows))}; all are in the JSON)" if len(rows) > MOST_ROWS else ""
    shown = words.group_rows(rows[:MOST_ROWS])
    return page.table(caption + more, (heading, *words.GROUP_HEADINGS), shown)


def _motion(report: ReplayReport) -> str:
    if not report.priced_steps:
        return ""
    return page.section(
        "Switches and caches",
        page.table("Under simulated caches", ("", "Recorded", f"Policy {report.policy}"), words.motion_rows(report)),
    )


def _record(report: ReplayReport) -> str:
    trace = report.trace
    read = (
        f"Read {count(trace.lines)} lines of format {trace.format or 'unknown'} from "
        f"{', '.join(trace.files[:5])}{' and more' if len(trace.files) > 5 else ''}: {count(trace.steps)} steps."
        if trace.files
        else ""
    )
    return page.section(
        "What the record lacked",
        page.paragraph(read) if read else "",
        page.table("Gaps and other records", ("What", "How many"), words.gap_rows(report))
        or page.paragraph("Nothing: every step had all that the replay reads."),
        page.table("Unpriced steps, in no total", words.UNPRICED_HEADINGS, words.unpriced_rows(report), names=2),
        page.table("Malformed places", ("Place", "Field", "What was wrong"), words.problem_rows(report), names=3),
    )


def _method(report: ReplayReport) -> str:
    command = f"<pre><code>{page.text(report.command, 2_000)}</code></pre>" if report.command else ""
    return page.section(
        "Assumptions, and how to make this page",
        page.listing(report.assumptions),
        command,
        page.paragraph(
            f"Policy {report.policy}, hash {report.policy_hash}; seed {report.seed}. Made by AgentRouter.", "soft"
        ),
    )
