"""The conformance suite of policies: what every policy, and every composition that ships, must hold.

Public: ``for check in CHECKS: check(policy)``. Each check raises ``AssertionError`` with a sentence. Pure: the latency
limit and the no-socket rule are checked by tests/policies/test_conformance.py, which may use a clock.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import msgspec

from agentrouter import bill
from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.flow import FlowSettings, draw_for
from agentrouter.policies import Policy, policy_hash
from agentrouter.trajectory import TrajectoryState, World, prepare
from agentrouter.types import (
    ACCEPT,
    Accept,
    Attempt,
    AttemptKind,
    CacheEntry,
    CallKind,
    Candidate,
    Context,
    Cost,
    Decision,
    Message,
    Outcome,
    OutputContract,
    PastStep,
    Reply,
    Status,
    Step,
    Tier,
    TokenCounts,
    Tool,
    Verdict,
)

Case = tuple[Step, Context]


def reference_cases() -> list[Case]:
    """Return steps and contexts that between them meet every branch a policy is likely to have."""
    world = World(catalog=_twelve_candidates(), settings=FlowSettings())
    cases = [_case(step, world, TrajectoryState()) for step in _reference_steps()]
    for tier in Tier:
        cases.append(_case(_step("warm", index=3, size=40_000), world, _warm_state(tier, world)))
    narrow = World(catalog=Catalog(world.catalog.candidates[-1:]))
    cases.append(_case(_step("one-action"), narrow, TrajectoryState()))
    cases += [_after_attempt(case, passed=passed) for case in cases[:2] for passed in (True, False)]
    return cases


def check_actions_are_legal(policy: Policy) -> None:
    """The action is one of the context's."""
    for step, context in reference_cases():
        action = policy.decide(step, context).action
        assert action in context.actions, f"{policy.name} chose {action.name} on {step.id}, which is not legal"


def check_probabilities(policy: Policy) -> None:
    """Probabilities are parallel to the actions, finite, sum to 1, and the action taken has one above 0."""
    for step, context in reference_cases():
        decision = policy.decide(step, context)
        assert len(decision.probabilities) == len(context.actions), f"{policy.name} on {step.id}: wrong length"
        assert all(math.isfinite(p) and 0.0 <= p <= 1.0 for p in decision.probabilities), f"{policy.name} on {step.id}"
        assert math.isclose(sum(decision.probabilities), 1.0, abs_tol=1e-9), f"{policy.name} on {step.id}: sum"
        taken = decision.probabilities[context.actions.index(decision.action)]
        assert taken > 0.0, f"{policy.name} took an action of probability 0 on {step.id}"


def check_deterministic(policy: Policy) -> None:
    """The same step and context give the same decision, and the draw is the only chance there is."""
    for step, context in reference_cases():
        first, second = policy.decide(step, context), policy.decide(step, context)
        assert first == second, f"{policy.name} is not deterministic on {step.id}"
        for draw in (0.0, 0.37, 1.0 - 2**-53):
            other = policy.decide(step, msgspec.structs.replace(context, draw=draw))
            assert other.probabilities == first.probabilities, f"{policy.name}: the draw changes propensities"


def check_draw_follows_probabilities(policy: Policy) -> None:
    """Over many draws each action comes up as often as its propensity says (within five standard errors)."""
    draws = 2_000
    for step, context in reference_cases()[:3]:
        expected = policy.decide(step, context).probabilities
        counts = [0] * len(context.actions)
        for number in range(draws):
            redrawn = msgspec.structs.replace(context, draw=draw_for(7, step.id, number))
            counts[context.actions.index(policy.decide(step, redrawn).action)] += 1
        for count, p in zip(counts, expected, strict=True):
            error = 5.0 * math.sqrt(max(p * (1.0 - p), 1e-12) / draws)
            assert abs(count / draws - p) <= error, f"{policy.name}: drawn {count / draws:.3f}, propensity {p:.3f}"


def check_inputs_unchanged(policy: Policy) -> None:
    """Neither step nor context is changed."""
    for step, context in reference_cases():
        before = msgspec.json.encode((step, context))
        policy.decide(step, context)
        assert msgspec.json.encode((step, context)) == before, f"{policy.name} changed its inputs on {step.id}"


def check_pickles(policy: Policy) -> None:
    """A pickled copy decides alike (the lab sends policies to worker processes)."""
    copy: Policy = pickle.loads(pickle.dumps(policy))  # noqa: S301 - our own bytes, just written
    for step, context in reference_cases():
        assert copy.decide(step, context) == policy.decide(step, context), f"the copy of {policy.name} differs"


def check_hash(policy: Policy) -> None:
    """The repr holds the parameters: equal policies have equal hashes, and it shows no memory address."""
    assert " at 0x" not in repr(policy), f"the repr of {policy.name} does not show its parameters"
    assert policy_hash(policy) == policy_hash(pickle.loads(pickle.dumps(policy)))  # noqa: S301 - as above


def check_named(policy: Policy) -> None:
    """Every decision carries the policy's name and a reason."""
    for step, context in reference_cases():
        decision: Decision = policy.decide(step, context)
        assert decision.policy == policy.name, f"decision says {decision.policy!r}, policy is {policy.name!r}"
        assert decision.reason, f"{policy.name} gives no reason on {step.id}"


def check_accepts_good_answers(policy: Policy) -> None:
    """An answer that passed every check is accepted."""
    for step, context in reference_cases():
        if isinstance(context.actions[-1], Accept) and context.attempts[-1].outcome.verdicts[0].passed:
            action = policy.decide(step, context).action
            assert action is context.actions[-1], f"{policy.name} did not accept a good answer"


CHECKS: tuple[Callable[[Policy], None], ...] = (
    check_actions_are_legal,
    check_probabilities,
    check_deterministic,
    check_draw_follows_probabilities,
    check_inputs_unchanged,
    check_pickles,
    check_hash,
    check_named,
    check_accepts_good_answers,
)


def check_policy(policy: Policy) -> None:
    """Run every check.

    Raises:
        AssertionError: the first that fails.
    """
    for check in CHECKS:
        check(policy)


def _twelve_candidates() -> Catalog:
    made = []
    for candidate in builtin_catalog().candidates:
        for copy, factor in (("a", 4), ("b", 3), ("c", 5)):
            price = msgspec.structs.replace(
                candidate.price, input=candidate.price.input * factor // 4, output=candidate.price.output * factor // 4
            )
            made.append(msgspec.structs.replace(candidate, name=f"{candidate.name}-{copy}", model=copy, price=price))
    return Catalog(tuple(made))


def _step(id: str, *, index: int = 0, size: int = 1_200, role: str = "unknown") -> Step:
    return Step(
        id=f"reference/{id}",
        trajectory_id="reference",
        index=index,
        role=role,
        messages=(Message(role="user", text="Plan the work, then start."),),
        tokens=TokenCounts(input=size, output=200),
    )


def _reference_steps() -> list[Step]:
    plain = _step("plain")
    replace = msgspec.structs.replace
    tools = (Tool(name="run_sql", parameters='{"type":"object"}'), Tool(name="transfer_to_sales"))
    failed_call = (
        Message(role="user", text="Count the orders."),
        Message(role="assistant", text=""),
        Message(role="tool", text="Traceback (most recent call last): ...", tool_call_id="1", is_error=True),
    )
    return [
        plain,
        _step("long", size=90_000, role="planner"),
        _step("short", size=20, role="format"),
        _step("custom-role", role="Senior Researcher"),
        replace(plain, id="reference/empty", messages=(), tokens=TokenCounts()),
        replace(plain, id="reference/title", kind=CallKind.TITLE),
        replace(plain, id="reference/tools", tools=tools, messages=failed_call),
        replace(plain, id="reference/schema", output=OutputContract(form="json_schema", schema="{}")),
        replace(
            plain, id="reference/odd-text", messages=(Message(role="user", text="\0\u2028 \U0001f469\u200d\U0001f4bb"),)
        ),
    ]


def _case(step: Step, world: World, state: TrajectoryState) -> Case:
    context = prepare(step, state, world, now=1_000.0)
    return step, msgspec.structs.replace(context, draw=draw_for(0, step.id, 0))


def _warm_state(tier: Tier, world: World) -> TrajectoryState:
    last = world.catalog.in_tier(tier)[0]
    past = PastStep(
        index=2,
        role="worker",
        tier=tier,
        candidate=last.name,
        status=Status.OK,
        escalated=False,
        cost_nusd=1_000,
        output_tokens=200,
    )
    state = TrajectoryState(lineages={"": {last.name: CacheEntry(39_000, 1_200.0)}})
    return msgspec.structs.replace(state, history=state.history.after(past))


def _after_attempt(case: Case, *, passed: bool) -> Case:
    """The context after one answer that passed or failed its check."""
    step, context = case
    tried = context.actions[0]
    assert isinstance(tried, Candidate)
    verdict = Verdict(verifier="contract", p_good=float(passed), passed=passed)
    usage = bill.simulate_usage(tried, step.tokens, None, context.now)
    outcome = Outcome(reply=Reply(text="an answer"), usage=usage, verdicts=(verdict,))
    attempt = Attempt(candidate=tried, number=0, kind=AttemptKind.FIRST, outcome=outcome, cost=Cost(output=5))
    actions = (*context.actions[1:], ACCEPT)
    return step, msgspec.structs.replace(context, actions=actions, attempts=(attempt,))
