"""The identity policy: what the trace says ran. Under it a replay must give back the recorded bill."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.policies.pool import accept, accepting, certain, known_options
from agentrouter.types import Context, Decision, Reason, Step


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Choose the candidate that the step's record names; ``Step.recorded`` is set by the trace readers only."""

    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Recorded:
        """Build from ``recorded``."""
        known_options(options, (), "recorded")
        return cls()

    @property
    def name(self) -> str:
        """``recorded``."""
        return "recorded"

    def decide(self, step: Step, context: Context) -> Decision:
        """Choose the recorded candidate; where there is none (a live step), the default one."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        for action in context.actions:
            if action.name == step.recorded:
                return certain(context, action, Reason.RECORDED, policy=self.name)
        detail = "the step has no record" if not step.recorded else f"{step.recorded} is not legal here"
        return certain(context, context.default, Reason.FIXED, policy=self.name, detail=detail)
