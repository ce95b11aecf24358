"""Prices by model and day: the override table first, then the price library (genai-prices).

Law: the library is imported on first use, since its data take half a second to load, and only its bundled price list is
read: this process never asks it to update. Nothing is ever priced at zero or by a neighbour's list in silence: what
matched is in ``Price.source``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

import msgspec

from agentrouter.errors import UnknownPriceError
from agentrouter.prices.overrides import PriceOverride, micro_usd, override_for
from agentrouter.types import Price, PriceBand

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_HALF_HOURS = 48


def price_of(provider: str, model: str, on: date, overrides: Iterable[PriceOverride] = ()) -> Price:
    """Return the list price of ``model`` at ``provider`` on a day (UTC).

    A row of ``overrides`` wins. From the library: the price list in force that day (the first one for days before it);
    of prices that change within the day the dearest, since a day is all that is known; long-context prices as cliff
    bands; a cache price that is not listed is the input price, and a write is never taken below it; the batch discount
    where input and output have the same one.

    Args:
        provider: the provider's name in the library (``openai``, ``anthropic``, ``google``, ...); empty: told from the
            model's name.
        model: the model's name, dated or not.
        on: the day of the call.
        overrides: rows of the override table.

    Raises:
        UnknownPriceError: neither knows the model, or it is priced by something else than tokens; names it.
    """
    row = override_for(provider, model, on, overrides)
    if row is not None:
        return row.price
    from genai_prices import __version__, data_snapshot

    label = f"{provider}/{model}" if provider else model
    try:
        vendor, info = data_snapshot.get_snapshot().find_provider_model(model, None, provider or None, None)
    except LookupError as error:
        raise UnknownPriceError(label, str(error)) from None
    moment, listed = _dearest(info, on)
    price = _price(listed, label)
    return msgspec.structs.replace(
        price,
        batch_percent=_batch_percent(info, listed, moment),
        as_of=on.isoformat(),
        source=f"genai-prices {__version__}: {vendor.id}/{info.id}",
    )


def window_of(provider: str, model: str) -> int:
    """Return how many input tokens the price library says ``model`` takes; 0: it does not say."""
    from genai_prices import data_snapshot

    try:
        _, info = data_snapshot.get_snapshot().find_provider_model(model, None, provider or None, None)
    except LookupError:
        return 0
    return info.context_window or 0


def _dearest(info: ModelInfo, on: date) -> tuple[datetime, ModelPrice]:
    """Return the dearest price list of the day and a time at which it holds."""
    midnight = datetime.combine(on, time())
    moments = [midnight + timedelta(minutes=30 * number) for number in range(_HALF_HOURS)]
    lists = [(moment, info.get_prices(moment)) for moment in moments]
    return max(lists, key=lambda timed: sum(_base(timed[1], name) or 0 for name in ("input_mtok", "output_mtok")))


def _price(listed: ModelPrice, label: str) -> Price:
    fresh, output = _base(listed, "input_mtok"), _base(listed, "output_mtok")
    if not fresh or output is None:
        raise UnknownPriceError(label, "the price library lists it without a price per input and output token")
    if _listed(listed, "requests_kcount") is not None:
        raise UnknownPriceError(label, "it is also billed by the request, which a price per token cannot say")
    read, write, long_write = (_base(listed, name) for name in ("cache_read_mtok", "cache_write_mtok", _LONG_WRITE))
    return Price(
        input=fresh,
        output=output,
        cache_read=fresh if read is None else read,
        cache_write=max(fresh, write or 0),
        cache_write_1h=long_write or 0,
        bands=_bands(listed),
    )


_LONG_WRITE = "cache_write_1h_mtok"
_BANDED = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


def _bands(listed: ModelPrice) -> tuple[PriceBand, ...]:
    """Return the cliff bands: one at each threshold that any of the four prices has."""
    from genai_prices.types import TieredPrices

    tiered = [price for name in _BANDED if isinstance(price := _listed(listed, name), TieredPrices)]
    bands = []
    for start in sorted({tier.start for price in tiered for tier in price.tiers}):
        fresh, output, read, write = (_base(listed, name, start) for name in _BANDED)
        bands.append(
            PriceBand(
                above_input_tokens=start,
                input=fresh or 0,
                output=output or 0,
                cache_read=(fresh or 0) if read is None else read,
                cache_write=max(fresh or 0, write or 0),
            )
        )
    return tuple(bands)


def _batch_percent(info: ModelInfo, listed: ModelPrice, moment: datetime) -> int:
    """Return the batch price in percent of the list price, where input and output agree on a whole one; else 100."""
    batch = info.get_prices(moment, {"processing": "batch"})
    shares = set()
    for name in ("input_mtok", "output_mtok"):
        plain, discounted = _base(listed, name), _base(batch, name)
        if not plain or discounted is None or discounted * 100 % plain:
            return 100
        shares.add(discounted * 100 // plain)
    share = shares.pop()
    return share if not shares and 1 <= share <= 100 else 100


def _base(listed: ModelPrice, name: str, above: int = -1) -> int | None:
    """Return one price in micro-USD per million tokens: the base price, or the one above ``above`` input tokens."""
    from genai_prices.types import TieredPrices

    price = _listed(listed, name)
    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if tier.start <= above]
        price = reached[-1] if reached else price.base
    return None if price is None else micro_usd(price)


def _listed(listed: ModelPrice, name: str) -> object:
    return getattr(listed, name, None)
