"""OpenInference attribute names (Phoenix, Envoy AI Gateway and many instrumentations), over the same span JSON.

Specification: https://arize-ai.github.io/openinference/spec/attributes/semantic-conventions.html
``llm.token_count.prompt`` includes the cached tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources.gen_ai import (
    GenAi,
    cost_from_facts,
    facts_from,
    numbered,
    ranked,
    text_from,
    usage_from_facts,
)
from agentrouter.lab.sources.lines import top_keys
from agentrouter.lab.sources.span_json import Span
from agentrouter.lab.sources.spans import AGENT, CALL, SpanCall, SpanReader
from agentrouter.lab.trace import RecordedStep, TraceReport

NAMES: Mapping[str, tuple[str, ...]] = {
    "input": ("llm.token_count.prompt",),
    "output": ("llm.token_count.completion",),
    "read": ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
    "write": ("llm.token_count.prompt_details.cache_write",),
    "reasoning": ("llm.token_count.completion_details.reasoning",),
    "cost_nusd": ("agentrouter.cost.nusd",),
    "cost": ("agentrouter.cost.usd", "llm.cost.total"),
    "model": ("llm.response.model_name", "llm.model_name", "llm.request.model_name"),
    "provider": ("llm.provider", "llm.system"),
    "conversation": ("session.id",),
    "role": ("agentrouter.role", "agent.name"),
}
"""What each fact is called, best name first."""
_RANKED = ranked(NAMES)
MARKS = (b"openinference.span.kind", b'"llm.token_count.', b'"llm.model_name"', b'"span_kind"')


class OpenInference:
    """The OpenInference convention."""

    def kind_of(self, span: Span) -> str:
        """The span kind it names, with LLM as the call."""
        kind = span.attributes.get("openinference.span.kind")
        if isinstance(kind, str):
            return {"LLM": CALL, "AGENT": AGENT}.get(kind.upper(), kind.lower())
        return CALL if "llm.model_name" in span.attributes and "llm.token_count.prompt" in span.attributes else ""

    def call_of(self, span: Span) -> SpanCall:
        """Read a model call; see ``Convention``."""
        facts = facts_from(span.attributes, _RANKED)
        usage, lacks = usage_from_facts(facts)
        cost = cost_from_facts(facts)
        rows = numbered(span.attributes, "llm.input_messages.")
        if cost is None:
            lacks.append("cost")
        if not rows:
            lacks.append("messages")
        return SpanCall(
            model=text_from(facts, "model"),
            provider=text_from(facts, "provider"),
            conversation=text_from(facts, "conversation"),
            role=text_from(facts, "role"),
            usage=usage,
            cost_nusd=cost,
            messages=[_message(row) for row in rows] if rows else None,
            tools=_tools(span.attributes) if rows else None,
            lacks=tuple(lacks),
        )


def _message(row: Mapping[str, object]) -> dict[str, object]:
    content = row.get("message.content")
    parts = numbered(row, "message.contents.")
    message: dict[str, object] = {"role": row.get("message.role", "user"), "content": content}
    if parts:
        message["content"] = [_part(part) for part in parts]
    if "message.tool_call_id" in row:
        message["tool_call_id"] = row["message.tool_call_id"]
    calls = numbered(row, "message.tool_calls.")
    if calls:
        message["tool_calls"] = [
            {
                "id": call.get("tool_call.id", ""),
                "type": "function",
                "function": {
                    "name": call.get("tool_call.function.name", ""),
                    "arguments": call.get("tool_call.function.arguments", ""),
                },
            }
            for call in calls
        ]
    return message


def _part(part: Mapping[str, object]) -> dict[str, object]:
    if part.get("message_content.type") == "image" or "message_content.image.image.url" in part:
        return {"type": "image_url", "image_url": {"url": "recorded"}}
    return {"type": "text", "text": part.get("message_content.text", "")}


def _tools(attributes: Mapping[str, object]) -> list[object] | None:
    tools: list[object] = []
    for row in numbered(attributes, "llm.tools."):
        schema = row.get("tool.json_schema")
        if isinstance(schema, str):
            try:
                schema = msgspec.json.decode(schema)
            except msgspec.DecodeError as error:
                raise InputError(f"expected a JSON Schema: {error}", field="llm.tools") from None
        if schema is not None:
            tools.append(schema)
    return tools or None


class OpenInferenceSource:
    """OpenInference spans; GenAI spans in between are read too."""

    name = "openinference"

    def __init__(self) -> None:
        self._spans = SpanReader((OpenInference(), GenAi()))

    def sniff(self, path: Path, head: bytes) -> bool:
        """Spans with OpenInference marks."""
        return is_spans(head) and any(mark in head for mark in MARKS)

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the LLM spans."""
        return self._spans.read(path, report)


def is_spans(head: bytes) -> bool:
    """Whether a file holds spans as JSON, of any convention."""
    if b'"resourceSpans"' not in head and b'"span_id"' not in head and b'"spanId"' not in head:
        return False
    keys = top_keys(head)
    named = b"attributes" in keys and ({b"spanId", b"span_id", b"context"} & keys)
    return b"resourceSpans" in keys or bool(named)
