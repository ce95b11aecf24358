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
from agentrouter.lab.sources.fields import nusd_from, tokens_from, usage_of_total
from agentrouter.lab.sources.span_json import Span
from agentrouter.lab.sources.spans import AGENT, CALL, SpanCall
from agentrouter.types import Usage

NAMES: Mapping[str, tuple[str, ...]] = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
    "read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens.cached",
        "gen_ai.usage.cached_tokens",
    ),
    "write": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.input_tokens.cache_write",
    ),
    "reasoning": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    "cost_nusd": ("agentrouter.cost.nusd",),
    "step_id": ("agentrouter.step.id",),
    "cost": (
        "agentrouter.cost.usd",
        "gen_ai.usage.cost",
        "gen_ai.usage.total_cost",
        "gen_ai.cost.total_cost",
        "operation.cost",
        "llm.usage.total_cost_usd",
    ),
    "model": ("gen_ai.response.model", "gen_ai.request.model"),
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "conversation": ("agentrouter.trajectory.id", "gen_ai.conversation.id", "session.id", "langfuse.session.id"),
    "parent": ("agentrouter.parent.id",),
    "role": ("agentrouter.role", "gen_ai.agent.name"),
    "index": ("agentrouter.step",),
    "quality": ("agentrouter.quality",),
}
"""What each fact is called, best name first."""

_CONTENT = frozenset(
    (
        "gen_ai.input.messages",
        "gen_ai.prompt",
        "gen_ai.prompt.0.role",
        "gen_ai.prompt.0.content",
        "gen_ai.prompt.1.content",
    )
)
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
        if any(name in attributes for name in NAMES["model"]):
            return CALL if any(name in attributes for name in (*NAMES["input"], *NAMES["output"])) else ""
        return ""

    def call_of(self, span: Span) -> SpanCall:
        """Read a model call; see ``Convention``."""
        facts = facts_from(span.attributes, _RANKED)
        usage, lacks = usage_from_facts(facts)
        cost = cost_from_facts(facts)
        messages, tools = _messages(span), None
        if messages is None:
            lacks.append("messages")
        else:
            tools = _tools(span.attributes)
        if cost is None:
            lacks.append("cost")
        return SpanCall(
            model=text_from(facts, "model"),
            provider=text_from(facts, "provider"),
            conversation=text_from(facts, "conversation"),
            parent=text_from(facts, "parent"),
            role=text_from(facts, "role"),
            step_id=text_from(facts, "step_id"),
            step_index=tokens_from(facts["index"][1], "agentrouter.step") if "index" in facts else None,
            usage=usage,
            cost_nusd=cost,
            messages=messages,
            tools=tools,
            success=_quality(facts["quality"][1]) if "quality" in facts else None,
            lacks=tuple(lacks),
        )


Facts = dict[str, tuple[str, object]]
"""By fact: the attribute's name and value."""


def ranked(names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Turn a table of names around: attribute name to fact and rank."""
    return {name: (fact, rank) for fact, group in names.items() for rank, name in enumerate(group)}


def facts_from(attributes: Mapping[str, object], table: Mapping[str, tuple[str, int]]) -> Facts:
    """Pick the facts out of a span's attributes in one pass, under the best name each has."""
    facts: Facts = {}
    ranks: dict[str, int] = {}
    for name, value in attributes.items():
        place = table.get(name)
        if place is None or value is None or value == "":
            continue
        fact, rank = place
        if fact not in ranks or rank <= ranks[fact]:
            facts[fact] = (name, value)
            ranks[fact] = rank
    return facts


def text_from(facts: Facts, fact: str) -> str:
    """A fact that is text; empty where it is missing or something else."""
    value = facts[fact][1] if fact in facts else ""
    return value if isinstance(value, str) else ""


def usage_from_facts(facts: Facts) -> tuple[Usage | None, list[str]]:
    """Read ``input``, ``output``, ``read``, ``write`` and ``reasoning``; with what they lack.

    Raises:
        InputError: a count that cannot be.
    """
    if "input" not in facts and "output" not in facts:
        return None, ["usage"]
    counts = {}
    for fact in ("input", "output", "read", "write", "reasoning"):
        if fact in facts:
            name, value = facts[fact]
            counts[fact] = tokens_from(value, name)
    usage = usage_of_total(
        counts.get("input", 0),
        counts.get("output", 0),
        read=counts.get("read", 0),
        write=counts.get("write", 0),
        reasoning=counts.get("reasoning", 0),
    )
    return usage, [] if "read" in counts or "write" in counts else ["cache"]


def cost_from_facts(facts: Facts) -> int | None:
    """The recorded cost in nano-dollars."""
    if "cost_nusd" in facts:
        name, value = facts["cost_nusd"]
        return nusd_from(f"{value}e-9", name)
    if "cost" not in facts:
        return None
    name, value = facts["cost"]
    return nusd_from(value, name)


_RANKED = ranked(NAMES)


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
    if not span.events and _CONTENT.isdisjoint(span.attributes):
        return None
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
