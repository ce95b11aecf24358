"""Sends every step to an OpenTelemetry collector (OTLP over HTTP): one span a step, one child span an attempt.

Law: never slows or breaks a step. Spans wait in a bounded queue and leave from a thread of their own; with a dead
collector the oldest are dropped, which the SDK logs. Names come from ``conventions``; texts are redacted; content goes
out only if asked for.

Ids are derived, not drawn: the trace from the trajectory, the span from trajectory and step. The steps of a trajectory
share a trace, and a replay of the same steps gives the same ids. A trajectory has no end that we could see, so there is
no span above the steps.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from agentrouter.errors import LedgerError
from agentrouter.ledger.conventions import PROVIDER_NAMES, Name
from agentrouter.ledger.redact import storable, storable_id, storable_tree
from agentrouter.ledger.rows import deciding, features_hash
from agentrouter.types import NUSD_PER_USD, Attempt, Message, Reply, StepRecord
from agentrouter.types import Status as StepStatus

QUEUE_SPANS = 4096
BATCH_SPANS = 512
BATCH_DELAY_MS = 1_000
EXPORT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0

Attributes = dict[str, AttributeValue]


class SpanLedger:
    """A ledger that exports spans and keeps nothing.

    Args:
        endpoint: the collector, as ``OTEL_EXPORTER_OTLP_ENDPOINT`` has it (``http://host:4318``), or the full address
            that ends in ``/v1/traces``.
        headers: what the collector wants, for example its key.
        send_content: put messages and replies on the spans, redacted.
        close_timeout_s: how long ``close`` may take to send what is waiting.

    Raises:
        LedgerError: the endpoint is not an http address.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        send_content: bool = False,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> None:
        self._content = send_content
        self._close_timeout_s = close_timeout_s
        self._exporter = OTLPSpanExporter(
            endpoint=traces_url(endpoint), headers=dict(headers or {}), timeout=EXPORT_TIMEOUT_S
        )
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=BATCH_DELAY_MS,
            max_export_batch_size=BATCH_SPANS,
        )
        self._ids = _GivenIds()
        # No handler at exit: it would wait for a dead collector.
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": "agentrouter"}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("agentrouter.ledger")
        self._lock = threading.Lock()
        self._closed = False

    def append(self, record: StepRecord) -> None:
        """Queue the step's spans; returns at once whatever the collector does.

        Raises:
            LedgerError: the ledger is closed.
        """
        with self._lock:
            if self._closed:
                raise LedgerError("the span exporter is closed")
            self._emit(record)

    def close(self) -> None:
        """Send what is waiting, but stop after ``close_timeout_s``; what could not be sent by then is lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        flush = threading.Thread(target=self._processor.shutdown, name="agentrouter-otel-close", daemon=True)
        flush.start()
        flush.join(self._close_timeout_s)
        if flush.is_alive():
            # Wakes it from its back-off; no further batch is tried. (The SDK leaves this method untyped.)
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _emit(self, record: StepRecord) -> None:
        step = record.step
        step_id = storable_id(step.id)
        trajectory = storable_id(step.trajectory_id) or step_id
        start = _nanoseconds(record.started_at)
        self._ids.trace = _id_from(16, trajectory)
        self._ids.span = _id_from(8, trajectory, step_id, str(step.retry))
        shared = _shared_attributes(record, step_id, trajectory)
        root = self._tracer.start_span(
            f"step {storable(step.role)}",
            context=Context(),  # never a child of whatever span the caller happens to be in
            attributes=shared | _step_attributes(record),
            start_time=start,
        )
        inside = set_span_in_context(root, Context())
        clock = start
        for position, attempt in enumerate(record.attempts):
            self._ids.span = _id_from(8, trajectory, step_id, str(step.retry), str(position))
            attributes = shared | _attempt_attributes(attempt, record)
            if self._content:
                attributes |= _content_attributes(record.step.messages, attempt.outcome.reply)
            child = self._tracer.start_span(
                f"chat {storable(attempt.candidate.model)}",
                context=inside,
                kind=SpanKind.CLIENT,
                attributes=attributes,
                start_time=clock,
            )
            clock += _nanoseconds(attempt.outcome.latency_ms / 1000)
            _end(child, attempt.outcome.status, attempt.outcome.failure_detail, clock)
        _end(root, record.status, "", clock)


class _GivenIds(IdGenerator):
    """Ids set by the ledger, under its lock, right before each span starts."""

    def __init__(self) -> None:
        self.trace = 1
        self.span = 1

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


def traces_url(endpoint: str) -> str:
    """Return the address that spans are posted to.

    Raises:
        LedgerError: not an http or https address.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LedgerError(f"telemetry endpoint {storable(endpoint)!r}: expected http://host:port or https://host:port")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith("/v1/traces") else f"{path}/v1/traces").geturl()


def trace_id_of(trajectory_id: str) -> str:
    """Return the trace id of a trajectory, 32 hex digits, to look it up in a collector."""
    return f"{_id_from(16, storable_id(trajectory_id)):032x}"


def _id_from(size: int, *parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=size, person=b"agentrouter-otel")
    return int.from_bytes(digest.digest(), "big") or 1  # zero is not an id


def _shared_attributes(record: StepRecord, step_id: str, trajectory: str) -> Attributes:
    step = record.step
    role = storable(step.role)
    attributes: Attributes = {
        Name.STEP_ID: step_id,
        Name.STEP: step.index,
        Name.TRAJECTORY: trajectory,
        Name.CONVERSATION: trajectory,
        Name.ROLE: role,
        Name.AGENT: role,
    }
    if step.parent_id:
        attributes[Name.PARENT] = storable_id(step.parent_id)
    return attributes


def _step_attributes(record: StepRecord) -> Attributes:
    attributes: Attributes = {
        Name.KIND: record.step.kind.value,
        Name.RETRY: record.step.retry,
        Name.STATUS: record.status.value,
        Name.ATTEMPTS: len(record.attempts),
        Name.ESCALATED: record.escalated,
        Name.FEATURES_HASH: features_hash(record.features),
        Name.NOTES: [storable(note) for note in record.notes],
        Name.EXCLUDED: [storable(f"{out.candidate}: {out.rule} ({out.detail})") for out in record.excluded],
    } | _cost(record.cost_nusd)
    chosen = deciding(record)
    if chosen is not None:
        attributes[Name.POLICY] = storable(next((made.policy for made in record.decisions if made.policy), ""))
        attributes |= {Name.REASON: chosen.reason.value, Name.PROPENSITY: chosen.propensity}
    if record.served is not None:
        attributes |= {Name.TIER: record.served.tier.label, Name.MODEL: storable(record.served.name)}
    if record.status is not StepStatus.OK:
        attributes[Name.ERROR_TYPE] = _error_type(record.attempts) or record.status.value
    return attributes


def _attempt_attributes(attempt: Attempt, record: StepRecord) -> Attributes:
    candidate, outcome, usage, output = attempt.candidate, attempt.outcome, attempt.outcome.usage, record.step.output
    model = storable(candidate.model)
    attributes: Attributes = {
        Name.OPERATION: "chat",
        Name.PROVIDER: PROVIDER_NAMES.get(candidate.provider, storable(candidate.provider)),
        Name.REQUEST_MODEL: model,
        Name.OUTPUT_TYPE: "json" if output.form.startswith("json") else "text",
        Name.INPUT_TOKENS: usage.input_total,
        Name.OUTPUT_TOKENS: usage.output,
        Name.CACHE_READ_TOKENS: usage.cache_read,
        Name.CACHE_WRITE_TOKENS: usage.cache_write + usage.cache_write_1h,
        Name.REASONING_TOKENS: usage.reasoning,
        Name.ESTIMATED: usage.estimated,
        Name.TIER: candidate.tier.label,
        Name.ATTEMPT: attempt.number,
        Name.ATTEMPT_KIND: attempt.kind.value,
        Name.STATUS: outcome.status.value,
    } | _cost(attempt.cost.total + sum(verdict.cost_nusd for verdict in outcome.verdicts))
    if output.max_tokens:
        attributes[Name.MAX_TOKENS] = output.max_tokens
    if outcome.ttft_ms:
        attributes[Name.FIRST_CHUNK_S] = outcome.ttft_ms / 1000
    if outcome.status is StepStatus.OK:
        attributes |= {Name.RESPONSE_MODEL: model, Name.FINISH_REASONS: [outcome.reply.finish]}
    else:
        attributes[Name.ERROR_TYPE] = _error_type([attempt]) or outcome.status.value
        attributes[Name.FAILURE] = storable(outcome.failure_detail)
    return attributes


def _content_attributes(messages: Sequence[Message], reply: Reply) -> Attributes:
    """Return prompt and answer in the convention's form (JSON of roles and parts), redacted."""
    answer = {"role": "assistant", "parts": _parts(Message(role="", text=reply.text, tool_calls=reply.tool_calls))}
    prompt = [{"role": message.role, "parts": _parts(message)} for message in messages]
    return {
        Name.INPUT_MESSAGES: msgspec.json.encode(storable_tree(prompt)).decode(),
        Name.OUTPUT_MESSAGES: msgspec.json.encode(storable_tree([answer | {"finish_reason": reply.finish}])).decode(),
    }


def _parts(message: Message) -> list[dict[str, str]]:
    if message.tool_call_id:
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}]
    text = [{"type": "text", "content": message.text}] if message.text else []
    calls = [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return text + calls


def _error_type(attempts: Sequence[Attempt]) -> str:
    failure = attempts[-1].outcome.failure if attempts else None
    return failure.value if failure else ""


def _cost(nusd: int) -> Attributes:
    return {Name.COST_NUSD: nusd, Name.COST_USD: nusd / NUSD_PER_USD}


def _end(span: Span, status: StepStatus, detail: str, end: int) -> None:
    if status is not StepStatus.OK:
        span.set_status(Status(StatusCode.ERROR, storable(detail) or status.value))
    span.end(end_time=end)


def _nanoseconds(seconds: float) -> int:
    # Through microseconds: a float cannot hold today's date in nanoseconds, and would add false digits.
    return round(seconds * 1e6) * 1000 if 0 < seconds < 1e10 else 0
