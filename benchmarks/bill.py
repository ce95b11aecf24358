"""Time of the price engine per replayed step, beside the bare cost of building its three results.

Run: ``python benchmarks/bill.py [--json OUT]``. A replay of a million steps prices each once; the aim is below 6
microseconds a step. The ratio is taken within one run, so it can be compared between machines.
"""

from __future__ import annotations

import argparse
import json
import platform
import timeit
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from agentrouter import bill
from agentrouter.catalog import builtin_catalog
from agentrouter.types import CacheEntry, Candidate, Cost, PriceBand, Tier, TokenCounts, Usage

CALLS = 50_000
REPEATS = 7
BANDED_AT = 20_000


def best_us(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=CALLS, repeat=REPEATS)) / CALLS * 1e6


def measure() -> dict[str, float]:
    """Return microseconds a step (best of 7 runs of 50,000) by path, and the ratio to building three values."""
    (model,) = builtin_catalog().in_tier(Tier.FRONTIER)
    tokens, entry = TokenCounts(input=30_700, output=200), CacheEntry(30_000, 60.0)
    band = PriceBand(
        above_input_tokens=BANDED_AT, input=10_000_000, output=37_500_000, cache_read=1_000_000, cache_write=12_500_000
    )
    banded = replace(model, price=replace(model.price, bands=(band,)))

    def values() -> None:
        Usage(fresh_input=0, cache_read=30_000, cache_write=700, output=200, estimated=True)
        Cost(fresh_input=0, cache_read=1, cache_write=1, output=1)
        CacheEntry(30_700, 300.0)

    def step_of(candidate: Candidate) -> Callable[[], None]:
        def step() -> None:
            bill.price_usage(bill.simulate_usage(candidate, tokens, entry, 0.0), candidate.price)
            bill.cache_after(candidate, tokens, entry, 0.0)

        return step

    floor, plain, with_band = best_us(values), best_us(step_of(model)), best_us(step_of(banded))
    return {
        "three_values_us": round(floor, 3),
        "plain_step_us": round(plain, 3),
        "banded_step_us": round(with_band, 3),
        "plain_over_three_values": round(plain / floor, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = {"machine": platform.machine(), "python": platform.python_version(), **measure()}
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
