"""What one replayed step puts on each bill.

Law: pure arithmetic on the record, the price engine's answers and the flow's record. A call that is the recorded one in
all that its price depends on (same model, same live cached prefix) keeps the recorded usage and cost; any other call is
priced from the record's token counts and simulated caches.
"""

from __future__ import annotations

import msgspec

from agentrouter import bill
from agentrouter.lab.tally import FIGURE_LIMIT, WIDTH
from agentrouter.lab.trace import ModelOutcome, RecordedStep
from agentrouter.types import (
    Attempt,
    CacheEntry,
    Call,
    Candidate,
    Outcome,
    Slo,
    Status,
    Step,
    StepRecord,
    TokenCounts,
    Usage,
)

TOKEN_LIMIT = 100_000_000
"""More tokens than this in one step is a corrupt record."""

SUCCESS = 0.5
"""A recorded success of at least this counts as one."""

ABSURD = "absurd figures"
NO_TOKENS = "no usage recorded"
NO_PRICE = "no price known"
NO_MODEL = "no model recorded"


class PricedStep:
    """One step's figures under the plans that do not depend on the policy, nano-dollars."""

    __slots__ = (
        "cached",
        "candidate",
        "cold",
        "cost",
        "entry",
        "frontier",
        "frontier_uncached",
        "read",
        "source",
        "tokens",
        "uncached",
        "usage",
    )

    candidate: Candidate | None
    """The recorded model; None: not in the catalogue and without a list price."""
    entry: CacheEntry | None
    """Its simulated prompt cache before the call."""
    tokens: TokenCounts
    usage: Usage | None
    cost: int
    """The recorded bill: invoice, else recorded usage at list price, else the simulation."""
    cached: int
    uncached: int
    read: int
    """Simulated cache reads, tokens."""
    cold: int
    """Simulated input cost if the call met no live cache, else 0."""
    frontier: int
    frontier_uncached: int
    source: str
    """``invoice``, ``listed``, ``estimated`` or ``invoice_only``."""


def tokens_of(recorded: RecordedStep) -> TokenCounts | None:
    """Return the step's sizes, from its usage where recorded; None: the record does not say."""
    tokens, usage = recorded.step.tokens, recorded.usage
    if usage is None:
        return tokens if tokens.input or tokens.output else None
    total = usage.input_total
    if tokens.input == total and tokens.output == usage.output and tokens.estimated == usage.estimated:
        return tokens
    return TokenCounts(input=total, output=usage.output, cacheable=tokens.cacheable, estimated=usage.estimated)


def unusable(recorded: RecordedStep, tokens: TokenCounts | None, candidate: Candidate | None) -> str:
    """Return why the step can be in no bill; empty: it can."""
    if tokens is None:
        return NO_TOKENS
    cost, usage = recorded.cost_nusd, recorded.usage
    if not (0 <= tokens.input <= TOKEN_LIMIT and 0 <= tokens.output <= TOKEN_LIMIT):
        return ABSURD
    if cost is not None and not 0 <= cost <= FIGURE_LIMIT:
        return ABSURD
    # An OR of integers is negative if any of them is.
    if usage is not None and usage.fresh_input | usage.cache_read | usage.cache_write | usage.cache_write_1h < 0:
        return ABSURD
    if candidate is None and cost is None:
        return NO_PRICE if recorded.model else NO_MODEL
    return ""


def price_step(
    recorded: RecordedStep,
    step: Step,
    candidate: Candidate | None,
    frontier: Candidate,
    entries: tuple[CacheEntry | None, CacheEntry | None],
    now: float,
) -> PricedStep:
    """Price the step under the recorded plan and under frontier-only.

    Args:
        recorded: the record.
        step: its step, with the record's token counts.
        candidate: the recorded model, if it has a price.
        frontier: the candidate of the frontier-only plan.
        entries: simulated caches of ``candidate`` and of ``frontier``, each under its own plan.
        now: seconds since the epoch.
    """
    tokens, batch = step.tokens, step.slo is Slo.BATCH
    priced = PricedStep()
    priced.tokens = tokens
    priced.candidate, priced.usage, priced.entry = candidate, recorded.usage, entries[0]
    priced.frontier_uncached = _uncached(frontier, tokens.input, tokens.output, batch=batch)
    priced.read = priced.cold = 0
    same = candidate is frontier and _same_cache(entries[0], entries[1], now)
    if not same:
        priced.frontier = bill.quote(frontier, tokens, entries[1], now, batch=batch).total
    if candidate is None:
        priced.cost = priced.cached = priced.uncached = recorded.cost_nusd or 0
        priced.source = "invoice_only"
        return priced
    simulated = bill.simulate_usage(candidate, tokens, priced.entry, now)
    cost = bill.price_usage(simulated, candidate.price, batch=batch)
    priced.cached, priced.read = cost.total, simulated.cache_read
    if same:
        priced.frontier = priced.cached
    if not _live(priced.entry, now):
        priced.cold = cost.fresh_input + cost.cache_write
    if candidate is frontier:
        priced.uncached = priced.frontier_uncached
    else:
        priced.uncached = _uncached(candidate, tokens.input, tokens.output, batch=batch)
    if recorded.cost_nusd is not None:
        priced.cost, priced.source = recorded.cost_nusd, "invoice"
        priced.usage = recorded.usage or simulated
    elif recorded.usage is not None:
        priced.cost, priced.source = bill.price_usage(recorded.usage, candidate.price, batch=batch).total, "listed"
    else:
        priced.cost, priced.source, priced.usage = priced.cached, "estimated", simulated
    return priced


def answer(call: Call, priced: PricedStep, entry: CacheEntry | None, now: float, known: ModelOutcome | None) -> Outcome:
    """Answer a call of the flow from the record.

    Args:
        call: what the flow asks for.
        priced: the step under the recorded plan.
        entry: the called model's prompt cache under the policy's plan.
        now: seconds since the epoch.
        known: what the record says of the called model on this very step, if anything.
    """
    candidate, recorded = call.candidate, priced.candidate
    if recorded is not None and candidate.name == recorded.name and _same_cache(entry, priced.entry, now):
        # What was recorded went to the client, so it is committed: the flow neither replaces nor repeats it.
        usage = priced.usage if priced.usage is not None else Usage()
        return Outcome(usage=usage, recorded_cost_nusd=priced.cost, committed=True)
    tokens = call.step.tokens
    if known is not None and known.usage is not None:
        tokens = msgspec.structs.replace(
            tokens, input=known.usage.input_total or tokens.input, output=known.usage.output
        )
    usage = bill.simulate_usage(candidate, tokens, entry, now)
    if known is not None and known.usage is None and known.cost_nusd is not None:
        return Outcome(usage=usage, recorded_cost_nusd=known.cost_nusd)
    return Outcome(usage=usage)


class Verdicts:
    """What is known of a changed step's outcome; a plain enumeration of count names."""

    SAME = ""
    UPGRADED = "upgraded"
    FAILED = "recorded_failed"
    GOOD = "known_good"
    BAD = "known_bad"
    UNKNOWN = "unknown"


def judge(recorded: RecordedStep, priced: PricedStep, served: Candidate, known: ModelOutcome | None) -> str:
    """Return what is known of the outcome of serving the step with ``served`` (one of ``Verdicts``)."""
    candidate = priced.candidate
    if candidate is not None:
        if served.name == candidate.name:
            return Verdicts.SAME
        if (served.tier, served.price.output) >= (candidate.tier, candidate.price.output):
            return Verdicts.UPGRADED
    failed = recorded.success is not None and recorded.success < SUCCESS
    if failed or recorded.status is not Status.OK:
        return Verdicts.FAILED
    if known is not None and known.success is not None:
        return Verdicts.GOOD if known.success >= SUCCESS else Verdicts.BAD
    return Verdicts.UNKNOWN


class Spent:
    """What the policy's attempts on one step cost under the three accountings, nano-dollars."""

    __slots__ = ("as_billed", "cached", "changed_output", "cold", "input", "read", "uncached")

    def __init__(self) -> None:
        self.as_billed = self.cached = self.uncached = 0
        self.changed_output = self.cold = self.input = self.read = 0


def spend(record: StepRecord, priced: PricedStep, caches: dict[str, CacheEntry], now: float) -> Spent:
    """Add up the attempts of one step."""
    spent = Spent()
    batch = record.step.slo is Slo.BATCH
    for attempt in record.attempts:
        _add_attempt(spent, attempt, priced, caches.get(attempt.candidate.name), now, batch=batch)
    return spent


def _add_attempt(
    spent: Spent, attempt: Attempt, priced: PricedStep, entry: CacheEntry | None, now: float, *, batch: bool
) -> None:
    candidate, outcome, cost = attempt.candidate, attempt.outcome, attempt.cost
    usage = outcome.usage
    spent.as_billed += cost.total
    spent.input += usage.input_total
    if outcome.committed:
        spent.cached += priced.cached
        spent.uncached += priced.uncached
        spent.read += priced.read
        spent.cold += priced.cold
        return
    if outcome.recorded_cost_nusd is not None:
        cost = bill.price_usage(usage, candidate.price, batch=batch)
    spent.cached += cost.total
    spent.read += usage.cache_read
    if not _live(entry, now):
        spent.cold += cost.fresh_input + cost.cache_write
    if priced.candidate is None or candidate.name != priced.candidate.name:
        spent.changed_output += cost.output
    spent.uncached += _uncached(candidate, usage.input_total, usage.output, batch=batch)


def figures(
    recorded: RecordedStep,
    priced: PricedStep,
    spent: Spent | None,
    verdict: str,
    flags: tuple[bool, bool, bool],
) -> tuple[int, ...]:
    """Return one step's figures in the order of ``tally.Column``.

    Args:
        recorded: the record.
        priced: the plans that do not depend on the policy.
        spent: the policy's attempts; None: the step stays as recorded.
        verdict: one of ``Verdicts``.
        flags: a later step than the trajectory's first; the recorded model switched; the policy's did.
    """
    later, *switched = flags
    tokens = priced.tokens
    redo = (priced.cost, priced.cached, priced.uncached)
    policy, changed_output, read, total, cold = redo, 0, priced.read, tokens.input, priced.cold
    if spent is not None:
        policy = (spent.as_billed, spent.cached, spent.uncached)
        changed_output, read, total, cold = spent.changed_output, spent.read, spent.input, spent.cold
    if verdict is Verdicts.BAD:
        # Known to have failed: the redo is part of the bill, not of the uncertainty.
        policy = (policy[0] + redo[0], policy[1] + redo[1], policy[2] + redo[2])
    usage = recorded.usage
    usage_input, usage_read = (usage.input_total, usage.cache_read) if usage is not None else (0, 0)
    return (
        1,
        1 if verdict else 0,
        priced.cost,
        priced.cached,
        priced.uncached,
        priced.frontier,
        priced.frontier_uncached,
        *policy,
        *(redo if verdict is Verdicts.UNKNOWN else _NOTHING),
        changed_output,
        tokens.input,
        tokens.output,
        usage_input,
        usage_read,
        priced.read,
        read,
        total,
        priced.cold if later else 0,
        cold if later else 0,
        *(1 if flag else 0 for flag in switched),
    )


_NOTHING = (0, 0, 0)
assert WIDTH == 25, "figures() fills every column"


def _uncached(candidate: Candidate, input_tokens: int, output_tokens: int, *, batch: bool) -> int:
    """Return the cost of a call that no cache serves; the plain case is written out, since a step needs three of them.

    Rounding as in ``bill.price_usage``: each line to nano-dollars, half to even.
    """
    price = candidate.price
    if price.bands or batch:
        usage = Usage(fresh_input=input_tokens, output=output_tokens)
        return bill.price_usage(usage, price, batch=batch).total
    fresh, written = input_tokens * price.input, output_tokens * price.output
    total = (fresh + 500) // 1000
    if fresh % 1000 == 500:
        total &= -2
    written_nusd = (written + 500) // 1000
    if written % 1000 == 500:
        written_nusd &= -2
    return total + written_nusd


def _live(entry: CacheEntry | None, now: float) -> bool:
    return entry is not None and now <= entry.expires_at


def _same_cache(one: CacheEntry | None, other: CacheEntry | None, now: float) -> bool:
    """Whether both caches would serve the same prefix at ``now``."""
    mine = one.tokens if one is not None and now <= one.expires_at else 0
    theirs = other.tokens if other is not None and now <= other.expires_at else 0
    return mine == theirs
