"""Hard rules: which candidates may serve a step, and why each other one may not.

Law: rules only exclude. When nothing is left the caller gets ``NoCandidateError``; no rule is ever relaxed, and what a
rule cannot decide (an unknown data class, a pin on a model that is not there) excludes as well: pins, compliance and
budgets fail closed. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from agentrouter import bill
from agentrouter.roles import canonical_role
from agentrouter.types import Budget, CacheEntry, Candidate, Capability, Exclusion, Slo, Step, Tier

DEFAULT_OUTPUT_RESERVE = 1_024
"""Output tokens reserved in the context window when the caller set no limit and no expectation is known."""


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the steps of one role or data class are restricted to. An empty field does not restrict."""

    models: frozenset[str] = frozenset()
    tiers: frozenset[Tier] = frozenset()
    labels: frozenset[str] = frozenset()
    """All of these must be among the candidate's labels."""


class SloLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one service class demands. 0 and None do not restrict; a candidate of unknown speed passes speed limits."""

    max_ttft_ms: float = 0.0
    max_total_ms: float = 0.0
    """Time to first token plus expected output at the candidate's decoding speed."""
    min_tier: Tier | None = None
    batch: bool = False
    """Only candidates that offer batch calls, at the batch price."""


class HardRules(msgspec.Struct, frozen=True, kw_only=True):
    """All hard rules of a config."""

    roles: dict[str, Pin] = {}
    data_classes: dict[str, Pin] = {}
    slo: dict[Slo, SloLimit] = {}
    estimate_margin: float = 1.1
    """Estimated prompt sizes are multiplied by this before they are compared with a context window."""


Legal = tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]


def eligible(
    step: Step,
    candidates: tuple[Candidate, ...],
    rules: HardRules,
    *,
    unhealthy: Mapping[str, str],
    budget: Budget,
    caches: Mapping[str, CacheEntry],
    now: float,
) -> Legal:
    """Split ``candidates`` into the legal ones (order kept) and the excluded ones with the first rule that bars each.

    Args:
        step: the step to serve.
        candidates: the whole catalogue.
        rules: the config's hard rules.
        unhealthy: candidate name -> why it is out (cooldown, ejected).
        budget: what may still be spent; compared with the cache-aware quote of this one call.
        caches: prompt cache by candidate name, for the quote.
        now: seconds since the epoch.
    """
    checks = _checks_for(step, rules)
    limit = _cost_limit(step, budget)
    legal: list[Candidate] = []
    excluded: list[Exclusion] = []
    for candidate in candidates:
        barred: tuple[str, str] | None = None
        if candidate.name in unhealthy:
            barred = ("health", unhealthy[candidate.name])
        else:
            for check in checks:
                barred = check(candidate)
                if barred is not None:
                    break
            else:
                if limit is not None:
                    barred = _over_budget(step, candidate, limit, caches, now)
        if barred is None:
            legal.append(candidate)
        else:
            excluded.append(Exclusion(candidate.name, *barred))
    return tuple(legal), tuple(excluded)


def affordable(
    step: Step,
    candidates: tuple[Candidate, ...],
    *,
    spent_nusd: int,
    budget: Budget,
    caches: Mapping[str, CacheEntry],
    now: float,
) -> tuple[Candidate, ...]:
    """Return the candidates that a further attempt can still pay for, after attempts that cost ``spent_nusd``."""
    limit = _cost_limit(step, budget)
    if limit is None:
        return candidates
    left = (limit[0] - spent_nusd, limit[1])
    return tuple(each for each in candidates if _over_budget(step, each, left, caches, now) is None)


Check = Callable[[Candidate], tuple[str, str] | None]


def _checks_for(step: Step, rules: HardRules) -> list[Check]:
    """Build only the checks this step needs, so that a plain step pays for one comparison a candidate."""
    checks: list[Check] = [_window_check(step, rules.estimate_margin)]
    needs = _needed_capabilities(step)
    if needs:
        checks.append(lambda candidate: _capability_gap(candidate, needs))
    pins = step.pins
    if pins.model:
        checks.append(lambda c: None if pins.model in (c.name, c.model) else ("pin", f"the step pins {pins.model}"))
    if pins.tier is not None:
        tier = pins.tier
        checks.append(lambda c: None if c.tier == tier else ("pin", f"the step pins tier {tier.label}"))
    if pins.labels:
        checks.append(lambda c: _label_gap(c, pins.labels, "pin", "the step"))
    for name, pin in _role_pins(step.role, rules.roles) if rules.roles else ():
        checks.append(partial(_pin_gap, pin=pin, rule="pin", who=f"role {name}"))
    if step.data_class:
        checks.append(_data_class_check(step.data_class, rules.data_classes.get(step.data_class)))
    slo = rules.slo.get(step.slo) if rules.slo else None
    if slo is not None:
        checks.append(lambda c: _slo_gap(c, slo, step))
    return checks


def _role_pins(role: str, pins: Mapping[str, Pin]) -> list[tuple[str, Pin]]:
    """Return the pin of the role as written, else every pin on another name of it.

    ``Planner``, ``planning`` and ``plan`` are one role: a pin that missed the other spellings would fail open.
    """
    if role in pins:
        return [(role, pins[role])]
    canonical = canonical_role(role) or role.lower()
    if canonical == "unknown":
        return []
    return [(name, pin) for name, pin in pins.items() if (canonical_role(name) or name.lower()) == canonical]


def reserved_output(step: Step, candidate: Candidate) -> int:
    """Output tokens to keep free: the caller's limit (clipped to what the model can write), else the expectation."""
    return min(_wanted_output(step), candidate.max_output)


def _wanted_output(step: Step) -> int:
    return step.output.max_tokens or max(step.tokens.output, DEFAULT_OUTPUT_RESERVE)


def _window_check(step: Step, margin: float) -> Check:
    size = step.tokens.input
    if step.tokens.estimated:
        size = int(size * margin)

    at_most = size + _wanted_output(step)

    def check(candidate: Candidate) -> tuple[str, str] | None:
        if at_most <= candidate.context_window:
            return None
        need = size + reserved_output(step, candidate)
        if need <= candidate.context_window:
            return None
        return ("context_window", f"needs {need} tokens, the window holds {candidate.context_window}")

    return check


def _needed_capabilities(step: Step) -> tuple[Capability, ...]:
    needs: list[Capability] = []
    if step.tools:
        needs.append(Capability.TOOLS)
    if step.output.form == "json_schema":
        needs.append(Capability.JSON_SCHEMA)
    images = files = 0
    for message in step.messages:
        images += message.images
        files += message.files
    if images:
        needs.append(Capability.VISION)
    if files:
        needs.append(Capability.FILES)
    return tuple(needs)


def _capability_gap(candidate: Candidate, needs: tuple[Capability, ...]) -> tuple[str, str] | None:
    for need in needs:
        if need not in candidate.capabilities:
            rule = "modality" if need in (Capability.VISION, Capability.FILES, Capability.AUDIO) else need.value
            return (rule, f"the step needs {need.value}, the model lacks it")
    return None


def _label_gap(candidate: Candidate, labels: frozenset[str], rule: str, who: str) -> tuple[str, str] | None:
    missing = labels - candidate.labels
    if not missing:
        return None
    return (rule, f"{who} requires {', '.join(sorted(missing))}")


def _pin_gap(candidate: Candidate, pin: Pin, rule: str, who: str) -> tuple[str, str] | None:
    if pin.models and candidate.name not in pin.models:
        return (rule, f"{who} is pinned to {', '.join(sorted(pin.models))}")
    if pin.tiers and candidate.tier not in pin.tiers:
        return (rule, f"{who} is pinned to tier {', '.join(tier.label for tier in sorted(pin.tiers))}")
    return _label_gap(candidate, pin.labels, rule, who)


def _data_class_check(name: str, pin: Pin | None) -> Check:
    if pin is None:
        # An unknown class may be the strictest one: nothing is allowed until the config says what it requires.
        return lambda _: ("data_class", f"data class {name!r} is not configured")
    return lambda candidate: _pin_gap(candidate, pin, "data_class", f"data class {name}")


def _slo_gap(candidate: Candidate, limit: SloLimit, step: Step) -> tuple[str, str] | None:
    if limit.min_tier is not None and candidate.tier < limit.min_tier:
        return ("slo", f"class {step.slo.value} starts at tier {limit.min_tier.label}")
    if limit.batch and Capability.BATCH not in candidate.capabilities:
        return ("slo", f"class {step.slo.value} needs batch calls")
    if limit.max_ttft_ms and candidate.ttft_ms > limit.max_ttft_ms:
        return (
            "slo",
            f"first token after {candidate.ttft_ms:.0f} ms, class {step.slo.value} allows {limit.max_ttft_ms:.0f}",
        )
    if limit.max_total_ms and candidate.tokens_per_s:
        total = candidate.ttft_ms + 1000.0 * reserved_output(step, candidate) / candidate.tokens_per_s
        if total > limit.max_total_ms:
            return ("slo", f"takes {total:.0f} ms, class {step.slo.value} allows {limit.max_total_ms:.0f}")
    return None


def _cost_limit(step: Step, budget: Budget) -> tuple[int, str] | None:
    limits = [
        (amount, scope)
        for amount, scope in ((budget.remaining_nusd, budget.scope), (step.pins.max_cost_nusd, "step"))
        if amount is not None
    ]
    return min(limits) if limits else None


def _over_budget(
    step: Step, candidate: Candidate, limit: tuple[int, str], caches: Mapping[str, CacheEntry], now: float
) -> tuple[str, str] | None:
    amount, scope = limit
    quote = bill.quote(candidate, step.tokens, caches.get(candidate.name), now, batch=step.slo is Slo.BATCH).total
    if quote <= amount:
        return None
    return ("budget", f"costs {bill.format_usd(quote)}, the {scope} budget holds {bill.format_usd(max(amount, 0))}")
