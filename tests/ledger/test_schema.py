from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agentrouter.errors import LedgerError
from agentrouter.ledger import open_ledger
from agentrouter.ledger.schema import MIGRATIONS, connect

from .records import record, step

SECOND = (
    "PRAGMA user_version = 2",
    "ALTER TABLE steps ADD COLUMN tenant TEXT NOT NULL DEFAULT 'none'",
    "UPDATE steps SET tenant = 'moved:' || id",
)
"""A synthetic next version: a new column, filled from the old rows."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def filled(path: Path) -> Path:
    with open_ledger(path) as ledger:
        ledger.append(record())
    return path


def test_a_new_file_and_its_folder_are_made_for_the_owner_only(tmp_path: Path) -> None:
    path = filled(tmp_path / "a" / "b" / "ledger.db")
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA application_id").fetchone() == (0x41524C47,)
        assert plain.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert plain.execute("SELECT key FROM meta").fetchall() == [("schema_1_since",)]
    plain.close()


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch()
    assert filled(path).stat().st_size > 0


def test_an_older_schema_is_migrated_with_its_rows(path: Path) -> None:
    filled(path)
    connection = connect(path, read_only=False, migrations=(*MIGRATIONS, SECOND))
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT id, tenant FROM steps").fetchall() == [("s-1", "moved:s-1")]
    assert connection.execute("SELECT key FROM meta ORDER BY key").fetchall() == [
        ("schema_1_since",),
        ("schema_2_since",),
    ]
    connection.close()
    connect(path, read_only=False, migrations=(*MIGRATIONS, SECOND)).close()  # and opens again as it is


def test_a_migration_that_fails_leaves_the_old_schema(path: Path) -> None:
    filled(path)
    broken = (*SECOND, "ALTER TABLE absent ADD COLUMN x")
    with pytest.raises(LedgerError, match=r"ledger\.db: cannot be used as a ledger: no such table: absent"):
        connect(path, read_only=False, migrations=(*MIGRATIONS, broken))
    with open_ledger(path) as ledger:
        assert [found.step.id for found in ledger.steps()] == ["s-1"]


def test_a_migration_that_forgets_its_number_is_found_out(path: Path) -> None:
    filled(path)
    with pytest.raises(LedgerError, match="has schema version 1 after migration, expected 2"):
        connect(path, read_only=False, migrations=(*MIGRATIONS, SECOND[1:]))


def test_an_older_schema_is_not_migrated_by_a_reader(path: Path) -> None:
    filled(path)
    with pytest.raises(LedgerError, match="has schema version 1, this program reads 2; open it once for writing"):
        connect(path, read_only=True, migrations=(*MIGRATIONS, SECOND))


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_schema_is_refused_and_left_alone(path: Path, *, read_only: bool) -> None:
    filled(path)
    connect(path, read_only=False, migrations=(*MIGRATIONS, SECOND)).close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"ledger\.db: has schema version 2, this program knows up to 1; install"):
        open_ledger(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_another_program_s_database_is_refused_and_left_alone(path: Path, journal: str, *, read_only: bool) -> None:
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA journal_mode = {journal}")
    other.execute("CREATE TABLE steps (id TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"ledger\.db: is an SQLite file of another program; it was left as it is"):
        open_ledger(path, read_only=read_only)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]


@pytest.mark.parametrize("content", [b"hello", b"\0" * 4096, b"SQLite format 2\0" + b"x" * 200], ids=["text", "0", "2"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.db: is not a ledger"):
        open_ledger(path)
    assert path.read_bytes() == content


def test_a_damaged_ledger_is_a_ledger_error_that_names_the_file(path: Path) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(LedgerError, match=r"ledger\.db: "), open_ledger(path) as ledger:
        list(ledger.steps())


def test_damage_found_while_reading_is_a_ledger_error(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE steps SET decisions = '{'")
    plain.close()
    with open_ledger(path) as ledger, pytest.raises(LedgerError, match=r"ledger\.db: cannot be read"):
        ledger.explain("s-1")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the ledger cannot be written: Is a directory"):
        open_ledger(tmp_path)


def test_a_path_below_a_file_is_refused(path: Path) -> None:
    path.write_text("x")
    with pytest.raises(LedgerError, match="the ledger cannot be written"):
        open_ledger(path / "ledger.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(LedgerError, match=r"ledger\.db: the ledger cannot be written: Permission denied"):
        open_ledger(closed / "ledger.db")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses new files to everybody")
def test_a_file_system_that_takes_no_files_is_refused() -> None:
    with pytest.raises(LedgerError, match=r"/proc/self/ledger\.db: the ledger cannot be written"):
        open_ledger("/proc/self/ledger.db")


def test_a_reader_never_makes_a_file(path: Path) -> None:
    with pytest.raises(LedgerError, match="the ledger cannot be read: No such file"):
        open_ledger(path, read_only=True)
    path.touch()
    with pytest.raises(LedgerError, match="is not a ledger"):
        open_ledger(path, read_only=True)
    assert path.stat().st_size == 0


def test_a_reader_reads_while_a_writer_writes(path: Path) -> None:
    with open_ledger(path) as writer, open_ledger(path, read_only=True) as reader:
        writer.append(record(step("a")))
        writer.append(record(step("b", index=1)))
        assert [found.step.id for found in reader.steps()] == ["a", "b"]
        with pytest.raises(LedgerError, match="for reading only"):
            reader.append(record(step("c", index=2)))


def test_a_left_over_log_is_read(path: Path, tmp_path: Path) -> None:
    # a process that died: the rows are in the log beside the file, not in the file
    ledger = open_ledger(path)
    ledger.append(record())
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("ledger.db*"):
        (copy / file.name).write_bytes(file.read_bytes())
    assert (copy / "ledger.db-wal").stat().st_size > 0
    with open_ledger(copy / "ledger.db") as after:
        assert [found.step.id for found in after.steps()] == ["s-1"]
    ledger.close()


def test_several_processes_may_make_the_file_at_once(path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from agentrouter.ledger import open_ledger\n"
        "from ledger.records import record, step\n"
        "with open_ledger(sys.argv[2]) as ledger:\n"
        "    for n in range(50): ledger.append(record(step(f'{sys.argv[3]}-{n}')))\n"
    )
    tests = str(Path(__file__).parents[1])
    running = [
        subprocess.Popen([sys.executable, "-c", program, tests, str(path), name], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    assert [(each.communicate(timeout=60)[1], each.returncode) for each in running] == [("", 0)] * 3
    with open_ledger(path) as ledger:
        # all of the same trajectory and all with index 0: every one got a number of its own
        assert sorted(found.step.index for found in ledger.steps()) == list(range(150))
        assert len({found.step.id for found in ledger.steps()}) == 150
