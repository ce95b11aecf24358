"""The parts of a prompt that change between requests of one trajectory and say nothing of the task.

Law: pure. The parts are left out of fingerprints only; the messages keep them.
"""

from __future__ import annotations

BILLING_HEAD = "x-anthropic-billing-header:"
"""Claude Code's first system block; its suffix changes between requests of one session."""

_BLOCKS = (
    ("<system-reminder>", "</system-reminder>"),
    ("<environment_context>", "</environment_context>"),
    ("<session_context>", "</session_context>"),
    ("<env>", "</env>"),
)
_LINE_MARKS = ("oday's date", "urrent date", "urrent time", "orking director")
"""A line with one of these says when or where the agent runs (first letters of either case are left off)."""
_SETUP_HEAD = "This is the "
_SETUP_MARK = "etting up the context"


def visible_text(text: str) -> str:
    """Return what a user message says apart from blocks that the client put in; empty where that is all."""
    if "<" in text:
        for head, tail in _BLOCKS:
            if head in text:
                text = _without_block(text, head, tail)
    return text.strip()


def is_setup(text: str) -> bool:
    """Whether a user message only sets up the session (Qwen Code and Gemini CLI open with one)."""
    return text.startswith(_SETUP_HEAD) and _SETUP_MARK in text[:120]


def stable_text(text: str) -> str:
    """Return a prompt text without its volatile blocks and lines, for fingerprints."""
    if text.startswith(BILLING_HEAD):
        return ""
    if "<" in text:
        for head, tail in _BLOCKS:
            if head in text:
                text = _without_block(text, head, tail)
    for mark in _LINE_MARKS:
        if mark in text:
            text = _without_lines(text, mark)
    return text


def _without_lines(text: str, mark: str) -> str:
    """Cut every line that holds ``mark``, in one pass."""
    kept = []
    at = 0
    while (found := text.find(mark, at)) >= 0:
        start = text.rfind("\n", at, found) + 1 or at
        end = text.find("\n", found)
        kept.append(text[at:start])
        at = end + 1 if end >= 0 else len(text)
    kept.append(text[at:])
    return "".join(kept)


def _without_block(text: str, head: str, tail: str) -> str:
    """Cut every ``head ... tail`` span; an unclosed head is ordinary text."""
    kept = []
    at = 0
    while (start := text.find(head, at)) >= 0:
        end = text.find(tail, start)
        if end < 0:
            break
        kept.append(text[at:start])
        at = end + len(tail)
    kept.append(text[at:])
    return "".join(kept)
