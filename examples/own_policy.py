"""A policy of your own in one class, and the conformance suite over it.

Run: ``python examples/own_policy.py``.
"""

from __future__ import annotations

import msgspec

from agentrouter import Context, Decision, Step, Tier
from agentrouter.policies.checks import CHECKS
from agentrouter.policies.pool import accept, accepting, to_tier
from agentrouter.types import Reason


class FirstStepsFirst(msgspec.Struct, frozen=True, kw_only=True):
    """Frontier for the first ``careful`` steps of a trajectory and after an error, efficient for the rest."""

    careful: int = 2
    reviews: bool = False

    @property
    def name(self) -> str:
        return "first-steps-first"

    def decide(self, step: Step, context: Context) -> Decision:
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.name)
        state = context.features.state
        careful = state.step_index < self.careful or state.last_is_error
        tier = Tier.FRONTIER if careful else Tier.EFFICIENT
        return to_tier(step, context, tier, Reason.RULE, policy=self.name)


def main() -> None:
    for check in CHECKS:
        check(FirstStepsFirst())
        print(f"ok  {check.__name__.removeprefix('check_')}")


if __name__ == "__main__":
    main()
