"""The agent's tools: a read-only SQL query, and search over a small corpus. Plain code; no model in here."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

MAX_ROWS = 20
QUERY_SECONDS = 2.0
_PROGRESS_EVERY = 10_000
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_WORD = re.compile(r"[a-z0-9]+")
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "that",
        "the",
        "to",
        "was",
        "were",
        "what",
        "when",
        "which",
        "who",
        "with",
    ]
)


class ToolError(Exception):
    """A tool could not do what it was asked; the message is written for the model's next prompt."""


class Rows(msgspec.Struct, frozen=True):
    """Result of a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def text(self) -> str:
        """Return the rows as a model reads them best: a header, then one line a row."""
        lines = [" | ".join(self.columns)]
        lines += [" | ".join(_shown(value) for value in row) for row in self.rows]
        return "\n".join(lines)


class Database:
    """A SQLite file that can be read and in no way written.

    Args:
        path: the file.
        seconds: how long one query may run.
    """

    def __init__(self, path: Path, *, seconds: float = QUERY_SECONDS) -> None:
        self._path = path
        self._seconds = seconds

    def query(self, sql: str) -> Rows:
        """Run one SELECT and return at most ``MAX_ROWS`` rows.

        Raises:
            ToolError: not one SELECT, an SQL error, or out of time.
        """
        deadline = time.monotonic() + self._seconds
        with contextlib.closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.set_authorizer(_authorise)
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_EVERY)
            try:
                cursor = connection.execute(sql)
                found = cursor.fetchmany(MAX_ROWS)
            except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
                if "interrupted" in str(error):
                    raise ToolError(f"the query took longer than {self._seconds:g} s") from None
                raise ToolError(f"SQL error: {error}") from None
            if cursor.description is None:
                raise ToolError("the statement returns no rows: write one SELECT")
            return Rows(tuple(column[0] for column in cursor.description), tuple(tuple(row) for row in found))


class Document(msgspec.Struct, frozen=True):
    """One document of the corpus."""

    id: str
    title: str
    text: str


class Corpus:
    """Full-text search (BM25 with k1 = 1.5, b = 0.75) over documents held in memory."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = {document.id: document for document in documents}
        self._counts = {each.id: Counter(words(f"{each.title} {each.title} {each.text}")) for each in self}
        self._mean = sum(sum(counts.values()) for counts in self._counts.values()) / max(1, len(self._counts))
        self._holding = Counter(word for counts in self._counts.values() for word in counts)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents.values())

    def get(self, identifier: str) -> Document:
        """Return the document of that id.

        Raises:
            ToolError: there is none.
        """
        try:
            return self._documents[identifier]
        except KeyError:
            raise ToolError(f"there is no document {identifier!r}") from None

    def search(self, query: str, *, top: int = 4) -> Sequence[Document]:
        """Return the best matches, best first; ties go to the smaller id, so that runs repeat."""
        wanted = set(words(query))
        scored = [(self._score(identifier, wanted), identifier) for identifier in self._documents]
        best = sorted((-score, identifier) for score, identifier in scored if score > 0)
        return [self._documents[identifier] for _, identifier in best[:top]]

    def _score(self, identifier: str, wanted: set[str]) -> float:
        counts = self._counts[identifier]
        length = 1.5 * (0.25 + 0.75 * sum(counts.values()) / self._mean)
        total = 0.0
        for word in sorted(wanted & counts.keys()):
            holding = self._holding[word]
            rarity = math.log(1 + (len(self._documents) - holding + 0.5) / (holding + 0.5))
            total += rarity * counts[word] * 2.5 / (counts[word] + length)
        return total


def words(text: str) -> list[str]:
    """Return the words of a text for searching: lower case, stop words out, a plural's ``s`` off."""
    found = (word for word in _WORD.findall(text.lower()) if word not in _STOP)
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found]


def _shown(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _authorise(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
