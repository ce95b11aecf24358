"""Always one tier: the baseline every report includes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.policies.pool import accept, accepting, known_options, parse_tier, to_tier
from agentrouter.types import Context, Decision, Reason, Step, Tier


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """Send every step to ``tier``."""

    tier: Tier
    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Fixed:
        """Build from ``fixed:<tier>`` or ``{policy: fixed, tier: <tier>}``."""
        known_options(options, ("tier",), "fixed")
        return cls(tier=parse_tier(argument or options.get("tier", "frontier"), "policy fixed"))

    @property
    def name(self) -> str:
        """``fixed:<tier>``."""
        return f"fixed:{self.tier.label}"

    def decide(self, step: Step, context: Context) -> Decision:
        """Choose the cheapest legal candidate of the tier."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        return to_tier(step, context, self.tier, Reason.FIXED, policy=self.name)
