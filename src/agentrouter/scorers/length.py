"""P(ok) from prompt length alone: the yardstick that learned scorers have to beat."""

from __future__ import annotations

import math

import msgspec

from agentrouter.types import Scores, Step, StepFeatures


class LengthScorer(msgspec.Struct, frozen=True, kw_only=True):
    """P(tier ok) = sigmoid((midpoint_tier - ln(1 + tokens)) / scale); the frontier tier's is 1.

    The midpoints are where the ``length`` policy cuts by default (500, 2,000 and 8,000 tokens); nothing here is
    fitted, and the scores are not calibrated.
    """

    midpoints: tuple[float, float, float] = (math.log(500), math.log(2_000), math.log(8_000))
    scale: float = 0.25

    @property
    def name(self) -> str:
        """``length``."""
        return "length"

    def score(self, step: Step, features: StepFeatures) -> Scores:
        """Return P(ok) by tier, minimal first."""
        size = math.log1p(max(0, step.tokens.input))
        low, mid, high = (1.0 / (1.0 + math.exp((size - point) / self.scale)) for point in self.midpoints)
        return Scores(p_ok=(low, mid, high, 1.0), scorer=self.name)
