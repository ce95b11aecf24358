"""The ledger's file: tables, versions, and what may be opened.

Law: a file that is not a ledger is never written to; a ledger of a newer schema is never written to; every error is a
``LedgerError`` that names the file. A version is a tuple of statements, run in one transaction; to change the schema,
add a tuple to ``MIGRATIONS`` and never touch an older one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from agentrouter.errors import LedgerError

APPLICATION_ID = 0x41524C47  # "ARLG", in bytes 68..71 of the file's header
BUSY_TIMEOUT_S = 5.0
"""How long a statement waits for another process' write."""

_VERSION_1 = (
    "PRAGMA application_id = 1095912519",
    "PRAGMA user_version = 1",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE steps (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        trajectory_id TEXT NOT NULL,
        step_index INTEGER NOT NULL,
        retry INTEGER NOT NULL,
        parent_id TEXT NOT NULL,
        role TEXT NOT NULL,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        tier TEXT NOT NULL,
        model TEXT NOT NULL,
        provider TEXT NOT NULL,
        served INTEGER,
        policy TEXT NOT NULL,
        reason TEXT NOT NULL,
        program TEXT NOT NULL,
        started_at REAL NOT NULL,
        day TEXT NOT NULL,
        latency_ms REAL NOT NULL,
        ttft_ms REAL NOT NULL,
        attempts INTEGER NOT NULL,
        escalated INTEGER NOT NULL,
        fresh_input INTEGER NOT NULL,
        cache_read INTEGER NOT NULL,
        cache_write INTEGER NOT NULL,
        cache_write_1h INTEGER NOT NULL,
        output INTEGER NOT NULL,
        reasoning INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        cost_fresh_input INTEGER NOT NULL,
        cost_cache_read INTEGER NOT NULL,
        cost_cache_write INTEGER NOT NULL,
        cost_output INTEGER NOT NULL,
        cost_other INTEGER NOT NULL,
        cost_checks INTEGER NOT NULL,
        cost_nusd INTEGER NOT NULL,
        features_hash TEXT NOT NULL,
        features TEXT,
        step TEXT NOT NULL,
        decisions TEXT NOT NULL,
        excluded TEXT NOT NULL,
        notes TEXT NOT NULL,
        digest BLOB NOT NULL,
        UNIQUE (trajectory_id, step_index, retry)
    )
    """,
    """
    CREATE TABLE attempts (
        step_seq INTEGER NOT NULL REFERENCES steps (seq),
        position INTEGER NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        candidate TEXT NOT NULL,
        candidate_hash BLOB NOT NULL REFERENCES texts (hash),
        tier TEXT NOT NULL,
        model TEXT NOT NULL,
        provider TEXT NOT NULL,
        status TEXT NOT NULL,
        failure TEXT NOT NULL,
        failure_detail TEXT NOT NULL,
        retry_after_s REAL NOT NULL,
        committed INTEGER NOT NULL,
        latency_ms REAL NOT NULL,
        ttft_ms REAL NOT NULL,
        fresh_input INTEGER NOT NULL,
        cache_read INTEGER NOT NULL,
        cache_write INTEGER NOT NULL,
        cache_write_1h INTEGER NOT NULL,
        output INTEGER NOT NULL,
        reasoning INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        cost_fresh_input INTEGER NOT NULL,
        cost_cache_read INTEGER NOT NULL,
        cost_cache_write INTEGER NOT NULL,
        cost_output INTEGER NOT NULL,
        cost_other INTEGER NOT NULL,
        cost_checks INTEGER NOT NULL,
        cost_nusd INTEGER NOT NULL,
        recorded_cost_nusd INTEGER,
        verdicts TEXT NOT NULL,
        reply TEXT NOT NULL,
        PRIMARY KEY (step_seq, position)
    ) WITHOUT ROWID
    """,
    # Candidates with their prices, and (where content is stored) messages and tools: each text once, by its hash.
    "CREATE TABLE texts (hash BLOB PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE INDEX steps_started_at ON steps (started_at)",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1,)
"""Entry ``v`` takes a file from schema version ``v`` to ``v + 1`` and sets that number; entry 0 makes a new file."""


def connect(path: Path, *, read_only: bool, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> sqlite3.Connection:
    """Return a connection to the ledger at ``path``, made or brought up to date if need be.

    Args:
        path: the file; with ``read_only`` it must exist.
        read_only: never write, not even to migrate.
        migrations: the schema's history (replaced in tests only).

    Raises:
        LedgerError: not readable, not a ledger, of a newer schema, or (read-only) of an older one.
    """
    _look_before_opening(path, read_only=read_only)
    try:
        mode = "ro" if read_only else "rw"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: cannot be opened as a ledger: {error}") from error
    try:
        _bring_up_to_date(connection, path, read_only=read_only, migrations=migrations)
        if not read_only:
            _use_wal(connection)
        # A row must survive kill -9 of the process: in WAL mode it does with NORMAL, the commit being in the system's
        # page cache. FULL would add an fsync a row and protect the last rows against loss of power.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        connection.close()
        raise LedgerError(f"{path}: cannot be used as a ledger: {error}; move it away or give another path") from error
    except LedgerError:
        connection.close()
        raise
    return connection


def _look_before_opening(path: Path, *, read_only: bool) -> None:
    """Refuse what is not a ledger by its first 100 bytes, so that SQLite never touches it; make a missing file."""
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Only the owner may read it: it may hold content.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        need = "read" if read_only else "written"
        raise LedgerError(f"{path}: the ledger cannot be {need}: {error.strerror}") from error
    if not head and not read_only:
        return
    if not head.startswith(b"SQLite format 3\0"):
        raise LedgerError(f"{path}: is not a ledger (no SQLite file); it was left as it is, give another path")
    if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise LedgerError(f"{path}: is an SQLite file of another program; it was left as it is, give another path")


def _bring_up_to_date(
    connection: sqlite3.Connection, path: Path, *, read_only: bool, migrations: tuple[tuple[str, ...], ...]
) -> None:
    newest = len(migrations)
    found = _version(connection)
    if found > newest:
        raise LedgerError(
            f"{path}: has schema version {found}, this program knows up to {newest}; "
            "install the newer agentrouter or give another path"
        )
    if found == newest:
        return
    if read_only:
        raise LedgerError(
            f"{path}: has schema version {found}, this program reads {newest}; open it once for writing to migrate it"
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(_version(connection), newest):  # another process may have been faster
            for statement in migrations[version]:
                connection.execute(statement)
            since = (f"schema_{version + 1}_since", f"{time.time():.3f}")
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", since)
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    reached = _version(connection)
    if reached != newest:
        raise LedgerError(
            f"{path}: has schema version {reached} after migration, expected {newest}; another program "
            "may have migrated it further: install the newer agentrouter"
        )


def _version(connection: sqlite3.Connection) -> int:
    row: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
    return row[0]


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait by itself while another process does the same."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
