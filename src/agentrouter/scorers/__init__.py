"""Scorers: predict, before the call, P(step handled acceptably) for each tier.

Law: pure and fast; a scorer reads only the step and its features. To add one: one file, one row in ``SCORERS``
(docs/how-to/add-a-scorer.md).
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import Protocol

from agentrouter.errors import ConfigError
from agentrouter.types import Scores, Step, StepFeatures


class Scorer(Protocol):
    """What predicts."""

    @property
    def name(self) -> str:
        """The scorer's name in ``SCORERS``."""
        ...

    def score(self, step: Step, features: StepFeatures) -> Scores:
        """Return P(ok) for the four tiers, minimal first, each in [0, 1]."""
        ...


SCORERS: dict[str, str] = {
    "length": "agentrouter.scorers.length:LengthScorer",
}
"""Name -> ``module:class``; imported when asked for."""


def load(name: str) -> Scorer:
    """Return the scorer of that name.

    Raises:
        ConfigError: no such scorer; the nearest names are given.
    """
    target = SCORERS.get(name)
    if target is None:
        near = get_close_matches(name, SCORERS, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"unknown scorer {name!r}: {hint}known scorers are {', '.join(sorted(SCORERS))}")
    module, _, attribute = target.partition(":")
    scorer: Scorer = getattr(importlib.import_module(module), attribute)()
    return scorer
