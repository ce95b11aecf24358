"""How much of the newest text is code, and how much is data (tables, JSON, logs of numbers).

Law: pure. A window of each message is read (its last ``WINDOW_CHARS`` characters); a window's share rises linearly with
the density of the characters that mark code or data, from what prose has to what code or data has.
"""

from __future__ import annotations

from agentrouter.types import Message

WINDOW_CHARS = 512

_CODE = b"{}()[];=<>_/\\|&*+#@$`"
_DATA = b'0123456789",:|\t'
_CODE_LOW, _CODE_HIGH = 0.03, 0.12
"""Density of ``_CODE`` characters in prose and in code."""
_DATA_LOW, _DATA_HIGH = 0.06, 0.30


def shares(messages: tuple[Message, ...]) -> tuple[float, float]:
    """Return the code share and the data share (0 to 1 each, three decimals) of the messages' windows.

    System messages are left out: they say what the agent is, not what it works on.
    """
    total = code = data = 0.0
    for message in messages:
        if not message.text or message.role in ("system", "developer"):
            continue
        window = message.text[-WINDOW_CHARS:].encode("utf-8", "surrogatepass")
        size = len(window)
        total += size
        code += size * _ramp((size - len(window.translate(None, _CODE))) / size, _CODE_LOW, _CODE_HIGH)
        data += size * _ramp((size - len(window.translate(None, _DATA))) / size, _DATA_LOW, _DATA_HIGH)
    if not total:
        return 0.0, 0.0
    return round(code / total, 3), round(data / total, 3)


def _ramp(density: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (density - low) / (high - low)))
