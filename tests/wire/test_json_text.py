"""I1 to I3: nothing a stranger sends may end in anything but a short InputError that names the place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import InputError
from agentrouter.wire import DIALECTS, parse_request, step_from_messages
from agentrouter.wire.json_text import decode_json_mapping, decode_object

DEEP = b"[" * 100_000 + b"]" * 100_000
GOOD = {
    "openai_chat": b'{"messages":[{"role":"user","content":"hi"}]}',
    "openai_responses": b'{"input":"hi"}',
    "anthropic_messages": b'{"max_tokens":10,"messages":[{"role":"user","content":"hi"}]}',
}


def refusal(dialect: str, body: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_request(dialect, body)
    assert len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"   ", "not JSON"),
        (b"nul", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"messages":', "not JSON"),
        (b"NaN", "not JSON"),
        (b'{"messages":[],"input":"a","zzz":NaN}', "not JSON"),
        (b'\xef\xbb\xbf{"messages":[]}', "not JSON"),
        (b"null", "Expected `object`, got `null`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"7", "Expected `object`, got `int`"),
        (b"{}", "required, but missing"),
        (DEEP, "Expected `object`, got `array`"),
        (b'{"zzz":' + DEEP + b',"messages":[]}', "nested too deeply"),
        (b'{"zzz":"\xff","messages":[]}', "not valid UTF-8"),
        (b'{"zzz":"\\ud800","messages":[]}', "lone surrogate"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_unusable_bodies(dialect: str, body: bytes, says: str) -> None:
    assert says in str(refusal(dialect, body))
    assert parse_request(dialect, GOOD[dialect]).messages[-1].text == "hi"  # the next request works


@pytest.mark.parametrize("dialect", DIALECTS)
def test_trailing_garbage(dialect: str) -> None:
    assert "trailing characters" in str(refusal(dialect, GOOD[dialect] + b"x"))


@pytest.mark.parametrize("escape", [b"\\ud800", b"\\udc00", b"\\ud800x", b"\\ud800\\ud800", b"a\\\\\\ud83d"])
def test_a_lone_surrogate_is_refused(escape: bytes) -> None:
    body = b'{"messages":[{"role":"user","content":"' + escape + b'"}]}'
    assert "lone surrogate" in str(refusal("openai_chat", body))


def test_text_that_json_can_carry_is_carried() -> None:
    body = b'{"messages":[{"role":"user","content":"a\\u0000b \\ud83c\\udf33 \\\\ud800"}]}'
    assert parse_request("openai_chat", body).messages[0].text == "a\0b \U0001f333 \\ud800"


@pytest.mark.parametrize(
    ("field", "number", "says"),
    [
        ("max_tokens", b"9" * 20_000, "out of range"),
        ("temperature", b"1e400", "out of range"),
        ("temperature", b"9" * 20_000, "out of range"),
        ("max_tokens", b"1.5", "got `float`"),
    ],
)
def test_numbers_out_of_range(field: str, number: bytes, says: str) -> None:
    body = b'{"messages":[{"role":"user","content":"a"}],"%s":%s}' % (field.encode(), number)
    error = refusal("openai_chat", body)
    assert says in error.message
    assert error.field == field


def test_of_duplicate_keys_the_last_wins() -> None:
    body = b'{"messages":[],"messages":[{"role":"user","content":"first","content":"second"}]}'
    assert parse_request("openai_chat", body).messages[0].text == "second"


def test_objects_are_checked_in_every_corner() -> None:
    assert decode_object(b'{"a":[1.5,"b"]}') == {"a": [1.5, "b"]}
    for body in (b'{"zzz":1e400}', b'{"zzz":' + b"9" * 20_000 + b"}", b"[]", DEEP, b'{"a":' + DEEP + b"}"):
        with pytest.raises(InputError):
            decode_object(body)


def test_objects_in_memory_that_json_cannot_carry() -> None:
    nest: list[object] = []
    for _ in range(100_000):
        nest = [nest]
    for content in ("\ud800", nest, object(), 10**30):
        with pytest.raises(InputError) as caught:
            step_from_messages([{"role": "user", "content": content}], id="s", trajectory_id="t")
        assert caught.value.field.startswith("messages")
        with pytest.raises(InputError):
            parse_request("openai_chat", {"messages": [{"role": "user", "content": content}]})


def test_a_header_that_holds_an_object_or_not() -> None:
    assert decode_json_mapping('{"a":1}') == {"a": 1}
    for text in ("", "a", "[1]", '{"a":', '{"a":"\ud800"}', '{"a":' + "[" * 100_000):
        assert decode_json_mapping(text) is None


# Every field of every dialect, with its path, set to values of wrong types.
FIELDS: dict[str, dict[str, tuple[object, ...]]] = {
    "openai_chat": {
        "messages": (None, 7, "a", {}, [None], [7], ["a"], [[]], [{}], []),
        "model": (None, 7, []),
        "messages[0].role": (None, 7, [], "robot", ""),
        "messages[0].content": (7, {}, [7], [None], [{}], [{"type": 7}], [{"type": "text", "text": 7}], True),
        "messages[0].tool_calls": (7, {}, [7], [{"id": 7}], [{"function": {}}], [{"function": {"name": 7}}], [{}]),
        "messages[0].tool_call_id": (7, []),
        "tools": (7, {}, [7], [{"type": 7}], [{"type": "function"}], [{"type": "function", "function": {}}]),
        "tool_choice": (7, [], "sometimes", {"type": 7}, {}),
        "response_format": (
            7,
            "json",
            [],
            {},
            {"type": 7},
            {"type": "yaml"},
            {"type": "json_schema", "json_schema": 7},
        ),
        "max_tokens": (-1, 0, 10**12, 10**30, "7", 1.5, [], True),
        "max_completion_tokens": (-1, 0, 10**12, "7"),
        "n": (0, -1, 1_000, "1"),
        "stop": (7, [7], ["x"] * 10_000),
        "stream": ("true", 1, []),
        "temperature": ("1", []),
        "user": (7, []),
        "prompt_cache_key": (7, []),
        "metadata": (7, "a", []),
    },
    "openai_responses": {
        "input": (None, 7, {}, [None], [7], ["a"], [], "", [{"role": 7}], [{"type": 7}], [{}]),
        "input[0].role": (7, "robot"),
        "input[0].content": (7, {}, [7], [{"type": 7}], [{}]),
        "instructions": (7, []),
        "tools": (7, {}, [7], [{}], [{"type": 7}], [{"type": "function"}]),
        "tool_choice": (7, "sometimes", {"name": "a"}),
        "text": (7, {"format": 7}, {"format": {}}, {"format": {"type": "yaml"}}),
        "max_output_tokens": (-1, 0, 10**12, "7"),
        "stream": ("true", 1),
        "conversation": (7, []),
        "client_metadata": (7, "a"),
    },
    "anthropic_messages": {
        "messages": (None, 7, "a", {}, [None], [7], [{}], []),
        "messages[0].role": (None, 7, "robot"),
        "messages[0].content": (
            None,
            7,
            {},
            [7],
            [{}],
            [{"type": 7}],
            [{"type": "text"}],
            [{"type": "text", "text": 7}],
            [{"type": "tool_result"}],
            [{"type": "tool_result", "tool_use_id": 7}],
            [{"type": "tool_result", "tool_use_id": "a", "content": 7}],
            [{"type": "tool_result", "tool_use_id": "a", "is_error": "yes"}],
        ),
        "system": (7, {}, [7], [{}]),
        "tools": (7, {}, [7], [{}], [{"name": 7}]),
        "tool_choice": (7, "auto", {}, {"type": 7}),
        "output_config": (7, {"format": 7}, {"format": {"type": "yaml"}}),
        "max_tokens": (-1, 0, 10**12, "7"),
        "stop_sequences": ("a", [7], ["x"] * 10_000),
        "stream": ("true", 1),
        "metadata": (7, "a", {"user_id": 7}),
    },
}
CASES = [(d, field, value) for d, fields in FIELDS.items() for field, values in fields.items() for value in values]


@pytest.mark.parametrize(("dialect", "field", "value"), CASES, ids=lambda value: str(value)[:40])
def test_wrong_types_name_their_field(dialect: str, field: str, value: object) -> None:
    body = json.loads(GOOD[dialect])
    place, key = body, field
    if "[0]." in field:
        list_name, key = field.split("[0].")
        if dialect == "openai_responses":
            body["input"] = [{"role": "user", "content": "hi"}]
        place = body[list_name][0]
    place[key] = value
    error = refusal(dialect, json.dumps(body).encode())
    assert error.field.startswith(field), error
    assert error.status_hint == 400


def test_the_path_of_a_nested_field() -> None:
    messages = [{"role": "user", "content": "a"}] * 3 + [{"role": "user", "content": [{"type": 5}]}]
    error = refusal("openai_chat", json.dumps({"messages": messages}).encode())
    assert error.field == "messages[3].content[0].type"
    assert str(error) == "messages[3].content[0].type: Expected `str`, got `int`"


def test_an_unknown_role_names_the_field_and_the_roles() -> None:
    error = refusal("openai_chat", b'{"messages":[{"role":"user","content":"a"},{"role":"robot","content":"b"}]}')
    assert str(error) == (
        "messages[1].role: unknown role 'robot': expected one of system, developer, user, assistant, tool"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        *("messages", "input", "system", "tools", "role", "content", "type", "text", "tool_calls", "function", "name"),
        *("arguments", "stream", "metadata", "user_id", "output_config", "format", "tool_choice", "max_tokens"),
        *("is_error", "tool_use_id", "summary", "output", "cache_control"),
    ]
)
SHAPED = st.recursive(
    JSON | st.sampled_from(["user", "assistant", "tool", "text", "tool_result", "message", "function_call_output"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@given(body=st.dictionaries(NAMES, SHAPED, max_size=6), dialect=st.sampled_from(sorted(DIALECTS)))
def test_any_object_is_read_or_refused(body: dict[str, object], dialect: str) -> None:
    try:
        parse_request(dialect, json.dumps(body).encode())
    except InputError as error:
        message = str(error)
    else:
        message = "read"
    assert 0 < len(message) < 400


@given(body=st.binary(max_size=64), dialect=st.sampled_from(sorted(DIALECTS)))
def test_any_bytes_are_read_or_refused(body: bytes, dialect: str) -> None:
    with pytest.raises(InputError):
        parse_request(dialect, body)
