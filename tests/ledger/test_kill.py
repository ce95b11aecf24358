"""Kill -9 at random moments: what ``append`` acknowledged is there, whole and once (B11); two writers at once (B13).

The writers are children of a fork server: real processes that die by a real SIGKILL, without the half second that
starting Python takes.
"""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from agentrouter.ledger import open_ledger

from .records import attempts_of, record_number
from .writer import append_until_killed

COLUMNS = "s.id, s.step_index, s.attempts, COUNT(a.step_seq), s.cost_nusd, SUM(a.cost_nusd)"


def start(path: Path, prefix: str, first: int, last: int = 1_000_000) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["agentrouter.ledger", "pytest"])  # what every child would import again
    hear, say = context.Pipe(duplex=False)
    process = context.Process(target=append_until_killed, args=(path, prefix, first, last, say), daemon=True)
    process.start()
    say.close()
    assert hear.recv_bytes() == b"ready"
    return process, hear


def acknowledged(hear: Connection) -> list[int]:
    """Numbers of the steps that the writer has said, up to its end."""
    numbers = []
    with hear:
        while True:
            try:
                numbers.append(int(hear.recv_bytes()))
            except EOFError:  # also of a message cut by the kill
                return numbers


def check(path: Path, prefix: str) -> int:
    """Check the whole file; return how many steps of this trajectory there are, which are numbered from 0."""
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = plain.execute(
        f"SELECT {COLUMNS} FROM steps s LEFT JOIN attempts a ON a.step_seq = s.seq"
        " WHERE s.trajectory_id = ? GROUP BY s.seq ORDER BY s.seq",
        (f"t-{prefix}",),
    ).fetchall()
    plain.close()
    for number, (step_id, index, attempts, counted, cost, summed) in enumerate(rows):
        assert step_id == f"{prefix}-{number}"  # once each, in order, none left out
        assert index == number
        assert attempts == counted == attempts_of(number)  # no half steps
        assert cost == summed
    return len(rows)


def kill_often(path: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    there = useful = 0
    for _ in range(kills):
        # A restart begins with the last step again, as a caller would that did not hear the answer.
        first = max(0, there - 1)
        process, hear = start(path, "k", first)
        time.sleep(draw.uniform(0.0, 0.05))
        process.kill()
        said = acknowledged(hear)
        process.join()
        assert process.exitcode == -9
        assert said == list(range(first, first + len(said)))
        before, there = there, check(path, "k")
        # All that was said, and at most the one that was being written when the kill came.
        assert there in (max(before, first + len(said)), first + len(said) + 1)
        useful += bool(said)
    assert useful > kills // 2  # the kills fell into the writing
    with open_ledger(path) as ledger:
        for number in range(there, there + 5):
            ledger.append(record_number("k", number))
    assert check(path, "k") == there + 5


def test_fifty_kills(tmp_path: Path) -> None:
    kill_often(tmp_path / "ledger.db", 50, seed=7)


@pytest.mark.slow
def test_two_hundred_kills(tmp_path: Path) -> None:
    kill_often(tmp_path / "ledger.db", 200, seed=8)


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    running = {prefix: start(path, prefix, 0, 400) for prefix in ("a", "b")}
    for prefix, (process, hear) in running.items():
        assert acknowledged(hear) == list(range(400))
        process.join()
        assert process.exitcode == 0
        assert check(path, prefix) == 400
