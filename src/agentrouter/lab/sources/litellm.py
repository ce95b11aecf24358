"""LiteLLM spend logs: the ``LiteLLM_SpendLogs`` table as JSON lines, a JSON array or CSV.

``spend`` is the recorded cost. ``prompt_tokens`` includes cached tokens; their split stands in ``metadata``
(``usage_object`` or ``additional_usage_values``). Rows that LiteLLM answered from its own response cache and rows of
other call types made no model call of an agent: they are counted as skipped.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import (
    Seen,
    StepCounter,
    Tokens,
    given,
    nusd_from,
    recorded_tokens,
    seconds_from,
    usage_of_total,
)
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import Status, Step, Usage
from agentrouter.wire import step_from_messages

_CALLS = frozenset(
    (
        *("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses"),
        *("anthropic_messages", "generate_content", "agenerate_content", "generate_content_stream"),
        *("agenerate_content_stream", "pass_through_endpoint", "allm_passthrough_route", "llm_passthrough_route", ""),
    )
)
_CSV_HEAD = (b"request_id", b"spend")


class _ReadDetails(msgspec.Struct):
    cached_tokens: Tokens | None = None
    cache_creation_tokens: Tokens | None = None
    cache_creation_token_details: _CreationDetails | None = None


class _CreationDetails(msgspec.Struct):
    ephemeral_5m_input_tokens: Tokens | None = None
    ephemeral_1h_input_tokens: Tokens | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Tokens | None = None


class _UsageValues(msgspec.Struct):
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    prompt_tokens_details: _ReadDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Metadata(msgspec.Struct):
    status: str | None = None
    usage_object: _UsageValues | None = None
    additional_usage_values: _UsageValues | None = None


class _Row(msgspec.Struct, kw_only=True):
    request_id: str
    call_type: str | None = None
    model: str | None = None
    model_group: str | None = None
    custom_llm_provider: str | None = None
    spend: Decimal | None = None
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    start_time: str | int | float | None = msgspec.field(name="startTime", default=None)
    end_time: str | int | float | None = msgspec.field(name="endTime", default=None)
    session_id: str | None = None
    agent_id: str | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    status: str | None = None
    cache_hit: str | bool | None = None
    messages: msgspec.Raw = msgspec.Raw()
    proxy_server_request: msgspec.Raw = msgspec.Raw()


class _Sent(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()


_DECODE_ROW = msgspec.json.Decoder(_Row)
_DECODE_CSV = msgspec.json.Decoder(_Row, strict=False)
_DECODE_METADATA = msgspec.json.Decoder(_Metadata)
_DECODE_SENT = msgspec.json.Decoder(_Sent)
_NO_METADATA = _Metadata()


class LiteLlmSource:
    """LiteLLM spend logs; one instance reads the files of one import."""

    name = "litellm"

    def __init__(self) -> None:
        self._seen = Seen()
        self._steps = StepCounter()

    def sniff(self, path: Path, head: bytes) -> bool:
        """Records (or CSV columns) with a request id and its spend."""
        if not all(name in head for name in _CSV_HEAD):
            return False
        if _is_csv(head):
            return True
        keys = lines.top_keys(head)
        return b"request_id" in keys and b"spend" in keys

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the model calls in the order of the export."""
        rows = _csv_rows(path, report) if _is_csv(lines.head_of(path)) else None
        for number, row in rows or lines.decoded(path, report, _DECODE_ROW.decode):
            try:
                recorded = self._recorded(row, report)
            except (InputError, msgspec.MsgspecError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, number))
                continue
            if recorded is not None:
                yield report.saw(recorded)

    def _recorded(self, row: _Row, report: TraceReport) -> RecordedStep | None:
        call_type = row.call_type or ""
        if call_type not in _CALLS:
            report.skipped[call_type] += 1
            return None
        cost = None if row.spend is None else nusd_from(row.spend, "spend")
        metadata = _metadata(row.metadata)
        usage, has_cache = _usage(row, metadata)
        start = 0.0 if not row.start_time else seconds_from(row.start_time, "startTime")
        end = 0.0 if not row.end_time else seconds_from(row.end_time, "endTime")
        step, lacks = self._step(row, usage)
        # After every check that can refuse the row, so that a malformed copy does not hide the good one.
        if self._seen.again(row.request_id):
            report.skipped["duplicate"] += 1
            return None
        if str(row.cache_hit).lower() == "true" and not cost:
            report.skipped["answered from LiteLLM's cache"] += 1
            return None
        if usage is None:
            lacks += ("usage",)
        elif not has_cache:
            lacks += ("cache",)
        if cost is None:
            lacks += ("cost",)
        if not start:
            lacks += ("time",)
        if not row.model:
            lacks += ("model",)
        failed = (row.status or metadata.status or "success") != "success"
        return RecordedStep(
            step=self._numbered(step, row),
            model=row.model or "",
            provider=row.custom_llm_provider or "",
            usage=usage,
            cost_nusd=cost,
            status=Status.ERROR if failed else Status.OK,
            latency_ms=max(0.0, (end - start) * 1000) if start and end else 0.0,
            started_at=start,
            lacks=lacks,
        )

    def _numbered(self, step: Step, row: _Row) -> Step:
        index = self._steps.next(row.session_id) if row.session_id else 0
        return step if index == step.index else msgspec.structs.replace(step, index=index)

    def _step(self, row: _Row, usage: Usage | None) -> tuple[Step, tuple[str, ...]]:
        trajectory = row.session_id or row.request_id
        role = row.agent_id or "unknown"
        tokens = recorded_tokens(usage)
        lacks: tuple[str, ...] = () if row.session_id else ("trajectory",)
        if not row.agent_id:
            lacks += ("role",)
        sent = _sent(row)
        if sent is None:
            lacks += ("messages",)
            return Step(id=row.request_id, trajectory_id=trajectory, role=role, tokens=tokens), lacks
        step = step_from_messages(
            bytes(sent.messages),
            given(sent.tools) or None,
            id=row.request_id,
            trajectory_id=trajectory,
            step_index=0,
            role=role,
        )
        return (step if usage is None else msgspec.structs.replace(step, tokens=tokens)), lacks


def _sent(row: _Row) -> _Sent | None:
    """The prompt, where LiteLLM was told to store it: the request body, else the ``messages`` column."""
    for raw in (row.proxy_server_request, row.messages):
        text = _unquoted(raw)
        if text.startswith(b"{") and len(text) > 2:
            sent = _DECODE_SENT.decode(text)
            if bytes(sent.messages).startswith(b"[{"):
                return sent
        elif text.startswith(b"["):
            return _Sent(messages=msgspec.Raw(text)) if len(text) > 2 else None
    return None


def _unquoted(raw: msgspec.Raw) -> bytes:
    """A JSON column's text; exports write such columns as JSON or as a string that holds JSON."""
    text = given(raw)
    return msgspec.json.decode(text, type=str).encode() if text.startswith(b'"') else text


def _metadata(raw: msgspec.Raw) -> _Metadata:
    text = _unquoted(raw)
    return _DECODE_METADATA.decode(text) if text.startswith(b"{") and len(text) > 2 else _NO_METADATA


def _usage(row: _Row, metadata: _Metadata) -> tuple[Usage | None, bool]:
    """Normalised usage, and whether the row says anything of caches."""
    if row.prompt_tokens is None and row.completion_tokens is None:
        return None, False
    read, write, write_1h, reasoning = 0, 0, 0, 0
    known = False
    for values in (metadata.usage_object, metadata.additional_usage_values):
        if values is None:
            continue
        details = values.prompt_tokens_details or _ReadDetails()
        split = details.cache_creation_token_details or _CreationDetails()
        written = values.cache_creation_input_tokens
        written = details.cache_creation_tokens if written is None else written
        cached = values.cache_read_input_tokens
        cached = details.cached_tokens if cached is None else cached
        known = known or cached is not None or written is not None
        read = max(read, cached or 0)
        write_1h = max(write_1h, min(split.ephemeral_1h_input_tokens or 0, written or 0))
        write = max(write, (written or 0) - write_1h)
        if values.completion_tokens_details is not None:
            reasoning = max(reasoning, values.completion_tokens_details.reasoning_tokens or 0)
    total, output = row.prompt_tokens or 0, row.completion_tokens or 0
    return usage_of_total(total, output, read=read, write=write, write_1h=write_1h, reasoning=reasoning), known


def _is_csv(head: bytes) -> bool:
    first = head.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    names = [name.strip().strip(b'"') for name in first.split(b",")]
    return all(name in names for name in _CSV_HEAD)


def _csv_rows(path: Path, report: TraceReport) -> Iterator[tuple[int, _Row]]:
    """Rows of a CSV export. A quoted column may hold line ends, so lines are counted by the CSV reader."""
    # The default of 128 kB a field is below one stored prompt; csv offers no setting but the process's.
    csv.field_size_limit(lines.MAX_RECORD_BYTES)
    with lines.open_bytes(path) as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=""))
        while True:
            try:
                row = next(reader)
                report.lines += 1
                if None in row or None in row.values():
                    raise InputError(f"expected {len(reader.fieldnames or ())} columns")
                filled = {name: _column(name, value) for name, value in row.items() if value not in ("", "NULL")}
                record = _DECODE_CSV.decode(msgspec.json.encode(filled))
            except StopIteration:
                return
            except (csv.Error, msgspec.MsgspecError, InputError, UnicodeEncodeError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, reader.line_num))
                continue
            yield reader.line_num, record


def _column(name: str, value: str) -> object:
    value.encode()  # refuses bytes that were not UTF-8
    return msgspec.Raw(value.encode()) if name in ("metadata", "messages", "proxy_server_request") else value
