"""OpenTelemetry's GenAI attribute names: today's (``gen_ai.provider.name``, ``gen_ai.input.messages``), those of 2025
(``gen_ai.system``, ``gen_ai.usage.prompt_tokens``, ``gen_ai.prompt.N.*``, span events) and our own ``agentrouter.*``.

The names are literals rather than imports: the conventions have left the semantic-conventions package, which marks
every one of them as deprecated, and old traces keep the old names for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources.fields import first_text, nusd_from, tokens_from, usage_of_total
from agentrouter.lab.sources.spans import AGENT, CALL, Span, SpanCall
from agentrouter.types import Usage

INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")
READ = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "gen_ai.usage.cached_tokens",
)
WRITE = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.input_tokens.cache_write",
)
REASONING = ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")
COST = (
    "agentrouter.cost.usd",
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    "gen_ai.cost.total_cost",
    "operation.cost",
    "llm.usage.total_cost_usd",
)
MODEL = ("gen_ai.response.model", "gen_ai.request.model")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
CONVERSATION = ("agentrouter.trajectory.id", "gen_ai.conversation.id", "session.id", "langfuse.session.id")

_KINDS = {
    "chat": CALL,
    "generate_content": CALL,
    "text_completion": CALL,
    "completion": CALL,
    "invoke_agent": AGENT,
    "create_agent": "create agent",
    "execute_tool": "tool",
    "embeddings": "embeddings",
}
_TRACELOOP = {"agent": AGENT, "tool": "tool", "workflow": "workflow", "task": "task"}
_EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


class GenAi:
    """The GenAI convention."""

    def kind_of(self, span: Span) -> str:
        """A call is an inference operation, or a span without one that carries a model and its tokens."""
        attributes = span.attributes
        operation = attributes.get("gen_ai.operation.name")
        if isinstance(operation, str):
            return _KINDS.get(operation, operation)
        loop = attributes.get("traceloop.span.kind")
        if isinstance(loop, str):
            return _TRACELOOP.get(loop, loop)
        if attributes.get("llm.request.type") in ("chat", "completion"):
            return CALL
        if any(name in attributes for name in MODEL) and any(name in attributes for name in (*INPUT, *OUTPUT)):
            return CALL
        return ""

    def call_of(self, span: Span) -> SpanCall:
        """Read a model call; see ``Convention``."""
        attributes = span.attributes
        usage, lacks = usage_from_names(attributes, (INPUT, OUTPUT, READ, WRITE, REASONING))
        cost = cost_from_names(attributes, COST)
        messages, tools = _messages(span), None
        if messages is None:
            lacks.append("messages")
        else:
            tools = _tools(attributes)
        if cost is None:
            lacks.append("cost")
        index = attributes.get("agentrouter.step")
        return SpanCall(
            model=first_text(attributes.get(name) for name in MODEL),
            provider=first_text(attributes.get(name) for name in PROVIDER),
            conversation=first_text(attributes.get(name) for name in CONVERSATION),
            parent=first_text((attributes.get("agentrouter.parent.id"),)),
            role=first_text((attributes.get("agentrouter.role"), attributes.get("gen_ai.agent.name"))),
            step_index=None if index is None else tokens_from(index, "agentrouter.step"),
            usage=usage,
            cost_nusd=cost,
            messages=messages,
            tools=tools,
            success=_quality(attributes.get("agentrouter.quality")),
            lacks=tuple(lacks),
        )


def usage_from_names(
    attributes: Mapping[str, object], names: tuple[tuple[str, ...], ...]
) -> tuple[Usage | None, list[str]]:
    """Read usage by tables of names (input, output, cache read, cache write, reasoning); with what it lacks.

    Raises:
        InputError: a count that cannot be.
    """
    found = [_count(attributes, group) for group in names]
    total, output, read, write, reasoning = found
    if total is None and output is None:
        return None, ["usage"]
    usage = usage_of_total(total or 0, output or 0, read=read or 0, write=write or 0, reasoning=reasoning or 0)
    return usage, ["cache"] if read is None and write is None else []


def cost_from_names(attributes: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    """The recorded cost in nano-dollars, under the first of the names in use."""
    for name in names:
        value = attributes.get(name)
        if value is not None:
            return nusd_from(value, name)
    return None


def _count(attributes: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = attributes.get(name)
        if value is not None:
            return tokens_from(value, name)
    return None


def _quality(value: object) -> float | None:
    if isinstance(value, Decimal | int | float) and 0 <= value <= 1:
        return float(value)
    return None


def json_list(value: object, field: str) -> list[object]:
    """A list that an attribute holds either as it is or as JSON text.

    Raises:
        InputError: neither.
    """
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise InputError(f"expected a JSON list: {error}", field=field) from None
    if not isinstance(value, list):
        raise InputError("expected a list", field=field)
    return value


def numbered(attributes: Mapping[str, object], prefix: str) -> list[dict[str, object]]:
    """Gather ``prefix.N.name`` attributes into one record for each N, in order of N.

    Raises:
        InputError: N is not a number.
    """
    rows: dict[int, dict[str, object]] = {}
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        position, _, rest = name[len(prefix) :].partition(".")
        if not position.isdecimal() or len(position) > 6:
            raise InputError("expected a number after the prefix", field=name)
        rows.setdefault(int(position), {})[rest] = value
    return [rows[position] for position in sorted(rows)]


def _messages(span: Span) -> list[object] | None:
    """The prompt in chat form, wherever this span has it; None: content was not captured."""
    holders: list[Mapping[str, object]] = [span.attributes, *(attributes for _, attributes in span.events)]
    for holder in holders:
        if "gen_ai.input.messages" in holder:
            messages = json_list(holder["gen_ai.input.messages"], "gen_ai.input.messages")
            system = holder.get("gen_ai.system_instructions")
            head = [] if system is None else _system(json_list(system, "gen_ai.system_instructions"))
            return head + [chat for message in messages for chat in _chat_from_parts(message)]
    rows = numbered(span.attributes, "gen_ai.prompt.")
    if rows:
        return [_chat_from_row(row) for row in rows]
    events = [_chat_from_event(_EVENT_ROLES[name], row) for name, row in span.events if name in _EVENT_ROLES]
    if events:
        return list(events)
    for holder in holders:
        if "gen_ai.prompt" in holder:
            value = holder["gen_ai.prompt"]
            if isinstance(value, str) and value.lstrip().startswith("["):
                return json_list(value, "gen_ai.prompt")
            return [{"role": "user", "content": _text(value)}]
    return None


def _system(parts: list[object]) -> list[object]:
    text = "\n".join(_text(part.get("content")) for part in parts if isinstance(part, dict))
    return [{"role": "system", "content": text}]


def _chat_from_parts(message: object) -> list[object]:
    """One message of the current convention (``role`` and ``parts``) in chat form; tool results become their own."""
    if not isinstance(message, dict):
        raise InputError("expected a message", field="gen_ai.input.messages")
    parts = message.get("parts")
    if not isinstance(parts, list):
        return [message]
    chat: list[object] = []
    texts: list[object] = []
    calls: list[object] = []
    for part in parts:
        if not isinstance(part, dict):
            raise InputError("expected a message part", field="gen_ai.input.messages")
        kind = part.get("type")
        if kind == "tool_call":
            calls.append(_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind == "tool_call_response":
            result = part.get("response", part.get("result"))
            chat.append({"role": "tool", "tool_call_id": _text(part.get("id")), "content": _text(result)})
        elif kind in ("blob", "file", "uri"):
            texts.append({"type": "image_url", "image_url": {"url": "recorded"}})
        elif kind != "reasoning":
            texts.append({"type": "text", "text": _text(part.get("content"))})
    if texts or calls or not chat:
        row: dict[str, object] = {"role": message.get("role", "user"), "content": texts}
        if calls:
            row["tool_calls"] = calls
        chat.append(row)
    return chat


def _chat_from_row(row: Mapping[str, object]) -> dict[str, object]:
    """``gen_ai.prompt.N.*`` as the instrumentations of 2025 wrote it."""
    message: dict[str, object] = {"role": row.get("role", "user"), "content": _text(row.get("content"))}
    if "tool_call_id" in row:
        message["tool_call_id"] = row["tool_call_id"]
    calls = numbered(row, "tool_calls.")
    if calls:
        message["tool_calls"] = [_call(call.get("id"), call.get("name"), call.get("arguments")) for call in calls]
    return message


def _chat_from_event(role: str, row: Mapping[str, object]) -> dict[str, object]:
    message: dict[str, object] = {"role": role, "content": _text(row.get("content"))}
    if role == "tool":
        message["tool_call_id"] = _text(row.get("id"))
    if row.get("tool_calls") is not None:
        message["tool_calls"] = json_list(row["tool_calls"], "tool_calls")
    return message


def _tools(attributes: Mapping[str, object]) -> list[object] | None:
    definitions = attributes.get("gen_ai.tool.definitions")
    if definitions is not None:
        return json_list(definitions, "gen_ai.tool.definitions")
    rows = numbered(attributes, "llm.request.functions.")
    return [{"type": "function", "function": row} for row in rows] or None


def _call(identity: object, name: object, arguments: object) -> dict[str, object]:
    return {
        "id": _text(identity),
        "type": "function",
        "function": {"name": _text(name), "arguments": _text(arguments)},
    }


def _text(value: object) -> str:
    """Text of a value; structured values as compact JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
