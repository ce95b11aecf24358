"""The price engine: exactness, caches, bands, batch, refusals, summing up."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter import bill
from agentrouter.errors import InputError
from agentrouter.types import (
    Attempt,
    AttemptKind,
    CacheEntry,
    CacheTerms,
    Candidate,
    Cost,
    DependencyFeatures,
    LoadFeatures,
    Outcome,
    Price,
    PriceBand,
    RoleFeatures,
    SemanticFeatures,
    StateFeatures,
    Status,
    Step,
    StepFeatures,
    StepRecord,
    Tier,
    TokenCounts,
    Usage,
    Verdict,
)

PRICE = Price(input=3_000_000, output=15_000_000, cache_read=300_000, cache_write=3_750_000, cache_write_1h=6_000_000)


def candidate(price: Price = PRICE, *, name: str = "p/m", tier: Tier = Tier.MID, **terms: Any) -> Candidate:
    return Candidate(name=name, provider="p", model="m", tier=tier, price=price, cache=CacheTerms(**terms))


# Strategies: sizes up to a long context, prices up to 200 USD per million.

SIZES = st.integers(0, 2_000_000)
RATES = st.integers(0, 200_000_000)
PLAIN_PRICES = st.builds(
    Price,
    input=RATES,
    output=RATES,
    cache_read=RATES,
    cache_write=RATES,
    cache_write_1h=RATES,
    batch_percent=st.just(50),
)
BANDS = st.lists(
    st.builds(
        PriceBand,
        above_input_tokens=st.integers(1, 2_000_000),
        input=RATES,
        output=RATES,
        cache_read=RATES,
        cache_write=RATES,
        marginal=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda band: band.above_input_tokens,
).map(lambda bands: tuple(sorted(bands, key=lambda band: band.above_input_tokens)))
PRICES = st.builds(lambda price, bands: msgspec.structs.replace(price, bands=bands), PLAIN_PRICES, BANDS)
USAGES = st.builds(Usage, fresh_input=SIZES, cache_read=SIZES, cache_write=SIZES, cache_write_1h=SIZES, output=SIZES)


def half_even(exact: Fraction) -> int:
    return round(exact)  # of a Fraction: exact, ties to even


class TestPriceUsage:
    def test_every_line_of_a_call(self) -> None:
        usage = Usage(fresh_input=1_000, cache_read=20_000, cache_write=400, cache_write_1h=100, output=50)
        # 1000 * 3000; 20000 * 300; 400 * 3750 + 100 * 6000 = 1500000 + 600000; 50 * 15000 (nano-USD a token)
        expected = Cost(fresh_input=3_000_000, cache_read=6_000_000, cache_write=2_100_000, output=750_000)
        assert bill.price_usage(usage, PRICE) == expected

    def test_one_hour_writes_without_their_own_price_cost_the_plain_write(self) -> None:
        price = msgspec.structs.replace(PRICE, cache_write_1h=0)
        assert bill.price_usage(Usage(cache_write_1h=100), price).cache_write == 375_000  # 100 * 3750

    def test_reasoning_is_not_billed_twice(self) -> None:
        assert bill.price_usage(Usage(output=50, reasoning=50), PRICE).total == 750_000

    @pytest.mark.parametrize(
        ("pico", "nano"), [(499, 0), (500, 0), (501, 1), (1_499, 1), (1_500, 2), (2_500, 2), (2_501, 3), (3_500, 4)]
    )
    @pytest.mark.parametrize("line", ["fresh_input", "cache_read", "cache_write", "output"])
    def test_a_line_is_rounded_half_to_even(self, line: str, pico: int, nano: int) -> None:
        price = Price(input=pico, output=pico, cache_read=pico, cache_write=pico)
        usage = msgspec.structs.replace(Usage(), **{line: 1})
        assert getattr(bill.price_usage(usage, price), line) == nano

    def test_batch_is_rounded_once_and_half_to_even(self) -> None:
        price = Price(input=1_001, output=3_000, cache_read=0, cache_write=0, batch_percent=50)
        # 1 * 1001 * 50 % = 500.5 pico: above half of a nano. Rounding twice (1001 -> 1, 1 * 50 % -> 0) would give 0.
        # 1 * 3000 * 50 % = 1500 pico: a tie, to the even 2.
        assert bill.price_usage(Usage(fresh_input=1, output=1), price, batch=True) == Cost(fresh_input=1, output=2)

    @given(usage=USAGES, price=PLAIN_PRICES, batch=st.booleans())
    def test_agrees_with_exact_fractions(self, usage: Usage, price: Price, batch: bool) -> None:
        share = Fraction(price.batch_percent if batch else 100, 100) / 1_000
        one_hour = price.cache_write_1h or price.cache_write
        assert bill.price_usage(usage, price, batch=batch) == Cost(
            fresh_input=half_even(usage.fresh_input * price.input * share),
            cache_read=half_even(usage.cache_read * price.cache_read * share),
            cache_write=half_even((usage.cache_write * price.cache_write + usage.cache_write_1h * one_hour) * share),
            output=half_even(usage.output * price.output * share),
        )

    @given(usage=USAGES, price=PRICES, batch=st.booleans())
    def test_total_is_the_sum_of_the_lines(self, usage: Usage, price: Price, batch: bool) -> None:
        cost = bill.price_usage(usage, price, batch=batch)
        assert cost.total == cost.fresh_input + cost.cache_read + cost.cache_write + cost.output
        assert cost.other == 0
        assert all(isinstance(line, int) and line >= 0 for line in msgspec.structs.astuple(cost))

    @given(
        usage=USAGES,
        price=PLAIN_PRICES,
        more=st.integers(1, 1_000_000),
        field=st.sampled_from(["fresh_input", "cache_read", "cache_write", "cache_write_1h", "output"]),
    )
    def test_more_tokens_never_cost_less(self, usage: Usage, price: Price, more: int, field: str) -> None:
        larger = msgspec.structs.replace(usage, **{field: getattr(usage, field) + more})
        assert bill.price_usage(larger, price).total >= bill.price_usage(usage, price).total

    @given(usage=USAGES, price=PRICES)
    def test_half_price_batch_is_half_to_the_nano(self, usage: Usage, price: Price) -> None:
        full, half = bill.price_usage(usage, price), bill.price_usage(usage, price, batch=True)
        for line in ("fresh_input", "cache_read", "cache_write", "output"):
            # Each of the two roundings is off by at most half a nano: |2 * half - full| <= 1.5, so at most 1.
            assert abs(2 * getattr(half, line) - getattr(full, line)) <= 1

    def test_the_largest_counts_are_exact(self) -> None:
        price = Price(input=7, output=200_000_000, cache_read=1, cache_write=1)
        usage = Usage(fresh_input=bill.MAX_TOKENS, output=bill.MAX_TOKENS)
        # 10**12 * 7 / 1000 and 10**12 * 2 * 10**8 / 1000 nano-USD: beyond what a float holds
        assert bill.price_usage(usage, price) == Cost(fresh_input=7 * 10**9, output=2 * 10**17)


class TestRefusals:
    @pytest.mark.parametrize("count", [-1, bill.MAX_TOKENS + 1, 2**40, 2**41, 1.0, 1.5, float("nan"), "7", None])
    @pytest.mark.parametrize("field", ["fresh_input", "cache_read", "cache_write", "cache_write_1h", "output"])
    def test_absurd_usage_is_refused_by_name(self, field: str, count: Any) -> None:
        with pytest.raises(InputError) as refused:
            bill.price_usage(Usage(**{field: count}), PRICE)
        assert refused.value.field == field
        assert repr(count) in refused.value.message

    @pytest.mark.parametrize(
        ("field", "count"),
        [
            *(("input", count) for count in (-1, bill.MAX_TOKENS + 1, 2.5, None)),
            *(("output", count) for count in (-1, bill.MAX_TOKENS + 1, 2.5, None)),
            *(("cacheable", count) for count in (-2, bill.MAX_TOKENS + 1, None)),
        ],
    )
    def test_absurd_counts_are_refused_by_name(self, field: str, count: Any) -> None:
        tokens = TokenCounts(**{field: count})
        for call in (bill.simulate_usage, bill.cache_after, bill.quote):
            with pytest.raises(InputError) as refused:
                call(candidate(), tokens, None, 0.0)
            assert refused.value.field == field

    def test_large_counts_that_only_together_exceed_the_limit_are_fine(self) -> None:
        # 2**39 | (2**39 - 1) = 2**40 - 1 > 10**12, though each is below: the quick test must not refuse them.
        price = Price(input=1_000, output=1_000, cache_read=0, cache_write=0)
        usage = Usage(fresh_input=2**39, output=2**39 - 1)
        assert bill.price_usage(usage, price) == Cost(fresh_input=2**39, output=2**39 - 1)


LONG = PriceBand(above_input_tokens=100, input=6_000, output=22_000, cache_read=600, cache_write=7_500)
BANDED = Price(input=3_000, output=15_000, cache_read=300, cache_write=3_750, cache_write_1h=6_000, bands=(LONG,))


class TestBands:
    def test_at_the_threshold_the_base_price_holds(self) -> None:
        assert bill.price_usage(Usage(fresh_input=100, output=1), BANDED) == Cost(fresh_input=300, output=15)

    def test_above_it_a_cliff_prices_everything_anew(self) -> None:
        usage = Usage(fresh_input=1, cache_read=60, cache_write=30, cache_write_1h=10, output=2)
        # total 101 > 100: 1 * 6; 60 * .6 = 36; 30 * 7.5 + 10 * (6000 * 7500 / 3750 = 12000) = 225 + 120; 2 * 22
        assert bill.price_usage(usage, BANDED) == Cost(fresh_input=6, cache_read=36, cache_write=345, output=44)

    def test_marginal_band_prices_only_what_lies_above(self) -> None:
        price = msgspec.structs.replace(BANDED, bands=(msgspec.structs.replace(LONG, marginal=True),))
        usage = Usage(fresh_input=60, cache_read=50, cache_write=20, output=2)
        # prompt order: 50 read, 20 written, 60 fresh; the last 30 fresh tokens (101..130) lie above.
        # read 50 * .3 = 15; written 20 * 3.75 = 75; fresh 30 * 3 + 30 * 6 = 270; output stays at 15: 30
        assert bill.price_usage(usage, price) == Cost(fresh_input=270, cache_read=15, cache_write=75, output=30)

    def test_marginal_band_that_begins_inside_the_cached_prefix(self) -> None:
        price = msgspec.structs.replace(BANDED, bands=(msgspec.structs.replace(LONG, marginal=True),))
        # read 150: 100 * .3 + 50 * .6 = 60; fresh 10 * 6 = 60
        assert bill.price_usage(Usage(cache_read=150, fresh_input=10), price) == Cost(fresh_input=60, cache_read=60)

    def test_one_hour_write_takes_the_ratio_of_the_base_list(self) -> None:
        # band write 7500 * 6000 / 3750 = 12000 pico a token
        assert bill.price_usage(Usage(cache_write_1h=200), BANDED).cache_write == 2_400

    def test_one_hour_write_without_a_base_write_price_is_never_below_the_band(self) -> None:
        price = msgspec.structs.replace(BANDED, cache_write=0)
        assert bill.price_usage(Usage(cache_write_1h=200), price).cache_write == 1_500  # 200 * max(6000, 7500)

    def test_one_hour_write_without_its_own_price_is_the_bands_write(self) -> None:
        price = msgspec.structs.replace(BANDED, cache_write_1h=0)
        assert bill.price_usage(Usage(cache_write_1h=200), price).cache_write == 1_500  # 200 * 7500

    @given(price=PRICES, total=st.integers(0, 2_000_000), output=SIZES)
    def test_below_every_threshold_bands_change_nothing(self, price: Price, total: int, output: int) -> None:
        lowest = min((band.above_input_tokens for band in price.bands), default=total)
        usage = Usage(fresh_input=min(total, lowest), output=output)
        assert bill.price_usage(usage, price) == bill.price_usage(usage, msgspec.structs.replace(price, bands=()))

    @given(base=PLAIN_PRICES, split=st.integers(0, 2_000_000), usage=USAGES)
    def test_splitting_at_a_marginal_threshold_with_equal_prices_changes_nothing(
        self, base: Price, split: int, usage: Usage
    ) -> None:
        base = msgspec.structs.replace(base, cache_write=max(1, base.cache_write))
        same = PriceBand(
            above_input_tokens=split + 1,
            input=base.input,
            output=base.output,
            cache_read=base.cache_read,
            cache_write=base.cache_write,
            marginal=True,
        )
        banded = msgspec.structs.replace(base, bands=(same,))
        assert bill.price_usage(usage, banded) == bill.price_usage(usage, base)

    @given(base=PLAIN_PRICES, above=st.integers(1, 1_000_000))
    def test_marginal_is_continuous_where_a_cliff_jumps(self, base: Price, above: int) -> None:
        dear = PriceBand(
            above_input_tokens=above,
            input=2 * base.input,
            output=base.output,
            cache_read=0,
            cache_write=0,
            marginal=True,
        )
        price = msgspec.structs.replace(base, bands=(dear,))
        at, over = (bill.price_usage(Usage(fresh_input=size), price).total for size in (above, above + 1))
        # One more token costs one token at the band's price, give or take the two roundings to a nano-dollar.
        assert abs((over - at) - 2 * base.input / 1_000) <= 1


class TestCaches:
    def test_cold_call_writes_the_whole_prompt(self) -> None:
        usage = bill.simulate_usage(candidate(), TokenCounts(input=1_000, output=7), None, 0.0)
        assert usage == Usage(cache_write=1_000, output=7, estimated=True)

    def test_warm_call_reads_the_prefix_and_writes_the_rest(self) -> None:
        usage = bill.simulate_usage(candidate(), TokenCounts(input=1_000), CacheEntry(800, 60.0), 60.0)
        assert usage == Usage(cache_read=800, cache_write=200, estimated=True)

    def test_expired_entry_counts_for_nothing(self) -> None:
        usage = bill.simulate_usage(candidate(), TokenCounts(input=1_000), CacheEntry(800, 60.0), 60.001)
        assert usage == Usage(cache_write=1_000, estimated=True)

    def test_beyond_the_last_breakpoint_tokens_are_fresh(self) -> None:
        # formula: 500 read, 700 - 500 written, 1000 - 700 fresh
        tokens = TokenCounts(input=1_000, cacheable=700)
        usage = bill.simulate_usage(candidate(), tokens, CacheEntry(500, 60.0), 0.0)
        assert usage == Usage(cache_read=500, cache_write=200, fresh_input=300, estimated=True)

    def test_entry_longer_than_the_cacheable_part_is_read_whole(self) -> None:
        # formula with cached 900 > Lc 700: 900 read, nothing written, 1000 - max(700, 900) = 100 fresh
        tokens = TokenCounts(input=1_000, cacheable=700)
        usage = bill.simulate_usage(candidate(), tokens, CacheEntry(900, 60.0), 0.0)
        assert usage == Usage(cache_read=900, fresh_input=100, estimated=True)
        assert bill.cache_after(candidate(), tokens, CacheEntry(900, 60.0), 0.0) == CacheEntry(900, 300.0)

    def test_cacheable_part_beyond_the_prompt_is_the_prompt(self) -> None:
        usage = bill.simulate_usage(candidate(), TokenCounts(input=100, cacheable=500), None, 0.0)
        assert usage == Usage(cache_write=100, estimated=True)

    def test_shorter_prompt_reads_at_most_itself(self) -> None:
        usage = bill.simulate_usage(candidate(), TokenCounts(input=300), CacheEntry(800, 60.0), 0.0)
        assert usage == Usage(cache_read=300, estimated=True)

    def test_unbilled_writes_are_fresh_input(self) -> None:
        model = candidate(writes_billed=False)
        usage = bill.simulate_usage(model, TokenCounts(input=1_000), CacheEntry(800, 60.0), 0.0)
        assert usage == Usage(cache_read=800, fresh_input=200, estimated=True)
        assert bill.cache_after(model, TokenCounts(input=1_000), None, 0.0) == CacheEntry(1_000, 300.0)

    def test_cached_length_goes_down_to_the_step(self) -> None:
        model = candidate(min_tokens=1_024, step_tokens=128, writes_billed=False)
        # 1500 = 11 * 128 + 92: 1408 kept; then 1408 read of 3000 and 3000 = 23 * 128 + 56: 2944 kept
        entry = bill.cache_after(model, TokenCounts(input=1_500), None, 0.0)
        assert entry == CacheEntry(1_408, 300.0)
        usage = bill.simulate_usage(model, TokenCounts(input=3_000), entry, 10.0)
        assert usage == Usage(cache_read=1_408, fresh_input=1_592, estimated=True)
        assert bill.cache_after(model, TokenCounts(input=3_000), entry, 10.0) == CacheEntry(2_944, 310.0)

    def test_below_the_minimum_nothing_is_cached(self) -> None:
        model = candidate(min_tokens=1_024)
        assert bill.simulate_usage(model, TokenCounts(input=1_023), None, 0.0) == Usage(
            fresh_input=1_023, estimated=True
        )
        assert bill.cache_after(model, TokenCounts(input=1_023), None, 0.0) is None
        assert bill.cache_after(model, TokenCounts(input=1_024), None, 0.0) == CacheEntry(1_024, 300.0)

    def test_short_call_leaves_a_live_entry_alone_and_drops_a_dead_one(self) -> None:
        model, short = candidate(min_tokens=1_024), TokenCounts(input=50)
        assert bill.cache_after(model, short, CacheEntry(5_000, 60.0), 60.0) == CacheEntry(5_000, 60.0)
        assert bill.cache_after(model, short, CacheEntry(5_000, 60.0), 61.0) is None

    def test_reading_refreshes_unless_the_provider_does_not(self) -> None:
        tokens, entry = TokenCounts(input=1_000), CacheEntry(800, 60.0)
        assert bill.cache_after(candidate(ttl_s=100.0), tokens, entry, 50.0) == CacheEntry(1_000, 150.0)
        fixed = candidate(ttl_s=100.0, refresh_on_read=False)
        assert bill.cache_after(fixed, tokens, entry, 50.0) == CacheEntry(1_000, 60.0)
        assert bill.cache_after(fixed, tokens, entry, 61.0) == CacheEntry(1_000, 161.0)

    def test_provider_without_a_cache(self) -> None:
        model, tokens, entry = candidate(enabled=False), TokenCounts(input=9_000), CacheEntry(800, 60.0)
        assert bill.simulate_usage(model, tokens, entry, 0.0) == Usage(fresh_input=9_000, estimated=True)
        assert bill.cache_after(model, tokens, None, 0.0) is None

    def test_counts_from_a_trace_are_not_marked_as_estimates(self) -> None:
        tokens = TokenCounts(input=10, output=2, estimated=False)
        assert not bill.simulate_usage(candidate(), tokens, None, 0.0).estimated
        assert not bill.simulate_usage(candidate(writes_billed=False), tokens, None, 0.0).estimated


TERMS = st.builds(
    CacheTerms,
    enabled=st.booleans(),
    min_tokens=st.sampled_from([0, 1_024, 4_096]),
    step_tokens=st.sampled_from([1, 64, 128]),
    refresh_on_read=st.booleans(),
    writes_billed=st.booleans(),
)
TOKENS = st.builds(TokenCounts, input=SIZES, output=SIZES, cacheable=st.one_of(st.just(-1), SIZES))
ENTRIES = st.one_of(st.none(), st.builds(CacheEntry, SIZES, st.floats(0, 1_000)))
MODELS = st.builds(
    lambda price, terms: Candidate(name="p/m", provider="p", model="m", tier=Tier.MID, price=price, cache=terms),
    PLAIN_PRICES,
    TERMS,
)


class TestCacheProperties:
    @given(model=MODELS, tokens=TOKENS, entry=ENTRIES)
    def test_every_token_is_counted_once(self, model: Candidate, tokens: TokenCounts, entry: CacheEntry | None) -> None:
        usage = bill.simulate_usage(model, tokens, entry, 500.0)
        assert usage.input_total == tokens.input
        assert usage.output == tokens.output
        assert min(usage.fresh_input, usage.cache_read, usage.cache_write) >= 0

    @given(tokens=TOKENS, entry=ENTRIES, price=PLAIN_PRICES)
    def test_is_the_formula(self, tokens: TokenCounts, entry: CacheEntry | None, price: Price) -> None:
        # c = p_in * (r * cached + w * max(0, Lc - cached) + (L - max(Lc, cached))) + p_out * o, p_in r = cache_read
        size = tokens.input
        part = size if tokens.cacheable < 0 else min(size, tokens.cacheable)
        cached = min(entry.tokens, size) if entry is not None and entry.expires_at >= 500.0 else 0
        exact = (
            price.cache_read * cached
            + price.cache_write * max(0, part - cached)
            + price.input * (size - max(part, cached))
            + price.output * tokens.output
        )
        # Four lines, each rounded by at most half a nano-dollar.
        assert abs(bill.quote(candidate(price), tokens, entry, 500.0).total - Fraction(exact, 1_000)) <= 2

    @given(model=MODELS, tokens=TOKENS, entry=ENTRIES, read=st.integers(0, 100), write=st.integers(100, 300))
    def test_warm_is_never_dearer_than_cold_when_reads_are_cheap_and_writes_dear(
        self, model: Candidate, tokens: TokenCounts, entry: CacheEntry | None, read: int, write: int
    ) -> None:
        price = Price(input=100_000, output=500_000, cache_read=1_000 * read, cache_write=1_000 * write)
        model = msgspec.structs.replace(model, price=price)
        warm, cold = (bill.quote(model, tokens, each, 500.0).total for each in (entry, None))
        assert warm <= cold

    @given(model=MODELS, tokens=TOKENS, entry=ENTRIES)
    def test_what_was_cached_is_read_by_the_same_call_at_once(
        self, model: Candidate, tokens: TokenCounts, entry: CacheEntry | None
    ) -> None:
        after = bill.cache_after(model, tokens, entry, 500.0)
        again = bill.simulate_usage(model, tokens, after, 500.0)
        assert again.cache_write == 0
        first = bill.simulate_usage(model, tokens, entry, 500.0)
        assert again.cache_read >= first.cache_read

    @given(model=MODELS, tokens=TOKENS, entry=ENTRIES)
    def test_quote_is_the_price_of_the_simulated_usage(
        self, model: Candidate, tokens: TokenCounts, entry: CacheEntry | None
    ) -> None:
        usage = bill.simulate_usage(model, tokens, entry, 500.0)
        assert bill.quote(model, tokens, entry, 500.0) == bill.price_usage(usage, model.price)
        batched = bill.quote(model, tokens, entry, 500.0, batch=True)
        assert batched == bill.price_usage(usage, model.price, batch=True)


class TestLeavingAWarmFrontier:
    """The stay-or-leave inequality: a hop off a warm 30,000-token prefix pays only if it lasts."""

    FRONTIER = Price(input=5_000_000, output=25_000_000, cache_read=500_000, cache_write=6_250_000)
    EFFICIENT = Price(input=1_000_000, output=5_000_000, cache_read=100_000, cache_write=1_250_000)

    def run_of(self, steps: int) -> tuple[int, int]:
        """Cost of ``steps`` steps on the warm frontier and on the cold efficient model: +700 tokens, 200 out each."""
        totals = []
        for price, warm in ((self.FRONTIER, CacheEntry(30_000, 300.0)), (self.EFFICIENT, None)):
            entry: CacheEntry | None = warm
            model, total = candidate(price), 0
            for number in range(1, steps + 1):
                tokens = TokenCounts(input=30_000 + 700 * number, output=200)
                total += bill.quote(model, tokens, entry, 0.0).total
                entry = bill.cache_after(model, tokens, entry, 0.0)
            totals.append(total)
        return totals[0], totals[1]

    def test_one_step_loses_and_two_win(self) -> None:
        # Stay, step 1: 30000 * .5 + 700 * 6.25 + 200 * 25 = 15000 + 4375 + 5000 = 24375 micro-USD.
        # Leave, step 1: 30700 * 1.25 + 200 * 5 = 38375 + 1000 = 39375.
        assert self.run_of(1) == (24_375_000, 39_375_000)
        # Step 2, stay: 30700 * .5 + 4375 + 5000 = 24725; leave: 30700 * .1 + 700 * 1.25 + 1000 = 4945.
        assert self.run_of(2) == (49_100_000, 44_320_000)


class TestAmortisedPrice:
    def test_power_and_hardware_over_speed(self) -> None:
        price = bill.amortised_price(
            watts=360,
            usd_per_kwh="0.25",
            hardware_usd_per_hour="0.27",
            input_tokens_per_s=1_000,
            output_tokens_per_s=50,
        )
        # 0.36 kW * 0.25 + 0.27 = 0.36 USD an hour = 0.0001 USD a second = 100,000,000 pico-USD a second;
        # / 1000 = 100,000 pico a token (0.10 USD per million), / 50 = 2,000,000 (2.00 USD per million)
        assert price == Price(input=100_000, output=2_000_000, cache_read=0, cache_write=100_000, source="amortised")

    def test_rounds_half_to_even_and_never_to_nothing(self) -> None:
        # 3600 * n / 10**12 USD an hour is n pico-USD a second; 5 pico a second at 2 tokens a second is 2.5 -> 2.
        hourly = Decimal(3600 * 5) / Decimal(10**12)
        price = bill.amortised_price(
            watts=0, usd_per_kwh=0, hardware_usd_per_hour=hourly, input_tokens_per_s=1_000, output_tokens_per_s=2
        )
        assert (price.input, price.output) == (1, 2)

    @pytest.mark.parametrize(
        ("field", "figure"),
        [
            ("watts", -1),
            ("usd_per_kwh", "cheap"),
            ("hardware_usd_per_hour", "nan"),
            ("input_tokens_per_s", 0),
            ("output_tokens_per_s", "-3"),
        ],
    )
    def test_bad_figures_are_named(self, field: str, figure: Any) -> None:
        figures: dict[str, Any] = {
            "watts": 1,
            "usd_per_kwh": 1,
            "hardware_usd_per_hour": 1,
            "input_tokens_per_s": 1,
            "output_tokens_per_s": 1,
        }
        with pytest.raises(InputError) as refused:
            bill.amortised_price(**{**figures, field: figure})
        assert refused.value.field == field

    def test_costing_nothing_must_be_declared_and_not_computed(self) -> None:
        with pytest.raises(InputError, match="declare the model free"):
            bill.amortised_price(
                watts=100, usd_per_kwh=0, hardware_usd_per_hour=0, input_tokens_per_s=1, output_tokens_per_s=1
            )


@pytest.mark.parametrize(
    ("nusd", "text"),
    [
        (0, "$0.000000"),
        (1, "$0.000000001"),
        (999, "$0.000000999"),
        (1_000, "$0.000001"),
        (1_500, "$0.000002"),
        (2_500, "$0.000002"),
        (95_345_500, "$0.095346"),
        (1_234_567_890_123, "$1,234.567890"),
        (-2_000_000_000, "-$2.000000"),
        (-1, "-$0.000000001"),
    ],
)
def test_format_usd(nusd: int, text: str) -> None:
    assert bill.format_usd(nusd) == text


ROWS = st.lists(
    st.builds(
        bill.BillRow,
        role=st.sampled_from(["plan", "edit"]),
        tier=st.sampled_from([tier.label for tier in Tier]),
        model=st.sampled_from(["a/1", "b/2", "c/3"]),
        trajectory=st.sampled_from(["t1", "t2"]),
        steps=st.integers(0, 1),
        usage=USAGES,
        cost=st.builds(Cost, fresh_input=SIZES, cache_read=SIZES, cache_write=SIZES, output=SIZES, other=SIZES),
    ),
    max_size=20,
)


class TestBill:
    @given(rows=ROWS)
    def test_each_cut_adds_up_to_the_whole(self, rows: list[bill.BillRow]) -> None:
        whole = bill.Bill.of(rows)
        assert whole.total.cost.total == sum(row.cost.total for row in rows)
        assert whole.total.attempts == len(rows)
        for cut in (whole.by_role, whole.by_tier, whole.by_model, whole.by_trajectory):
            lines = cut.values()
            assert sum(line.steps for line in lines) == whole.total.steps
            assert sum(line.attempts for line in lines) == whole.total.attempts
            for name in Cost.__struct_fields__:
                assert sum(getattr(line.cost, name) for line in lines) == getattr(whole.total.cost, name)
            for name in ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning"):
                assert sum(getattr(line.usage, name) for line in lines) == getattr(whole.total.usage, name)

    def test_no_rows(self) -> None:
        assert bill.Bill.of([]) == bill.Bill()

    def test_escalated_step_is_one_step_with_two_attempts_and_its_checks(self) -> None:
        cheap, dear = candidate(name="a/1", tier=Tier.MINIMAL), candidate(name="b/2", tier=Tier.FRONTIER)
        judge = Verdict(verifier="judge", p_good=0.1, passed=False, cost_nusd=7)
        record = step_record(
            attempt(cheap, Cost(output=100, other=1), Usage(output=10, estimated=True), judge),
            attempt(dear, Cost(output=1_000), Usage(output=20)),
        )
        whole = bill.Bill.of(bill.bill_rows(record))
        assert whole.total.steps == 1
        assert whole.total.attempts == 2
        assert whole.total.cost == Cost(output=1_100, other=8)  # 1 on the attempt and 7 for the judge
        assert whole.total.cost.total == record.cost_nusd
        assert whole.by_tier["minimal"].cost.total == 108
        assert whole.by_tier["minimal"].steps == 0
        assert whole.by_tier["frontier"].steps == 1
        assert list(whole.by_model) == ["a/1", "b/2"]
        assert whole.by_role["edit"] == whole.by_trajectory["t1"] == whole.total
        assert whole.by_model["a/1"].usage.estimated
        assert not whole.by_model["b/2"].usage.estimated

    def test_step_that_was_never_attempted_still_counts(self) -> None:
        whole = bill.Bill.of(bill.bill_rows(step_record()))
        assert whole.total.steps == 1
        assert whole.total.cost == Cost()
        assert list(whole.by_model) == [""]


def attempt(model: Candidate, cost: Cost, usage: Usage, *verdicts: Verdict) -> Attempt:
    outcome = Outcome(usage=usage, verdicts=verdicts)
    return Attempt(candidate=model, number=1, kind=AttemptKind.FIRST, outcome=outcome, cost=cost)


def step_record(*attempts: Attempt) -> StepRecord:
    step = Step(id="s1", trajectory_id="t1", role="edit")
    return StepRecord(
        step=step,
        features=FEATURES,
        status=Status.OK,
        served=attempts[-1].candidate if attempts else None,
        decisions=(),
        attempts=attempts,
        excluded=(),
        started_at=0.0,
    )


FEATURES = StepFeatures(
    role=RoleFeatures(
        role="edit", kind=Step(id="s", trajectory_id="t").kind, verb="edit", is_tool_result=False, asks_question=False
    ),
    semantics=SemanticFeatures(instruction="", observation=""),
    load=LoadFeatures(
        prefix_tokens=0,
        new_tokens=0,
        n_messages=0,
        n_tools=0,
        tool_schema_tokens=0,
        code_share=0.0,
        data_share=0.0,
        n_images=0,
        n_files=0,
    ),
    state=StateFeatures(
        step_index=0,
        errors=0,
        steps_since_error=-1,
        last_is_error=False,
        repeated_calls=0,
        retries=0,
        tool_results=0,
        recent_tiers=(),
        switches=0,
        foreign_share=0.0,
    ),
    dependency=DependencyFeatures(reversible=True, contract_strictness=0, fan_out=0.0),
)
