"""P(ok) looked up by role, kind of text and size: a table that has read no words.

methods.md calls it the strongest of the dumb baselines (Beta-smoothed rates per role and cluster); on sources that
nobody has seen it is hard to beat.
"""

from __future__ import annotations

from agentrouter.scorers.artefact import Artefact, ArtefactScorer
from agentrouter.scorers.ordinal import Four, calibrated, logit
from agentrouter.types import Scores, Step, StepFeatures

ENCODING = "role-kind-size/1"
SIZES = (150, 600, 2_500)
"""Edges of the size classes, prompt tokens."""
SHARE = 0.25
"""From this share of code (or of data) on a prompt counts as code (or data)."""


def table_keys(features: StepFeatures) -> tuple[str, str, str, str]:
    """Return the cells that a step belongs to, widest first: all, role, role and kind, role, kind and size."""
    role, load = features.role.role, features.load
    if load.n_tools:
        kind = "tools"
    elif load.code_share >= SHARE:
        kind = "code"
    elif load.data_share >= SHARE:
        kind = "data"
    else:
        kind = "question" if features.role.asks_question else "text"
    size = sum(load.prefix_tokens >= edge for edge in SIZES)
    return ("", role, f"{role}|{kind}", f"{role}|{kind}|{size}")


class RoleTableScorer(ArtefactScorer):
    """The narrowest cell of the table that the step falls into; cells were pooled with their parents at the fit."""

    name = "role-table"

    def __init__(self, artefact: Artefact) -> None:
        artefact.expect(self.name, ENCODING)
        keys = artefact.config.keys
        p_ok = artefact.array("p_ok", "f", len(keys), 4)
        if "" not in keys or (p_ok < 0).any() or (p_ok > 1).any():
            raise artefact.broken("p_ok must hold probabilities, and the table a cell for everything")
        self.artefact, self._calibrated = artefact, bool(artefact.config.calibration)
        self._cells: dict[str, Four] = {
            key: calibrated([logit(p) for p in row], artefact.config.calibration)
            for key, row in zip(keys, p_ok.tolist(), strict=True)
        }

    def score(self, step: Step, features: StepFeatures) -> Scores:
        """Return P(ok) by tier, minimal first."""
        for key in reversed(table_keys(features)):
            cell = self._cells.get(key)
            if cell is not None:
                return Scores(p_ok=cell, scorer=self.name, calibrated=self._calibrated)
        raise AssertionError("the table has a cell for everything")
