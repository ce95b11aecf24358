"""Prices by model and day, from a price library filled by hand and, for old prices that stay, from the real one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal

import pytest
from genai_prices import data_snapshot, update_prices
from genai_prices import types as lib

from agentrouter.errors import UnknownPriceError
from agentrouter.prices import parse_overrides, price_of
from agentrouter.prices.lookup import window_of
from agentrouter.types import Price, PriceBand

ON = date(2026, 3, 1)


def tiers(base: str, *above: tuple[int, str]) -> lib.TieredPrices:
    return lib.TieredPrices(base=Decimal(base), tiers=[lib.Tier(start, Decimal(price)) for start, price in above])


def flat(**prices: str) -> lib.ModelPrice:
    return lib.ModelPrice(**{name: Decimal(price) for name, price in prices.items()})


def model(name: str, prices: lib.ModelPrice | list[lib.ConditionalPrice], **more: object) -> lib.ModelInfo:
    return lib.ModelInfo(id=name, match=lib.ClauseStartsWith(name), prices=prices, **more)  # type: ignore[arg-type]


MODELS = [
    model("plain", flat(input_mtok="2.5", output_mtok="10"), context_window=64_000),
    model(
        "cached",
        flat(input_mtok="3", output_mtok="15", cache_read_mtok="0.3", cache_write_mtok="3.75", cache_write_1h_mtok="6"),
    ),
    model(
        "storage",
        flat(input_mtok="0.30", output_mtok="2.5", cache_read_mtok="0.03", cache_write_mtok="0.0833333333333333"),
    ),
    model(
        "banded",
        lib.ModelPrice(
            input_mtok=tiers("1", (1_000, "2"), (5_000, "4")),
            output_mtok=tiers("5", (1_000, "7.5")),
            cache_read_mtok=Decimal("0.1"),
            cache_write_mtok=tiers("1.25", (1_000, "2.5"), (5_000, "5")),
        ),
    ),
    model(
        "changed",
        [
            lib.ConditionalPrice(prices=flat(input_mtok="10", output_mtok="30")),
            lib.ConditionalPrice(
                lib.StartDateConstraint(date(2026, 3, 1)), prices=flat(input_mtok="5", output_mtok="15")
            ),
            lib.ConditionalPrice(
                lib.StartDateConstraint(date(2026, 6, 1)), prices=flat(input_mtok="4", output_mtok="12")
            ),
        ],
    ),
    model(
        "offpeak",
        [
            lib.ConditionalPrice(prices=flat(input_mtok="1", output_mtok="2")),
            lib.ConditionalPrice(
                lib.TimeOfDateConstraint(time(0, 30), time(16, 30)), prices=flat(input_mtok="2", output_mtok="4")
            ),
        ],
    ),
    model("requests", flat(input_mtok="1", output_mtok="1", requests_kcount="5")),
    model("embedding", flat(input_mtok="0.1")),
    model("nothing", flat(input_mtok="0", output_mtok="0")),
    *(
        model(
            f"batch{number}",
            flat(input_mtok="4", output_mtok="8"),
            price_variants=[lib.PriceVariant(when={"processing": "batch"}, prices=prices)],
        )
        for number, prices in enumerate(
            [
                flat(input_mtok="2", output_mtok="4"),
                flat(input_mtok="2", output_mtok="8"),
                flat(input_mtok="1.33", output_mtok="2.66"),
            ]
        )
    ),
]


@pytest.fixture
def library() -> Iterator[None]:
    vendor = lib.Provider(
        id="acme", name="Acme", api_pattern="https://acme", models=MODELS, model_match=lib.ClauseContains("cached")
    )
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[vendor], from_auto_update=False))
    yield
    data_snapshot.set_custom_snapshot(None)


@pytest.mark.usefixtures("library")
class TestLibrary:
    def test_unlisted_cache_prices_are_the_input_price(self) -> None:
        price = price_of("acme", "plain", ON)
        assert (price.input, price.output, price.cache_read, price.cache_write) == (
            2_500_000,
            10_000_000,
            2_500_000,
            2_500_000,
        )
        assert price.as_of == "2026-03-01"
        assert price.source.startswith("genai-prices ")
        assert price.source.endswith(": acme/plain")

    def test_all_cache_prices(self) -> None:
        price = price_of("acme", "cached-20260101", ON)
        assert (price.cache_read, price.cache_write, price.cache_write_1h) == (300_000, 3_750_000, 6_000_000)
        assert not price.free

    def test_a_write_is_never_below_the_input_price(self) -> None:
        # listed .0833 is what storage adds; the tokens themselves are computed as input
        assert price_of("acme", "storage", ON).cache_write == 300_000

    def test_provider_is_told_from_the_model_where_it_is_not_given(self) -> None:
        assert price_of("", "cached", ON) == price_of("acme", "cached", ON)

    def test_long_context_prices_become_cliff_bands(self) -> None:
        low = PriceBand(
            above_input_tokens=1_000, input=2_000_000, output=7_500_000, cache_read=100_000, cache_write=2_500_000
        )
        high = PriceBand(
            above_input_tokens=5_000, input=4_000_000, output=7_500_000, cache_read=100_000, cache_write=5_000_000
        )
        price = price_of("acme", "banded", ON)
        assert price.bands == (low, high)
        assert (price.input, price.output) == (1_000_000, 5_000_000)

    @pytest.mark.parametrize(
        ("on", "usd"),
        [
            (date(2026, 1, 1), 10),
            (date(2026, 2, 28), 10),
            (date(2026, 3, 1), 5),
            (date(2026, 5, 31), 5),
            (date(2027, 1, 1), 4),
        ],
    )
    def test_the_price_in_force_on_the_day(self, on: date, usd: int) -> None:
        assert price_of("acme", "changed", on).input == usd * 1_000_000

    def test_prices_by_the_hour_take_the_dearest(self) -> None:
        assert price_of("acme", "offpeak", ON).input == 2_000_000

    @pytest.mark.parametrize(("name", "percent"), [("plain", 100), ("batch0", 50), ("batch1", 100), ("batch2", 100)])
    def test_batch_discount_where_input_and_output_agree_on_a_whole_percent(self, name: str, percent: int) -> None:
        assert price_of("acme", name, ON).batch_percent == percent

    @pytest.mark.parametrize(
        ("provider", "name", "why"),
        [
            ("acme", "unheard", "Unable to find model"),
            ("nobody", "plain", "Unable to find provider"),
            ("acme", "requests", "billed by the request"),
            ("acme", "embedding", "without a price per input and output token"),
            ("acme", "nothing", "without a price per input and output token"),
        ],
    )
    def test_no_price_is_an_error_that_names_the_model(self, provider: str, name: str, why: str) -> None:
        with pytest.raises(UnknownPriceError, match=why) as refused:
            price_of(provider, name, ON)
        assert refused.value.model == f"{provider}/{name}"

    def test_override_wins_within_its_dates(self) -> None:
        rows = parse_overrides(
            '[{"provider": "acme", "model": "plain", "from": "2026-02-01", "until": "2026-03-31",'
            ' "input": 1, "output": 2, "source": "contract"}]'
        )
        assert price_of("acme", "plain", ON, rows) == Price(
            input=1_000_000,
            output=2_000_000,
            cache_read=1_000_000,
            cache_write=1_000_000,
            as_of="2026-02-01",
            source="override: contract",
        )
        assert price_of("acme", "plain", date(2026, 4, 1), rows).input == 2_500_000

    def test_override_may_declare_a_model_free(self) -> None:
        rows = parse_overrides('[{"provider": "local", "model": "*", "from": "2026-01-01", "free": true}]')
        price = price_of("local", "tiny", ON, rows)
        assert price.free
        assert (price.input, price.output) == (0, 0)

    def test_windows(self) -> None:
        assert window_of("acme", "plain") == 64_000
        assert window_of("acme", "cached") == 0
        assert window_of("acme", "unheard") == 0


class TestBundledData:
    """Prices of models long past: these rows of the real library will not change."""

    def test_an_old_openai_model(self) -> None:
        price = price_of("openai", "gpt-4o-mini-2024-07-18", date(2025, 6, 1))
        assert (price.input, price.output, price.cache_read) == (150_000, 600_000, 75_000)
        assert price.cache_write == 150_000

    def test_an_old_anthropic_model(self) -> None:
        price = price_of("anthropic", "claude-3-5-sonnet-20241022", date(2025, 6, 1))
        assert (price.input, price.output, price.cache_read) == (3_000_000, 15_000_000, 300_000)
        assert (price.cache_write, price.cache_write_1h) == (3_750_000, 6_000_000)

    def test_long_context_of_an_old_google_model(self) -> None:
        price = price_of("google", "gemini-1.5-pro", date(2025, 6, 1))
        assert [(band.above_input_tokens, band.input, band.marginal) for band in price.bands] == [
            (128_000, 2_500_000, False)
        ]

    def test_every_price_of_the_library_is_either_read_or_refused_by_name(self) -> None:
        read = refused = 0
        for vendor in data_snapshot.get_snapshot().providers:
            for info in vendor.models:
                try:
                    price = price_of(vendor.id, info.id, date(2026, 11, 1))
                except UnknownPriceError:
                    refused += 1
                    continue
                read += 1
                assert price.input > 0
                assert price.cache_write >= price.input
        assert read > 1_000
        assert refused < read / 2

    def test_no_updater_is_running(self) -> None:
        price_of("openai", "gpt-4o-mini", ON)
        assert update_prices._shared_updater.ref_count == 0
        assert data_snapshot.get_snapshot().from_auto_update is False
