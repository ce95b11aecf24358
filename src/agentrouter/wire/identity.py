"""Whose step a request is: trajectory, parent, kind, retry; and our own ``x-agentrouter-`` headers.

Law: pure. Ids are data, never trusted to be short or printable. Where to look, best first: our own header, the client's
headers, ``metadata.user_id``, ``prompt_cache_key`` or ``conversation``, OpenAI ``metadata`` and ``user``, and last a
fingerprint of the caller's key id, the system prompt without its volatile parts and the first user message. Two runs of
one task by a client that sends no id look alike until the first answer differs; only an id can tell them apart.

The caller is responsible for keeping tenants apart: a trajectory id is only unique within one key.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.types import NUSD_PER_USD, CallKind, Message, Pins, Slo, Tier, Tool
from agentrouter.wire.json_text import decode_json_mapping
from agentrouter.wire.prompt import Hints, Prompt
from agentrouter.wire.volatile import BILLING_HEAD, is_setup, stable_text, visible_text

MAX_ID_CHARS = 256
"""A longer id, or one with control characters, is replaced by its hash."""
MAX_ROLE_CHARS = 64
MAX_BUDGET_USD = 1_000_000
MAX_RETRIES = 1_000

OWN_PREFIX = "x-agentrouter-"

_SESSION_HEADERS = ("x-claude-code-session-id", "x-session-id", "session-id", "thread-id", "x-trajectory-id")
_METADATA_KEYS = ("trajectory_id", "session_id", "thread_id", "conversation_id", "run_id")
_BUDGET = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?")
_SAFE_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_TITLE_TEXTS = ("Generate a title for this conversation", "Please write a 5-10 word title")
_TITLE_SYSTEMS = (
    "You are a title generator",
    "Generate a concise, sentence-case title",
    "Analyze if this message indicates a new",
)
_COMPACTION_TEXTS = (
    "Your task is to create a detailed summary of the conversation",
    "You are performing a CONTEXT CHECKPOINT COMPACTION",
    "Provide a detailed prompt for continuing our conversation",
    "Summarize the conversation so far",
    "Summarise the conversation so far",
)
_COMPACTION_KINDS = frozenset({"compact", "compaction", "pre_compact"})
_HEAD_CHARS = 400
_PROBE_CHARS = 16
_WINDOW_CHARS = 2_000


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose step it is and what sort."""

    trajectory_id: str
    parent_id: str = ""
    kind: CallKind = CallKind.MAIN
    retry: int = 0
    agent: str = ""
    """The client's name or id of the agent within the run (``review``, ``ac5002``); empty: the main agent."""
    source: str = ""
    """Where the id was found: own, header, user_id, cache_key, metadata, user or fingerprint."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What our own headers ask for."""

    role: str = "unknown"
    slo: Slo = Slo.STANDARD
    pins: Pins = Pins()


def lower_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with lower-case names; of doublets the last wins."""
    return {name.lower(): value for name, value in headers.items()}


def is_warm_up(method: str, path: str) -> bool:
    """Whether a request only warms the connection up (Claude Code opens with ``HEAD /``)."""
    return method.upper() == "HEAD" and path.split("?", 1)[0] in ("", "/")


def identify(prompt: Prompt, headers: Mapping[str, str], caller: str) -> Identity:
    """Find out whose step a request is.

    Args:
        prompt: the normalised body.
        headers: with lower-case names.
        caller: id (never the secret) of the key that the request came with.
    """
    turn = _turn_metadata(prompt.hints, headers)
    base, source = _base_id(prompt.hints, headers, turn)
    if not base:
        base, source = fingerprint(prompt.messages, caller), "fingerprint"
    trajectory, parent, agent = _place(base, headers, turn, prompt)
    if source == "own":
        # The caller names the trajectory itself, sub-agents' too: the client's ids are of another space.
        trajectory, parent = base, ""
    subagent = bool(agent or parent or headers.get("x-openai-subagent")) or _says_subagent(prompt.messages)
    return Identity(
        trajectory_id=safe_id(trajectory),
        parent_id=safe_id(parent) if parent else "",
        kind=_kind(prompt, turn, headers, subagent=subagent),
        retry=_retry(headers),
        agent=agent,
        source=source,
    )


def safe_id(text: str) -> str:
    """Return an id as given where it is short and printable, else a hash of it."""
    if len(text) <= MAX_ID_CHARS and _SAFE_ID.fullmatch(text):
        return text
    return "h-" + _digest(text)


def orders(headers: Mapping[str, str]) -> Orders:
    """Read our own headers: ``-role``, ``-tier``, ``-slo``, ``-budget-usd``.

    Raises:
        InputError: a bad value; ``field`` names the header.
    """
    role = headers.get("x-agentrouter-role", "").strip() or "unknown"
    if len(role) > MAX_ROLE_CHARS or not role.isprintable():
        raise InputError(f"expected at most {MAX_ROLE_CHARS} printable characters", field="x-agentrouter-role")
    tier = None
    if "x-agentrouter-tier" in headers:
        try:
            tier = Tier.parse(headers["x-agentrouter-tier"][:40])
        except InputError as error:
            raise InputError(error.message, field="x-agentrouter-tier") from None
    slo = Slo.STANDARD
    if "x-agentrouter-slo" in headers:
        try:
            slo = Slo(headers["x-agentrouter-slo"].strip().lower())
        except ValueError:
            names = ", ".join(slo.value for slo in Slo)
            given = headers["x-agentrouter-slo"][:40]
            raise InputError(f"expected one of {names}, got {given!r}", field="x-agentrouter-slo") from None
    budget = None
    if "x-agentrouter-budget-usd" in headers:
        budget = _budget(headers["x-agentrouter-budget-usd"])
    return Orders(role=role, slo=slo, pins=Pins(tier=tier, max_cost_nusd=budget))


def _budget(text: str) -> int:
    """Return a budget in nano-dollars. Plain decimals only, so that it is exact and NaN and 1e400 cannot occur."""
    match = _BUDGET.fullmatch(text.strip())
    dollars = int(match.group(1)) if match else -1
    if match is None or dollars > MAX_BUDGET_USD or not text.isascii():
        raise InputError(
            f"expected dollars as a plain decimal from 0 to {MAX_BUDGET_USD} with at most 9 places, got {text[:40]!r}",
            field="x-agentrouter-budget-usd",
        )
    return dollars * NUSD_PER_USD + int((match.group(2) or "").ljust(9, "0"))


def _retry(headers: Mapping[str, str]) -> int:
    """Return which try of the client's SDK this is; what is not a number counts as the first."""
    text = headers.get("x-stainless-retry-count", "").strip()
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:9]), MAX_RETRIES)


def _turn_metadata(hints: Hints, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return Codex's turn metadata, from its header or from the body."""
    text = headers.get("x-codex-turn-metadata", "") or hints.client_metadata.get("x-codex-turn-metadata", "")
    found = decode_json_mapping(text) if isinstance(text, str) and text else None
    return found or hints.client_metadata


def _base_id(hints: Hints, headers: Mapping[str, str], turn: Mapping[str, Any]) -> tuple[str, str]:
    """Return the session's id and where it was found; empty: nowhere."""
    own = headers.get("x-agentrouter-trajectory", "").strip()
    if own:
        return own, "own"
    for name in _SESSION_HEADERS:
        if value := headers.get(name, "").strip():
            return value, "header"
    if value := _text(turn, "session_id"):
        return value, "metadata"
    if hints.user_id:
        return _session_of(hints.user_id), "user_id"
    if value := hints.cache_key or hints.conversation:
        return value, "cache_key"
    for name in _METADATA_KEYS:
        if value := _text(hints.metadata, name):
            return value, "metadata"
    return (hints.user, "user") if hints.user else ("", "")


def _session_of(user_id: str) -> str:
    """Return the session inside ``metadata.user_id``: JSON, ``..._session_<id>``, or the text itself."""
    parsed = decode_json_mapping(user_id)
    if parsed is not None:
        return _text(parsed, "session_id") or user_id
    _, found, session = user_id.rpartition("_session_")
    return session if found and session else user_id


def _place(base: str, headers: Mapping[str, str], turn: Mapping[str, Any], prompt: Prompt) -> tuple[str, str, str]:
    """Return trajectory, parent and agent name of a request in the session ``base``."""
    agent = headers.get("x-claude-code-agent-id", "").strip()
    if agent:
        above = headers.get("x-claude-code-parent-agent-id", "").strip()
        return f"{base}/{agent}", f"{base}/{above}" if above else base, agent
    parent = headers.get("x-parent-session-id", "").strip()
    if parent:
        return base, parent, ""
    agent = _text(turn, "agent_name")
    agent = "" if agent == "/root" else agent
    thread = headers.get("thread-id", "").strip() or _text(turn, "thread_id")
    if thread and thread != base:
        return thread, _text(turn, "parent_thread_id") or base, agent
    if agent:
        return f"{base}{agent if agent.startswith('/') else '/' + agent}", base, agent
    if _says_subagent(prompt.messages):
        # A Claude Code sub-agent whose headers a proxy dropped: its first message tells it from the main agent.
        return f"{base}/{fingerprint(prompt.messages, '')[3:15]}", base, ""
    return base, "", ""


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else ""


def _says_subagent(messages: tuple[Message, ...]) -> bool:
    head = messages[0].text if messages else ""
    return head.startswith(BILLING_HEAD) and "cc_is_subagent=true" in head[:_HEAD_CHARS]


def _kind(prompt: Prompt, turn: Mapping[str, Any], headers: Mapping[str, str], *, subagent: bool) -> CallKind:
    if _text(turn, "request_kind") in _COMPACTION_KINDS or headers.get("x-openai-subagent") in _COMPACTION_KINDS:
        return CallKind.COMPACTION
    newest = next((message for message in reversed(prompt.messages) if message.role == "user"), None)
    text = newest.text[:_HEAD_CHARS].lstrip() if newest is not None else ""
    if text.startswith(_COMPACTION_TEXTS):
        return CallKind.COMPACTION
    if not prompt.tools:
        if _is_title(prompt, text):
            return CallKind.TITLE
        if prompt.output.max_tokens == 1 and len(prompt.messages) == 1 and len(text) <= _PROBE_CHARS:
            return CallKind.PROBE
    return CallKind.SUBAGENT if subagent else CallKind.MAIN


def _is_title(prompt: Prompt, newest: str) -> bool:
    schema = prompt.output.schema
    if schema and len(schema) < _HEAD_CHARS and '"title":{' in "".join(schema.split()) and schema.count('"type"') == 2:
        return True
    for message in prompt.messages:
        head = message.text[:_HEAD_CHARS].lstrip()
        if message.role in ("system", "developer"):
            if head.startswith(_TITLE_SYSTEMS):
                return True
        else:
            return head.startswith(_TITLE_TEXTS) or newest.startswith(_TITLE_TEXTS)
    return False


def fingerprint(messages: tuple[Message, ...], caller: str) -> str:
    """Return a trajectory id for a client that sends none: ``fp-`` and 128 bits of blake2b."""
    digest = hashlib.blake2b(caller.encode("utf-8", "surrogatepass"), digest_size=16)
    for message in messages:
        if message.role in ("system", "developer"):
            digest.update(b"\0s" + stable_text(message.text).encode("utf-8", "surrogatepass"))
            continue
        if message.role != "user" or is_setup(message.text):
            continue
        text = stable_text(visible_text(message.text))
        if text:
            digest.update(b"\0u" + text.encode("utf-8", "surrogatepass"))
            break
    return "fp-" + digest.hexdigest()


def prefix_hash(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> str:
    """Return the checksum of the cacheable head: tools and leading system messages without volatile parts.

    It only has to tell heads of one trajectory apart, so it is two CRC-32 and a length and not a cryptographic hash,
    which would be a third of the time of a decision.
    """
    offered = "\0".join([part for tool in tools for part in (tool.name, tool.description, tool.parameters)])
    head = []
    for message in messages:
        if message.role not in ("system", "developer"):
            break
        head.append(stable_text(message.text))
    system = "\0".join(head)
    return f"{_crc(offered):08x}{_crc(system):08x}{len(offered) + len(system):08x}"


def _crc(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def step_id(trajectory: str, prompt: Prompt, prefix: str) -> str:
    """Return the id of a step: the same for a retry of the same request, another for any other request.

    It hashes the trajectory, the prompt's head, its size and number of messages, and windows of its newest two
    messages. A caller that sends one and the same request twice on purpose gets one id twice; ``Step.retry`` and the
    time tell them apart.
    """
    messages = prompt.messages
    parts = [trajectory, prefix, str(len(messages)), str(prompt.input_tokens), prompt.output.form]
    for message in messages[-2:]:
        text = message.text
        parts += (message.role, text[:_WINDOW_CHARS], text[-_WINDOW_CHARS:])
        parts += [f"{call.id} {call.name} {call.arguments[:_WINDOW_CHARS]}" for call in message.tool_calls]
    return "s-" + _digest("\0".join(parts))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
