"""How each vendor's prompt cache behaves: the terms table.

Law: data and one lookup. Each row names where its figures were read and when; prices are not here, they are in the
price list. "general knowledge" marks what no stored page confirmed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agentrouter.types import CacheTerms, Price


class _Row(NamedTuple):
    family: str
    """First words of a provider's name."""
    model: str
    """Regular expression searched for in the model's name; empty: any."""
    terms: CacheTerms
    source: str


_MINUTE = 60.0
_ANTHROPIC = CacheTerms(ttl_s=300.0, min_tokens=1024)
_OPENAI = CacheTerms(ttl_s=5 * _MINUTE, min_tokens=1024, step_tokens=128, writes_billed=False)

_TERMS: tuple[_Row, ...] = (
    # Anthropic: 5 minutes, refreshed free of charge on each read; writes 1.25 (5 min) and 2.0 (1 h) times the input
    # price. platform.claude.com prompt-caching, as quoted by portkey.ai and by a table "checked 2026-09-28". Minimum
    # prefix by model: docs.litellm.ai prompt_caching, updated 2026-10-07.
    _Row(
        "anthropic", r"(opus|fable|mythos)-5(?![.-]\d(?!\d))", CacheTerms(min_tokens=512), "docs.litellm.ai 2026-10-07"
    ),
    _Row("anthropic", r"haiku-4.5|opus-4.[56]", CacheTerms(min_tokens=4096), "docs.litellm.ai 2026-10-07"),
    # Bedrock lists 4,096 for Opus 4.7 too; taken for both, since a minimum too high only misses a discount.
    _Row("anthropic", r"opus-4.7", CacheTerms(min_tokens=4096), "docs.litellm.ai 2026-10-07 (Bedrock row)"),
    _Row("anthropic", r"haiku-3|3-haiku|3-5-haiku", CacheTerms(min_tokens=2048), "docs.orq.ai, read 2026-11-22"),
    _Row("anthropic", r"", _ANTHROPIC, "docs.litellm.ai 2026-10-07; newer models than its table: general knowledge"),
    # OpenAI up to GPT-5.5: automatic, no write premium, 1,024 tokens and then steps of 128; kept in memory 5 to 10
    # minutes of inactivity, at most an hour. learn.microsoft.com and developers.openai.com prompt-caching, read
    # 2026-11-22; the steps of 128 as of 2026-06 by docs.apiyi.com after the official page.
    _Row("openai", r"", _OPENAI, "learn.microsoft.com prompt-caching, read 2026-11-22"),
    # Gemini implicit: cached automatically, written at the plain input price, no storage fee (docs.cloud.google.com
    # context-cache-overview, read 2026-11-22); minimum by model: ai.google.dev caching, updated 2026-07-07. How long an
    # implicit entry lives is not published: 5 minutes is general knowledge, on the careful side.
    _Row("google", r"2\.5", CacheTerms(min_tokens=2048, writes_billed=False), "ai.google.dev caching 2026-07-07"),
    _Row("google", r"", CacheTerms(min_tokens=4096, writes_billed=False), "ai.google.dev caching 2026-07-07"),
    # DeepSeek: on disk, automatic, hit and miss prices only (api-docs.deepseek.com kv_cache, read 2026-11-22). Units of
    # 64 tokens and a life of hours to days: the launch note of 2024-08, general knowledge; one hour is the careful end.
    _Row(
        "deepseek",
        r"",
        CacheTerms(ttl_s=60 * _MINUTE, min_tokens=64, step_tokens=64, writes_billed=False),
        "api-docs.deepseek.com kv_cache, read 2026-11-22; 64 and the hour: general knowledge",
    ),
    # xAI: automatic, cached_tokens reported, no write price (docs.x.ai prompt-caching, read 2026-11-22); life: general
    # knowledge.
    _Row("x-ai", r"", CacheTerms(writes_billed=False), "docs.x.ai prompt-caching, read 2026-11-22"),
    # The built-in example catalogue: 5 minutes, writes at their own price.
    _Row("example", r"", CacheTerms(ttl_s=5 * _MINUTE), "built-in example"),
    _Row("mistral", r"", CacheTerms(writes_billed=False), "general knowledge 2026-11-22"),
    # One's own machine: the prefix stays in the server's slot until another prompt takes it; an hour is a guess at how
    # long that is on a machine of one's own. Reuse costs nothing beyond the price list.
    _Row(
        "local", r"", CacheTerms(ttl_s=60 * _MINUTE, writes_billed=False), "llama.cpp prefix reuse: general knowledge"
    ),
)

# From GPT-5.6 on OpenAI bills cache writes and keeps an entry at least 30 minutes: learn.microsoft.com prompt-caching
# (read 2026-11-22) for the charge, ai-cost-estimator.com after the announcement of 2026-06-27 for 1.25x and the life.
# Told by the price list, which has a write price above the input price from then on, and not by the model's name.
_OPENAI_BILLED_WRITES = CacheTerms(ttl_s=30 * _MINUTE, min_tokens=1024, step_tokens=128)

_UNKNOWN_VENDOR = CacheTerms(enabled=False)

_FAMILIES = {
    "claude": "anthropic",
    "azure": "openai",
    "gemini": "google",
    "vertex": "google",
    "xai": "x-ai",
    "grok": "x-ai",
    "llama.cpp": "local",
    "llamacpp": "local",
    "ollama": "local",
    "vllm": "local",
    "embedded": "local",
}

_MAKERS = (
    ("claude", "anthropic"),
    ("gpt-", "openai"),
    ("gemini", "google"),
    ("deepseek", "deepseek"),
    ("grok", "x-ai"),
)
"""On resellers (Bedrock, OpenRouter, Azure, Vertex) the maker of the model sets the terms."""


def cache_terms(provider: str, model: str, price: Price) -> CacheTerms:
    """Return how the prompt cache of ``model`` at ``provider`` behaves; an unknown vendor caches nothing.

    Args:
        provider: the provider's name as in a catalogue (``openai``, ``aws``, ``local``).
        model: the model's name.
        price: its price list; a cache-write price above the input price says that writes are billed.
    """
    family, name = _family(provider, model), model.casefold()
    if family == "openai" and price.cache_write > price.input:
        return _OPENAI_BILLED_WRITES
    for row in _TERMS:
        if row.family == family and re.search(row.model, name):
            return row.terms
    return _UNKNOWN_VENDOR


def _family(provider: str, model: str) -> str:
    vendor, name = provider.casefold(), model.casefold()
    if _FAMILIES.get(vendor, vendor) == "local":
        return "local"
    for word, family in _MAKERS:
        if word in name:
            return family
    return _FAMILIES.get(vendor, vendor)
