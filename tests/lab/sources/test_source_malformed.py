"""Malformed records are counted and listed with their place, and never change the other steps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrouter.lab.sources import open_traces
from agentrouter.lab.trace import RecordedStep, TraceReport

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"
FORMATS = ("otlp", "openinference", "claude_code", "openai_log", "litellm", "twinrouter")

MALFORMED = {
    "cut": b'{"request_id": "x", "spend": 0.0',
    "bad utf-8": b'{"request_id": "\xff"}',
    "nul": b'{"request_id": "a\x00b"}',
    "nested arrays": b"[" * 100_000,
    "nested in a field": b'{"type": "assistant", "message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bracket": b"[",
    "brace": b"{",
    "array start": b'[{"a": 1},',
    "array": b"[1, 2, 3]",
    "word": b"error: connection reset",
    "number": b"17",
    "trailing": b'{"type": "user"} {"type": "user"}',
    "not a number": b'{"spend": NaN}',
}


def steps_of(data: bytes, format: str) -> tuple[list[RecordedStep], TraceReport]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        path.write_bytes(data)
        steps, report = open_traces(path, format=format)
        return list(steps), report


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_line_is_counted_and_changes_nothing(format: str, kind: str) -> None:
    good = (TRACES / f"{format}.jsonl").read_bytes().splitlines(keepends=True)
    expected, _ = steps_of(b"".join(good), format)
    for place in (0, 1, len(good)):
        lines = [*good[:place], MALFORMED[kind] + b"\n", *good[place:]]
        found, report = steps_of(b"".join(lines), format)
        assert found == expected
        assert report.malformed == 1
        assert [one.line for one in report.problems] == [place + 1]


@settings(max_examples=60, deadline=None)
@given(
    format=st.sampled_from(FORMATS),
    place=st.integers(0, 8),
    junk=st.one_of(
        st.binary(min_size=1, max_size=80).filter(lambda raw: b"\n" not in raw and b"\r" not in raw and raw.strip()),
        st.sampled_from(sorted(MALFORMED.values(), key=len)),
    ),
)
def test_any_junk_between_lines_changes_no_other_step(format: str, place: int, junk: bytes) -> None:
    good = (TRACES / f"{format}.jsonl").read_bytes().splitlines(keepends=True)
    expected, clean = steps_of(b"".join(good), format)
    found, report = steps_of(b"".join([*good[:place], junk + b"\n", *good[place:]]), format)
    assert found == expected
    # The junk itself is malformed, or (an empty object) a record of some other kind; never nothing.
    assert report.malformed + sum(report.skipped.values()) == sum(clean.skipped.values()) + 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_in_mid_line_keeps_all_whole_lines(format: str) -> None:
    data = (TRACES / f"{format}.jsonl").read_bytes()
    whole, last = data.rstrip(b"\n").rsplit(b"\n", 1)
    expected, _ = steps_of(whole + b"\n", format)
    found, report = steps_of(whole + b"\n" + last[: len(last) // 2], format)
    assert found == expected
    assert report.malformed == 1
    assert report.problems[0].line == data.count(b"\n")


@pytest.mark.parametrize(
    ("format", "line", "field"),
    [
        ("litellm", b'{"request_id": "r", "spend": 0.1, "prompt_tokens": -1}', "prompt_tokens"),
        ("litellm", b'{"request_id": "r", "spend": -0.1}', "spend"),
        ("litellm", b'{"request_id": "r", "spend": 0.1, "startTime": "yesterday"}', "startTime"),
        ("litellm", b'{"request_id": ["r"], "spend": 0.1}', "request_id"),
        ("litellm", b'{"request_id": "r", "prompt_tokens": 1000000000000000000000}', "prompt_tokens"),
        (
            "openai_log",
            b'{"request": {"messages": [{"role": "user", "content": 5}]}, "response": {}}',
            "messages[0].content",
        ),
        (
            "openai_log",
            b'{"request": {"messages": [{"role": "user", "content": "x"}]},'
            b' "response": {"usage": {"prompt_tokens": -5}}}',
            "response.usage.prompt_tokens",
        ),
        ("openai_log", b'{"request": 5, "response": {}}', "request"),
        ("openai_log", b'{"when": "now"}', "request"),
        (
            "claude_code",
            b'{"type": "assistant", "sessionId": "s", "message": {"id": "m", "role": "assistant", "content": [],'
            b' "usage": {"input_tokens": -3, "output_tokens": 1}}}',
            "input_tokens",
        ),
        ("claude_code", b'{"type": "assistant", "sessionId": "s"}', "message"),
        ("claude_code", b'{"type": "user", "sessionId": 7, "message": {}}', "sessionId"),
        (
            "otlp",
            b'{"traceId": "t", "spanId": "s", "attributes": [{"key": "gen_ai.request.model", "value": {"stringValue":'
            b' "m"}}, {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "-4"}}]}',
            "gen_ai.usage.input_tokens",
        ),
        ("otlp", b'{"traceId": "t", "spanId": "s", "startTimeUnixNano": "soon"}', "startTimeUnixNano"),
        ("otlp", b'{"traceId": "t"}', "spanId"),
        ("openinference", b'{"traceId": "t", "spanId": {}}', "spanId"),
        (
            "twinrouter",
            b'{"id": "a", "messages": [{"role": "user", "content": "x"}], "target_tier": "top"}',
            "target_tier",
        ),
        ("twinrouter", b'{"id": "a", "messages": []}', "target_tier"),
    ],
)
def test_the_problem_names_its_field(format: str, line: bytes, field: str) -> None:
    found, report = steps_of(line + b"\n", format)
    assert (found, report.malformed) == ([], 1)
    assert [(one.line, one.field) for one in report.problems] == [(1, field)]


def test_one_bad_span_leaves_the_others_of_its_line() -> None:
    good = (TRACES / "otlp.jsonl").read_bytes().splitlines(keepends=True)
    assert good[0].count(b'"intValue": "400"') == 1
    bad = good[0].replace(b'"intValue": "400"', b'"intValue": "-400"')
    found, report = steps_of(b"".join([bad, *good[1:]]), "otlp")
    expected, _ = steps_of(b"".join(good), "otlp")
    assert found == [one for one in expected if one.step.id != "a000000000000021"]
    assert [(one.line, one.field) for one in report.problems] == [(1, "gen_ai.usage.input_tokens")]


def test_only_the_first_hundred_problems_are_listed() -> None:
    _, report = steps_of(b"{\n" + b"x\n" * 500, "litellm")
    assert (report.malformed, len(report.problems), report.lines) == (501, 100, 501)


def test_a_malformed_csv_row_is_counted() -> None:
    data = (TRACES / "litellm.csv").read_bytes().splitlines(keepends=True)
    expected, _ = steps_of(b"".join(data), "litellm")
    found, report = steps_of(b"".join([*data[:2], b"a,b\n", b"r,\xff,x,1,1,,,m,p,s,,,,\n", *data[2:]]), "litellm")
    assert found == expected
    assert [one.line for one in report.problems] == [3, 4]
