"""The way of one step: decide, call, check, accept or escalate, fall back. A pure generator.

Law: everything that decides what happens next to a step is in this file or behind ``Policy.decide``. It yields a
``Call``, receives an ``Outcome``, returns a ``StepRecord``; whoever drives it (library, gateway, replay) does the I/O.
The flow, not the policy, owns the attempt limit and drops candidates already tried. An answer of which a byte has gone
to the client is committed and never replaced.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from hashlib import blake2b

import msgspec

from agentrouter import bill
from agentrouter.eligibility import affordable
from agentrouter.errors import FailureKind
from agentrouter.policies import Policy
from agentrouter.types import (
    ACCEPT,
    Accept,
    Action,
    Attempt,
    AttemptKind,
    Call,
    Candidate,
    Context,
    Cost,
    Decision,
    DecisionRecord,
    Outcome,
    Reason,
    Slo,
    Status,
    Step,
    StepRecord,
    Tier,
)

FINAL_FAILURES = frozenset({FailureKind.BAD_REQUEST, FailureKind.CANCELLED})
"""Failures that no other candidate can mend: the request itself is wrong, or nobody waits for the answer."""

PROBABILITY_TOLERANCE = 1e-9


class FlowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the flow."""

    max_attempts: int = 3
    default_tier: Tier = Tier.FRONTIER
    """Where scorer and policy failures go."""
    seed: int = 0


Flow = Generator[Call, Outcome, StepRecord]


def route_flow(policy: Policy, step: Step, context: Context, settings: FlowSettings) -> Flow:
    """Route one step.

    Args:
        policy: what decides.
        step: the step.
        context: from ``trajectory.prepare``; its ``actions`` are the legal candidates, its ``draw`` is the first
            decision's.
        settings: attempt limit, default tier, seed.

    Yields:
        The calls to make, one at a time; ``send`` the outcome of each.

    Returns:
        The record of the step. It always has a status; a step that nobody could answer has ``served`` None.
    """
    log = _Log(step, context)
    legal = context.candidates
    kind = AttemptKind.FIRST
    action: Action = log.decide(policy, legal, settings)
    while isinstance(action, Candidate):
        tried = action
        outcome = yield Call(step=step, candidate=tried, number=len(log.attempts), kind=kind, verify=log.last_verify)
        log.attempts = (*log.attempts, _attempt(step, tried, len(log.attempts), kind, outcome))
        for verdict in outcome.verdicts:
            if verdict.failed_to_run:
                log.notes.append(f"verifier_error: {verdict.verifier}: {verdict.detail}"[:500])
        if outcome.committed:
            break
        legal = log.affordable(tuple(other for other in legal if other is not tried))
        spent = len(log.attempts) >= settings.max_attempts
        if outcome.status is not Status.OK:
            others = legal
            if outcome.status is Status.TRUNCATED:
                # Half an answer is there: a lower tier would hardly give a better one, and a step with side effects
                # may have had them.
                others = tuple(other for other in legal if other.tier >= tried.tier and step.replayable)
            if outcome.failure in FINAL_FAILURES or outcome.status is Status.CANCELLED or spent or not others:
                break
            action = log.fall_back(tried, others)
            kind = AttemptKind.FALLBACK
            continue
        if spent or not legal or not policy.reviews or not step.replayable:
            break
        action = log.decide(policy, (*legal, ACCEPT), settings)
        kind = AttemptKind.ESCALATION
    return log.close()


def draw_for(seed: int, step_id: str, number: int) -> float:
    """Return the uniform draw in [0, 1) of one decision: the same for the same seed, step and attempt number."""
    digest = blake2b(f"{seed}\0{step_id}\0{number}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


class _Log:
    """What has happened to the step so far; the one mutable thing of a flow, private to its generator."""

    def __init__(self, step: Step, context: Context) -> None:
        self.step, self.context = step, context
        self.attempts: tuple[Attempt, ...] = ()
        self.decisions: list[DecisionRecord] = []
        self.notes: list[str] = []
        self.last_verify: tuple[str, ...] = ()

    def decide(self, policy: Policy, actions: tuple[Action, ...], settings: FlowSettings) -> Action:
        context = self.context
        if self.attempts:
            draw = draw_for(settings.seed, self.step.id, len(self.attempts))
            context = msgspec.structs.replace(context, actions=actions, attempts=self.attempts, draw=draw)
        try:
            decision = policy.decide(self.step, context)
            problem = _problem(decision, actions)
        except Exception as error:  # noqa: BLE001 - listed in tests/test_architecture.py: a broken policy must not break a step
            decision, problem = None, f"{type(error).__name__}: {error}"
        if problem or decision is None:
            self.notes.append(f"policy_error: {problem}"[:500])
            decision = _fallback_decision(context, policy.name)
        self._record(decision, actions)
        self.last_verify = decision.verify
        # The legal object, not the policy's copy of it: a policy cannot smuggle in other prices or limits.
        return next(action for action in actions if action.name == decision.action.name)

    def affordable(self, legal: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Drop candidates that the step's or trajectory's budget no longer pays for, after the attempts so far."""
        context = self.context
        if context.budget.remaining_nusd is None and self.step.pins.max_cost_nusd is None:
            return legal
        spent = sum(each.cost.total + sum(v.cost_nusd for v in each.outcome.verdicts) for each in self.attempts)
        kept = affordable(
            self.step, legal, spent_nusd=spent, budget=context.budget, caches=context.caches, now=context.now
        )
        if len(kept) < len(legal):
            gone = ", ".join(each.name for each in legal if each not in kept)
            self.notes.append(
                f"budget: after {bill.format_usd(spent)} spent on this step there is not enough for {gone}"
            )
        return kept

    def fall_back(self, failed: Candidate, legal: tuple[Candidate, ...]) -> Candidate:
        """Pick another candidate after a provider's failure: the same tier first, then up, then down."""

        def order(candidate: Candidate) -> tuple[int, int, bool]:
            distance = candidate.tier - failed.tier
            # The same provider is likely to fail in the same way, so it comes last within its tier.
            return (0 if distance >= 0 else 1, abs(distance), candidate.provider == failed.provider)

        chosen = min(legal, key=order)
        self.decisions.append(
            DecisionRecord(
                action=chosen.name,
                propensity=1.0,
                probabilities={chosen.name: 1.0},
                reason=Reason.FALLBACK,
                detail=f"{failed.name} failed: {self.attempts[-1].outcome.failure or 'error'}",
                policy="flow",
            )
        )
        return chosen

    def close(self) -> StepRecord:
        served = self._served()
        last = self.attempts[-1].outcome if self.attempts else Outcome(status=Status.ERROR)
        return StepRecord(
            step=self.step,
            features=self.context.features,
            status=served.outcome.status if served is not None else last.status,
            served=served.candidate if served is not None else None,
            decisions=tuple(self.decisions),
            attempts=self.attempts,
            excluded=self.context.excluded,
            started_at=self.context.now,
            notes=tuple(self.notes),
        )

    def _served(self) -> Attempt | None:
        """The attempt whose answer the caller gets: the committed one, else the newest good one, else the newest whole
        one, else the newest that was cut (half an answer, and said to be, is more than none).
        """
        if self.attempts and self.attempts[-1].outcome.committed:
            return self.attempts[-1]
        answered = [attempt for attempt in self.attempts if attempt.outcome.status is Status.OK]
        for attempt in reversed(answered):
            if all(verdict.passed for verdict in attempt.outcome.verdicts):
                return attempt
        if not answered:
            answered = [attempt for attempt in self.attempts if attempt.outcome.status is Status.TRUNCATED]
        return answered[-1] if answered else None

    def _record(self, decision: Decision, actions: tuple[Action, ...]) -> None:
        probabilities = {action.name: p for action, p in zip(actions, decision.probabilities, strict=True) if p > 0.0}
        self.decisions.append(
            DecisionRecord(
                action=decision.action.name,
                propensity=probabilities[decision.action.name],
                probabilities=probabilities,
                reason=decision.reason,
                detail=decision.detail,
                policy=decision.policy,
                scores=decision.scores,
            )
        )


def _attempt(step: Step, candidate: Candidate, number: int, kind: AttemptKind, outcome: Outcome) -> Attempt:
    if outcome.recorded_cost_nusd is not None:
        cost = Cost(other=outcome.recorded_cost_nusd)
    else:
        cost = bill.price_usage(outcome.usage, candidate.price, batch=step.slo is Slo.BATCH)
    return Attempt(candidate=candidate, number=number, kind=kind, outcome=outcome, cost=cost)


def _problem(decision: Decision, actions: tuple[Action, ...]) -> str:
    """Say what makes the decision unusable, or return an empty string."""
    probabilities = decision.probabilities
    if len(probabilities) != len(actions):
        return f"{len(probabilities)} probabilities for {len(actions)} actions"
    total = 0.0
    mass = 0.0
    for action, p in zip(actions, probabilities, strict=True):
        if not 0.0 <= p <= 1.0:  # also false for NaN
            return f"probability {p} of {action.name}"
        total += p
        if action.name == decision.action.name:
            mass = p
    if mass <= 0.0:
        return f"action {decision.action.name} is not legal or has no probability"
    if not math.isclose(total, 1.0, abs_tol=PROBABILITY_TOLERANCE):
        return f"probabilities sum to {total}"
    return ""


def _fallback_decision(context: Context, policy: str) -> Decision:
    """What happens when a policy breaks: accept an answer that is there, else the default tier."""
    actions = context.actions
    target: Action = context.default
    if actions and isinstance(actions[-1], Accept):
        target = actions[-1]
    elif context.default not in actions:
        target = actions[0]
    return Decision(
        action=target,
        probabilities=tuple(1.0 if action is target else 0.0 for action in actions),
        reason=Reason.POLICY_ERROR,
        policy=policy,
    )
