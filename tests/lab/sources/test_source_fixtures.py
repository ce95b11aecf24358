"""Every fixture: steps, trajectories, usage sums and the recorded bill, worked by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from agentrouter.lab.sources import SOURCES, load, open_traces
from agentrouter.lab.sources.lines import head_of
from agentrouter.lab.trace import RecordedStep, TraceReport

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


class Expected(NamedTuple):
    format: str
    lines: int
    steps: int
    trajectories: int
    usage: tuple[int, int, int, int, int, int]
    """Sums of fresh input, cache read, write, 1-hour write, output, reasoning."""
    bill_nusd: int
    skipped: dict[str, int]


LITELLM = Expected(
    format="litellm",
    lines=8,
    # req-1, 2, 3, 4 (failed, free), 7
    steps=5,
    trajectories=3,  # s-1, s-2 and req-7, which names no session
    # fresh: 10000-8000 + 11000-8000-2500 + 10 + 0 + 900; written: 8000 + 2500; output: 250 + 100 + 1 + 0 + 100
    usage=(3410, 8000, 10_500, 0, 451, 1),
    # 0.05625 + 0.0123456789 (to the ninth decimal: 0.012345679) + 0.000012345 + 0 + 0.0004
    bill_nusd=56_250_000 + 12_345_679 + 12_345 + 400_000,
    skipped={"answered from LiteLLM's cache": 1, "aembedding": 1, "duplicate": 1},
)
EXPECTED = {
    "otlp.jsonl": Expected(
        format="otlp",
        lines=9,
        # three chats of conv-1 (one by the sub-agent), openai.chat inside its wrapper, the failed one, the old one
        steps=6,
        trajectories=5,  # conv-1, its sub-agent, traces b, c, d
        # fresh: 1000-900 + 400 + 1200-1100 + 500 + 12; read: 900 + 3000; written: 900 + 200 + 100;
        # output: 50 + 20 + 80 + 40 + 7
        usage=(1112, 3900, 1200, 0, 197, 0),
        # 0.008125 + 0.0005 + 0.0042 + 0.001025
        bill_nusd=8_125_000 + 500_000 + 4_200_000 + 1_025_000,
        skipped={"metrics": 1, "duplicate": 1, "agent": 2, "tool": 1, "embeddings": 1, "wrapped call": 1},
    ),
    "openinference.jsonl": Expected(
        format="openinference",
        lines=5,
        steps=3,
        trajectories=2,  # sess-9, and the trace that names no session
        # fresh: 800 + 900-768 + 100; output: 60 + 30 + 9
        usage=(1032, 768, 0, 0, 99, 10),
        bill_nusd=1_600_000 + 560_000,
        skipped={"tool": 1, "agent": 1, "chain": 1},
    ),
    "claude_code.jsonl": Expected(
        format="claude_code",
        lines=19,
        steps=6,  # msg_1 to msg_5 and the sub-agent's, whatever number of lines each has
        trajectories=2,
        # fresh: 5 x 3 + 500; read: 11000 + 11150 + 11230 + 11230; 5 minutes: 9000 + 150 + 80 + 60 + 62; 1 hour: 2000;
        # output: 120 (not 1 + 120 + 120) + 60 + 40 + 30 + 33 + 15
        usage=(515, 44_610, 9352, 2000, 298, 0),
        bill_nusd=0,
        skipped={
            **{"summary": 1, "file-history-snapshot": 1, "user": 6, "continued": 2},
            **{"system": 1, "synthetic": 1, "duplicate": 1},
        },
    ),
    "openai_log.jsonl": Expected(
        format="openai_log",
        lines=9,
        steps=7,
        trajectories=5,  # run-1, rivers (prompt_cache_key), sess-cc (header), the batch line, run-2
        # fresh: 300 + 600-256 + 40 + 100 + 1000 + 4; read: 256 + 60; output: 200 + 100 + 5 + 50 + 10 + 2
        usage=(1788, 316, 2000, 0, 367, 64),
        # 0.0123456 + 0.002 + 0.0000012
        bill_nusd=12_345_600 + 2_000_000 + 1_200,
        skipped={"batch request": 1, "duplicate": 1},
    ),
    "litellm.jsonl": LITELLM,
    "litellm.json": LITELLM,
    "litellm.csv": LITELLM,
    "twinrouter.jsonl": Expected(
        format="twinrouter",
        lines=10,
        steps=9,
        trajectories=5,
        usage=(0, 0, 0, 0, 0, 0),  # no model is recorded: what is known of tokens stands under the alternatives
        bill_nusd=0,
        skipped={"duplicate": 1},
    ),
}


def usage_sums(steps: list[RecordedStep]) -> tuple[int, ...]:
    used = [step.usage for step in steps if step.usage is not None]
    return tuple(
        sum(getattr(usage, name) for usage in used)
        for name in ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_fixture_gives_the_recorded_bill(name: str) -> None:
    expected = EXPECTED[name]
    steps, report = open_traces(TRACES / name)
    found = list(steps)
    assert report.problems == []
    assert expected == Expected(
        format=report.format,
        lines=report.lines,
        steps=len(found),
        trajectories=len({one.step.trajectory_id for one in found}),
        usage=usage_sums(found),  # type: ignore[arg-type]
        bill_nusd=sum(one.cost_nusd or 0 for one in found),
        skipped=dict(report.skipped),
    )
    assert report.steps == len(found)
    assert report.lacks == Counter(name for one in found for name in one.lacks)


def test_every_fixture_has_expectations_and_every_text_format_a_fixture() -> None:
    assert sorted(path.name for path in TRACES.iterdir()) == sorted(EXPECTED)
    assert {one.format for one in EXPECTED.values()} == set(SOURCES) - {"ledger", "step_table"}


@pytest.mark.parametrize("name", EXPECTED)
def test_exactly_one_reader_knows_each_fixture(name: str) -> None:
    path = TRACES / name
    assert [source for source in SOURCES if load(source).sniff(path, head_of(path))] == [EXPECTED[name].format]


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in ("otlp.jsonl", "openinference.jsonl")])
def test_lines_are_steps_or_skipped(name: str) -> None:
    """Each record is a step, skipped or malformed (an OTLP line holds several spans, which are counted one by one)."""
    _, report = read(TRACES / name)
    assert report.lines == report.steps + sum(report.skipped.values()) + report.malformed


def test_a_folder_reads_all_formats_in_sorted_order() -> None:
    steps, report = open_traces(TRACES)
    total = sum(one.bill_nusd for one in EXPECTED.values())
    # One import counts an id once: the JSON and JSON lines copies of the CSV's rows are duplicates.
    assert sum(one.cost_nusd or 0 for one in steps) == total - 2 * LITELLM.bill_nusd
    assert report.files == sorted(str(path) for path in TRACES.iterdir())
    assert report.format == "claude_code+litellm+openai_log+openinference+otlp+twinrouter"


def read(path: Path) -> tuple[list[RecordedStep], TraceReport]:
    steps, report = open_traces(path)
    return list(steps), report
