"""Price lists and cache terms of the vendors: the price library, the dated override table, the terms table.

Law: pure but for ``shipped_overrides``, the one function that reads the table shipped with the package. Nothing here
talks to a network: the price library's own updater is never started.
"""

from __future__ import annotations

from agentrouter.prices.lookup import price_of
from agentrouter.prices.overrides import PriceOverride, parse_overrides, shipped_overrides
from agentrouter.prices.spec import candidate_from_spec

__all__ = ["PriceOverride", "candidate_from_spec", "parse_overrides", "price_of", "shipped_overrides"]
