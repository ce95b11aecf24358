"""The dated override table: what a row may say, which row holds, and every problem at once."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import ConfigError
from agentrouter.prices import parse_overrides, shipped_overrides
from agentrouter.prices.overrides import micro_usd, override_for, price_from
from agentrouter.types import Price, PriceBand

ROW = {"provider": "acme", "model": "m-1", "from": "2026-01-01", "input": "2.00", "output": "10"}

FULL = """
prices:
  - provider: Acme
    model: M-1
    from: 2026-01-01
    until: 2026-06-30
    input: 2.00
    output: 10
    cache_read: 0.2
    cache_write: "2.50"
    cache_write_1h: 4
    batch_percent: 50
    bands:
      - {above_input_tokens: 272000, input: 4, output: 15, cache_read: 0.4, cache_write: 5}
      - {above_input_tokens: 500000, input: 5, output: 16, marginal: true}
    as_of: 2026-01-15
    source: price page
"""


def table(*rows: dict[str, Any]) -> str:
    return json.dumps({"prices": rows})


def test_a_full_row_in_yaml() -> None:
    (row,) = parse_overrides(FULL)
    assert (row.provider, row.model, row.first, row.last) == ("acme", "m-1", date(2026, 1, 1), date(2026, 6, 30))
    assert row.price == Price(
        input=2_000_000,
        output=10_000_000,
        cache_read=200_000,
        cache_write=2_500_000,
        cache_write_1h=4_000_000,
        batch_percent=50,
        bands=(
            PriceBand(
                above_input_tokens=272_000,
                input=4_000_000,
                output=15_000_000,
                cache_read=400_000,
                cache_write=5_000_000,
            ),
            PriceBand(
                above_input_tokens=500_000,
                input=5_000_000,
                output=16_000_000,
                cache_read=5_000_000,
                cache_write=5_000_000,
                marginal=True,
            ),
        ),
        as_of="2026-01-15",
        source="override: price page",
    )


def test_what_is_left_out() -> None:
    (row,) = parse_overrides(json.dumps([ROW]))
    assert row.last == date.max
    assert row.price == Price(
        input=2_000_000,
        output=10_000_000,
        cache_read=2_000_000,
        cache_write=2_000_000,
        as_of="2026-01-01",
        source="override",
    )


def test_which_row_holds() -> None:
    rows = parse_overrides(
        table(
            {**ROW, "model": "m-*", "source": "prefix"},
            {**ROW, "model": "*", "provider": "*", "source": "any"},
            {**ROW, "source": "first"},
            {**ROW, "from": "2026-05-01", "source": "second"},
            {**ROW, "from": "2026-05-01", "source": "third"},
        )
    )

    def source(provider: str, model: str, on: date) -> str:
        row = override_for(provider, model, on, rows)
        return "" if row is None else row.price.source.removeprefix("override: ")

    assert source("acme", "m-1", date(2026, 1, 1)) == "first"
    assert source("ACME", "M-1", date(2026, 4, 30)) == "first"
    assert source("acme", "m-1", date(2026, 5, 1)) == "third"
    assert source("acme", "m-2", date(2026, 5, 1)) == "prefix"
    assert source("other", "m-1", date(2026, 5, 1)) == "any"
    assert source("acme", "m-1", date(2025, 12, 31)) == ""


def test_shipped_table_is_readable_and_agrees_with_the_example_catalogue() -> None:
    from agentrouter.catalog import builtin_catalog

    rows = shipped_overrides()
    for candidate in builtin_catalog().candidates:
        row = override_for(candidate.provider, candidate.model, date(2026, 11, 22), rows)
        assert row is not None
        for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h", "batch_percent", "as_of"):
            assert getattr(row.price, name) == getattr(candidate.price, name)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("text", "prices[0]: expected an object, got str"),
        ({**ROW, "imput": 1}, "prices[0].imput: unknown field"),
        ({**ROW, "model": ""}, "prices[0].model: expected a model's name"),
        ({**ROW, "provider": 3}, "prices[0].provider: expected a name"),
        ({**ROW, "from": "soon"}, "prices[0].from: expected a date"),
        ({**ROW, "from": None}, "prices[0].from: expected a date"),
        ({**ROW, "until": "2025-01-01"}, "prices[0].until: 2025-01-01 is before from"),
        ({**ROW, "input": None}, "prices[0].input: missing"),
        ({**ROW, "output": -1}, "prices[0].output: expected USD per million tokens"),
        ({**ROW, "output": "ten"}, "prices[0].output: expected USD per million tokens"),
        ({**ROW, "output": True}, "prices[0].output: expected USD per million tokens"),
        ({**ROW, "output": 2_000_000}, "prices[0].output: expected USD per million tokens"),
        ({**ROW, "input": 0, "output": 0}, "prices[0].input: a price of 0 must be declared with free: true"),
        ({**ROW, "free": True}, "prices[0].free: declared free but has prices"),
        ({**ROW, "free": "yes"}, "prices[0].free: expected true or false"),
        ({**ROW, "batch_percent": 0}, "prices[0].batch_percent: expected a whole number from 1 to 100"),
        ({**ROW, "batch_percent": 0.5}, "prices[0].batch_percent: expected a whole number from 1 to 100"),
        ({**ROW, "bands": 3}, "prices[0].bands: expected a list"),
        ({**ROW, "bands": [3]}, "prices[0].bands[0]: expected an object"),
        ({**ROW, "bands": [{"above_input_tokens": 0, "input": 1, "output": 1}]}, "above_input_tokens: expected"),
        ({**ROW, "bands": [{"above_input_tokens": 9, "input": 1}]}, "prices[0].bands[0]: expected prices above 0"),
        ({**ROW, "bands": [{"above_input_tokens": 9, "input": 1, "output": 1, "x": 1}]}, "bands[0].x: unknown field"),
        (
            {**ROW, "bands": [{"above_input_tokens": n, "input": 1, "output": 1} for n in (9, 9)]},
            "prices[0].bands[1].above_input_tokens: bands must ascend",
        ),
    ],
)
def test_problems_are_named_by_place(row: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_overrides(json.dumps([row]))
    assert any(problem in line for line in refused.value.problems), refused.value.problems


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_overrides(table({**ROW, "input": -1}, ROW, {**ROW, "model": 7, "from": "x"}))
    places = [problem.partition(":")[0] for problem in refused.value.problems]
    assert places == ["prices[0].input", "prices[2].model", "prices[2].from"]


@pytest.mark.parametrize("text", ["", "{}", "{prices: 3}", "3"])
def test_a_text_without_rows(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a list of rows"):
        parse_overrides(text)


def test_a_text_that_is_neither() -> None:
    with pytest.raises(ConfigError, match="neither JSON nor YAML"):
        parse_overrides("{a: [")


@pytest.mark.parametrize(
    ("amount", "micro"),
    [
        (0.1, 100_000),
        ("0.0252", 25_200),
        (3, 3_000_000),
        (Decimal("0.08333"), 83_330),
        ("0.0000005", 0),
        ("0.0000015", 2),
        (" 5 ", 5_000_000),
        (1e-7, 0),
        ("NaN", None),
        ("inf", None),
        (float("nan"), None),
        (None, None),
        (False, None),
        ([], None),
        (-0.1, None),
        (10**9, None),
    ],
)
def test_micro_usd(amount: Any, micro: int | None) -> None:
    assert micro_usd(amount) == micro


@given(st.integers(0, 10**9))
def test_six_decimals_survive_as_float_and_as_text(micro: int) -> None:
    assert micro_usd(micro / 1_000_000) == micro
    assert micro_usd(f"{micro // 1_000_000}.{micro % 1_000_000:06d}") == micro


def test_a_price_too_small_to_count_is_not_free() -> None:
    problems: list[str] = []
    assert price_from({"input": "0.0000001", "output": 1}, "price", problems) is None
    assert problems == [
        "price.input: '0.0000001' is below the smallest price that can be counted, 0.000001; use 0 or that"
    ]
