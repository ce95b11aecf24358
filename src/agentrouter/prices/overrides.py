"""The dated override table: prices that win over the price library.

A table is JSON or YAML text: an object with a list ``prices``, or that list itself. A row::

    provider: openai            # or "*" for any
    model: gpt-6-sol            # or a prefix that ends in "*"
    from: 2026-10-01            # the first day it holds (UTC)
    until: 2026-12-31           # the last day; left out: until a later row
    input: "2.00"               # USD per million tokens, number or text
    output: "10.00"
    cache_read: "0.20"          # left out: the input price
    cache_write: "2.50"         # left out: the input price
    cache_write_1h: "4.00"      # left out: as cache_write
    batch_percent: 50           # left out: 100
    bands: [{above_input_tokens: 272000, input: 4, output: 15, cache_read: 0.4, cache_write: 5, marginal: false}]
    free: true                  # instead of the prices: costs nothing, said on purpose
    as_of: 2026-11-01           # left out: the date of "from"
    source: "price page"
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation

import msgspec

from agentrouter.errors import ConfigError
from agentrouter.types import Price, PriceBand

_MICRO = 1_000_000
_DEAREST = 1_000_000 * _MICRO
"""A million USD per million tokens: above it, somebody wrote micro-dollars."""

PRICE_FIELDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "batch_percent", "bands", "free")
_ROW_FIELDS = frozenset({"provider", "model", "from", "until", "as_of", "source", *PRICE_FIELDS})
_BAND_FIELDS = frozenset({"above_input_tokens", "input", "output", "cache_read", "cache_write", "marginal"})


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    provider: str
    model: str
    first: date
    last: date
    price: Price

    def covers(self, provider: str, model: str, on: date) -> bool:
        """Whether the row speaks of that model on that day; names compare without regard to case."""
        if not self.first <= on <= self.last or self.provider not in ("*", provider.casefold()):
            return False
        if self.model.endswith("*"):
            return model.casefold().startswith(self.model[:-1])
        return model.casefold() == self.model


def parse_overrides(text: str) -> tuple[PriceOverride, ...]:
    """Return the rows of a table in JSON or YAML.

    Raises:
        ConfigError: the text is neither, or rows have problems; all of them are listed.
    """
    table = _loaded(text)
    rows = table.get("prices") if isinstance(table, Mapping) else table
    if not isinstance(rows, list):
        raise ConfigError("price overrides: expected a list of rows, or an object with a list 'prices'")
    problems: list[str] = []
    parsed = [_row(row, f"prices[{place}]", problems) for place, row in enumerate(rows)]
    if problems:
        raise ConfigError(problems)
    return tuple(row for row in parsed if row is not None)


def shipped_overrides() -> tuple[PriceOverride, ...]:
    """Read and return the table shipped with the package. For ``config`` to call, once."""
    from importlib import resources

    return parse_overrides(resources.files(__package__).joinpath("overrides.json").read_text(encoding="utf-8"))


def override_for(provider: str, model: str, on: date, overrides: Iterable[PriceOverride]) -> PriceOverride | None:
    """Return the row that holds: the exact name before a prefix, then the latest start, then the last in the table."""
    best: PriceOverride | None = None
    rank: tuple[bool, int, date] | None = None
    for row in overrides:
        if not row.covers(provider, model, on):
            continue
        row_rank = (not row.model.endswith("*"), len(row.model), row.first)
        if rank is None or row_rank >= rank:
            best, rank = row, row_rank
    return best


def price_from(spec: Mapping[str, object], place: str, problems: list[str]) -> Price | None:
    """Return the price that the price fields of ``spec`` give, USD per million tokens; problems are appended.

    Args:
        spec: ``PRICE_FIELDS`` and optionally ``as_of`` and ``source``; other keys are the caller's to check.
        place: where it stands (``prices[3]``), for the messages.
        problems: gets one line for each problem; then the answer is None.
    """
    before = len(problems)
    as_of, source = str(spec.get("as_of", "") or ""), str(spec.get("source", "") or "")
    free = _flag(spec.get("free"), f"{place}.free", problems)
    rates = {name: _rate(spec.get(name), f"{place}.{name}", problems) for name in PRICE_FIELDS[:5]}
    percent = spec.get("batch_percent", 100)
    if isinstance(percent, bool) or not isinstance(percent, int) or not 1 <= percent <= 100:
        problems.append(f"{place}.batch_percent: expected a whole number from 1 to 100, got {percent!r}")
        percent = 100
    if free and any(rates.values()):
        problems.append(f"{place}.free: declared free but has prices; drop one of the two")
    for name in ("input", "output"):
        if not free and rates[name] is None and spec.get(name) is None:
            problems.append(f"{place}.{name}: missing (USD per million tokens)")
    if not free and rates["input"] == 0 and rates["output"] == 0:
        problems.append(f"{place}.input: a price of 0 must be declared with free: true")
    bands = _bands(spec.get("bands"), f"{place}.bands", problems)
    if len(problems) > before:
        return None
    fresh = rates["input"] or 0
    read, write = rates["cache_read"], rates["cache_write"]
    return Price(
        input=fresh,
        output=rates["output"] or 0,
        cache_read=fresh if read is None else read,
        cache_write=fresh if write is None else write,
        cache_write_1h=rates["cache_write_1h"] or 0,
        batch_percent=percent,
        bands=bands,
        as_of=as_of,
        source=source,
        free=free,
    )


def micro_usd(amount: object) -> int | None:
    """Return USD per million tokens as micro-USD per million tokens, half-even; None: not a price at all."""
    if isinstance(amount, bool) or not isinstance(amount, (int, float, str, Decimal)):
        return None
    try:
        # A float comes from YAML or JSON text: its shortest form is what was written.
        exact = Decimal(str(amount).strip()) * _MICRO
    except InvalidOperation:
        return None
    if not exact.is_finite() or not 0 <= exact <= _DEAREST:
        return None
    return int(exact.to_integral_value(rounding="ROUND_HALF_EVEN"))


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        import yaml  # only for tables that are not JSON, as the shipped one is

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"price overrides: neither JSON nor YAML: {error}") from None


def _row(row: object, place: str, problems: list[str]) -> PriceOverride | None:
    before = len(problems)
    if not isinstance(row, Mapping):
        problems.append(f"{place}: expected an object, got {type(row).__name__}")
        return None
    _unknown(row, _ROW_FIELDS, place, problems)
    provider, model = row.get("provider", "*"), row.get("model")
    if not isinstance(provider, str) or not provider:
        problems.append(f"{place}.provider: expected a name or '*', got {provider!r}")
    if not isinstance(model, str) or not model:
        problems.append(f"{place}.model: expected a model's name, got {model!r}")
    first = _day(row.get("from"), f"{place}.from", problems)
    last = date.max if row.get("until") is None else _day(row["until"], f"{place}.until", problems)
    if first and last and last < first:
        problems.append(f"{place}.until: {last} is before from: {first}")
    price = price_from(row, place, problems)
    if len(problems) > before or price is None or first is None or last is None:
        return None
    price = msgspec.structs.replace(
        price,
        as_of=price.as_of or first.isoformat(),
        source=f"override: {price.source}" if price.source else "override",
    )
    return PriceOverride(
        provider=str(provider).casefold(), model=str(model).casefold(), first=first, last=last, price=price
    )


def _bands(bands: object, place: str, problems: list[str]) -> tuple[PriceBand, ...]:
    if bands is None:
        return ()
    if not isinstance(bands, list):
        problems.append(f"{place}: expected a list, got {type(bands).__name__}")
        return ()
    parsed: list[PriceBand] = []
    for number, band in enumerate(bands):
        here, before = f"{place}[{number}]", len(problems)
        if not isinstance(band, Mapping):
            problems.append(f"{here}: expected an object, got {type(band).__name__}")
            continue
        _unknown(band, _BAND_FIELDS, here, problems)
        above = band.get("above_input_tokens")
        if isinstance(above, bool) or not isinstance(above, int) or above < 1:
            problems.append(f"{here}.above_input_tokens: expected a whole number above 0, got {above!r}")
        elif parsed and above <= parsed[-1].above_input_tokens:
            problems.append(f"{here}.above_input_tokens: bands must ascend")
        marginal = _flag(band.get("marginal"), f"{here}.marginal", problems)
        fresh, output, read, write = (
            _rate(band.get(name), f"{here}.{name}", problems)
            for name in ("input", "output", "cache_read", "cache_write")
        )
        if not fresh or not output:
            problems.append(f"{here}: expected prices above 0 for input and output")
        elif len(problems) == before and isinstance(above, int):
            parsed.append(
                PriceBand(
                    above_input_tokens=above,
                    input=fresh,
                    output=output,
                    cache_read=fresh if read is None else read,
                    cache_write=fresh if write is None else write,
                    marginal=marginal,
                )
            )
    return tuple(parsed)


def _unknown(row: Mapping[str, object], known: frozenset[str], place: str, problems: list[str]) -> None:
    problems.extend(
        f"{place}.{name}: unknown field; known are {', '.join(sorted(known))}" for name in row if name not in known
    )


def _rate(amount: object, place: str, problems: list[str]) -> int | None:
    if amount is None:
        return None
    rate = micro_usd(amount)
    if rate is None:
        problems.append(f"{place}: expected USD per million tokens, a number from 0 to 1,000,000, got {amount!r}")
    elif rate == 0 and Decimal(str(amount).strip()):
        problems.append(f"{place}: {amount!r} is below the smallest price that can be counted, 0.000001; use 0 or that")
    return rate


def _flag(flag: object, place: str, problems: list[str]) -> bool:
    if flag is not None and not isinstance(flag, bool):
        problems.append(f"{place}: expected true or false, got {flag!r}")
    return flag is True


def _day(day: object, place: str, problems: list[str]) -> date | None:
    if type(day) is date:
        return day  # YAML reads bare dates itself
    try:
        return date.fromisoformat(day if isinstance(day, str) else "")
    except ValueError:
        problems.append(f"{place}: expected a date like 2026-11-22, got {day!r}")
        return None
