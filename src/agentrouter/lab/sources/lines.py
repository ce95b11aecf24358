"""Records of a text trace, one by one: lines, JSON arrays, pretty-printed documents; plain or gzip.

Law: constant memory. Nothing is dropped silently: every record is counted in ``TraceReport.lines`` and whatever cannot
be decoded goes to ``TraceReport.bad`` with file, line and field, and reading goes on. Knows nothing of any one format.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.trace import Problem, TraceReport

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

HEAD_BYTES = 65_536
"""How much of a file the readers see for sniffing."""
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""A longer record is malformed: it would break the promise of constant memory."""

CHUNK_BYTES = 1 << 18

GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|"|[{}\[\]:,]', re.DOTALL)
_DEPTH = re.compile(rb'"(?:[^"\\]|\\.)*"|"|[{}\[\]]|\n', re.DOTALL)
_PLACE = re.compile(r" - at `\$?\.?([^`]*)`$")


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a trace for reading, through gzip where the content (not the name) says so."""
    raw: io.BufferedReader = io.BufferedReader(io.FileIO(path), HEAD_BYTES)
    if raw.peek(2)[:2] != GZIP_MAGIC:
        return raw
    raw.close()
    return io.BufferedReader(_Unpacked(path), HEAD_BYTES)


class _Unpacked(io.RawIOBase):
    """A gzip file's content as it comes: a read of ``GzipFile`` itself fails as a whole at the damaged place, and what
    was good before it would be lost.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = gzip.GzipFile(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        part = self._file.read1(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()


def head_of(path: Path) -> bytes:
    """The first 64 kB of the (unpacked) content; less where a gzip file is damaged."""
    head = b""
    with open_bytes(path) as stream:
        try:
            while len(head) < HEAD_BYTES and (part := stream.read1(HEAD_BYTES)):
                head += part
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return head
    return head[:HEAD_BYTES]


def records(path: Path, report: TraceReport) -> Iterator[tuple[int, bytes]]:
    """Yield ``(line number, text)`` of every JSON record of a file.

    A file is read by lines unless its head shows one JSON array or a pretty-printed document.
    """
    with open_bytes(path) as stream:
        try:
            split = _documents if _is_document(stream.peek(HEAD_BYTES)) else _lines
            yield from split(stream, path, report)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            report.bad(Problem(str(path), 0, "", f"the gzip file ends early or is damaged: {error}"))


def decoded(path: Path, report: TraceReport, decode: Callable[[bytes], T]) -> Iterator[tuple[int, T]]:
    """Yield ``(line number, record)``; records that ``decode`` rejects are reported and passed over."""
    for number, text in records(path, report):
        try:
            record = decode(text)
        except (msgspec.MsgspecError, InputError, UnicodeDecodeError, RecursionError) as error:
            report.bad(problem_from(error, path, number))
            continue
        yield number, record


def problem_from(error: Exception, path: Path, line: int) -> Problem:
    """Say where and why a record could not be used."""
    if isinstance(error, InputError):
        return Problem(str(path), line, error.field, error.message)
    if isinstance(error, RecursionError):
        return Problem(str(path), line, "", "nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Problem(str(path), line, "", f"not UTF-8 at byte {error.start}")
    message = str(error)
    place = _PLACE.search(message)
    if place is None:
        return Problem(str(path), line, "", message)
    return Problem(str(path), line, place.group(1), message[: place.start()])


def top_keys(head: bytes) -> frozenset[bytes]:
    """Names of the top-level fields of the records in ``head``, of a record cut at its end too."""
    if _is_document(head):
        return frozenset(_keys(head))
    found: set[bytes] = set()
    for line in head.split(b"\n")[:50]:
        if line.lstrip(_BOM + b" \t").startswith(b"{"):
            found.update(_keys(line))
    return frozenset(found)


def _keys(text: bytes) -> Iterator[bytes]:
    """Keys of objects at the first depth that is an object (a record may stand inside one array)."""
    stack: list[bytes] = []
    last = b""
    for match in _TOKEN.finditer(text):
        token = match.group()
        first = token[:1]
        if first == b'"':
            if len(token) == 1:
                return
            last = token
        elif first in b"{[":
            stack.append(first)
        elif first in b"}]":
            if stack:
                stack.pop()
        elif first == b":" and stack in ([b"{"], [b"[", b"{"]):
            yield last[1:-1]


def _is_document(head: bytes) -> bool:
    """Whether a file is one JSON array or pretty-printed JSON rather than a record a line.

    A stray bracket in front of a JSON lines file must not turn the whole file into one document, so the second line
    has its say.
    """
    lines = [line.strip() for line in head.removeprefix(_BOM).split(b"\n", 200)]
    filled = [*[line for line in lines if line][:3], b"", b"", b""]
    if filled[0] == b"{":
        return filled[1].startswith(b'"')
    if filled[0] != b"[" and not filled[0].startswith(b"[{"):
        return False
    return filled[2] == b"]" or not _is_record(filled[1])


def _is_record(line: bytes) -> bool:
    if len(line) < 3 or not line.startswith(b"{"):
        return False
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _lines(stream: BinaryIO, path: Path, report: TraceReport) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_RECORD_BYTES):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if not line or line.isspace():
            continue
        report.lines += 1
        if len(line) >= MAX_RECORD_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_RECORD_BYTES)) and not rest.endswith(b"\n"):
                pass
            report.bad(Problem(str(path), number, "", f"longer than {MAX_RECORD_BYTES} bytes"))
            continue
        if not _is_clean(line, path, number, report):
            continue
        yield number, line


def _is_clean(text: bytes, path: Path, number: int, report: TraceReport) -> bool:
    """The decoder does not look inside fields that nobody reads, so bytes are checked here."""
    if b"\0" in text:
        report.bad(Problem(str(path), number, "", "holds a NUL byte"))
        return False
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            report.bad(problem_from(error, path, number))
            return False
    return True


def _documents(stream: BinaryIO, path: Path, report: TraceReport) -> Iterator[tuple[int, bytes]]:
    """Split a JSON array (or a row of documents) into its objects, whatever stands between them."""
    splitter = _Splitter()
    # Reading as much again as is pending keeps a long record's scan linear.
    while chunk := stream.read(max(CHUNK_BYTES, splitter.pending)):
        yield from splitter.feed(chunk, path, report)
    if splitter.depth:
        report.lines += 1
        report.bad(Problem(str(path), splitter.start_line, "", "the file ends inside this record"))


class _Splitter:
    """Cuts a byte stream into top-level JSON objects by counting brackets outside strings."""

    def __init__(self) -> None:
        self.depth = 0
        self.line = 1
        self.start_line = 1
        self._pending = b""
        self._scanned = 0
        self._start = -1

    @property
    def pending(self) -> int:
        """Bytes of the record that is not complete yet."""
        return len(self._pending)

    def feed(self, chunk: bytes, path: Path, report: TraceReport) -> Iterator[tuple[int, bytes]]:
        """Take more bytes; yield the objects that are complete now."""
        data = self._pending + chunk
        position = self._scanned
        for match in _DEPTH.finditer(data, position):
            token = match.group()
            if token == b'"':
                # A string that goes on in the next chunk: scan it again then.
                position = match.start()
                break
            position = match.end()
            if token == b"\n":
                self.line += 1
            elif token == b"{":
                if self.depth == 0:
                    self._start, self.start_line = match.start(), self.line
                self.depth += 1
            elif token == b"}" and self.depth:
                self.depth -= 1
                if self.depth == 0:
                    text = data[self._start : match.end()]
                    self._start = -1
                    report.lines += 1
                    if _is_clean(text, path, self.start_line, report):
                        yield self.start_line, text
        else:
            position = len(data)
        keep = self._start if self._start >= 0 else position
        if len(data) - keep > MAX_RECORD_BYTES:
            report.lines += 1
            report.bad(Problem(str(path), self.start_line, "", f"longer than {MAX_RECORD_BYTES} bytes"))
            keep, position, self.depth, self._start = len(data), len(data), 0, -1
        self._pending = data[keep:]
        self._scanned = position - keep
        if self._start >= 0:
            self._start -= keep
