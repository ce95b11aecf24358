"""The cache terms table."""

from __future__ import annotations

import pytest

from agentrouter.prices.terms import cache_terms
from agentrouter.types import CacheTerms, Price

PLAIN = Price(input=1_000_000, output=5_000_000, cache_read=100_000, cache_write=1_000_000)
BILLED = Price(input=1_000_000, output=5_000_000, cache_read=100_000, cache_write=1_250_000)

OPENAI = CacheTerms(ttl_s=300.0, min_tokens=1_024, step_tokens=128, writes_billed=False)
OPENAI_BILLED = CacheTerms(ttl_s=1_800.0, min_tokens=1_024, step_tokens=128)
DEEPSEEK = CacheTerms(ttl_s=3_600.0, min_tokens=64, step_tokens=64, writes_billed=False)
LOCAL = CacheTerms(ttl_s=3_600.0, writes_billed=False)


@pytest.mark.parametrize(
    ("provider", "model", "price", "terms"),
    [
        ("openai", "gpt-5.2", PLAIN, OPENAI),
        ("OpenAI", "o4-mini", PLAIN, OPENAI),
        ("azure", "gpt-4.1", PLAIN, OPENAI),
        ("openai", "gpt-6-sol", BILLED, OPENAI_BILLED),
        ("aws", "global.openai.gpt-6-sol", BILLED, OPENAI_BILLED),
        ("anthropic", "claude-opus-5", BILLED, CacheTerms(min_tokens=512)),
        ("anthropic", "claude-opus-5-20260205", BILLED, CacheTerms(min_tokens=512)),
        ("anthropic", "claude-opus-5-5", BILLED, CacheTerms(min_tokens=1_024)),
        ("anthropic", "claude-opus-4-6", BILLED, CacheTerms(min_tokens=4_096)),
        ("anthropic", "claude-haiku-4-5-20251001", BILLED, CacheTerms(min_tokens=4_096)),
        ("openrouter", "anthropic/claude-haiku-4.5", BILLED, CacheTerms(min_tokens=4_096)),
        ("anthropic", "claude-3-haiku-20240307", BILLED, CacheTerms(min_tokens=2_048)),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", BILLED, CacheTerms(min_tokens=1_024)),
        ("google", "gemini-2.5-pro", PLAIN, CacheTerms(min_tokens=2_048, writes_billed=False)),
        ("vertex", "gemini-3.5-flash", PLAIN, CacheTerms(min_tokens=4_096, writes_billed=False)),
        ("deepseek", "deepseek-v4-pro", PLAIN, DEEPSEEK),
        ("xai", "grok-4.3", PLAIN, CacheTerms(writes_billed=False)),
        ("mistral", "mistral-large-4", PLAIN, CacheTerms(writes_billed=False)),
        ("local", "deepseek-r1-distill-7b", PLAIN, LOCAL),
        ("llama.cpp", "qwen3-4b", PLAIN, LOCAL),
        ("example", "mid", BILLED, CacheTerms(ttl_s=300.0)),
        ("nobody", "unheard", PLAIN, CacheTerms(enabled=False)),
    ],
)
def test_terms(provider: str, model: str, price: Price, terms: CacheTerms) -> None:
    assert cache_terms(provider, model, price) == terms
