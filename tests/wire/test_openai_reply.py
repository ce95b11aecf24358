"""Steps to chat completions requests, and what comes back to replies, usage and failures."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import FailureKind, InputError
from agentrouter.providers.vendors import VENDORS
from agentrouter.types import (
    Candidate,
    Capability,
    Message,
    OutputContract,
    Price,
    Reply,
    Step,
    Tier,
    Tool,
    ToolCall,
    Usage,
)
from agentrouter.wire import parse_request
from agentrouter.wire.openai_reply import FINISH, Completion, Failure, read_completion, read_error, retry_after
from agentrouter.wire.openai_request import Dialect, request_body

CANDIDATE = Candidate(
    name="v/m",
    provider="v",
    model="m",
    tier=Tier.MID,
    price=Price(input=1, output=1, cache_read=1, cache_write=1),
    max_output=4_000,
)
PLAIN = Dialect()
READ = Tool(
    name="read_file", description="Read a file.", parameters='{"z":1.0,"type":"object","a":12345678901234567890}'
)
CALLED = (
    Message(role="system", text="Be brief."),
    Message(role="developer", text="Use tools."),
    Message(role="user", text="Read both."),
    Message(
        role="assistant",
        text="",
        reasoning_chars=400,
        tool_calls=(
            ToolCall(id="call_1", name="read_file", arguments='{"path": "a", "n": 1.0}'),
            ToolCall(id="call_2", name="read_file", arguments=""),
        ),
    ),
    Message(role="tool", tool_call_id="call_1", text="A"),
    Message(role="tool", tool_call_id="call_2", text="no such file", is_error=True),
)


def step(**fields: Any) -> Step:
    values = {"id": "s", "trajectory_id": "t", "messages": (Message(role="user", text="hi"),), **fields}
    return Step(**values)


def sent(asked: Step, dialect: Dialect = PLAIN, candidate: Candidate = CANDIDATE) -> dict[str, Any]:
    value = json.loads(request_body(asked, candidate, dialect))
    assert isinstance(value, dict)
    return value


def completion(body: object, convention: str = "openai") -> Completion | Failure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_completion(raw, step(), convention=convention)


def reply(message: dict[str, Any], finish: str | None = "stop", **around: Any) -> Reply:
    read = completion({"choices": [{"message": message, "finish_reason": finish, **around}]})
    assert isinstance(read, Completion)
    return read.reply


class TestRequest:
    def test_messages_tools_and_calls(self) -> None:
        assert sent(step(messages=CALLED, tools=(READ, Tool(name="stop"))), Dialect(developer_role=True)) == {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "Use tools."},
                {"role": "user", "content": "Read both."},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "read_file", "arguments": '{"path": "a", "n": 1.0}'},
                        },
                        {"id": "call_2", "type": "function", "function": {"name": "read_file", "arguments": "{}"}},
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "A"},
                {"role": "tool", "tool_call_id": "call_2", "content": "Tool error: no such file"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "read_file",
                        "description": "Read a file.",
                        "parameters": {"z": 1.0, "type": "object", "a": 12345678901234567890},
                    },
                },
                {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}}}},
            ],
        }

    def test_a_schema_is_written_as_it_came(self) -> None:
        assert READ.parameters.encode() in request_body(step(tools=(READ,)), CANDIDATE, PLAIN)

    def test_developer_becomes_system_where_it_is_unknown(self) -> None:
        assert [each["role"] for each in sent(step(messages=CALLED))["messages"][:2]] == ["system", "system"]

    @pytest.mark.parametrize(
        ("output", "expected"),
        [
            (OutputContract(form="tool"), "required"),
            (OutputContract(form="tool", tool="read_file"), {"type": "function", "function": {"name": "read_file"}}),
        ],
    )
    def test_tool_choice(self, output: OutputContract, expected: object) -> None:
        assert sent(step(tools=(READ,), output=output))["tool_choice"] == expected

    def test_tool_choice_in_mistrals_word(self) -> None:
        body = sent(step(tools=(READ,), output=OutputContract(form="tool")), VENDORS["mistral"].dialect)
        assert body["tool_choice"] == "any"

    def test_response_format(self) -> None:
        schema = '{"type":"object","properties":{"b":{},"a":{}}}'
        wanted = step(output=OutputContract(form="json_schema", schema=schema))
        assert sent(wanted)["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": json.loads(schema)},
        }
        assert schema.encode() in request_body(wanted, CANDIDATE, PLAIN)
        assert sent(step(output=OutputContract(form="json")))["response_format"] == {"type": "json_object"}
        assert "response_format" not in sent(step())

    @pytest.mark.parametrize(("vendor", "has_format"), [("deepseek", True), ("anthropic", False)])
    def test_a_form_that_the_vendor_cannot_enforce_is_asked_for_in_words(self, vendor: str, has_format: bool) -> None:
        schema = '{"type":"object"}'
        body = sent(step(output=OutputContract(form="json_schema", schema=schema)), VENDORS[vendor].dialect)
        assert body["messages"][0] == {
            "role": "system",
            "content": f"Answer with JSON only. It must fit this JSON Schema: {schema}",
        }
        assert body.get("response_format") == ({"type": "json_object"} if has_format else None)

    @pytest.mark.parametrize(("asked", "limit"), [(0, None), (100, 100), (9_000, 4_000)])
    def test_the_limit_is_the_callers_within_the_models(self, asked: int, limit: int | None) -> None:
        wanted = step(output=OutputContract(max_tokens=asked))
        assert sent(wanted).get("max_tokens") == limit
        body = sent(wanted, VENDORS["openai"].dialect)
        assert (body.get("max_completion_tokens"), "max_tokens" in body) == (limit, False)

    def test_logprobs_where_the_candidate_has_them_and_the_vendor_takes_them(self) -> None:
        able = msgspec.structs.replace(CANDIDATE, capabilities=frozenset({Capability.LOGPROBS}))
        assert sent(step(), candidate=able)["logprobs"] is True
        assert "logprobs" not in sent(step())
        assert "logprobs" not in sent(step(), VENDORS["groq"].dialect, able)

    def test_foreign_and_missing_call_ids_still_join_call_and_result(self) -> None:
        calls = tuple(ToolCall(id=each, name="f", arguments="{}") for each in ("toolu_01 x|y", "", "", "c" * 64))
        results = tuple(Message(role="tool", tool_call_id=each.id, text="r") for each in calls)
        asked = step(messages=(Message(role="assistant", tool_calls=calls), *results))
        for dialect, shape in ((PLAIN, r"[A-Za-z0-9_-]{1,40}"), (VENDORS["mistral"].dialect, r"[A-Za-z0-9]{9}")):
            messages = sent(asked, dialect)["messages"]
            made = [call["id"] for call in messages[0]["tool_calls"]]
            assert [message["tool_call_id"] for message in messages[1:]] == made
            assert len(set(made)) == 4
            assert all(re.fullmatch(shape, each) for each in made)

    def test_ids_of_the_own_shape_are_kept(self) -> None:
        asked = step(
            messages=(Message(role="assistant", tool_calls=(ToolCall(id="abcDEF123", name="f", arguments="{}"),)),)
        )
        for vendor in ("mistral", "openai"):
            assert sent(asked, VENDORS[vendor].dialect)["messages"][0]["tool_calls"][0]["id"] == "abcDEF123"

    def test_gemini_gets_a_stand_in_for_the_signature_of_an_earlier_call(self) -> None:
        calls = sent(step(messages=CALLED), VENDORS["gemini"].dialect)["messages"][3]["tool_calls"]
        assert [call.get("extra_content") for call in calls] == [
            {"google": {"thought_signature": "skip_thought_signature_validator"}},
            None,
        ]

    @pytest.mark.parametrize(
        ("fields", "field", "problem"),
        [
            ({"messages": (Message(role="user", text="", images=2),)}, "messages[0]", "2 images and 0 files"),
            ({"messages": (*CALLED, Message(role="user", files=1))}, "messages[6]", "0 images and 1 files"),
            ({"tools": (Tool(name="w", kind="web_search"),)}, "tools[0].type", "of kind 'web_search'"),
            ({"tools": (Tool(name="w", parameters="{nope"),)}, "tools[0].parameters", "not a JSON object"),
            ({"tools": (Tool(name="w", parameters='{}, "x": 1'),)}, "tools[0].parameters", "not a JSON object"),
            ({"tools": (Tool(name="w", parameters="[]"),)}, "tools[0].parameters", "not a JSON object"),
            ({"output": OutputContract(form="json_schema", schema="{")}, "response_format", "not a JSON object"),
            ({"output": OutputContract(form="tool", tool="x"), "tools": (READ,)}, "tool_choice", "(read_file)"),
            ({"messages": (Message(role="user", text="\ud800"),)}, "", "lone surrogate"),
        ],
    )
    def test_what_cannot_be_written_is_refused(self, fields: dict[str, Any], field: str, problem: str) -> None:
        with pytest.raises(InputError, match=r".") as caught:
            request_body(step(**fields), CANDIDATE, PLAIN)
        assert caught.value.field == field
        assert problem in caught.value.message

    @given(
        st.lists(
            st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(st.characters(codec="utf-8"))),
            min_size=1,
        )
    )
    def test_a_request_reads_back_as_the_step_it_was_made_of(self, turns: list[tuple[str, str]]) -> None:
        asked = step(messages=tuple(Message(role=role, text=text) for role, text in turns), tools=(READ,))
        again = parse_request("openai_chat", request_body(asked, CANDIDATE, PLAIN))
        assert (again.messages, again.tools) == (asked.messages, asked.tools)


class TestReply:
    def test_every_finish_reason_goes_by_the_table(self) -> None:
        found = {name: reply({"content": "x"}, name).finish for name in [*FINISH, "STOP", "pause_turn", "", "new"]}
        assert found == {**FINISH, "STOP": "stop", "pause_turn": "unknown", "": "unknown", "new": "unknown"}
        assert reply({"content": "x"}, None).finish == "unknown"

    def test_tool_calls_exactly_as_they_came(self) -> None:
        calls = [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1.0, "b":2,'}},
            {"id": "a", "type": "function", "function": {"name": "g", "arguments": {"y": 1}}},
            {"type": "function", "function": {"name": "h"}},
        ]
        read = reply({"content": None, "tool_calls": calls})
        assert read.finish == "tool_calls"
        assert [(call.name, call.arguments) for call in read.tool_calls] == [
            ("f", '{"x": 1.0, "b":2,'),
            ("g", '{"y":1}'),
            ("h", "{}"),
        ]
        ids = [call.id for call in read.tool_calls]
        assert ids[0] == "a"
        assert len(set(ids)) == 3

    def test_made_up_ids_differ_between_steps_and_attempts(self) -> None:
        body = b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f"}}]},"finish_reason":"tool_calls"}]}'
        made = [read_completion(body, step(id=id), number=number) for id, number in (("a", 0), ("b", 0), ("a", 1))]
        assert len({read.reply.tool_calls[0].id for read in made if isinstance(read, Completion)}) == 3

    def test_a_call_cut_at_the_limit_stays_length(self) -> None:
        call = {"id": "a", "function": {"name": "f", "arguments": '{"x'}}
        assert reply({"tool_calls": [call]}, "length").finish == "length"

    def test_the_old_function_call(self) -> None:
        read = reply({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call")
        assert (read.finish, read.tool_calls[0].name) == ("tool_calls", "f")

    def test_a_refusal(self) -> None:
        assert reply({"content": None, "refusal": "I will not."}) == Reply(text="I will not.", finish="refusal")

    def test_parts_of_thinking_are_not_the_answer(self) -> None:
        parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "42"}]
        assert reply({"content": parts}).text == "42"
        assert reply({"content": "42", "reasoning_content": "hm"}).text == "42"

    @pytest.mark.parametrize(
        ("logprobs", "expected"),
        [
            (
                {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": []}, {"token": "b", "logprob": 0}]},
                (-0.5, 0.0),
            ),
            (None, ()),
            ({"content": None}, ()),
            ({"tokens": ["a"], "token_logprobs": [-1]}, ()),
            ({"content": [{"token": "a", "logprob": "x"}]}, ()),
            ([1], ()),
        ],
    )
    def test_logprobs(self, logprobs: object, expected: tuple[float, ...]) -> None:
        assert reply({"content": "ab"}, logprobs=logprobs).logprobs == expected

    @pytest.mark.parametrize(
        ("finish", "kind"),
        [
            ("error", FailureKind.SERVER_ERROR),
            ("abort", FailureKind.SERVER_ERROR),
            ("insufficient_system_resource", FailureKind.OVERLOADED),
        ],
    )
    def test_a_model_that_broke_down_has_not_answered(self, finish: str, kind: FailureKind) -> None:
        usage = {"prompt_tokens": 9, "completion_tokens": 4}
        read = completion({"choices": [{"message": {"content": "Hel"}, "finish_reason": finish}], "usage": usage})
        assert isinstance(read, Failure)
        assert (read.kind, read.usage) == (kind, Usage(fresh_input=9, output=4))

    def test_output_is_estimated_where_only_the_prompt_was_counted(self) -> None:
        # 12 characters are 3 tokens.
        body = {"choices": [{"message": {"content": "twelve chars"}, "finish_reason": "stop"}]}
        read = completion({**body, "usage": {"prompt_tokens": 9, "completion_tokens": 0}})
        assert isinstance(read, Completion)
        assert read.usage == Usage(fresh_input=9, output=3, estimated=True)

    @given(st.binary(max_size=200))
    def test_bytes_of_any_kind_never_raise(self, raw: bytes) -> None:
        assert isinstance(read_completion(raw, step()), Completion | Failure)
        assert isinstance(read_error(400, {}, raw, 0.0), Failure)

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text(st.characters(codec="utf-8")),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "choices",
                            "message",
                            "content",
                            "usage",
                            "error",
                            "code",
                            "finish_reason",
                            "logprobs",
                            "metadata",
                        ]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=20,
        )
    )
    def test_json_of_any_shape_never_raises(self, value: object) -> None:
        assert isinstance(completion(value), Completion | Failure)
        assert isinstance(read_error(500, {}, json.dumps(value).encode(), 0.0), Failure)


def error(status: int, body: object, headers: dict[str, str] | None = None) -> Failure:
    return read_error(status, headers or {}, json.dumps(body).encode(), now=0.0)


MESSAGES = [
    (
        400,
        "This model's maximum context length is 8192 tokens. However, you requested 8203",
        FailureKind.CONTEXT_WINDOW,
    ),
    (400, "This model's maximum prompt length is 131072 but the request contains 140000", FailureKind.CONTEXT_WINDOW),
    (400, "prompt is too long: 210000 tokens > 200000 maximum", FailureKind.CONTEXT_WINDOW),
    (
        400,
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        FailureKind.CONTEXT_WINDOW,
    ),
    (400, "The input token count (1200000) exceeds the maximum number of tokens allowed", FailureKind.CONTEXT_WINDOW),
    (413, "Please reduce the length of the messages or completion.", FailureKind.CONTEXT_WINDOW),
    (422, "Your request exceeded model token limit: 262144", FailureKind.CONTEXT_WINDOW),
    (400, "Content Exists Risk", FailureKind.CONTENT_POLICY),
    (400, "The response was filtered due to Azure's content management policy.", FailureKind.CONTENT_POLICY),
    (403, "Your input was flagged", FailureKind.CONTENT_POLICY),
    (400, "API key not valid. Please pass a valid API key.", FailureKind.AUTH),
    (
        400,
        "max_tokens is too large: 99999. This model supports at most 4096 completion tokens",
        FailureKind.BAD_REQUEST,
    ),
    (400, "Unsupported parameter: 'max_tokens'", FailureKind.BAD_REQUEST),
    # A throttled call may speak of its tokens, and stays a throttled call.
    (429, "Too many tokens: request exceeds the context window rate", FailureKind.RATE_LIMIT),
    (503, "maximum context length", FailureKind.OVERLOADED),
]


class TestErrors:
    @pytest.mark.parametrize(("status", "message", "kind"), MESSAGES)
    def test_the_message_refines_the_status(self, status: int, message: str, kind: FailureKind) -> None:
        assert error(status, {"error": {"message": message}}).kind is kind

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            ({"error": {"message": "m", "code": "context_length_exceeded"}}, FailureKind.CONTEXT_WINDOW),
            ({"error": {"message": "m", "code": 400, "type": "exceed_context_size_error"}}, FailureKind.CONTEXT_WINDOW),
            ({"error": {"message": "m", "code": "content_policy_violation"}}, FailureKind.CONTENT_POLICY),
            ({"error": {"message": "m", "code": "invalid_prompt"}}, FailureKind.CONTENT_POLICY),
            ({"error": {"message": "m", "code": "rate_limit_exceeded", "type": "tokens"}}, FailureKind.RATE_LIMIT),
            ([{"error": {"code": 400, "message": "API key not valid.", "status": "x"}}], FailureKind.AUTH),
            ({"error": {"message": "e", "metadata": {"raw": "prompt is too long"}}}, FailureKind.CONTEXT_WINDOW),
        ],
    )
    def test_codes_and_shapes(self, body: object, kind: FailureKind) -> None:
        assert error(400, body).kind is kind

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ({"error": {"message": "why"}}, "HTTP 400: why"),
            ({"error": "why"}, "HTTP 400: why"),
            ({"message": "why", "object": "error"}, "HTTP 400: why"),
            ({"detail": "why"}, "HTTP 400: why"),
            ({"detail": [{"loc": ["body"], "msg": "why"}]}, 'HTTP 400: [{"loc":["body"],"msg":"why"}]'),
            ({"error": None}, "HTTP 400"),
            ([], "HTTP 400"),
            (5, "HTTP 400"),
        ],
    )
    def test_the_message_is_found_in_every_shape(self, body: object, detail: str) -> None:
        assert error(400, body).detail == detail

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "30"}, 30.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
            ({"retry-after": "Thu, 01 Jan 1970 00:16:41 GMT"}, 1.0),
            ({"retry-after": "Thu, 01 Jan 1970 00:16:41"}, 1.0),
            ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
            ({"retry-after": "-5"}, 0.0),
            ({"retry-after": "nan"}, 0.0),
            ({"retry-after": "inf"}, 0.0),
            ({"retry-after": "soon"}, 0.0),
            ({"retry-after": "1e9"}, 86_400.0),
            ({}, 0.0),
        ],
    )
    def test_retry_after(self, headers: dict[str, str], seconds: float) -> None:
        assert retry_after(headers, now=1_000.0) == seconds
