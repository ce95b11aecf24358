"""P(ok) from words: TF-IDF and one logistic head a tier.

The field's sobering baseline (LLMRouterBench, 2601.07206): hard to beat on benchmarks that it has seen, and much of
that is recognising the benchmark. Words are hashed (``hashing``), so there is no vocabulary to ship.
"""

from __future__ import annotations

import numpy as np

from agentrouter.scorers.artefact import Artefact, ArtefactScorer
from agentrouter.scorers.hashing import BUCKETS, TEXT_ENCODING, hashed, unit
from agentrouter.scorers.ordinal import calibrated
from agentrouter.types import Scores, Step, StepFeatures


class TfidfScorer(ArtefactScorer):
    """logit P(ok) = w_tier . tfidf + b_tier, calibrated, made non-decreasing over the tiers."""

    name = "tfidf"

    def __init__(self, artefact: Artefact) -> None:
        artefact.expect(self.name, TEXT_ENCODING)
        self.artefact = artefact
        self._idf = artefact.array("idf", "f", BUCKETS).astype(np.float32)
        self._weight = artefact.array("weight", "f", BUCKETS, 4).astype(np.float32)
        self._bias = artefact.array("bias", "f", 4)

    def score(self, step: Step, features: StepFeatures) -> Scores:
        """Return P(ok) by tier, minimal first."""
        place, count = hashed(features)
        logits = unit(place, count, self._idf) @ self._weight[place] + self._bias
        calibration = self.artefact.config.calibration
        return Scores(p_ok=calibrated(logits.tolist(), calibration), scorer=self.name, calibrated=bool(calibration))
