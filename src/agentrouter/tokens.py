"""Estimated token counts: a quarter of the UTF-8 bytes.

Law: pure, deterministic, O(1) for ASCII and one pass for other text. For exact counts ask a tokenizer or the provider.
"""

from __future__ import annotations

from agentrouter.types import Message, Tool

BYTES_PER_TOKEN = 4
"""Against the cl100k_base vocabulary (November 2026): sums over Python files, Markdown, tool schemas and eight sets of
agents' messages are off by -17 to +11 percent; 8 of 10 single texts by -32 to +42 percent; German by -19, Russian by
-8, Chinese and Japanese by -30 (one character counts as 0.75 tokens; newer vocabularies have about 0.7)."""
IMAGE_TOKENS = 1_200
"""A picture of about one megapixel, as the vendors' formulas give it."""
FILE_TOKENS = 2_500
MESSAGE_TOKENS = 4
"""Role and separators of one message."""
TOOL_TOKENS = 8


def estimate_tokens(text: str) -> int:
    """Return the estimated number of tokens of ``text``; 0 only for empty text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN


def message_tokens(message: Message) -> int:
    """Return the estimated tokens of one message, with attachments and reasoning."""
    text = message.text
    size = MESSAGE_TOKENS
    if text:
        size += (len(text) + 3) >> 2 if text.isascii() else estimate_tokens(text)
    if message.reasoning_chars:
        size += message.reasoning_chars // BYTES_PER_TOKEN
    for call in message.tool_calls:
        size += MESSAGE_TOKENS + estimate_tokens(call.name) + estimate_tokens(call.arguments)
    if message.images or message.files:
        size += message.images * IMAGE_TOKENS + message.files * FILE_TOKENS
    return size


def tool_tokens(tools: tuple[Tool, ...]) -> int:
    """Return the estimated tokens of the tool schemas."""
    size = 0
    for tool in tools:
        size += TOOL_TOKENS + estimate_tokens(tool.description) + estimate_tokens(tool.parameters)
        size += estimate_tokens(tool.name)
    return size


def prompt_sizes(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> tuple[int, int]:
    """Return the estimated tokens of the whole prompt, and of its part up to the last message with a cache breakpoint.

    The second is 0 where no message has one.
    """
    size = tool_tokens(tools)
    marked = 0
    for message in messages:
        size += message_tokens(message)
        if message.cache_breakpoint:
            marked = size
    return size, marked


def prompt_tokens(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> int:
    """Return the estimated tokens of the whole prompt."""
    return prompt_sizes(messages, tools)[0]
