"""The ledger in one SQLite file: one row a step, one row an attempt, both in one transaction.

Law: a row whose ``append`` returned survives the death of the process; there is never half a step; the same
record twice is one row; only ``LedgerError`` leaves this module. Two processes may write one file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentrouter.errors import InputError, LedgerError
from agentrouter.lab.trace import RecordedStep
from agentrouter.ledger import queries
from agentrouter.ledger.queries import Totals
from agentrouter.ledger.redact import storable_id
from agentrouter.ledger.rows import LedgerStep, StepRows, rows_from
from agentrouter.ledger.schema import connect
from agentrouter.types import StepRecord

T = TypeVar("T")

WAITING_LIMIT = 10_000
"""How many steps are kept in memory while the file cannot be written; more are dropped and counted."""

KNOWN_TEXTS_LIMIT = 10_000
"""How many hashes of stored texts are remembered, so that they are not offered to the file again."""

_UNWRITABLE = (OverflowError, UnicodeError, sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""What is wrong with the step and not with the file."""

# While steps are waiting already, an append does not wait for the file's lock, so that no request is held up.
_WAIT_BRIEFLY = "PRAGMA busy_timeout = 20"
_WAIT_NORMALLY = "PRAGMA busy_timeout = 5000"

_INSERT_STEP = """
    INSERT INTO steps (
        id, trajectory_id, step_index, retry, parent_id, role, kind, status, tier, model, provider, served,
        policy, reason, program, started_at, day, latency_ms, ttft_ms, attempts, escalated, fresh_input,
        cache_read, cache_write, cache_write_1h, output, reasoning, estimated, cost_fresh_input,
        cost_cache_read, cost_cache_write, cost_output, cost_other, cost_checks, cost_nusd, features_hash,
        features, step, decisions, excluded, notes, digest
    ) VALUES (
        :id, :trajectory_id, :step_index, :retry, :parent_id, :role, :kind, :status, :tier, :model,
        :provider, :served, :policy, :reason, :program, :started_at, :day, :latency_ms, :ttft_ms, :attempts,
        :escalated, :fresh_input, :cache_read, :cache_write, :cache_write_1h, :output, :reasoning,
        :estimated, :cost_fresh_input, :cost_cache_read, :cost_cache_write, :cost_output, :cost_other,
        :cost_checks, :cost_nusd, :features_hash, :features, :step, :decisions, :excluded, :notes, :digest
    )
"""
_INSERT_ATTEMPT = """
    INSERT INTO attempts (
        step_seq, position, number, kind, candidate, candidate_hash, tier, model, provider, status, failure,
        failure_detail, retry_after_s, committed, latency_ms, ttft_ms, fresh_input, cache_read, cache_write,
        cache_write_1h, output, reasoning, estimated, cost_fresh_input, cost_cache_read, cost_cache_write,
        cost_output, cost_other, cost_checks, cost_nusd, recorded_cost_nusd, verdicts, reply
    ) VALUES (
        :step_seq, :position, :number, :kind, :candidate, :candidate_hash, :tier, :model, :provider,
        :status, :failure, :failure_detail, :retry_after_s, :committed, :latency_ms, :ttft_ms, :fresh_input,
        :cache_read, :cache_write, :cache_write_1h, :output, :reasoning, :estimated, :cost_fresh_input,
        :cost_cache_read, :cost_cache_write, :cost_output, :cost_other, :cost_checks, :cost_nusd,
        :recorded_cost_nusd, :verdicts, :reply
    )
"""
_INSERT_TEXT = "INSERT OR IGNORE INTO texts (hash, body) VALUES (?, ?)"
_FIND_STEP = "SELECT digest FROM steps WHERE id = ?"
_FIND_NUMBER = "SELECT 1 FROM steps WHERE trajectory_id = ? AND step_index = ? AND retry = ?"
_NEXT_INDEX = "SELECT MAX(step_index) + 1 FROM steps WHERE trajectory_id = ?"
_NEXT_RETRY = "SELECT MAX(retry) + 1 FROM steps WHERE trajectory_id = ? AND step_index = ?"


class SqliteLedger:
    """The append-only store of steps in one SQLite file (see ``open_ledger``). Safe to share between threads.

    Args:
        path: the file.
        store_content: keep messages, replies, tool arguments and feature values too, redacted.
        read_only: never write; ``append`` raises.

    Raises:
        LedgerError: the file cannot be opened, is not a ledger, or is of a newer schema.
    """

    def __init__(self, path: Path, *, store_content: bool = False, read_only: bool = False) -> None:
        self.path = path
        self._content = store_content
        self._read_only = read_only
        self._program = _program_version()
        self._connection: sqlite3.Connection | None = connect(path, read_only=read_only)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._known_texts: set[bytes] = set()
        self._waiting: deque[StepRows] = deque()
        self._dropped = 0

    @property
    def waiting(self) -> int:
        """Steps kept in memory because the file could not be written; the next append tries them again."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Steps lost: refused, over ``WAITING_LIMIT``, or still waiting at ``close``."""
        return self._dropped

    def append(self, record: StepRecord) -> None:
        """Write one step; when this returns, the row survives a kill of the process.

        The same record again (a retry after a crash) changes nothing; another record under a known step id is stored
        under that id with ``#2``, ``#3``, ... If another step of the trajectory has the same
        index, the step gets the trajectory's next free one; a retry (``step.retry`` above 0) keeps its index and gets
        the next free retry number.

        Raises:
            LedgerError: the step is not in the file. If the file was locked, full or failing, the step is kept in
                memory and tried again with the next append. A number of more than 64 bits is refused for good.
        """
        self.append_many((record,))

    def append_many(self, records: Sequence[StepRecord]) -> None:
        """Write several steps in one transaction, under the same terms as ``append``."""
        fresh = [rows_from(record, program=self._program, content=self._content) for record in records]
        with self._lock:
            connection = self._usable()
            if self._read_only:
                raise LedgerError(f"{self.path}: was opened for reading only")
            was_waiting = bool(self._waiting)
            batch = [*self._waiting, *fresh]
            try:
                if was_waiting:
                    connection.execute(_WAIT_BRIEFLY)
                refused = self._write_or_refuse(connection, batch)
            except sqlite3.Error as error:
                self._keep_waiting(fresh)
                raise LedgerError(
                    f"{self.path}: cannot be written: {error}; {len(self._waiting)} steps wait in memory, "
                    f"{self._dropped} were dropped"
                ) from error
            finally:
                if was_waiting:
                    connection.execute(_WAIT_NORMALLY)
            self._waiting.clear()
        if refused:
            raise LedgerError(f"{self.path}: refused for good: {'; '.join(refused)}")

    def close(self) -> None:
        """Write what is waiting and close the file. Closing twice is allowed.

        Raises:
            LedgerError: steps that were waiting could not be written and are lost; says how many.
        """
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None or os.getpid() != self._pid:
                return
            lost: list[str] = []
            try:
                if self._waiting:
                    lost = self._write_or_refuse(connection, list(self._waiting))
            except sqlite3.Error as error:
                lost = [f"{len(self._waiting)} steps that were waiting: {error}"]
                self._dropped += len(self._waiting)
            finally:
                self._waiting.clear()
                connection.close()
        if lost:
            raise LedgerError(f"{self.path}: lost at closing: {'; '.join(lost)}")

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    def steps(self, *, after: int = 0, trajectory_id: str = "") -> Iterator[LedgerStep]:
        """Yield the steps in the order they were written, streaming.

        Args:
            after: only rows with a greater ``seq``.
            trajectory_id: only this trajectory; empty: all.

        Raises:
            LedgerError: the file cannot be read.
        """
        wanted = storable_id(trajectory_id) if trajectory_id else ""
        while True:
            page = self._read(partial(queries.page, after=after, trajectory_id=wanted))
            yield from page
            if not page:
                return
            after = page[-1].seq

    def recorded(self, *, after: int = 0, trajectory_id: str = "") -> Iterator[RecordedStep]:
        """Yield the steps as a trace, for the replay; see ``queries.recorded_from``."""
        return map(queries.recorded_from, self.steps(after=after, trajectory_id=trajectory_id))

    def explain(self, step_id: str) -> LedgerStep:
        """Return everything about one step: what was decided and why, tried, refused and paid.

        Raises:
            InputError: no such step.
            LedgerError: the file cannot be read.
        """
        found = self._read(lambda connection: queries.by_id(connection, storable_id(step_id)))
        if found is None:
            raise InputError(f"no step {step_id!r} in this ledger", file=str(self.path))
        return found

    def totals(self, by: str = "", *, since: float | None = None, until: float | None = None) -> tuple[Totals, ...]:
        """Return steps, attempts, tokens and cost, in groups, the dearest first; the groups add up to the whole.

        Args:
            by: ``role``, ``model``, ``tier``, ``trajectory``, ``day``, ``policy`` or ``status``; empty: one row for
                all. ``model`` and ``tier`` are those of the attempts, so that an escalated step counts in both.
            since: only steps started at or after this time (seconds since the epoch).
            until: only steps started before this time.

        Raises:
            InputError: no such grouping.
            LedgerError: the file cannot be read.
        """
        queries.check_group(by)
        return self._read(lambda connection: queries.totals(connection, by, since=since, until=until))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError(f"{self.path}: the ledger is closed")
        if os.getpid() != self._pid:
            raise LedgerError(f"{self.path}: was opened by the parent process; open it again in this one")
        return self._connection

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            connection = self._usable()
            try:
                return query(connection)
            except (sqlite3.Error, msgspec.MsgspecError, LookupError, ValueError) as error:
                raise LedgerError(f"{self.path}: cannot be read: {error}") from error

    def _keep_waiting(self, fresh: Sequence[StepRows]) -> None:
        room = max(0, WAITING_LIMIT - len(self._waiting))
        self._waiting.extend(fresh[:room])
        self._dropped += len(fresh[room:])

    def _write_or_refuse(self, connection: sqlite3.Connection, batch: Sequence[StepRows]) -> list[str]:
        """Write ``batch``; return which steps can never be written, and why.

        Raises:
            sqlite3.Error: the file cannot be written now. Some of the batch may be written; writing it again is safe.
        """
        try:
            self._write(connection, batch)
        except _UNWRITABLE:
            pass
        else:
            return []
        refused: list[str] = []
        for rows in batch:  # one by one, so that one bad step does not keep the others out
            try:
                self._write(connection, (rows,))
            except _UNWRITABLE as error:
                self._dropped += 1
                refused.append(f"step {rows.step['id']!r}: {error}")
        return refused

    def _write(self, connection: sqlite3.Connection, batch: Sequence[StepRows]) -> None:
        """Write all of ``batch`` or nothing."""
        new_texts: set[bytes] = set()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for rows in batch:
                name = _free_id(connection, rows.step["id"], rows.step["digest"])
                if name:
                    rows.step["id"] = name
                    texts = {name: body for name, body in rows.texts.items() if name not in self._known_texts}
                    connection.executemany(_INSERT_TEXT, texts.items())
                    new_texts |= texts.keys()
                    _insert(connection, rows)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if len(self._known_texts) > KNOWN_TEXTS_LIMIT:
            self._known_texts.clear()
        self._known_texts |= new_texts


def _program_version() -> str:
    try:
        return version("agentrouter")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def _free_id(connection: sqlite3.Connection, step_id: str, digest: bytes) -> str:
    """Return the id to store a step under, or an empty text where this very record is there already.

    An id taken by another record gets ``#2``, ``#3``, ...: a program that numbers its steps anew in every run, and an
    agent that sends the same request twice, are billed for each, so each is booked.
    """
    name, copy = step_id, 1
    while True:
        there = connection.execute(_FIND_STEP, (name,)).fetchone()
        if there is None:
            return name
        if there[0] == digest:
            return ""
        copy += 1
        name = f"{step_id}#{copy}"


def _insert(connection: sqlite3.Connection, rows: StepRows) -> None:
    step = rows.step | _number(connection, rows.step)
    seq = connection.execute(_INSERT_STEP, step).lastrowid
    connection.executemany(_INSERT_ATTEMPT, [attempt | {"step_seq": seq} for attempt in rows.attempts])


def _number(connection: sqlite3.Connection, step: dict[str, Any]) -> dict[str, int]:
    """Return the index and retry number of a new step: its own, or the next free ones."""
    trajectory, index, retry = step["trajectory_id"], step["step_index"], step["retry"]
    if connection.execute(_FIND_NUMBER, (trajectory, index, retry)).fetchone() is None:
        return {}
    if retry:
        return {"retry": connection.execute(_NEXT_RETRY, (trajectory, index)).fetchone()[0]}
    return {"step_index": connection.execute(_NEXT_INDEX, (trajectory,)).fetchone()[0]}
