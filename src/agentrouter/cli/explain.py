"""``agentrouter explain``: why a step went where it went."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from agentrouter import bill
from agentrouter.cli.output import console, print_json
from agentrouter.cli.route import StepLine, decode_line, step_of
from agentrouter.config import load_config
from agentrouter.errors import ConfigError
from agentrouter.ledger import open_ledger
from agentrouter.ledger.rows import LedgerStep
from agentrouter.router import Router
from agentrouter.types import Candidate, Context, DecisionRecord, Slo, Step


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate as the decision saw it."""

    candidate: str
    tier: str
    probability: float
    quote_nusd: int
    """What the call would have cost, nano-dollars; 0 for an excluded candidate."""
    excluded: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a step would go where it would go."""

    step_id: str
    chosen: str
    reason: str
    policy: str
    candidates: tuple[Quoted, ...]
    features: object


def explain_live(config: str | None, policy: str | None, *, as_json: bool) -> None:
    """Explain the decision on one step given as JSON on stdin; nothing is called.

    Raises:
        InputError: stdin is not one step.
        NoCandidateError: the hard rules leave no candidate.
    """
    loaded = load_config(config, policy=policy)
    router = Router(loaded.world, loaded.policy)
    line: StepLine = decode_line(sys.stdin.buffer.read(), 1)
    step = step_of(line, router)
    routed = router.route(step)
    decision = routed.record.decisions[0]
    explanation = Explanation(
        step_id=step.id,
        chosen=decision.action,
        reason=_reason(decision),
        policy=decision.policy,
        candidates=_quoted(step, routed.context, decision),
        features=msgspec.to_builtins(routed.context.features),
    )
    if as_json:
        print_json(explanation)
        return
    out = console()
    out.print(f"step {step.id} -> {decision.action}  ({explanation.reason})", style="bold")
    table = Table("candidate", "tier", "probability", "quote", "why not")
    for row in explanation.candidates:
        price = bill.format_usd(row.quote_nusd) if not row.excluded else ""
        table.add_row(row.candidate, row.tier, f"{row.probability:.3f}", price, row.excluded)
    out.print(table)
    for group, values in msgspec.to_builtins(routed.context.features).items():
        shown = ", ".join(f"{name}={_short(value)}" for name, value in values.items())
        out.print(Text.assemble((group, "bold"), f": {shown}"))


def explain_booked(step_id: str, ledger: Path | None, config: str | None, *, as_json: bool) -> None:
    """Explain a step from the ledger: decisions, attempts, exclusions, notes.

    Raises:
        ConfigError: no ledger is named.
        LedgerError: the ledger cannot be read.
        InputError: it has no such step.
    """
    path = str(ledger) if ledger is not None else load_config(config).ledger.path
    if not path:
        raise ConfigError("no ledger: give --ledger FILE, or ledger.path in the config")
    with open_ledger(path, read_only=True) as opened:
        booked = opened.explain(step_id)
    if as_json:
        print_json(booked)
        return
    _print_booked(booked)


def _print_booked(booked: LedgerStep) -> None:
    out = console()
    step = booked.step
    served = booked.served.name if booked.served is not None else "nobody"
    out.print(
        f"step {step.id} of {step.trajectory_id} (no. {step.index}, role {step.role}): "
        f"{booked.status.value}, served by {served} for {bill.format_usd(booked.cost_nusd)}",
        style="bold",
    )
    decisions = Table("decision", "chosen", "propensity", "why", "of")
    for number, made in enumerate(booked.decisions):
        others = ", ".join(f"{name} {p:.2f}" for name, p in made.probabilities.items() if name != made.action)
        decisions.add_row(str(number + 1), made.action, f"{made.propensity:.3f}", _reason(made), others)
    out.print(decisions)
    attempts = Table("attempt", "candidate", "kind", "status", "fresh", "cached", "written", "out", "cost", "checks")
    for attempt in booked.attempts:
        usage, outcome = attempt.outcome.usage, attempt.outcome
        checks = ", ".join(f"{v.verifier} {'ok' if v.passed else 'failed'}" for v in outcome.verdicts)
        status = outcome.status.value if outcome.failure is None else f"{outcome.status.value}: {outcome.failure.value}"
        attempts.add_row(
            str(attempt.number + 1),
            attempt.candidate.name,
            attempt.kind.value,
            status,
            str(usage.fresh_input),
            str(usage.cache_read),
            str(usage.cache_write + usage.cache_write_1h),
            str(usage.output),
            bill.format_usd(attempt.cost.total),
            checks,
        )
    out.print(attempts)
    for exclusion in booked.excluded:
        out.print(f"not {exclusion.candidate}: {exclusion.rule}, {exclusion.detail}")
    for note in booked.notes:
        out.print(f"note: {note}")


def _quoted(step: Step, context: Context, decision: DecisionRecord) -> tuple[Quoted, ...]:
    rows = [
        Quoted(
            candidate=action.name,
            tier=action.tier.label,
            probability=decision.probabilities.get(action.name, 0.0),
            quote_nusd=bill.quote(
                action, step.tokens, context.caches.get(action.name), context.now, batch=step.slo is Slo.BATCH
            ).total,
        )
        for action in context.actions
        if isinstance(action, Candidate)
    ]
    rows += [
        Quoted(candidate=x.candidate, tier="", probability=0.0, quote_nusd=0, excluded=f"{x.rule}: {x.detail}")
        for x in context.excluded
    ]
    return tuple(rows)


def _reason(decision: DecisionRecord) -> str:
    return f"{decision.reason.value}: {decision.detail}" if decision.detail else decision.reason.value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
