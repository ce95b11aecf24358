"""Which candidate a recorded model name means, and what it cost on that day.

Law: the catalogue first, then the price lists by date. A model without a price is None, for the caller to count and
list; it is never priced at zero or as its neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime

import msgspec

from agentrouter.catalog import Catalog
from agentrouter.errors import InputError, UnknownPriceError
from agentrouter.prices import PriceOverride, price_of
from agentrouter.prices.terms import cache_terms
from agentrouter.types import Candidate, Capability, Tier

_SECONDS_PER_DAY = 86_400
_LAST_DAY = 2_932_896
"""9999-12-31, the last day ``date`` can hold."""
_ANY_SIZE = 1 << 60


class RecordedModels:
    """Finds candidates for recorded names; remembers every answer.

    Args:
        catalog: the user's candidates.
        undated: the day whose list prices count for steps without a time; None: today (UTC).
        overrides: rows of the price override table.
    """

    def __init__(self, catalog: Catalog, undated: date | None = None, overrides: Iterable[PriceOverride] = ()) -> None:
        self._catalog = catalog
        self._undated = undated
        self._overrides = tuple(overrides)
        self._resolved: dict[tuple[str, str], Candidate | None] = {}
        self._listed: dict[tuple[str, str, int], Candidate | None] = {}

    def find(self, provider: str, model: str, started_at: float) -> Candidate | None:
        """Return the candidate of the catalogue, else one made from the list price of that day, else None."""
        key = (provider, model)
        if key not in self._resolved:
            self._resolved[key] = self._catalog.resolve(model, provider) if model else None
        candidate = self._resolved[key]
        if candidate is not None or not model:
            return candidate
        day = min(int(started_at // _SECONDS_PER_DAY), _LAST_DAY) if started_at > 0.0 else -1
        dated = (provider, model, day)
        if dated not in self._listed:
            self._listed[dated] = self._from_list(provider, model, day)
        return self._listed[dated]

    def _from_list(self, provider: str, model: str, day: int) -> Candidate | None:
        on = self._undated or datetime.now(UTC).date()
        if day >= 0:
            on = datetime.fromtimestamp(day * _SECONDS_PER_DAY, UTC).date()
        try:
            price = price_of(provider, model, on, self._overrides)
        except UnknownPriceError:
            return None
        return Candidate(
            name=f"{provider}/{model}" if provider else model,
            provider=provider,
            model=model,
            tier=tier_by_price(self._catalog, price.output),
            price=price,
            cache=cache_terms(provider, model, price),
        )


def tier_by_price(catalog: Catalog, output_price: int) -> Tier:
    """Return the tier of the catalogue whose output price is nearest on a log scale; ties go to the higher tier.

    A model outside the catalogue has no tier of its own; its price class is the only evidence there is of one.
    """
    if output_price <= 0:
        return Tier.MINIMAL

    def distance(candidate: Candidate) -> tuple[float, int]:
        other = max(candidate.price.output, 1)
        return abs(math.log(output_price / other)), -candidate.tier

    return min(catalog.candidates, key=distance).tier


def frontier_of(catalog: Catalog, name: str = "") -> Candidate:
    """Return the candidate of the frontier-only baseline: ``name``, else the first one of the highest tier.

    Raises:
        InputError: no such candidate, or an empty catalogue.
    """
    if name:
        found = catalog.get(name)
        if found is None:
            near = ", ".join(catalog.nearest(name)) or "none is near"
            raise InputError(f"the frontier baseline {name!r} is not in the catalogue; nearest: {near}")
        return found
    for tier in reversed(Tier):
        if catalog.in_tier(tier):
            return catalog.in_tier(tier)[0]
    raise InputError("the catalogue is empty: there is no candidate to replay against")


def unlimited(candidate: Candidate) -> Candidate:
    """Return the candidate with room and capabilities for anything: it did serve the recorded step."""
    return msgspec.structs.replace(
        candidate, context_window=_ANY_SIZE, max_output=_ANY_SIZE, capabilities=frozenset(Capability)
    )
