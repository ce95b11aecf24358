"""Request/response logs, one JSON record a call, in the chat, responses or Anthropic dialect; OpenAI batch output.

A record is ``{"request": BODY, "response": BODY}``; either body may stand in a wrapper (``body`` beside ``headers``,
``url``, ``status_code``) or be JSON text. The dialect is told by the bodies. Batch output lines
(``{"custom_id", "response"}``) have no request: no messages, and the step's class of service is ``batch``.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import (
    Seen,
    StepCounter,
    first_text,
    given,
    nusd_from,
    recorded_tokens,
    seconds_from,
)
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import Slo, Status, Step, Usage
from agentrouter.wire import parse_request
from agentrouter.wire.usage import read_usage

CHAT, RESPONSES, ANTHROPIC = "openai_chat", "openai_responses", "anthropic_messages"
_Time = str | int | float
_FINGERPRINT = "fp-"
"""Begins the trajectory ids that ``wire`` derives from the prompt where the client sent none."""
_CACHE_FIELDS = (
    "prompt_tokens_details",
    "input_tokens_details",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_cache_hit_tokens",
)


class _Record(msgspec.Struct):
    request: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    id: str | int | None = None
    custom_id: str | None = None
    request_id: str | None = None
    trajectory_id: str | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    role: str | None = None
    agent: str | None = None
    provider: str | None = None
    headers: dict[str, object] | None = None
    timestamp: _Time | None = None
    created_at: _Time | None = None
    start_time: _Time | None = None
    end_time: _Time | None = None
    time: _Time | None = None
    latency_ms: int | float | None = None
    duration_ms: int | float | None = None
    cost_usd: Decimal | None = None
    cost: Decimal | None = None
    response_cost: Decimal | None = None
    error: msgspec.Raw = msgspec.Raw()
    method: str | None = None
    body: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct):
    """A request or response, or the wrapper around one: the fields that tell which."""

    body: msgspec.Raw = msgspec.Raw()
    headers: dict[str, object] | None = None
    url: str | None = None
    path: str | None = None
    status_code: int | None = None
    status: int | str | None = None
    request_id: str | None = None
    # request bodies
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    anthropic_version: str | None = None
    model: str | None = None
    # response bodies
    id: str | None = None
    form: str | None = msgspec.field(name="object", default=None)
    type: str | None = None
    usage: dict[str, object] | None = None
    error: msgspec.Raw = msgspec.Raw()
    created: _Time | None = None
    created_at: _Time | None = None
    provider: str | None = None


_DECODE_RECORD = msgspec.json.Decoder(_Record, float_hook=Decimal)
_DECODE_PART = msgspec.json.Decoder(_Part, float_hook=Decimal)


class _Side(msgspec.Struct):
    """One side of a call, out of its wrapper."""

    text: bytes
    part: _Part
    headers: dict[str, str]
    url: str = ""
    status_code: int = 0


class OpenAiLogSource:
    """Request/response logs; one instance reads the files of one import."""

    name = "openai_log"

    def __init__(self) -> None:
        self._seen = Seen()
        self._steps = StepCounter()

    def sniff(self, path: Path, head: bytes) -> bool:
        """Records with a request and a response, or a batch's custom id."""
        if b'"request"' not in head and b'"custom_id"' not in head:
            return False
        keys = lines.top_keys(head)
        if b"spend" in keys or b"attributes" in keys:
            return False
        # An agent's request is often longer than the head: then nothing can be seen of the response.
        cut = len(head) >= lines.HEAD_BYTES and b"\n" not in head
        if b"request" in keys and (b"response" in keys or cut):
            return True
        return b"custom_id" in keys and bool({b"response", b"body"} & keys)

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the calls in the order of the log."""
        for number, record in lines.decoded(path, report, _DECODE_RECORD.decode):
            try:
                recorded = self._recorded(record, report)
            except (InputError, msgspec.MsgspecError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, number))
                continue
            if recorded is not None:
                yield report.saw(recorded)

    def _recorded(self, record: _Record, report: TraceReport) -> RecordedStep | None:
        sent, got = _side(record.request, "request"), _side(record.response, "response")
        if got is None:
            if record.custom_id and (given(record.body) or given(record.error)):
                report.skipped["batch request" if given(record.body) else "failed batch request"] += 1
                return None
            if sent is None:
                raise InputError("expected a request and a response", field="request")
        dialect = _dialect(sent, got)
        usage, has_cache = _usage(got, dialect)
        identity = first_text((got.part.id if got else None, record.custom_id, record.request_id, _text(record.id)))
        cost = _cost(record, got)
        start, latency = _times(record, got)
        step, lacks = self._step(record, sent, dialect, identity, usage)
        if identity and self._seen.again(identity):
            report.skipped["duplicate"] += 1
            return None
        model = first_text((got.part.model if got else None, sent.part.model if sent else None))
        lacks += tuple(
            name
            for name, missing in (
                ("usage", usage is None),
                ("cache", usage is not None and not has_cache),
                ("cost", cost is None),
                ("time", not start),
                ("model", not model),
            )
            if missing
        )
        return RecordedStep(
            step=self._numbered(step),
            model=model,
            provider=record.provider or (got.part.provider if got else None) or "",
            usage=usage,
            cost_nusd=cost,
            status=Status.ERROR if _failed(record, got) else Status.OK,
            latency_ms=latency,
            started_at=start,
            lacks=lacks,
        )

    def _numbered(self, step: Step) -> Step:
        index = self._steps.next(step.trajectory_id)
        return step if index == step.index else msgspec.structs.replace(step, index=index)

    def _step(
        self, record: _Record, sent: _Side | None, dialect: str, identity: str, usage: Usage | None
    ) -> tuple[Step, tuple[str, ...]]:
        trajectory = first_text(
            (
                *(record.trajectory_id, record.session_id, record.conversation_id),
                *(record.thread_id, record.trace_id),
            )
        )
        role = first_text((record.role, record.agent))
        headers = {name.lower(): value for name, value in (record.headers or {}).items() if isinstance(value, str)}
        if sent is None:
            lacks = ["messages"]
            step = Step(id=identity, trajectory_id=trajectory, slo=Slo.BATCH if record.custom_id else Slo.STANDARD)
        else:
            lacks = []
            headers.update(sent.headers)
            step = parse_request(dialect, sent.text, headers)
        trajectory = trajectory or step.trajectory_id
        if not trajectory or trajectory.startswith(_FINGERPRINT):
            lacks.append("trajectory")
        if not role:
            lacks.append("role")
        step = msgspec.structs.replace(
            step,
            id=identity or step.id,
            trajectory_id=trajectory or identity or step.id,
            parent_id=record.parent_id or step.parent_id,
            role=role or step.role,
            tokens=step.tokens if usage is None else recorded_tokens(usage),
        )
        return step, tuple(lacks)


def _side(raw: msgspec.Raw, field: str) -> _Side | None:
    """Take a request or response out of its wrapper."""
    text = given(raw)
    if text.startswith(b'"'):
        text = msgspec.json.decode(text, type=str).encode()
    if not text:
        return None
    if text.startswith(b"["):
        text = _last_chunk(text, field)
    part = _part(text, field)
    if not bytes(part.body):
        return _Side(text, part, _strings(part.headers), part.url or part.path or "", part.status_code or 0)
    wrapper, body = part, bytes(part.body)
    if body.startswith(b'"'):
        body = msgspec.json.decode(body, type=str).encode()
    if body == b"null":
        body = b"{}"
    code = wrapper.status_code or (wrapper.status if isinstance(wrapper.status, int) else 0)
    return _Side(body, _part(body, f"{field}.body"), _strings(wrapper.headers), wrapper.url or wrapper.path or "", code)


def _part(text: bytes, field: str) -> _Part:
    try:
        return _DECODE_PART.decode(text)
    except msgspec.ValidationError as error:
        problem = lines.problem_from(error, Path(), 0)
        raise InputError(problem.message, field=f"{field}.{problem.field}".rstrip(".")) from None


def _last_chunk(text: bytes, field: str) -> bytes:
    """A streamed answer logged as its chunks: the last one with usage speaks for it."""
    chunks = msgspec.json.decode(text, type=list[msgspec.Raw])
    if not chunks:
        raise InputError("expected a body or its chunks, got an empty list", field=field)
    for chunk in reversed(chunks):
        if _part(bytes(chunk), field).usage:
            return bytes(chunk)
    return bytes(chunks[-1])


def _strings(headers: dict[str, object] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items() if isinstance(value, str)}


def _dialect(sent: _Side | None, got: _Side | None) -> str:
    """Which API the call was made in, by its path, its answer, then its request."""
    url = sent.url if sent else ""
    if got is not None:
        if got.part.type == "message":
            return ANTHROPIC
        if got.part.form == "response":
            return RESPONSES
        if got.part.form and got.part.form.startswith("chat.completion"):
            return CHAT
    if "/responses" in url:
        return RESPONSES
    if "/messages" in url:
        return ANTHROPIC
    if sent is not None:
        if not given(sent.part.messages) and given(sent.part.input):
            return RESPONSES
        if given(sent.part.system) or sent.part.anthropic_version or "anthropic-version" in sent.headers:
            return ANTHROPIC
    return CHAT


def _usage(got: _Side | None, dialect: str) -> tuple[Usage | None, bool]:
    raw = got.part.usage if got is not None else None
    if not raw:
        return None, False
    convention = {RESPONSES: "openai", ANTHROPIC: "anthropic"}.get(dialect, "")
    try:
        usage = read_usage(raw, convention)
    except InputError as error:
        raise InputError(error.message, field=f"response.usage.{error.field}".rstrip(".")) from None
    return usage, any(raw.get(name) is not None for name in _CACHE_FIELDS)


def _cost(record: _Record, got: _Side | None) -> int | None:
    for name in ("cost_usd", "cost", "response_cost"):
        value = getattr(record, name)
        if value is not None:
            return nusd_from(value, name)
    # OpenRouter puts what it charged into the usage object.
    value = (got.part.usage or {}).get("cost") if got is not None else None
    return None if value is None else nusd_from(value, "response.usage.cost")


def _times(record: _Record, got: _Side | None) -> tuple[float, float]:
    """Start (seconds since the epoch, 0: unknown) and latency (ms)."""
    start = end = 0.0
    for name in ("start_time", "timestamp", "created_at", "time"):
        value = getattr(record, name)
        if value is not None:
            start = seconds_from(value, name)
            break
    else:
        made = None if got is None else got.part.created or got.part.created_at
        start = 0.0 if made is None else seconds_from(made, "response.created")
    if record.end_time is not None:
        end = seconds_from(record.end_time, "end_time")
    given = record.latency_ms if record.latency_ms is not None else record.duration_ms
    if given is not None:
        if not 0 <= given < 10**12:
            raise InputError(f"expected milliseconds, got {given}", field="latency_ms")
        return start, float(given)
    return start, max(0.0, (end - start) * 1000) if end and start else 0.0


def _failed(record: _Record, got: _Side | None) -> bool:
    if got is None:
        return True
    errors = (record.error, got.part.error)
    return got.status_code >= 400 or any(given(error) for error in errors)


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)
