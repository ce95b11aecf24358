"""Hard rules: who is legal, why each other candidate is out, and that nothing is ever widened."""

from __future__ import annotations

import msgspec
import pytest

from agentrouter.catalog import builtin_catalog
from agentrouter.eligibility import HardRules, Pin, SloLimit, eligible
from agentrouter.errors import NoCandidateError
from agentrouter.trajectory import TrajectoryState, World, prepare
from agentrouter.types import (
    Budget,
    CacheEntry,
    Candidate,
    Capability,
    Exclusion,
    Message,
    OutputContract,
    Pins,
    Slo,
    Step,
    Tier,
    TokenCounts,
    Tool,
)

MINIMAL, EFFICIENT, MID, FRONTIER = builtin_catalog().candidates
ALL = (MINIMAL, EFFICIENT, MID, FRONTIER)
PLAIN = Step(id="s", trajectory_id="t", tokens=TokenCounts(input=1_000, output=100, estimated=False))


def judge(
    step: Step = PLAIN,
    candidates: tuple[Candidate, ...] = ALL,
    rules: HardRules | None = None,
    *,
    budget: Budget | None = None,
    caches: dict[str, CacheEntry] | None = None,
    unhealthy: dict[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the names of the legal candidates and the rule that bars each other one."""
    legal, excluded = eligible(
        step,
        candidates,
        rules or HardRules(),
        unhealthy=unhealthy or {},
        budget=budget or Budget(),
        caches=caches or {},
        now=0.0,
    )
    assert {c.name for c in legal} | {x.candidate for x in excluded} == {c.name for c in candidates}
    assert all(exclusion.detail for exclusion in excluded)
    return [candidate.tier.label for candidate in legal], {x.candidate.split("/")[1]: x.rule for x in excluded}


def changed(step: Step = PLAIN, **fields: object) -> Step:
    return msgspec.structs.replace(step, **fields)


def test_a_plain_step_may_go_anywhere() -> None:
    assert judge() == (["minimal", "efficient", "mid", "frontier"], {})


def test_context_window_with_reserved_output() -> None:
    # The minimal window holds 128,000: 127,000 in + 1,000 out fit exactly, one token more does not.
    limit = OutputContract(max_tokens=1_000)
    fits = changed(tokens=TokenCounts(input=127_000, estimated=False), output=limit)
    assert judge(fits)[0][0] == "minimal"
    over = changed(tokens=TokenCounts(input=127_001, estimated=False), output=limit)
    assert judge(over)[1] == {"minimal": "context_window"}


def test_estimated_sizes_get_a_margin() -> None:
    step = changed(tokens=TokenCounts(input=120_000, estimated=True), output=OutputContract(max_tokens=1_000))
    assert judge(step)[1] == {"minimal": "context_window"}  # 1.1 * 120,000 + 1,000 > 128,000
    assert judge(step, rules=HardRules(estimate_margin=1.0))[1] == {}


def test_a_huge_output_limit_is_clipped_to_what_the_model_can_write() -> None:
    assert judge(changed(output=OutputContract(max_tokens=10**12)))[1] == {}


def test_tools_schema_and_modality() -> None:
    bare = msgspec.structs.replace(MID, capabilities=frozenset())
    tools = changed(tools=(Tool(name="sql"),))
    assert judge(tools, (bare, FRONTIER))[1] == {"mid": "tools"}
    schema = changed(output=OutputContract(form="json_schema", schema="{}"))
    assert judge(schema, (bare, FRONTIER))[1] == {"mid": "json_schema"}
    picture = changed(messages=(Message(role="user", text="what is this?", images=1),))
    assert judge(picture, (bare, FRONTIER))[1] == {"mid": "modality"}
    paper = changed(messages=(Message(role="user", files=1),))
    assert judge(paper, (bare, FRONTIER))[1] == {"mid": "modality"}
    assert Capability.VISION in FRONTIER.capabilities


def test_pins_of_the_step_itself() -> None:
    assert judge(changed(pins=Pins(tier=Tier.MID)))[0] == ["mid"]
    assert judge(changed(pins=Pins(model="example/frontier")))[0] == ["frontier"]
    assert judge(changed(pins=Pins(model="no/such")))[0] == []
    eu = msgspec.structs.replace(MINIMAL, labels=frozenset({"eu", "zdr"}))
    assert judge(changed(pins=Pins(labels=frozenset({"eu"}))), (eu, FRONTIER)) == (["minimal"], {"frontier": "pin"})


def test_pins_by_role_and_data_class() -> None:
    rules = HardRules(
        roles={"planner": Pin(tiers=frozenset({Tier.FRONTIER}))},
        data_classes={"pii": Pin(models=frozenset({"example/mid"}))},
    )
    assert judge(changed(role="planner"), rules=rules)[0] == ["frontier"]
    assert judge(changed(role="worker"), rules=rules)[1] == {}
    assert judge(changed(data_class="pii"), rules=rules)[0] == ["mid"]
    assert judge(changed(role="planner", data_class="pii"), rules=rules)[0] == []


def test_an_unknown_data_class_fails_closed() -> None:
    legal, out = judge(
        changed(data_class="secret"), rules=HardRules(data_classes={"pii": Pin(tiers=frozenset({Tier.MID}))})
    )
    assert legal == []
    assert set(out.values()) == {"data_class"}


def test_service_classes() -> None:
    fast = msgspec.structs.replace(MINIMAL, ttft_ms=200.0, tokens_per_s=100.0)
    slow = msgspec.structs.replace(FRONTIER, ttft_ms=4_000.0, tokens_per_s=20.0)
    rules = HardRules(
        slo={
            Slo.REALTIME: SloLimit(max_ttft_ms=1_000.0, max_total_ms=20_000.0),
            Slo.PREMIUM: SloLimit(min_tier=Tier.MID),
            Slo.BATCH: SloLimit(batch=True),
        }
    )
    step = changed(output=OutputContract(max_tokens=500))
    assert judge(changed(step, slo=Slo.REALTIME), (fast, slow), rules) == (["minimal"], {"frontier": "slo"})
    # 200 ms + 5,000 tokens at 100/s = 50.2 s > 20 s.
    long = changed(slo=Slo.REALTIME, output=OutputContract(max_tokens=5_000))
    assert judge(long, (fast,), rules)[1] == {"minimal": "slo"}
    assert judge(changed(slo=Slo.PREMIUM), rules=rules)[0] == ["mid", "frontier"]
    assert judge(changed(slo=Slo.BATCH), rules=rules)[0] == []
    assert judge(changed(slo=Slo.STANDARD), (fast, slow), rules)[1] == {}


def test_health() -> None:
    assert judge(unhealthy={"example/mid": "cooling down for 30 s"})[1] == {"mid": "health"}


def test_budget_counts_the_warm_cache() -> None:
    # Frontier: 1,000 tokens written at 6.25 and 100 written out at 25 USD/M = 6,250 + 2,500 = 8,750 micro-dollars cold;
    # 1,000 read at 0.5 = 500 + 2,500 = 3,000 warm.
    step = changed(tokens=TokenCounts(input=1_000, output=100, estimated=False))
    assert "frontier" in judge(step, budget=Budget(remaining_nusd=8_750_000))[0]
    assert judge(step, budget=Budget(remaining_nusd=8_749_999))[1] == {"frontier": "budget"}
    warm = {"example/frontier": CacheEntry(1_000, 100.0)}
    assert "frontier" in judge(step, budget=Budget(remaining_nusd=3_000_000), caches=warm)[0]
    assert judge(step, budget=Budget(remaining_nusd=0))[0] == []
    assert judge(step, budget=Budget(remaining_nusd=-5))[0] == []


def test_the_tighter_of_two_budgets_counts() -> None:
    step = changed(pins=Pins(max_cost_nusd=1_000_000))
    assert judge(step, budget=Budget(remaining_nusd=10**12))[0] == ["minimal", "efficient"]


def test_no_candidate_left_is_a_named_error_with_every_reason() -> None:
    world = World(catalog=builtin_catalog())
    with pytest.raises(NoCandidateError) as caught:
        prepare(changed(data_class="secret"), TrajectoryState(), world, 0.0)
    assert [(name, rule) for name, rule, _ in caught.value.reasons] == [(c.name, "data_class") for c in ALL]
    assert "data class 'secret' is not configured" in str(caught.value)


def test_order_is_kept_and_one_reason_is_given_each() -> None:
    legal, excluded = eligible(
        changed(data_class="x", pins=Pins(tier=Tier.MID)),
        ALL,
        HardRules(),
        unhealthy={"example/minimal": "down"},
        budget=Budget(),
        caches={},
        now=0.0,
    )
    assert legal == ()
    assert [exclusion.rule for exclusion in excluded] == ["health", "pin", "data_class", "pin"]
    assert all(isinstance(exclusion, Exclusion) for exclusion in excluded)


@pytest.mark.parametrize("role", ["planner", "Planner", "plan", "planning", "orchestrator"])
def test_a_role_pin_holds_under_every_name_of_the_role(role: str) -> None:
    rules = HardRules(roles={"planner": Pin(tiers=frozenset({Tier.FRONTIER}))})
    legal, excluded = judge(msgspec.structs.replace(PLAIN, role=role), rules=rules)
    assert legal == ["frontier"]
    assert set(excluded.values()) == {"pin"}


def test_a_role_pin_under_the_very_name_comes_before_the_other_names() -> None:
    pins = {"planner": Pin(tiers=frozenset({Tier.FRONTIER})), "plan": Pin(tiers=frozenset({Tier.MID}))}
    assert judge(msgspec.structs.replace(PLAIN, role="plan"), rules=HardRules(roles=pins))[0] == ["mid"]
    # Both pins are on other names of this one: no candidate satisfies both, and neither is widened.
    assert judge(msgspec.structs.replace(PLAIN, role="planning"), rules=HardRules(roles=pins))[0] == []
    assert len(judge(msgspec.structs.replace(PLAIN, role="auditor"), rules=HardRules(roles=pins))[0]) == 4
