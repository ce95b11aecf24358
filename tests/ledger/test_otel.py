from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes

from agentrouter.errors import LedgerError
from agentrouter.ledger.conventions import Name
from agentrouter.ledger.otel import SpanLedger, trace_id_of, traces_url
from agentrouter.types import Status, Tier

from .records import attempt, escalated, failed, record, step


class Collector:
    """An OTLP receiver on loopback that keeps what it got."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.bodies.append(body)
                collector.paths.append(self.path)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Collector()
    yield running
    running.stop()


def attributes(span: Span) -> dict[str, object]:
    values: dict[str, object] = {}
    for item in span.attributes:
        which = item.value.WhichOneof("value")
        value = getattr(item.value, which)
        values[item.key] = [each.string_value for each in value.values] if which == "array_value" else value
    return values


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_escalated_step_arrives_as_a_tree(collector: Collector) -> None:
    ledger = SpanLedger(collector.endpoint, headers={"x-collector-key": "k"})
    ledger.append(escalated())
    ledger.close()

    assert collector.paths == ["/v1/traces"]
    assert collector.headers[0]["content-type"] == "application/x-protobuf"
    assert collector.headers[0]["x-collector-key"] == "k"
    by_name = {span.name: span for span in collector.spans}
    assert sorted(by_name) == ["chat efficient-1", "chat frontier-1", "chat minimal-1", "step edit"]
    root = by_name["step edit"]
    children = [by_name[f"chat {tier}-1"] for tier in ("minimal", "efficient", "frontier")]
    assert root.parent_span_id == b""
    assert [child.parent_span_id for child in children] == [root.span_id] * 3
    assert {span.trace_id.hex() for span in collector.spans} == {trace_id_of("t-1")}
    assert len({span.span_id for span in collector.spans}) == 4
    assert root.kind == Span.SPAN_KIND_INTERNAL
    assert {child.kind for child in children} == {Span.SPAN_KIND_CLIENT}


def test_times_come_from_the_record(collector: Collector) -> None:
    ledger = SpanLedger(collector.endpoint)
    ledger.append(escalated())
    ledger.close()

    start = 1_800_000_000_000_000_000
    spans = {span.name: (span.start_time_unix_nano, span.end_time_unix_nano) for span in collector.spans}
    # the attempts took 40, 250 and 250 ms, one after another: 540 ms
    assert spans == {
        "step edit": (start, start + 540_000_000),
        "chat minimal-1": (start, start + 40_000_000),
        "chat efficient-1": (start + 40_000_000, start + 290_000_000),
        "chat frontier-1": (start + 290_000_000, start + 540_000_000),
    }


def test_attempt_attributes_in_full(collector: Collector) -> None:
    ledger = SpanLedger(collector.endpoint)
    ledger.append(record(step(index=3), attempt(Tier.FRONTIER, checks=7)))
    ledger.close()

    (call,) = (span for span in collector.spans if span.name.startswith("chat"))
    assert attributes(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "example",
        "gen_ai.request.model": "frontier-1",
        "gen_ai.response.model": "frontier-1",
        "gen_ai.request.max_tokens": 500,
        "gen_ai.output.type": "json",
        "gen_ai.response.finish_reasons": ["tool_calls"],
        "gen_ai.response.time_to_first_chunk": 0.1,
        "gen_ai.usage.input_tokens": 1_000,  # 100 fresh + 800 read + 100 written
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 800,
        "gen_ai.usage.cache_creation.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 10,
        "gen_ai.conversation.id": "t-1",
        "gen_ai.agent.name": "edit",
        "agentrouter.step.id": "s-1",
        "agentrouter.step": 3,
        "agentrouter.trajectory.id": "t-1",
        "agentrouter.parent.id": "t-0",
        "agentrouter.role": "edit",
        "agentrouter.status": "ok",
        "agentrouter.tier": "frontier",
        "agentrouter.attempt": 1,
        "agentrouter.attempt.kind": "first",
        "agentrouter.usage.estimated": False,
        "agentrouter.cost.nusd": 50_507,  # 10,000 + 8,000 + 12,500 + 20,000, and 7 for the judge
        "agentrouter.cost.usd": 0.000050507,
    }


def test_step_attributes(collector: Collector) -> None:
    ledger = SpanLedger(collector.endpoint)
    ledger.append(escalated())
    ledger.close()

    (root,) = (span for span in collector.spans if span.name.startswith("step"))
    found = attributes(root)
    assert len(found.pop("agentrouter.features.hash")) == 32  # type: ignore[arg-type]
    assert found == {
        "gen_ai.conversation.id": "t-1",
        "gen_ai.agent.name": "edit",
        "agentrouter.step.id": "s-1",
        "agentrouter.step": 0,
        "agentrouter.trajectory.id": "t-1",
        "agentrouter.parent.id": "t-0",
        "agentrouter.role": "edit",
        "agentrouter.kind": "subagent",
        "agentrouter.retry": 0,
        "agentrouter.status": "ok",
        "agentrouter.tier": "frontier",
        "agentrouter.model": "example/frontier",
        "agentrouter.policy": "threshold:step@abcd",
        "agentrouter.reason": "escalation",
        "agentrouter.propensity": 0.75,
        "agentrouter.attempts": 3,
        "agentrouter.escalated": True,
        "agentrouter.notes": ["verifier judge timed out"],
        "agentrouter.excluded": ["example/minimal: context_window (needs 1000 tokens, has 512)"],
        "agentrouter.cost.nusd": 101_007,  # 0 + 50,507 + 50,500
        "agentrouter.cost.usd": 0.000101007,
    }


def test_a_failed_step_is_an_error_on_both_levels(collector: Collector) -> None:
    ledger = SpanLedger(collector.endpoint)
    ledger.append(record(step(), failed(Tier.MINIMAL), status=Status.ERROR))
    ledger.close()

    for span in collector.spans:
        assert span.status.code == 2  # STATUS_CODE_ERROR
        assert attributes(span)["error.type"] == "rate_limit"
    assert len(collector.spans) == 2


def test_ids_are_the_same_each_time_and_differ_between_steps(collector: Collector) -> None:
    for _ in range(2):
        ledger = SpanLedger(collector.endpoint)
        ledger.append(record(step("a")))
        ledger.append(record(step("b", index=1)))
        ledger.append(record(step("a", trajectory="t-2")))
        ledger.close()
    ids = [(span.trace_id, span.span_id) for span in collector.spans]
    assert ids[:6] == ids[6:]
    assert len(set(ids)) == 6
    assert len({trace for trace, _ in ids}) == 2


def test_names_are_those_of_the_installed_conventions() -> None:
    published = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    published.add(error_attributes.ERROR_TYPE)
    ours = {name.value for name in Name if not name.value.startswith("agentrouter.")}
    assert ours - published == set()


def test_content_is_sent_only_when_asked_for_and_redacted(collector: Collector) -> None:
    canary = "sk-ant-CANARY0123456789"
    made = step()
    made = msgspec.structs.replace(
        made, messages=(*made.messages, msgspec.structs.replace(made.messages[1], text=f"key {canary} please"))
    )
    silent = SpanLedger(collector.endpoint)
    silent.append(record(made))
    silent.close()
    assert not any(name in attributes(span) for span in collector.spans for name in ("gen_ai.input.messages",))
    assert not any(b"Rename the function" in body or b"Renamed it" in body for body in collector.bodies)

    collector.spans.clear()
    speaking = SpanLedger(collector.endpoint, send_content=True)
    speaking.append(record(made))
    speaking.close()
    (call,) = (span for span in collector.spans if span.name.startswith("chat"))
    prompt = msgspec.json.decode(str(attributes(call)["gen_ai.input.messages"]))
    assert prompt[1] == {"role": "user", "parts": [{"type": "text", "content": "Rename the function."}]}
    assert prompt[2] == {"role": "user", "parts": [{"type": "text", "content": "key [redacted] please"}]}
    answer = msgspec.json.decode(str(attributes(call)["gen_ai.output.messages"]))
    assert answer == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Renamed it."},
                {"type": "tool_call", "id": "c-1", "name": "edit_file", "arguments": '{"path":"a.py"}'},
            ],
            "finish_reason": "tool_calls",
        }
    ]
    assert not any(canary.encode() in body for body in collector.bodies)


def test_a_dead_collector_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    ledger = SpanLedger(f"http://127.0.0.1:{closed_port()}", close_timeout_s=1.0)
    records = [record(step(f"s-{n}", index=n)) for n in range(3_000)]
    slowest = 0.0
    for made in records:
        before = time.perf_counter()
        ledger.append(made)
        slowest = max(slowest, time.perf_counter() - before)
    before = time.perf_counter()
    ledger.close()
    assert slowest < 0.5
    assert time.perf_counter() - before < 3.0


def test_the_interpreter_exits_although_the_collector_is_dead_and_nobody_closed() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from agentrouter.ledger.otel import SpanLedger\n"
        "from ledger.records import record\n"
        f"ledger = SpanLedger('http://127.0.0.1:{closed_port()}')\n"
        "ledger.append(record())\n"
        "print('done', flush=True)\n"
    )
    tests = str(Path(__file__).parents[1])
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, tests], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "done\n"
    assert time.perf_counter() - before < 15


def test_appending_after_close_says_so(collector: Collector) -> None:
    ledger = SpanLedger(collector.endpoint)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.append(record())


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://host:4318", "http://host:4318/v1/traces"),
        ("http://host:4318/", "http://host:4318/v1/traces"),
        ("https://host/otlp", "https://host/otlp/v1/traces"),
        ("https://host/otlp/v1/traces", "https://host/otlp/v1/traces"),
    ],
)
def test_endpoint_forms(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize("endpoint", ["", "host:4318", "ftp://host", "http://"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(LedgerError, match="expected http"):
        traces_url(endpoint)
