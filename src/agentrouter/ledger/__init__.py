"""The append-only store of what every step decided, tried and cost.

A ``Ledger`` takes ``StepRecord`` values; ``open_ledger`` gives the store in a SQLite file, which can also be read;
``agentrouter.ledger.otel`` sends the same records to an OpenTelemetry collector. Redaction is always on, content is off
unless asked for. Every failure is a ``LedgerError``; whoever drives the steps catches it, since a step is not broken by
its bookkeeping.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from agentrouter.errors import LedgerError
from agentrouter.ledger.sqlite import SqliteLedger
from agentrouter.types import StepRecord

__all__ = ["JoinedLedger", "Ledger", "NullLedger", "SqliteLedger", "open_ledger"]


class Ledger(Protocol):
    """Where the records of steps go. Appending is quick (under a millisecond) and may be called from a coroutine."""

    def append(self, record: StepRecord) -> None:
        """Store one step.

        Raises:
            LedgerError: it could not be stored.
        """
        ...

    def close(self) -> None:
        """Store what is still waiting and let go of the store; no append may follow.

        Raises:
            LedgerError: something that was waiting is lost.
        """
        ...


class NullLedger:
    """The ledger that keeps nothing."""

    def append(self, record: StepRecord) -> None:
        """Forget the step."""

    def close(self) -> None:
        """Do nothing."""


class JoinedLedger:
    """Several ledgers as one: each gets every record, also when another one fails."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = tuple(ledgers)

    def append(self, record: StepRecord) -> None:
        """Append to each; then raise what failed, as one ``LedgerError``."""
        failures = []
        for ledger in self._ledgers:
            try:
                ledger.append(record)
            except LedgerError as error:
                failures.append(error)
        _raise_joined(failures)

    def close(self) -> None:
        """Close each; then raise what failed, as one ``LedgerError``."""
        failures = []
        for ledger in self._ledgers:
            try:
                ledger.close()
            except LedgerError as error:
                failures.append(error)
        _raise_joined(failures)


def open_ledger(path: Path | str, *, store_content: bool = False, read_only: bool = False) -> SqliteLedger:
    """Open the ledger in the SQLite file ``path``; a missing file is made, with its folder, readable by its owner only.

    Args:
        path: the file. An older schema is migrated (not with ``read_only``).
        store_content: keep messages, replies, tool arguments and feature values too, redacted.
        read_only: never make, migrate or write the file.

    Raises:
        LedgerError: not readable or writable, not a ledger, or of a newer schema; names the file and what to do.
    """
    return SqliteLedger(Path(path), store_content=store_content, read_only=read_only)


def _raise_joined(failures: Sequence[LedgerError]) -> None:
    if failures:
        raise LedgerError("; ".join(str(failure) for failure in failures)) from failures[0]
