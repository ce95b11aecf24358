"""The catalogue: the built-in example, refusals, and how recorded names find their candidates."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest

from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.errors import ConfigError, UnknownPriceError
from agentrouter.types import CacheTerms, Candidate, Capability, Price, PriceBand, Tier

PRICE = Price(input=1, output=1, cache_read=1, cache_write=1)


def candidate(name: str, *, model: str = "", provider: str = "", price: Price = PRICE) -> Candidate:
    vendor, _, bare = name.partition("/")
    return Candidate(name=name, provider=provider or vendor, model=model or bare, tier=Tier.MID, price=price)


class TestBuiltin:
    @pytest.mark.parametrize(
        ("tier", "input_usd", "output_usd"),
        [
            (Tier.MINIMAL, 0.10, 0.40),
            (Tier.EFFICIENT, 0.30, 1.20),
            (Tier.MID, 1.00, 5.00),
            (Tier.FRONTIER, 5.00, 25.00),
        ],
    )
    def test_prices_and_cache(self, tier: Tier, input_usd: float, output_usd: float) -> None:
        (only,) = builtin_catalog().in_tier(tier)
        assert only.name == f"example/{tier.label}"
        assert (only.price.input, only.price.output) == (round(input_usd * 1e6), round(output_usd * 1e6))
        assert only.price.cache_read * 10 == only.price.input
        assert only.price.cache_write * 4 == only.price.input * 5
        assert only.cache == CacheTerms(ttl_s=300.0)

    def test_every_tier_can_do_what_an_agent_needs_and_none_less_than_the_one_below(self) -> None:
        candidates = builtin_catalog().candidates
        assert [each.tier for each in candidates] == list(Tier)
        for lower, higher in pairwise(candidates):
            assert lower.capabilities <= higher.capabilities
            assert lower.context_window <= higher.context_window
            assert lower.max_output <= higher.max_output
        assert candidates[0].capabilities >= {Capability.TOOLS, Capability.JSON_SCHEMA}


class TestRefusals:
    def test_two_of_one_name(self) -> None:
        with pytest.raises(ConfigError, match="2 candidates are named 'a/x'"):
            Catalog((candidate("a/x"), candidate("b/y"), candidate("a/x")))

    def test_bands_out_of_order(self) -> None:
        bands = tuple(
            PriceBand(above_input_tokens=start, input=1, output=1, cache_read=1, cache_write=1) for start in (200, 100)
        )
        price = Price(input=1, output=1, cache_read=1, cache_write=1, bands=bands)
        with pytest.raises(ConfigError, match=r"a/x: price bands must ascend, got \[200, 100\]"):
            Catalog((candidate("a/x", price=price),))

    def test_a_price_of_nothing_must_be_declared(self) -> None:
        nothing = Price(input=0, output=0, cache_read=0, cache_write=0)
        with pytest.raises(UnknownPriceError, match="not declared free") as refused:
            Catalog((candidate("a/x", price=nothing),))
        assert refused.value.model == "a/x"
        free = Price(input=0, output=0, cache_read=0, cache_write=0, free=True)
        assert Catalog((candidate("a/x", price=free),)).candidates[0].price.free


MODELS = Catalog(
    (
        candidate("anthropic/claude-opus-4-6"),
        candidate("anthropic/claude-haiku-4-5-20251001"),
        candidate("openai/gpt-5"),
        candidate("openai/gpt-5-mini"),
        candidate("azure/gpt-5-mini"),
        candidate("openai/gpt-4o-2024-05-13"),
        candidate("openai/gpt-4o-2024-08-06"),
        candidate("groq/qwen", model="Qwen/Qwen3-32B"),
        candidate("house", model="llama3:latest", provider="ollama"),
    )
)


class TestResolution:
    @pytest.mark.parametrize(
        ("recorded", "provider", "name", "how"),
        [
            ("openai/gpt-5", "", "openai/gpt-5", "name"),
            ("OpenAI/GPT-5", "", "openai/gpt-5", "name"),
            ("gpt-5", "openai", "openai/gpt-5", "name"),
            ("gpt-5", "", "openai/gpt-5", "model"),
            (" gpt-5 ", "", "openai/gpt-5", "model"),
            ("gpt-5", "azure", "openai/gpt-5", "model"),
            ("gpt-5-mini", "azure", "azure/gpt-5-mini", "name"),
            ("house", "", "house", "name"),
            ("ollama/llama3:latest", "", "house", "name"),
            ("llama3", "", "house", "undated"),
            ("Qwen/Qwen3-32B", "", "groq/qwen", "model"),
            ("groq/Qwen/Qwen3-32B", "", "groq/qwen", "name"),
            ("openrouter/openai/gpt-5", "", "openai/gpt-5", "name"),
            ("claude-opus-4-6-20260205", "", "anthropic/claude-opus-4-6", "undated"),
            ("claude-opus-4-6@20260205", "", "anthropic/claude-opus-4-6", "undated"),
            ("claude-opus-4-6-latest", "", "anthropic/claude-opus-4-6", "undated"),
            ("anthropic/claude-opus-4-6-20260205", "", "anthropic/claude-opus-4-6", "undated"),
            ("claude-haiku-4-5", "", "anthropic/claude-haiku-4-5-20251001", "undated"),
            ("claude-haiku-4-5@20251001", "", "anthropic/claude-haiku-4-5-20251001", "undated"),
            ("anthropic/claude-opus-4.6", "", "anthropic/claude-opus-4-6", "spelling"),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "aws", "anthropic/claude-haiku-4-5-20251001", "spelling"),
            ("gpt-4o-2024-08-06", "", "openai/gpt-4o-2024-08-06", "model"),
            ("gpt-4o-20240806", "", "openai/gpt-4o-2024-08-06", "undated"),
        ],
    )
    def test_recorded_names(self, recorded: str, provider: str, name: str, how: str) -> None:
        found = MODELS.resolution(recorded, provider)
        assert found.candidate is not None, found
        assert (found.candidate.name, found.how) == (name, how)
        assert MODELS.resolve(recorded, provider) == found.candidate

    @pytest.mark.parametrize(
        ("recorded", "provider", "listed"),
        [
            ("gpt-5-mini", "", ["openai/gpt-5-mini", "azure/gpt-5-mini"]),
            ("gpt-5-mini-2025-08-07", "aws", ["openai/gpt-5-mini", "azure/gpt-5-mini"]),
            ("gpt-4o", "openai", ["openai/gpt-4o-2024-05-13", "openai/gpt-4o-2024-08-06"]),
        ],
    )
    def test_ambiguous_names_say_what_they_could_mean(self, recorded: str, provider: str, listed: list[str]) -> None:
        found = MODELS.resolution(recorded, provider)
        assert (found.candidate, found.how) == (None, "ambiguous")
        assert found.detail == f"{recorded!r} could be {', '.join(listed)}"
        assert MODELS.resolve(recorded, provider) is None

    @pytest.mark.parametrize(
        ("recorded", "near"),
        [
            ("claude-opus-46", "anthropic/claude-opus-4-6"),
            ("openai/gtp-5", "openai/gpt-5"),
            ("claude-haiku-4-5-20250101", "anthropic/claude-haiku-4-5-20251001"),
        ],
    )
    def test_unknown_names_say_what_is_near(self, recorded: str, near: str) -> None:
        found = MODELS.resolution(recorded)
        assert (found.candidate, found.how) == (None, "unknown")
        assert MODELS.nearest(recorded)[0] == near
        assert near in found.detail

    def test_a_name_like_nothing(self) -> None:
        assert MODELS.nearest("zzzzzzzz") == ()
        assert MODELS.resolution("zzzzzzzz").detail == "no candidate is called 'zzzzzzzz'"
        assert MODELS.resolution(" ").detail == "no model was recorded"

    def test_get_is_exact(self) -> None:
        assert MODELS.get("openai/gpt-5") is MODELS.candidates[2]
        assert MODELS.get("OpenAI/gpt-5") is None

    def test_every_candidate_is_found_by_its_own_name_and_by_provider_and_model(self) -> None:
        for each in (*MODELS.candidates, *builtin_catalog().candidates):
            catalog = MODELS if each in MODELS.candidates else builtin_catalog()
            assert catalog.resolve(each.name) == each
            assert catalog.resolve(each.model, each.provider) == each


def test_importing_the_catalogue_does_not_load_the_price_library() -> None:
    heavy = "{'genai_prices', 'yaml', 'httpx2', 'pydantic'}"
    code = f"import sys, agentrouter.catalog; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
