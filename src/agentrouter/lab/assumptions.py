"""What a replay assumed, in sentences for the reader of its report.

Law: text only; every assumption that the figures rest on is said here, with its number.
"""

from __future__ import annotations

import msgspec

from agentrouter.lab.replay_report import RecordQuality
from agentrouter.lab.trace import TraceReport


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the report says of the run itself."""

    command: str
    policy: str
    policy_hash: str
    frontier: str
    seed: int
    resamples: int
    confidence: float
    output_factors: tuple[float, float]
    step_gap_s: float
    top: int


def assumptions_of(
    facts: RunFacts, quality: RecordQuality, trace: TraceReport | None, *, complete: bool
) -> tuple[str, ...]:
    """Return the assumptions behind a report, the general ones first."""
    low, high = facts.output_factors
    lines = [
        "No model was called. A step that the policy gives to the recorded model with the same live prompt cache keeps "
        "its recorded cost; every other call is priced from the recorded token counts with simulated caches.",
        "Optimistic end: every answer of another model would have been good. Pessimistic end: every step given to a "
        "lower tier (or a cheaper model of the same tier) whose outcome is unknown is wasted and redone at the "
        "recorded model, both calls billed. The truth lies between; the replay cannot say where.",
        f"Other models are assumed to write answers as long as the recorded ones; with {low:g} to {high:g} times the "
        "length the policy's bill moves as shown.",
        "Token counts are those of the recorded model's tokenizer; other models' may differ.",
        f"Sampling intervals: {facts.confidence:.0%} percentile bootstrap over tasks (a trajectory with its "
        f"sub-agents), {facts.resamples} resamples, seed {facts.seed}. They say how the figure would vary over other "
        "tasks of the same kind, nothing about quality.",
        f"The frontier-only baseline sends every step to {facts.frontier}, caches simulated in the same way; hard "
        "rules are not applied to it.",
    ]
    lines += _record_gaps(facts, quality)
    if not complete:
        lines.append("Steps listed as unpriced are in no total: the totals are incomplete.")
    if trace is not None and trace.lacks.get("cache"):
        lines.append(
            f"{trace.lacks['cache']} steps record usage without cached counts: their recorded bill takes every input "
            "token as fresh."
        )
    return tuple(lines)


def _record_gaps(facts: RunFacts, quality: RecordQuality) -> list[str]:
    lines = []
    if quality.clock_steps:
        lines.append(
            f"{quality.clock_steps} steps have no usable time: each was placed {facts.step_gap_s:g} s after the one "
            "before it in its trajectory, which decides whether simulated caches are still alive."
        )
    if quality.invoice_only_steps:
        lines.append(
            f"{quality.invoice_only_steps} steps ran on a model without a list price: the bills of the recorded models "
            "with simulated caches and without caches take their recorded cost."
        )
    if quality.estimated_steps:
        lines.append(
            f"{quality.estimated_steps} steps record neither cost nor usage: their recorded bill is estimated from "
            "token counts at list price with simulated caches."
        )
    if quality.kept_steps:
        lines.append(f"{quality.kept_steps} steps had no legal candidate under the hard rules and stay as recorded.")
    if quality.returned_trajectories:
        lines.append(
            f"{quality.returned_trajectories} trajectories came back after their state had been dropped to bound "
            "memory; they restarted with cold caches and an empty history."
        )
    return lines
