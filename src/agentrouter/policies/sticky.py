"""Wrapper: stay on the warm model unless moving beats the price of a cold prompt cache."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter import bill
from agentrouter.policies import Policy
from agentrouter.policies.explore import build_inner
from agentrouter.policies.pool import accepting, known_options, number, quote
from agentrouter.types import Candidate, Context, Decision, Reason, Slo, Step

DEFAULT_HORIZON = 3
DEFAULT_MARGIN_NUSD = 1_000_000


class Sticky(msgspec.Struct, frozen=True, kw_only=True):
    """Follow the inner policy up at once, and down only if that is cheaper over the next ``horizon`` calls.

    stay   = warm(current) + (n - 1) warm(current)
    switch = now(other)    + (n - 1) warm(other)
    and the step stays unless stay - switch > margin (methods.md 3.9, with the write price of the cold call counted
    once). ``warm`` is the quote of the same call with the whole prompt cached.
    """

    inner: Policy
    horizon: int = DEFAULT_HORIZON
    margin_nusd: int = DEFAULT_MARGIN_NUSD

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Sticky:
        """Build from ``sticky:<policy>`` or ``{policy: sticky, horizon: 3, margin_usd: 0.001, inner: ...}``.

        Raises:
            ConfigError: no inner policy, or numbers out of range.
        """
        known_options(options, ("horizon", "margin_usd", "inner"), "sticky")
        horizon = number(options.get("horizon", DEFAULT_HORIZON), "policy sticky: horizon", low=1, high=1000)
        margin = number(options.get("margin_usd", 0.001), "policy sticky: margin_usd", low=0, high=1e6)
        return cls(
            inner=build_inner(argument, options, "sticky"), horizon=int(horizon), margin_nusd=round(margin * 1e9)
        )

    @property
    def name(self) -> str:
        """``sticky:<inner>``."""
        return f"sticky:{self.inner.name}"

    @property
    def reviews(self) -> bool:
        """As the inner policy."""
        return self.inner.reviews

    def decide(self, step: Step, context: Context) -> Decision:
        """Move the inner policy's probability of each unprofitable switch to the current model."""
        decision = msgspec.structs.replace(self.inner.decide(step, context), policy=self.name)
        current = self._current(context)
        if current is None or accepting(context) is not None or context.attempts:
            return decision
        held = [
            isinstance(action, Candidate)
            and action is not current
            and p > 0.0
            and not self._worth_moving(step, context, current, action)
            for action, p in zip(context.actions, decision.probabilities, strict=True)
        ]
        if not any(held):
            return decision
        kept = [0.0 if hold else p for hold, p in zip(held, decision.probabilities, strict=True)]
        kept[context.actions.index(current)] += 1.0 - sum(kept)
        wanted = decision.action
        if not held[context.actions.index(wanted)]:
            return msgspec.structs.replace(decision, probabilities=tuple(kept))
        return msgspec.structs.replace(
            decision,
            action=current,
            probabilities=tuple(kept),
            reason=Reason.STICKY,
            detail=f"{wanted.name} wanted, its cold cache costs more than it saves",
        )

    def _current(self, context: Context) -> Candidate | None:
        recent = context.history.recent
        if not recent:
            return None
        name = recent[-1].candidate
        return next((action for action in context.candidates if action.name == name), None)

    def _worth_moving(self, step: Step, context: Context, current: Candidate, other: Candidate) -> bool:
        if other.tier > current.tier:
            return True
        later = self.horizon - 1
        stay = quote(step, context, current) + later * _warm(step, context, current)
        switch = quote(step, context, other) + later * _warm(step, context, other)
        return stay - switch > self.margin_nusd


def _warm(step: Step, context: Context, candidate: Candidate) -> int:
    """Quote the call as if the whole prompt lay in the candidate's cache."""
    entry = bill.cache_after(candidate, step.tokens, None, context.now)
    return bill.quote(candidate, step.tokens, entry, context.now, batch=step.slo is Slo.BATCH).total
