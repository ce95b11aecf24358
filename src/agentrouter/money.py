"""Money and tokens as frozen data: prices, cache terms, usage, cost.

Units: prices in integer micro-dollars per million tokens (the same number as pico-dollars per token), costs in integer
nano-dollars. Imported through ``agentrouter.types``.

``gc=False``: these hold only numbers, texts and each other, so no cycle can arise, and a replay makes millions of them.
"""

from __future__ import annotations

import msgspec


class PriceBand(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Other prices above a number of input tokens (long-context and graduated price lists)."""

    above_input_tokens: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    marginal: bool = False
    """False: crossing the threshold re-prices the whole call ("cliff", as vendors' long-context prices do).
    True: only the input tokens above it take the band's input prices ("graduated")."""


class Price(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """List prices of one model, micro-dollars per million tokens (= pico-dollars per token)."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int = 0
    """Price of a cache write with one hour to live; 0: the same as ``cache_write``."""
    batch_percent: int = 100
    """What a batch call costs, in percent of the list price."""
    bands: tuple[PriceBand, ...] = ()
    """Ascending in ``above_input_tokens``."""
    as_of: str = ""
    """Date of the price list (ISO), for the report."""
    source: str = ""
    free: bool = False
    """The model was declared free of charge; without it a price of 0 is refused, never taken silently."""


class CacheTerms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a provider's prompt cache behaves for one model."""

    enabled: bool = True
    ttl_s: float = 300.0
    min_tokens: int = 0
    """A prefix shorter than this is never cached."""
    step_tokens: int = 1
    """Cached length is rounded down to a multiple of this."""
    refresh_on_read: bool = True
    writes_billed: bool = True
    """False: writing is free of a premium, uncached tokens cost the plain input price (OpenAI, DeepSeek)."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one attempt, normalised: the four input and output counts are disjoint and add up."""

    fresh_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    """Part of ``output``, for information; never billed twice."""
    estimated: bool = False

    @property
    def input_total(self) -> int:
        """All input tokens, cached or not."""
        return self.fresh_input + self.cache_read + self.cache_write + self.cache_write_1h


class Cost(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Cost of one attempt in nano-dollars, by line; ``total`` is exactly the sum of the lines."""

    fresh_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    other: int = 0
    """Judge calls, tool surcharges, and a recorded cost whose parts are unknown."""

    @property
    def total(self) -> int:
        """Sum of all lines, nano-dollars."""
        return self.fresh_input + self.cache_read + self.cache_write + self.output + self.other


class CacheEntry(msgspec.Struct, frozen=True, gc=False):
    """The prefix one candidate holds in its prompt cache."""

    tokens: int
    expires_at: float
