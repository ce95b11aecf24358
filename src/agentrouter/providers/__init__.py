"""Providers: the only code that talks to models. Vendors are rows of a table; a file only where behaviour differs.

Law: a provider never raises for what a vendor does; it returns an ``Outcome`` with the ``FailureKind``. It never
retries: fallbacks are the flow's. Keys go into requests and nowhere else.
"""

from __future__ import annotations

from typing import Protocol

from agentrouter.types import Call, Outcome


class Provider(Protocol):
    """What makes calls."""

    @property
    def name(self) -> str:
        """The provider's name, the part of a candidate's name before the slash."""
        ...

    async def send(self, call: Call) -> Outcome:
        """Make one call and return what came back, or how it failed."""
        ...

    async def close(self) -> None:
        """Release connections and models."""
        ...
