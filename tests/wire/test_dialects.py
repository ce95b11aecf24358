"""The three dialects: the same conversation reads the same, and what each has of its own is kept."""

from __future__ import annotations

import gc
import json
import time
import timeit
from typing import Any

import pytest

from agentrouter.errors import InputError
from agentrouter.types import Message, OutputContract, Step, TokenCounts
from agentrouter.wire import DIALECTS, parse_request, sniff_dialect, step_from_messages

PNG = "data:image/png;base64,AAAA"


def chat(messages: list[Any], **body: Any) -> Step:
    return parse_request("openai_chat", json.dumps({"messages": messages, **body}).encode())


def responses(items: list[Any] | str, **body: Any) -> Step:
    return parse_request("openai_responses", json.dumps({"input": items, **body}).encode())


def anthropic(messages: list[Any], **body: Any) -> Step:
    return parse_request("anthropic_messages", json.dumps({"max_tokens": 100, "messages": messages, **body}).encode())


HI = [{"role": "user", "content": "hi"}]


def test_one_conversation_in_three_dialects() -> None:
    parameters = {"type": "object"}
    arguments = '{"command":"ls"}'
    in_chat = chat(
        [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "List."},
            {
                "role": "assistant",
                "content": "I list.",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "bash", "arguments": arguments}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a.py"},
        ],
        tools=[{"type": "function", "function": {"name": "bash", "description": "Runs.", "parameters": parameters}}],
        max_completion_tokens=100,
    )
    in_responses = responses(
        [
            {"role": "user", "content": [{"type": "input_text", "text": "List."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I list."}]},
            {"type": "function_call", "call_id": "c1", "name": "bash", "arguments": arguments},
            {"type": "function_call_output", "call_id": "c1", "output": "a.py"},
        ],
        instructions="You help.",
        tools=[{"type": "function", "name": "bash", "description": "Runs.", "parameters": parameters}],
        max_output_tokens=100,
    )
    body: dict[str, Any] = {
        "system": "You help.",
        "max_tokens": 100,
        "messages": [
            {"role": "user", "content": "List."},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I list."},
                    {"type": "tool_use", "id": "c1", "name": "bash", "input": {"command": "ls"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "a.py"}]},
        ],
        "tools": [{"name": "bash", "description": "Runs.", "input_schema": parameters}],
    }
    # Compact, because arguments and schemas are kept as the text that came.
    in_anthropic = parse_request("anthropic_messages", json.dumps(body, separators=(",", ":")).encode())
    assert in_chat.messages == in_responses.messages == in_anthropic.messages
    assert in_chat.output == in_responses.output == in_anthropic.output == OutputContract(max_tokens=100)
    assert in_chat.index == in_responses.index == in_anthropic.index == 1
    assert in_chat.trajectory_id == in_responses.trajectory_id == in_anthropic.trajectory_id
    assert in_chat.tools == in_responses.tools
    assert json.loads(in_chat.tools[0].parameters) == json.loads(in_anthropic.tools[0].parameters)
    # tool: 8 + ceil(6/4) + ceil(18/4) + 1 = 16 (the schema's text is {"type": "object"}, 18 characters);
    # messages: 4+3, 4+2, 4+2+(4+1+4), 4+1 = 7+6+15+5 = 33.
    assert in_chat.tokens == TokenCounts(input=49, output=100, cacheable=-1)
    # Without a breakpoint Anthropic caches nothing; the schema is one character shorter, still ceil(17/4) = 5.
    assert in_anthropic.tokens == TokenCounts(input=49, output=100, cacheable=0)


def test_attachments_and_reasoning() -> None:
    in_chat = chat(
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "file", "file": {"file_id": "f"}},
                ],
            },
            {"role": "assistant", "content": None, "reasoning_content": "r" * 40},
        ]
    )
    assert in_chat.messages == (
        Message(role="user", text="see", images=2, files=1),
        Message(role="assistant", reasoning_chars=40),
    )
    assert in_chat.tokens.input == (4 + 1 + 2 * 1_200 + 2_500) + (4 + 10)
    in_responses = responses(
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": PNG},
                    {"type": "input_file", "file_id": "f"},
                ],
            },
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "ab"}], "encrypted_content": "r" * 38},
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PNG}]},
            {"type": "item_reference", "id": "x"},
        ]
    )
    assert [(m.role, m.images, m.files, m.reasoning_chars) for m in in_responses.messages] == [
        ("user", 1, 1, 0),
        ("assistant", 0, 0, 40),
        ("tool", 1, 0, 0),
    ]
    assert in_responses.messages[1].tool_calls[0].arguments == "*** Begin"
    in_anthropic = anthropic(
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
                    {"type": "text", "text": "see"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t" * 7, "signature": "s"},
                    {"type": "redacted_thinking", "data": "d" * 33},
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result"}]},
                    {"type": "something_new", "payload": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "is_error": True,
                        "content": [{"type": "text", "text": "a"}, {"type": "image", "source": {}}],
                    },
                    {"type": "tool_result", "tool_use_id": "t2"},
                    {"type": "text", "text": "go on"},
                ],
            },
        ]
    )
    seen = [(m.role, m.text, m.images, m.files, m.reasoning_chars, m.is_error) for m in in_anthropic.messages]
    assert seen[0] == ("user", "see", 1, 1, 0, False)
    assert seen[1][0:1] + seen[1][4:] == ("assistant", 40, False)
    assert seen[2:] == [("tool", "a", 1, 0, 0, True), ("tool", "", 0, 0, 0, False), ("user", "go on", 0, 0, 0, False)]


def test_the_turns_of_responses_are_kept_apart() -> None:
    items: list[Any] = [{"role": "user", "content": "go"}]
    for i in range(2):
        items += [
            {"type": "reasoning", "summary": [], "encrypted_content": "r" * (10 + i)},
            {"role": "assistant", "content": f"say {i}"},
            {"type": "function_call", "call_id": f"c{i}", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"c{i}", "output": "ok"},
        ]
    said = [m for m in responses(items).messages if m.role == "assistant"]
    assert [(m.text, m.reasoning_chars, [c.id for c in m.tool_calls]) for m in said] == [
        ("say 0", 10, ["c0"]),
        ("say 1", 11, ["c1"]),
    ]


EPHEMERAL = {"type": "ephemeral"}


def test_cache_breakpoints() -> None:
    tool = {"name": "abcd", "input_schema": {}}  # 8 + 1 + ceil(2/4) = 10 tokens
    system = [{"type": "text", "text": "s" * 40, "cache_control": EPHEMERAL}]  # 4 + 10
    assert anthropic(HI, tools=[tool], system=system).tokens.cacheable == 24
    assert anthropic(HI, tools=[{**tool, "cache_control": EPHEMERAL}]).tokens.cacheable == 10
    assert anthropic(HI, tools=[tool]).tokens.cacheable == 0
    assert anthropic(HI, tools=[tool], cache_control=EPHEMERAL).tokens.cacheable == -1
    marked = [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": EPHEMERAL}]}]
    assert anthropic(marked, system=system).tokens.cacheable == 14 + 5
    assert chat(HI).tokens.cacheable == -1
    assert chat([*marked, {"role": "assistant", "content": "a" * 400}]).tokens.cacheable == 5


FORCED = OutputContract(form="tool", tool="f")
SCHEMA = {"type": "object"}
IN_CHAT = {"tools": [{"type": "function", "function": {"name": n}} for n in ("f", "g")]}
IN_RESPONSES = {"tools": [{"type": "function", "name": n} for n in ("f", "g")]}
IN_ANTHROPIC: dict[str, Any] = {"tools": [{"name": n, "input_schema": {}} for n in ("f", "g")]}


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, OutputContract()),
        ({"response_format": None, "tool_choice": None}, OutputContract()),
        ({"response_format": {"type": "text"}}, OutputContract()),
        ({"response_format": {"type": "json_object"}}, OutputContract(form="json")),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
            OutputContract(form="json_schema", schema='{"type": "object"}'),
        ),
        ({"tool_choice": "auto", **IN_CHAT}, OutputContract()),
        ({"tool_choice": "none", **IN_CHAT}, OutputContract()),
        ({"tool_choice": "required", **IN_CHAT}, OutputContract(form="tool")),
        ({"tool_choice": "required", "tools": IN_CHAT["tools"][:1]}, FORCED),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}, **IN_CHAT}, FORCED),
        ({"max_tokens": 7}, OutputContract(max_tokens=7)),
        ({"max_tokens": 7, "max_completion_tokens": 9}, OutputContract(max_tokens=9)),
    ],
)
def test_chat_contracts(extra: dict[str, Any], expected: OutputContract) -> None:
    assert expected == chat(HI, **extra).output


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"text": {"verbosity": "low"}}, OutputContract()),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}},
            OutputContract(form="json_schema", schema='{"type": "object"}'),
        ),
        ({"text": {"format": {"type": "json_object"}}}, OutputContract(form="json")),
        ({"tool_choice": {"type": "function", "name": "f"}, **IN_RESPONSES}, FORCED),
        ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, OutputContract(form="tool")),
        ({"tool_choice": {"type": "file_search"}}, OutputContract(form="tool", tool="file_search")),
        ({"max_output_tokens": 7}, OutputContract(max_tokens=7)),
    ],
)
def test_responses_contracts(extra: dict[str, Any], expected: OutputContract) -> None:
    assert expected == responses("hi", **extra).output


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, OutputContract(max_tokens=100)),
        ({"output_config": {"effort": "high"}}, OutputContract(max_tokens=100)),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            OutputContract(form="json_schema", schema='{"type": "object"}', max_tokens=100),
        ),
        (
            {"output_format": {"type": "json_schema", "schema": SCHEMA}},
            OutputContract(form="json_schema", schema='{"type": "object"}', max_tokens=100),
        ),
        ({"tool_choice": {"type": "any"}, **IN_ANTHROPIC}, OutputContract(form="tool", max_tokens=100)),
        (
            {"tool_choice": {"type": "tool", "name": "f"}, **IN_ANTHROPIC},
            OutputContract(form="tool", tool="f", max_tokens=100),
        ),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}, **IN_ANTHROPIC},
            OutputContract(max_tokens=100),
        ),
    ],
)
def test_anthropic_contracts(extra: dict[str, Any], expected: OutputContract) -> None:
    assert expected == anthropic(HI, **extra).output


def test_tools_that_the_provider_runs_bind_the_step() -> None:
    assert responses("hi", tools=[{"type": "web_search"}]).replayable
    assert not responses("hi", tools=[{"type": "code_interpreter", "container": {"type": "auto"}}]).replayable
    assert not anthropic(HI, mcp_servers=[{"type": "url", "name": "m", "url": "https://example.org"}]).replayable
    assert not anthropic(HI, tools=[{"type": "code_execution_20250825", "name": "code_execution"}]).replayable
    assert anthropic(HI, tools=[{"type": "bash_20250124", "name": "bash"}]).replayable  # the client runs it


def test_an_unknown_dialect() -> None:
    with pytest.raises(InputError, match="expected one of openai_chat, openai_responses, anthropic_messages"):
        parse_request("gopher", b"{}")


def test_bodies_that_are_no_request() -> None:
    bodies: list[Any] = [b"", b"[]", b'{"a":1}', b'{"messages":7}', {"messages": {}}]
    for body in bodies:
        assert sniff_dialect(body) == ""
    assert sniff_dialect(b'{"messages":[7],"tools":[7]}') == "openai_chat"


# --- bare lists ------------------------------------------------------------------------------------------------------


def test_a_line_of_route() -> None:
    messages = [{"role": "user", "content": "Fix it"}]
    one = step_from_messages(messages, None, id="a", trajectory_id="t", step_index=3, role="gardener")
    assert (one.id, one.trajectory_id, one.index, one.role) == ("a", "t", 3, "gardener")
    assert one.tokens == TokenCounts(input=6, output=300)  # 4 + ceil(6/4)
    assert one == step_from_messages(
        json.dumps(messages), None, id="a", trajectory_id="t", step_index=3, role="gardener"
    )


def test_a_row_whose_contents_were_cut_keeps_its_true_length() -> None:
    messages = [{"role": "user", "content": "x" * 400}]
    long = step_from_messages(messages, id="a", trajectory_id="t", context_chars=40_000)
    short = step_from_messages(messages, id="a", trajectory_id="t", context_chars=40)
    assert (long.tokens.input, short.tokens.input) == (10_000, 104)


def test_rows_of_the_step_tables() -> None:
    tools = [{"name": "get", "description": "Gets.", "parameters": ["city"]}]
    messages = [
        {"role": "user", "content": "q"},
        {"role": "Weather_Expert", "content": "sunny"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "get", "arguments": {"city": "a"}}}],
        },
    ]
    one = step_from_messages(messages, json.dumps(tools), id="a", trajectory_id="t", speaker_role="assistant")
    assert [m.role for m in one.messages] == ["user", "assistant", "assistant"]
    assert one.messages[2].tool_calls[0].arguments == '{"city":"a"}'
    assert (one.tools[0].name, one.tools[0].parameters) == ("get", '["city"]')
    with pytest.raises(InputError) as caught:
        step_from_messages(messages, id="a", trajectory_id="t")
    assert caught.value.field == "messages[1].role"
    assert step_from_messages(messages[:1], "[]", id="a", trajectory_id="t").tools == ()
    assert step_from_messages(messages[:1], "null", id="a", trajectory_id="t").tools == ()


@pytest.mark.parametrize(
    ("messages", "tools", "field"),
    [
        (None, None, "messages"),
        ([], None, "messages"),
        ({}, None, "messages"),
        ("not json", None, "messages"),
        ([{"role": "user", "content": 7}], None, "messages[0].content"),
        ([{"role": "user", "content": "a"}], [{"name": 7}], "tools[0].name"),
        ([{"role": "user", "content": "a"}], 7, "tools"),
    ],
)
def test_bad_lines_name_the_field(messages: object, tools: object, field: str) -> None:
    with pytest.raises(InputError) as caught:
        step_from_messages(messages, tools, id="a", trajectory_id="t")
    assert caught.value.field == field


# --- I6: size --------------------------------------------------------------------------------------------------------


def big(scale: int) -> bytes:
    """4,000 messages, 2,000 tools, a 1 MB schema and 1,000 images at scale 16."""
    image = {"type": "image_url", "image_url": {"url": PNG}}
    messages: list[dict[str, Any]] = [
        {"role": "user" if i % 2 else "assistant", "content": "x" * 50} for i in range(250 * scale)
    ]
    messages.append({"role": "user", "content": [image] * (63 * scale)})
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": f"f{i}", "parameters": {}}} for i in range(125 * scale)
    ]
    tools.append({"type": "function", "function": {"name": "wide", "parameters": {"x": "y" * (62_500 * scale)}}})
    return json.dumps({"messages": messages, "tools": tools}).encode()


def test_cost_is_linear_in_the_body() -> None:
    def seconds(body: bytes) -> float:
        # The collector's walks depend on what else is alive in the test process.
        gc.disable()
        try:
            return min(
                timeit.repeat(lambda: parse_request("openai_chat", body), number=1, repeat=7, timer=time.process_time)
            )
        finally:
            gc.enable()

    small, large = big(2), big(16)
    step = parse_request("openai_chat", large)
    assert (len(step.messages), len(step.tools), step.messages[-1].images) == (4_001, 2_001, 1_008)
    # 8 times the size may take 8 times the processor time (24 allowed: caches spill); quadratic would take 64 times.
    assert seconds(large) < 24 * seconds(small)


def test_every_dialect_module_reads() -> None:
    assert set(DIALECTS) == {"openai_chat", "openai_responses", "anthropic_messages"}
