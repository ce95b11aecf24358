"""What the dialects share: the normalised prompt, output contracts and limits.

Law: pure. A dialect module offers ``read(body) -> Prompt``; ``wire.parse_request`` makes a ``Step`` of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.types import Message, OutputContract, Tool
from agentrouter.wire.json_text import text_of

MAX_OUTPUT_LIMIT = 10_000_000
"""More output tokens than this in a request is a mistake: refused, so that no budget reservation can overflow."""
MAX_ANSWERS = 128
MAX_STOPS = 1_000

ROLES_EXPECTED = "system, developer, user, assistant, tool"


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """What the body says of whose trajectory this is; read by ``identity``."""

    user_id: str = ""
    """Anthropic ``metadata.user_id``."""
    cache_key: str = ""
    """OpenAI ``prompt_cache_key``."""
    user: str = ""
    metadata: Mapping[str, Any] = {}
    """OpenAI ``metadata``."""
    client_metadata: Mapping[str, Any] = {}
    """Codex ``client_metadata``."""
    conversation: str = ""
    """OpenAI responses ``conversation``."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A request body, normalised over the dialects."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    output: OutputContract = OutputContract()
    input_tokens: int = 0
    cacheable: int = -1
    hints: Hints = Hints()
    replayable: bool = True


class Named(msgspec.Struct):
    """An object of which only the name matters."""

    name: str = ""


class ToolChoice(msgspec.Struct):
    """``tool_choice`` as an object, in any dialect."""

    type: str
    name: str | None = None
    function: Named | None = None
    mode: str | None = None


class SchemaFormat(msgspec.Struct):
    """The inner ``json_schema`` object of the chat dialect."""

    name: str | None = None
    schema: msgspec.Raw = msgspec.Raw(b"")


class Format(msgspec.Struct):
    """``response_format`` (chat), ``text.format`` (responses), ``output_config.format`` (Anthropic)."""

    type: str
    json_schema: SchemaFormat | None = None
    schema: msgspec.Raw = msgspec.Raw(b"")


def bounded_limit(limit: int | None, field: str) -> int:
    """Return the caller's output limit, 0 where there is none.

    Raises:
        InputError: below 1 or absurdly high.
    """
    if limit is None:
        return 0
    if not 1 <= limit <= MAX_OUTPUT_LIMIT:
        raise InputError(f"expected an integer from 1 to {MAX_OUTPUT_LIMIT}, got {limit}", field=field)
    return limit


def check_counts(n: int | None, stop: str | list[str] | None, stop_field: str) -> None:
    """Refuse absurd numbers of answers and of stop sequences.

    Raises:
        InputError: outside the bounds.
    """
    if n is not None and not 1 <= n <= MAX_ANSWERS:
        raise InputError(f"expected an integer from 1 to {MAX_ANSWERS}, got {n}", field="n")
    if isinstance(stop, list) and len(stop) > MAX_STOPS:
        raise InputError(f"expected at most {MAX_STOPS} sequences, got {len(stop)}", field=stop_field)


def contract(
    form: Format | None, form_field: str, choice: str | ToolChoice | None, tools: tuple[Tool, ...], max_tokens: int
) -> OutputContract:
    """Return the strictest demand of a request: a named tool, a schema, any JSON, some tool, else text.

    Raises:
        InputError: an unknown ``tool_choice`` or format.
    """
    tool, needs_tool = _forced_tool(choice)
    if needs_tool and not tool and len(tools) == 1:
        tool = tools[0].name
    if tool:
        return OutputContract(form="tool", tool=tool, max_tokens=max_tokens)
    if form is not None:
        if form.type == "json_schema":
            raw = form.json_schema.schema if form.json_schema is not None else form.schema
            return OutputContract(form="json_schema", schema=text_of(raw), max_tokens=max_tokens)
        if form.type == "json_object":
            return OutputContract(form="json", max_tokens=max_tokens)
        if form.type not in ("text", "grammar", "python"):
            raise InputError(
                f"expected one of text, json_object, json_schema, got {form.type[:40]!r}", field=f"{form_field}.type"
            )
    if needs_tool:
        return OutputContract(form="tool", max_tokens=max_tokens)
    return OutputContract(max_tokens=max_tokens)


def _forced_tool(choice: str | ToolChoice | None) -> tuple[str, bool]:
    """Return the forced tool's name (or empty) and whether some tool must be called."""
    if choice is None:
        return "", False
    kind = choice if isinstance(choice, str) else choice.type
    if kind in ("auto", "none", "validated"):
        return "", False
    if kind in ("required", "any"):
        return "", True
    if isinstance(choice, str):
        raise InputError(f"expected one of auto, none, required, got {kind[:40]!r}", field="tool_choice")
    if kind == "allowed_tools":
        return "", choice.mode == "required"
    named = choice.name or (choice.function.name if choice.function is not None else "")
    # A built-in tool of a provider ({"type": "file_search"}) is named by its type.
    return named or kind, True


def bad_role(role: str, field: str) -> InputError:
    """Return the error for a message role that is none of the known ones."""
    return InputError(f"unknown role {role[:40]!r}: expected one of {ROLES_EXPECTED}", field=field)
