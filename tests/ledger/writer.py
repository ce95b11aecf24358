"""What the processes of the kill tests run: append steps, and say which ones the ledger has acknowledged."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from agentrouter.ledger import open_ledger

from .records import record_number


def append_until_killed(path: Path, prefix: str, first: int, last: int, said: Connection) -> None:
    """Append the steps ``first`` to ``last - 1``; send each one's number as soon as its ``append`` has returned."""
    with open_ledger(path) as ledger:
        said.send_bytes(b"ready")
        for number in range(first, last):
            ledger.append(record_number(prefix, number))
            said.send_bytes(str(number).encode())
