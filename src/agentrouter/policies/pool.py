"""What policies share: choosing within a tier, certain decisions, reading options of a spec."""

from __future__ import annotations

from collections.abc import Mapping

from agentrouter import bill
from agentrouter.errors import ConfigError, InputError
from agentrouter.types import Accept, Action, Candidate, Context, Decision, Reason, Scores, Slo, Step, Tier


def accepting(context: Context) -> Accept | None:
    """Return ACCEPT if there is an answer to accept (it is always the last action)."""
    last = context.actions[-1]
    return last if isinstance(last, Accept) else None


def certain(
    context: Context,
    action: Action,
    reason: Reason,
    *,
    policy: str,
    detail: str = "",
    scores: Scores | None = None,
) -> Decision:
    """Return the decision that takes ``action`` with probability 1."""
    return Decision(
        action=action,
        probabilities=tuple([1.0 if other is action else 0.0 for other in context.actions]),
        reason=reason,
        detail=detail,
        policy=policy,
        scores=scores,
    )


def accept(context: Context, action: Accept, policy: str) -> Decision:
    """Return the decision that takes the last answer."""
    return certain(context, action, Reason.ACCEPTED, policy=policy)


def in_tier(step: Step, context: Context, tier: Tier) -> Candidate:
    """Return the candidate of ``tier`` that this call costs least with, its prompt cache counted.

    Where the tier has no legal candidate, the nearest tier above serves, else the nearest below.
    """
    best: Candidate | None = None
    best_key = (9, 9, 0)
    quoted: int | None = None
    for candidate in context.actions:
        if isinstance(candidate, Accept):
            continue
        distance = candidate.tier - tier
        side = (0, distance) if distance >= 0 else (1, -distance)
        if side > best_key[:2]:
            continue
        if side < best_key[:2]:
            best, best_key, quoted = candidate, (*side, 0), None
            continue
        # Prices are looked up only where a tier really has a choice.
        assert best is not None
        if quoted is None:
            quoted = quote(step, context, best)
        other = quote(step, context, candidate)
        if other < quoted:
            best, quoted = candidate, other
    assert best is not None, "eligibility leaves at least one candidate"
    return best


def quote(step: Step, context: Context, candidate: Candidate) -> int:
    """Return what the call would cost now, nano-dollars, with the candidate's prompt cache as it is."""
    entry = context.caches.get(candidate.name)
    return bill.quote(candidate, step.tokens, entry, context.now, batch=step.slo is Slo.BATCH).total


def to_tier(step: Step, context: Context, tier: Tier, reason: Reason, *, policy: str, detail: str = "") -> Decision:
    """Return the certain decision for ``tier``, saying so when another tier had to serve."""
    chosen = in_tier(step, context, tier)
    if chosen.tier != tier:
        detail = f"{tier.label} wanted ({detail or reason.value}), no legal candidate there"
        reason = Reason.TIER_UNAVAILABLE
    return certain(context, chosen, reason, policy=policy, detail=detail)


def sample(probabilities: list[float], draw: float) -> int:
    """Return the index that ``draw`` in [0, 1) falls on; rounding at the end goes to the last positive entry."""
    cumulative = 0.0
    last = 0
    for index, probability in enumerate(probabilities):
        if probability <= 0.0:
            continue
        cumulative += probability
        last = index
        if draw < cumulative:
            return index
    return last


def parse_tier(value: object, where: str) -> Tier:
    """Return the tier a spec names.

    Raises:
        ConfigError: not a tier.
    """
    try:
        return Tier.parse(value if isinstance(value, str) else repr(value))
    except InputError as error:
        raise ConfigError(f"{where}: {error}") from None


def known_options(options: Mapping[str, object], known: tuple[str, ...], policy: str) -> None:
    """Refuse options the policy does not have.

    Raises:
        ConfigError: names each unknown key and the known ones.
    """
    unknown = [key for key in options if key not in known]
    if unknown:
        listed = ", ".join(known) or "none"
        raise ConfigError([f"policy {policy}: unknown option {key!r}; known options: {listed}" for key in unknown])


def number(value: object, where: str, *, low: float, high: float) -> float:
    """Return a finite number of a spec within [low, high].

    Raises:
        ConfigError: not such a number.
    """
    try:
        result = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        result = None
    if result is None or not low <= result <= high:
        raise ConfigError(f"{where}: expected a number from {low} to {high}, got {value!r}")
    return result
