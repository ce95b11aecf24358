"""The provider for every endpoint that speaks OpenAI chat completions over HTTP.

Law: ``send`` returns an ``Outcome`` and raises for nothing a network or a vendor does; one request a call, no retry, no
redirect followed, nothing read from the environment (no proxy variables, no netrc), no cookie kept. The key goes into
the Authorization header and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import msgspec

from agentrouter.errors import FailureKind, InputError
from agentrouter.ledger.redact import MARK, redact
from agentrouter.providers.vendors import Vendor
from agentrouter.types import Call, Outcome, Reply, Status, Usage
from agentrouter.wire.openai_reply import Completion, Failure, charged_prompt, read_completion, read_error
from agentrouter.wire.openai_request import output_limit, request_body

MAX_BODY_BYTES = 32 << 20
"""Larger answers are refused, compressed or not."""
DETAIL_CHARS = 300


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for what, seconds, and how many connections to hold."""

    connect_s: float = 5.0
    read_s: float = 120.0
    """Between two reads; without streaming the first one waits for the whole answer to be written."""
    write_s: float = 30.0
    pool_s: float = 30.0
    """For a free connection."""
    total_s: float = 600.0
    """For the whole call, whatever trickles in."""
    connections: int = 100
    idle_connections: int = 20


class Secret:
    """A key that does not show itself in a ``repr``, a log line or a traceback's variables."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return MARK

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        """Return the key itself, to be put into a header."""
        return self._value

    def out_of(self, text: str) -> str:
        """Return the text with the key and anything that looks like one taken out."""
        return redact(text.replace(self._value, MARK) if self._value else text)


class OpenAIHttp:
    """An HTTP endpoint that speaks OpenAI chat completions.

    Args:
        vendor: where the endpoint is and how it differs from the others.
        key: the API key; empty: none is sent.
        name: the provider's name in the config.
        limits: timeouts and connections.

    Raises:
        ValueError: the key holds characters that no header can carry.

    Serves one event loop at a time; used in another one, it opens new connections there.
    """

    def __init__(self, vendor: Vendor, *, key: str = "", name: str = "", limits: Limits | None = None) -> None:
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(f"the key of provider {name or vendor.name!r} holds characters that no header can carry")
        self.name = name or vendor.name
        self.vendor = vendor
        self._url = f"{vendor.base_url.rstrip('/')}/chat/completions"
        self._key = Secret(key)
        self._limits = limits or Limits()
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"OpenAIHttp(name={self.name!r}, url={self._url!r})"

    async def send(self, call: Call) -> Outcome:
        """Make one request and return what came back; a cancelled task closes its connection."""
        started = time.perf_counter()
        try:
            body = request_body(call.step, call.candidate, self.vendor.dialect)
        except InputError as error:
            return self._failed(Failure(kind=FailureKind.BAD_REQUEST, detail=f"not sent: {error}"), _Times(started))
        times = _Times(started)
        try:
            async with asyncio.timeout(self._limits.total_s):
                answer = await self._exchange(call, body, times)
        except TimeoutError:
            late = f"no complete answer within {self._limits.total_s:g} s"
            answer = _lost(call, times, FailureKind.TIMEOUT, late)
        except httpx2.TimeoutException as error:
            answer = _lost(call, times, FailureKind.TIMEOUT, self._late(error))
        except httpx2.RemoteProtocolError as error:
            # Before the headers the connection failed; after them the answer did.
            kind = FailureKind.UNREADABLE if times.headers else FailureKind.CONNECTION
            answer = _lost(call, times, kind, f"the connection ended too soon: {error}")
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            answer = _lost(call, times, FailureKind.CONNECTION, f"{type(error).__name__}: {error}")
        if isinstance(answer, Failure):
            return self._failed(answer, times)
        return Outcome(
            status=Status.TRUNCATED if _cut_by_model(call, answer) else Status.OK,
            reply=answer.reply,
            usage=answer.usage,
            latency_ms=times.since_ms(),
            ttft_ms=times.headers_ms(),
        )

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    async def _exchange(self, call: Call, body: bytes, times: _Times) -> Completion | Failure:
        """Send one request and read its answer to the end.

        Raises:
            httpx2.HTTPError: the network failed.
        """
        headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "gzip"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        async with self._opened().stream("POST", self._url, content=body, headers=headers) as response:
            times.headers = time.perf_counter()
            times.accepted = response.status_code == 200
            if response.has_redirect_location:
                detail = f"HTTP {response.status_code}: the endpoint redirects, which is not followed"
                return Failure(kind=FailureKind.UNREADABLE, detail=detail)
            try:
                content = await _content(response)
            except _UnreadableError as error:
                if times.accepted:
                    return _lost(call, times, FailureKind.UNREADABLE, str(error))
                content = b""  # the status alone says what happened
            if not times.accepted:
                given = {name.lower(): value for name, value in response.headers.items()}
                return read_error(response.status_code, given, content, time.time())
        return read_completion(content, call.step, convention=self.vendor.usage, number=call.number)

    def _opened(self) -> httpx2.AsyncClient:
        """Return the client of the running event loop, made when first needed."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            _quieten()
            limits = self._limits
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(
                    connect=limits.connect_s, read=limits.read_s, write=limits.write_s, pool=limits.pool_s
                ),
                limits=httpx2.Limits(
                    max_connections=limits.connections, max_keepalive_connections=limits.idle_connections
                ),
                follow_redirects=False,
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={"user-agent": "agentrouter"},
            )
            self._loop = loop
        return self._client

    def _late(self, error: httpx2.TimeoutException) -> str:
        limits = self._limits
        match error:
            case httpx2.ConnectTimeout():
                return f"no connection within {limits.connect_s:g} s"
            case httpx2.PoolTimeout():
                return f"all {limits.connections} connections were busy for {limits.pool_s:g} s"
            case httpx2.WriteTimeout():
                return f"the request could not be written within {limits.write_s:g} s"
            case _:
                return f"nothing came for {limits.read_s:g} s"

    def _failed(self, failure: Failure, times: _Times) -> Outcome:
        # Redacted before it is cut: half a key is not recognised as one.
        detail = self._key.out_of(failure.detail)
        printable = " ".join("".join(char if char.isprintable() else " " for char in detail).split())
        return Outcome(
            status=Status.ERROR,
            reply=Reply(finish="unknown"),
            usage=failure.usage,
            failure=failure.kind,
            failure_detail=printable[:DETAIL_CHARS],
            retry_after_s=failure.retry_after_s,
            latency_ms=times.since_ms(),
            ttft_ms=times.headers_ms(),
        )


def _quieten() -> None:
    """Keep the HTTP library from logging what endpoints send: status lines and headers can hold our key, echoed."""
    for name in ("httpx2", "httpcore2"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


class _Times:
    """When a call began and when its headers came; ``accepted``: with status 200."""

    __slots__ = ("accepted", "headers", "started")

    def __init__(self, started: float) -> None:
        self.started, self.headers, self.accepted = started, 0.0, False

    def since_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def headers_ms(self) -> float:
        return (self.headers - self.started) * 1e3 if self.headers else 0.0


class _UnreadableError(Exception):
    """The body is too large or not encoded as it says; caught in this module."""


def _lost(call: Call, times: _Times, kind: FailureKind, detail: str) -> Failure:
    """Return the failure of an answer that did not come whole; once it had begun, its prompt is billed."""
    return Failure(kind=kind, detail=detail, usage=charged_prompt(call.step) if times.accepted else Usage())


def _cut_by_model(call: Call, answer: Completion) -> bool:
    """Whether the answer ends at the model's own limit and not at the one its caller set."""
    if answer.reply.finish != "length":
        return False
    asked = call.step.output.max_tokens
    if not asked or output_limit(call.step, call.candidate) < asked:
        return True
    return not answer.usage.estimated and answer.usage.output < asked


async def _content(response: httpx2.Response) -> bytes:
    """Return the decoded body, never more than ``MAX_BODY_BYTES``.

    The bytes are unpacked here and not by the client, so that a small body cannot unpack to any size.

    Raises:
        _UnreadableError: too large, or not encoded as it says.
    """
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise _UnreadableError(f"the answer is larger than {MAX_BODY_BYTES >> 20} MiB")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return bytes(raw)
    if encoding not in ("gzip", "x-gzip"):
        raise _UnreadableError(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(bytes(raw), MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise _UnreadableError(f"the answer is not gzip as it says: {error}") from None
    if len(content) > MAX_BODY_BYTES:
        raise _UnreadableError(f"the unpacked answer is larger than {MAX_BODY_BYTES >> 20} MiB")
    if not unpacker.eof:
        raise _UnreadableError("the packed answer is not complete")
    return content
