"""Hard rules over a whole step: no attempt, first, escalated or fallen back, was ever illegal or beyond the budget."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrouter import bill
from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.eligibility import HardRules, Pin, SloLimit
from agentrouter.errors import FailureKind, NoCandidateError
from agentrouter.flow import FlowSettings, route_flow
from agentrouter.policies import build
from agentrouter.trajectory import TrajectoryState, World, advance, prepare
from agentrouter.types import (
    Call,
    Candidate,
    Outcome,
    Pins,
    Slo,
    Status,
    Step,
    Tier,
    TokenCounts,
    Verdict,
)

LABELS = ("eu", "zdr", "local")
ROLES = ("plan", "planner", "Planner", "edit", "format", "unknown", "auditor")
POLICIES = ("escalate:roles", "escalate:explore:0.5:roles", "uniform", "sticky:roles", "fixed:minimal", "length")

labels = st.frozensets(st.sampled_from(LABELS), max_size=2)
tiers = st.frozensets(st.sampled_from(list(Tier)), max_size=3)
pins = st.builds(Pin, tiers=tiers, labels=labels)
rules = st.builds(
    HardRules,
    roles=st.dictionaries(st.sampled_from(ROLES[:-1]), pins, max_size=2),
    data_classes=st.dictionaries(st.sampled_from(("pii", "public")), pins, max_size=2),
    slo=st.dictionaries(
        st.sampled_from(list(Slo)), st.builds(SloLimit, min_tier=st.sampled_from(list(Tier))), max_size=2
    ),
)
steps = st.builds(
    Step,
    id=st.just("s"),
    trajectory_id=st.just("t"),
    role=st.sampled_from(ROLES),
    tokens=st.builds(TokenCounts, input=st.integers(0, 250_000), output=st.integers(0, 4_000), estimated=st.booleans()),
    slo=st.sampled_from(list(Slo)),
    data_class=st.sampled_from(("", "", "pii", "public", "unheard-of")),
    pins=st.builds(
        Pins,
        tier=st.none() | st.sampled_from(list(Tier)),
        labels=labels,
        max_cost_nusd=st.none() | st.integers(0, 2_000_000_000),
    ),
    replayable=st.booleans(),
)
failures = st.builds(
    Outcome, status=st.sampled_from([Status.ERROR, Status.TRUNCATED]), failure=st.sampled_from([None, *FailureKind])
)
rejected = st.just(Outcome(verdicts=(Verdict(verifier="v", p_good=0.0, passed=False, cost_nusd=7_000),)))
answers = st.lists(failures | rejected | st.just(Outcome()), max_size=12)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Two models a tier, with labels of their own."""
    made = []
    for candidate in builtin_catalog().candidates:
        for copy in "ab":
            changed = {"name": f"{candidate.name}-{copy}", "provider": copy, "labels": draw(labels)}
            made.append(msgspec.structs.replace(candidate, **changed))
    return Catalog(tuple(made))


def pin_allows(pin: Pin | None, candidate: Candidate) -> bool:
    return pin is None or ((not pin.tiers or candidate.tier in pin.tiers) and pin.labels <= candidate.labels)


def is_legal(step: Step, candidate: Candidate, rules: HardRules) -> bool:
    """The rules said again, independently of ``eligibility``."""
    size = int(step.tokens.input * rules.estimate_margin) if step.tokens.estimated else step.tokens.input
    names = {"plan": {"plan", "planner", "Planner"}, "planner": {"plan", "planner", "Planner"}}
    same = {step.role} if step.role in rules.roles else names.get(step.role.lower(), {step.role})
    role_pins = [rules.roles.get(name) for name in same]
    limit = rules.slo.get(step.slo)
    return (
        size + min(max(step.tokens.output, 1_024), candidate.max_output) <= candidate.context_window
        and (step.pins.tier is None or candidate.tier is step.pins.tier)
        and step.pins.labels <= candidate.labels
        and all(pin_allows(pin, candidate) for pin in role_pins)
        and (not step.data_class or step.data_class in rules.data_classes)
        and pin_allows(rules.data_classes.get(step.data_class), candidate)
        and (limit is None or limit.min_tier is None or candidate.tier >= limit.min_tier)
    )


@settings(max_examples=300, deadline=None)
@given(
    rules=rules,
    catalog=catalogs(),
    steps=st.lists(steps, min_size=1, max_size=4),
    answers=answers,
    policy=st.sampled_from(POLICIES),
    budget=st.none() | st.integers(1, 3_000_000_000),
)
def test_every_attempt_was_legal_and_paid_for(
    rules: HardRules, catalog: Catalog, steps: list[Step], answers: list[Outcome], policy: str, budget: int | None
) -> None:
    world = World(catalog=catalog, rules=rules, settings=FlowSettings(max_attempts=6), trajectory_budget_nusd=budget)
    state, spent, script = TrajectoryState(), 0, list(answers)
    for index, raw in enumerate(steps):
        step = msgspec.structs.replace(raw, id=f"s{index}", index=index)
        try:
            context = prepare(step, state, world, float(index))
        except NoCandidateError:
            continue
        flow = route_flow(build(policy), step, context, world.settings)
        call, of_step, seen = next(flow), 0, set[str]()
        while True:
            entry = context.caches.get(call.candidate.name)
            batch = step.slo is Slo.BATCH
            quote = bill.quote(call.candidate, step.tokens, entry, context.now, batch=batch).total
            assert is_legal(step, call.candidate, rules)
            assert call.candidate.name not in seen
            assert budget is None or spent + of_step + quote <= budget
            assert step.pins.max_cost_nusd is None or of_step + quote <= step.pins.max_cost_nusd
            seen.add(call.candidate.name)
            outcome, cost = answered(call, script, bill.simulate_usage(call.candidate, step.tokens, entry, context.now))
            of_step += quote + cost
            try:
                call = flow.send(outcome)
            except StopIteration as stop:
                record = stop.value
                break
        assert record.cost_nusd == of_step
        state, spent = advance(state, record, context.now), spent + of_step
        assert state.history.spend_nusd == spent


def answered(call: Call, script: list[Outcome], usage: object) -> tuple[Outcome, int]:
    """The next outcome with the call's usage, and what its checks cost."""
    outcome = script.pop(0) if script else Outcome()
    return msgspec.structs.replace(outcome, usage=usage), sum(v.cost_nusd for v in outcome.verdicts)
