"""A scorer against a threshold: the cheapest tier that is predicted to do nearly as well as the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from agentrouter.errors import ConfigError
from agentrouter.policies.pool import accept, accepting, certain, in_tier, known_options, number
from agentrouter.scorers import Scorer, load
from agentrouter.types import Context, Decision, Reason, Step, Tier

if TYPE_CHECKING:
    from agentrouter.scorers.artefact import Artefact

DEFAULT_RETENTION = 0.973


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """Choose the lowest tier whose P(ok) is at least ``retention`` times the highest tier's (RouteLLM's rule on four
    tiers, arXiv 2406.18665, with the threshold on the ratio so that it keeps its meaning over workloads).
    """

    scorer: Scorer
    retention: float = DEFAULT_RETENTION
    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Threshold:
        """Build from ``threshold:<scorer>`` or ``{policy: threshold, scorer: ..., retention: 0.95, artefact: ...}``.

        ``artefact`` is what the scorer was fitted to, an ``Artefact``; in a policy file it is the path of a folder,
        which ``config`` reads. Without it the one that ships is taken.

        Raises:
            ConfigError: no scorer named, an unknown one, or a retention outside [0, 1].
            ModelFileError: the artefact cannot be used, or none is given and none ships.
        """
        known_options(options, ("scorer", "retention", "artefact"), "threshold")
        scorer, _, retention = argument.partition(":")
        scorer = scorer or str(options.get("scorer", ""))
        if not scorer:
            raise ConfigError("policy threshold: name a scorer, as in threshold:length")
        value = retention or options.get("retention", DEFAULT_RETENTION)
        artefact = options.get("artefact")
        return cls(
            scorer=load(scorer, _fitted(artefact) if artefact is not None else None),
            retention=number(value, "policy threshold: retention", low=0.0, high=1.0),
        )

    @property
    def name(self) -> str:
        """``threshold:<scorer>``, with the retention where it is not the default one."""
        tail = "" if self.retention == DEFAULT_RETENTION else f":{self.retention:g}"
        return f"threshold:{self.scorer.name}{tail}"

    def decide(self, step: Step, context: Context) -> Decision:
        """Score the step and take the lowest sufficient tier; a broken scorer means the default tier, noted."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        scores = self.scorer.score(step, context.features)
        if not all(math.isfinite(p) and 0.0 <= p <= 1.0 for p in scores.p_ok):
            detail = f"scorer {self.scorer.name} gave {scores.p_ok}"
            return certain(context, context.default, Reason.SCORER_ERROR, policy=self.name, detail=detail)
        needed = self.retention * max(scores.p_ok)
        tier = next(tier for tier in Tier if scores.p_ok[tier] >= needed)
        chosen = in_tier(step, context, tier)
        detail = f"P(ok)={scores.p_ok[tier]:.3f} >= {needed:.3f} at {tier.label}"
        return certain(context, chosen, Reason.THRESHOLD, policy=self.name, detail=detail, scores=scores)


def _fitted(given: object) -> Artefact:
    # Loads numpy, which scorers with nothing fitted do not need.
    from agentrouter.scorers.artefact import Artefact

    if not isinstance(given, Artefact):
        raise ConfigError(f"policy threshold: artefact: expected a folder in a policy file, got {given!r}")
    return given
