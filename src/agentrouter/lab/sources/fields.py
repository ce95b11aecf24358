"""Single fields of a trace: tokens, money, times; exact, and refused rather than repaired.

Law: money never passes through a binary float. A USD figure is taken as the decimal text that was recorded and becomes
integer nano-dollars (half to even below the ninth decimal).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated

import msgspec

from agentrouter.errors import InputError
from agentrouter.types import NUSD_PER_USD, TokenCounts, Usage

MAX_TOKENS = 10**12
MAX_USD = 10**9
_NANOS = 1_000_000_000

Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
"""A token count as typed readers decode it."""


def tokens_from(value: object, field: str) -> int:
    """Return a token count given as a number or (as OTLP writes 64-bit numbers) as its text.

    Raises:
        InputError: not a whole number, negative, or absurdly large.
    """
    if type(value) is str and len(value) < 12 and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, str):
        value = _decimal(value, field)
    if isinstance(value, Decimal) and value.is_finite() and abs(value) <= MAX_TOKENS and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"expected a whole number of tokens, got {_shown(value)}", field=field)
    if not 0 <= value <= MAX_TOKENS:
        raise InputError(f"expected 0 to {MAX_TOKENS} tokens, got {_shown(value)}", field=field)
    return value


def nusd_from(value: object, field: str) -> int:
    """Return nano-dollars of a USD figure (decimal, integer or text).

    Raises:
        InputError: not a number, negative, or above a billion dollars.
    """
    if isinstance(value, str):
        value = _decimal(value, field)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InputError(f"expected an amount in USD, got {_shown(value)}", field=field)
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise InputError(f"expected 0 to {MAX_USD} USD, got {_shown(value)}", field=field)
    return int((amount * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def seconds_from(value: object, field: str) -> float:
    """Return seconds since the epoch of an ISO date (UTC where it names no zone) or a number of seconds.

    Raises:
        InputError: neither.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            value = _decimal(value, field)
        else:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return moment.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InputError(f"expected a time, got {_shown(value)}", field=field)
    # Comparing a Decimal NaN raises.
    if not math.isfinite(value) or not -(10**14) < value < 10**14:
        raise InputError(f"expected seconds since 1970, got {_shown(value)}", field=field)
    seconds = float(value)
    # Milliseconds are the one other unit in use; as seconds they would lie beyond the year 5000.
    return seconds / 1000 if seconds > 1e11 else seconds


def seconds_from_nanos(value: int | str, field: str) -> float:
    """Return seconds since the epoch of OTLP's nanoseconds, which come as a number or as its text."""
    try:
        nanos = int(value)
    except ValueError:
        raise InputError(f"expected nanoseconds since 1970, got {_shown(value)}", field=field) from None
    if not 0 <= nanos < 10**23:
        raise InputError(f"expected nanoseconds since 1970, got {_shown(value)}", field=field)
    return nanos / _NANOS


def usage_of_total(
    total_input: int, output: int, *, read: int = 0, write: int = 0, write_1h: int = 0, reasoning: int = 0
) -> Usage:
    """Normalise counts whose input figure should include the cached tokens.

    Some instrumentations of 2025 report Anthropic's input without them; a cached part larger than the whole gives
    those away, and then the input figure is the fresh part.
    """
    cached = read + write + write_1h
    fresh = total_input - cached if cached <= total_input else total_input
    return Usage(
        fresh_input=fresh,
        cache_read=read,
        cache_write=write,
        cache_write_1h=write_1h,
        output=output,
        reasoning=min(reasoning, output),
    )


def recorded_tokens(usage: Usage | None) -> TokenCounts:
    """Sizes of the step as its trace gives them."""
    if usage is None:
        return TokenCounts()
    return TokenCounts(input=usage.input_total, output=usage.output, estimated=usage.estimated)


class Seen:
    """Which record ids came before, in bounded memory: the last half to one million are remembered."""

    _GENERATION = 1 << 19

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._old: set[int] = set()

    def again(self, identity: object) -> bool:
        """Note an id; whether it came before."""
        key = hash(identity)
        if key in self._new or key in self._old:
            return True
        self._new.add(key)
        if len(self._new) >= self._GENERATION:
            self._old, self._new = self._new, set()
        return False


class StepCounter:
    """The next step index of each trajectory; the most recent quarter million trajectories are remembered."""

    _KEPT = 1 << 18

    def __init__(self) -> None:
        self._next: OrderedDict[str, int] = OrderedDict()

    def next(self, trajectory_id: str) -> int:
        """Count one step of a trajectory and return its index."""
        counters = self._next
        index = counters.get(trajectory_id, 0)
        counters[trajectory_id] = index + 1
        if index:
            counters.move_to_end(trajectory_id)
        elif len(counters) > self._KEPT:
            counters.popitem(last=False)
        return index


def given(raw: msgspec.Raw) -> bytes:
    """JSON text of a field; empty where the record has none or null."""
    text = bytes(raw)
    return b"" if text == b"null" else text


def first_text(values: Iterable[object]) -> str:
    """The first non-empty text among ``values``."""
    for value in values:
        if isinstance(value, str) and value:
            return value
    return ""


def _decimal(text: str, field: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InputError(f"expected a number, got {_shown(text)}", field=field) from None


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
