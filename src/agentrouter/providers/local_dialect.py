"""Steps to small-model prompts, and small-model output to replies.

Law: pure. Small models call tools reliably only when they are told how in plain words and held to a JSON Schema: their
own tool templates are missing (SmolLM2) or not enforced (Qwen2.5-Coder answers in a code fence), as measured in
LAB_LOG.md. So tools become lines of the system message and the output is a union: one alternative per tool, its name a
constant, its arguments under the tool's own schema; and, when the model is free to, a plain answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from agentrouter.errors import FailureKind, ProviderError
from agentrouter.providers.engine import ChatMessage, Generation, Request
from agentrouter.types import Message, Reply, Step, Tool, ToolCall

ANY_JSON = '{"anyOf":[{"type":"object"},{"type":"array"}]}'


class Shape(NamedTuple):
    """How the output of a request is to be read."""

    schema: str
    is_union: bool
    """The output is a tool call or a plain answer, wrapped in JSON."""


def request_from_step(step: Step, *, max_tokens: int) -> Request:
    """Return the generation that answers ``step``, with at most ``max_tokens`` (the step's own limit if lower).

    Raises:
        ProviderError: ``bad_request``: a schema is not JSON, or a forced tool does not exist.
    """
    limit = min(step.output.max_tokens, max_tokens) if step.output.max_tokens else max_tokens
    tools = _callable_tools(step)
    messages = [_chat_message(message) for message in step.messages]
    if tools:
        messages = [ChatMessage(role="system", text=_tool_lines(tools, forced=_is_forced(step))), *messages]
    return Request(messages=_merged(messages), schema=shape_of(step).schema, max_tokens=limit)


def shape_of(step: Step) -> Shape:
    """Return the schema the output must fit (empty: free text) and whether it is a union with tool calls.

    Raises:
        ProviderError: ``bad_request``: as ``request_from_step``.
    """
    tools = _callable_tools(step)
    if tools:
        return Shape(_union_schema(tools, forced=_is_forced(step)), is_union=True)
    if step.output.form == "json_schema":
        _parsed(step.output.schema, "the output's JSON Schema")
        return Shape(step.output.schema, is_union=False)
    return Shape(ANY_JSON if step.output.form == "json" else "", is_union=False)


def reply_from_generation(generation: Generation, shape: Shape, call_id: str) -> Reply:
    """Return the reply; a wrapped tool call is unwrapped, and one cut off by the token limit stays text."""
    if shape.is_union:
        try:
            value = msgspec.json.decode(generation.text)
        except msgspec.DecodeError:
            # Only a cut-off output can break the grammar; the finish reason says so.
            return Reply(text=generation.text, finish=generation.finish, logprobs=generation.logprobs)
        if "tool" in value:
            arguments = msgspec.json.encode(value["arguments"]).decode()
            call = ToolCall(id=call_id, name=value["tool"], arguments=arguments)
            return Reply(tool_calls=(call,), finish="tool_calls", logprobs=generation.logprobs)
        return Reply(text=value["answer"], finish=generation.finish, logprobs=generation.logprobs)
    return Reply(text=generation.text, finish=generation.finish, logprobs=generation.logprobs)


def _callable_tools(step: Step) -> tuple[Tool, ...]:
    """Return the tools the model may call now. A demanded JSON form rules calls out: it is what the caller parses."""
    if step.output.form in ("json", "json_schema"):
        return ()
    if step.output.form == "tool" and step.output.tool:
        named = tuple(tool for tool in step.tools if tool.name == step.output.tool)
        if not named:
            names = ", ".join(tool.name for tool in step.tools) or "none"
            raise ProviderError(
                f"the forced tool {step.output.tool!r} is not among the tools ({names})", FailureKind.BAD_REQUEST
            )
        return named
    return step.tools


def _is_forced(step: Step) -> bool:
    return step.output.form == "tool"


def _tool_lines(tools: tuple[Tool, ...], *, forced: bool) -> str:
    lines = ["You can call these tools:"]
    for tool in tools:
        schema = msgspec.json.encode(_arguments_schema(tool)).decode()
        lines.append(f"- {tool.name}: {tool.description} arguments schema: {schema}")
    lines.append('To call a tool, answer with JSON only: {"tool": "<name>", "arguments": {...}}.')
    if not forced:
        lines.append('If no tool is needed, answer with JSON only: {"answer": "<your answer>"}.')
    return "\n".join(lines)


def _union_schema(tools: tuple[Tool, ...], *, forced: bool) -> str:
    alternatives: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {
                "tool": {"const": tool.name},
                "arguments": _rebased(_arguments_schema(tool), f"#/anyOf/{place}/properties/arguments"),
            },
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for place, tool in enumerate(tools)
    ]
    if not forced:
        alternatives.append(
            {
                "type": "object",
                "properties": {"answer": {"type": "string"}},
                "required": ["answer"],
                "additionalProperties": False,
            }
        )
    return msgspec.json.encode({"anyOf": alternatives}).decode()


def _arguments_schema(tool: Tool) -> dict[str, Any]:
    """Return the tool's argument schema, closed to other names unless the tool opens it itself.

    Small models otherwise go on inventing properties until the token limit.
    """
    schema = _parsed(tool.parameters, f"the argument schema of tool {tool.name!r}") if tool.parameters else {}
    closed = {"type": "object", "additionalProperties": bool(not schema.get("properties"))}
    return {**closed, **{key: value for key, value in schema.items() if key != "$schema"}}


def _rebased(value: Any, root: str) -> Any:
    """Return the schema with its own references (``#/$defs/City``) pointing below ``root``, where it now lies."""
    if isinstance(value, list):
        return [_rebased(each, root) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: root + each[1:]
        if key == "$ref" and isinstance(each, str) and each.startswith("#")
        else _rebased(each, root)
        for key, each in value.items()
    }


def _parsed(text: str, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ProviderError(f"{what} is not a JSON object: {error}", FailureKind.BAD_REQUEST) from error


def _chat_message(message: Message) -> ChatMessage:
    """Return the message in the three roles every chat template knows."""
    if message.role in ("system", "developer"):
        return ChatMessage(role="system", text=message.text)
    if message.role == "assistant":
        calls = [
            f'{{"tool": {msgspec.json.encode(call.name).decode()}, "arguments": {call.arguments or "{}"}}}'
            for call in message.tool_calls
        ]
        return ChatMessage(role="assistant", text="\n".join(part for part in (message.text, *calls) if part))
    if message.role == "tool":
        head = "Tool error" if message.is_error else "Tool result"
        return ChatMessage(role="user", text=f"{head}:\n{message.text}")
    return ChatMessage(role="user", text=message.text)


def _merged(messages: list[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Join system messages at the head and neighbours of one role: templates want one system, then turns."""
    system = "\n\n".join(message.text for message in messages if message.role == "system" and message.text)
    turns: list[ChatMessage] = [ChatMessage(role="system", text=system)] if system else []
    for message in messages:
        if message.role == "system":
            continue
        if turns and turns[-1].role == message.role:
            turns[-1] = ChatMessage(role=message.role, text=f"{turns[-1].text}\n\n{message.text}")
        else:
            turns.append(message)
    return tuple(turns)
