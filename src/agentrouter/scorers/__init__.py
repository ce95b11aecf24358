"""Scorers: predict, before the call, P(step handled acceptably) for each tier.

Law: pure and fast; a scorer reads only the step and its features. To add one: one file, one row in ``SCORERS``
(docs/how-to/add-a-scorer.md).
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol

from agentrouter.errors import ConfigError, ModelFileError
from agentrouter.types import Scores, Step, StepFeatures

if TYPE_CHECKING:
    from agentrouter.scorers.artefact import Artefact


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
    "role-table": "agentrouter.scorers.role_table:RoleTableScorer",
    "tfidf": "agentrouter.scorers.tfidf:TfidfScorer",
    "knn": "agentrouter.scorers.knn:KnnScorer",
    "gbdt": "agentrouter.scorers.gbdt:GbdtScorer",
}
"""Name -> ``module:class``; imported when asked for."""

WITHOUT_ARTEFACT = frozenset({"length"})
"""Scorers with nothing fitted; every other one is built from an artefact (``artefact.Artefact``)."""


def load(name: str, artefact: Artefact | None = None) -> Scorer:
    """Return the scorer of that name.

    Args:
        name: a row of ``SCORERS``.
        artefact: what it was fitted to; None: the one that ships with the package.

    Raises:
        ConfigError: no such scorer (the nearest names are given), or an artefact for one that has nothing fitted.
        ModelFileError: the artefact is damaged, of another scorer, or none is given and none ships.
    """
    target = SCORERS.get(name)
    if target is None:
        near = get_close_matches(name, SCORERS, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"unknown scorer {name!r}: {hint}known scorers are {', '.join(sorted(SCORERS))}")
    module, _, attribute = target.partition(":")
    made = getattr(importlib.import_module(module), attribute)
    if name in WITHOUT_ARTEFACT:
        if artefact is not None:
            raise ConfigError(f"scorer {name!r} has nothing fitted, so it takes no artefact")
        scorer: Scorer = made()
        return scorer
    scorer = made(artefact if artefact is not None else _shipped(name))
    return scorer


def _shipped(name: str) -> Artefact:
    from agentrouter.scorers.artefact import shipped_artefact

    found = shipped_artefact(name)
    if found is None:
        raise ModelFileError(
            f"scorer {name!r}: none ships with this version; fit one (agentrouter learn rivals --table DIR --out OUT) "
            f"and name it in a policy file: {{policy: threshold, scorer: {name}, artefact: OUT/{name}}}"
        )
    return found
