"""Driving policies over step tables: the serving code on recorded prompts, and the bill of what was chosen.

Law: pure. Each row is parsed once for all policies and goes through ``trajectory.prepare`` and ``flow.route_flow`` as a
live step does; recorded outcomes are never visible to a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from agentrouter import bill
from agentrouter.catalog import Catalog
from agentrouter.errors import ConfigError, InputError, NoCandidateError
from agentrouter.flow import route_flow
from agentrouter.lab.metrics.arrays import Bools, Floats, Ints, complete, known
from agentrouter.lab.step_tables import N_TIERS, STRANGER, StepTable
from agentrouter.lab.trace import Problem, TraceReport
from agentrouter.policies import Policy
from agentrouter.trajectory import SHRINK_TOLERANCE, TrajectoryState, World, advance, prepare
from agentrouter.types import CacheEntry, Candidate, Context, Outcome, Step, StepRecord, Tier, TokenCounts, Usage
from agentrouter.wire import EXPECTED_OUTPUT_TOKENS, step_from_messages

STEP_SECONDS = 15.0
"""Time between two steps of a trajectory where tables do not record it: well inside every cache's time to live."""

PROGRESS_EVERY = 500
START = TrajectoryState()

Progress = Callable[[str, int, int], None]
"""Called with (source, rows done, rows of the source)."""


class Driven(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies chose on one table, one entry a row (p policies, n rows)."""

    tiers: Ints
    """(p, n) chosen tier."""
    p_ok: Floats
    """(p, n, 4) the scores behind the choice; NaN where a policy gave none."""
    errors: Ints
    """(p,) steps on which a policy failed and the default tier served."""
    usable: Bools
    """Rows that could be parsed and had a legal candidate for every policy."""
    heads: list[str]
    """Fingerprint of each prompt's head."""
    sizes: Ints
    """Estimated input tokens of each prompt."""


def tier_candidates(catalog: Catalog) -> tuple[Candidate, ...]:
    """Return the candidate that stands for each tier: the first of the catalogue.

    Raises:
        ConfigError: a tier has none.
    """
    empty = [tier.label for tier in Tier if not catalog.in_tier(tier)]
    if empty:
        raise ConfigError(f"the evaluation needs a model in each tier; there is none in {', '.join(empty)}")
    return tuple(catalog.in_tier(tier)[0] for tier in Tier)


def drive(
    table: StepTable, policies: Sequence[Policy], world: World, report: TraceReport, progress: Progress | None
) -> Driven:
    """Let every policy route every step of a table, trajectory by trajectory."""
    n = len(table.rows)
    tiers = np.full((len(policies), n), -1, dtype=np.int64)
    p_ok = np.full((len(policies), n, N_TIERS), np.nan)
    errors = np.zeros(len(policies), dtype=np.int64)
    usable = np.ones(n, dtype=bool)
    heads, sizes = [""] * n, np.zeros(n, dtype=np.int64)
    done = 0
    for run in table.runs():
        states = [START] * len(policies)
        for place, row in enumerate(run):
            step = read_step(table, row, report)
            if step is None:
                usable[row] = False
                continue
            heads[row], sizes[row] = step.prefix_hash, step.tokens.input
            now = place * STEP_SECONDS
            # Before its first step a trajectory is the same to every policy, and features are the dearest part.
            first = _context(step, START, world, now) if place == 0 else None
            for index, policy in enumerate(policies):
                context = first if place == 0 else _context(step, states[index], world, now)
                record = None if context is None else _routed(policy, step, context, world)
                if record is None or record.served is None:
                    usable[row] = False
                    continue
                if len(run) > 1:
                    states[index] = advance(states[index], record, now)
                tiers[index, row] = int(record.served.tier)
                errors[index] += any(note.startswith("policy_error") for note in record.notes)
                scores = record.decisions[0].scores
                if scores is not None:
                    p_ok[index, row] = scores.p_ok
        before, done = done, done + len(run)
        if progress is not None and (done == n or before // PROGRESS_EVERY != done // PROGRESS_EVERY):
            progress(table.source, done, n)
    return Driven(tiers=tiers, p_ok=p_ok, errors=errors, usable=usable, heads=heads, sizes=sizes)


def read_step(table: StepTable, row: int, report: TraceReport) -> Step | None:
    """Return one row as a step; None where it cannot be read, which ``report`` lists."""
    content = table.rows[row]
    trajectory = table.trajectory_ids[row]
    index = int(table.step_index[row])
    try:
        return step_from_messages(
            content.messages,
            content.tools,
            id=f"{table.source}/{trajectory}/{index}/{int(table.numbers[row])}",
            trajectory_id=trajectory,
            step_index=index,
            role=content.role,
            context_chars=content.context_chars,
            speaker_role=STRANGER,
        )
    except InputError as error:
        report.bad(Problem(table.file, int(table.numbers[row]), error.field, error.message))
        return None


def _context(step: Step, state: TrajectoryState, world: World, now: float) -> Context | None:
    """Return the context of a step; None: no candidate is legal."""
    try:
        return prepare(step, state, world, now)
    except NoCandidateError:
        return None


def _routed(policy: Policy, step: Step, context: Context, world: World) -> StepRecord:
    """Route one step as ``Router.route`` does: the choice answers as expected."""
    flow = route_flow(policy, step, context, world.settings)
    call = next(flow)
    entry = context.caches.get(call.candidate.name)
    usage = bill.simulate_usage(call.candidate, step.tokens, entry, context.now)
    try:
        flow.send(Outcome(usage=usage, committed=True))
    except StopIteration as stop:
        record: StepRecord = stop.value
        return record
    raise AssertionError("the flow asked for another call after a committed answer")


class Bills:
    """Prices every tier on every row of a table, and any sequence of choices with caches."""

    def __init__(self, table: StepTable, driven: Driven, candidates: tuple[Candidate, ...]) -> None:
        recorded = np.round(table.input_tokens)
        self.estimated_input: Bools = np.logical_not(known(recorded)).astype(np.bool_)
        self.estimated_output: Bools = np.logical_not(complete(table.output_tokens)).astype(np.bool_)
        self.input: Ints = np.where(self.estimated_input, driven.sizes, recorded).astype(np.int64)
        self.output: Ints = np.where(
            np.isnan(table.output_tokens), EXPECTED_OUTPUT_TOKENS, np.round(table.output_tokens)
        ).astype(np.int64)
        self._candidates = candidates
        self._heads = driven.heads
        self._long_runs = [run for run in table.runs() if len(run) > 1]
        n = self.input.size
        self.plain, self._cold = np.zeros((n, N_TIERS)), np.zeros((n, N_TIERS))
        for row in range(n):
            size = int(self.input[row])
            for tier, candidate in enumerate(candidates):
                tokens = self._tokens(row, tier)
                usage = Usage(fresh_input=size, output=tokens.output)
                self.plain[row, tier] = bill.price_usage(usage, candidate.price).total
                self._cold[row, tier] = bill.quote(candidate, tokens, None, 0.0).total

    def with_caches(self, choice: Ints) -> tuple[Floats, Ints]:
        """Return cost (nano-dollars) and cache-read tokens of each row when ``choice`` serves, prompt caches on."""
        cost = self._cold[np.arange(choice.size), choice]
        read = np.zeros(choice.size, dtype=np.int64)
        for run in self._long_runs:
            caches: dict[int, CacheEntry] = {}
            head = self._heads[run[0]]
            for place, row in enumerate(run):
                if self._heads[row] != head:
                    caches, head = {}, self._heads[row]
                tier, now = int(choice[row]), place * STEP_SECONDS
                candidate, tokens = self._candidates[tier], self._tokens(row, tier)
                entry = caches.get(tier)
                if entry is not None and entry.tokens > tokens.input * SHRINK_TOLERANCE:
                    entry = None
                usage = bill.simulate_usage(candidate, tokens, entry, now)
                cost[row] = bill.price_usage(usage, candidate.price).total
                read[row] = usage.cache_read
                after = bill.cache_after(candidate, tokens, entry, now)
                if after is not None:
                    caches[tier] = after
        return cost, read

    def _tokens(self, row: int, tier: int) -> TokenCounts:
        return TokenCounts(input=int(self.input[row]), output=int(self.output[row, tier]))


def only(table: StepTable, keep: Bools) -> StepTable:
    """Return the table with the rows that ``keep`` says, their order unchanged."""
    places = np.flatnonzero(keep).tolist()

    def some(values: list[Any]) -> list[Any]:
        return [values[place] for place in places]

    return msgspec.structs.replace(
        table,
        numbers=table.numbers[keep],
        rows=some(table.rows),
        outcome=table.outcome[keep],
        input_tokens=table.input_tokens[keep],
        output_tokens=table.output_tokens[keep],
        trajectory_ids=some(table.trajectory_ids),
        step_index=table.step_index[keep],
        run=table.run[keep],
        groups=some(table.groups),
        label_levels=some(table.label_levels),
    )
