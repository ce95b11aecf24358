"""Hand-made step records for the ledger's tests."""

from __future__ import annotations

import msgspec

from agentrouter.errors import FailureKind
from agentrouter.types import (
    Attempt,
    AttemptKind,
    CallKind,
    Candidate,
    Capability,
    Cost,
    DecisionRecord,
    DependencyFeatures,
    Exclusion,
    LoadFeatures,
    Message,
    Outcome,
    OutputContract,
    Pins,
    Price,
    Reason,
    Reply,
    RoleFeatures,
    Scores,
    SemanticFeatures,
    StateFeatures,
    Status,
    Step,
    StepFeatures,
    StepRecord,
    Tier,
    TokenCounts,
    Tool,
    ToolCall,
    Usage,
    Verdict,
)

PRICES = {
    Tier.MINIMAL: (100_000, 400_000),
    Tier.EFFICIENT: (300_000, 1_200_000),
    Tier.MID: (1_000_000, 5_000_000),
    Tier.FRONTIER: (5_000_000, 25_000_000),
}


def candidate(tier: Tier, *, provider: str = "example") -> Candidate:
    per_input, per_output = PRICES[tier]
    price = Price(input=per_input, output=per_output, cache_read=per_input // 10, cache_write=per_input * 5 // 4)
    return Candidate(
        name=f"{provider}/{tier.label}",
        provider=provider,
        model=f"{tier.label}-1",
        tier=tier,
        price=price,
        capabilities=frozenset({Capability.TOOLS, Capability.JSON_SCHEMA, Capability.VISION}),
        labels=frozenset({"eu", "zdr"}),
    )


def features(instruction: str = "Rename the function.") -> StepFeatures:
    return StepFeatures(
        role=RoleFeatures(role="edit", kind=CallKind.MAIN, verb="edit", is_tool_result=False, asks_question=False),
        semantics=SemanticFeatures(instruction=instruction, observation=""),
        load=LoadFeatures(
            prefix_tokens=900,
            new_tokens=100,
            n_messages=2,
            n_tools=1,
            tool_schema_tokens=20,
            code_share=0.5,
            data_share=0.0,
            n_images=0,
            n_files=0,
        ),
        state=StateFeatures(
            step_index=0,
            errors=0,
            steps_since_error=-1,
            last_is_error=False,
            repeated_calls=0,
            retries=0,
            tool_results=0,
            recent_tiers=(),
            switches=0,
            foreign_share=0.0,
        ),
        dependency=DependencyFeatures(reversible=True, contract_strictness=2, fan_out=0.25),
    )


def step(id: str = "s-1", *, trajectory: str = "t-1", index: int = 0, retry: int = 0, role: str = "edit") -> Step:
    return Step(
        id=id,
        trajectory_id=trajectory,
        index=index,
        parent_id="t-0",
        role=role,
        kind=CallKind.SUBAGENT,
        retry=retry,
        messages=(
            Message(role="system", text="You edit code."),
            Message(role="user", text="Rename the function."),
        ),
        tools=(Tool(name="edit_file", parameters='{"type":"object"}'),),
        output=OutputContract(form="json_schema", schema='{"title":"private"}', max_tokens=500),
        tokens=TokenCounts(input=1_000, output=50, cacheable=900),
        pins=Pins(labels=frozenset({"eu"})),
        prefix_hash="0123abcd",
    )


def attempt(
    tier: Tier,
    *,
    number: int = 1,
    kind: AttemptKind = AttemptKind.FIRST,
    usage: Usage | None = None,
    cost: Cost | None = None,
    checks: int = 0,
) -> Attempt:
    verdict = Verdict(verifier="judge", p_good=0.25, passed=False, detail="too short", cost_nusd=checks)
    return Attempt(
        candidate=candidate(tier),
        number=number,
        kind=kind,
        outcome=Outcome(
            reply=Reply(
                text="Renamed it.",
                tool_calls=(ToolCall(id="c-1", name="edit_file", arguments='{"path":"a.py"}'),),
                finish="tool_calls",
                logprobs=(-0.5, -0.25),
            ),
            usage=usage or Usage(fresh_input=100, cache_read=800, cache_write=100, output=50, reasoning=10),
            latency_ms=250.0,
            ttft_ms=100.0,
            verdicts=(verdict,) if checks else (),
        ),
        cost=cost or Cost(fresh_input=10_000, cache_read=8_000, cache_write=12_500, output=20_000),
    )


def failed(tier: Tier, *, number: int = 1) -> Attempt:
    return Attempt(
        candidate=candidate(tier),
        number=number,
        kind=AttemptKind.FIRST,
        outcome=Outcome(
            status=Status.ERROR,
            reply=Reply(finish="unknown"),
            latency_ms=40.0,
            failure=FailureKind.RATE_LIMIT,
            failure_detail="429: slow down",
            retry_after_s=30.0,
        ),
        cost=Cost(),
    )


def record(made: Step | None = None, *attempts: Attempt, status: Status = Status.OK, at: float = 1.8e9) -> StepRecord:
    """A step with these attempts (default: one of the efficient tier), the last of them served."""
    attempts = attempts or (attempt(Tier.EFFICIENT),)
    return StepRecord(
        step=made or step(),
        features=features(),
        status=status,
        served=attempts[-1].candidate if status is Status.OK else None,
        decisions=tuple(decision(attempt) for attempt in attempts),
        attempts=attempts,
        excluded=(Exclusion("example/minimal", "context_window", "needs 1000 tokens, has 512"),),
        started_at=at,
        notes=("verifier judge timed out",),
    )


def decision(taken: Attempt) -> DecisionRecord:
    return DecisionRecord(
        action=taken.candidate.name,
        propensity=0.75,
        probabilities={taken.candidate.name: 0.75, "example/other": 0.25},
        reason=Reason.ESCALATION if taken.kind is AttemptKind.ESCALATION else Reason.THRESHOLD,
        detail="p_ok 0.91 >= 0.9",
        policy="threshold:step@abcd",
        scores=Scores(p_ok=(0.1, 0.91, 0.95, 0.99), low=(0.0, 0.8, 0.9, 0.9), scorer="step", calibrated=True),
    )


def escalated(id: str = "s-1") -> StepRecord:
    """Rate-limited minimal, then efficient (rejected by a judge), then frontier, served."""
    return record(
        step(id),
        failed(Tier.MINIMAL),
        attempt(Tier.EFFICIENT, number=2, kind=AttemptKind.FALLBACK, checks=7),
        attempt(Tier.FRONTIER, number=3, kind=AttemptKind.ESCALATION),
    )


def without_content(full: StepRecord) -> StepRecord:
    """What the ledger gives back of ``full`` when it stores no content."""
    bare = msgspec.structs.replace(
        full.step, messages=(), tools=(), output=msgspec.structs.replace(full.step.output, schema="")
    )
    attempts = tuple(
        msgspec.structs.replace(
            attempt,
            outcome=msgspec.structs.replace(attempt.outcome, reply=Reply(finish=attempt.outcome.reply.finish)),
        )
        for attempt in full.attempts
    )
    return msgspec.structs.replace(full, step=bare, attempts=attempts)


def record_number(prefix: str, number: int) -> StepRecord:
    """The same record each time for the same prefix and number; every third one has three attempts."""
    made = step(f"{prefix}-{number}", trajectory=f"t-{prefix}", index=number)
    if number % 3:
        return record(made)
    return msgspec.structs.replace(escalated(), step=made)


def attempts_of(number: int) -> int:
    """How many attempts ``record_number`` gave the step."""
    return 1 if number % 3 else 3
