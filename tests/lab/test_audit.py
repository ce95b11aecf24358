from __future__ import annotations

import msgspec
import pytest
from replay_records import NOON, OPTIONS, WORLD, recorded
from rich.console import Console

from agentrouter.lab.audit import RoleFacts, audit, suggest
from agentrouter.lab.audit_report import AuditReport
from agentrouter.lab.replay_parallel import Open, Opened
from agentrouter.lab.replay_report import encode
from agentrouter.lab.report_audit import render_audit
from agentrouter.lab.report_tables import audit_tables
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import Message, Status, Tier, Usage


def facts(**changes: object) -> RoleFacts:
    base: dict[str, object] = {"role": "execute", "steps": 100, "tier": Tier.FRONTIER}
    return RoleFacts(**{**base, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "tier"),
    [
        (facts(), Tier.MINIMAL),
        (facts(role="execute (sub-agent)"), Tier.MINIMAL),
        (facts(role="Researcher"), Tier.EFFICIENT),
        (facts(mean_output=2_000.0), Tier.EFFICIENT),
        (facts(mean_output=2_000.0, errors=11), Tier.MID),
        (facts(errors=10), Tier.MINIMAL),
        (facts(strict_share=0.9), Tier.EFFICIENT),
        (facts(role="summarise", strict_share=0.9), Tier.EFFICIENT),
        (facts(role="plan"), None),
        (facts(role="edit", tier=Tier.EFFICIENT), None),
        (facts(steps=19), None),
        (facts(tier=None), None),
        (facts(success=0.79), None),
        (facts(success=0.8), Tier.MINIMAL),
        (facts(role="my own word"), None),
    ],
    ids=[
        "chart", "sub-agent", "alias", "long", "long-errors", "few-errors", "strict", "strict-not-minimal", "plan",
        "lower-now", "few-steps", "no-tier", "failing", "good", "unknown",
    ],
)  # fmt: skip
def test_the_suggestion_is_the_charts_raised_by_what_the_trace_shows(case: RoleFacts, tier: Tier | None) -> None:
    suggestion = suggest(case)

    assert suggestion.tier is tier
    assert suggestion.why


def reader(steps: list[RecordedStep]) -> Open:
    def read() -> Opened:
        trace = TraceReport()
        return map(trace.saw, steps), trace

    return read


def team(tasks: int = 12) -> list[RecordedStep]:
    """Per task: a plan and two executions of the main agent, two searches of a sub-agent; all on the frontier.

    Separate prompt heads keep each role's cache its own, so that moving one role costs the others nothing.
    """
    steps = []
    for task in range(tasks):
        at = NOON + 10_000.0 * task
        usage = Usage(cache_write=1_000, output=100)
        again = Usage(cache_read=1_000, output=100)
        name = f"t{task:02}"
        steps.append(recorded("plan", trajectory=name, usage=usage, at=at, prefix="p"))
        for index in (1, 2):
            part = usage if index == 1 else again
            steps.append(recorded("execute", trajectory=name, index=index, usage=part, at=at + index, prefix="x"))
            part = usage if index == 1 else again
            sub = recorded("search", trajectory=f"{name}/s", parent=name, index=index, usage=part, at=at + index)
            steps.append(sub)
    return steps


def test_the_org_chart_lists_roles_by_spend_with_their_saving_worked_by_hand() -> None:
    report = audit(reader(team()), WORLD, OPTIONS)
    rows = {row.role: row for row in report.roles}

    # A task: plan 1,000 x 6,250 + 100 x 25,000 = 8,750,000; two others: that + 1,000 x 500 + 2,500,000 = 11,750,000.
    assert rows["plan"].spend_nusd == 12 * 8_750_000
    assert rows["execute"].spend_nusd == rows["search (sub-agent)"].spend_nusd == 12 * 11_750_000
    assert report.spend_nusd == 12 * 32_250_000
    # minimal: 1,000 x 125 + 40,000, then 1,000 x 10 + 40,000; efficient: three times as much.
    assert rows["execute"].after_nusd == 12 * 215_000
    assert rows["search (sub-agent)"].after_nusd == 12 * 645_000
    assert (rows["execute"].tier, rows["execute"].suggested) == ("frontier", "minimal")
    assert rows["search (sub-agent)"].suggested == "efficient"
    # Twelve plans are too few to judge by; they stay, and cost what they cost.
    assert (rows["plan"].suggested, rows["plan"].after_nusd) == ("frontier", 12 * 8_750_000)
    # Redone: attempts and the recorded cost.
    assert rows["execute"].pessimistic_nusd == 12 * (215_000 + 11_750_000)
    assert report.saving.policy_nusd == 12 * (8_750_000 + 860_000)
    assert [row.role for row in report.roles] == ["execute", "search (sub-agent)", "plan"]


def test_role_savings_have_intervals_that_bracket_them() -> None:
    steps = team()
    steps[1] = msgspec.structs.replace(steps[1], usage=Usage(fresh_input=9_000, output=10))
    row = next(row for row in audit(reader(steps), WORLD, OPTIONS).roles if row.role == "execute")

    assert row.sampling is not None
    assert row.share is not None
    assert row.sampling.low <= row.share <= row.sampling.high
    assert row.sampling.low < row.sampling.high


def test_repeats_and_retries_are_counted_with_what_they_cost() -> None:
    usage = Usage(fresh_input=1_000, output=100)
    said = (Message(role="user", text="run it"),)
    other = (Message(role="user", text="run the other"),)
    steps = []
    for index, messages in enumerate((said, said, other, said)):
        step = recorded("execute", index=index, usage=usage)
        retry = 1 if index == 3 else 0
        steps.append(
            msgspec.structs.replace(step, step=msgspec.structs.replace(step.step, messages=messages, retry=retry))
        )
    report = audit(reader(steps), WORLD, OPTIONS)

    cost = 1_000 * 5_000 + 100 * 25_000
    assert (report.repeats, report.repeats_nusd) == (1, cost)
    assert (report.retries, report.retries_nusd) == (1, cost)
    assert report.comparable_steps == 4
    waste = report.wasteful[0]
    assert (waste.trajectory, waste.repeats, waste.retries, waste.repeated_nusd) == ("t", 1, 1, 2 * cost)


def test_a_role_that_would_not_get_cheaper_is_kept() -> None:
    # 3 USD in, 15 USD out is nearest to the frontier by price; invoices say that it was all but free.
    steps = [
        recorded("execute", trajectory=f"t{i}", model="claude-sonnet-4-5", usage=Usage(fresh_input=10_000), cost=1)
        for i in range(30)
    ]
    row = audit(reader(steps), WORLD, OPTIONS).roles[0]

    assert (row.tier, row.suggested) == ("frontier", "frontier")
    assert "not be cheaper" in row.why
    assert row.after_nusd == row.spend_nusd == 30


def test_errors_and_success_come_from_the_record() -> None:
    steps = [
        recorded(
            "execute",
            trajectory=f"t{i}",
            usage=Usage(fresh_input=10, output=1),
            status=Status.ERROR if i < 6 else Status.OK,
            success=0.0 if i < 6 else 1.0,
        )
        for i in range(24)
    ]
    row = audit(reader(steps), WORLD, OPTIONS).roles[0]

    assert (row.errors, row.success) == (6, 0.75)
    assert row.suggested == "frontier"


def test_an_empty_trace_is_an_empty_chart() -> None:
    report = audit(reader([]), WORLD, OPTIONS)

    assert (report.roles, report.wasteful, report.spend_nusd, report.saving.share) == ((), (), 0, None)
    assert "nothing to audit" in _shown(report)


def _shown(report: AuditReport) -> str:
    console = Console(width=140, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(audit_tables(report))
    return capture.get()


def test_table_page_and_json_say_the_same() -> None:
    report = audit(reader(team()), WORLD, OPTIONS)
    shown, page = _shown(report), render_audit(report)

    for text in ("execute", "search (sub-agent)", "minimal", "efficient"):
        assert text in shown
        assert text in page
    assert "saves between" in shown
    assert "http" not in page.replace("http-equiv", "")
    assert msgspec.json.decode(encode(report), type=AuditReport) == report
