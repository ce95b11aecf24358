"""OpenAI chat completions: request body -> ``Prompt``.

Law: pure. Unknown fields are skipped (they reach a same-format upstream untouched); known ones must have their type.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.tokens import prompt_sizes
from agentrouter.types import Message, Tool, ToolCall
from agentrouter.wire.json_text import decode_with, text_of
from agentrouter.wire.prompt import (
    Format,
    Hints,
    Prompt,
    ToolChoice,
    bad_role,
    bounded_limit,
    check_counts,
    contract,
)

_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_IMAGE_PARTS = frozenset({"image_url", "image", "input_image"})
_FILE_PARTS = frozenset({"file", "input_file", "document", "input_audio", "audio", "video_url"})


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None
    cache_control: dict[str, Any] | None = None


class _Function(msgspec.Struct, gc=False):
    name: str
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    """What a custom tool gets instead of arguments."""


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    is_error: bool | None = None


class _ToolBody(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"")


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _ToolBody | None = None
    custom: _ToolBody | None = None
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"")


class _Body(msgspec.Struct):
    messages: list[_Message]
    model: str = ""
    tools: list[_Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    response_format: Format | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(_Body)
_MESSAGES = msgspec.json.Decoder(list[_Message])
_TOOLS = msgspec.json.Decoder(list[_Tool] | None)


def read(body: bytes) -> Prompt:
    """Read a request body.

    Raises:
        InputError: it is not a chat completions request; ``field`` names the place.
    """
    request = decode_with(_DECODER, body)
    if not request.messages:
        raise InputError("expected at least one message", field="messages")
    check_counts(request.n, request.stop, "stop")
    limit = bounded_limit(request.max_completion_tokens, "max_completion_tokens")
    limit = limit or bounded_limit(request.max_tokens, "max_tokens")
    tools = _tools(request.tools)
    messages = _messages(request.messages, "")
    size, marked = prompt_sizes(messages, tools)
    return Prompt(
        model=request.model,
        messages=messages,
        tools=tools,
        output=contract(request.response_format, "response_format", request.tool_choice, tools, limit),
        input_tokens=size,
        cacheable=marked or -1,
        hints=Hints(cache_key=request.prompt_cache_key or "", user=request.user or "", metadata=request.metadata or {}),
    )


def read_messages(text: bytes | str, speaker_role: str = "") -> tuple[Message, ...]:
    """Read a bare list of chat messages.

    Args:
        text: a JSON list.
        speaker_role: the role that messages of unknown roles are read as (multi-agent chats name the speaker there);
            empty: unknown roles are refused.

    Raises:
        InputError: ``field`` is the path below ``messages``.
    """
    try:
        listed = decode_with(_MESSAGES, text)
    except InputError as error:
        raise _below("messages", error) from None
    return _messages(listed, speaker_role)


def read_tools(text: bytes | str) -> tuple[Tool, ...]:
    """Read a bare list of tools, wrapped as the chat dialect does or flat (``{"name", "description", "parameters"}``).

    Raises:
        InputError: ``field`` is the path below ``tools``.
    """
    try:
        listed = decode_with(_TOOLS, text)
    except InputError as error:
        raise _below("tools", error) from None
    return _tools(listed)


def _below(name: str, error: InputError) -> InputError:
    joint = "" if not error.field or error.field.startswith("[") else "."
    return InputError(error.message, field=f"{name}{joint}{error.field}")


def _messages(listed: list[_Message], speaker_role: str) -> tuple[Message, ...]:
    out = []
    for i, item in enumerate(listed):
        role = _ROLES.get(item.role) or speaker_role
        if not role:
            raise bad_role(item.role, f"messages[{i}].role")
        out.append(_message(item, role, i))
    return tuple(out)


def _message(item: _Message, role: str, i: int) -> Message:
    content = item.content
    if role == "user" and isinstance(content, str) and not item.tool_calls:
        return Message(role=role, text=content)
    calls = _calls(item, i) if item.tool_calls or item.function_call is not None else ()
    reasoning = len(item.reasoning_content) if item.reasoning_content else 0
    if isinstance(content, list):
        texts, images, files, marked = _parts(content)
        return Message(
            role=role,
            text=texts,
            tool_calls=calls,
            tool_call_id=item.tool_call_id or "",
            is_error=bool(item.is_error),
            images=images,
            files=files,
            reasoning_chars=reasoning,
            cache_breakpoint=marked,
        )
    return Message(
        role=role,
        text=content or item.refusal or "",
        tool_calls=calls,
        tool_call_id=item.tool_call_id or "",
        is_error=bool(item.is_error),
        reasoning_chars=reasoning,
    )


def _parts(parts: list[_Part]) -> tuple[str, int, int, bool]:
    """Return the joined text, the images, the files, and whether a cache breakpoint is among the parts."""
    texts: list[str] = []
    images = files = 0
    marked = False
    for part in parts:
        if part.text is not None:
            texts.append(part.text)
        elif part.refusal is not None:
            texts.append(part.refusal)
        elif part.type in _IMAGE_PARTS:
            images += 1
        elif part.type in _FILE_PARTS:
            files += 1
        if part.cache_control is not None:
            marked = True
    return (texts[0] if len(texts) == 1 else "\n".join(texts)), images, files, marked


def _calls(item: _Message, i: int) -> tuple[ToolCall, ...]:
    out = []
    for j, call in enumerate(item.tool_calls or ()):
        body = call.function or call.custom
        if body is None:
            raise InputError("required, but missing", field=f"messages[{i}].tool_calls[{j}].function")
        out.append(ToolCall(id=call.id or "", name=body.name, arguments=_arguments(body)))
    if item.function_call is not None:
        body = item.function_call
        out.append(ToolCall(id="", name=body.name, arguments=_arguments(body)))
    return tuple(out)


def _arguments(body: _Function) -> str:
    # Some step tables and local servers give the object itself and not its text.
    given = body.arguments if body.arguments is not None else body.input
    return given if isinstance(given, str) else "" if given is None else msgspec.json.encode(given).decode()


def _tools(listed: list[_Tool] | None) -> tuple[Tool, ...]:
    if not listed:
        return ()
    out = []
    for i, item in enumerate(listed):
        body = item.function or item.custom
        if body is not None:
            name, description, parameters = body.name, body.description, body.parameters
        elif item.name is not None or item.type != "function":
            name, description, parameters = item.name or item.type, item.description, item.parameters
        else:
            raise InputError("required, but missing", field=f"tools[{i}].function")
        out.append(
            Tool(name=name, description=description or "", parameters=text_of(parameters), kind=item.type or "function")
        )
    return tuple(out)
