"""A step as a row of numbers: what the trees read. The same function in training and in service.

Law: pure; only what is visible before the call, nothing of what other policies chose (recent tiers), no word that
could name a benchmark. A change of a column, its order or its meaning is a new ``NUMBERS_ENCODING``.
"""

from __future__ import annotations

import math
import re

from agentrouter.roles import ROLES
from agentrouter.types import Step, StepFeatures

NUMBERS_ENCODING = "step-numbers/1"

_ROLES = tuple(sorted(ROLES))
_TEXT = (
    "log_chars",
    "log_lines",
    "log_words",
    "word_length",
    "distinct_words",
    "digit_share",
    "upper_share",
    "mark_share",
    "math_share",
    "foreign_share",
    "log_numbers",
    "log_questions",
    "log_items",
    "log_options",
    "log_demands",
)
COLUMNS: tuple[str, ...] = (
    *(f"role_{role}" for role in _ROLES),
    *("is_tool_result", "asks_question"),
    *("log_prefix_tokens", "log_new_tokens", "log_messages", "log_tools", "log_schema_tokens"),
    *("code_share", "data_share", "images", "files"),
    *("log_step_index", "log_errors", "since_error", "last_is_error", "log_repeated", "retries", "log_results"),
    *("reversible", "strictness", "fan_out"),
    *(f"told_{name}" for name in _TEXT),
    *("seen_log_chars", "seen_log_lines", "seen_digit_share"),
)
"""Names of the columns, in order."""

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.M)
_OPTION = re.compile(r"(?:^|\s)\(?[A-J][.):]\s")
_DEMAND = re.compile(r"\b(?:must|only|exactly|at least|at most|never|always|each|every|without|unless)\b", re.I)
_MATH = frozenset("+-*/=<>^%$\\∑√≤≥{}")


def numbers(step: Step, features: StepFeatures) -> list[float]:
    """Return the values of ``COLUMNS`` for a step; all finite."""
    role, load, state, hangs = features.role, features.load, features.state, features.dependency
    seen = features.semantics.observation
    return [
        *[float(role.role == name) for name in _ROLES],
        float(role.is_tool_result),
        float(role.asks_question),
        math.log1p(load.prefix_tokens),
        math.log1p(load.new_tokens),
        math.log1p(load.n_messages),
        math.log1p(load.n_tools),
        math.log1p(load.tool_schema_tokens),
        load.code_share,
        load.data_share,
        float(load.n_images),
        float(load.n_files),
        math.log1p(max(0, state.step_index)),
        math.log1p(state.errors),
        float(min(10, state.steps_since_error)),
        float(state.last_is_error),
        math.log1p(state.repeated_calls),
        float(min(10, state.retries)),
        math.log1p(state.tool_results),
        float(hangs.reversible),
        float(hangs.contract_strictness),
        hangs.fan_out,
        *_text_numbers(features.semantics.instruction),
        math.log1p(len(seen)),
        math.log1p(seen.count("\n")),
        _share(sum(map(str.isdigit, seen)), seen),
    ]


def _text_numbers(text: str) -> list[float]:
    """Return the values of ``_TEXT``."""
    found = _WORD.findall(text)
    letters = sum(map(len, found))
    spaces = sum(map(str.isspace, text))
    digits = sum(map(str.isdigit, text))
    return [
        math.log1p(len(text)),
        math.log1p(text.count("\n")),
        math.log1p(len(found)),
        letters / len(found) if found else 0.0,
        len({word.lower() for word in found}) / len(found) if found else 0.0,
        _share(digits, text),
        _share(sum(map(str.isupper, text)), text),
        _share(len(text) - letters - digits - spaces, text),
        _share(sum(map(_MATH.__contains__, text)), text),
        _share(0 if text.isascii() else sum(char > "\x7f" for char in text), text),
        math.log1p(len(_NUMBER.findall(text))),
        math.log1p(text.count("?")),
        math.log1p(len(_ITEM.findall(text))),
        math.log1p(len(_OPTION.findall(text))),
        math.log1p(len(_DEMAND.findall(text))),
    ]


def _share(count: int, text: str) -> float:
    return count / len(text) if text else 0.0
