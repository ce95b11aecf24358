"""Uniform over the legal candidates: the logging baseline (full support, equal propensities)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.policies.pool import accept, accepting, known_options, sample
from agentrouter.types import Context, Decision, Reason, Step


class Uniform(msgspec.Struct, frozen=True, kw_only=True):
    """Choose each legal candidate with the same probability, by ``context.draw``."""

    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Uniform:
        """Build from ``uniform``."""
        known_options(options, (), "uniform")
        return cls()

    @property
    def name(self) -> str:
        """``uniform``."""
        return "uniform"

    def decide(self, step: Step, context: Context) -> Decision:
        """Draw one candidate."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        share = 1.0 / len(context.actions)
        probabilities = [share] * len(context.actions)
        return Decision(
            action=context.actions[sample(probabilities, context.draw)],
            probabilities=tuple(probabilities),
            reason=Reason.UNIFORM,
            policy=self.name,
        )
