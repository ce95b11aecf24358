"""The org chart: a tier for each role. The strongest of the simple baselines."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.errors import ConfigError
from agentrouter.policies.pool import accept, accepting, known_options, parse_tier, to_tier
from agentrouter.roles import canonical_role
from agentrouter.types import CallKind, Context, Decision, Reason, Step, Tier

DEFAULT_CHART: dict[str, Tier] = {
    "plan": Tier.FRONTIER,
    "reason": Tier.FRONTIER,
    "verify": Tier.MID,
    "edit": Tier.MID,
    "worker": Tier.MID,
    "chat": Tier.MID,
    "tool_call": Tier.EFFICIENT,
    "retrieve": Tier.EFFICIENT,
    "summarise": Tier.EFFICIENT,
    "execute": Tier.MINIMAL,
    "format": Tier.MINIMAL,
    "title": Tier.MINIMAL,
    "probe": Tier.MINIMAL,
}
"""The chart that ships. A role that is not in it, nor an alias of one that is, goes to ``default``."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """Send each step to the tier its role has in the chart."""

    chart: dict[str, Tier] = msgspec.field(default_factory=DEFAULT_CHART.copy)
    default: Tier = Tier.MID
    label: str = "roles"
    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Roles:
        """Build from ``roles`` or ``{policy: roles, chart: {planner: frontier, ...}, default: mid}``.

        Raises:
            ConfigError: a chart that is not a mapping of role to tier.
        """
        known_options(options, ("chart", "default", "label"), "roles")
        chart = options.get("chart")
        if chart is not None and not (isinstance(chart, Mapping) and chart):
            raise ConfigError(f"policy roles: chart must map roles to tiers, got {chart!r}")
        tiers = {str(role): parse_tier(tier, f"chart.{role}") for role, tier in chart.items()} if chart else None
        if tiers:
            tiers = _with_canonical(tiers)
        return cls(
            chart=tiers or dict(DEFAULT_CHART),
            default=parse_tier(options.get("default", "mid"), "policy roles: default"),
            label=str(options.get("label", "roles")),
        )

    @property
    def name(self) -> str:
        """``roles``, or the label of the user's chart."""
        return self.label

    def decide(self, step: Step, context: Context) -> Decision:
        """Look the role up: as given, then as the canonical one it stands for or was inferred, then by kind of call."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.label)
        role = step.role
        tier = self.chart.get(role)
        if tier is None:
            role = context.features.role.role
            tier = self.chart.get(role)
        if tier is None and step.kind in (CallKind.TITLE, CallKind.PROBE):
            role = step.kind.value
            tier = self.chart.get(role)
        if tier is None:
            detail = f"role {step.role!r} is not in the chart"
            return to_tier(step, context, self.default, Reason.ROLE_UNLISTED, policy=self.label, detail=detail)
        return to_tier(step, context, tier, Reason.ROLE, policy=self.label, detail=role)


def _with_canonical(chart: dict[str, Tier]) -> dict[str, Tier]:
    """Add the canonical role behind each name of the chart, so that ``planner`` also covers ``plan``, ``planning`` and
    a step that was recognised as one; a canonical role whose names disagree stays as the user wrote it.
    """
    found: dict[str, set[Tier]] = {}
    for role, tier in chart.items():
        canonical = canonical_role(role)
        if canonical and canonical != "unknown":
            found.setdefault(canonical, set()).add(tier)
    return {**{role: tiers.pop() for role, tiers in found.items() if len(tiers) == 1}, **chart}
