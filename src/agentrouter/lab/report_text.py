"""Figures and foreign names as text that is safe to print and to read.

Law: whatever comes from a trace (roles, models, file names) passes ``clean`` before it reaches a terminal, a plot or a
page; pages escape it as well.
"""

from __future__ import annotations

import re
import unicodedata

from agentrouter.lab.intervals import Interval
from agentrouter.types import NUSD_PER_USD

LONGEST_NAME = 120

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Controls, direction marks, lone surrogates, private and unassigned characters."""


def clean(text: str, longest: int = LONGEST_NAME) -> str:
    """Return ``text`` on one line without terminal sequences and invisible characters, cut to ``longest``."""
    text = _ESCAPE_SEQUENCE.sub("", text)
    text = "".join(
        " " if char in "\t\n\r" else "\ufffd" if unicodedata.category(char) in _HIDDEN else char
        for char in text[: 4 * longest]
    )
    text = re.sub(" +", " ", text).strip(" ")
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def usd(nusd: float) -> str:
    """Return nano-dollars as a figure to read: cents from 1 USD on, else enough digits not to read as zero."""
    sign, amount = ("\u2212" if nusd < 0 else ""), abs(nusd) / NUSD_PER_USD
    if amount == 0:
        return "$0"
    for least, digits in ((1.0, 2), (0.01, 4), (0.000_1, 6)):
        if amount >= least:
            return f"{sign}${amount:,.{digits}f}"
    return f"{sign}${amount:.9f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as percent; an en dash where there is none."""
    if share is None:
        return "\u2013"
    shown = round(100.0 * share, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{shown:,.{digits}f}\u202f%".replace("-", "\u2212")


def span(interval: Interval | None, digits: int = 1) -> str:
    """Return an interval of shares as ``[low, high]``; says so where there is none."""
    if interval is None:
        return "no interval (one task)"
    return f"[{percent(interval.low, digits)}, {percent(interval.high, digits)}]"


def count(number: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{number:,}"


def tokens(number: int) -> str:
    """Return a token count, shortened from 10,000 on (``12.3k``, ``4.56M``, ``1.2G``)."""
    if number < 10_000:
        return f"{number:,}"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 1_000 * size else f"{number / size:,.0f}{unit}"
    return str(number)
