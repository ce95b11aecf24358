"""The one price engine: tokens and price lists in, exact costs out, prompt caches included.

Law: integers only. A price is pico-dollars per token (= micro-dollars per million tokens), so ``tokens * price`` is an
exact number of pico-dollars; each line of a ``Cost`` is rounded to nano-dollars once, half to even, and the total is
the sum of the lines. No clock, no file, no catalogue: whoever calls passes the price, the cache entry and the time.

The cache model (methods of cache-aware routing; TwinRouterBench, arXiv 2605.18859, is its special case with
``cacheable`` = the whole prompt and 300 seconds to live), for a prompt of L tokens whose cacheable prefix is Lc::

    cached = the tokens of an unexpired entry, at most L, rounded down to the provider's step; 0 below its minimum
    cost   = read * cached + write * max(0, Lc - cached) + input * (L - max(Lc, cached)) + output * o

Caches belong to one model and share nothing. Whoever rewrites the prompt's head (tools, system prompt, compaction) must
drop the entry: this module cannot see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction

import msgspec

from agentrouter.errors import InputError
from agentrouter.types import CacheEntry, Candidate, Cost, Price, StepRecord, TokenCounts, Usage

MAX_TOKENS = 10**12
"""More tokens than this in one count is a corrupt record, not a call."""

_PICO_PER_NANO = 1_000
_LIST_PERCENT = 100
_USAGE_COUNTS = ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output")


def price_usage(usage: Usage, price: Price, *, batch: bool = False) -> Cost:
    """Return what ``usage`` costs at ``price``, nano-dollars by line.

    Bands are applied in ascending order: a cliff band that the call's whole input exceeds replaces every price, a
    marginal band replaces the input prices of the tokens above it. Tokens lie in the prompt in the order cache read,
    one-hour write, five-minute write, fresh. A batch call costs ``batch_percent`` of each line.

    Raises:
        InputError: a count is negative, above ``MAX_TOKENS`` or not a whole number; names the field.
    """
    fresh, read, write, long_write = usage.fresh_input, usage.cache_read, usage.cache_write, usage.cache_write_1h
    output = usage.output
    try:
        # One OR tests all five: it is negative if any is, at least as large as each, and refuses floats.
        if not 0 <= fresh | read | write | long_write | output <= MAX_TOKENS:
            _check_usage(usage)
    except TypeError:
        _check_usage(usage)
    if batch or (price.bands and usage.input_total > price.bands[0].above_input_tokens):
        return _priced_by_band(usage, price, price.batch_percent if batch else _LIST_PERCENT)
    written = write * price.cache_write
    if long_write:
        written += long_write * (price.cache_write_1h or price.cache_write)
    fresh *= price.input
    read *= price.cache_read
    output *= price.output
    # Half-even to nano-dollars, written out four times: a call per line would double the time of this function, which
    # a replay runs a million times. (n + 500) // 1000 rounds half up; an exact half then drops to the even neighbour.
    fresh_nusd = (fresh + 500) // 1000
    if fresh % 1000 == 500:
        fresh_nusd &= -2
    read_nusd = (read + 500) // 1000
    if read % 1000 == 500:
        read_nusd &= -2
    write_nusd = (written + 500) // 1000
    if written % 1000 == 500:
        write_nusd &= -2
    output_nusd = (output + 500) // 1000
    if output % 1000 == 500:
        output_nusd &= -2
    return Cost(fresh_input=fresh_nusd, cache_read=read_nusd, cache_write=write_nusd, output=output_nusd)


def simulate_usage(candidate: Candidate, tokens: TokenCounts, entry: CacheEntry | None, now: float) -> Usage:
    """Return the usage a call of ``candidate`` would report, given the prefix it holds in its cache.

    Where ``writes_billed`` is false the uncached tokens are fresh input; a one-hour write is never simulated.

    Raises:
        InputError: ``tokens`` has a count out of range; names the field.
    """
    cached, kept = _cached_and_kept(candidate, tokens, entry, now)
    total = tokens.input
    if candidate.cache.writes_billed and kept > cached:
        return Usage(
            fresh_input=total - kept,
            cache_read=cached,
            cache_write=kept - cached,
            output=tokens.output,
            estimated=tokens.estimated,
        )
    return Usage(fresh_input=total - cached, cache_read=cached, output=tokens.output, estimated=tokens.estimated)


def cache_after(candidate: Candidate, tokens: TokenCounts, entry: CacheEntry | None, now: float) -> CacheEntry | None:
    """Return the prefix ``candidate`` holds in its cache after the call; None: nothing.

    A call too short to be cached leaves a live entry as it was. Without ``refresh_on_read`` a prefix that was read
    keeps its old expiry, since what was added to it is of no use once its head is gone.

    Raises:
        InputError: ``tokens`` has a count out of range; names the field.
    """
    cached, kept = _cached_and_kept(candidate, tokens, entry, now)
    if kept < cached:
        kept = cached
    if not kept:
        return entry if entry is not None and now <= entry.expires_at else None
    if cached and entry is not None and not candidate.cache.refresh_on_read:
        return CacheEntry(kept, entry.expires_at)
    return CacheEntry(kept, now + candidate.cache.ttl_s)


def quote(
    candidate: Candidate, tokens: TokenCounts, entry: CacheEntry | None, now: float, *, batch: bool = False
) -> Cost:
    """Return what the call would cost: ``price_usage`` of ``simulate_usage``.

    Raises:
        InputError: ``tokens`` has a count out of range; names the field.
    """
    return price_usage(simulate_usage(candidate, tokens, entry, now), candidate.price, batch=batch)


def amortised_price(
    *,
    watts: Decimal | int | str,
    usd_per_kwh: Decimal | int | str,
    hardware_usd_per_hour: Decimal | int | str,
    input_tokens_per_s: Decimal | int | str,
    output_tokens_per_s: Decimal | int | str,
    as_of: str = "",
) -> Price:
    """Return the price of a model on one's own machine, from power, hardware and measured speed.

    USD per token = (watts / 1000 * usd_per_kwh + hardware_usd_per_hour) / 3600 / tokens_per_s, for input (prefill) and
    output (decoding) apart, rounded half-even to pico-dollars per token and never below 1. ``hardware_usd_per_hour`` is
    the purchase price divided by the hours it will be busy. Reading a cached prefix skips its prefill and costs 0;
    keeping one costs what computing it cost. Figures with decimals are given as ``Decimal`` or text, to stay exact.

    Raises:
        InputError: a figure is not a number, a speed is not positive, or power and hardware are negative or both zero.
    """
    figures = {
        "watts": _exact("watts", watts),
        "usd_per_kwh": _exact("usd_per_kwh", usd_per_kwh),
        "hardware_usd_per_hour": _exact("hardware_usd_per_hour", hardware_usd_per_hour),
        "input_tokens_per_s": _exact("input_tokens_per_s", input_tokens_per_s),
        "output_tokens_per_s": _exact("output_tokens_per_s", output_tokens_per_s),
    }
    for field, figure in figures.items():
        if figure < 0 or (figure == 0 and field.endswith("_per_s")):
            raise InputError(
                f"expected a number {'above' if figure == 0 else 'of at least'} 0, got {figure}", field=field
            )
    hourly_usd = figures["watts"] / 1000 * figures["usd_per_kwh"] + figures["hardware_usd_per_hour"]
    if not hourly_usd:
        raise InputError("power and hardware are both 0: declare the model free instead", field="hardware_usd_per_hour")
    pico_per_s = hourly_usd * 10**12 / 3600
    input_price = max(1, round(pico_per_s / figures["input_tokens_per_s"]))
    output_price = max(1, round(pico_per_s / figures["output_tokens_per_s"]))
    return Price(
        input=input_price, output=output_price, cache_read=0, cache_write=input_price, as_of=as_of, source="amortised"
    )


def format_usd(nusd: int) -> str:
    """Return ``nusd`` nano-dollars as text, to the micro-dollar (half-even): ``$0.095350``, ``-$1,200.000000``.

    Less than a micro-dollar is printed to the nano-dollar: a cost that is not zero never reads as zero.
    """
    sign, size = ("-" if nusd < 0 else ""), abs(nusd)
    if 0 < size < _PICO_PER_NANO:
        return f"{sign}$0.{size:09d}"
    micro = _half_even(size, _PICO_PER_NANO)
    return f"{sign}${micro // 1_000_000:,}.{micro % 1_000_000:06d}"


class BillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as it enters a bill."""

    role: str
    tier: str
    model: str
    """The candidate's name."""
    trajectory: str
    steps: int = 1
    """1 on the last attempt of a step, 0 on the ones before it: a step is counted once, where it ended."""
    usage: Usage = Usage()
    cost: Cost = Cost()


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over some rows of a bill: steps, attempts, tokens, nano-dollars."""

    steps: int = 0
    attempts: int = 0
    usage: Usage = Usage()
    cost: Cost = Cost()


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a set of steps cost, cut four ways; in each cut the lines add up to ``total`` exactly."""

    total: BillLine = BillLine()
    by_role: dict[str, BillLine] = {}
    by_tier: dict[str, BillLine] = {}
    by_model: dict[str, BillLine] = {}
    by_trajectory: dict[str, BillLine] = {}

    @classmethod
    def of(cls, rows: Iterable[BillRow]) -> Bill:
        """Add up ``rows``, in one pass; the keys of each cut are in order of appearance."""
        cuts: tuple[dict[str, list[int]], ...] = ({}, {}, {}, {}, {})
        for row in rows:
            usage, cost = row.usage, row.cost
            figures = (
                *(row.steps, 1, usage.fresh_input, usage.cache_read, usage.cache_write, usage.cache_write_1h),
                *(usage.output, usage.reasoning, usage.estimated),
                *(cost.fresh_input, cost.cache_read, cost.cache_write, cost.output, cost.other),
            )
            for cut, key in zip(cuts, ("", row.role, row.tier, row.model, row.trajectory), strict=True):
                sums = cut.get(key)
                if sums is None:
                    cut[key] = list(figures)
                    continue
                for place, figure in enumerate(figures):
                    sums[place] += figure
        total, *lines = ({key: _line(sums) for key, sums in cut.items()} for cut in cuts)
        by_role, by_tier, by_model, by_trajectory = lines
        return cls(
            total=total.get("", BillLine()),
            by_role=by_role,
            by_tier=by_tier,
            by_model=by_model,
            by_trajectory=by_trajectory,
        )


def bill_rows(record: StepRecord) -> Iterator[BillRow]:
    """Yield one row for each attempt of ``record``; what its checks cost is in ``cost.other``.

    A step without any attempt gives one row without tier, model and cost, so that bills count every step.
    """
    role, trajectory = record.step.role, record.step.trajectory_id
    if not record.attempts:
        yield BillRow(role=role, tier="", model="", trajectory=trajectory)
    last = len(record.attempts) - 1
    for place, attempt in enumerate(record.attempts):
        checks = sum(verdict.cost_nusd for verdict in attempt.outcome.verdicts)
        cost = attempt.cost
        yield BillRow(
            role=role,
            tier=attempt.candidate.tier.label,
            model=attempt.candidate.name,
            trajectory=trajectory,
            steps=int(place == last),
            usage=attempt.outcome.usage,
            cost=msgspec.structs.replace(cost, other=cost.other + checks) if checks else cost,
        )


def _line(sums: list[int]) -> BillLine:
    return BillLine(
        steps=sums[0],
        attempts=sums[1],
        usage=Usage(
            fresh_input=sums[2],
            cache_read=sums[3],
            cache_write=sums[4],
            cache_write_1h=sums[5],
            output=sums[6],
            reasoning=sums[7],
            estimated=sums[8] > 0,
        ),
        cost=Cost(fresh_input=sums[9], cache_read=sums[10], cache_write=sums[11], output=sums[12], other=sums[13]),
    )


def _cached_and_kept(
    candidate: Candidate, tokens: TokenCounts, entry: CacheEntry | None, now: float
) -> tuple[int, int]:
    """Return (tokens read from the cache, tokens of the cacheable prefix), both rounded to the provider's step."""
    total, kept = tokens.input, tokens.cacheable
    try:
        if not (0 <= total | tokens.output <= MAX_TOKENS and -1 <= kept <= MAX_TOKENS):
            _check_tokens(tokens)
    except TypeError:
        _check_tokens(tokens)
    terms = candidate.cache
    if not terms.enabled:
        return 0, 0
    if kept < 0 or kept > total:
        kept = total
    step, least = terms.step_tokens, terms.min_tokens
    cached = 0
    if entry is not None and now <= entry.expires_at:
        cached = entry.tokens
        if cached > total:
            cached = total
        if step > 1:
            cached -= cached % step
        if cached < least:
            cached = 0
    if step > 1:
        kept -= kept % step
    if kept < least:
        kept = 0
    return cached, kept


def _priced_by_band(usage: Usage, price: Price, percent: int) -> Cost:
    """Price a call with long-context bands, a batch discount, or both."""
    total = usage.input_total
    segments: list[tuple[int, Price]] = [(0, price)]
    for band in price.bands:
        if total <= band.above_input_tokens:
            break
        banded = Price(
            input=band.input,
            output=band.output,
            cache_read=band.cache_read,
            cache_write=band.cache_write,
            cache_write_1h=_banded_1h(price, band.cache_write),
        )
        segments = [*segments, (band.above_input_tokens, banded)] if band.marginal else [(0, banded)]
    fresh = read = written = 0
    read_end = usage.cache_read
    long_end = read_end + usage.cache_write_1h
    write_end = long_end + usage.cache_write
    for place, (start, rates) in enumerate(segments):
        end = segments[place + 1][0] if place + 1 < len(segments) else total
        read += _overlap(0, read_end, start, end) * rates.cache_read
        written += _overlap(read_end, long_end, start, end) * (rates.cache_write_1h or rates.cache_write)
        written += _overlap(long_end, write_end, start, end) * rates.cache_write
        fresh += _overlap(write_end, total, start, end) * rates.input
    divisor = _PICO_PER_NANO * _LIST_PERCENT
    return Cost(
        fresh_input=_half_even(fresh * percent, divisor),
        cache_read=_half_even(read * percent, divisor),
        cache_write=_half_even(written * percent, divisor),
        output=_half_even(usage.output * segments[0][1].output * percent, divisor),
    )


def _banded_1h(price: Price, band_write: int) -> int:
    """Price of a one-hour write in a band: bands do not list it, so it keeps its ratio to the five-minute write."""
    if not price.cache_write_1h or not price.cache_write:
        return price.cache_write_1h and max(price.cache_write_1h, band_write)
    return _half_even(band_write * price.cache_write_1h, price.cache_write)


def _overlap(first: int, last: int, start: int, end: int) -> int:
    return max(0, min(last, end) - max(first, start))


def _half_even(numerator: int, divisor: int) -> int:
    """Divide two non-negative integers, a half going to the even neighbour."""
    quotient, rest = divmod(numerator, divisor)
    if 2 * rest > divisor or (2 * rest == divisor and quotient & 1):
        quotient += 1
    return quotient


def _check_usage(usage: Usage) -> None:
    for field in _USAGE_COUNTS:
        _check_count(getattr(usage, field), field, 0)


def _check_tokens(tokens: TokenCounts) -> None:
    _check_count(tokens.input, "input", 0)
    _check_count(tokens.output, "output", 0)
    _check_count(tokens.cacheable, "cacheable", -1)


def _check_count(count: object, field: str, least: int) -> None:
    if not isinstance(count, int) or not least <= count <= MAX_TOKENS:
        raise InputError(f"expected a whole number of tokens from {least} to {MAX_TOKENS}, got {count!r}", field=field)


def _exact(field: str, figure: Decimal | int | str) -> Fraction:
    try:
        return Fraction(figure)
    except (ValueError, OverflowError, TypeError, ZeroDivisionError):
        raise InputError(f"expected a number, got {figure!r}", field=field) from None
