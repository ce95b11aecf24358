"""The state between two steps: caches by prompt head, history, budget."""

from __future__ import annotations

import msgspec

from agentrouter.catalog import builtin_catalog
from agentrouter.flow import route_flow
from agentrouter.policies import build
from agentrouter.trajectory import KEPT_LINEAGES, TrajectoryState, World, advance, caches_for, nearest_tier, prepare
from agentrouter.types import HISTORY_KEEP, Outcome, Status, Step, StepRecord, Tier, TokenCounts, Usage

WORLD = World(catalog=builtin_catalog())


def step(index: int, size: int, head: str = "main") -> Step:
    counts = TokenCounts(input=size, output=100, estimated=False)
    return Step(id=f"t/{index}", trajectory_id="t", index=index, tokens=counts, prefix_hash=head)


def finish(state: TrajectoryState, at: Step, tier: str = "frontier", outcome: Outcome | None = None) -> StepRecord:
    flow = route_flow(build(f"fixed:{tier}"), at, prepare(at, state, WORLD, 0.0), WORLD.settings)
    next(flow)
    try:
        flow.send(outcome or Outcome(usage=Usage(cache_write=at.tokens.input, output=100), committed=True))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("one call was expected")


def test_each_model_keeps_its_own_cache() -> None:
    state = TrajectoryState()
    state = advance(state, finish(state, step(0, 1_000)), 0.0)
    state = advance(state, finish(state, step(1, 1_500), "mid"), 10.0)
    caches = caches_for(step(2, 2_000), state)
    assert {name: entry.tokens for name, entry in caches.items()} == {"example/frontier": 1_000, "example/mid": 1_500}
    assert state.history.switches == 1
    assert [past.candidate for past in state.history.recent] == ["example/frontier", "example/mid"]


def test_a_title_call_does_not_cool_the_main_prompt() -> None:
    state = TrajectoryState()
    state = advance(state, finish(state, step(0, 50_000)), 0.0)
    state = advance(state, finish(state, step(1, 300, head="title"), "minimal"), 1.0)
    assert caches_for(step(2, 51_000), state)["example/frontier"].tokens == 50_000
    assert "example/frontier" not in caches_for(step(3, 320, head="title"), state)


def test_a_prompt_that_shrank_was_rewritten() -> None:
    state = advance(TrajectoryState(), finish(TrajectoryState(), step(0, 50_000)), 0.0)
    assert caches_for(step(1, 8_000), state) == {}
    assert caches_for(step(1, 49_500), state)["example/frontier"].tokens == 50_000


def test_few_prompt_heads_are_followed() -> None:
    state = TrajectoryState()
    for number in range(10):
        state = advance(state, finish(state, step(number, 1_000, head=f"head-{number}")), 0.0)
    assert list(state.lineages) == [f"head-{number}" for number in range(10 - KEPT_LINEAGES, 10)]


def test_a_call_that_never_arrived_warms_nothing() -> None:
    gone = Outcome(status=Status.CANCELLED)
    record = finish(TrajectoryState(), step(0, 1_000), outcome=gone)
    state = advance(TrajectoryState(), record, 0.0)
    assert caches_for(step(1, 1_100), state) == {}
    assert state.history.errors == 1
    assert state.history.last_error_index == 0


def test_history_is_bounded_and_its_totals_are_not() -> None:
    state = TrajectoryState()
    for number in range(40):
        state = advance(state, finish(state, step(number, 1_000 + number)), 0.0)
    assert len(state.history.recent) == HISTORY_KEEP
    assert state.history.steps == 40
    assert state.history.output_tokens == (0, 0, 0, 4_000)
    # Each step writes its whole prompt at 6.25 and 100 tokens out at 25 USD/M.
    written = sum(1_000 + number for number in range(40))
    assert state.history.spend_nusd == written * 6_250 + 40 * 100 * 25_000


def test_the_trajectory_budget_shrinks_with_the_spend() -> None:
    world = msgspec.structs.replace(WORLD, trajectory_budget_nusd=20_000_000)
    state = advance(TrajectoryState(), finish(TrajectoryState(), step(0, 1_000)), 0.0)
    context = prepare(step(1, 1_100), state, world, 0.0)
    assert context.budget.remaining_nusd == 20_000_000 - 8_750_000
    assert prepare(step(1, 1_100), state, world, 0.0, budget_nusd=7_000_000).budget.scope == "caller"


def test_the_default_is_the_wanted_tier_or_the_nearest_above() -> None:
    minimal, efficient, mid, frontier = WORLD.catalog.candidates
    assert nearest_tier((minimal, frontier), Tier.EFFICIENT) is frontier
    assert nearest_tier((minimal, efficient), Tier.FRONTIER) is efficient
    assert nearest_tier((minimal, mid, frontier), Tier.MID) is mid
