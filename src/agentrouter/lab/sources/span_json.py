"""OpenTelemetry spans from JSON: whatever way they were written, one flat ``Span``.

Reads OTLP/JSON (one ExportTraceServiceRequest a line, as the collector's file exporter writes, or pretty-printed), one
OTLP span a line, the Python SDK's own ``span.to_json()`` and the flat exports of trace viewers.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import seconds_from, seconds_from_nanos
from agentrouter.lab.trace import TraceReport


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
    """Of the file it stood in."""
    kind: str = ""
    """What its convention says it is; set by the reader."""
    convention: int = 0


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
    flat: dict[str, object] = {}
    if isinstance(raw, list):
        for item in raw:
            value = item.value
            text = value.string_value if value is not None else None
            flat[item.key] = text if text is not None else _value(value)
        return flat
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


def spans_from(path: Path, number: int, text: bytes, report: TraceReport) -> Iterator[Span]:
    """Yield the spans of one record; those that cannot be read are reported one by one."""
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
