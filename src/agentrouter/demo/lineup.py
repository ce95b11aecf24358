"""Which model plays which tier, and at what list price.

Three models for four tiers, and a larger one cannot be had without a key: the largest at hand plays ``frontier``, the
smallest ``minimal``, one in between ``efficient``, and ``mid`` stays empty (its steps go to the nearest tier above).
The alternative, one file under two names at two prices, would show a saving where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import yaml

from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.errors import ConfigError
from agentrouter.providers import Provider
from agentrouter.types import Call, Candidate, Capability, Outcome, Tier

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
"""Smallest first."""

SETS = {"small": MODELS[:2], "all": MODELS}

PARTS: dict[int, tuple[Tier, ...]] = {
    1: (Tier.FRONTIER,),
    2: (Tier.MINIMAL, Tier.FRONTIER),
    3: (Tier.MINIMAL, Tier.EFFICIENT, Tier.FRONTIER),
}

_RATES = ("input", "output", "cache_read", "cache_write")

CONTEXT_TOKENS = 4_096
MAX_OUTPUT = 512


def chosen(models: str) -> tuple[str, ...]:
    """Return the models of a set.

    Raises:
        ConfigError: no such set.
    """
    try:
        return SETS[models]
    except KeyError:
        raise ConfigError(f"--models {models!r}: expected one of {', '.join(SETS)}") from None


def line_up(names: Sequence[str], provider: str = "local") -> Catalog:
    """Return the catalogue of the models at hand, with the example config's price and cache terms for each tier.

    Args:
        names: one to three of ``MODELS``, in any order.
        provider: who runs them.
    """
    at_hand = [name for name in MODELS if name in names]
    example = {candidate.tier: candidate for candidate in builtin_catalog().candidates}
    return Catalog(
        tuple(
            Candidate(
                name=f"{provider}/{name}",
                provider=provider,
                model=name,
                tier=tier,
                price=example[tier].price,
                cache=example[tier].cache,
                context_window=CONTEXT_TOKENS,
                max_output=MAX_OUTPUT,
                capabilities=frozenset({Capability.JSON_SCHEMA, Capability.LOGPROBS}),
                labels=frozenset({"local"}),
            )
            for name, tier in zip(at_hand, PARTS[len(at_hand)], strict=True)
        )
    )


def config_from(catalog: Catalog) -> str:
    """Return a config file with the catalogue's models, so that other commands know them (``replay --config``)."""
    models = [
        {
            "tier": candidate.tier.label,
            "provider": candidate.provider,
            "model": candidate.model,
            "price": {name: _usd(getattr(candidate.price, name)) for name in _RATES},
            "cache": {"ttl_s": candidate.cache.ttl_s, "writes_billed": candidate.cache.writes_billed},
            "context_window": candidate.context_window,
            "max_output": candidate.max_output,
            "capabilities": sorted(each.value for each in candidate.capabilities),
            "labels": sorted(candidate.labels),
        }
        for candidate in catalog.candidates
    ]
    providers = {candidate.provider: {"kind": "local"} for candidate in catalog.candidates}
    head = "# The demo's models at the example's list prices, in USD per million tokens.\n"
    return head + yaml.safe_dump({"providers": providers, "models": models}, sort_keys=False)


class ListPriced:
    """A provider of local models whose usage is stated in the terms of the price list.

    The runtime says which prompt tokens it computed and which it found in its cache. On the price list a computed token
    is written to the cache, at the price of a cache write; without this the demo would leave out the price of moving a
    conversation to another model, and the routed bill would look better than it is.
    """

    def __init__(self, inner: Provider) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """The inner provider's name."""
        return self._inner.name

    async def send(self, call: Call) -> Outcome:
        """Make the call and restate its usage."""
        outcome = await self._inner.send(call)
        if not (call.candidate.cache.enabled and call.candidate.cache.writes_billed):
            return outcome
        usage = outcome.usage
        stated = msgspec.structs.replace(usage, fresh_input=0, cache_write=usage.cache_write + usage.fresh_input)
        return msgspec.structs.replace(outcome, usage=stated)

    async def close(self) -> None:
        """Close the inner provider."""
        await self._inner.close()


def _usd(rate: int) -> str:
    """Return a price as text, exactly: YAML floats are not."""
    return format(Decimal(rate).scaleb(-6).normalize(), "f")
