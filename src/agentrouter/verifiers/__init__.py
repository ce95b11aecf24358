"""Verifiers: judge, after the call, P(attempt is good). Cheapest first: the free ones here are pure and always run.

Law: a verifier that breaks is noted in its verdict and counts as not having run; it never breaks a step. To add one:
one file, one row in ``VERIFIERS``.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from agentrouter.errors import ConfigError
from agentrouter.types import Reply, Step, Verdict


class Verifier(Protocol):
    """What judges an answer."""

    @property
    def name(self) -> str:
        """The verifier's name, as it stands in the ledger."""
        ...

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Judge the reply to the step."""
        ...


VERIFIERS: dict[str, str] = {
    "complete": "agentrouter.verifiers.complete:Complete",
    "contract": "agentrouter.verifiers.contract:Contract",
}
"""Name -> ``module:class``; imported when asked for."""

FREE = ("complete", "contract")
"""What runs on every answer: deterministic, costs nothing, takes microseconds to milliseconds."""


def load(name: str) -> Verifier:
    """Return the verifier of that name.

    Raises:
        ConfigError: no such verifier.
    """
    target = VERIFIERS.get(name)
    if target is None:
        raise ConfigError(f"unknown verifier {name!r}; known verifiers are {', '.join(sorted(VERIFIERS))}")
    module, _, attribute = target.partition(":")
    verifier: Verifier = getattr(importlib.import_module(module), attribute)()
    return verifier


def passed(verifier: str, detail: str = "") -> Verdict:
    """Return the verdict of a hard check that holds."""
    return Verdict(verifier=verifier, p_good=1.0, passed=True, detail=detail)


def failed(verifier: str, detail: str) -> Verdict:
    """Return the verdict of a hard check that does not hold; ``detail`` is cut to 300 characters."""
    return Verdict(verifier=verifier, p_good=0.0, passed=False, detail=detail[:300])


def broken(verifier: str, detail: str) -> Verdict:
    """Return the verdict of a verifier that could not run: not failed, and said to be unverified."""
    return Verdict(verifier=verifier, p_good=0.5, passed=True, detail=detail[:300], failed_to_run=True)
