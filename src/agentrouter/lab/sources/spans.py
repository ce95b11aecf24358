"""OpenTelemetry spans from JSON, and the walk from a tree of spans to trajectories.

Reads OTLP/JSON (one ExportTraceServiceRequest a line, as the collector's file exporter writes, or pretty-printed), one
OTLP span a line, and the Python SDK's own ``span.to_json()``. What the attributes mean is the business of a
``Convention`` (``gen_ai``, ``openinference``).

Spans of a trace come in no fixed order (children are usually exported before their parents), so traces are held back
until they are complete as far as the buffer reaches; calls come out in the order of their start.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import Seen, StepCounter, recorded_tokens, seconds_from, seconds_from_nanos
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import CallKind, Status, Step, Usage
from agentrouter.wire import step_from_messages

MAX_SPANS = 4096
"""How many spans are held back at most; then the trace that grew longest ago is given out."""
MAX_HELD_BYTES = 32 * 1024 * 1024

CALL, AGENT = "call", "agent"


class Span(msgspec.Struct, kw_only=True):
    """One span, whatever way it was written. ``attributes`` is flat, with dotted names."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: float
    end: float
    failed: bool
    attributes: dict[str, object]
    events: list[tuple[str, dict[str, object]]]
    line: int = 0
    kind: str = ""
    convention: Convention | None = None


class SpanCall(msgspec.Struct, kw_only=True):
    """What a convention reads from the attributes of a model call."""

    model: str = ""
    provider: str = ""
    conversation: str = ""
    """Trajectory the span itself names; empty: the trace is the trajectory."""
    parent: str = ""
    """Parent trajectory the span itself names."""
    role: str = ""
    step_index: int | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    messages: list[object] | None = None
    """Prompt in OpenAI chat form."""
    tools: list[object] | None = None
    success: float | None = None
    lacks: tuple[str, ...] = ()


class Convention(Protocol):
    """What one set of attribute names says of a span."""

    def kind_of(self, span: Span) -> str:
        """``call``, ``agent``, another kind, or empty where the span is not of this convention."""
        ...

    def call_of(self, span: Span) -> SpanCall:
        """Facts of a span of kind ``call``.

        Raises:
            InputError: an attribute has a value that cannot be.
        """
        ...


# --- OTLP JSON -------------------------------------------------------------------------------------------------------


class _AnyValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None
    double_value: Decimal | None = None
    bool_value: bool | None = None
    array_value: _ValueList | None = None
    kvlist_value: _KeyValueList | None = None


class _ValueList(msgspec.Struct):
    values: list[_AnyValue] = []


class _KeyValue(msgspec.Struct):
    key: str
    value: _AnyValue | None = None


class _KeyValueList(msgspec.Struct):
    values: list[_KeyValue] = []


class _Status(msgspec.Struct):
    code: int | str = 0
    status_code: str = ""


class _Context(msgspec.Struct):
    trace_id: str = ""
    span_id: str = ""


class _Event(msgspec.Struct):
    name: str = ""
    attributes: list[_KeyValue] | dict[str, object] | None = None


class _SpanJson(
    msgspec.Struct,
    rename={
        "trace_id": "traceId",
        "span_id": "spanId",
        "parent_span_id": "parentSpanId",
        "start_nanos": "startTimeUnixNano",
        "end_nanos": "endTimeUnixNano",
        "flat_trace_id": "trace_id",
        "flat_span_id": "span_id",
        "flat_parent_id": "parent_span_id",
    },
):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = ""
    name: str = ""
    start_nanos: int | str = 0
    end_nanos: int | str = 0
    attributes: list[_KeyValue] | dict[str, object] | None = None
    status: _Status | str | None = None
    events: list[_Event] | None = None
    # The Python SDK's to_json() and the flat exports of trace viewers.
    context: _Context | None = None
    parent_id: str | None = None
    start_time: str | int | float | None = None
    end_time: str | int | float | None = None
    flat_trace_id: str = ""
    flat_span_id: str = ""
    flat_parent_id: str | None = None
    status_code: str | None = None
    span_kind: str | None = None


class _ScopeSpans(msgspec.Struct):
    spans: list[msgspec.Raw] = []


class _ResourceSpans(msgspec.Struct, rename="camel"):
    scope_spans: list[_ScopeSpans] = []
    instrumentation_library_spans: list[_ScopeSpans] = []


class _Export(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None
    resource_metrics: msgspec.Raw = msgspec.Raw()
    resource_logs: msgspec.Raw = msgspec.Raw()


_DECODE_EXPORT = msgspec.json.Decoder(_Export)
_DECODE_SPAN = msgspec.json.Decoder(_SpanJson, float_hook=Decimal)


def _value(value: _AnyValue | None) -> object:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return value.int_value
    if value.double_value is not None:
        return value.double_value
    if value.bool_value is not None:
        return value.bool_value
    if value.array_value is not None:
        return [_value(item) for item in value.array_value.values]
    if value.kvlist_value is not None:
        return {item.key: _value(item.value) for item in value.kvlist_value.values}
    return None


def _attributes(raw: list[_KeyValue] | dict[str, object] | None) -> dict[str, object]:
    if not raw:
        return {}
    if isinstance(raw, list):
        return {item.key: _value(item.value) for item in raw}
    flat: dict[str, object] = {}
    _flatten("", raw, flat)
    return flat


def _flatten(prefix: str, value: object, into: dict[str, object]) -> None:
    """Dotted names for nested attributes; lists are spelt out only where OpenInference has numbered names."""
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), item, into)
    elif isinstance(value, list) and prefix.startswith("llm.") and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            _flatten(f"{prefix}.{index}", item, into)
    else:
        into[prefix] = value


def _span_from(raw: _SpanJson, line: int) -> Span:
    context = raw.context or _Context()
    status = raw.status
    code = (status.status_code or status.code) if isinstance(status, _Status) else status or raw.status_code or 0
    attributes = _attributes(raw.attributes)
    if raw.span_kind:
        attributes.setdefault("openinference.span.kind", raw.span_kind)
    span = Span(
        trace_id=(raw.trace_id or raw.flat_trace_id or context.trace_id).removeprefix("0x"),
        span_id=(raw.span_id or raw.flat_span_id or context.span_id).removeprefix("0x"),
        parent_id=(raw.parent_span_id or raw.flat_parent_id or raw.parent_id or "").removeprefix("0x"),
        name=raw.name,
        start=seconds_from_nanos(raw.start_nanos, "startTimeUnixNano")
        if raw.start_nanos
        else seconds_from(raw.start_time or 0, "start_time"),
        end=seconds_from_nanos(raw.end_nanos, "endTimeUnixNano")
        if raw.end_nanos
        else seconds_from(raw.end_time or 0, "end_time"),
        failed=code in (2, "2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR"),
        attributes=attributes,
        events=[(event.name, _attributes(event.attributes)) for event in raw.events or ()],
        line=line,
    )
    if not span.span_id:
        raise InputError("expected a span (resourceSpans, or traceId and spanId)", field="spanId")
    return span


# --- from spans to steps ---------------------------------------------------------------------------------------------


class SpanReader:
    """Yields the model calls of OTLP files; one instance reads the files of one import, in order."""

    def __init__(self, conventions: tuple[Convention, ...]) -> None:
        self._conventions = conventions
        self._held: OrderedDict[str, list[Span]] = OrderedDict()
        self._held_spans = 0
        self._held_bytes = 0
        self._seen = Seen()
        self._steps = StepCounter()

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the steps of one file; a trace that goes on in the next file is read as two pieces."""
        for number, text in lines.records(path, report):
            for span in self._spans(path, number, text, report):
                self._hold(span, len(text), report)
            while self._held_spans > MAX_SPANS or (self._held_bytes > MAX_HELD_BYTES and self._held):
                yield from self._give_out(path, report)
        for trace_id in sorted(self._held, key=lambda name: min(span.start for span in self._held[name])):
            self._held.move_to_end(trace_id)
        while self._held:
            yield from self._give_out(path, report)
        self._held_bytes = 0

    def _spans(self, path: Path, number: int, text: bytes, report: TraceReport) -> Iterator[Span]:
        try:
            if b"esourceSpans" not in text and b"esourceMetrics" not in text and b"esourceLogs" not in text:
                yield _span_from(_DECODE_SPAN.decode(text), number)
                return
            export = _DECODE_EXPORT.decode(text)
            if export.resource_spans is None:
                # The words stood inside a span's text.
                if not bytes(export.resource_metrics) and not bytes(export.resource_logs):
                    yield _span_from(_DECODE_SPAN.decode(text), number)
                else:
                    report.skipped["metrics" if bytes(export.resource_metrics) else "logs"] += 1
                return
        except (msgspec.MsgspecError, InputError, RecursionError) as error:
            report.bad(lines.problem_from(error, path, number))
            return
        for resource in export.resource_spans:
            for scope in (*resource.scope_spans, *resource.instrumentation_library_spans):
                for raw in scope.spans:
                    try:
                        span = _span_from(_DECODE_SPAN.decode(raw), number)
                    except (msgspec.MsgspecError, InputError, RecursionError) as error:
                        report.bad(lines.problem_from(error, path, number))
                        continue
                    yield span

    def _hold(self, span: Span, size: int, report: TraceReport) -> None:
        if self._seen.again((span.trace_id, span.span_id)):
            report.skipped["duplicate"] += 1
            return
        for convention in self._conventions:
            span.kind = convention.kind_of(span)
            if span.kind:
                span.convention = convention
                break
        trace = self._held.get(span.trace_id)
        if trace is None:
            self._held[span.trace_id] = [span]
        else:
            trace.append(span)
            self._held.move_to_end(span.trace_id)
        self._held_spans += 1
        self._held_bytes += size

    def _give_out(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        _, trace = self._held.popitem(last=False)
        self._held_bytes -= self._held_bytes * len(trace) // self._held_spans
        self._held_spans -= len(trace)
        calls = [span for span in trace if span.kind == CALL]
        if len(calls) < len(trace):
            for span in trace:
                if span.kind != CALL:
                    report.skipped[span.kind or "other span"] += 1
        if not calls:
            return
        by_id = {span.span_id: span for span in trace}
        calls.sort(key=lambda span: span.start)
        facts = self._facts(calls, path, report)
        wrappers = _wrappers(calls, facts, by_id)
        for span in calls:
            call = facts.get(span.span_id)
            if call is None:
                continue
            if span.span_id in wrappers:
                report.skipped["wrapped call"] += 1
                continue
            try:
                yield report.saw(self._step(span, call, by_id))
            except (InputError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, span.line))

    def _facts(self, calls: list[Span], path: Path, report: TraceReport) -> dict[str, SpanCall]:
        facts = {}
        for span in calls:
            if span.convention is None:
                continue
            try:
                facts[span.span_id] = span.convention.call_of(span)
            except (InputError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, span.line))
        return facts

    def _step(self, span: Span, call: SpanCall, by_id: dict[str, Span]) -> RecordedStep:
        root = call.conversation or span.trace_id or span.span_id
        agents = _agents_above(span, by_id)
        trajectory, parent = root, call.parent
        if len(agents) > 1:
            trajectory = f"{root}/{agents[0].span_id}"
            parent = root if len(agents) == 2 else f"{root}/{agents[1].span_id}"
        role = call.role or (_agent_name(agents[0]) if agents else "")
        index = self._steps.next(trajectory)
        if call.step_index is not None:
            index = call.step_index
        step = _bare_step(span, call, trajectory, role or "unknown", index, parent)
        lacks = list(call.lacks)
        lacks += [name for name, value in (("model", call.model), ("role", role), ("time", span.start)) if not value]
        if not call.conversation and not span.trace_id:
            lacks.append("trajectory")
        return RecordedStep(
            step=step,
            model=call.model,
            provider=call.provider,
            usage=call.usage,
            cost_nusd=call.cost_nusd,
            status=Status.ERROR if span.failed else Status.OK,
            success=call.success,
            label_level="step" if call.success is not None else "",
            latency_ms=max(0.0, (span.end - span.start) * 1000) if span.end else 0.0,
            started_at=span.start,
            lacks=tuple(lacks),
        )


def _bare_step(span: Span, call: SpanCall, trajectory: str, role: str, index: int, parent: str) -> Step:
    kind = CallKind.SUBAGENT if parent else CallKind.MAIN
    tokens = recorded_tokens(call.usage)
    if call.messages is None:
        return Step(
            id=span.span_id,
            trajectory_id=trajectory,
            index=index,
            parent_id=parent,
            role=role,
            kind=kind,
            tokens=tokens,
        )
    step = step_from_messages(
        call.messages,
        call.tools,
        id=span.span_id,
        trajectory_id=trajectory,
        step_index=index,
        role=role,
    )
    if call.usage is None:
        tokens = step.tokens
    return msgspec.structs.replace(step, parent_id=parent, kind=kind, tokens=tokens)


def _agents_above(span: Span, by_id: dict[str, Span]) -> list[Span]:
    """The agent spans around a call, innermost first."""
    found: list[Span] = []
    visited: set[str] = {span.span_id}
    above = by_id.get(span.parent_id)
    while above is not None and above.span_id not in visited:
        visited.add(above.span_id)
        if above.kind == AGENT:
            found.append(above)
        above = by_id.get(above.parent_id)
    return found


def _agent_name(span: Span) -> str:
    for name in ("gen_ai.agent.name", "agent.name", "graph.node.id", "traceloop.entity.name"):
        value = span.attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _wrappers(calls: list[Span], facts: dict[str, SpanCall], by_id: dict[str, Span]) -> set[str]:
    """Calls to leave out where a framework and the provider's SDK both made a span of one call.

    The inner one is the provider's own account; the outer one counts only where the inner has no usage.
    """
    out: set[str] = set()
    for span in calls:
        above = by_id.get(span.parent_id)
        inner, outer = facts.get(span.span_id), facts.get(span.parent_id)
        if above is None or inner is None or outer is None or above is span:
            continue
        out.add(span.parent_id if inner.usage is not None or outer.usage is None else span.span_id)
    return out
