"""What a text looks like where no field says so: a tool's answer, a failure, code, data.

Law: pure. Only bounded windows of a text are read: for failures its first ``HEAD_CHARS`` and last ``TAIL_CHARS``
characters, for the shares of code and data its last ``SAMPLE_CHARS``. The shares rise linearly with the density of the
characters that mark code or data, from what prose has to what code or data has.
"""

from __future__ import annotations

import re

from agentrouter.types import Message

HEAD_CHARS = 200
TAIL_CHARS = 300
_OPENING_CHARS = 40
SAMPLE_CHARS = 400

_OBSERVATION_HEADS = (
    "Observation:",
    "OBSERVATION:",
    "<returncode>",
    "<tool_response>",
    "<tool_result",
    "<function_results",
    "Tool result",
    "[Tool result",
    "EXECUTION RESULT",
    "# Fix any errors below",
)
"""How agents without tool messages hand a tool's answer back in a user message (smolagents, mini-swe-agent, aider)."""

_FAILED_HEADS = (
    "error",
    "[error",
    "traceback (",
    "fatal:",
    "exception",
    "<tool_use_error>",
    "<error>",
    "tool error",
    "failed to ",
    "failure:",
    "invalid arguments",
    '{"error"',
    "npm err!",
    "bash: ",
    "sh: ",
)
_FAILED_MARKS = (
    "raceback (most recent call last)",
    "ommand not found",
    "o such file or directory",
    "ermission denied",
    "egmentation fault",
    "anicked at",
    "AssertionError",
)
"""Anywhere in the window; first letters are left off because they come in either case."""
_EXIT_CODE = re.compile(r"(?:xit(?:ed)?(?: with)?(?: (?i:code|status))|eturn ?code)[\"':=> ]{0,4}(-?\d{1,5})\b")
_NO_ERROR = ("error: (none)", "error: none", "errors: 0", "error: 0")


def is_observation(text: str) -> bool:
    """Whether a user message is a tool's answer by its first words."""
    head = text[:40].lstrip()
    return head.startswith(_OBSERVATION_HEADS)


def looks_failed(text: str) -> bool:
    """Whether a tool's answer reports a failure: an error at its head, a traceback, a non-zero exit code."""
    if not text:
        return False
    window = text if len(text) <= HEAD_CHARS + TAIL_CHARS else f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    head = window[:_OPENING_CHARS].lstrip().lower()
    if head.startswith("observation:"):
        head = head[12:].lstrip()
    if head.startswith(_FAILED_HEADS) and not head.startswith(_NO_ERROR):
        return True
    for mark in _FAILED_MARKS:
        if mark in window:
            return True
    if not ("xit " in window or "xited " in window or "eturncode" in window or "eturn code" in window):
        return False
    return any(code.strip("-0") for code in _EXIT_CODE.findall(window))


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
    sample = "".join([m.text[-SAMPLE_CHARS:] for m in messages if m.role != "system" and m.role != "developer"])
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
