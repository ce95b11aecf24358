"""A real HTTP listener on loopback whose every byte a test chooses: good answers, garbage, cut and hanging ones."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator

REASONS = {200: "OK", 302: "Found", 404: "Not Found"}


class Request:
    """What a client sent."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes) -> None:
        self.line, self.headers, self.body = line, headers, body

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


Script = Callable[[Request, socket.socket], None]
"""Answers one request by writing to its socket; returning keeps the connection if all was said."""


class Listener:
    """Accepts connections in threads; ``script`` answers each request."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.client_left = threading.Event()
        """Set when a client closes its connection."""
        self.stopping = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stop(self) -> None:
        self.stopping.set()
        # A blocked accept is only woken by a shutdown, not by a close.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while (request := _read(reader)) is not None:
                self.requests.append(request)
                self.script(request, connection)
            self.client_left.set()


def _read(reader: object) -> Request | None:
    line = reader.readline()  # type: ignore[attr-defined]
    if not line:
        return None
    headers: dict[str, str] = {}
    while (header := reader.readline().strip()) != b"":  # type: ignore[attr-defined]
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
    return Request(line.decode("latin-1").strip(), headers, body)


@contextlib.contextmanager
def listening(script: Script) -> Iterator[Listener]:
    listener = Listener(script)
    try:
        yield listener
    finally:
        listener.stop()


def message(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    given = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in given.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answers(status: int, body: bytes | dict[str, object], headers: dict[str, str] | None = None) -> Script:
    """Answer every request the same."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def script(request: Request, connection: socket.socket) -> None:
        connection.sendall(message(status, raw, headers))

    return script


def sends(raw: bytes, *, reset: bool = False) -> Script:
    """Send bytes as they are and close, with a reset if asked."""

    def script(request: Request, connection: socket.socket) -> None:
        connection.sendall(raw)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise OSError("ends this thread, which closes the socket")
        connection.shutdown(socket.SHUT_RDWR)

    return script
