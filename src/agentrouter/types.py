"""The nouns of AgentRouter as frozen data (docs/glossary.md).

Law: values only. Nothing here reads a file, a clock or a socket, and nothing mutates after construction. ``gc=False``
stands where a value can only hold values made before it, so that no cycle can arise: a prompt of 2,000 messages would
otherwise set off the garbage collector in the middle of a decision.
Must not import any other module of the package but ``errors`` and ``money``.

Units, everywhere in the package:

* money: integer **nano-dollars** (``..._nusd``; 1 USD = 1_000_000_000). A 10-token step at 0.10 USD per million
  tokens costs 1 micro-dollar, so micro-dollars would already round; reports print micro-dollars.
* prices: integer **micro-dollars per million tokens** (``Price``), which is the same number as pico-dollars per token.
* time: seconds since the epoch as ``float`` (``now``), durations in the unit their name ends with.
* tokens: ``int``, never negative.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from agentrouter.errors import FailureKind, InputError
from agentrouter.money import CacheEntry as CacheEntry
from agentrouter.money import CacheTerms as CacheTerms
from agentrouter.money import Cost as Cost
from agentrouter.money import Price as Price
from agentrouter.money import PriceBand as PriceBand
from agentrouter.money import Usage as Usage

NUSD_PER_USD = 1_000_000_000
NUSD_PER_MICRO = 1_000


class Tier(IntEnum):
    """Ordered classes of capability and price; a tier is a pool of candidates."""

    MINIMAL = 0
    EFFICIENT = 1
    MID = 2
    FRONTIER = 3

    @property
    def label(self) -> str:
        """The tier's name as users write it (``"minimal"``)."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Tier:
        """Return the tier of that name.

        Raises:
            InputError: no such tier; the message lists the four.
        """
        try:
            return cls[text.strip().upper()]
        except (KeyError, AttributeError):
            names = ", ".join(tier.label for tier in cls)
            raise InputError(f"unknown tier {text!r}: expected one of {names}") from None


class Slo(StrEnum):
    """Service class of a step: how long its caller can wait."""

    REALTIME = "realtime"
    STANDARD = "standard"
    PREMIUM = "premium"
    BATCH = "batch"


class CallKind(StrEnum):
    """What sort of request of the agent's run this is."""

    MAIN = "main"
    SUBAGENT = "subagent"
    TITLE = "title"
    PROBE = "probe"
    COMPACTION = "compaction"


class Capability(StrEnum):
    """What a candidate can do beyond text in, text out."""

    TOOLS = "tools"
    VISION = "vision"
    FILES = "files"
    AUDIO = "audio"
    JSON_SCHEMA = "json_schema"
    LOGPROBS = "logprobs"
    REASONING = "reasoning"
    BATCH = "batch"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One concrete model at one provider, with price, limits and capabilities."""

    name: str
    """Unique: ``provider/model``."""
    provider: str
    model: str
    tier: Tier
    price: Price
    cache: CacheTerms = CacheTerms()
    context_window: int = 128_000
    max_output: int = 8_192
    capabilities: frozenset[Capability] = frozenset()
    labels: frozenset[str] = frozenset()
    """Compliance labels (``local``, ``eu``, ``zdr``, ...), matched by pins and data classes."""
    ttft_ms: float = 0.0
    """Expected 95th percentile of the time to the first token; 0: unknown."""
    tokens_per_s: float = 0.0
    """Expected decoding speed; 0: unknown."""


class Accept(msgspec.Struct, frozen=True):
    """The action that accepts the last attempt."""

    name: str = "accept"


ACCEPT = Accept()
Action = Candidate | Accept


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call the model asked for; ``arguments`` is the JSON text exactly as it came."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of the prompt, normalised over the client dialects."""

    role: str
    """``system``, ``developer``, ``user``, ``assistant`` or ``tool``."""
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """Set on tool results: the call they answer."""
    is_error: bool = False
    """The tool result says that the tool failed."""
    images: int = 0
    files: int = 0
    reasoning_chars: int = 0
    """Length of thinking blocks and encrypted reasoning (opaque to us)."""
    cache_breakpoint: bool = False


class Tool(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tool the model may call."""

    name: str
    description: str = ""
    parameters: str = ""
    """JSON Schema of the arguments, as JSON text; empty: unknown."""
    kind: str = "function"


class OutputContract(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the caller demands of the answer's form."""

    form: str = "text"
    """``text``, ``json`` (any JSON), ``json_schema``, ``tool`` (some tool must be called)."""
    schema: str = ""
    """JSON Schema as JSON text, for ``json_schema``."""
    tool: str = ""
    """Name of the forced tool, for ``tool``; empty: any."""
    max_tokens: int = 0
    """0: the caller set no limit."""


class Pins(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Hard constraints that came with the step itself. Never widened."""

    model: str = ""
    tier: Tier | None = None
    labels: frozenset[str] = frozenset()
    """Every candidate used must carry all of these."""
    max_cost_nusd: int | None = None


class TokenCounts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Sizes of the step as known before the call; ``estimated`` unless a trace or tokenizer gave them."""

    input: int = 0
    """Whole prompt: instructions, messages, tool schemas."""
    output: int = 0
    """Expected (live) or recorded (replay) output tokens."""
    cacheable: int = -1
    """Prefix up to the last cache breakpoint; -1: the whole prompt."""
    estimated: bool = True


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One model call inside an agent's run, as visible before the call."""

    id: str
    trajectory_id: str
    index: int = 0
    parent_id: str = ""
    """Trajectory that started this one (sub-agents); empty: none."""
    role: str = "unknown"
    """Canonical role (``features.ROLES``) or a name of the user's own org chart."""
    kind: CallKind = CallKind.MAIN
    retry: int = 0
    """Which try of the client's SDK this is; above 0 it is a retry of a step, not a new one."""
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    output: OutputContract = OutputContract()
    tokens: TokenCounts = TokenCounts()
    slo: Slo = Slo.STANDARD
    data_class: str = ""
    pins: Pins = Pins()
    replayable: bool = True
    """False: the step has side effects, so it can be neither verified by re-running nor escalated."""
    recorded: str = ""
    """Candidate that a trace says ran; set by the replay, read by the ``recorded`` policy only."""
    prefix_hash: str = ""
    """Fingerprint of the prompt's cacheable head (tools + system); a change means that every cache is cold."""


class RoleFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Group 1: role and type of the step."""

    role: str
    kind: CallKind
    verb: str
    """The action the newest instruction asks for (``plan``, ``edit``, ...; ``unknown``)."""
    is_tool_result: bool
    asks_question: bool


class SemanticFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Group 2: the encoder's input, head and tail of the newest instruction and observation."""

    instruction: str
    observation: str


class LoadFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Group 3: context load."""

    prefix_tokens: int
    new_tokens: int
    n_messages: int
    n_tools: int
    tool_schema_tokens: int
    code_share: float
    data_share: float
    n_images: int
    n_files: int


class StateFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Group 4: trajectory state."""

    step_index: int
    errors: int
    steps_since_error: int
    """-1: no error so far."""
    last_is_error: bool
    repeated_calls: int
    """How many times the newest tool call was made in identical form before."""
    retries: int
    tool_results: int
    recent_tiers: tuple[int, ...]
    """Tiers of the last few steps, oldest first."""
    switches: int
    foreign_share: float
    """Share of the assistant tokens of the prefix that another tier than the last one wrote."""


class DependencyFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Group 5: dependency and criticality."""

    reversible: bool
    contract_strictness: int
    """0 free text, 1 any JSON or required tool, 2 JSON Schema or forced tool."""
    fan_out: float
    """How much of what follows hangs on this step, 0..1 (a plan 1, a title 0)."""


class StepFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The five groups. Every value is computed from what is visible before the call."""

    role: RoleFeatures
    semantics: SemanticFeatures
    load: LoadFeatures
    state: StateFeatures
    dependency: DependencyFeatures


class Status(StrEnum):
    """How an attempt or a step ended."""

    OK = "ok"
    ERROR = "error"
    TRUNCATED = "truncated"
    CANCELLED = "cancelled"


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one verifier said of one attempt."""

    verifier: str
    p_good: float
    """P(attempt is good), 0..1; hard checks give 0 or 1."""
    passed: bool
    detail: str = ""
    cost_nusd: int = 0
    failed_to_run: bool = False
    """The verifier itself broke: noted, and the attempt counts as unverified."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model answered."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    """``stop``, ``length``, ``tool_calls``, ``content_filter``, ``refusal``, ``unknown``."""
    logprobs: tuple[float, ...] = ()
    """Log-probability of each output token; empty: not given."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a driver hands back for a ``Call``: the reply, or how it failed; measured, not judged."""

    status: Status = Status.OK
    reply: Reply = Reply()
    usage: Usage = Usage()
    latency_ms: float = 0.0
    ttft_ms: float = 0.0
    failure: FailureKind | None = None
    failure_detail: str = ""
    retry_after_s: float = 0.0
    verdicts: tuple[Verdict, ...] = ()
    committed: bool = False
    """A byte of this answer has gone to the client: it can no longer be replaced."""
    recorded_cost_nusd: int | None = None
    """The invoice's figure, where a trace has one; else the bill engine prices ``usage``."""


class Reason(StrEnum):
    """Why an action was chosen."""

    FIXED = "fixed"
    UNIFORM = "uniform"
    ROLE = "role"
    ROLE_UNLISTED = "role_unlisted"
    RULE = "rule"
    LENGTH = "length"
    THRESHOLD = "threshold"
    EXPLORE = "explore"
    STICKY = "sticky"
    RECORDED = "recorded"
    ONLY_LEGAL = "only_legal"
    TIER_UNAVAILABLE = "tier_unavailable"
    ACCEPTED = "accepted"
    ESCALATION = "escalation"
    FALLBACK = "fallback"
    POLICY_ERROR = "policy_error"
    SCORER_ERROR = "scorer_error"
    PLAN = "plan"


class Scores(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A scorer's answer: P(step handled acceptably) for each tier, minimal first."""

    p_ok: tuple[float, float, float, float]
    low: tuple[float, float, float, float] | None = None
    high: tuple[float, float, float, float] | None = None
    scorer: str = ""
    calibrated: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A policy's answer. ``probabilities`` is parallel to ``context.actions``, sums to 1, and holds the propensity."""

    action: Action
    probabilities: tuple[float, ...]
    reason: Reason
    detail: str = ""
    scores: Scores | None = None
    policy: str = ""
    verify: tuple[str, ...] = ()
    """Names of the verifiers to run on the answer; empty: the flow's free ones."""


class AttemptKind(StrEnum):
    """Why this attempt was made."""

    FIRST = "first"
    ESCALATION = "escalation"
    FALLBACK = "fallback"


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call the flow asks its driver to make."""

    step: Step
    candidate: Candidate
    number: int
    kind: AttemptKind
    verify: tuple[str, ...] = ()


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call made for a step, with what it cost."""

    candidate: Candidate
    number: int
    kind: AttemptKind
    outcome: Outcome
    cost: Cost


class PastStep(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What later steps may know of an earlier one."""

    index: int
    role: str
    tier: Tier
    candidate: str
    status: Status
    escalated: bool
    cost_nusd: int
    output_tokens: int
    input_tokens: int = 0
    """Prompt tokens of the step; 0: unknown."""


class History(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The trajectory so far: running totals and the newest few steps (bounded, so that a step stays O(1))."""

    steps: int = 0
    spend_nusd: int = 0
    errors: int = 0
    escalations: int = 0
    switches: int = 0
    last_error_index: int = -1
    recent: tuple[PastStep, ...] = ()
    """At most ``HISTORY_KEEP`` newest steps, oldest first."""
    output_tokens: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Output tokens written so far, by tier."""

    def after(self, past: PastStep) -> History:
        """Return the history with ``past`` appended."""
        failed = past.status is not Status.OK
        last = self.recent[-1] if self.recent else None
        written = list(self.output_tokens)
        written[past.tier] += past.output_tokens
        return History(
            steps=self.steps + 1,
            spend_nusd=self.spend_nusd + past.cost_nusd,
            errors=self.errors + failed,
            escalations=self.escalations + past.escalated,
            switches=self.switches + (last is not None and last.candidate != past.candidate),
            last_error_index=past.index if failed else self.last_error_index,
            recent=(*self.recent[1 - HISTORY_KEEP :], past),
            output_tokens=(written[0], written[1], written[2], written[3]),
        )


HISTORY_KEEP = 16


class Budget(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What may still be spent, nano-dollars; None: no limit."""

    remaining_nusd: int | None = None
    scope: str = "trajectory"


class Exclusion(msgspec.Struct, frozen=True, gc=False):
    """One candidate that is not legal for a step, and why."""

    candidate: str
    rule: str
    """``context_window``, ``tools``, ``modality``, ``pin``, ``data_class``, ``slo``, ``health`` or
    ``budget``."""
    detail: str


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the step that a decision may depend on, as values."""

    actions: tuple[Action, ...]
    """The legal actions, candidates in catalogue order, ACCEPT last when an attempt can be accepted."""
    features: StepFeatures
    default: Candidate
    """Where scorer or policy failures go: the legal candidate of (or nearest above) the default tier."""
    history: History = History()
    attempts: tuple[Attempt, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    budget: Budget = Budget()
    caches: dict[str, CacheEntry] = {}
    """Prompt cache by candidate name. Treat as read-only; the conformance suite checks that policies do."""
    draw: float = 0.0
    """Uniform in [0, 1), from seed, step id and attempt number."""
    now: float = 0.0

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The legal candidates (``actions`` without ACCEPT)."""
        return tuple(action for action in self.actions if isinstance(action, Candidate))


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decision as it was taken, for the ledger and for off-policy evaluation."""

    action: str
    propensity: float
    probabilities: dict[str, float]
    reason: Reason
    detail: str = ""
    policy: str = ""
    scores: Scores | None = None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the flow returns: one step, everything decided, tried and paid for it."""

    step: Step
    features: StepFeatures
    status: Status
    served: Candidate | None
    """Whose answer the caller got; None: no attempt answered."""
    decisions: tuple[DecisionRecord, ...]
    attempts: tuple[Attempt, ...]
    excluded: tuple[Exclusion, ...]
    started_at: float
    notes: tuple[str, ...] = ()
    """Scorer, verifier and policy failures that were survived."""

    @property
    def cost_nusd(self) -> int:
        """What the step cost over all its attempts and checks, nano-dollars."""
        total = 0
        for attempt in self.attempts:
            total += attempt.cost.total
            for verdict in attempt.outcome.verdicts:
                total += verdict.cost_nusd
        return total

    @property
    def escalated(self) -> bool:
        """Whether a later attempt in another tier was decided after a check."""
        return any(attempt.kind is AttemptKind.ESCALATION for attempt in self.attempts)

    @property
    def reply(self) -> Reply | None:
        """The answer that was served."""
        for attempt in reversed(self.attempts):
            if self.served is not None and attempt.candidate.name == self.served.name:
                return attempt.outcome.reply
        return None
