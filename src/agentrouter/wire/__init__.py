"""Client dialects: request bytes -> ``Step``.

Law: pure. The body is read, never copied or changed; unknown fields are none of our business here and reach a
same-format upstream untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from agentrouter.errors import InputError
from agentrouter.tokens import prompt_tokens
from agentrouter.types import CallKind, Message, Pins, Step, Tier, TokenCounts
from agentrouter.wire.identity import identify, lower_keys, orders, prefix_hash, step_id
from agentrouter.wire.json_text import decode_object, encode_text
from agentrouter.wire.openai_chat import read_messages, read_tools
from agentrouter.wire.prompt import Prompt

DIALECTS: Mapping[str, str] = MappingProxyType(
    {
        "openai_chat": "agentrouter.wire.openai_chat",
        "openai_responses": "agentrouter.wire.openai_responses",
        "anthropic_messages": "agentrouter.wire.anthropic",
    }
)
"""Dialect -> the module whose ``read`` knows it."""

EXPECTED_OUTPUT_TOKENS = 300
"""What a step is expected to write where nothing better is known; agents' steps are short."""
_TITLE_TOKENS = 20
_COMPACTION_TOKENS = 1_500
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def parse_request(
    dialect: str, body: bytes | dict[str, Any], headers: Mapping[str, str] = _NO_HEADERS, *, caller: str = ""
) -> Step:
    """Make a step of a client's request.

    Args:
        dialect: a name of ``DIALECTS``.
        body: the request body. Bytes are the fast way; an object is written as JSON first.
        headers: of the request, names in any case.
        caller: id (never the secret) of the key that the request came with; part of the fingerprint that stands for
            the trajectory where the client sends no id.

    Raises:
        InputError: the body or one of our headers cannot be used; ``field`` names the place.
    """
    module = DIALECTS.get(dialect)
    if module is None:
        raise InputError(f"unknown dialect {dialect[:40]!r}: expected one of {', '.join(DIALECTS)}")
    prompt: Prompt = import_module(module).read(body if isinstance(body, bytes) else encode_text(body, ""))
    lowered = lower_keys(headers)
    ours = orders(lowered)
    who = identify(prompt, lowered, caller)
    prefix = prefix_hash(prompt.messages, prompt.tools)
    return Step(
        id=step_id(who.trajectory_id, prompt, prefix),
        trajectory_id=who.trajectory_id,
        index=_turns(prompt.messages),
        parent_id=who.parent_id,
        role=ours.role,
        kind=who.kind,
        retry=who.retry,
        messages=prompt.messages,
        tools=prompt.tools,
        output=prompt.output,
        tokens=TokenCounts(
            input=prompt.input_tokens,
            output=_expected_output(who.kind, prompt.output.max_tokens),
            cacheable=prompt.cacheable,
        ),
        slo=ours.slo,
        pins=_pins(prompt.model, ours.pins),
        replayable=prompt.replayable,
        prefix_hash=prefix,
    )


def _expected_output(kind: CallKind, limit: int) -> int:
    expected = EXPECTED_OUTPUT_TOKENS
    if kind is CallKind.TITLE:
        expected = _TITLE_TOKENS
    elif kind is CallKind.COMPACTION:
        expected = _COMPACTION_TOKENS
    return min(expected, limit) if limit else expected


def _pins(model: str, pins: Pins) -> Pins:
    """Add what the model name pins: ``agentrouter/tier:<tier>`` a tier, ``provider/model`` a candidate."""
    if "/" not in model:
        return pins
    if not model.startswith("agentrouter/"):
        return Pins(model=model, tier=pins.tier, max_cost_nusd=pins.max_cost_nusd)
    if not model.startswith("agentrouter/tier:"):
        return pins
    try:
        tier = Tier.parse(model.removeprefix("agentrouter/tier:")[:40])
    except InputError as error:
        raise InputError(error.message, field="model") from None
    if pins.tier is not None and pins.tier is not tier:
        raise InputError(
            f"names tier {tier.label}, but x-agentrouter-tier names {pins.tier.label}: give one", field="model"
        )
    return Pins(tier=tier, max_cost_nusd=pins.max_cost_nusd)


def sniff_dialect(body: bytes | dict[str, Any]) -> str:
    """Return the dialect that a logged request body is of, or ``""`` where it is none of ours.

    ``input`` means responses; ``messages`` means Anthropic where ``system`` is a field or blocks of its own appear,
    else chat. Bodies that both would read are called chat.
    """
    try:
        fields = body if isinstance(body, dict) else decode_object(body)
    except InputError:
        return ""
    if "input" in fields or "previous_response_id" in fields:
        return "openai_responses"
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return ""
    if "system" in fields or "stop_sequences" in fields or "anthropic_version" in fields:
        return "anthropic_messages"
    for tool in fields.get("tools") or ():
        return "anthropic_messages" if isinstance(tool, dict) and "input_schema" in tool else "openai_chat"
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and block.get("type") in ("tool_use", "tool_result", "thinking"):
                return "anthropic_messages"
    return "openai_chat"


def step_from_messages(
    messages: object,
    tools: object = None,
    *,
    id: str,
    trajectory_id: str,
    step_index: int = 0,
    role: str = "unknown",
    context_chars: int = 0,
    speaker_role: str = "",
) -> Step:
    """Make a step of chat messages (a line of ``agentrouter route``, a row of a step table).

    Args:
        messages: a list of chat messages, or the same as JSON text.
        tools: a list of tools, wrapped or flat, or JSON text; None or empty: none.
        id: the step's id.
        trajectory_id: its trajectory.
        step_index: its position there.
        role: the caller's name for the role; kept as given.
        context_chars: true length of the prompt where the messages were cut; below their own length it is ignored.
        speaker_role: role for messages whose own is unknown (multi-agent chats name the speaker); empty: refuse them.

    Raises:
        InputError: ``field`` names the place.
    """
    listed = read_messages(_json(messages, "messages"), speaker_role)
    if not listed:
        raise InputError("expected at least one message", field="messages")
    offered = read_tools(_json(tools, "tools")) if tools else ()
    size = max(prompt_tokens(listed, offered), context_chars // 4)
    return Step(
        id=id,
        trajectory_id=trajectory_id,
        index=step_index,
        role=role or "unknown",
        messages=listed,
        tools=offered,
        tokens=TokenCounts(input=size, output=EXPECTED_OUTPUT_TOKENS),
        prefix_hash=prefix_hash(listed, offered),
    )


def _json(value: object, field: str) -> bytes | str:
    return value if isinstance(value, (bytes, str)) else encode_text(value, field)


def _turns(messages: tuple[Message, ...]) -> int:
    """Return how many turns the model has taken in a prompt: runs of assistant messages."""
    count = 0
    previous = ""
    for message in messages:
        count += message.role == "assistant" != previous
        previous = message.role
    return count
