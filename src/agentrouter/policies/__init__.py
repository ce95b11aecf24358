"""Policies: pure functions from a step and its context to a decision.

Law: a policy does no I/O and does not learn in place; fitting returns a new one. To add a policy: one file, one row in
``POLICIES`` (docs/how-to/add-a-policy.md). Wrappers change another policy's answer and keep its propensities true.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol

from agentrouter.errors import ConfigError
from agentrouter.types import Context, Decision, Step


class Policy(Protocol):
    """What decides."""

    @property
    def name(self) -> str:
        """The policy's spec, as it stands in every decision it takes."""
        ...

    @property
    def reviews(self) -> bool:
        """Whether to ask again after an answer (escalation); False: every answer is accepted unasked."""
        ...

    def decide(self, step: Step, context: Context) -> Decision:
        """Choose one of ``context.actions`` and give the probability of each, in their order."""
        ...


POLICIES: dict[str, str] = {
    "fixed": "agentrouter.policies.fixed:Fixed",
    "uniform": "agentrouter.policies.uniform:Uniform",
    "roles": "agentrouter.policies.roles:Roles",
    "rules": "agentrouter.policies.rules:Rules",
    "length": "agentrouter.policies.length:Length",
    "threshold": "agentrouter.policies.threshold:Threshold",
    "recorded": "agentrouter.policies.recorded:Recorded",
    "explore": "agentrouter.policies.explore:Explore",
    "sticky": "agentrouter.policies.sticky:Sticky",
    "escalate": "agentrouter.policies.escalate:Escalate",
}
"""Name -> ``module:class``; imported when asked for. Each class has ``from_spec(argument, options)``."""

SHIPPED_COMPOSITIONS = (
    "fixed:frontier",
    "uniform",
    "roles",
    "rules",
    "length",
    "threshold:length",
    "threshold:role-table",
    "threshold:tfidf",
    "threshold:knn",
    "threshold:gbdt",
    "sticky:roles",
    "explore:0.05:roles",
    "explore:0.1:threshold:length",
    "sticky:explore:0.05:threshold:length",
    "escalate:roles",
    "escalate:sticky:roles",
    "escalate:explore:0.05:roles",
)
"""What the conformance suite runs over besides every row of the table."""

Options = Mapping[str, object]


def build(spec: str | Options) -> Policy:
    """Build a policy from its spec.

    Args:
        spec: ``name``, ``name:argument`` (``fixed:frontier``, ``threshold:length``), wrappers in front of what they
            wrap (``escalate:sticky:roles``, ``explore:0.05:roles``), or the mapping of a YAML policy file
            (``{"policy": "roles", "chart": {...}}``; a wrapper names what it wraps under ``inner``).

    Raises:
        ConfigError: unknown name (the nearest known ones are given) or bad parameters.
    """
    if isinstance(spec, str):
        name, _, argument = spec.strip().partition(":")
        options: Options = {}
    else:
        options = {str(key): value for key, value in spec.items()}
        name, _, argument = str(options.pop("policy", "")).strip().partition(":")
    target = POLICIES.get(name)
    if target is None:
        raise ConfigError(_unknown(name, spec))
    module, _, attribute = target.partition(":")
    policy: Policy = getattr(importlib.import_module(module), attribute).from_spec(argument, options)
    return policy


def policy_hash(policy: Policy) -> str:
    """Return 12 hex digits that change whenever a parameter of the policy does (its ``repr`` holds them all)."""
    from hashlib import blake2b

    return blake2b(repr(policy).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _unknown(name: str, spec: object) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, POLICIES, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown policy {name!r} in spec {spec!r}: {hint}known policies are {', '.join(sorted(POLICIES))}"
