"""The org chart: a name covers the role it stands for."""

from __future__ import annotations

import pytest

from agentrouter.catalog import builtin_catalog
from agentrouter.policies import build
from agentrouter.trajectory import TrajectoryState, World, prepare
from agentrouter.types import Message, Reason, Step, Tier, TokenCounts

WORLD = World(catalog=builtin_catalog())


def tier(chart: dict[str, str], role: str, text: str = "Hello.", default: str = "minimal") -> tuple[Tier, Reason]:
    policy = build({"policy": "roles", "chart": chart, "default": default})
    messages = (Message(role="user", text=text),)
    step = Step(id="t/0", trajectory_id="t", role=role, messages=messages, tokens=TokenCounts(input=50, output=10))
    context = prepare(step, TrajectoryState(), WORLD, 0.0)
    decision = policy.decide(step, context)
    (chosen,) = [each for each in context.candidates if each.name == decision.action.name]
    return chosen.tier, decision.reason


@pytest.mark.parametrize("role", ["planner", "plan", "planning", "Planner"])
def test_a_chart_by_one_name_covers_the_others(role: str) -> None:
    assert tier({"planner": "frontier"}, role) == (Tier.FRONTIER, Reason.ROLE)


def test_an_unnamed_step_goes_by_what_it_is_recognised_as() -> None:
    assert tier({"planner": "frontier"}, "unknown", "Plan the migration.") == (Tier.FRONTIER, Reason.ROLE)


def test_the_users_own_names_come_first() -> None:
    chart = {"planner": "frontier", "plan": "mid", "Senior Researcher": "efficient"}
    assert tier(chart, "plan")[0] is Tier.MID
    assert tier(chart, "planner")[0] is Tier.FRONTIER
    assert tier(chart, "Senior Researcher") == (Tier.EFFICIENT, Reason.ROLE)


def test_names_that_disagree_leave_their_role_to_the_default() -> None:
    chart = {"planner": "frontier", "orchestrator": "mid"}
    assert tier(chart, "planning") == (Tier.MINIMAL, Reason.ROLE_UNLISTED)
