"""The five feature groups as a row of numbers: one function for training and for service.

Law: pure; reads only ``StepFeatures``, so a value cannot depend on anything that is not visible before the call. The
columns are data (``COLUMNS``: name, group, unit), in the order of the values; a change of a column, of its order or of
its meaning is a new ``ENCODING``, and an artefact that was fitted on another one must not be used.

Columns that were constant in training teach nothing: whoever fits a model leaves them out (the dataset card lists
them). In tables of single steps those are the ones that need a live history, such as ``last_tier``.
"""

from __future__ import annotations

import math
import re

import msgspec

from agentrouter.roles import ROLES
from agentrouter.types import CallKind, StepFeatures

ENCODING = "step-features/1"

GROUPS = ("role", "semantics", "load", "state", "dependency")
"""The five groups of ``StepFeatures``, in the order of the columns."""

MANY = 10
"""Counts of steps since an error and of retries are cut here: beyond it they say nothing more."""


class Column(msgspec.Struct, frozen=True):
    """One number of the row."""

    name: str
    group: str
    unit: str
    """``0/1``; ``share`` (0..1); ``ln(1+x)`` of what x is; else the plain unit."""


_ROLES = tuple(sorted(ROLES))
_KINDS = tuple(CallKind)
_FLAG, _SHARE = "0/1", "share"

COLUMNS: tuple[Column, ...] = (
    *(Column(f"role_{role}", "role", _FLAG) for role in _ROLES),
    *(Column(f"kind_{kind}", "role", _FLAG) for kind in _KINDS),
    *(Column(f"verb_{role}", "role", _FLAG) for role in _ROLES),
    Column("is_tool_result", "role", _FLAG),
    Column("asks_question", "role", _FLAG),
    Column("told_chars", "semantics", "ln(1+characters)"),
    Column("told_lines", "semantics", "ln(1+lines)"),
    Column("told_words", "semantics", "ln(1+words)"),
    Column("told_word_length", "semantics", "letters per word"),
    Column("told_distinct_words", "semantics", _SHARE),
    Column("told_digits", "semantics", _SHARE),
    Column("told_capitals", "semantics", _SHARE),
    Column("told_marks", "semantics", _SHARE),
    Column("told_math", "semantics", _SHARE),
    Column("told_not_ascii", "semantics", _SHARE),
    Column("told_numbers", "semantics", "ln(1+numbers)"),
    Column("told_questions", "semantics", "ln(1+question marks)"),
    Column("told_items", "semantics", "ln(1+list items)"),
    Column("told_options", "semantics", "ln(1+lettered options)"),
    Column("told_demands", "semantics", "ln(1+words of constraint)"),
    Column("seen_chars", "semantics", "ln(1+characters)"),
    Column("seen_lines", "semantics", "ln(1+lines)"),
    Column("seen_digits", "semantics", _SHARE),
    Column("prefix_tokens", "load", "ln(1+tokens)"),
    Column("new_tokens", "load", "ln(1+tokens)"),
    Column("messages", "load", "ln(1+messages)"),
    Column("tools", "load", "ln(1+tools)"),
    Column("schema_tokens", "load", "ln(1+tokens)"),
    Column("code_share", "load", _SHARE),
    Column("data_share", "load", _SHARE),
    Column("images", "load", "ln(1+images)"),
    Column("files", "load", "ln(1+files)"),
    Column("step_index", "state", "ln(1+steps)"),
    Column("errors", "state", "ln(1+errors)"),
    Column("since_error", "state", f"steps, at most {MANY}; -1: no error so far"),
    Column("last_is_error", "state", _FLAG),
    Column("repeated_calls", "state", "ln(1+calls)"),
    Column("retries", "state", f"retries, at most {MANY}"),
    Column("tool_results", "state", "ln(1+results)"),
    Column("last_tier", "state", "tier 0..3; -1: first step"),
    Column("mean_recent_tier", "state", "tier 0..3; -1: first step"),
    Column("switches", "state", "ln(1+switches)"),
    Column("foreign_share", "state", _SHARE),
    Column("reversible", "dependency", _FLAG),
    Column("strictness", "dependency", "0, 1 or 2"),
    Column("fan_out", "dependency", _SHARE),
)
"""What the values of ``numeric`` mean, in order. ``told``: the newest instruction; ``seen``: the newest observation."""

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ITEM = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])\s", re.M)
_OPTION = re.compile(r"[A-J][.):]\s(?<![^\s(](?s:...))")
"""A lettered option, alone or in brackets; what stands before the letter is looked at last, for speed."""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_DEMANDS = frozenset(["must", "only", "exactly", "never", "always", "each", "every", "without", "unless"])
_DEMAND_PAIRS = ("at least", "at most")
_MATH = "+-*/=<>^%$\\{}"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_SPACES = " \n\t\r"


def numeric(features: StepFeatures) -> tuple[float, ...]:
    """Return the values of ``COLUMNS`` for a step, all finite."""
    return (
        *_role_values(features),
        *_text_values(features.semantics.instruction),
        *_seen_values(features.semantics.observation),
        *_load_values(features),
        *_state_values(features),
        float(features.dependency.reversible),
        float(features.dependency.contract_strictness),
        features.dependency.fan_out,
    )


def places(*groups: str) -> tuple[int, ...]:
    """Return the positions of the columns of these groups, in order (for ablations).

    Raises:
        KeyError: no such group.
    """
    unknown = set(groups) - set(GROUPS)
    if unknown:
        raise KeyError(f"no feature group {sorted(unknown)}: expected some of {', '.join(GROUPS)}")
    return tuple(place for place, column in enumerate(COLUMNS) if column.group in groups)


def _role_values(features: StepFeatures) -> list[float]:
    role = features.role
    return [
        *[float(role.role == name) for name in _ROLES],
        *[float(role.kind == kind) for kind in _KINDS],
        *[float(role.verb == name) for name in _ROLES],
        float(role.is_tool_result),
        float(role.asks_question),
    ]


def _text_values(text: str) -> list[float]:
    words = _WORD.findall(text)
    letters = sum(map(len, words))
    lowered = text.lower()
    small = _WORD.findall(lowered)
    digits = _among(_DIGITS, text)
    demands = sum(map(_DEMANDS.__contains__, small)) + sum(map(lowered.count, _DEMAND_PAIRS))
    return [
        math.log1p(len(text)),
        math.log1p(_lines(text)),
        math.log1p(len(words)),
        letters / len(words) if words else 0.0,
        len(set(small)) / len(small) if small else 0.0,
        _share(digits, text),
        _share(_among(_CAPITALS, text), text),
        _share(max(0, len(text) - letters - digits - _among(_SPACES, text)), text),
        _share(_among(_MATH, text), text),
        _share(0 if text.isascii() else len(_NOT_ASCII.findall(text)), text),
        math.log1p(len(_NUMBER.findall(text)) if digits else 0),
        math.log1p(text.count("?")),
        math.log1p(len(_ITEM.findall(text))),
        math.log1p(len(_OPTION.findall(text))),
        math.log1p(demands),
    ]


def _seen_values(text: str) -> list[float]:
    return [math.log1p(len(text)), math.log1p(_lines(text)), _share(_among(_DIGITS, text), text)]


def _load_values(features: StepFeatures) -> list[float]:
    load = features.load
    return [
        math.log1p(load.prefix_tokens),
        math.log1p(load.new_tokens),
        math.log1p(load.n_messages),
        math.log1p(load.n_tools),
        math.log1p(load.tool_schema_tokens),
        load.code_share,
        load.data_share,
        math.log1p(load.n_images),
        math.log1p(load.n_files),
    ]


def _state_values(features: StepFeatures) -> list[float]:
    state = features.state
    recent = state.recent_tiers
    return [
        math.log1p(max(0, state.step_index)),
        math.log1p(state.errors),
        float(min(MANY, state.steps_since_error)),
        float(state.last_is_error),
        math.log1p(state.repeated_calls),
        float(min(MANY, state.retries)),
        math.log1p(state.tool_results),
        float(recent[-1]) if recent else -1.0,
        sum(recent) / len(recent) if recent else -1.0,
        math.log1p(state.switches),
        state.foreign_share,
    ]


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _among(characters: str, text: str) -> int:
    """Count the characters of ``text`` that are one of ``characters``: a few quick passes beat one slow one."""
    return sum(map(text.count, characters))


def _share(count: int, text: str) -> float:
    return count / len(text) if text else 0.0
