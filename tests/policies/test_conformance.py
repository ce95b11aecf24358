"""Every row of POLICIES and every composition that ships passes every check."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import msgspec
import pytest

from agentrouter.policies import POLICIES, SHIPPED_COMPOSITIONS, Policy, build
from agentrouter.policies.checks import CHECKS, Case, check_policy, reference_cases
from agentrouter.types import Context, Decision, Reason, Step

WITH_ARGUMENT = {
    "threshold": "threshold:length",
    "explore": "explore:roles",
    "sticky": "sticky:roles",
    "escalate": "escalate:roles",
}
SPECS = sorted({*SHIPPED_COMPOSITIONS, *(WITH_ARGUMENT.get(name, name) for name in POLICIES)})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("spec", SPECS)
def test_check(spec: str, check: Callable[[Policy], None]) -> None:
    check(build(spec))


@pytest.mark.parametrize("spec", SPECS)
def test_name_builds_the_same_policy(spec: str) -> None:
    policy = build(spec)
    assert build(policy.name) == policy


@pytest.mark.parametrize("spec", SPECS)
def test_opens_no_socket(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a policy opened a socket")

    policy = build(spec)
    monkeypatch.setattr(socket, "socket", refuse)
    for step, context in reference_cases():
        policy.decide(step, context)


@pytest.mark.parametrize("spec", SPECS)
def test_latency(spec: str) -> None:
    """A decision over twelve candidates takes well under a millisecond (limit 2 ms, for slow shared machines)."""
    policy = build(spec)
    cases = reference_cases()
    best = min(timed(policy, cases) for _ in range(5))
    assert best / len(cases) < 0.002


def timed(policy: Policy, cases: list[Case]) -> float:
    start = time.perf_counter()
    for step, context in cases:
        policy.decide(step, context)
    return time.perf_counter() - start


class Broken:
    """A policy that breaks a rule, to show that the suite can fail."""

    name = "broken"
    reviews = False

    def __init__(self, break_it: Callable[[Decision], Decision]) -> None:
        self.break_it = break_it

    def decide(self, step: Step, context: Context) -> Decision:
        return self.break_it(build("roles").decide(step, context))


def halved(decision: Decision) -> Decision:
    return msgspec.structs.replace(decision, probabilities=tuple(p / 2 for p in decision.probabilities))


def test_suite_catches_wrong_probabilities() -> None:
    with pytest.raises(AssertionError, match="sum"):
        check_policy(Broken(halved))


def test_suite_catches_a_missing_name() -> None:
    nameless = Broken(lambda decision: msgspec.structs.replace(decision, reason=Reason.FIXED))
    check = next(check for check in CHECKS if check.__name__ == "check_named")
    with pytest.raises(AssertionError, match="decision says"):
        check(nameless)
