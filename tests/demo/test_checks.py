from __future__ import annotations

import math
from pathlib import Path

import pytest

from agentrouter.demo.checks import Finds, Grounded, Mentions, SqlRuns, Sure, TestsPass, code_of, query_of
from agentrouter.demo.corpus import island_corpus
from agentrouter.demo.sandbox import Case
from agentrouter.demo.tasks.data import make_orders
from agentrouter.types import Reply, Step

STEP = Step(id="t/0", trajectory_id="t")


@pytest.mark.parametrize(
    ("sql", "passed"),
    [
        ("SELECT COUNT(*) FROM orders", True),
        ("```sql\nSELECT region FROM orders\n```", True),
        ("SELECT region FROM orders WHERE units > 1000", False),
        ("SELECT SUM(units) FROM orders WHERE units > 1000", False),  # one row, but NULL
        ("SELEC region", False),
        ("DROP TABLE orders", False),
    ],
)
def test_sql_runs(sql: str, passed: bool, tmp_path: Path) -> None:
    check = SqlRuns(make_orders(tmp_path / "orders.sqlite"))
    assert check.check(STEP, Reply(text=sql)).passed is passed


def test_tests_pass() -> None:
    check = TestsPass("f", (Case((1,), 2),))
    good = check.check(STEP, Reply(text="Here:\n```python\ndef f(x):\n    return x + 1\n```\nDone."))
    bad = check.check(STEP, Reply(text="def f(x):\n    return x"))
    assert (good.passed, good.p_good, good.detail) == (True, 1.0, "1 of 1 tests pass.")
    assert (bad.passed, bad.p_good) == (False, 0.0)
    assert "f(1) returned 1, expected 2." in bad.detail


def test_finds() -> None:
    check = Finds(island_corpus())
    assert check.check(STEP, Reply(text='"winter ferry"')).passed
    assert not check.check(STEP, Reply(text="zeppelin")).passed
    assert not check.check(STEP, Reply(text="")).passed


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ('{"region": "west", "revenue": 15906.5}', True),
        ('{"region": "West", "revenue": 15906.50}', True),
        ('{"region": "west", "revenue": 15906}', False),
        ('{"region": "east", "revenue": 15906.5}', False),
        ('{"region": "", "revenue": 15906.5}', False),
        ('{"revenue": -15906.5}', False),
        ("15906.5", True),
        ("16", False),
    ],
)
def test_grounded(answer: str, passed: bool) -> None:
    assert Grounded("region | total\nwest | 15906.5").check(STEP, Reply(text=answer)).passed is passed


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ("The keeper in 1931 was Ida Brekke.", True),
        ("It was Anna Holm in 1931.", False),
        ("It was in 1913.", False),
        ("Nothing to look up.", True),
    ],
)
def test_mentions(answer: str, passed: bool) -> None:
    check = Mentions("Its lamp was replaced in 1931, when Ida Brekke was keeper.")
    assert check.check(STEP, Reply(text=answer)).passed is passed


def test_sure_takes_the_likelihood_of_the_whole_answer() -> None:
    # exp(log .9 + log .9) = .81; exp(log .9 + log .8) = .72
    sure = Sure(0.8).check(STEP, Reply(text="x", logprobs=(math.log(0.9), math.log(0.9))))
    unsure = Sure(0.8).check(STEP, Reply(text="x", logprobs=(math.log(0.9), math.log(0.8))))
    assert (sure.passed, round(sure.p_good, 4), sure.detail) == (True, 0.81, "likelihood 0.81")
    assert (unsure.passed, round(unsure.p_good, 4)) == (False, 0.72)
    assert Sure(0.8).check(STEP, Reply(text="x")).passed


def test_code_and_query_are_taken_out_of_an_answer() -> None:
    assert code_of("a\n```python\nx = 1\n```\nb") == "x = 1"
    assert code_of("```\nx = 1") == "x = 1"
    assert code_of("x = 1 ") == "x = 1"
    assert query_of('"winter ferry"\nand more') == "winter ferry"
    assert query_of("  ") == ""
