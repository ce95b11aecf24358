"""``agentrouter route``: one decision a line; a bad line costs that line only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import agentrouter

ASK = [{"role": "user", "content": "Plan the migration."}]


def route(*lines: object, policy: str = "roles") -> tuple[int, list[dict[str, object]], str]:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    done = agentrouter("route", "--policy", policy, stdin=text)
    return done.code, [json.loads(line) for line in done.out.splitlines()], done.err


def test_the_documented_answer() -> None:
    code, answers, _ = route({"id": "1", "messages": ASK, "role": "planner", "trajectory_id": "t", "step_index": 0})
    assert code == 0
    (answer,) = answers
    assert set(answer) == {"id", "tier", "model", "scores", "probabilities", "reason", "policy", "overhead_ms"}
    assert (answer["id"], answer["tier"], answer["model"], answer["policy"]) == (
        "1",
        "frontier",
        "example/frontier",
        "roles",
    )
    assert answer["probabilities"] == {
        "example/minimal": 0.0,
        "example/efficient": 0.0,
        "example/mid": 0.0,
        "example/frontier": 1.0,
    }
    assert answer["scores"] == {}
    assert isinstance(answer["overhead_ms"], float)


def test_a_scored_policy_gives_four_scores() -> None:
    _, (answer,), _ = route({"id": "1", "messages": ASK}, policy="threshold:length")
    scores = answer["scores"]
    assert isinstance(scores, dict)
    assert list(scores) == ["minimal", "efficient", "mid", "frontier"]
    assert all(0.0 <= value <= 1.0 for value in scores.values())


def test_propensities_of_an_exploring_policy() -> None:
    _, (answer,), _ = route({"id": "1", "messages": ASK, "role": "format"}, policy="explore:0.2:roles")
    assert answer["probabilities"] == pytest.approx(
        {"example/minimal": 0.85, "example/efficient": 0.05, "example/mid": 0.05, "example/frontier": 0.05}
    )


def test_messages_as_json_text_and_extra_columns_of_a_step_table() -> None:
    row = {"id": 7, "messages": json.dumps(ASK), "tools": None, "role": "planner", "outcomes": [], "source": "x"}
    code, (answer,), _ = route(row)
    assert (code, answer["id"], answer["tier"]) == (0, 7, "frontier")


@pytest.mark.parametrize("as_text", [False, True])
def test_tools_as_a_list_and_as_json_text(as_text: bool) -> None:
    tools = [{"type": "function", "function": {"name": "sql", "parameters": {"type": "object"}}}]
    ask = [{"role": "user", "content": "Hello."}]
    row = {"id": "1", "messages": ask, "role": "chat", "tools": json.dumps(tools) if as_text else tools}
    code, (answer,), _ = route(row, policy="rules")
    assert code == 0
    # A first step with tools goes up by a rule of its own; without them the short prompt would have gone down.
    assert answer["tier"] == "frontier"
    assert "tools" in str(answer["reason"])


def test_true_length_decides_where_contents_were_cut() -> None:
    row = {"id": "1", "messages": ASK, "context_chars": 80_000}
    _, (answer,), _ = route(row, policy="length")
    assert answer["tier"] == "frontier"


BAD_LINES = {
    "not json": ("{", None, "not a JSON object"),
    "cut in mid-line": ('{"id": "x", "messages": [{"role"', None, "not a JSON object"),
    "an array": ("[]", None, "expected `object`"),
    "no id": ({"messages": ASK}, None, "`id`"),
    "no messages": ({"id": "x"}, "x", "`messages`"),
    "empty messages": ({"id": "x", "messages": []}, "x", "at least one message"),
    "messages null": ({"id": "x", "messages": None}, "x", "messages"),
    "unknown message role": ({"id": "x", "messages": [{"role": "wizard", "content": "a"}]}, "x", "messages[0].role"),
    "content of a wrong type": ({"id": "x", "messages": [{"role": "user", "content": 5}]}, "x", "messages[0].content"),
    "tools of a wrong type": ({"id": "x", "messages": ASK, "tools": 5}, "x", "tools"),
    "tools of wrong content": ({"id": "x", "messages": ASK, "tools": [5]}, "x", "tools[0]"),
    "negative step": ({"id": "x", "messages": ASK, "step_index": -1}, "x", "step_index"),
    "negative size": ({"id": "x", "messages": ASK, "context_chars": -5}, "x", "context_chars"),
    "absurd size": ({"id": "x", "messages": ASK, "context_chars": 10**30}, "x", "context_chars"),
    "role of a wrong type": ({"id": "x", "messages": ASK, "role": 5}, "x", "role"),
    "lone surrogate": ('{"id": "x", "messages": [{"role": "user", "content": "\\ud800"}]}', None, ""),
    "nested arrays": ('{"id": "x", "messages": ' + "[" * 100_000 + "]" * 100_000 + "}", None, ""),
    "too large for any model": ({"id": "x", "messages": ASK, "context_chars": 10**12}, "x", "no candidate is allowed"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_costs_that_line_only(name: str) -> None:
    line, known_id, expected = BAD_LINES[name]
    good = {"id": "ok", "messages": ASK, "role": "planner"}
    code, answers, err = route(good, line, good)
    assert code == 1
    assert [answer.get("tier") for answer in answers] == ["frontier", None, "frontier"]
    assert set(answers[1]) == {"id", "error"}
    assert answers[1]["id"] in (known_id, "x" if known_id is None else known_id)
    assert "line 2" in str(answers[1]["error"])
    assert expected in str(answers[1]["error"])
    assert len(str(answers[1]["error"])) < 1_000
    assert "Traceback" not in err
    assert "1 bad line" in err


def test_nul_and_odd_unicode_survive() -> None:
    text = "a\0b \u2028 \U0001f469\u200d\U0001f4bb \u202eright-to-left"
    code, (answer,), _ = route({"id": "n", "messages": [{"role": "user", "content": text}]})
    assert (code, answer["id"]) == (0, "n")


def test_bytes_that_are_no_utf8_cost_their_line() -> None:
    done = agentrouter(
        "route", "--policy", "roles", stdin=b'{"id":"\xff"}\n{"id":"b","messages":[{"role":"user","content":"x"}]}\n'
    )
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [set(answer) >= {"error"} for answer in answers] == [True, False]


def test_empty_input_and_blank_lines() -> None:
    assert route() == (0, [], "")
    code, answers, _ = route("", {"id": "1", "messages": ASK}, "   ")
    assert (code, len(answers)) == (0, 1)


def test_steps_of_one_trajectory_share_their_state(tmp_path: Path) -> None:
    """The second step meets the frontier cache that the first one warmed.

    About 50,000 tokens: read warm at 0.5 USD/M they cost 0.025, written cold at mid's 1.25 USD/M 0.0625. Over two calls
    (with 300 tokens out at 25 and 5) staying is 0.065, moving 0.0705: it stays. A trajectory of its own moves.
    """
    spec = tmp_path / "sticky.yaml"
    spec.write_text("policy: sticky\nhorizon: 2\ninner: roles\n", encoding="utf-8")
    big = [{"role": "user", "content": "word " * 40_000}]
    then = [*big, {"role": "assistant", "content": "ok"}]
    lines = [
        {"id": "1", "trajectory_id": "t", "messages": big, "role": "planner"},
        {"id": "2", "trajectory_id": "t", "messages": then, "role": "edit"},
        {"id": "3", "trajectory_id": "other", "messages": then, "role": "edit"},
    ]
    _, answers, _ = route(*lines, policy=str(spec))
    assert [answer["tier"] for answer in answers] == ["frontier", "frontier", "mid"]
    assert str(answers[1]["reason"]).startswith("sticky")


def test_a_bad_policy_is_a_usage_error() -> None:
    done = agentrouter("route", "--policy", "rolles")
    assert done.code == 2
    assert "did you mean" in done.err
    assert "Traceback" not in done.err
