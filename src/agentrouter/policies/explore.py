"""Wrapper: with probability epsilon a uniformly drawn candidate, propensities kept true."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.errors import ConfigError
from agentrouter.policies import Policy, build
from agentrouter.policies.pool import accepting, known_options, number, sample
from agentrouter.types import Context, Decision, Reason, Step

DEFAULT_EPSILON = 0.05


class Explore(msgspec.Struct, frozen=True, kw_only=True):
    """Mix the inner policy's distribution with the uniform one: p = (1 - epsilon) p_inner + epsilon / n.

    Only first decisions are explored: after an answer the inner policy decides alone. Every legal candidate then has
    a propensity of at least epsilon / n, which is what inverse-propensity estimates need (methods.md 4.19).
    """

    inner: Policy
    epsilon: float = DEFAULT_EPSILON

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Explore:
        """Build from ``explore:<policy>``, ``explore:0.1:<policy>`` or ``{policy: explore, epsilon: ..., inner: ...}``.

        Raises:
            ConfigError: no inner policy, or an epsilon outside [0, 1].
        """
        known_options(options, ("epsilon", "inner"), "explore")
        head, _, rest = argument.partition(":")
        epsilon: object = options.get("epsilon", DEFAULT_EPSILON)
        if head[:1].isdigit() or head[:1] == ".":
            epsilon, argument = head, rest
        return cls(
            inner=build_inner(argument, options, "explore"),
            epsilon=number(epsilon, "policy explore: epsilon", low=0.0, high=1.0),
        )

    @property
    def name(self) -> str:
        """``explore:<epsilon>:<inner>``."""
        return f"explore:{self.epsilon:g}:{self.inner.name}"

    @property
    def reviews(self) -> bool:
        """As the inner policy."""
        return self.inner.reviews

    def decide(self, step: Step, context: Context) -> Decision:
        """Draw from the mixture."""
        inner = self.inner.decide(step, context)
        if accepting(context) is not None or context.attempts:
            return msgspec.structs.replace(inner, policy=self.name)
        share = self.epsilon / len(context.actions)
        mixed = [(1.0 - self.epsilon) * p + share for p in inner.probabilities]
        action = context.actions[sample(mixed, context.draw)]
        # An inner policy that draws for itself is followed through the mixture; one that is certain keeps its reason.
        explored = action.name != inner.action.name
        return msgspec.structs.replace(
            inner,
            action=action,
            probabilities=tuple(mixed),
            policy=self.name,
            reason=Reason.EXPLORE if explored else inner.reason,
            detail=f"instead of {inner.action.name}" if explored else inner.detail,
        )


def build_inner(argument: str, options: Mapping[str, object], wrapper: str) -> Policy:
    """Build what a wrapper wraps, from the rest of its spec or from its ``inner`` option.

    Raises:
        ConfigError: nothing is named.
    """
    inner = argument or options.get("inner")
    if isinstance(inner, str | dict) and inner:
        return build(inner)
    raise ConfigError(f"policy {wrapper}: name the policy it wraps, as in {wrapper}:roles")
