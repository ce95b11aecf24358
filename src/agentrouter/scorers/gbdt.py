"""P(ok) from the numeric features: boosted trees, one ensemble a tier, evaluated from plain arrays.

Fitted with scikit-learn's HistGradientBoostingClassifier in the ``train`` extra and exported; a test holds the two
equal on every row. All trees of all tiers descend together, one level at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentrouter.scorers.artefact import Artefact, ArtefactScorer
from agentrouter.scorers.encode import COLUMNS, ENCODING, numeric
from agentrouter.scorers.ordinal import calibrated
from agentrouter.types import Scores, Step, StepFeatures

MAX_DEPTH = 64


class GbdtScorer(ArtefactScorer):
    """logit P(ok) of a tier = its baseline + the leaf that the step reaches in each of its trees.

    Nodes of all trees lie in one array. A leaf points to itself on both sides, so that a walk of ``depth`` levels ends
    in a leaf whatever the tree's own depth.
    """

    name = "gbdt"

    def __init__(self, artefact: Artefact) -> None:
        artefact.expect(self.name, ENCODING, [column.name for column in COLUMNS])
        self.artefact = artefact
        self._feature = artefact.array("feature", "iu", None).astype(np.int64)
        nodes = self._feature.size
        self._threshold = artefact.array("threshold", "f", nodes).astype(np.float64)
        children = [artefact.array(side, "iu", nodes).astype(np.int64) for side in ("right", "left")]
        self._children = np.stack(children, axis=1).ravel()
        self._value = artefact.array("value", "f", nodes).astype(np.float64)
        self._roots = artefact.array("roots", "iu", None).astype(np.int64)
        self._baseline = artefact.array("baseline", "f", 4).astype(np.float64)
        self._counts = artefact.array("trees", "iu", 4).astype(np.int64)
        self._depth = int(artefact.parameter("depth", low=0, high=MAX_DEPTH))
        self._check(nodes)
        # Where each tier's trees start among the roots; a tier without trees is its baseline.
        self._starts = np.concatenate([[0], np.cumsum(self._counts)]).tolist()

    def score(self, step: Step, features: StepFeatures) -> Scores:
        """Return P(ok) by tier, minimal first."""
        row = np.asarray(numeric(features), dtype=np.float64)
        calibration = self.artefact.config.calibration
        p_ok = calibrated(self.logits(row), calibration)
        return Scores(p_ok=p_ok, scorer=self.name, calibrated=bool(calibration))

    def logits(self, row: npt.NDArray[np.float64]) -> list[float]:
        """Return the raw prediction of each tier for one row of ``COLUMNS``."""
        at = self._roots
        for _ in range(self._depth):
            at = self._children[2 * at + (row[self._feature[at]] <= self._threshold[at])]
        leaves = self._value[at]
        # One after the other, as scikit-learn adds them: the same bits, not only the same value.
        return [
            float(np.add.accumulate(np.concatenate([[base], leaves[start:end]]))[-1])
            for base, start, end in zip(self._baseline.tolist(), self._starts, self._starts[1:], strict=False)
        ]

    def _check(self, nodes: int) -> None:
        indices = (self._children, self._roots)
        inside = all(((part >= 0) & (part < nodes)).all() for part in indices)
        columns = ((self._feature >= 0) & (self._feature < len(COLUMNS))).all()
        if not inside or not columns or (self._counts < 0).any() or self._counts.sum() != self._roots.size:
            raise self.artefact.broken("a tree points outside the nodes, the columns or the trees")
