"""Client dialects: request bytes -> ``Step``.

Law: pure. The body is read, never copied or changed; unknown fields are none of our business here and reach a
same-format upstream untouched.
"""

from __future__ import annotations

from agentrouter.errors import InputError
from agentrouter.tokens import prompt_tokens
from agentrouter.types import Message, Step, TokenCounts
from agentrouter.wire import openai_chat
from agentrouter.wire.identity import prefix_hash
from agentrouter.wire.json_text import encode_text

EXPECTED_OUTPUT_TOKENS = 300
"""What a step is expected to write where nothing better is known; agents' steps are short."""


def step_from_messages(
    messages: object,
    tools: object = None,
    *,
    id: str,
    trajectory_id: str,
    step_index: int = 0,
    role: str = "unknown",
    context_chars: int = 0,
    speaker_role: str = "",
) -> Step:
    """Make a step of chat messages (a line of ``agentrouter route``, a row of a step table).

    Args:
        messages: a list of chat messages, or the same as JSON text.
        tools: a list of tools, wrapped or flat, or JSON text; None or empty: none.
        id: the step's id.
        trajectory_id: its trajectory.
        step_index: its position there.
        role: the caller's name for the role; kept as given.
        context_chars: true length of the prompt where the messages were cut; below their own length it is ignored.
        speaker_role: role for messages whose own is unknown (multi-agent chats name the speaker); empty: refuse them.

    Raises:
        InputError: ``field`` names the place.
    """
    listed = openai_chat.read_messages(_json(messages, "messages"), speaker_role)
    if not listed:
        raise InputError("expected at least one message", field="messages")
    offered = openai_chat.read_tools(_json(tools, "tools")) if tools else ()
    size = max(prompt_tokens(listed, offered), context_chars // 4)
    return Step(
        id=id,
        trajectory_id=trajectory_id,
        index=step_index,
        role=role or "unknown",
        messages=listed,
        tools=offered,
        tokens=TokenCounts(input=size, output=EXPECTED_OUTPUT_TOKENS),
        prefix_hash=prefix_hash(listed, offered),
    )


def _json(value: object, field: str) -> bytes | str:
    return value if isinstance(value, bytes | str) else encode_text(value, field)


def turns(messages: tuple[Message, ...]) -> int:
    """Return how many turns the model has taken in a prompt: runs of assistant messages."""
    count = 0
    previous = ""
    for message in messages:
        count += message.role == "assistant" != previous
        previous = message.role
    return count
