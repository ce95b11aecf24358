"""P(ok) as what happened on the most alike steps: cosine of randomly projected TF-IDF vectors.

No neural embedding: the vector is the hashed TF-IDF of the step's texts through a fixed random sign projection
(Achlioptas 2003), which keeps angles up to about 1 / sqrt(dimensions). Weaker than kNN on a sentence encoder, and said
so beside its figures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentrouter.scorers.artefact import Artefact, ArtefactScorer
from agentrouter.scorers.hashing import BUCKETS, TEXT_ENCODING, hashed, unit
from agentrouter.scorers.ordinal import calibrated, logit
from agentrouter.types import Scores, Step, StepFeatures


class KnnScorer(ArtefactScorer):
    """The mean outcome of the k nearest reference steps, shrunk to the mean of all by one neighbour's weight.

    A reference step on which a tier was not measured (weight 0) has no say on that tier.
    """

    name = "knn"

    def __init__(self, artefact: Artefact) -> None:
        artefact.expect(self.name, TEXT_ENCODING)
        self.artefact = artefact
        self._idf = artefact.array("idf", "f", BUCKETS).astype(np.float32)
        signs = np.unpackbits(artefact.array("signs", "u", BUCKETS, None), axis=1)
        self._signs = signs.astype(np.float32) * 2.0 - 1.0
        self._points = artefact.array("points", "f", None, self._signs.shape[1]).astype(np.float32)
        rows = self._points.shape[0]
        self._outcome = artefact.array("outcome", "f", rows, 4).astype(np.float64)
        self._weight = artefact.array("weight", "f", rows, 4).astype(np.float64)
        if not rows or (self._weight < 0).any() or (self._weight.sum(axis=0) <= 0).any():
            raise artefact.broken("the reference steps must hold each tier at least once, with weights of 0 or more")
        self._mean = (self._weight * self._outcome).sum(axis=0) / self._weight.sum(axis=0)
        self._k = min(rows, int(artefact.parameter("k", low=1, high=10_000)))

    def score(self, step: Step, features: StepFeatures) -> Scores:
        """Return P(ok) by tier, minimal first."""
        point = projected(features, self._idf, self._signs)
        near = self._points @ point
        nearest = np.argpartition(near, -self._k)[-self._k :] if self._k < near.size else np.arange(near.size)
        weight = self._weight[nearest]
        mean = ((weight * self._outcome[nearest]).sum(axis=0) + self._mean) / (weight.sum(axis=0) + 1.0)
        calibration = self.artefact.config.calibration
        p_ok = calibrated([logit(p) for p in mean.tolist()], calibration)
        return Scores(p_ok=p_ok, scorer=self.name, calibrated=bool(calibration))


def projected(
    features: StepFeatures, idf: npt.NDArray[np.float32], signs: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the step's point: TF-IDF through the sign projection, length 1 (all 0 where there is no text)."""
    place, count = hashed(features)
    point = unit(place, count, idf).astype(np.float32) @ signs[place]
    length = float(np.sqrt(point @ point))
    return np.asarray(point / length if length else point, dtype=np.float32)
