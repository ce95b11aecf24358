"""The generator flow: decide, call, check, accept or escalate, fall back."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from agentrouter.catalog import builtin_catalog
from agentrouter.errors import FailureKind
from agentrouter.flow import FlowSettings, draw_for, route_flow
from agentrouter.policies import Policy, build
from agentrouter.trajectory import TrajectoryState, World, prepare
from agentrouter.types import (
    Accept,
    AttemptKind,
    Call,
    Context,
    Decision,
    Outcome,
    Pins,
    Reason,
    Reply,
    Status,
    Step,
    StepRecord,
    Tier,
    TokenCounts,
    Usage,
    Verdict,
)

WORLD = World(catalog=builtin_catalog())
STEP = Step(id="t/0", trajectory_id="t", role="format", tokens=TokenCounts(input=1_000, output=100))
GOOD = Outcome(reply=Reply(text="fine"), usage=Usage(fresh_input=1_000, output=100))
BAD = msgspec.structs.replace(
    GOOD, verdicts=(Verdict(verifier="contract", p_good=0.0, passed=False, detail="not JSON"),)
)


def failure(kind: FailureKind, **fields: object) -> Outcome:
    return msgspec.structs.replace(Outcome(status=Status.ERROR, failure=kind), **fields)


def run(
    policy: str | Policy,
    answer: Callable[[Call], Outcome],
    step: Step = STEP,
    settings: FlowSettings | None = None,
) -> tuple[StepRecord, list[Call]]:
    settings = settings or FlowSettings()
    chosen = build(policy) if isinstance(policy, str) else policy
    flow = route_flow(chosen, step, prepare(step, TrajectoryState(), WORLD, 0.0), settings)
    calls = [next(flow)]
    while True:
        try:
            calls.append(flow.send(answer(calls[-1])))
        except StopIteration as stop:
            return stop.value, calls


def test_one_good_answer_is_one_call() -> None:
    record, calls = run("roles", lambda _: GOOD)
    assert [call.candidate.tier for call in calls] == [Tier.MINIMAL]
    assert record.status is Status.OK
    assert record.served is calls[0].candidate
    assert [decision.reason for decision in record.decisions] == [Reason.ROLE]
    # 1,000 fresh tokens at 0.10 USD/M = 100 micro-dollars; 100 output tokens at 0.40 = 40.
    assert record.cost_nusd == 140_000


def test_a_failed_check_goes_one_tier_up_until_one_passes() -> None:
    record, calls = run("escalate:roles", lambda call: GOOD if call.candidate.tier is Tier.MID else BAD)
    assert [call.candidate.tier for call in calls] == [Tier.MINIMAL, Tier.EFFICIENT, Tier.MID]
    assert [call.kind for call in calls] == [AttemptKind.FIRST, AttemptKind.ESCALATION, AttemptKind.ESCALATION]
    assert record.escalated
    assert record.served is calls[-1].candidate
    # 1.0 k in and 0.1 k out at 0.10/0.40, 0.30/1.20 and 1.00/5.00: 140 + 420 + 1500 micro-dollars, all three billed.
    assert record.cost_nusd == (140 + 420 + 1_500) * 1_000


def test_the_flow_owns_the_attempt_limit() -> None:
    record, calls = run("escalate:roles", lambda _: BAD, settings=FlowSettings(max_attempts=2))
    assert len(calls) == 2
    assert record.status is Status.OK  # there is an answer, and its verdict says that it failed
    assert record.served is calls[-1].candidate
    assert not record.attempts[-1].outcome.verdicts[0].passed


def test_a_policy_that_does_not_review_is_asked_once() -> None:
    record, calls = run("roles", lambda _: BAD)
    assert len(calls) == len(record.decisions) == 1


def test_a_committed_answer_is_never_replaced() -> None:
    committed = msgspec.structs.replace(BAD, committed=True)
    record, calls = run("escalate:roles", lambda _: committed)
    assert len(calls) == 1
    assert record.served is calls[0].candidate


def test_a_committed_failure_is_not_followed_by_another_models_text() -> None:
    record, calls = run("roles", lambda _: failure(FailureKind.CONNECTION, committed=True, status=Status.TRUNCATED))
    assert len(calls) == 1
    assert record.status is Status.TRUNCATED


def test_a_step_with_side_effects_is_not_escalated() -> None:
    record, calls = run("escalate:roles", lambda _: BAD, msgspec.structs.replace(STEP, replayable=False))
    assert len(calls) == 1
    assert record.status is Status.OK


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - {FailureKind.BAD_REQUEST, FailureKind.CANCELLED}))
def test_a_providers_failure_falls_back(kind: FailureKind) -> None:
    record, calls = run("fixed:efficient", lambda call: failure(kind) if call.number == 0 else GOOD)
    assert [call.candidate.tier for call in calls] == [Tier.EFFICIENT, Tier.MID]
    assert [call.kind for call in calls] == [AttemptKind.FIRST, AttemptKind.FALLBACK]
    assert record.status is Status.OK
    assert record.decisions[-1].reason is Reason.FALLBACK
    assert not record.escalated


@pytest.mark.parametrize("kind", [FailureKind.BAD_REQUEST, FailureKind.CANCELLED])
def test_what_no_other_candidate_can_mend_ends_the_step(kind: FailureKind) -> None:
    record, calls = run("fixed:efficient", lambda _: failure(kind))
    assert len(calls) == 1
    assert record.status is Status.ERROR
    assert record.served is None
    assert record.cost_nusd == 0


def test_all_fallbacks_failing_ends_with_every_attempt_recorded() -> None:
    record, calls = run("fixed:frontier", lambda _: failure(FailureKind.OVERLOADED))
    assert [call.candidate.tier for call in calls] == [Tier.FRONTIER, Tier.MID, Tier.EFFICIENT]
    assert len(record.attempts) == 3
    assert record.status is Status.ERROR
    assert record.reply is None


def test_half_an_answer_is_served_as_such_when_there_is_no_whole_one() -> None:
    cut = Outcome(status=Status.TRUNCATED, reply=Reply(text="half", finish="length"), usage=GOOD.usage)

    def answer(call: Call) -> Outcome:
        return cut if call.number == 0 else failure(FailureKind.OVERLOADED)

    record, calls = run("fixed:efficient", answer)
    assert len(calls) == 3
    assert record.status is Status.TRUNCATED
    assert record.served is calls[0].candidate
    assert record.reply == cut.reply


@pytest.mark.parametrize(("replayable", "expected"), [(True, [Tier.MID, Tier.FRONTIER]), (False, [Tier.MID])])
def test_a_cut_answer_goes_up_never_down_and_not_twice_where_it_may_have_acted(
    replayable: bool, expected: list[Tier]
) -> None:
    cut = Outcome(status=Status.TRUNCATED, reply=Reply(text="half", finish="length"), usage=GOOD.usage)
    record, calls = run("fixed:mid", lambda _: cut, msgspec.structs.replace(STEP, replayable=replayable))
    assert [call.candidate.tier for call in calls] == expected
    assert record.served is calls[-1].candidate


def test_an_earlier_answer_serves_when_the_escalation_fails() -> None:
    def answer(call: Call) -> Outcome:
        return BAD if call.number == 0 else failure(FailureKind.SERVER_ERROR)

    record, calls = run("escalate:roles", answer)
    assert len(calls) == 3
    assert record.status is Status.OK
    assert record.served is calls[0].candidate


class Misbehaving:
    """A policy whose first decision is made by a function."""

    name = "misbehaving"
    reviews = False

    def __init__(self, make: Callable[[Context], Decision]) -> None:
        self.make = make

    def decide(self, step: Step, context: Context) -> Decision:
        return self.make(context)


def raising(context: Context) -> Decision:
    raise KeyError("no such role")


def uneven(context: Context) -> Decision:
    return Decision(action=context.actions[0], probabilities=(0.5, 0.5, 0.5, 0.5), reason=Reason.FIXED)


def not_a_number(context: Context) -> Decision:
    return Decision(action=context.actions[0], probabilities=(math.nan, 0.0, 0.0, 0.0), reason=Reason.FIXED)


def illegal(context: Context) -> Decision:
    stranger = msgspec.structs.replace(context.default, name="evil/model")
    return Decision(action=stranger, probabilities=(1.0, 0.0, 0.0, 0.0), reason=Reason.FIXED)


def unearned_accept(context: Context) -> Decision:
    return Decision(action=Accept(), probabilities=(1.0, 0.0, 0.0, 0.0), reason=Reason.FIXED)


@pytest.mark.parametrize("make", [raising, uneven, not_a_number, illegal, unearned_accept])
def test_a_broken_policy_means_the_default_tier_noted(make: Callable[[Context], Decision]) -> None:
    record, calls = run(Misbehaving(make), lambda _: GOOD, settings=FlowSettings(default_tier=Tier.FRONTIER))
    assert [call.candidate.tier for call in calls] == [Tier.FRONTIER]
    assert record.decisions[0].reason is Reason.POLICY_ERROR
    assert record.notes[0].startswith("policy_error")
    assert record.status is Status.OK


def test_a_policy_cannot_smuggle_in_other_prices() -> None:
    def dearer(context: Context) -> Decision:
        chosen = context.candidates[0]
        fake = msgspec.structs.replace(chosen, price=msgspec.structs.replace(chosen.price, input=1))
        return Decision(action=fake, probabilities=(1.0, 0.0, 0.0, 0.0), reason=Reason.FIXED)

    record, _ = run(Misbehaving(dearer), lambda _: GOOD)
    assert record.cost_nusd == 140_000


def test_the_draw_depends_on_seed_step_and_attempt_only() -> None:
    assert draw_for(1, "a", 0) == draw_for(1, "a", 0)
    assert len({draw_for(1, "a", 0), draw_for(2, "a", 0), draw_for(1, "b", 0), draw_for(1, "a", 1)}) == 4
    draws = [draw_for(0, f"step-{number}", 0) for number in range(10_000)]
    assert 0.0 <= min(draws) < max(draws) < 1.0
    # The mean of 10,000 uniform draws has a standard error of 0.0029.
    assert abs(sum(draws) / len(draws) - 0.5) < 0.015
    assert 0.0 <= draw_for(0, "\ud800", 0) < 1.0


def test_the_record_keeps_the_whole_distribution() -> None:
    record, _ = run("explore:0.2:roles", lambda _: GOOD)
    decision = record.decisions[0]
    assert decision.probabilities == pytest.approx(
        {"example/minimal": 0.85, "example/efficient": 0.05, "example/mid": 0.05, "example/frontier": 0.05}
    )
    assert decision.propensity == decision.probabilities[decision.action]


def test_an_escalation_that_the_budget_no_longer_pays_for_is_not_made() -> None:
    # minimal costs 140 micro-dollars (above) and its prompt cache write another 25; mid would cost 1,750 more.
    step = msgspec.structs.replace(STEP, pins=Pins(max_cost_nusd=1_800_000))
    record, calls = run("escalate:roles", lambda _: BAD, step)
    assert [call.candidate.tier for call in calls] == [Tier.MINIMAL, Tier.EFFICIENT]
    assert record.cost_nusd <= 1_800_000
    assert any(
        note.startswith("budget: after $0.000140 spent") and note.endswith("example/mid") for note in record.notes
    )
