"""Sentences and table rows that the page and the terminal show alike.

Law: the one place where a report's figures are put into words, so that both faces say the same.
"""

from __future__ import annotations

from agentrouter.bill import format_usd
from agentrouter.lab.replay_report import Bill, GroupRow, ReplayReport, Saving
from agentrouter.lab.report_text import count, percent, span, tokens, usd

Row = tuple[str, ...]

BILL_HEADINGS = ("Bill", "Caches", "USD")
SAVING_HEADINGS = (
    "Policy against",
    "Baseline USD",
    "Policy USD",
    "Saving, optimistic",
    "Interval",
    "Saving, pessimistic",
    "Interval",
)
GROUP_HEADINGS = (
    "Steps",
    "Changed",
    "Input tokens",
    "Output tokens",
    "Cache read",
    "Recorded USD",
    "Share",
    "Policy USD",
    "Saving, pessimistic to optimistic",
)
LACK_WORDS = {
    "usage": "no token usage",
    "cost": "no cost (recorded usage is priced from the list)",
    "messages": "no content (features of the text are empty)",
    "time": "no time (a fixed gap between steps is assumed)",
    "model": "no model",
    "role": "no role (inferred, or unknown)",
    "trajectory": "no trajectory (each step stands alone)",
    "cache": "usage without cached counts",
}


def headline(report: ReplayReport) -> str:
    """Return the one sentence to quote: before, after, baseline, both ends."""
    saving = report.savings[report.headline]
    if not report.priced_steps:
        return "No step could be priced: there is nothing to compare."
    before, after = usd(saving.baseline_nusd), usd(saving.policy_nusd)
    who = f"Policy {report.policy}" if report.policy != "recorded" else "The run as recorded"
    sentence = f"{who} costs {after} where the {saving.label} is {before}: {change(saving.share)}"
    if saving.pessimistic_nusd == saving.policy_nusd:
        return sentence + "."
    return (
        f"{sentence} if every answer of a cheaper model would have been good, {change(saving.share_pessimistic)} "
        "if every one of unknown outcome had to be redone."
    )


def change(share: float | None) -> str:
    """Return a saving in words: ``34.7 % less``, ``12.0 % more``, ``the same``."""
    if share is None:
        return "no share (nothing was spent)"
    if abs(share) < 0.0005:
        return "the same"
    return f"{percent(abs(share))} {'less' if share > 0 else 'more'}"


def sampling(saving: Saving, report: ReplayReport) -> str:
    """Return the sampling interval of a saving in words."""
    if saving.sampling is None:
        return "no sampling interval: fewer than two tasks"
    return f"{percent(report.confidence, 0)} over tasks {span(saving.sampling)}"


def bill_rows(report: ReplayReport) -> list[Row]:
    """Return the bills, to the micro-dollar."""
    return [(bill.label, _accounting(bill, report), format_usd(bill.nusd)) for bill in report.bills]


def _accounting(bill: Bill, report: ReplayReport) -> str:
    if bill.name != "recorded":
        return bill.caches
    quality = report.quality
    sources = (
        (quality.invoice_steps, "invoiced cost"),
        (quality.listed_steps, "recorded usage at list price"),
        (quality.estimated_steps, "estimated"),
    )
    named = [f"{word} ({count(steps)} steps)" for steps, word in sources if steps]
    return "; ".join(named) or bill.caches


def saving_rows(report: ReplayReport) -> list[Row]:
    """Return the policy against every baseline."""
    return [
        (
            saving.label,
            usd(saving.baseline_nusd),
            usd(saving.policy_nusd),
            percent(saving.share),
            span(saving.sampling),
            percent(saving.share_pessimistic),
            span(saving.sampling_pessimistic),
        )
        for saving in report.savings
    ]


def group_rows(rows: tuple[GroupRow, ...]) -> list[Row]:
    """Return a breakdown."""
    return [
        (
            row.key or "(none)",
            count(row.steps),
            count(row.changed),
            tokens(row.input_tokens),
            tokens(row.output_tokens),
            percent(row.cache_read_share, 0),
            usd(row.recorded_nusd),
            percent(row.spend_share),
            usd(row.policy_nusd),
            ends(row),
        )
        for row in rows
    ]


def ends(row: GroupRow) -> str:
    """Return both ends of a group's saving against its recorded bill."""
    if row.recorded_nusd <= 0:
        return percent(None)
    low = 1.0 - row.pessimistic_nusd / row.recorded_nusd
    high = 1.0 - row.policy_nusd / row.recorded_nusd
    if row.pessimistic_nusd == row.policy_nusd:
        return percent(high)
    return f"{percent(low)} to {percent(high)}"


def motion_rows(report: ReplayReport) -> list[Row]:
    """Return switching and caching, recorded beside policy."""
    before, after = report.recorded_motion, report.policy_motion
    return [
        ("Switches of model within a trajectory", count(before.switches), count(after.switches)),
        (
            "Share of input read from a cache (simulated)",
            percent(before.cache_read_share),
            percent(after.cache_read_share),
        ),
        (
            "Input paid because no cache was warm, after the first step",
            usd(before.cold_input_nusd),
            usd(after.cold_input_nusd),
        ),
    ]


def outcome_sentences(report: ReplayReport) -> list[str]:
    """Return what is known of the steps that the policy changed."""
    known, length = report.outcomes, report.output_length
    lines = [
        f"{count(known.changed)} of {count(report.priced_steps)} steps go to another model than recorded, "
        f"{count(known.downgraded)} of them to a cheaper one."
    ]
    if known.downgraded:
        lines.append(
            f"Of the cheaper ones, the outcome is unknown for {count(known.unknown)}, known to be good for "
            f"{count(known.known_good)}, known to be bad for {count(known.known_bad)} (billed twice), and the recorded "
            f"model failed as well on {count(known.recorded_failed)}."
        )
    if length.low_nusd != length.high_nusd:
        lines.append(
            f"If other models wrote {length.low_factor:g} to {length.high_factor:g} times as much, the policy's bill "
            f"would be {usd(length.low_nusd)} to {usd(length.high_nusd)}."
        )
    if 0 < report.tasks < 10:
        lines.append(f"Only {report.tasks} tasks: a sampling interval over so few is not to be trusted.")
    return lines


def simulator_sentence(report: ReplayReport) -> str:
    """Return how far the cache simulation is from the recorded bill of the same models."""
    recorded, simulated = report.bill("recorded"), report.bill("recorded_cached")
    if recorded <= 0:
        return ""
    error = simulated / recorded - 1.0
    return (
        f"The cache simulator prices the recorded run at {usd(simulated)} against {usd(recorded)} recorded: "
        f"{'+' if error >= 0 else ''}{percent(error)}. Where this is large, trust the rows that compare "
        "simulation with simulation."
    )


def gap_rows(report: ReplayReport) -> list[Row]:
    """Return what the trace lacked, skipped or had malformed, one row each."""
    trace = report.trace
    rows: list[Row] = [
        (LACK_WORDS.get(name, name), f"{count(steps)} steps") for name, steps in trace.lacks.items() if steps
    ]
    rows += [(f"not a model call: {kind}", f"{count(lines)} records") for kind, lines in trace.skipped.items() if lines]
    if trace.malformed:
        rows.append(("malformed", f"{count(trace.malformed)} places, listed below"))
    rows += [(f"survived: {note}", f"{count(times)} times") for note, times in report.quality.notes.items()]
    rows += [
        (f"no legal candidate (rule {rule})", f"{count(steps)} steps")
        for rule, steps in report.quality.kept_rules.items()
    ]
    return rows


def problem_rows(report: ReplayReport) -> list[Row]:
    """Return the malformed places of the trace."""
    return [
        (f"{problem.file}:{problem.line}" if problem.line else problem.file, problem.field, problem.message)
        for problem in report.trace.problems
    ]


def unpriced_rows(report: ReplayReport) -> list[Row]:
    """Return the steps that are in no total."""
    return [
        (
            row.model,
            row.reason,
            count(row.steps),
            tokens(row.input_tokens),
            tokens(row.output_tokens),
            usd(row.recorded_nusd) if row.recorded_nusd else "\u2013",
        )
        for row in report.unpriced
    ]


UNPRICED_HEADINGS = ("Model", "Why", "Steps", "Input tokens", "Output tokens", "Cost on record")
SHORT_HEADINGS = ("", "Steps", "Cache read", "Recorded USD", "Share", "Policy USD", "Saving, pess. to opt.")


def short_row(row: Row) -> Row:
    """Return the columns of a ``group_rows`` row that fit a terminal (``SHORT_HEADINGS``)."""
    key, steps, _, _, _, read, recorded, share, policy, saved = row
    return key, steps, read, recorded, share, policy, saved


SHORT_SAVING_HEADINGS = ("Policy against", "Baseline", "Policy", "Optimistic saving", "Pessimistic saving")


def short_saving_rows(report: ReplayReport) -> list[Row]:
    """Return ``saving_rows`` with each interval beside its share, to fit a terminal."""
    return [
        (label, before, after, f"{best} {best_span}", f"{worst} {worst_span}")
        for label, before, after, best, best_span, worst, worst_span in saving_rows(report)
    ]
