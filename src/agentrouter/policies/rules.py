"""The first rule whose conditions all hold decides the tier."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentrouter.errors import ConfigError
from agentrouter.policies.pool import accept, accepting, known_options, parse_tier, to_tier
from agentrouter.types import Context, Decision, Reason, Step, Tier


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions of a rule; those given must all hold."""

    role: tuple[str, ...] | None = None
    kind: tuple[str, ...] | None = None
    verb: tuple[str, ...] | None = None
    data_class: tuple[str, ...] | None = None
    min_prefix_tokens: int | None = None
    max_prefix_tokens: int | None = None
    min_step_index: int | None = None
    max_step_index: int | None = None
    min_tools: int | None = None
    max_tools: int | None = None
    min_contract: int | None = None
    """Output contract at least this strict: 0 free text, 1 JSON or a tool, 2 schema or a forced tool."""
    last_is_error: bool | None = None
    min_errors: int | None = None
    min_repeated_calls: int | None = None

    def holds(self, step: Step, context: Context) -> bool:
        """Whether every given condition holds."""
        f = context.features
        load, state = f.load, f.state
        return (
            _among(self.role, step.role, f.role.role)
            and _among(self.kind, step.kind.value)
            and _among(self.verb, f.role.verb)
            and _among(self.data_class, step.data_class)
            and _within(load.prefix_tokens, self.min_prefix_tokens, self.max_prefix_tokens)
            and _within(state.step_index, self.min_step_index, self.max_step_index)
            and _within(load.n_tools, self.min_tools, self.max_tools)
            and _within(f.dependency.contract_strictness, self.min_contract, None)
            and (self.last_is_error is None or self.last_is_error == state.last_is_error)
            and _within(state.errors, self.min_errors, None)
            and _within(state.repeated_calls, self.min_repeated_calls, None)
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: its conditions and the tier they lead to."""

    when: When
    tier: str
    why: str = ""


DEFAULT_RULES = (
    Rule(when=When(kind=("title", "probe")), tier="minimal", why="title or probe call"),
    Rule(when=When(min_repeated_calls=2), tier="frontier", why="the same tool call for the third time"),
    Rule(when=When(last_is_error=True), tier="frontier", why="the last tool call failed"),
    Rule(when=When(role=("plan", "reason")), tier="frontier", why="plans and reasoning"),
    Rule(when=When(max_step_index=0, min_tools=1), tier="frontier", why="first step of an agent with tools"),
    Rule(when=When(role=("format", "execute")), tier="minimal", why="formatting and running"),
    Rule(when=When(max_prefix_tokens=1_000), tier="efficient", why="short prompt"),
)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Try the rules in order; the first that holds decides, else ``default``."""

    rules: tuple[Rule, ...] = DEFAULT_RULES
    default: Tier = Tier.MID
    label: str = "rules"
    reviews: bool = False

    @classmethod
    def from_spec(cls, argument: str, options: Mapping[str, object]) -> Rules:
        """Build from ``rules`` or ``{policy: rules, rules: [{when: {role: [plan]}, tier: frontier}], default: mid}``.

        Raises:
            ConfigError: a rule that cannot be read; names its place.
        """
        known_options(options, ("rules", "default", "label"), "rules")
        rules: tuple[Rule, ...] = DEFAULT_RULES
        if "rules" in options:
            try:
                rules = msgspec.convert(options["rules"], tuple[Rule, ...])
            except msgspec.ValidationError as error:
                raise ConfigError(f"policy rules: {error}") from None
        for index, rule in enumerate(rules):
            parse_tier(rule.tier, f"policy rules: rules[{index}].tier")
        default = parse_tier(options.get("default", "mid"), "policy rules: default")
        return cls(rules=rules, default=default, label=str(options.get("label", "rules")))

    @property
    def name(self) -> str:
        """``rules``, or the label of the user's own."""
        return self.label

    def decide(self, step: Step, context: Context) -> Decision:
        """Apply the first rule that holds."""
        answered = accepting(context)
        if answered is not None:
            return accept(context, answered, self.label)
        for index, rule in enumerate(self.rules):
            if rule.when.holds(step, context):
                detail = f"rule {index + 1}{': ' + rule.why if rule.why else ''}"
                return to_tier(step, context, Tier.parse(rule.tier), Reason.RULE, policy=self.label, detail=detail)
        return to_tier(step, context, self.default, Reason.RULE, policy=self.label, detail="no rule holds")


def _among(allowed: tuple[str, ...] | None, *values: str) -> bool:
    return allowed is None or any(value in allowed for value in values)


def _within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)
