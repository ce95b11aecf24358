"""Whose step a request is: trajectory, parent, kind, retry, and our own headers.

Law: pure. Ids are data, never trusted to be short or printable.
"""

from __future__ import annotations

import hashlib

from agentrouter.types import Message, Tool
from agentrouter.volatile import stable_text


def prefix_hash(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> str:
    """Return the fingerprint of the cacheable head: tools and leading system messages without volatile parts."""
    digest = hashlib.sha256()
    for tool in tools:
        digest.update(f"{tool.name}\0{tool.description}\0{tool.parameters}\0".encode("utf-8", "surrogatepass"))
    digest.update(b"\1")
    for message in messages:
        if message.role not in ("system", "developer"):
            break
        digest.update(stable_text(message.text).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()[:32]
