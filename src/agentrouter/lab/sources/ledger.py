"""AgentRouter's own ledger (SQLite): read through the ledger's streaming query, never by its tables.

Gives everything but, unless content was stored, the messages. A step that took several attempts carries the whole
step's cost, so that the replayed bill is the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.ledger import open_ledger

_SQLITE = b"SQLite format 3\0"


class LedgerSource:
    """AgentRouter ledgers."""

    name = "ledger"

    def sniff(self, path: Path, head: bytes) -> bool:
        """An SQLite file; whether it is a ledger, and of which version, is the ledger's own business."""
        return head.startswith(_SQLITE)

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the steps in the order they were written.

        Raises:
            LedgerError: not a ledger, of a newer version, or damaged.
        """
        with open_ledger(path, read_only=True) as ledger:
            for recorded in ledger.recorded():
                report.lines += 1
                yield report.saw(recorded)
