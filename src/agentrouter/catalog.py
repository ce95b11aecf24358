"""The models: which candidates there are, in which tier, and how a recorded name finds its candidate.

Law: values only; whoever reads a config or price file passes its contents. Must not import anything of the package but
``types``, ``errors``, ``bill`` and ``prices``.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property

import msgspec

from agentrouter.errors import ConfigError, UnknownPriceError
from agentrouter.prices import candidate_from_spec, price_of
from agentrouter.types import CacheTerms, Candidate, Capability, Price, Tier

__all__ = ["Catalog", "Resolution", "builtin_catalog", "candidate_from_spec", "price_of"]


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """How a recorded model name was matched."""

    candidate: Candidate | None
    how: str
    """``name``, ``model``, ``undated`` or ``spelling``; ``ambiguous`` or ``unknown`` where ``candidate`` is None."""
    detail: str = ""
    """For a name that was not matched: the candidates it could mean, or the nearest names."""


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """All candidates, in the order of the config. ``dict=True`` holds the lookup tables, computed once.

    Raises:
        ConfigError: two candidates have the same name, or a band of prices is out of order; lists all problems.
        UnknownPriceError: a candidate's price is 0 and not declared free.
    """

    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        """Refuse what no bill could be drawn from."""
        counts = Counter(candidate.name for candidate in self.candidates)
        problems = [f"models: {count} candidates are named {name!r}" for name, count in counts.items() if count > 1]
        for candidate in self.candidates:
            price = candidate.price
            if not price.input and not price.output and not price.free:
                raise UnknownPriceError(candidate.name, "its price is 0 and not declared free")
            starts = [band.above_input_tokens for band in price.bands]
            if starts != sorted(set(starts)):
                problems.append(f"{candidate.name}: price bands must ascend, got {starts}")
        if problems:
            raise ConfigError(problems)

    def get(self, name: str) -> Candidate | None:
        """Return the candidate of exactly that name; None: there is none."""
        return self._by_name.get(name)

    def in_tier(self, tier: Tier) -> tuple[Candidate, ...]:
        """Return the candidates of a tier, in catalogue order."""
        return self._by_tier[tier]

    def resolve(self, name: str, provider: str = "") -> Candidate | None:
        """Return the candidate that a recorded model name means; None: none, or more than one (see ``resolution``)."""
        exact = self._by_name.get(name)
        return exact if exact is not None else self.resolution(name, provider).candidate

    def resolution(self, name: str, provider: str = "") -> Resolution:
        """Match a recorded model name, and say how.

        Tried in turn, the first that finds any candidate deciding: the name as recorded or ``provider/name``; the model
        alone; the model without its date (``-20260205``, ``@20260205``, ``-2026-02-05``, ``-latest``); the same with
        dots, underscores and vendor prefixes evened out. Case never matters. Two different dates never match. Several
        candidates of the same model are told apart by ``provider``; else the name is ambiguous, which is not a match.
        """
        folded = name.strip().casefold()
        vendor = provider.strip().casefold()
        if not folded:
            return Resolution(candidate=None, how="unknown", detail="no model was recorded")
        for how, key in _keys(folded, vendor):
            found = self._tables[how].get(key, ())
            if how in ("undated", "spelling"):
                found = tuple(each for each in found if _dates_agree(folded, each.model.casefold()))
            if not found:
                continue
            chosen = found if len(found) == 1 else tuple(each for each in found if each.provider.casefold() == vendor)
            if len(chosen) == 1:
                return Resolution(candidate=chosen[0], how=how)
            listed = ", ".join(each.name for each in found)
            return Resolution(candidate=None, how="ambiguous", detail=f"{name!r} could be {listed}")
        near = self.nearest(name)
        detail = f"no candidate is called {name!r}" + (f"; the nearest are {', '.join(near)}" if near else "")
        return Resolution(candidate=None, how="unknown", detail=detail)

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three candidate names that look like ``name``, the likest first."""
        folded = name.strip().casefold()
        spoken = {candidate.name.casefold(): candidate.name for candidate in self.candidates}
        by_model = {candidate.model.casefold(): candidate.name for candidate in self.candidates}
        spoken |= {model: full for model, full in by_model.items() if model not in spoken}
        close = difflib.get_close_matches(folded, spoken, n=6, cutoff=0.6)
        return tuple(dict.fromkeys(spoken[each] for each in close))[:3]

    @cached_property
    def _by_name(self) -> dict[str, Candidate]:
        return {candidate.name: candidate for candidate in self.candidates}

    @cached_property
    def _by_tier(self) -> dict[Tier, tuple[Candidate, ...]]:
        return {tier: tuple(each for each in self.candidates if each.tier is tier) for tier in Tier}

    @cached_property
    def _tables(self) -> dict[str, dict[str, tuple[Candidate, ...]]]:
        """Candidates by folded key, one table for each way of matching."""
        return {
            "name": _grouped((key, each) for each in self.candidates for key in _names_of(each)),
            "model": _grouped((each.model.casefold(), each) for each in self.candidates),
            "undated": _grouped((_undated(each.model.casefold()), each) for each in self.candidates),
            "spelling": _grouped((_evened(each.model.casefold()), each) for each in self.candidates),
        }


_DATE = re.compile(r"[-@](?:20\d{6}|20\d{2}-\d{2}-\d{2})$")
_SUFFIX = re.compile(r"(?:[-@:]latest|-v\d+:\d+|-v\d+)$")
_VENDOR_PREFIX = re.compile(r"^(?:[a-z]+\.)+(?=[a-z])")


def _keys(folded: str, vendor: str) -> Iterator[tuple[str, str]]:
    """Yield (table, key) in the order of matching, for a recorded name in lower case."""
    if vendor:
        yield "name", f"{vendor}/{folded}"
    yield "name", folded
    tail = folded
    while True:
        yield "model", tail
        _, slash, rest = tail.partition("/")
        if not slash:
            break
        yield "name", rest
        tail = rest
    yield "undated", _undated(tail)
    yield "spelling", _evened(tail)


def _names_of(candidate: Candidate) -> set[str]:
    return {candidate.name.casefold(), f"{candidate.provider}/{candidate.model}".casefold()}


def _grouped(pairs: Iterable[tuple[str, Candidate]]) -> dict[str, tuple[Candidate, ...]]:
    groups: dict[str, tuple[Candidate, ...]] = {}
    for key, candidate in pairs:
        groups[key] = (*groups.get(key, ()), candidate)
    return groups


def _undated(model: str) -> str:
    return _SUFFIX.sub("", _DATE.sub("", _SUFFIX.sub("", model)))


def _evened(model: str) -> str:
    bare = _VENDOR_PREFIX.sub("", model.rpartition("/")[2])
    return _undated(bare).replace(".", "-").replace("_", "-")


def _dates_agree(recorded: str, model: str) -> bool:
    """Whether two names are of the same snapshot as far as they say: a different date is a different model."""
    dates = [match and re.sub(r"\D", "", match.group()) for match in map(_dated_tail, (recorded, model))]
    return dates[0] is None or dates[1] is None or dates[0] == dates[1]


def _dated_tail(name: str) -> re.Match[str] | None:
    return _DATE.search(_SUFFIX.sub("", name))


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
