"""The replay's result as data: the schema of its JSON, and all that its page and tables show.

Law: values only. Money is integer nano-dollars (``..._nusd``); shares are fractions (0.25 is 25 %), never NaN or
infinite; an interval or share that cannot be computed is None.
"""

from __future__ import annotations

import msgspec

from agentrouter.lab.intervals import Interval

SCHEMA_VERSION = 1

TIER_COLUMNS = ("minimal", "efficient", "mid", "frontier", "unknown")
"""The order of the five counts of a ``TierPoint``."""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What one plan costs over all priced steps, under one accounting of prompt caches."""

    name: str
    """``recorded``, ``recorded_cached``, ``recorded_uncached``, ``frontier_cached``, ``frontier_uncached``, ``policy``,
    ``policy_cached``, ``policy_uncached`` (docs/replay-method.md)."""
    label: str
    caches: str
    """``as billed``, ``simulated`` or ``none``."""
    nusd: int


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """The policy against one named baseline under the same accounting."""

    baseline: str
    """Name of the baseline's bill."""
    policy: str
    """Name of the policy's bill it is compared with."""
    label: str
    baseline_nusd: int
    policy_nusd: int
    """Optimistic end: no downgraded step has to be redone (known failures excepted, which are billed twice)."""
    pessimistic_nusd: int
    """Every downgraded step of unknown outcome is wasted and redone at the recorded model."""
    share: float | None
    """Saving / baseline at the optimistic end; negative: dearer."""
    share_pessimistic: float | None
    sampling: Interval | None
    """Bootstrap interval of ``share`` over trajectories; None: fewer than two."""
    sampling_pessimistic: Interval | None


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a breakdown (a role, tier, model, day or trajectory)."""

    key: str
    steps: int
    changed: int
    """Steps that the policy gave to another model than the recorded one."""
    input_tokens: int
    output_tokens: int
    cache_read_share: float | None
    """Of the recorded input tokens; None: no usage recorded."""
    recorded_nusd: int
    policy_nusd: int
    pessimistic_nusd: int
    frontier_nusd: int
    """Frontier-only with simulated caches."""
    spend_share: float | None
    """Of the recorded bill."""


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Mean spend per trajectory up to and including its step number ``index`` (0-based), nano-dollars."""

    index: int
    steps: int
    """Trajectories that have such a step."""
    recorded_nusd: float
    policy_nusd: float
    frontier_nusd: float


class TierPoint(msgspec.Struct, frozen=True, kw_only=True):
    """How many steps number ``index`` went to each tier (``TIER_COLUMNS``)."""

    index: int
    recorded: tuple[int, int, int, int, int]
    policy: tuple[int, int, int, int, int]


class Unpriced(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that are in no total, by recorded model and reason."""

    model: str
    reason: str
    steps: int
    input_tokens: int
    output_tokens: int
    recorded_nusd: int
    """What their records say they cost, where they say it."""


class RecordQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Where the recorded bill comes from, and what had to be assumed."""

    invoice_steps: int = 0
    """Cost taken from the record."""
    listed_steps: int = 0
    """Recorded usage at list price."""
    estimated_steps: int = 0
    """Neither cost nor usage recorded: token counts at list price with simulated caches."""
    invoice_only_steps: int = 0
    """Model without a list price but with a recorded cost: the simulated bills take the recorded cost."""
    kept_steps: int = 0
    """The hard rules left no candidate: the step stays as recorded in every bill of the policy."""
    kept_rules: dict[str, int] = {}
    clock_steps: int = 0
    """Steps without a usable time, placed ``step_gap_s`` after the one before."""
    returned_trajectories: int = 0
    """Trajectories that came back after their state had been dropped (they restart with cold caches)."""
    notes: dict[str, int] = {}
    """Policy and scorer failures survived by the flow."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the steps that the policy changed."""

    changed: int = 0
    downgraded: int = 0
    """Changed to a lower tier, or to a cheaper model of the same tier."""
    unknown: int = 0
    """Downgraded, and nothing says how it would have ended."""
    known_good: int = 0
    known_bad: int = 0
    recorded_failed: int = 0
    """Downgraded where the recorded model failed too: nothing to lose, so never redone."""


class Motion(msgspec.Struct, frozen=True, kw_only=True):
    """Switching and caching of one plan."""

    switches: int
    cache_read_share: float | None
    """Of input tokens, caches simulated."""
    cold_input_nusd: int
    """Input cost of calls after a trajectory's first that met no live cache of their model."""


class OutputLength(msgspec.Struct, frozen=True, kw_only=True):
    """The policy's bill if other models write shorter or longer answers than the recorded ones."""

    low_factor: float
    high_factor: float
    low_nusd: int
    high_nusd: int


class TraceProblem(msgspec.Struct, frozen=True):
    """One malformed place of the trace."""

    file: str
    line: int
    field: str
    message: str


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader met."""

    files: tuple[str, ...] = ()
    format: str = ""
    lines: int = 0
    steps: int = 0
    skipped: dict[str, int] = {}
    malformed: int = 0
    problems: tuple[TraceProblem, ...] = ()
    lacks: dict[str, int] = {}


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one replay found."""

    version: int = SCHEMA_VERSION
    command: str = ""
    policy: str
    policy_hash: str
    frontier: str
    """Candidate of the frontier-only baseline."""
    seed: int
    confidence: float
    resamples: int
    steps: int
    priced_steps: int
    trajectories: int
    tasks: int
    """Resampling units: a trajectory together with its sub-agents."""
    complete: bool
    """False: some steps are unpriced, so the totals are too low."""
    bills: tuple[Bill, ...]
    savings: tuple[Saving, ...]
    headline: int
    """Index into ``savings`` of the one to quote first."""
    quality: RecordQuality
    outcomes: Outcomes
    recorded_motion: Motion
    policy_motion: Motion
    output_length: OutputLength
    unpriced: tuple[Unpriced, ...]
    by_role: tuple[GroupRow, ...]
    by_tier_recorded: tuple[GroupRow, ...]
    by_tier_policy: tuple[GroupRow, ...]
    by_model_recorded: tuple[GroupRow, ...]
    by_model_policy: tuple[GroupRow, ...]
    by_day: tuple[GroupRow, ...]
    top_trajectories: tuple[GroupRow, ...]
    curve: tuple[CurvePoint, ...]
    tiers: tuple[TierPoint, ...]
    trace: TraceSummary
    assumptions: tuple[str, ...]

    def bill(self, name: str) -> int:
        """Return a bill's total by name, nano-dollars.

        Raises:
            KeyError: no such bill.
        """
        for bill in self.bills:
            if bill.name == name:
                return bill.nusd
        raise KeyError(name)

    def saving(self, baseline: str) -> Saving:
        """Return the saving against the named baseline bill.

        Raises:
            KeyError: no such baseline.
        """
        for saving in self.savings:
            if saving.baseline == baseline:
                return saving
        raise KeyError(baseline)


def encode(report: msgspec.Struct) -> bytes:
    """Return a report as indented JSON (UTF-8, ends with a newline)."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
