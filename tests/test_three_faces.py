"""One decision, three faces: library, replay and the bare flow decide the same steps alike.

Ten thousand seeded steps in several hundred interleaved trajectories. A recording policy notes what each face asks of
it and what it answers: same legal actions, history, caches, budget, draw; same action, reason and probabilities.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from agentrouter import bill
from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.eligibility import HardRules, Pin, SloLimit
from agentrouter.errors import FailureKind, NoCandidateError
from agentrouter.flow import FlowSettings, route_flow
from agentrouter.lab.replay import Replay
from agentrouter.lab.trace import RecordedStep
from agentrouter.policies import Policy, build
from agentrouter.providers.scripted import Scripted
from agentrouter.router import Router
from agentrouter.trajectory import TrajectoryState, World, advance, caches_for, prepare
from agentrouter.types import (
    CacheTerms,
    Call,
    CallKind,
    Context,
    Decision,
    Message,
    Outcome,
    OutputContract,
    Pins,
    Price,
    Reply,
    Slo,
    Status,
    Step,
    StepRecord,
    Tier,
    TokenCounts,
    Tool,
    ToolCall,
)

POLICIES = ("roles", "explore:0.1:roles", "sticky:roles", "length", "rules", "escalate:roles")
STEPS = 1_680
"""For each policy; 6 x 1,680 = 10,080 in all."""
TRAJECTORIES = 60
ROLES = ("plan", "planner", "edit", "execute", "format", "tool_call", "retrieve", "verify", "summarise", "unknown", "x")
TOOL = Tool(name="look", description="Look at a file.", parameters='{"type":"object"}')


def world(seed: int) -> World:
    """The built-in tiers with a second candidate in two of them, so that caches and prices decide within a tier."""
    first = builtin_catalog().candidates
    cheap = msgspec.structs.replace(
        first[2],
        name="example/mid-b",
        model="mid-b",
        price=Price(input=900_000, output=6_000_000, cache_read=450_000, cache_write=900_000),
        cache=CacheTerms(ttl_s=60.0, min_tokens=1_024, step_tokens=128, writes_billed=False),
        context_window=40_000,
    )
    small = msgspec.structs.replace(
        first[0],
        name="example/minimal-b",
        model="minimal-b",
        cache=CacheTerms(enabled=False),
        labels=frozenset({"local"}),
        ttft_ms=900.0,
    )
    return World(
        catalog=Catalog((first[0], small, first[1], cheap, first[2], first[3])),
        rules=HardRules(
            roles={"verify": Pin(tiers=frozenset({Tier.MID, Tier.FRONTIER}))},
            data_classes={"secret": Pin(labels=frozenset({"local"}))},
            slo={Slo.REALTIME: SloLimit(max_ttft_ms=500.0), Slo.PREMIUM: SloLimit(min_tier=Tier.MID)},
        ),
        settings=FlowSettings(seed=seed),
        # Some trajectories run out of it, after which no candidate is legal.
        trajectory_budget_nusd=600_000_000,
    )


def steps(seed: int) -> list[tuple[float, Step]]:
    """Interleaved steps with their times: growing prompts, rewritten ones, pauses longer than a cache lives."""
    draw = random.Random(seed)
    size = [draw.randint(200, 6_000) for _ in range(TRAJECTORIES)]
    clock = [1_000.0 + draw.random() * 500 for _ in range(TRAJECTORIES)]
    index = [0] * TRAJECTORIES
    listed = []
    for _ in range(STEPS):
        which = draw.randrange(TRAJECTORIES)
        clock[which] += draw.choice((0.0, 2.0, 15.0, 45.0, 70.0, 400.0))
        size[which] = draw.randint(200, 3_000) if draw.random() < 0.05 else size[which] + draw.randint(0, 4_000)
        listed.append((clock[which], _step(draw, f"{seed}-{which}", index[which], size[which])))
        index[which] += 1
    return listed


def _step(draw: random.Random, trajectory: str, index: int, size: int) -> Step:
    tools = (TOOL,) if draw.random() < 0.6 else ()
    forms = [
        OutputContract(),
        OutputContract(form="json"),
        OutputContract(form="json_schema", schema='{"type":"object"}'),
    ]
    failed = draw.random() < 0.15
    return Step(
        id=f"{trajectory}/{index}",
        trajectory_id=trajectory,
        index=index,
        role=draw.choice(ROLES),
        kind=draw.choice((CallKind.MAIN,) * 8 + (CallKind.TITLE, CallKind.SUBAGENT)),
        messages=(
            Message(role="system", text="You work on code."),
            Message(role="user", text=draw.choice(("Plan the work.", "Fix the bug in a.py", "Sum it up?"))),
            Message(role="assistant", tool_calls=(ToolCall(id="c", name="look", arguments='{"path":"a"}'),)),
            Message(role="tool", tool_call_id="c", text="Error: none" if failed else "def a(): ...", is_error=failed),
        ),
        tools=tools,
        output=OutputContract(form="tool") if tools and draw.random() < 0.2 else draw.choice(forms),
        tokens=TokenCounts(
            input=size,
            output=draw.randint(1, 900),
            cacheable=-1 if draw.random() < 0.7 else draw.randint(0, size),
            estimated=draw.random() < 0.5,
        ),
        slo=draw.choice((Slo.STANDARD,) * 6 + (Slo.REALTIME, Slo.PREMIUM)),
        data_class="secret" if draw.random() < 0.02 else "",
        pins=Pins(tier=draw.choice((None,) * 15 + tuple(Tier))),
        replayable=draw.random() < 0.8,
        prefix_hash=draw.choice(("main",) * 8 + ("title", "helper")),
    )


class Recording:
    """A policy that notes what it is asked and what it answers."""

    def __init__(self, inner: Policy) -> None:
        self.inner, self.name, self.reviews = inner, inner.name, inner.reviews
        self.first: dict[str, tuple[Any, ...]] = {}
        self.later: dict[str, list[tuple[Any, ...]]] = {}

    def decide(self, step: Step, context: Context) -> Decision:
        decision = self.inner.decide(step, context)
        asked = (
            *([action.name for action in context.actions], context.history, context.caches, context.budget),
            *(context.draw, context.now, context.features, context.excluded, context.default.name),
            *(step.tokens, [attempt.candidate.name for attempt in context.attempts]),
        )
        answered = (decision.action.name, decision.reason, decision.probabilities, decision.policy, decision.detail)
        if context.attempts:
            self.later.setdefault(step.id, []).append((asked, answered))
        else:
            assert step.id not in self.first
            self.first[step.id] = (asked, answered)
        return decision


def answer(call: Call, state: TrajectoryState, now: float) -> Outcome:
    """A good answer of the recorded length, with the usage that the simulated prompt cache gives."""
    entry = caches_for(call.step, state).get(call.candidate.name)
    calls = (ToolCall(id="n", name="look", arguments="{}"),) if call.step.output.form == "tool" else ()
    reply = Reply(text="" if calls else "{}", tool_calls=calls, finish="tool_calls" if calls else "stop")
    return Outcome(reply=reply, usage=bill.simulate_usage(call.candidate, call.step.tokens, entry, now))


Face = tuple[Recording, dict[str, TrajectoryState], list[StepRecord]]


def by_library(listed: list[tuple[float, Step]], spec: str, seed: int) -> Face:
    policy, now, records = Recording(build(spec)), [0.0], list[StepRecord]()
    provider = Scripted(lambda call: answer(call, router.sessions.state(call.step.trajectory_id), now[0]))
    router = Router(world(seed), policy, providers={"example": provider}, clock=lambda: now[0])

    async def drive() -> None:
        for now[0], step in listed:
            try:
                records.append(await router.run(step))
            except NoCandidateError:
                continue

    asyncio.run(drive())
    return policy, {step.trajectory_id: router.sessions.state(step.trajectory_id) for _, step in listed}, records


def by_flow(listed: list[tuple[float, Step]], spec: str, seed: int) -> Face:
    policy, chosen, records = Recording(build(spec)), world(seed), list[StepRecord]()
    states = {step.trajectory_id: TrajectoryState() for _, step in listed}
    for now, step in listed:
        state = states[step.trajectory_id]
        try:
            flow = route_flow(policy, step, prepare(step, state, chosen, now), chosen.settings)
        except NoCandidateError:
            continue
        call = next(flow)
        while True:
            try:
                call = flow.send(answer(call, state, now))
            except StopIteration as stop:
                records.append(stop.value)
                states[step.trajectory_id] = advance(state, stop.value, now)
                break
    return policy, states, records


def by_replay(listed: list[tuple[float, Step]], spec: str, seed: int, model: str) -> Face:
    policy = Recording(build(spec))
    engine = Replay(policy, world(seed))
    for now, step in listed:
        # A step whose model is unknown is in no way the recorded call, so the flow runs to its own end.
        cost = None if model else 1
        engine.feed(RecordedStep(step=step, model=model, cost_nusd=cost, started_at=now))
    return policy, {name: live.state for name, live in engine._live.items()}, []


def by_route(listed: list[tuple[float, Step]], spec: str, seed: int) -> Face:
    policy, now = Recording(build(spec)), [0.0]
    router = Router(world(seed), policy, clock=lambda: now[0])
    for now[0], step in listed:
        try:
            router.route(step)
        except NoCandidateError:
            continue
    return policy, {step.trajectory_id: router.sessions.state(step.trajectory_id) for _, step in listed}, []


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]


@pytest.mark.parametrize("spec", POLICIES)
def test_library_replay_and_flow_decide_alike(spec: str) -> None:
    seed = POLICIES.index(spec)
    listed = steps(seed)
    library, states, records = by_library(listed, spec, seed)
    flow, flow_states, flow_records = by_flow(listed, spec, seed)
    replay, replay_states, _ = by_replay(listed, spec, seed, model="")
    for other, other_states in ((flow, flow_states), (replay, replay_states)):
        assert differing(library.first, other.first) == []
        assert differing(library.later, other.later) == []
        assert differing(states, other_states) == []
    assert [(each.step.id, each.served, each.cost_nusd) for each in records] == [
        (each.step.id, each.served, each.cost_nusd) for each in flow_records
    ]
    # The steps are worth comparing: nearly all are decided, some find no candidate, more than one tier is used.
    assert STEPS * 0.5 < len(library.first) < STEPS
    assert len({action for _, (action, *_) in library.first.values()}) >= 4
    assert (len(library.later) > STEPS * 0.3) == library.reviews


@pytest.mark.parametrize("spec", ["sticky:roles", "escalate:roles"])
def test_first_decisions_are_alike_where_the_recorded_model_ran_and_where_nothing_is_called(spec: str) -> None:
    seed = 100 + POLICIES.index(spec)
    listed = steps(seed)
    library, states, _ = by_library(listed, spec, seed)
    replay, replay_states, _ = by_replay(listed, spec, seed, model="example/mid")
    route, route_states, _ = by_route(listed, spec, seed)
    for other, other_states in ((replay, replay_states), (route, route_states)):
        assert differing(library.first, other.first) == []
        assert differing(states, other_states) == []


@pytest.mark.parametrize("spec", ["escalate:roles", "escalate:sticky:roles", "explore:0.3:roles"])
def test_the_flow_fed_with_what_the_library_met_gives_the_librarys_records(spec: str) -> None:
    """Answers that fail their checks, provider failures and truncations included."""
    seed = 1_000
    listed = steps(seed)[:1_000]
    policy, now, records = build(spec), [0.0], list[StepRecord]()

    def script(call: Call) -> Outcome:
        draw = random.Random(f"{call.step.id} {call.number}").random()
        if draw < 0.15:
            return Outcome(status=Status.ERROR, failure=FailureKind.OVERLOADED, failure_detail="busy")
        if draw < 0.2:
            return Outcome(status=Status.ERROR, failure=FailureKind.BAD_REQUEST)
        good = answer(call, router.sessions.state(call.step.trajectory_id), now[0])
        if draw < 0.25:
            return msgspec.structs.replace(good, status=Status.TRUNCATED)
        return msgspec.structs.replace(good, reply=Reply(text="not json")) if draw < 0.6 else good

    router = Router(world(seed), policy, providers={"example": Scripted(script)}, clock=lambda: now[0])

    async def drive() -> None:
        for now[0], step in listed:
            try:
                records.append(await router.run(step))
            except NoCandidateError:
                continue

    asyncio.run(drive())
    chosen, states = world(seed), {step.trajectory_id: TrajectoryState() for _, step in listed}
    again = list[StepRecord]()
    for record in records:
        step, state = record.step, states[record.step.trajectory_id]
        flow = route_flow(policy, step, prepare(step, state, chosen, record.started_at), chosen.settings)
        call = next(flow)
        for attempt in record.attempts:
            assert (call.candidate, call.number, call.kind) == (attempt.candidate, attempt.number, attempt.kind)
            try:
                call = flow.send(attempt.outcome)
            except StopIteration as stop:
                again.append(stop.value)
                states[step.trajectory_id] = advance(state, stop.value, record.started_at)
    assert again == records
    kinds = {attempt.kind for record in records for attempt in record.attempts}
    assert len(kinds) == (3 if policy.reviews else 2)
    assert {record.status for record in records} >= {Status.OK, Status.ERROR}
