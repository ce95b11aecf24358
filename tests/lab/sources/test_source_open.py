"""Finding the reader, and input that is none of the known formats."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from agentrouter.errors import InputError, LedgerError
from agentrouter.lab.sources import SOURCES, lines, load, open_traces, source_of
from agentrouter.lab.sources.fields import seconds_from

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


@pytest.mark.parametrize("name", SOURCES)
def test_every_row_of_the_table_loads_under_its_name(name: str) -> None:
    assert load(name).name == name


def test_source_of_gives_a_reader_of_one_file() -> None:
    assert source_of(TRACES / "litellm.csv").name == "litellm"
    assert source_of(TRACES / "litellm.csv", "otlp").name == "otlp"


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


@pytest.mark.parametrize("format", ["otlp", "openinference", "claude_code", "openai_log", "litellm", "twinrouter"])
def test_a_first_record_longer_than_the_head_is_known(tmp_path: Path, format: str) -> None:
    first = json.loads((TRACES / f"{format}.jsonl").read_text().splitlines()[2])
    text = json.dumps(first)
    # Fill the first text of the prompt (or some other long value) far beyond the head.
    for filler in ('"content": "', '"stringValue": "', '"text": "', '"model": "'):
        if filler in text:
            text = text.replace(filler, filler + "x" * 200_000, 1)
            break
    path = tmp_path / "trace.jsonl"
    path.write_text(text + "\n")
    _, report = open_traces(path)
    # OpenInference marks may lie behind the head; the OTLP reader reads such spans too.
    assert report.format in ({"otlp", "openinference"} if format == "openinference" else {format})


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_an_array_is_split_alike_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    whole, expected = open_traces(TRACES / "litellm.json")
    steps = list(whole)
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk)
    pieces, report = open_traces(TRACES / "litellm.json")
    assert list(pieces) == steps
    assert (report.lines, report.skipped) == (expected.lines, expected.skipped)


def test_a_cut_array_keeps_its_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    data = (TRACES / "litellm.json").read_bytes()
    path.write_bytes(data[: data.index(b'"req-3"') + 40])
    steps, report = open_traces(path)
    assert [one.step.id for one in steps] == ["req-1", "req-2"]
    assert [one.message for one in report.problems] == ["the file ends inside this record"]


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
    path.write_bytes(gzip.compress((TRACES / "litellm.jsonl").read_bytes() * 400)[:-200])
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


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "trace.jsonl"
    path.parent.mkdir()
    shutil.copy(TRACES / "otlp.jsonl", path)
    steps, report = open_traces([path, path.parent, tmp_path / "a" / ".." / "a" / "trace.jsonl"])
    once, _ = open_traces(path)
    assert [one.step.id for one in steps] == [one.step.id for one in once]
    assert report.skipped["file named twice"] == 2


def test_what_is_good_of_a_damaged_gzip_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress((TRACES / "otlp.jsonl").read_bytes())[:-20])
    steps, report = open_traces(path)
    assert len(list(steps)) > 1
    assert "damaged" in report.problems[-1].message


def test_a_time_that_is_not_a_number_is_malformed() -> None:
    with pytest.raises(InputError, match="expected seconds since 1970"):
        seconds_from("NaN", "timestamp")
