"""What a tool's answer looks like when no field says so, and whether it reports a failure.

Law: pure. Only a bounded window of the text is read: its first ``HEAD_CHARS`` and last ``TAIL_CHARS`` characters.
"""

from __future__ import annotations

import re

HEAD_CHARS = 200
TAIL_CHARS = 300
_OPENING_CHARS = 40

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
