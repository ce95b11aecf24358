"""Anthropic messages: request body -> ``Prompt``.

Law: pure. Unknown fields and block types are accepted and skipped; known fields must have their type. A user message
with tool results becomes one ``tool`` message for each result, then a ``user`` message of what is left, in order;
every system block becomes a message of its own, so that a volatile block can be told from the rest. ``system`` in the
middle of ``messages`` (beta ``mid-conversation-system``) stays where it is.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.tokens import prompt_sizes, tool_tokens
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

_ROLES = frozenset({"user", "assistant", "system", "developer"})
_FILE_BLOCKS = frozenset({"document", "container_upload"})
_SERVER_SIDE = ("code_execution", "bash_code", "mcp_toolset", "computer_")
"""Tools that the provider itself runs and whose effects stay."""


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")
    tool_use_id: str | None = None
    content: str | list[_Block] | dict[str, msgspec.Raw] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    data: str | None = None
    cache_control: dict[str, Any] | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Block]


class _Tool(msgspec.Struct):
    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = msgspec.Raw(b"")
    cache_control: dict[str, Any] | None = None


class _OutputConfig(msgspec.Struct):
    format: Format | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Body(msgspec.Struct):
    messages: list[_Message]
    model: str = ""
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    tool_choice: ToolChoice | None = None
    output_config: _OutputConfig | None = None
    output_format: Format | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    metadata: _Metadata | None = None
    cache_control: dict[str, Any] | None = None
    mcp_servers: list[dict[str, Any]] | None = None


_DECODER = msgspec.json.Decoder(_Body)


def read(body: bytes) -> Prompt:
    """Read a request body.

    Raises:
        InputError: it is not a messages request; ``field`` names the place.
    """
    request = decode_with(_DECODER, body)
    if not request.messages:
        raise InputError("expected at least one message", field="messages")
    check_counts(None, request.stop_sequences, "stop_sequences")
    limit = bounded_limit(request.max_tokens, "max_tokens")
    tools = _tools(request.tools)
    messages = tuple(_messages(request))
    size, marked = prompt_sizes(messages, tools)
    form, field = request.output_format, "output_format"
    if request.output_config is not None and request.output_config.format is not None:
        form, field = request.output_config.format, "output_config.format"
    return Prompt(
        model=request.model,
        messages=messages,
        tools=tools,
        output=contract(form, field, request.tool_choice, tools, limit),
        input_tokens=size,
        cacheable=_cacheable(request, marked, tools),
        hints=Hints(user_id=(request.metadata.user_id or "") if request.metadata is not None else ""),
        replayable=not request.mcp_servers and not any(tool.kind.startswith(_SERVER_SIDE) for tool in tools),
    )


def _cacheable(request: _Body, marked: int, tools: tuple[Tool, ...]) -> int:
    """Return the tokens up to the last breakpoint; nothing is cached without one, all of it with the automatic one."""
    if request.cache_control is not None:
        return -1
    if not marked and request.tools and any(tool.cache_control is not None for tool in request.tools):
        return tool_tokens(tools)
    return marked


def _messages(request: _Body) -> list[Message]:
    out: list[Message] = []
    system = request.system
    if isinstance(system, str):
        out.append(Message(role="system", text=system))
    elif system:
        for block in system:
            marked = block.cache_control is not None
            out.append(Message(role="system", text=block.text or "", cache_breakpoint=marked))
    for i, item in enumerate(request.messages):
        if item.role not in _ROLES:
            raise bad_role(item.role, f"messages[{i}].role")
        if isinstance(item.content, str):
            out.append(Message(role=item.role, text=item.content))
        elif item.role == "user":
            _add_user(out, item.content, i)
        else:
            out.append(_said(item.role, item.content, i))
    return out


def _add_user(out: list[Message], blocks: list[_Block], i: int) -> None:
    """Add a user message: its tool results apart, the rest together."""
    rest: list[_Block] = []
    for j, block in enumerate(blocks):
        if not block.type.endswith("tool_result"):
            rest.append(block)
            continue
        if rest:
            out.append(_said("user", rest, i))
            rest = []
        if block.tool_use_id is None:
            raise InputError("required, but missing", field=f"messages[{i}].content[{j}].tool_use_id")
        text, images, files = _contents(block.content)
        out.append(
            Message(
                role="tool",
                text=text,
                tool_call_id=block.tool_use_id,
                is_error=bool(block.is_error),
                images=images,
                files=files,
                cache_breakpoint=block.cache_control is not None,
            )
        )
    if rest or not blocks:
        out.append(_said("user", rest, i))


def _said(role: str, blocks: list[_Block], i: int) -> Message:
    """Return one message of blocks that are not tool results."""
    texts: list[str] = []
    calls: list[ToolCall] = []
    images = files = thought = 0
    marked = False
    for j, block in enumerate(blocks):
        if block.cache_control is not None:
            marked = True
        if block.type == "text":
            if block.text is None:
                raise InputError("required, but missing", field=f"messages[{i}].content[{j}].text")
            texts.append(block.text)
        elif block.type.endswith("tool_use"):
            calls.append(ToolCall(id=block.id or "", name=block.name or "", arguments=text_of(block.input)))
        elif block.type == "thinking":
            thought += len(block.thinking or "")
        elif block.type == "redacted_thinking":
            thought += len(block.data or "")
        elif block.type == "image":
            images += 1
        elif block.type in _FILE_BLOCKS:
            files += 1
        else:
            # Results of server tools, search results and whatever comes next: their text, if they have any.
            text, more_images, more_files = _contents(block.content)
            texts.append(block.text or text)
            images += more_images
            files += more_files
    return Message(
        role=role,
        text=texts[0] if len(texts) == 1 else "\n".join(texts),
        tool_calls=tuple(calls),
        images=images,
        files=files,
        reasoning_chars=thought,
        cache_breakpoint=marked,
    )


def _contents(content: str | list[_Block] | dict[str, msgspec.Raw] | None) -> tuple[str, int, int]:
    """Return text, images and files of a tool result's content."""
    if isinstance(content, str):
        return content, 0, 0
    if not content:
        return "", 0, 0
    if isinstance(content, dict):
        return "\n".join(text_of(raw) for raw in content.values()), 0, 0
    texts = [block.text for block in content if block.text is not None]
    images = sum(block.type == "image" for block in content)
    files = sum(block.type in _FILE_BLOCKS for block in content)
    return (texts[0] if len(texts) == 1 else "\n".join(texts)), images, files


def _tools(listed: list[_Tool] | None) -> tuple[Tool, ...]:
    if not listed:
        return ()
    out = []
    for i, item in enumerate(listed):
        name = item.name or item.type
        if not name:
            raise InputError("required, but missing", field=f"tools[{i}].name")
        kind = "function" if item.type in (None, "custom") else str(item.type)
        out.append(
            Tool(name=name, description=item.description or "", parameters=text_of(item.input_schema), kind=kind)
        )
    return tuple(out)
