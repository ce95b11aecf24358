"""Prompt length: longer prompts go to higher tiers. Any learned router must beat this one, not only random."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.errors import ConfigError
from agentrouter.policies.pool import accept, accepting, known_options, to_tier
from agentrouter.types import Context, Decision, Reason, Step, Tier

DEFAULT_CUTS = (500, 2_000, 8_000)


class Length(msgspec.Struct, frozen=True, kw_only=True):
    """Choose the tier by the number of prompt tokens: below ``cuts[0]`` minimal, ..., from ``cuts[2]`` frontier."""

    cuts: tuple[int, int, int] = DEFAULT_CUTS
    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Length:
        """Build from ``length``, ``length:500,2000,8000`` or ``{policy: length, cuts: [500, 2000, 8000]}``.

        Raises:
            ConfigError: not three ascending whole numbers.
        """
        known_options(options, ("cuts",), "length")
        given: object = argument.split(",") if argument else options.get("cuts", list(DEFAULT_CUTS))
        try:
            cuts = tuple(int(str(cut)) for cut in given) if isinstance(given, list | tuple) else ()
        except ValueError:
            cuts = ()
        if len(cuts) != 3 or list(cuts) != sorted(cuts) or min(cuts) < 0:
            raise ConfigError(f"policy length: cuts must be three ascending token counts, got {given!r}")
        return cls(cuts=(cuts[0], cuts[1], cuts[2]))

    @property
    def name(self) -> str:
        """``length``, with its cuts where they are not the default ones."""
        return "length" if self.cuts == DEFAULT_CUTS else "length:" + ",".join(map(str, self.cuts))

    def decide(self, step: Step, context: Context) -> Decision:
        """Compare the prompt's tokens with the cuts."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        size = step.tokens.input
        tier = Tier(sum(size >= cut for cut in self.cuts))
        return to_tier(step, context, tier, Reason.LENGTH, policy=self.name, detail=f"{size} prompt tokens")
