"""What ``agentrouter lab evaluate`` reports, as data. The JSON form is documented in docs/metrics.md.

Law: values only. Fractions are fractions, never percent; money is USD; None means "not defined on these rows".
"""

from __future__ import annotations

import msgspec

from agentrouter.lab.metrics.bootstrap import Interval
from agentrouter.lab.metrics.labels import TwinScore
from agentrouter.lab.trace import Problem

SCHEMA = "agentrouter.evaluation/1"

RULES = (
    "outcome of a tier on a row: mean success of the tier's models that stand on it; models without a tier are left "
    "out and listed",
    "cost of a tier: catalogue list prices; input tokens are the mean over the row's models, output tokens the mean "
    "over the tier's, else over the row's; where none were recorded, input is estimated from characters / 4 and output "
    "as 300 tokens, and the row is counted as estimated",
    "with caches: the previous prompt of a trajectory is taken as a prefix of the next, steps 15 s apart, one cache a "
    "tier, everything cold on the first step; without: every input token at the list price",
    "cost_reduction is over all rows, for the tiers as chosen; it needs no outcome",
    "a chosen tier that was not measured on a row is read as the nearest measured tier above it, else below, in "
    "outcome AND cost, on both sides of the comparison; read_up and read_down count those rows",
    "quality is compared on rows with at least two measured tiers: the same rows for every policy",
    "the reference is the highest measured tier of the row (frontier wherever it was measured)",
    "always choosing the frontier tier retains 1 by definition, also where nothing can be compared (basis: identity)",
    "tier label: lowest tier with outcome >= 0.5, on step- or turn-level rows with all four tiers measured; a row "
    "where no tier reaches 0.5 has none",
    "TrajPass and CostSave take a trajectory as the rows of it that the table has, if all of them have a label; costs "
    "with caches, one benchmark a source",
    "answers are not simulated: no verifier runs, the first attempt is served, nothing escalates",
    "oracle: per row the measured tier with the best outcome, ties to the cheaper; oracle-cheapest: the cheapest tier "
    "no worse than the reference; frontier where nothing was measured",
    "intervals: 95 %, paired bootstrap over groups",
    "rows judged at task or trajectory level say what a whole run did and cost only its first prompt here; the "
    "step_level block leaves them out",
)
"""How the figures come about; part of every report."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Quality against the reference, and what it cost, on the rows where several tiers were measured."""

    n: int
    basis: str
    """``measured``; ``identity``: always the frontier tier where nothing can be compared; ``none``."""
    success: float | None
    reference_success: float | None
    retention: Interval | None
    non_inferior: bool | None
    """Whether retention is at least 1 - 0.03 with 97.5 % confidence."""
    non_inferior_p: float | None
    cost_reduction: Interval | None
    """On these rows, with the tiers as read; caches on. The figure to hold against ``retention``."""
    cost_reduction_nocache: Interval | None
    read_up: int
    read_down: int
    perf_gain: float | None
    """Mean success / that of the best constant tier - 1."""
    arena_score: float | None
    capgr: float | None
    aiq: float | None
    """Over a sweep of the price of quality, for policies that give scores; cost without caches."""


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Choices against tier labels."""

    n: int
    pass_rate: float
    exact_rate: float
    under_routing_rate: float
    over_routing_rate: float
    sufficient_rate: float
    """Share whose chosen tier measured at least 0.5: differs from ``pass_rate`` where a higher tier does worse."""
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    usd_regret: float
    """USD per step, a miss priced at 0."""
    twin: TwinScore | None
    """On trajectories all of whose rows have a label."""
    twin_rows: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How honest the scorer's p_ok is, by tier, minimal first; None: the tier was not measured."""

    n: int
    ece: tuple[float | None, ...]
    brier: tuple[float | None, ...]


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """One policy, or reference, on one set of rows."""

    policy: str
    reference: bool
    """True: an oracle, a constant tier or random, for comparison."""
    n: int
    tier_shares: tuple[float, ...]
    cost_usd: float
    cost_nocache_usd: float
    cost_reduction: Interval | None
    cost_reduction_nocache: Interval | None
    quality: Quality
    labels: Labels | None
    calibration: Calibration | None
    switches_per_trajectory: float
    cache_read_share: float
    policy_errors: int
    """Steps on which the policy failed and the default tier served."""


class CurveResult(msgspec.Struct, frozen=True, kw_only=True):
    """RouteLLM's figures of one policy on a source with two measured tiers."""

    policy: str
    basis: str
    """``scores``: p_ok(strong) - p_ok(weak); ``tiers``: the chosen tier alone; the yardsticks
    ``oracle``, ``prompt-length`` (characters) and ``random``."""
    apgr: float
    """Eleven-point trapezoid."""
    apgr_continuous: Interval
    cpt50: float | None
    cpt80: float | None


class TwoModels(msgspec.Struct, frozen=True, kw_only=True):
    """The two-model part of a source."""

    weak: str
    strong: str
    n: int
    weak_success: float
    strong_success: float
    curves: list[CurveResult]
    note: str = ""


class SourceResult(msgspec.Struct, frozen=True, kw_only=True):
    """One source, or a pool of sources."""

    source: str
    n: int
    groups: int
    trajectories: int
    compared: int
    """Rows with at least two measured tiers."""
    labelled: int
    measured: tuple[int, ...]
    """Rows on which each tier was measured, minimal first."""
    label_levels: dict[str, int]
    left_out: dict[str, int]
    """Rows that are not in any figure, by reason."""
    not_compared: dict[str, int]
    """Rows without a quality comparison, by reason: ``not_measured``, ``one_tier``."""
    not_labelled: dict[str, int]
    """Rows without a tier label, by reason: ``task_level``, ``tiers_missing``, ``no_tier_sufficient``."""
    estimated_input: int
    estimated_output: int
    two_models: TwoModels | None
    results: list[PolicyResult]


class PolicyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluated policy."""

    name: str
    hash: str


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``lab evaluate``; ``to_json`` gives the file of ``--json``."""

    schema: str = SCHEMA
    seed: int
    resamples: int
    policies: list[PolicyInfo]
    prices: dict[str, dict[str, int]]
    """Tier -> list prices, micro-dollars per million tokens."""
    files: list[str]
    rows: int
    """Rows of all files."""
    used: int
    overall: SourceResult
    step_level: SourceResult | None
    """As ``overall``, over rows judged at step or turn level; None: there are none."""
    sources: list[SourceResult]
    models_without_tier: dict[str, int]
    malformed: int
    problems: list[Problem]
    rules: tuple[str, ...] = RULES

    def to_json(self) -> bytes:
        """Return the report as indented JSON, the same bytes for the same input and seed."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of the report."""
    return msgspec.json.schema(EvaluationReport)
