"""Where results go: JSON to stdout or a file, tables to the terminal, progress to stderr."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from agentrouter.errors import InputError

PIPE_WIDTH = 160
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _PlainConsole(Console):
    """A console on which a name of somebody else's cannot move the cursor or change colours."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text), **options)


def console() -> Console:
    """Return the console for tables (stdout)."""
    # Names of roles, models and files come from others: markup and emoji codes in them are text like any other.
    found = _PlainConsole(highlight=False, markup=False, emoji=False)
    # A pipe or a file has no width: tables are not cut to the 80 columns that would be assumed.
    return found if found.is_terminal else _PlainConsole(highlight=False, markup=False, emoji=False, width=PIPE_WIDTH)


def notes() -> Console:
    """Return the console for progress and remarks (stderr), which a program reading stdout never sees."""
    return _PlainConsole(stderr=True, highlight=False, markup=False, emoji=False)


def print_json(value: object) -> None:
    """Print a value as indented JSON on stdout."""
    sys.stdout.write(_indented(value))


def write_json(value: object, path: Path) -> None:
    """Write a value as indented JSON to a file, or to stdout for ``-``.

    Raises:
        InputError: the file cannot be written.
    """
    if str(path) == "-":
        print_json(value)
        return
    write_text(_indented(value), path)


def write_text(text: str, path: Path) -> None:
    """Write a file, making its folder.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(path)) from None


def _indented(value: object) -> str:
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A file name that is not UTF-8 comes as lone surrogates, which JSON cannot carry.
        encoded = msgspec.json.encode(_speakable(msgspec.to_builtins(value)))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def _speakable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_speakable(key): _speakable(item) for key, item in value.items()}
        case list() | tuple():
            return [_speakable(item) for item in value]
        case _:
            return value
