"""One entry of a config's ``models:`` list -> ``Candidate``, with everything that is wrong with it said at once.

Law: values only; reading the file, and the place of the entry in it, are ``config``'s business. An entry::

    tier: frontier
    provider: anthropic
    model: claude-opus-5
    name: anthropic/claude-opus-5   # left out: provider/model
    price: {input: 5, output: 25}   # as a row of the override table; left out: the price library
    cache: {ttl_s: 3600}            # over the vendor's own terms
    context_window: 1000000         # left out: what the price library says, else 128,000
    max_output: 64000
    capabilities: [tools, vision]   # left out: tools and json_schema
    labels: [eu]
    ttft_ms: 900
    tokens_per_s: 60

``price`` may also be ``{free: true}`` or ``{amortised: {watts: 350, usd_per_kwh: "0.30", ...}}`` (``amortised_price``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

import msgspec

from agentrouter.bill import amortised_price
from agentrouter.errors import ConfigError, InputError, UnknownPriceError
from agentrouter.prices.lookup import price_of, window_of
from agentrouter.prices.overrides import PRICE_FIELDS, PriceOverride, price_from
from agentrouter.prices.terms import cache_terms
from agentrouter.types import ACCEPT, CacheTerms, Candidate, Capability, Price, Tier

_FIELDS = (
    *("tier", "provider", "model", "name", "price", "cache", "context_window", "max_output"),
    *("capabilities", "labels", "ttft_ms", "tokens_per_s"),
)
_PRICE_KEYS = (*PRICE_FIELDS, "amortised", "as_of", "source")
_AMORTISED = ("watts", "usd_per_kwh", "hardware_usd_per_hour", "input_tokens_per_s", "output_tokens_per_s")
_DEFAULT_CAPABILITIES = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA})
_DEFAULT_WINDOW = 128_000
_DEFAULT_MAX_OUTPUT = 8_192
_MOST_TOKENS = 100_000_000


class _Entry(NamedTuple):
    """The entry and where its problems go."""

    spec: Mapping[str, object]
    problems: list[str]


def candidate_from_spec(spec: Mapping[str, object], *, on: date, overrides: Iterable[PriceOverride] = ()) -> Candidate:
    """Return the candidate that an entry of ``models:`` describes.

    Args:
        spec: the entry, as parsed from YAML or JSON.
        on: the day whose prices count, where the entry gives none.
        overrides: rows of the price override table.

    Raises:
        ConfigError: ``problems`` lists everything that is wrong with the entry.
    """
    problems: list[str] = []
    entry = _Entry(spec, problems)
    _check_keys(spec, _FIELDS, "", problems)
    provider, model = _text(entry, "provider"), _text(entry, "model")
    tier = _tier(entry)
    price = _price(entry, provider, model, on, overrides) if provider and model else None
    listed = spec.get("price") is None and price is not None and price.source.startswith("genai-prices")
    window = (window_of(provider, model) if listed else 0) or _DEFAULT_WINDOW
    terms = _terms(entry, cache_terms(provider, model, price) if price is not None else CacheTerms())
    window = _count(entry, "context_window", window)
    max_output = _count(entry, "max_output", _DEFAULT_MAX_OUTPUT)
    ttft_ms, tokens_per_s = _number(entry, "ttft_ms"), _number(entry, "tokens_per_s")
    capabilities = _capabilities(entry)
    labels = frozenset(_texts(entry, "labels"))
    name = f"{provider}/{model}" if spec.get("name") is None else _text(entry, "name")
    if name == ACCEPT.name:
        problems.append(f"name: {name!r} stands for accepting an answer; give another")
    if problems or tier is None or price is None:
        raise ConfigError(problems)
    return Candidate(
        name=name,
        provider=provider,
        model=model,
        tier=tier,
        price=price,
        cache=terms,
        context_window=window,
        max_output=max_output,
        capabilities=capabilities,
        labels=labels,
        ttft_ms=ttft_ms,
        tokens_per_s=tokens_per_s,
    )


def _price(entry: _Entry, provider: str, model: str, on: date, overrides: Iterable[PriceOverride]) -> Price | None:
    given = entry.spec.get("price")
    if given is None:
        try:
            return price_of(provider, model, on, overrides)
        except UnknownPriceError as error:
            entry.problems.append(f"price: {error}")
            return None
    if not isinstance(given, Mapping):
        entry.problems.append(f"price: expected input, output, ... in USD per million tokens, got {given!r}")
        return None
    before = len(entry.problems)
    _check_keys(given, _PRICE_KEYS, "price.", entry.problems)
    price = _amortised(entry, given) if "amortised" in given else price_from(given, "price", entry.problems)
    if price is None or len(entry.problems) > before:
        return None
    return msgspec.structs.replace(
        price, as_of=price.as_of or on.isoformat(), source=price.source or ("free" if price.free else "config")
    )


def _amortised(entry: _Entry, given: Mapping[str, object]) -> Price | None:
    figures = given["amortised"]
    if not isinstance(figures, Mapping):
        entry.problems.append(f"price.amortised: expected {', '.join(_AMORTISED)}, got {figures!r}")
        return None
    _check_keys(figures, _AMORTISED, "price.amortised.", entry.problems)
    missing = [name for name in _AMORTISED if figures.get(name) is None]
    if missing:
        entry.problems.append(f"price.amortised: missing {', '.join(missing)}")
        return None
    # As text, a float from YAML keeps the digits that were written.
    text = {name: str(figures[name]) for name in _AMORTISED}
    try:
        return amortised_price(
            watts=text["watts"],
            usd_per_kwh=text["usd_per_kwh"],
            hardware_usd_per_hour=text["hardware_usd_per_hour"],
            input_tokens_per_s=text["input_tokens_per_s"],
            output_tokens_per_s=text["output_tokens_per_s"],
        )
    except InputError as error:
        entry.problems.append(f"price.amortised.{error.field}: {error.message}")
        return None


def _terms(entry: _Entry, terms: CacheTerms) -> CacheTerms:
    given = entry.spec.get("cache")
    if given is None:
        return terms
    if not isinstance(given, Mapping):
        entry.problems.append(f"cache: expected an object, got {type(given).__name__}")
        return terms
    _check_keys(given, CacheTerms.__struct_fields__, "cache.", entry.problems)
    part = _Entry(given, entry.problems)
    return CacheTerms(
        enabled=_switch(part, "enabled", default=terms.enabled),
        ttl_s=_number(part, "ttl_s", terms.ttl_s, "cache."),
        min_tokens=_count(part, "min_tokens", terms.min_tokens, "cache.", least=0),
        step_tokens=_count(part, "step_tokens", terms.step_tokens, "cache."),
        refresh_on_read=_switch(part, "refresh_on_read", default=terms.refresh_on_read),
        writes_billed=_switch(part, "writes_billed", default=terms.writes_billed),
    )


def _tier(entry: _Entry) -> Tier | None:
    text = _text(entry, "tier")
    try:
        return Tier.parse(text) if text else None
    except InputError as error:
        entry.problems.append(f"tier: {error.message}")
        return None


def _capabilities(entry: _Entry) -> frozenset[Capability]:
    if entry.spec.get("capabilities") is None:
        return _DEFAULT_CAPABILITIES
    named = _texts(entry, "capabilities")
    known = [capability.value for capability in Capability]
    _check_keys(named, known, "capabilities: ", entry.problems)
    return frozenset(Capability(name) for name in named if name in known)


def _check_keys(names: Iterable[str], known: Iterable[str], place: str, problems: list[str]) -> None:
    """Report the names that are not known, each with the nearest that is."""
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            problems.append(f"{place}{name}: unknown; {hint}")


def _text(entry: _Entry, name: str) -> str:
    text = entry.spec.get(name)
    if isinstance(text, str) and text.strip():
        return text.strip()
    entry.problems.append(f"{name}: missing" if text is None else f"{name}: expected a text, got {text!r}")
    return ""


def _texts(entry: _Entry, name: str) -> list[str]:
    texts = entry.spec.get(name)
    if texts is None:
        return []
    if isinstance(texts, list) and all(isinstance(text, str) and text for text in texts):
        return texts
    entry.problems.append(f"{name}: expected a list of names, got {texts!r}")
    return []


def _count(entry: _Entry, name: str, default: int, place: str = "", *, least: int = 1) -> int:
    count = entry.spec.get(name)
    if count is None:
        return default
    if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= _MOST_TOKENS:
        entry.problems.append(
            f"{place}{name}: expected a whole number of tokens from {least} to {_MOST_TOKENS:,}, got {count!r}"
        )
        return default
    return count


def _number(entry: _Entry, name: str, default: float = 0.0, place: str = "") -> float:
    number = entry.spec.get(name)
    if number is None:
        return default
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1e9:
        entry.problems.append(f"{place}{name}: expected a number of at least 0, got {number!r}")
        return default
    return float(number)


def _switch(part: _Entry, name: str, *, default: bool) -> bool:
    flag = part.spec.get(name)
    if flag is None or isinstance(flag, bool):
        return default if flag is None else flag
    part.problems.append(f"cache.{name}: expected true or false, got {flag!r}")
    return default
