"""YAML text to checked values, with the line of every key: what config and policy files share.

Law: safe YAML only (no tags, no duplicate keys, aliases bounded); no file is read here.
"""

from __future__ import annotations

import types
from difflib import get_close_matches
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from agentrouter.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

MAX_NODES = 100_000
"""A config with more nodes than this is an alias bomb, not a config."""


class Document:
    """A parsed YAML mapping that knows on which line each key stands."""

    def __init__(self, value: dict[str, Any], lines: dict[str, int], file: str) -> None:
        self.value, self.file = value, file
        self._lines = lines

    @classmethod
    def empty(cls) -> Document:
        """Return the document of no file."""
        return cls({}, {}, "")

    def place(self, path: str) -> str:
        """Return ``"line 7: models[0]: "`` for a key path, as a prefix of a problem."""
        line = self._line(path)
        return (f"line {line}: " if line else "") + (f"{path}: " if path else "")

    def convert(self, kind: type[T]) -> T:
        """Return the document as ``kind``.

        Raises:
            ConfigError: all unknown keys with the nearest known names, else the values of a wrong type.
        """
        problems = [self.place(path) + message for path, message in _unknown_keys(self.value, kind, "")]
        if problems:
            raise ConfigError(problems, file=self.file)
        try:
            return msgspec.convert(self.value, kind)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$")
            path = place.rstrip("`").lstrip(".")
            raise ConfigError(self.place(path) + message[:1].lower() + message[1:], file=self.file) from None

    def _line(self, path: str) -> int:
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return 0


def parse_yaml(text: str, *, file: str) -> Document:
    """Parse a YAML mapping.

    Raises:
        ConfigError: not YAML, not a mapping, a duplicate key, a tag, or too many nodes; with the line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{line}is not YAML: {problem}", file=file) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", file=file) from None
    if node is None:
        raise ConfigError("is empty; see docs/config.md for what it holds", file=file)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("line 1: expected a mapping of keys to values", file=file)
    lines: dict[str, int] = {}
    problems: list[str] = []
    try:
        _walk(node, "", lines, problems, [0])
    except RecursionError:
        raise ConfigError("is nested too deeply, or an alias holds itself", file=file) from None
    if problems:
        raise ConfigError(problems, file=file)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ConfigError(f"{line}{getattr(error, 'problem', None) or error}", file=file) from None
    return Document(value, lines, file)


def _walk(node: yaml.Node, path: str, lines: dict[str, int], problems: list[str], count: list[int]) -> None:
    """Note each key's line; report duplicate keys and custom tags."""
    count[0] += 1
    if count[0] > MAX_NODES:
        if count[0] == MAX_NODES + 1:
            problems.append(f"holds more than {MAX_NODES} values (aliases counted); that is not a config")
        return
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        problems.append(f"line {node.start_mark.line + 1}: tag {node.tag!r} is not allowed")
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen:
                problems.append(f"line {line}: key {name!r} stands twice")
            seen.add(name)
            child = f"{path}.{name}" if path else name
            lines[child] = line
            _walk(value, child, lines, problems, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            child = f"{path}[{index}]"
            lines[child] = item.start_mark.line + 1
            _walk(item, child, lines, problems, count)


def _unknown_keys(value: Any, kind: Any, path: str) -> list[tuple[str, str]]:
    """List every key that ``kind`` does not have, all the way down."""
    kind = _strip_optional(kind)
    found: list[tuple[str, str]] = []
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if not isinstance(value, dict):
            return found
        hints = get_type_hints(kind)
        names = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
        known = {encoded: hints[name] for name, encoded in names.items()}
        for key, item in value.items():
            child = f"{path}.{key}" if path else str(key)
            if key in known:
                found += _unknown_keys(item, known[key], child)
                continue
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            found.append((child, f"unknown key; {hint}known keys are {', '.join(sorted(known))}"))
        return found
    arguments = get_args(kind)
    if get_origin(kind) is dict and isinstance(value, dict) and len(arguments) == 2:
        for key, item in value.items():
            found += _unknown_keys(item, arguments[1], f"{path}.{key}" if path else str(key))
    elif get_origin(kind) in (list, tuple) and isinstance(value, list) and arguments:
        for index, item in enumerate(value):
            found += _unknown_keys(item, arguments[0], f"{path}[{index}]")
    return found


def _strip_optional(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        structs = [each for each in get_args(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
        return structs[0] if len(structs) == 1 else None
    return kind
