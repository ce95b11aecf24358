"""The HTTP provider against a real listener on loopback."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import time
import traceback
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import msgspec
import pytest
from http_listener import Listener, Request, Script, answers, listening, message, sends

from agentrouter.catalog import Catalog
from agentrouter.errors import FailureKind
from agentrouter.providers import openai_http
from agentrouter.providers.openai_http import Limits, OpenAIHttp, Secret
from agentrouter.providers.vendors import VENDORS, vendor_for
from agentrouter.router import Router
from agentrouter.trajectory import World
from agentrouter.types import (
    AttemptKind,
    Call,
    Candidate,
    Message,
    Outcome,
    OutputContract,
    Price,
    Status,
    Step,
    Tier,
    TokenCounts,
    Usage,
)

T = TypeVar("T")

CANARY = "canary-9f8e7d6c5b4a-NOT-A-REAL-KEY"
"""A key of no vendor's shape, so that only knowing it can redact it."""
PRICE = Price(input=1_000_000, output=4_000_000, cache_read=100_000, cache_write=1_000_000)
CANDIDATE = Candidate(name="up/m-1", provider="up", model="m-1", tier=Tier.MID, price=PRICE)
STEP = Step(
    id="s-1",
    trajectory_id="t-1",
    messages=(Message(role="user", text="Say hello."),),
    tokens=TokenCounts(input=120, output=20),
)
GOOD: dict[str, Any] = {
    "id": "c-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
}
FAST = Limits(connect_s=2.0, read_s=2.0, total_s=5.0)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def provider(url: str, *, name: str = "up", limits: Limits = FAST, key: str = CANARY) -> OpenAIHttp:
    vendor = vendor_for(name, url)
    assert vendor is not None
    return OpenAIHttp(vendor, key=key, name=name, limits=limits)


def call(step: Step = STEP, candidate: Candidate = CANDIDATE) -> Call:
    return Call(step=step, candidate=candidate, number=0, kind=AttemptKind.FIRST)


async def once(made: OpenAIHttp, step: Step = STEP) -> Outcome:
    try:
        return await made.send(call(step))
    finally:
        await made.close()


def asked(script: Script, *, name: str = "up", limits: Limits = FAST, step: Step = STEP) -> tuple[Outcome, Listener]:
    with listening(script) as listener:
        outcome = run(once(provider(listener.url, name=name, limits=limits), step))
    assert CANARY not in repr(outcome)
    return outcome, listener


def test_a_good_answer() -> None:
    outcome, listener = asked(answers(200, GOOD))
    assert outcome.status is Status.OK
    assert outcome.reply.text == "Hello."
    assert outcome.reply.finish == "stop"
    assert outcome.usage == Usage(fresh_input=100, output=7)
    assert 0.0 < outcome.ttft_ms <= outcome.latency_ms < 2_000.0
    (request,) = listener.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.json == {"model": "m-1", "messages": [{"role": "user", "content": "Say hello."}]}
    assert request.headers["authorization"] == f"Bearer {CANARY}"


def test_only_our_own_headers_are_sent() -> None:
    _, listener = asked(answers(200, GOOD))
    assert set(listener.requests[0].headers) == {
        *("host", "connection", "user-agent", "content-type", "accept", "accept-encoding"),
        *("authorization", "content-length"),
    }


def test_without_a_key_none_is_sent() -> None:
    with listening(answers(200, GOOD)) as listener:
        run(once(provider(listener.url, key="")))
    assert "authorization" not in listener.requests[0].headers


def test_cookies_are_not_kept_and_the_connection_is() -> None:
    async def twice(made: OpenAIHttp) -> None:
        await made.send(call())
        await made.send(call())
        await made.close()

    with listening(answers(200, GOOD, {"set-cookie": "session=1; Path=/"})) as listener:
        run(twice(provider(listener.url)))
    assert [("cookie" in request.headers) for request in listener.requests] == [False, False]
    assert listener.connections == 1


def test_proxy_and_netrc_variables_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password from-netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with listening(answers(200, GOOD)) as listener:
        outcome = run(once(provider(listener.url, key="")))
    assert outcome.status is Status.OK
    assert "authorization" not in listener.requests[0].headers


def test_gzip_is_read() -> None:
    packed = gzip.compress(msgspec.json.encode(GOOD))
    outcome, _ = asked(answers(200, packed, {"content-encoding": "gzip"}))
    assert outcome.reply.text == "Hello."


def test_chunks_of_one_byte_and_blank_lines_first() -> None:
    # DeepSeek sends empty lines while a request waits its turn.
    body = b"\n\n \n" + msgspec.json.encode(GOOD)
    chunks = b"".join(b"1\r\n" + body[i : i + 1] + b"\r\n" for i in range(len(body))) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    outcome, _ = asked(sends(head + chunks))
    assert outcome.reply.text == "Hello."


@pytest.mark.parametrize("text", ["a\u2028b\u2029c\u0085d\x0be", "\U0001f600 ümläut 日本", 'q"\\n\n\t'])
def test_text_is_exact(text: str) -> None:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    outcome, _ = asked(answers(200, body))
    assert outcome.reply.text == text


ERRORS = [
    (400, FailureKind.BAD_REQUEST),
    (404, FailureKind.BAD_REQUEST),
    (405, FailureKind.BAD_REQUEST),
    (413, FailureKind.BAD_REQUEST),
    (422, FailureKind.BAD_REQUEST),
    (401, FailureKind.AUTH),
    (402, FailureKind.AUTH),
    (403, FailureKind.AUTH),
    (408, FailureKind.TIMEOUT),
    (504, FailureKind.TIMEOUT),
    (524, FailureKind.TIMEOUT),
    (409, FailureKind.RATE_LIMIT),
    (429, FailureKind.RATE_LIMIT),
    (500, FailureKind.SERVER_ERROR),
    (502, FailureKind.SERVER_ERROR),
    (520, FailureKind.SERVER_ERROR),
    (503, FailureKind.OVERLOADED),
    (529, FailureKind.OVERLOADED),
    (204, FailureKind.UNREADABLE),
    (206, FailureKind.UNREADABLE),
    (304, FailureKind.UNREADABLE),
]


@pytest.mark.parametrize(("status", "kind"), ERRORS)
def test_status_decides_the_failure_and_is_not_retried(status: int, kind: FailureKind) -> None:
    body = b"" if status in (204, 304) else b'{"error":{"message":"no such thing","type":"x","code":null}}'
    outcome, listener = asked(answers(status, body))
    assert (outcome.status, outcome.failure) == (Status.ERROR, kind)
    assert outcome.failure_detail == (f"HTTP {status}: no such thing" if body else f"HTTP {status}")
    assert outcome.usage == Usage()
    assert outcome.reply.finish == "unknown"
    assert len(listener.requests) == 1


def test_retry_after_in_seconds_and_as_a_date() -> None:
    outcome, _ = asked(answers(429, b"{}", {"retry-after": "30"}))
    assert outcome.retry_after_s == 30.0
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    outcome, _ = asked(answers(503, b"{}", {"retry-after": date}))
    assert 80.0 < outcome.retry_after_s <= 90.0


def test_an_html_error_page_is_not_quoted() -> None:
    outcome, _ = asked(answers(502, b"<html>nginx</html>", {"content-type": "text/html"}))
    assert (outcome.failure, outcome.failure_detail) == (FailureKind.SERVER_ERROR, "HTTP 502")


def test_the_providers_message_is_one_line_redacted_and_cut() -> None:
    words = f"bad key {CANARY} and sk-ant-REDACTME0123456789 \r\n\x1b[31mred " + "x" * 280 + CANARY
    outcome, _ = asked(answers(401, {"error": {"message": words}}))
    assert outcome.failure_detail.startswith("HTTP 401: bad key [redacted] and [redacted] [31mred xxx")
    assert len(outcome.failure_detail) == 300
    assert outcome.failure_detail.isprintable()


@pytest.mark.parametrize("before", [270, 280, 285, 288])
def test_a_key_across_the_cut_is_redacted_whole(before: int) -> None:
    outcome, _ = asked(answers(401, {"error": {"message": "y" * before + CANARY}}))
    # "HTTP 401: " is 10 characters, so the key would begin before character 300 and end behind it.
    assert outcome.failure_detail == f"HTTP 401: {'y' * before}[redacted]"[:300]


UNREADABLE = {
    "html": (b"<html><body>Sign in</body></html>", {"content-type": "text/html"}),
    "empty": (b"", {}),
    "no-object": (b"[]", {}),
    "empty-object": (b"{}", {}),
    "null": (b"null", {}),
    "text": (b"ok", {"content-type": "text/plain"}),
    "no-choices": (b'{"choices":[]}', {}),
    "null-choices": (b'{"choices":null}', {}),
    "no-message": (b'{"choices":[{"finish_reason":"stop"}]}', {}),
    "wrong-content": (b'{"choices":[{"message":{"content":5},"finish_reason":"stop"}]}', {}),
    "half": (b'{"choices":[{"message":{"content":"Hel', {}),
    "trailing": (b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}x', {}),
    "not-utf8": (b'{"choices":[{"message":{"content":"\xff\xfe"},"finish_reason":"stop"}]}', {}),
    "surrogate": (b'{"choices":[{"message":{"content":"\\ud800"},"finish_reason":"stop"}]}', {}),
    "deep": (b"[" * 100_000, {}),
    "nested": (b'{"choices":' + b"[" * 50_000 + b"]" * 50_000 + b"}", {}),
    "event-stream": (b'data: {"choices":[]}\n\n', {"content-type": "text/event-stream"}),
    "gzip-lie": (b'{"choices":[]}', {"content-encoding": "gzip"}),
    "gzip-cut": (gzip.compress(b'{"choices":[]}' * 1_000)[:-20], {"content-encoding": "gzip"}),
    "unasked-encoding": (b"\x01\x02", {"content-encoding": "br"}),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_a_failure(name: str) -> None:
    body, headers = UNREADABLE[name]
    outcome, listener = asked(answers(200, body, headers))
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.UNREADABLE)
    assert outcome.failure_detail != ""
    assert len(listener.requests) == 1


def test_an_unreadable_answer_that_reports_its_usage_is_billed_for_it() -> None:
    outcome, _ = asked(answers(200, {"choices": [], "usage": GOOD["usage"]}))
    assert outcome.failure is FailureKind.UNREADABLE
    assert outcome.usage == Usage(fresh_input=100, output=7)


def test_a_body_cut_short_is_unreadable_and_its_prompt_billed() -> None:
    outcome, _ = asked(sends(message(200, b'{"choices":[', {"content-length": "500"})))
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.UNREADABLE)
    assert "too soon" in outcome.failure_detail
    # The answer had begun: the step's 120 tokens were read by the model.
    assert outcome.usage == Usage(fresh_input=120, estimated=True)
    assert outcome.ttft_ms > 0.0


def test_a_reset_in_mid_body_is_a_connection_failure() -> None:
    outcome, _ = asked(sends(message(200, b'{"choices":[', {"content-length": "500"}), reset=True))
    assert outcome.failure in (FailureKind.CONNECTION, FailureKind.UNREADABLE)
    assert outcome.status is Status.ERROR


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_connection_lost_before_the_status(reset: bool) -> None:
    outcome, listener = asked(sends(b"", reset=reset))
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.CONNECTION)
    assert outcome.usage == Usage()
    assert outcome.ttft_ms == 0.0
    assert len(listener.requests) == 1


def test_garbage_instead_of_http() -> None:
    outcome, _ = asked(sends(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))
    assert outcome.failure is FailureKind.CONNECTION


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = run(once(provider(f"http://127.0.0.1:{port}/v1")))
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.CONNECTION)


def test_a_name_that_does_not_resolve() -> None:
    outcome = run(once(provider("http://no-such-host.invalid/v1")))
    assert outcome.failure is FailureKind.CONNECTION


def test_a_huge_body_is_refused_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_http, "MAX_BODY_BYTES", 1 << 20)
    sent = 0

    def endless(request: Request, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
        while True:
            sent += connection.send(b" " * 65_536)

    outcome, _ = asked(endless)
    assert outcome.failure is FailureKind.UNREADABLE
    assert "larger than 1 MiB" in outcome.failure_detail
    # What lay in socket buffers when the reader stopped is all that was sent beyond the limit.
    assert sent < 16 << 20


def test_a_small_body_that_unpacks_to_a_huge_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_http, "MAX_BODY_BYTES", 1 << 20)
    outcome, _ = asked(answers(200, gzip.compress(b" " * (8 << 20)), {"content-encoding": "gzip"}))
    assert outcome.failure is FailureKind.UNREADABLE
    assert "unpacked" in outcome.failure_detail


def test_the_real_limit_is_32_mib() -> None:
    assert openai_http.MAX_BODY_BYTES == 33_554_432


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with listening(answers(200, GOOD)) as other:
        target = f"{other.url}/chat/completions"
        outcome, listener = asked(answers(status, b"", {"location": target}))
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.UNREADABLE)
    assert "redirects" in outcome.failure_detail
    assert len(listener.requests) == 1
    assert other.connections == 0


def hangs(first: bytes) -> Script:
    def script(request: Request, connection: socket.socket) -> None:
        connection.sendall(first)
        connection.settimeout(10)
        while connection.recv(1_024):
            pass

    return script


@pytest.mark.parametrize("first", [b"", message(200, b'{"choices":', {"content-length": "99"})], ids=["head", "body"])
def test_a_server_that_falls_silent(first: bytes) -> None:
    began = time.perf_counter()
    outcome, listener = asked(hangs(first), limits=Limits(read_s=0.2))
    assert outcome.failure is FailureKind.TIMEOUT
    assert outcome.failure_detail == "nothing came for 0.2 s"
    assert outcome.usage.input_total == (120 if first else 0)
    assert 0.2 <= time.perf_counter() - began < 5.0
    assert len(listener.requests) == 1


def test_a_server_that_trickles_meets_the_limit_of_the_whole_call() -> None:
    def trickle(request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    outcome, _ = asked(trickle, limits=Limits(read_s=5.0, total_s=0.3))
    assert outcome.failure is FailureKind.TIMEOUT
    assert outcome.failure_detail == "no complete answer within 0.3 s"


def test_a_full_pool_is_a_timeout_of_its_own() -> None:
    async def two(made: OpenAIHttp) -> list[Outcome]:
        results = await asyncio.gather(made.send(call()), made.send(call()))
        await made.close()
        return results

    limits = Limits(read_s=0.6, pool_s=0.1, connections=1, idle_connections=1)
    with listening(hangs(b"")) as listener:
        outcomes = run(two(provider(listener.url, limits=limits)))
    assert {outcome.failure for outcome in outcomes} == {FailureKind.TIMEOUT}
    assert sorted(outcome.failure_detail for outcome in outcomes) == [
        "all 1 connections were busy for 0.1 s",
        "nothing came for 0.6 s",
    ]


def test_calls_run_side_by_side_over_their_own_connections() -> None:
    def slow(request: Request, connection: socket.socket) -> None:
        time.sleep(0.2)
        body = {"choices": [{"message": {"content": request.json["messages"][0]["content"]}, "finish_reason": "stop"}]}  # type: ignore[index]
        connection.sendall(message(200, msgspec.json.encode(body)))

    async def many(made: OpenAIHttp) -> list[str]:
        steps = [
            msgspec.structs.replace(STEP, id=f"s-{i}", messages=(Message(role="user", text=f"text {i}"),))
            for i in range(20)
        ]
        outcomes = await asyncio.gather(*(made.send(call(step)) for step in steps))
        await made.close()
        return [outcome.reply.text for outcome in outcomes]

    with listening(slow) as listener:
        began = time.perf_counter()
        texts = run(many(provider(listener.url)))
        took = time.perf_counter() - began
    assert texts == [f"text {i}" for i in range(20)]
    assert took < 20 * 0.2


def test_cancelling_closes_the_connection_and_the_provider_goes_on() -> None:
    async def scenario(made: OpenAIHttp, listener: Listener) -> Outcome:
        task = asyncio.create_task(made.send(call()))
        while not listener.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(listener.client_left.wait, 3.0)
        listener.script = answers(200, GOOD)
        outcome = await made.send(call())
        await made.close()
        return outcome

    def until_gone(request: Request, connection: socket.socket) -> None:
        while connection.recv(1_024):
            pass

    with listening(until_gone) as listener:
        outcome = run(scenario(provider(listener.url), listener))
    assert outcome.status is Status.OK


def test_close_ends_the_connections_and_a_later_call_opens_new_ones() -> None:
    async def scenario(made: OpenAIHttp, listener: Listener) -> None:
        await made.send(call())
        await made.close()
        await made.close()
        assert await asyncio.to_thread(listener.client_left.wait, 3.0)
        assert (await made.send(call())).status is Status.OK
        await made.close()

    with listening(answers(200, GOOD)) as listener:
        run(scenario(provider(listener.url), listener))
    assert listener.connections == 2


def test_another_event_loop_gets_connections_of_its_own() -> None:
    with listening(answers(200, GOOD)) as listener:
        made = provider(listener.url)
        assert run(once(made)).status is Status.OK
        assert run(once(made)).status is Status.OK


def test_images_are_refused_and_nothing_is_sent() -> None:
    step = msgspec.structs.replace(STEP, messages=(Message(role="user", text="what is this?", images=1),))
    outcome, listener = asked(answers(200, GOOD), step=step)
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.BAD_REQUEST)
    assert outcome.failure_detail.startswith("not sent: messages[0]: holds 1 images and 0 files")
    assert listener.connections == 0


OPENAI_USAGE = {
    "prompt_tokens": 2_006,
    "completion_tokens": 300,
    "total_tokens": 2_306,
    "prompt_tokens_details": {"cached_tokens": 1_920},
    "completion_tokens_details": {"reasoning_tokens": 128},
}
DEEPSEEK_USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 50,
    "total_tokens": 1_050,
    "prompt_cache_hit_tokens": 896,
    "prompt_cache_miss_tokens": 104,
}
GEMINI_USAGE = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}


@pytest.mark.parametrize(
    ("vendor", "raw", "usage"),
    [
        # 2006 - 1920 = 86 fresh; reasoning is part of the 300.
        ("openai", OPENAI_USAGE, Usage(fresh_input=86, cache_read=1_920, output=300, reasoning=128)),
        ("deepseek", DEEPSEEK_USAGE, Usage(fresh_input=104, cache_read=896, output=50)),
        # 623 - 20 - 198 = 405 tokens of thought that only the total shows.
        ("gemini", GEMINI_USAGE, Usage(fresh_input=20, output=603, reasoning=405)),
        # An endpoint of no known vendor is read by the names of its fields.
        ("up", DEEPSEEK_USAGE, Usage(fresh_input=104, cache_read=896, output=50)),
        ("deepseek", OPENAI_USAGE, Usage(fresh_input=86, cache_read=1_920, output=300, reasoning=128)),
    ],
)
def test_usage_of_the_vendors(vendor: str, raw: dict[str, object], usage: Usage) -> None:
    outcome, _ = asked(answers(200, {**GOOD, "usage": raw}), name=vendor)
    assert outcome.usage == usage


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "many",
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 6}},
    ],
)
def test_without_a_usable_usage_it_is_estimated_never_zero(usage: object) -> None:
    outcome, _ = asked(answers(200, {**GOOD, "usage": usage}))
    assert outcome.status is Status.OK
    # The step's own 120 tokens, and "Hello.": 6 bytes, a quarter rounded up.
    assert outcome.usage == Usage(fresh_input=120, output=2, estimated=True)


def test_length_is_truncated_unless_the_caller_set_the_limit() -> None:
    cut = {**GOOD, "choices": [{"message": {"content": "Hel"}, "finish_reason": "length"}]}
    outcome, _ = asked(answers(200, cut))
    assert (outcome.status, outcome.reply.finish, outcome.reply.text) == (Status.TRUNCATED, "length", "Hel")
    own = msgspec.structs.replace(STEP, output=OutputContract(max_tokens=7))
    outcome, _ = asked(answers(200, cut), step=own)
    assert (outcome.status, outcome.reply.finish) == (Status.OK, "length")
    # 7 tokens written of 50 allowed: it was the model's window that ended, not the caller's limit.
    roomy = msgspec.structs.replace(STEP, output=OutputContract(max_tokens=50))
    outcome, _ = asked(answers(200, cut), step=roomy)
    assert outcome.status is Status.TRUNCATED


def test_an_error_inside_a_200_is_a_failure() -> None:
    body = {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "slow down"}}}
    outcome, _ = asked(answers(200, body))  # type: ignore[arg-type]
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.RATE_LIMIT)
    assert outcome.failure_detail == "HTTP 200 with an error: Provider returned error: slow down"


def test_the_key_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Every failure, with all loggers open; then everything that was made on the way is searched."""
    echo = {"error": {"message": f"Incorrect API key provided: {CANARY}", "param": CANARY, "code": CANARY}}
    scripts = [
        answers(200, GOOD),
        answers(401, echo),
        answers(401, f"no {CANARY}".encode(), {"content-type": "text/plain"}),
        answers(429, echo, {"x-key": CANARY, "retry-after": CANARY}),
        answers(200, {"error": CANARY}),
        answers(200, {"choices": [{"message": {"content": None}, "finish_reason": "error"}]}),
        answers(200, b"{}", {"content-encoding": CANARY}),
        answers(302, b"", {"location": f"http://127.0.0.1:9/?key={CANARY}"}),
        sends(b"HTTP/1.1 " + CANARY.encode() + b"\r\n\r\n"),
        sends(b""),
    ]
    seen: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for script in scripts:
            with listening(script) as listener:
                made = provider(listener.url)
                outcome = run(once(made))
                assert listener.requests[0].headers["authorization"] == f"Bearer {CANARY}"
            seen += [repr(outcome), repr(made), str(made), repr(vars(made)), msgspec.json.encode(outcome).decode()]
        seen.append(repr(run(once(provider("http://127.0.0.1:9/v1")))))
    assert caplog.records != []
    seen += [f"{record.getMessage()} {record.args!r} {record.exc_info!r}" for record in caplog.records]
    assert [text for text in seen if CANARY in text] == []


def test_the_key_is_not_in_a_tracebacks_variables() -> None:
    made = provider("http://127.0.0.1:9/v1")
    try:
        raise RuntimeError("crash dump")
    except RuntimeError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert "OpenAIHttp(name='up'" in "".join(shown.format())
    assert CANARY not in "".join(shown.format()) + repr(made)
    assert repr(Secret(CANARY)) == str(Secret(CANARY)) == "[redacted]"


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it() -> None:
    for key in ("two\nlines-secret", "schlüssel-secret", "a b-secret"):
        with pytest.raises(ValueError, match="holds characters") as caught:
            OpenAIHttp(VENDORS["openai"], key=key)
        assert "secret" not in str(caught.value)


def test_behind_the_router_a_failing_endpoint_falls_back_to_the_next() -> None:
    second = msgspec.structs.replace(CANDIDATE, name="down/m-2", provider="down", model="m-2")
    world = World(catalog=Catalog((CANDIDATE, second)))

    async def scenario(bad: str, good: str) -> Any:
        providers = {"up": provider(bad), "down": provider(good, name="down")}
        async with Router(world, "fixed:mid", providers=providers) as router:
            return await router.run(STEP)

    with listening(answers(503, b"{}")) as bad, listening(answers(200, GOOD)) as good:
        record = run(scenario(bad.url, good.url))
    assert [attempt.outcome.failure for attempt in record.attempts] == [FailureKind.OVERLOADED, None]
    assert record.reply.text == "Hello."
    # 100 tokens at 1 USD and 7 at 4 USD per million: 100,000 + 28,000 nano-dollars; the failure cost nothing.
    assert record.cost_nusd == 128_000
    assert (len(bad.requests), len(good.requests)) == (1, 1)


def test_closing_ends_calls_under_way_as_failures() -> None:
    async def scenario(made: OpenAIHttp, listener: Listener) -> Outcome:
        task = asyncio.create_task(made.send(call()))
        while not listener.requests:
            await asyncio.sleep(0.01)
        await made.close()
        return await asyncio.wait_for(task, 3.0)

    with listening(hangs(b"")) as listener:
        outcome = run(scenario(provider(listener.url), listener))
    assert (outcome.status, outcome.failure) == (Status.ERROR, FailureKind.CONNECTION)
