"""Wrapper: an answer that fails its checks goes one tier up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.policies import Policy
from agentrouter.policies.explore import build_inner
from agentrouter.policies.pool import accept, accepting, certain, in_tier, known_options
from agentrouter.types import Context, Decision, Reason, Step, Tier


class Escalate(msgspec.Struct, frozen=True, kw_only=True):
    """Let the inner policy choose first; after an answer, accept it if every check passed, else go one tier up."""

    inner: Policy
    reviews: bool = True

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Escalate:
        """Build from ``escalate:<policy>`` or ``{policy: escalate, inner: ...}``.

        Raises:
            ConfigError: no inner policy.
        """
        known_options(options, ("inner",), "escalate")
        return cls(inner=build_inner(argument, options, "escalate"))

    @property
    def name(self) -> str:
        """``escalate:<inner>``."""
        return f"escalate:{self.inner.name}"

    def decide(self, step: Step, context: Context) -> Decision:
        """Delegate the first choice; judge the rest by the verdicts."""
        answered = accepting(context)
        if answered is None or not context.attempts:
            return msgspec.structs.replace(self.inner.decide(step, context), policy=self.name)
        last = context.attempts[-1]
        failed = [verdict for verdict in last.outcome.verdicts if not verdict.passed]
        if not failed or last.candidate.tier >= Tier.FRONTIER:
            return accept(context, answered, self.name)
        chosen = in_tier(step, context, Tier(last.candidate.tier + 1))
        if chosen.tier <= last.candidate.tier:
            return accept(context, answered, self.name)
        detail = f"{failed[0].verifier}: {failed[0].detail or 'failed'}"
        return certain(context, chosen, Reason.ESCALATION, policy=self.name, detail=detail)
