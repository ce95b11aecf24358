"""The row of numbers: order and meaning of the columns, values by hand, nothing but the features."""

from __future__ import annotations

import hashlib
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.features import extract
from agentrouter.scorers.encode import COLUMNS, ENCODING, GROUPS, numeric, places
from agentrouter.types import CallKind, History, Message, PastStep, Status, Step, Tier, Tool, ToolCall

NAMES = [column.name for column in COLUMNS]


def values(step: Step, history: History | None = None) -> dict[str, float]:
    return dict(zip(NAMES, numeric(extract(step, history or History())), strict=True))


def step(*messages: Message, **fields: object) -> Step:
    return msgspec.structs.replace(Step(id="s", trajectory_id="t", messages=messages), **fields)


def test_the_columns_are_the_five_groups_in_order() -> None:
    assert list(dict.fromkeys(column.group for column in COLUMNS)) == list(GROUPS)
    assert len(set(NAMES)) == len(NAMES)


def test_another_set_of_columns_is_another_encoding() -> None:
    # A new column, order or unit: give ENCODING its next number and put both here.
    described = ";".join(f"{column.name},{column.group},{column.unit}" for column in COLUMNS)
    assert (ENCODING, hashlib.sha256(described.encode()).hexdigest()[:12]) == ("step-features/1", "8158018cf20b")


def test_values_by_hand() -> None:
    text = "You must solve 12 + 3.\n- Only AB?\n(A) one\nB) two"
    found = values(step(Message(role="user", text=text), tools=(Tool(name="calc"),), role="planner"))
    expected = {
        "role_plan": 1.0,
        "role_reason": 0.0,
        "kind_main": 1.0,
        "verb_reason": 1.0,
        "asks_question": 1.0,
        # 22 + 1 + 10 + 1 + 7 + 1 + 6 = 48 characters, three line ends.
        "told_chars": math.log(49),
        "told_lines": math.log(5),
        # You must solve Only AB A one B two: 3+4+5+4+2+1+3+1+3 = 26 letters in 9 words, all different.
        "told_words": math.log(10),
        "told_word_length": 26 / 9,
        "told_distinct_words": 1.0,
        "told_digits": 3 / 48,
        # Y O A B A B
        "told_capitals": 6 / 48,
        # + . - ? ( ) )
        "told_marks": 7 / 48,
        # + and -
        "told_math": 2 / 48,
        "told_not_ascii": 0.0,
        "told_numbers": math.log(3),
        "told_questions": math.log(2),
        "told_items": math.log(2),
        "told_options": math.log(3),
        # must, only
        "told_demands": math.log(3),
        "seen_chars": 0.0,
        "seen_lines": 0.0,
        "messages": math.log(2),
        "tools": math.log(2),
        "step_index": 0.0,
        "since_error": -1.0,
        "last_tier": -1.0,
        "mean_recent_tier": -1.0,
        "reversible": 1.0,
        "strictness": 0.0,
        "fan_out": 1.0,
    }
    assert expected == pytest.approx({name: found[name] for name in expected})


def test_state_and_observation_by_hand() -> None:
    call = ToolCall(id="1", name="run", arguments="{}")
    past = [
        PastStep(
            index=i, role="plan", tier=tier, candidate=f"c{tier}", status=status, escalated=False, cost_nusd=0,
            output_tokens=100,
        )
        for i, (tier, status) in enumerate([(Tier.FRONTIER, Status.OK), (Tier.MINIMAL, Status.ERROR)])
    ]  # fmt: skip
    history = History().after(past[0]).after(past[1])
    asked = (Message(role="user", text="go"), Message(role="assistant", tool_calls=(call,)))
    found = values(step(*asked, Message(role="tool", text="7 a\n8"), index=2), history)
    assert found["seen_chars"] == pytest.approx(math.log(6))
    assert found["seen_lines"] == pytest.approx(math.log(3))
    assert found["seen_digits"] == pytest.approx(2 / 5)
    assert found["is_tool_result"] == 1.0
    assert found["step_index"] == pytest.approx(math.log(3))
    assert (found["last_tier"], found["mean_recent_tier"]) == (0.0, 1.5)
    # 100 of 200 tokens were written by the tier that is not the last one.
    assert found["foreign_share"] == pytest.approx(0.5)
    # One switch; the last of the two past steps failed, one step before this one.
    assert found["switches"] == pytest.approx(math.log(2))
    assert (found["errors"], found["since_error"], found["retries"]) == pytest.approx((math.log(2), 1.0, 1.0))


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(list(CallKind)))
def test_every_value_is_finite_and_in_its_unit(told: str, seen: str, kind: CallKind) -> None:
    asked = (Message(role="user", text=told), Message(role="tool", text=seen))
    row = numeric(extract(step(*asked, kind=kind), History()))
    assert len(row) == len(COLUMNS)
    for value, column in zip(row, COLUMNS, strict=True):
        assert math.isfinite(value), column.name
        if column.unit == "0/1":
            assert value in (0.0, 1.0), column.name
        elif column.unit == "share":
            assert 0 <= value <= 1, column.name
        elif column.unit.startswith("ln"):
            assert value >= 0, column.name


def test_options_need_a_letter_of_their_own() -> None:
    def options(text: str) -> float:
        return values(step(Message(role="user", text=text)))["told_options"]

    assert options("A. x\n(B) y C: z") == pytest.approx(math.log(4))
    assert options("aB. no 1C) no.\nzD.\nno") == 0.0


def test_places_are_those_of_the_groups() -> None:
    assert [NAMES[place] for place in places("dependency")] == ["reversible", "strictness", "fan_out"]
    assert sorted(place for group in GROUPS for place in places(group)) == list(range(len(COLUMNS)))
    with pytest.raises(KeyError, match="expected some of role"):
        places("rule")
