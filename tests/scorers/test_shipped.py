"""The artefacts that ship: they load, answer as recorded, fast, and say what they are."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from agentrouter import scorers
from agentrouter.errors import ConfigError, ModelFileError
from agentrouter.features import extract
from agentrouter.scorers import SCORERS, WITHOUT_ARTEFACT, load
from agentrouter.scorers.artefact import shipped_artefact
from agentrouter.scorers.hashing import BUCKETS, hashed, words
from agentrouter.types import History, Message, Step, StepFeatures, TokenCounts, Tool

FITTED = sorted(SCORERS.keys() - WITHOUT_ARTEFACT)
REFERENCE = Path(__file__).with_name("reference.json")
LONG = "def total(rows):\n    return sum(int(row['amount']) for row in rows if row.get('paid'))\n" * 120


def made(id: str, *messages: Message, role: str = "unknown", tools: tuple[Tool, ...] = (), size: int = 200) -> Step:
    counts = TokenCounts(input=size, output=100)
    return Step(id=id, trajectory_id=id, role=role, messages=messages, tools=tools, tokens=counts)


STEPS = (
    made("empty"),
    made("short", Message(role="user", text="Format the list as JSON.")),
    made("proof", Message(role="user", text="Prove that the sum of 1/n^2 converges. Show each step."), role="reason"),
    made("plan", Message(role="user", text="Plan the work, then start."), role="planner", size=5_000),
    made(
        "tool",
        Message(role="user", text="Count the orders of 2024."),
        Message(role="assistant", text="I look."),
        Message(role="tool", text="Traceback (most recent call last): no such table", tool_call_id="1", is_error=True),
        tools=(Tool(name="run_sql", parameters='{"type":"object"}'),),
        size=900,
    ),
    made("code", Message(role="user", text=LONG), role="edit", size=3_000),
    made("odd", Message(role="user", text="\0\u2028 \U0001f469\u200d\U0001f4bb \ud800 Привет, 世界 ٣٤")),
)
CASES: list[tuple[Step, StepFeatures]] = [(step, extract(step, History())) for step in STEPS]


@pytest.mark.parametrize("name", FITTED)
def test_loads_and_answers_in_order(name: str) -> None:
    scorer = load(name)
    for step, features in CASES:
        scores = scorer.score(step, features)
        assert scores.scorer == name == scorer.name
        assert scores.calibrated
        assert all(0.0 <= p <= 1.0 for p in scores.p_ok)
        assert all(low <= high for low, high in pairwise(scores.p_ok))


@pytest.mark.parametrize("name", FITTED)
def test_answers_as_recorded(name: str) -> None:
    """After a new artefact: python -m tests.scorers.test_shipped writes the file; look at the difference."""
    recorded = json.loads(REFERENCE.read_text(encoding="utf-8"))[name]
    for step, features in CASES:
        assert load(name).score(step, features).p_ok == pytest.approx(tuple(recorded[step.id]), abs=1e-6)


@pytest.mark.parametrize("name", FITTED)
def test_small_with_a_card_of_clean_sources(name: str) -> None:
    from agentrouter.learn.rival_rows import CLEAN_SOURCES

    folder = Path(scorers.__file__).parent / "models" / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    card = (folder / "card.md").read_text(encoding="utf-8")
    found = shipped_artefact(name)
    assert found is not None
    assert set(found.config.sources) <= set(CLEAN_SOURCES)
    for source in found.config.sources:
        assert f"| {source} | {CLEAN_SOURCES[source]} |" in card


@pytest.mark.parametrize("name", FITTED)
def test_well_under_a_millisecond(name: str) -> None:
    """Median of the dearest case, features excluded; the limit leaves a slow shared machine its share."""
    scorer = load(name)
    slowest = 0.0
    for step, features in CASES:
        times = []
        for _ in range(60):
            start = time.perf_counter()
            scorer.score(step, features)
            times.append(time.perf_counter() - start)
        slowest = max(slowest, statistics.median(times))
    assert slowest < 0.002


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, agentrouter.scorers as s; s.load('length'); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_serving_needs_no_scikit_learn_and_no_scipy() -> None:
    code = (
        "import sys, agentrouter.scorers as s\n"
        f"for name in {FITTED!r}: s.load(name)\n"
        "print([m for m in ('sklearn', 'scipy', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_equal_when_the_artefact_is() -> None:
    assert load("tfidf") == load("tfidf")
    assert load("tfidf") != load("gbdt")
    assert repr(load("tfidf")).startswith("TfidfScorer(Artefact(tfidf@1:")


def test_an_artefact_of_another_scorer() -> None:
    with pytest.raises(ModelFileError, match="of scorer 'tfidf'; expected 'gbdt'"):
        load("gbdt", shipped_artefact("tfidf"))
    with pytest.raises(ConfigError, match="takes no artefact"):
        load("length", shipped_artefact("tfidf"))


def test_none_shipped_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS, "mine", "agentrouter.scorers.tfidf:TfidfScorer")
    with pytest.raises(ModelFileError, match="agentrouter learn rivals --table"):
        load("mine")


def test_words_by_hand() -> None:
    assert words("Sum 12 of x_1!", 10, 10) == ["sum", "#2", "of", "x_", "#1", "!"]
    assert words("a b c d e", 2, 1) == ["a", "b", "e"]
    assert words("", 3, 3) == []


def test_a_step_without_text_has_no_buckets() -> None:
    place, value = hashed(CASES[0][1])
    assert place.size == value.size == 0


def test_buckets_count_words_and_pairs() -> None:
    step = made("twice", Message(role="user", text="go go go"))
    place, value = hashed(extract(step, History()))
    # One word three times, one pair twice: 1 + ln 3 and 1 + ln 2.
    assert sorted(value.tolist()) == pytest.approx([1 + np.log(2), 1 + np.log(3)])
    assert (np.diff(place) > 0).all()
    assert place.max() < BUCKETS


if __name__ == "__main__":
    made_now = {name: {step.id: load(name).score(step, f).p_ok for step, f in CASES} for name in FITTED}
    REFERENCE.write_text(json.dumps(made_now, indent=1) + "\n", encoding="utf-8")
