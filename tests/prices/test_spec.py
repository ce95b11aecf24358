"""One entry of ``models:`` -> candidate, and everything that can be wrong with one."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from agentrouter.errors import ConfigError
from agentrouter.prices import candidate_from_spec, parse_overrides
from agentrouter.types import CacheTerms, Candidate, Capability, Price, Tier

ON = date(2025, 6, 1)
SPEC = {"tier": "mid", "provider": "acme", "model": "m-1", "price": {"input": 2, "output": "10.00"}}


def problems_of(spec: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        candidate_from_spec(spec, on=ON)
    return refused.value.problems


def test_least_entry() -> None:
    assert candidate_from_spec(SPEC, on=ON) == Candidate(
        name="acme/m-1",
        provider="acme",
        model="m-1",
        tier=Tier.MID,
        price=Price(
            input=2_000_000,
            output=10_000_000,
            cache_read=2_000_000,
            cache_write=2_000_000,
            as_of="2025-06-01",
            source="config",
        ),
        cache=CacheTerms(enabled=False),
        context_window=128_000,
        max_output=8_192,
        capabilities=frozenset({Capability.TOOLS, Capability.JSON_SCHEMA}),
    )


def test_full_entry() -> None:
    spec = {
        **SPEC,
        "name": "mine",
        "price": {
            "input": 2,
            "output": 10,
            "cache_read": 0.2,
            "cache_write": 2.5,
            "as_of": "2025-05-05",
            "source": "mail",
        },
        "cache": {"enabled": True, "ttl_s": 60, "min_tokens": 0, "step_tokens": 16, "refresh_on_read": False},
        "context_window": 1_000_000,
        "max_output": 64_000,
        "capabilities": ["vision"],
        "labels": ["eu", "zdr"],
        "ttft_ms": 900,
        "tokens_per_s": 61.5,
    }
    candidate = candidate_from_spec(spec, on=ON)
    assert candidate.name == "mine"
    assert (candidate.price.cache_read, candidate.price.cache_write) == (200_000, 2_500_000)
    assert (candidate.price.as_of, candidate.price.source) == ("2025-05-05", "mail")
    assert candidate.cache == CacheTerms(ttl_s=60.0, step_tokens=16, refresh_on_read=False)
    assert (candidate.context_window, candidate.max_output) == (1_000_000, 64_000)
    assert candidate.capabilities == {Capability.VISION}
    assert candidate.labels == {"eu", "zdr"}
    assert (candidate.ttft_ms, candidate.tokens_per_s) == (900.0, 61.5)


def test_prices_window_and_terms_of_a_known_model() -> None:
    candidate = candidate_from_spec({"tier": "minimal", "provider": "openai", "model": "gpt-4o-mini"}, on=ON)
    assert (candidate.price.input, candidate.price.output, candidate.price.cache_read) == (150_000, 600_000, 75_000)
    assert candidate.price.source.startswith("genai-prices ")
    assert candidate.context_window == 128_000
    assert candidate.cache == CacheTerms(min_tokens=1_024, step_tokens=128, writes_billed=False)


def test_vendor_terms_are_kept_where_the_entry_says_nothing() -> None:
    spec = {**SPEC, "provider": "openai", "cache": {"ttl_s": 3_600}}
    cache = candidate_from_spec(spec, on=ON).cache
    assert cache == CacheTerms(ttl_s=3_600.0, min_tokens=1_024, step_tokens=128, writes_billed=False)


def test_override_table_prices_an_entry_without_a_price() -> None:
    rows = parse_overrides('[{"provider": "acme", "model": "m-1", "from": "2025-01-01", "input": 7, "output": 8}]')
    spec = {name: value for name, value in SPEC.items() if name != "price"}
    candidate = candidate_from_spec(spec, on=ON, overrides=rows)
    assert (candidate.price.input, candidate.price.source) == (7_000_000, "override")


def test_free_is_said_on_purpose() -> None:
    candidate = candidate_from_spec({**SPEC, "provider": "local", "price": {"free": True}}, on=ON)
    assert candidate.price.free
    assert (candidate.price.input, candidate.price.source) == (0, "free")
    assert candidate.cache == CacheTerms(ttl_s=3_600.0, writes_billed=False)


def test_amortised_price_of_a_local_model() -> None:
    figures = {
        "watts": 360,
        "usd_per_kwh": 0.25,
        "hardware_usd_per_hour": "0.27",
        "input_tokens_per_s": 1_000,
        "output_tokens_per_s": 50,
    }
    candidate = candidate_from_spec({**SPEC, "provider": "local", "price": {"amortised": figures}}, on=ON)
    # 0.36 USD an hour = 100,000,000 pico-USD a second; / 1000 and / 50
    assert (candidate.price.input, candidate.price.output) == (100_000, 2_000_000)
    assert candidate.price.source == "amortised"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tier": None}, "tier: missing"),
        ({"tier": "best"}, "tier: unknown tier 'best': expected one of minimal, efficient, mid, frontier"),
        ({"provider": ""}, "provider: expected a text, got ''"),
        ({"model": 5}, "model: expected a text, got 5"),
        ({"name": 5}, "name: expected a text, got 5"),
        ({"modle": "x"}, "modle: unknown; did you mean model?"),
        ({"zzz": 1}, "zzz: unknown; known are tier, provider"),
        ({"price": None}, "price: no price is known for model 'acme/m-1'"),
        ({"price": 3}, "price: expected input, output, ... in USD per million tokens, got 3"),
        ({"price": {"input": 1}}, "price.output: missing (USD per million tokens)"),
        ({"price": {"input": 0, "output": 0}}, "price.input: a price of 0 must be declared with free: true"),
        ({"price": {"inptu": 1, "input": 1, "output": 1}}, "price.inptu: unknown; did you mean input?"),
        ({"price": {"amortised": 3}}, "price.amortised: expected watts, usd_per_kwh"),
        ({"price": {"amortised": {"watts": 1}}}, "price.amortised: missing usd_per_kwh, hardware_usd_per_hour"),
        (
            {
                "price": {
                    "amortised": dict.fromkeys(("watts", "usd_per_kwh", "hardware_usd_per_hour"), 1)
                    | {"input_tokens_per_s": 0, "output_tokens_per_s": 1}
                }
            },
            "price.amortised.input_tokens_per_s: expected a number above 0, got 0",
        ),
        ({"cache": 3}, "cache: expected an object, got int"),
        ({"cache": {"tll_s": 3}}, "cache.tll_s: unknown; did you mean ttl_s?"),
        ({"cache": {"ttl_s": -3}}, "cache.ttl_s: expected a number of at least 0, got -3"),
        ({"cache": {"step_tokens": 0}}, "cache.step_tokens: expected a whole number of tokens from 1"),
        ({"cache": {"enabled": "yes"}}, "cache.enabled: expected true or false, got 'yes'"),
        ({"context_window": 0}, "context_window: expected a whole number of tokens from 1"),
        ({"context_window": 1.5}, "context_window: expected a whole number of tokens from 1"),
        ({"max_output": True}, "max_output: expected a whole number of tokens from 1"),
        ({"capabilities": "tools"}, "capabilities: expected a list of names, got 'tools'"),
        ({"capabilities": ["tool"]}, "capabilities: tool: unknown; did you mean tools?"),
        ({"labels": [3]}, "labels: expected a list of names, got [3]"),
        ({"ttft_ms": float("nan")}, "ttft_ms: expected a number of at least 0, got nan"),
        ({"tokens_per_s": "fast"}, "tokens_per_s: expected a number of at least 0, got 'fast'"),
    ],
)
def test_problems(change: dict[str, Any], problem: str) -> None:
    found = problems_of({**SPEC, **change})
    assert len(found) == 1
    assert problem in found[0]


def test_all_problems_of_an_entry_are_listed_at_once() -> None:
    found = problems_of(
        {"tier": "best", "provider": "acme", "price": {"output": 0}, "labels": 1, "ttft_ms": -1, "x": 1}
    )
    fields = [problem.partition(":")[0] for problem in found]
    assert fields == ["x", "model", "tier", "ttft_ms", "labels"]
