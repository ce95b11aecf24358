"""Estimated token counts: a quarter of the UTF-8 bytes.

Law: pure, deterministic, O(1) for ASCII and one pass for other text. For exact counts ask a tokenizer or the provider.
"""

from __future__ import annotations

from agentrouter.types import Message, Tool

BYTES_PER_TOKEN = 4
"""English prose has 4 to 4.8 characters a token in the byte-pair vocabularies in use. One CJK character is 3 bytes, so
0.75 tokens; a Cyrillic or Greek letter 0.5; an emoji 1. Code and JSON have 3 to 3.6 bytes a token, so they are
under-counted by 10 to 25 percent."""
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
