"""The models: which candidates there are, in which tier, and how a recorded name finds its candidate.

Law: values only; whoever reads a config or price file passes its text or contents. Must not import anything of the
package but ``types``, ``errors`` and ``prices``.
"""

from __future__ import annotations

from functools import cached_property

import msgspec

from agentrouter.types import CacheTerms, Candidate, Capability, Price, Tier


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """All candidates, in the order of the config. ``dict=True`` holds the lookup tables, computed once."""

    candidates: tuple[Candidate, ...]

    @cached_property
    def _by_name(self) -> dict[str, Candidate]:
        return {candidate.name: candidate for candidate in self.candidates}

    @cached_property
    def _by_tier(self) -> dict[Tier, tuple[Candidate, ...]]:
        return {tier: tuple(each for each in self.candidates if each.tier is tier) for tier in Tier}

    def get(self, name: str) -> Candidate | None:
        """Return the candidate of exactly that name; None: there is none."""
        return self._by_name.get(name)

    def in_tier(self, tier: Tier) -> tuple[Candidate, ...]:
        """Return the candidates of a tier, in catalogue order."""
        return self._by_tier[tier]


_EXAMPLE_AS_OF = "2026-11-22"
_EXAMPLE_TEXT = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA})
_EXAMPLE_FULL = _EXAMPLE_TEXT | {Capability.VISION, Capability.FILES, Capability.REASONING}


def builtin_catalog() -> Catalog:
    """Return the example catalogue used without a config: one candidate a tier, list prices that hang together.

    0.10/0.40, 0.30/1.20, 1.00/5.00 and 5.00/25.00 USD per million tokens in and out; a cache read costs 0.1 and a cache
    write 1.25 times the input price; a cached prefix lives 5 minutes. The models do not exist.
    """
    return Catalog(
        (
            _example(Tier.MINIMAL, 100_000, 400_000, 128_000, 8_192, _EXAMPLE_TEXT),
            _example(Tier.EFFICIENT, 300_000, 1_200_000, 200_000, 16_384, _EXAMPLE_TEXT | {Capability.VISION}),
            _example(Tier.MID, 1_000_000, 5_000_000, 200_000, 32_768, _EXAMPLE_FULL),
            _example(Tier.FRONTIER, 5_000_000, 25_000_000, 1_000_000, 64_000, _EXAMPLE_FULL),
        )
    )


def _example(
    tier: Tier, input_price: int, output_price: int, window: int, max_output: int, capabilities: frozenset[Capability]
) -> Candidate:
    price = Price(
        input=input_price,
        output=output_price,
        cache_read=input_price // 10,
        cache_write=input_price * 5 // 4,
        as_of=_EXAMPLE_AS_OF,
        source="built-in example",
    )
    return Candidate(
        name=f"example/{tier.label}",
        provider="example",
        model=tier.label,
        tier=tier,
        price=price,
        cache=CacheTerms(ttl_s=300.0),
        context_window=window,
        max_output=max_output,
        capabilities=capabilities,
        labels=frozenset({"example"}),
    )
