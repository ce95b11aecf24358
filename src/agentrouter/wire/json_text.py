r"""Bounded decoding of JSON that strangers sent: every way it can be bad ends in a short ``InputError``.

Law: pure; no copies of the input. What JSON can carry is carried (NUL in a string is text); what UTF-8 cannot carry
(a lone surrogate escape such as ``"\ud800"``) is refused. Numbers are range-checked where a field is read, and
everywhere by ``decode_object``. Of duplicate keys the last wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from agentrouter.errors import InputError

T = TypeVar("T")

_DETAIL_CHARS = 160
_LONE_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_OBJECTS = msgspec.json.Decoder(dict[str, Any])


def decode_with(decoder: msgspec.json.Decoder[T], body: bytes | bytearray | memoryview | str) -> T:
    """Decode ``body`` with a typed decoder.

    Raises:
        InputError: not JSON, empty, trailing characters, invalid UTF-8, a lone surrogate, nested too deeply, a number
            out of range, or a wrong type; ``field`` is the path of the offending field (``messages[3].role``).
    """
    if not body:
        raise InputError("the body is empty: expected a JSON object")
    try:
        if isinstance(body, bytes) and not body.isascii():
            # The decoder skips fields that nobody reads without looking at their bytes.
            body.decode("utf-8")
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None
    except msgspec.DecodeError as error:
        raise InputError(_syntax_message(str(error), body)) from None
    except UnicodeError as error:
        raise InputError(f"not valid UTF-8: {_short(str(error))}") from None
    except RecursionError:
        raise InputError("nested too deeply: expected at most a few hundred levels") from None


def decode_object(body: bytes | bytearray | memoryview | str) -> dict[str, Any]:
    """Decode a JSON object of any content, checking every number and string in it.

    Raises:
        InputError: as ``decode_with``; also when the text is not an object.
    """
    return decode_with(_OBJECTS, body)


def encode_text(value: object, field: str) -> bytes:
    """Return a value that is already in memory as JSON, so that it can go through a typed decoder.

    Raises:
        InputError: it holds something that JSON cannot carry.
    """
    try:
        return msgspec.json.encode(value)
    except RecursionError:
        raise InputError("nested too deeply: expected at most a few hundred levels", field=field) from None
    except UnicodeError:
        raise InputError("a string holds a lone surrogate, which UTF-8 cannot carry", field=field) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"cannot be written as JSON: {_short(str(error))}", field=field) from None


def decode_json_mapping(text: str) -> Mapping[str, Any] | None:
    """Return the object a header or id field holds as JSON text, or None where it holds anything else."""
    if not text.startswith("{"):
        return None
    try:
        return cast("Mapping[str, Any]", _OBJECTS.decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def text_of(raw: msgspec.Raw) -> str:
    """Return the JSON text of a field that was left undecoded.

    Raises:
        InputError: its bytes are not UTF-8.
    """
    try:
        return str(raw, "utf-8")
    except UnicodeError as error:
        raise InputError(f"not valid UTF-8: {_short(str(error))}") from None


def _field_error(message: str) -> InputError:
    """Split msgspec's ``... - at `$.a.b` `` into message and field."""
    head, found, path = message.rpartition(" - at `$")
    if not found:
        head, path = message, ""
    missing = re.fullmatch(r"Object missing required field `(.+)`", head)
    field = path.rstrip("`").lstrip(".")
    if missing:
        field = f"{field}.{missing.group(1)}".lstrip(".")
        head = "required, but missing"
    return InputError(_short(head), field=_short(field))


def _syntax_message(message: str, body: bytes | bytearray | memoryview | str) -> str:
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    broken = "truncated" in message or "surrogate" in message or "escape" in message
    if broken and _LONE_SURROGATE.search(raw):
        return "not usable JSON: a \\u escape names a lone surrogate, which UTF-8 cannot carry"
    return f"not JSON: {_short(message.removeprefix('JSON is malformed: '))}"


def _short(text: str) -> str:
    return text if len(text) <= _DETAIL_CHARS else text[: _DETAIL_CHARS - 1] + "…"
