"""Trajectory, parent, kind, retry and our own headers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import InputError
from agentrouter.types import CallKind, Pins, Slo, Step, Tier
from agentrouter.wire import parse_request
from agentrouter.wire.identity import MAX_ID_CHARS, is_warm_up, safe_id
from agentrouter.wire.volatile import stable_text, visible_text

HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


def chat(headers: dict[str, str] | None = None, *, caller: str = "", **body: Any) -> Step:
    return parse_request("openai_chat", {**HI, **body}, headers or {}, caller=caller)


# Each source of an id, best first.
SOURCES: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("own", {"X-AgentRouter-Trajectory": "own"}, {}),
    ("client", {"X-Session-Id": "client"}, {}),
    ("key", {}, {"prompt_cache_key": "key"}),
    ("meta", {}, {"metadata": {"session_id": "meta"}}),
    ("user", {}, {"user": "user"}),
]


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_best_source_wins(first: int) -> None:
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    for _, more_headers, more_body in SOURCES[first:]:
        headers |= more_headers
        body |= more_body
    assert SOURCES[first][0] == chat(headers, **body).trajectory_id


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        ('{"device_id":"d","account_uuid":"","session_id":"s-1"}', "s-1"),
        ("user_0af_account_11_session_2b-3", "2b-3"),
        ("plain", "plain"),
        ('{"session_id":7}', '{"session_id":7}'),
        ('{"session_id":', '{"session_id":'),
        ("ends_session_", "ends_session_"),
    ],
)
def test_metadata_user_id_is_read_as_json_then_as_text(user_id: str, expected: str) -> None:
    body = {**HI, "max_tokens": 9, "metadata": {"user_id": user_id}}
    assert expected == parse_request("anthropic_messages", body).trajectory_id


def test_our_header_names_the_trajectory_of_a_sub_agent_too() -> None:
    headers = {"x-agentrouter-trajectory": "mine", "x-claude-code-session-id": "s", "x-claude-code-agent-id": "a"}
    step = chat(headers)
    assert (step.trajectory_id, step.parent_id, step.kind) == ("mine", "", CallKind.SUBAGENT)


def test_a_sub_agent_whose_headers_were_dropped_is_told_by_its_system_block() -> None:
    system = [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cc_is_subagent=true;"}]
    body = {**HI, "max_tokens": 9, "system": system, "metadata": {"user_id": '{"session_id":"s"}'}}
    step = parse_request("anthropic_messages", body)
    other = parse_request("anthropic_messages", {**body, "messages": [{"role": "user", "content": "other"}]})
    assert step.kind is CallKind.SUBAGENT
    assert step.parent_id == "s"
    assert step.trajectory_id.startswith("s/")
    assert step.trajectory_id != other.trajectory_id


@pytest.mark.parametrize(
    "bad", ["a\nb", "a\x00b", "\x1b[31m", "a\x7f", "a\u2028b", "x" * 257, "a\x85b"], ids=lambda bad: repr(bad[:8])
)
def test_odd_ids_are_hashed(bad: str) -> None:
    step = chat({"x-session-id": bad})
    assert step.trajectory_id.startswith("h-")
    assert len(step.trajectory_id) == 2 + 32  # 128 bits in hexadecimal
    assert step.trajectory_id == chat({"x-session-id": bad}).trajectory_id


@given(st.text(min_size=1, max_size=400))
def test_ids_are_short_printable_and_told_apart(text: str) -> None:
    shown = safe_id(text)
    assert len(shown) <= MAX_ID_CHARS
    assert not any(ord(char) < 32 or ord(char) == 127 for char in shown)
    assert shown != safe_id(text + "x")


def test_ids_that_look_like_sql_are_plain_data() -> None:
    assert chat({"x-session-id": "'; DROP TABLE spans --"}).trajectory_id == "'; DROP TABLE spans --"


def test_the_fingerprint_depends_on_key_system_and_first_message_only() -> None:
    system, task = {"role": "system", "content": "You are A."}, {"role": "user", "content": "Do it."}
    said = {"role": "assistant", "content": "Done."}
    base = chat(messages=[system, task], caller="k1").trajectory_id
    assert base.startswith("fp-")
    assert base == chat(messages=[system, task, said, {"role": "user", "content": "More."}], caller="k1").trajectory_id
    assert base != chat(messages=[system, task], caller="k2").trajectory_id
    assert base != chat(messages=[{**system, "content": "You are B."}, task], caller="k1").trajectory_id
    assert base != chat(messages=[system, {**task, "content": "Do that."}], caller="k1").trajectory_id
    assert base != chat(messages=[{"role": "system", "content": "You are A.Do it."}], caller="k1").trajectory_id


VOLATILE = [
    ("You help.\n<env>\ncwd: /a\n</env>\nBe brief.", "You help.\n<env>\ncwd: /b\n</env>\nBe brief."),
    ("You help.\nToday's date: 2026-03-04\nBe brief.", "You help.\nToday's date: 2026-03-05\nBe brief."),
    ("You help.\nCurrent time is 10:00\nBe brief.", "You help.\nCurrent time is 10:01\nBe brief."),
    (
        "You help.\n - Primary working directory: /a\nBe brief.",
        "You help.\n - Primary working directory: /b\nBe brief.",
    ),
    ("<session_context>a</session_context>You help.", "<session_context>b</session_context>You help."),
    ("<environment_context>a</environment_context>You help.", "<environment_context>b</environment_context>You help."),
]


@pytest.mark.parametrize(("one", "other"), VOLATILE)
def test_volatile_parts_change_neither_fingerprint_nor_prefix_hash(one: str, other: str) -> None:
    steps = [chat(messages=[{"role": "system", "content": text}, *HI["messages"]]) for text in (one, other)]
    assert steps[0].trajectory_id == steps[1].trajectory_id
    assert steps[0].prefix_hash == steps[1].prefix_hash
    assert [one, other] == [step.messages[0].text for step in steps]
    changed = chat(messages=[{"role": "system", "content": one.replace("You help", "You hinder")}, *HI["messages"]])
    assert changed.prefix_hash != steps[0].prefix_hash


def test_the_prefix_hash_covers_tools_and_system_and_nothing_after() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    other = [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]
    system = {"role": "system", "content": "S"}
    base = chat(messages=[system, *HI["messages"]], tools=tools).prefix_hash
    assert base == chat(messages=[system, {"role": "user", "content": "more"}], tools=tools).prefix_hash
    assert base != chat(messages=[system, *HI["messages"]], tools=other).prefix_hash
    assert base != chat(messages=[system, *HI["messages"]]).prefix_hash
    assert base != chat(messages=[{**system, "content": "T"}, *HI["messages"]], tools=tools).prefix_hash


def test_a_setup_message_is_not_the_task() -> None:
    setup = "This is the Gemini CLI. We are setting up the context for our chat.\nFolder:\n- "
    ids = {chat(messages=[{"role": "user", "content": setup + name}, *HI["messages"]]).trajectory_id for name in "ab"}
    assert len(ids) == 1


def test_stable_text_by_hand() -> None:
    assert stable_text("a\nToday's date is x\nb\nCurrent date: y") == "a\nb\n"
    assert stable_text("Working directory: /x") == ""
    assert stable_text("<env>x</env>a<env>y</env>b") == "ab"
    assert stable_text("<env>never closed") == "<env>never closed"
    assert visible_text(" <system-reminder>x</system-reminder>\n ") == ""


def test_stripping_is_linear() -> None:
    # 20,000 marks in 1 MB: a quadratic cut would copy 10 GB.
    text = ("Current time is 10:00, and so on and on and on\n" * 20_000) + "<env>" * 20_000
    assert stable_text(text) == "<env>" * 20_000


@pytest.mark.parametrize(
    ("count", "retry"), [("0", 0), ("2", 2), ("", 0), ("NOT_GIVEN", 0), ("-1", 0), ("²", 0), ("9" * 5_000, 1_000)]
)
def test_retries(count: str, retry: int) -> None:
    assert retry == chat({"X-Stainless-Retry-Count": count}).retry


def test_a_retry_keeps_the_step_id_and_any_other_request_has_its_own() -> None:
    first = chat({"x-stainless-retry-count": "0"})
    again = chat({"x-stainless-retry-count": "1"})
    assert first.id == again.id
    assert (first.retry, again.retry) == (0, 1)
    others = [
        chat({"x-session-id": "elsewhere"}),
        chat(messages=[{"role": "user", "content": "ho"}]),
        chat(messages=[*HI["messages"], {"role": "assistant", "content": "x"}]),
        chat(messages=[{"role": "system", "content": "S"}, *HI["messages"]]),
    ]
    assert len({first.id, *(step.id for step in others)}) == 5


def test_our_headers() -> None:
    step = chat(
        {
            "X-AgentRouter-Role": "Billing Clerk",
            "X-AgentRouter-Tier": "Mid",
            "X-AgentRouter-Slo": "premium",
            "X-AgentRouter-Budget-Usd": "0.25",
        }
    )
    assert step.role == "Billing Clerk"  # the user's own word stays
    assert step.slo is Slo.PREMIUM
    assert step.pins == Pins(tier=Tier.MID, max_cost_nusd=250_000_000)  # 0.25 * 1e9


@pytest.mark.parametrize(
    ("text", "nusd"),
    [("0", 0), ("1", 10**9), ("0.000000001", 1), ("1000000", 10**15), (" 2.5 ", 2_500_000_000), ("0.10", 100_000_000)],
)
def test_budgets_are_exact(text: str, nusd: int) -> None:
    assert nusd == chat({"x-agentrouter-budget-usd": text}).pins.max_cost_nusd


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-agentrouter-tier", value) for value in ("", "huge", "mid,frontier", "m" * 9_000)]
    + [("x-agentrouter-slo", value) for value in ("", "fast", "\n")]
    + [("x-agentrouter-role", value) for value in ("x" * 65, "a\nb", "a\x00")]
    + [
        ("x-agentrouter-budget-usd", value)
        for value in ("", "NaN", "inf", "-1", "1e400", "1e3", "0x1", "1_000", "1000001", "9" * 400, "0.0000000001", "٣")
    ],
    ids=lambda value: repr(value[:16]),
)
def test_bad_headers_are_named(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        chat({name: value})
    assert caught.value.field == name
    assert len(str(caught.value)) < 300


def test_models_that_pin() -> None:
    assert chat(model="agentrouter/auto").pins == Pins()
    assert chat(model="gpt-anything").pins == Pins()
    assert chat(model="agentrouter/tier:mid").pins == Pins(tier=Tier.MID)
    assert chat(model="example/frontier").pins == Pins(model="example/frontier")
    for model, header in (("agentrouter/tier:huge", "mid"), ("agentrouter/tier:mid", "frontier")):
        with pytest.raises(InputError) as caught:
            chat({"x-agentrouter-tier": header}, model=model)
        assert caught.value.field == "model"


def test_warm_ups() -> None:
    assert is_warm_up("HEAD", "/")
    assert is_warm_up("head", "/?beta=true")
    assert not is_warm_up("GET", "/")
    assert not is_warm_up("HEAD", "/v1/messages")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"messages": [{"role": "user", "content": "quota"}], "max_tokens": 1}, CallKind.PROBE),
        ({"messages": [{"role": "user", "content": "Name the capital of Norway."}], "max_tokens": 1}, CallKind.MAIN),
        ({"messages": [{"role": "user", "content": "Generate a title for this conversation:\nx"}]}, CallKind.TITLE),
        ({"messages": [{"role": "user", "content": "Generate a title for my book"}]}, CallKind.MAIN),
        (
            {
                "messages": [{"role": "user", "content": "Generate a title for this conversation:\nx"}],
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            CallKind.MAIN,
        ),
        ({"messages": [{"role": "user", "content": "Summarize the conversation so far."}]}, CallKind.COMPACTION),
    ],
)
def test_kinds(body: dict[str, Any], kind: CallKind) -> None:
    assert kind is parse_request("openai_chat", json.dumps(body).encode()).kind


def test_an_answer_with_a_title_among_other_fields_is_no_title_call() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "body": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert chat(response_format=form).kind is CallKind.MAIN
    one = {"type": "object", "properties": {"title": {"type": "string"}}}
    assert chat(response_format={**form, "json_schema": {"name": "a", "schema": one}}).kind is CallKind.TITLE
