"""What the demo shows in the terminal. Law: prints what it is given; all it works out is the share saved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentrouter.catalog import Catalog
from agentrouter.demo.passes import BillRow, PassResult, Simulated, TaskResult, by_role, by_tier, whole
from agentrouter.demo.tasks import Task
from agentrouter.lab.report_text import percent
from agentrouter.money import Price
from agentrouter.types import NUSD_PER_USD, Attempt, DecisionRecord, Status, StepRecord, Tier

_TIER_STYLES = {Tier.MINIMAL: "green", Tier.EFFICIENT: "cyan", Tier.MID: "blue", Tier.FRONTIER: "magenta"}


class Narrator:
    """Tells of a pass step by step."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def task_started(self, task: Task) -> None:
        """Print the task's name and what is asked."""
        self._console.print(f"\n[bold]{escape(task.name)}[/]  {escape(task.goal)}")

    def step_done(self, record: StepRecord) -> None:
        """Print each attempt of the step: where it went, why, what it cost, how it was judged."""
        number = f"{record.step.index + 1}"
        for attempt, decision in zip(record.attempts, record.decisions, strict=False):
            self._console.print(_attempt_line(number, record, attempt, last=attempt is record.attempts[-1]))
            self._line("why", f"{_why(decision)} -> {attempt.candidate.model}")
            self._line("check", _checks(attempt))
            self._line("says", " ".join(attempt.outcome.reply.text.split()) or attempt.outcome.failure_detail)
            number = ""
        for note in record.notes:
            self._line("note", note)

    def task_done(self, result: TaskResult) -> None:
        """Print the verdict."""
        verdict = result.verdict
        word = "[bold green]SOLVED[/]" if verdict.solved else "[bold red]NOT SOLVED[/]"
        expected = "" if verdict.solved else f"; expected {verdict.expected}"
        self._console.print(
            f"  {word} {escape(f'got {verdict.got}{expected}')}  "
            f"[dim]{len(result.records)} steps, {usd(result.cost_nusd)}, {result.seconds:.0f} s[/]"
        )

    def _line(self, word: str, text: str) -> None:
        room = max(40, self._console.width - 12)
        shown = text if len(text) <= room else text[: room - 1] + "…"
        self._console.print(f"    [dim]{word:<5}  {escape(shown)}[/]", no_wrap=True, overflow="ellipsis")


class Murmur:
    """Tells of a pass one line a task: for the comparison, whose steps are not the point."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def task_started(self, task: Task) -> None:
        """Say nothing."""

    def step_done(self, record: StepRecord) -> None:
        """Say nothing."""

    def task_done(self, result: TaskResult) -> None:
        """Print the verdict in one line."""
        word = "[green]solved    [/]" if result.verdict.solved else "[red]not solved[/]"
        self._console.print(
            f"  {word} {escape(result.name):<24} {len(result.records)} steps  {usd(result.cost_nusd)}  "
            f"[dim]{result.seconds:.0f} s[/]"
        )


def usd(nusd: int) -> str:
    """Return nano-dollars as dollars with six decimals: steps of small models cost micro-dollars."""
    return f"${nusd / NUSD_PER_USD:.6f}"


def lineup_table(catalog: Catalog) -> Table:
    """Return who plays which tier at what price."""
    table = Table("tier", "played by", "input", "cache write", "cache read", "output", title="Tiers and list prices")
    for tier in Tier:
        for candidate in catalog.in_tier(tier):
            table.add_row(f"[{_TIER_STYLES[tier]}]{tier.label}[/]", candidate.model, *_rates(candidate.price))
        if not catalog.in_tier(tier):
            table.add_row(f"[dim]{tier.label}[/]", "[dim]nobody: goes to the next tier above[/]", "", "", "", "")
    table.caption = "USD per million tokens, from the built-in example config; the models here run for free"
    return table


def summary_table(routed: PassResult, baseline: PassResult | None, simulated: Simulated) -> Table:
    """Return routed beside frontier-only."""
    table = _table("The bill", "", "solved", "steps", "calls", "new", "cached", "output", "bill", "s")
    for label, found in (("routed", routed), ("frontier-only", baseline)):
        if found is not None:
            row = whole(found.records)
            table.add_row(
                label,
                f"{found.solved} of {len(found.tasks)}",
                *(
                    f"{count:,}"
                    for count in (row.steps, row.calls, row.new_tokens, row.cached_tokens, row.output_tokens)
                ),
                usd(row.cost_nusd),
                f"{found.seconds:.0f}",
            )
    if baseline is None:
        for label, nusd in (("routed", simulated.routed_nusd), ("frontier-only", simulated.frontier_nusd)):
            table.add_row(f"{label}, simulated", *[""] * 6, usd(nusd), "")
    return table


def breakdown_table(title: str, key: str, routed: Sequence[BillRow], baseline: Sequence[BillRow]) -> Table:
    """Return a breakdown whose last row is the sum of the others."""
    table = _table(title, key, "steps", "calls", "up", "new", "cached", "output", "routed", "frontier-only")
    table.caption = "up: escalated to the next tier"
    other = {row.key: row.cost_nusd for row in baseline}
    keys = [row.key for row in routed] + [row.key for row in baseline if row.key not in {mine.key for mine in routed}]
    mine = {row.key: row for row in routed}
    for name in keys:
        row = mine.get(name, BillRow(key=name))
        table.add_row(
            name,
            *(f"{count:,}" for count in (row.steps, row.calls, row.escalations)),
            *(f"{count:,}" for count in (row.new_tokens, row.cached_tokens, row.output_tokens)),
            usd(row.cost_nusd),
            (usd(other[name]) if name in other else "-") if baseline else "",
        )
    table.add_section()
    total = usd(sum(other.values())) if baseline else ""
    table.add_row("all", *[""] * 6, usd(sum(row.cost_nusd for row in routed)), total)
    return table


def _table(title: str, *headings: str) -> Table:
    """Return a table that fits 80 columns without cutting a figure."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    return table


def saved_share(routed: PassResult, baseline: PassResult | None, simulated: Simulated) -> float | None:
    """Return the saving against frontier-only: as run, else as simulated; None: nothing spent."""
    mine, other = simulated.routed_nusd, simulated.frontier_nusd
    if baseline is not None:
        mine, other = routed.cost_nusd, baseline.cost_nusd
    return 1.0 - mine / other if other else None


def run_sentence(routed: PassResult, baseline: PassResult | None) -> str:
    """Return what was run for real, for the page; empty: frontier-only was not run.

    The page prices the routed run again with simulated caches, so its frontier-only figure is another one.
    """
    if baseline is None:
        return ""
    share = percent(1.0 - routed.cost_nusd / baseline.cost_nusd if baseline.cost_nusd else None)
    count = len(baseline.tasks)
    return (
        f"Both passes were run on this machine: routed {usd(routed.cost_nusd)}, frontier-only "
        f"{usd(baseline.cost_nusd)}, {share} saved; {routed.solved} and {baseline.solved} of {count} tasks solved. "
        "Below, the routed run is priced again: what it would have cost on the frontier alone is simulated there."
    )


def print_bill(console: Console, routed: PassResult, baseline: PassResult | None, simulated: Simulated) -> None:
    """Print the comparison, by role and by tier, and the saving in one sentence."""
    other = baseline.records if baseline is not None else ()
    console.print()
    console.print(summary_table(routed, baseline, simulated))
    console.print(breakdown_table("By role", "role", by_role(routed.records), by_role(other)))
    console.print(breakdown_table("By tier", "tier", by_tier(routed.records), by_tier(other)))
    mine, other_nusd, how = simulated.routed_nusd, simulated.frontier_nusd, "caches simulated on both sides"
    if baseline is not None:
        mine, other_nusd, how = routed.cost_nusd, baseline.cost_nusd, "run for real, each with its prompt caches"
    share = percent(saved_share(routed, baseline, simulated))
    console.print(f"\n[bold]Routed {usd(mine)} against frontier-only {usd(other_nusd)}: {share} saved[/] ({how}).")
    if baseline is not None:
        count = len(baseline.tasks)
        console.print(f"Tasks solved: routed {routed.solved} of {count}, frontier-only {baseline.solved} of {count}.")


def _attempt_line(number: str, record: StepRecord, attempt: Attempt, *, last: bool) -> str:
    usage = attempt.outcome.usage
    tier = attempt.candidate.tier
    new = usage.input_total - usage.cache_read
    return (
        f"{number:>2} {escape(record.step.role):<9} [{_TIER_STYLES[tier]}]{tier.label:<9}[/] "
        f"{new:>4} new {usage.cache_read:>4} cached {usage.output:>3} out "
        f"{usd(attempt.cost.total)} {attempt.outcome.latency_ms / 1000:>4.1f}s  {_end(attempt, last=last)}"
    )


def _end(attempt: Attempt, *, last: bool) -> str:
    outcome = attempt.outcome
    if outcome.status is not Status.OK:
        return f"[red]{outcome.failure or outcome.status}[/]"
    if not last:
        return "[yellow]escalated[/]"
    if not all(verdict.passed for verdict in outcome.verdicts):
        return "[red]failed at the top[/]"
    return "[green]ok[/]"


def _why(decision: DecisionRecord) -> str:
    return f"{decision.reason}{': ' + decision.detail if decision.detail else ''}"


def _checks(attempt: Attempt) -> str:
    parts = []
    for verdict in attempt.outcome.verdicts:
        word = "could not run" if verdict.failed_to_run else "passed" if verdict.passed else "FAILED"
        detail = f" ({verdict.detail})" if verdict.detail else ""
        parts.append(f"{verdict.verifier} {word}{detail}")
    return (
        ", ".join(reversed(parts))
        if any(not verdict.passed for verdict in attempt.outcome.verdicts)
        else ", ".join(parts)
    )


def _rates(price: Price) -> tuple[str, str, str, str]:
    def shown(rate: int) -> str:
        return f"{rate / 1_000_000:.3f}".rstrip("0").ljust(4, "0") if rate else "0"

    return shown(price.input), shown(price.cache_write), shown(price.cache_read), shown(price.output)
