"""Finding the reader, and input that is none of the known formats."""

from __future__ import annotations

import gzip
import io
import sqlite3
from pathlib import Path

import pytest

from agentrouter.errors import InputError, LedgerError
from agentrouter.lab.sources import SOURCES, load, open_traces

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


@pytest.mark.parametrize("name", SOURCES)
def test_every_row_of_the_table_loads_under_its_name(name: str) -> None:
    assert load(name).name == name


def test_unknown_format_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown trace format 'claude-code'; did you mean 'claude_code'\?"):
        open_traces(TRACES, format="claude-code")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty: expected a trace in one of the formats otlp"),
        (b"hello\nworld\n", "no reader knows this file .text, begins b'hello"),
        (b"\x00\x01\x02" * 50, "no reader knows this file .a binary file"),
        (b'{"some": "json"}\n', "no reader knows this file .text"),
        (b"[" * 100_000, "no reader knows this file .text"),
    ],
    ids=["empty", "text", "binary", "other json", "nested"],
)
def test_a_file_of_no_known_format_is_an_error(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as raised:
        open_traces(path)
    assert raised.value.file == str(path)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        open_traces(tmp_path / "nothing.jsonl")


def test_no_paths_and_a_folder_without_traces_are_errors(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("notes")
    with pytest.raises(InputError, match=r"the folder holds no trace.*README\.md"):
        open_traces(tmp_path)
    with pytest.raises(InputError, match="no trace to read"):
        open_traces([])


def test_a_folder_counts_what_it_passes_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log.jsonl").write_bytes((TRACES / "litellm.jsonl").read_bytes())
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / ".hidden").write_text("cache")
    steps, report = open_traces(tmp_path)
    assert len(list(steps)) == 5
    assert report.skipped["file that is no trace"] == 1


def test_gzip_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(gzip.compress((TRACES / "litellm.jsonl").read_bytes()))
    steps, report = open_traces(path)
    assert (len(list(steps)), report.malformed) == (5, 0)


def test_a_cut_gzip_gives_its_beginning_and_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    lines = (TRACES / "litellm.jsonl").read_bytes() * 400
    path.write_bytes(gzip.compress(lines)[:-200])
    steps, report = open_traces(path, format="litellm")
    assert len(list(steps)) == 5
    assert [(one.line, one.message[:30]) for one in report.problems] == [(0, "the gzip file ends early or is")]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO((TRACES / "litellm.jsonl").read_bytes() + b'{"request_id": 5}\n')

    monkeypatch.setattr("sys.stdin", Stdin)
    steps, report = open_traces("-")
    assert len(list(steps)) == 5
    assert report.files == ["-"]
    assert [(one.file, one.line, one.field) for one in report.problems] == [("-", 9, "request_id")]


def test_a_database_of_another_program_is_a_ledger_error(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE steps (id TEXT)")
    connection.close()
    steps, _ = open_traces(path)
    with pytest.raises(LedgerError, match="another program"):
        list(steps)
