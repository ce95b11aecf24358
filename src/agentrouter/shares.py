"""How much of the newest text is code, and how much is data (tables, JSON, logs of numbers).

Law: pure. A window of each message is read (its last ``WINDOW_CHARS`` characters). The shares rise linearly with the
density of the characters that mark code or data, from what prose has to what code or data has.
"""

from __future__ import annotations

from agentrouter.types import Message

WINDOW_CHARS = 400

_CODE_LOW, _CODE_HIGH = 0.03, 0.12
"""Density of code characters in prose and in code."""
_DATA_LOW, _DATA_HIGH = 0.06, 0.30


def _classes() -> bytes:
    """Return the table that maps each byte to ``c`` (marks code), ``d`` (marks data) or a blank."""
    table = bytearray(b" " * 256)
    for byte in b"{}()[];=<>_/\\&*+#@$`":
        table[byte] = ord("c")
    for byte in b'0123456789",:|\t':
        table[byte] = ord("d")
    return bytes(table)


_CLASSES = _classes()


def shares(messages: tuple[Message, ...]) -> tuple[float, float]:
    """Return the code share and the data share (0 to 1 each, three decimals) of the messages' windows.

    System messages are left out: they say what the agent is, not what it works on.
    """
    sample = "".join([m.text[-WINDOW_CHARS:] for m in messages if m.role != "system" and m.role != "developer"])
    if not sample:
        return 0.0, 0.0
    marks = sample.encode("utf-8", "surrogatepass").translate(_CLASSES)
    size = len(marks)
    return (
        _ramp(marks.count(b"c") / size, _CODE_LOW, _CODE_HIGH),
        _ramp(marks.count(b"d") / size, _DATA_LOW, _DATA_HIGH),
    )


def _ramp(density: float, low: float, high: float) -> float:
    return round(min(1.0, max(0.0, (density - low) / (high - low))), 3)
