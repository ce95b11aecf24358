"""OpenAI responses: request body -> ``Prompt``.

Law: pure. Unknown fields and item types are accepted and skipped; known fields must have their type. What the model
said in one turn (reasoning, message, calls: separate items here) becomes one ``assistant`` message, as in the other
dialects, so that the same conversation normalises to the same messages.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.tokens import prompt_tokens
from agentrouter.types import Message, Tool, ToolCall
from agentrouter.wire.json_text import decode_with, text_of
from agentrouter.wire.prompt import Format, Hints, Prompt, ToolChoice, bad_role, bounded_limit, contract

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_IMAGE_PARTS = frozenset({"input_image", "output_image", "image", "computer_screenshot"})
_FILE_PARTS = frozenset({"input_file", "input_audio"})
_SERVER_SIDE = frozenset({"mcp", "code_interpreter", "computer_use_preview", "computer_use"})
"""Tools that the provider itself runs and whose effects stay."""


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct, gc=False):
    type: str = "message"
    role: str | None = None
    content: str | list[_Part] | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    call_id: str | None = None
    id: str | None = None
    output: str | list[_Part] | dict[str, msgspec.Raw] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None
    action: msgspec.Raw = msgspec.Raw(b"")
    status: str | None = None
    is_error: bool | None = None


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"")
    tools: msgspec.Raw = msgspec.Raw(b"")
    """The tools inside a ``namespace``."""


class _Text(msgspec.Struct):
    format: Format | None = None


class _Named(msgspec.Struct):
    id: str | None = None


class _Body(msgspec.Struct):
    input: str | list[_Item]
    model: str = ""
    instructions: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    text: _Text | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None
    client_metadata: dict[str, Any] | None = None
    conversation: str | _Named | None = None
    previous_response_id: str | None = None


_DECODER = msgspec.json.Decoder(_Body)


def read(body: bytes) -> Prompt:
    """Read a request body.

    Raises:
        InputError: it is not a responses request; ``field`` names the place.
    """
    request = decode_with(_DECODER, body)
    if not request.input and not request.previous_response_id:
        raise InputError("expected text or at least one item", field="input")
    limit = bounded_limit(request.max_output_tokens, "max_output_tokens")
    tools = _tools(request.tools)
    messages = _messages(request)
    held = request.conversation
    return Prompt(
        model=request.model,
        messages=messages,
        tools=tools,
        output=contract(
            request.text.format if request.text is not None else None, "text.format", request.tool_choice, tools, limit
        ),
        input_tokens=prompt_tokens(messages, tools),
        hints=Hints(
            cache_key=request.prompt_cache_key or "",
            user=request.user or "",
            metadata=request.metadata or {},
            client_metadata=request.client_metadata or {},
            conversation=(held.id or "") if isinstance(held, _Named) else held or "",
        ),
        replayable=not any(tool.kind in _SERVER_SIDE for tool in tools),
    )


class _Turn:
    """What the model said since somebody else spoke."""

    __slots__ = ("calls", "open", "thought")

    def __init__(self) -> None:
        self.open = False
        self.calls: list[ToolCall] = []
        self.thought = 0


def _messages(request: _Body) -> tuple[Message, ...]:
    out: list[Message] = []
    if request.instructions:
        out.append(Message(role="system", text=request.instructions))
    if isinstance(request.input, str):
        out.append(Message(role="user", text=request.input))
        return tuple(out)
    texts: list[str] = []
    turn = _Turn()
    for i, item in enumerate(request.input):
        kind = item.type
        if kind == "message":
            role = item.role
            if role is None:
                raise InputError("required, but missing", field=f"input[{i}].role")
            if role not in _ROLES:
                raise bad_role(role, f"input[{i}].role")
            text, images, files = _contents(item.content)
            if role == "assistant":
                turn.open = True
                texts.append(text)
                continue
            _close(out, texts, turn)
            out.append(Message(role=role, text=text, images=images, files=files))
        elif kind == "reasoning":
            turn.open = True
            turn.thought += len(item.encrypted_content or "") + len(_contents(item.summary)[0])
        elif kind.endswith("_call"):
            turn.open = True
            turn.calls.append(_call(item))
        elif kind.endswith("_output"):
            _close(out, texts, turn)
            text, images, files = _contents(item.output)
            failed = bool(item.is_error) or item.status == "failed"
            call_id = item.call_id or item.id or ""
            out.append(
                Message(role="tool", text=text, tool_call_id=call_id, is_error=failed, images=images, files=files)
            )
        elif item.encrypted_content:
            # A compacted stretch of the conversation, opaque to us.
            turn.open = True
            turn.thought += len(item.encrypted_content)
    _close(out, texts, turn)
    return tuple(out)


def _close(out: list[Message], texts: list[str], turn: _Turn) -> None:
    """Add what the model said as one message."""
    if not turn.open:
        return
    out.append(
        Message(
            role="assistant",
            text=texts[0] if len(texts) == 1 else "\n".join(texts),
            tool_calls=tuple(turn.calls),
            reasoning_chars=turn.thought,
        )
    )
    texts.clear()
    turn.calls.clear()
    turn.open = False
    turn.thought = 0


def _call(item: _Item) -> ToolCall:
    given = item.arguments if item.arguments is not None else item.input
    arguments = given if given is not None else text_of(item.action)
    name = item.name or item.type.removesuffix("_call")
    return ToolCall(id=item.call_id or item.id or "", name=name, arguments=arguments)


def _contents(content: str | list[_Part] | dict[str, msgspec.Raw] | None) -> tuple[str, int, int]:
    """Return text, images and files of a content or an output."""
    if isinstance(content, str):
        return content, 0, 0
    if not content:
        return "", 0, 0
    if isinstance(content, dict):
        kind = text_of(content["type"]).strip('"') if "type" in content else ""
        if kind in _IMAGE_PARTS:
            return "", 1, 0
        return "\n".join(text_of(raw) for raw in content.values()), 0, 0
    texts: list[str] = []
    images = files = 0
    for part in content:
        if part.text is not None:
            texts.append(part.text)
        elif part.refusal is not None:
            texts.append(part.refusal)
        elif part.type in _IMAGE_PARTS:
            images += 1
        elif part.type in _FILE_PARTS:
            files += 1
    return (texts[0] if len(texts) == 1 else "\n".join(texts)), images, files


def _tools(listed: list[_Tool] | None) -> tuple[Tool, ...]:
    if not listed:
        return ()
    out = []
    for i, item in enumerate(listed):
        if item.type == "function" and not item.name:
            raise InputError("required, but missing", field=f"tools[{i}].name")
        parameters = item.parameters if len(memoryview(item.parameters)) else item.tools
        out.append(
            Tool(
                name=item.name or item.type,
                description=item.description or "",
                parameters=text_of(parameters),
                kind=item.type,
            )
        )
    return tuple(out)
