"""The audit's result as data: the org chart of spend.

Law: values only; units and shares as in ``replay_report``.
"""

from __future__ import annotations

import msgspec

from agentrouter.lab.intervals import Interval
from agentrouter.lab.replay_report import ReplayReport, Saving

SCHEMA_VERSION = 1


class ModelShare(msgspec.Struct, frozen=True):
    """A model and its part of a role's spend."""

    model: str
    share: float


class RoleSpend(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the org chart."""

    role: str
    """As recorded or inferred; sub-agents' steps are marked."""
    steps: int
    spend_nusd: int
    spend_share: float | None
    input_tokens: int
    output_tokens: int
    cache_read_share: float | None
    models: tuple[ModelShare, ...]
    """The dearest three."""
    tier: str
    """Where most of the role's spend goes now."""
    suggested: str
    """Tier to move the role to; the same as ``tier``: keep it."""
    why: str
    errors: int
    retries: int
    mean_output: float
    strict_share: float
    """Steps whose output must follow a schema or call a given tool."""
    success: float | None
    """Mean recorded success; None: not recorded."""
    after_nusd: int
    """The role's own steps under the suggested chart, optimistic end."""
    pessimistic_nusd: int
    share: float | None
    """Saving on the role's own steps, optimistic end."""
    share_pessimistic: float | None
    sampling: Interval | None
    sampling_pessimistic: Interval | None


class Waste(msgspec.Struct, frozen=True, kw_only=True):
    """One trajectory that spent more than it seems to have needed."""

    trajectory: str
    steps: int
    spend_nusd: int
    after_nusd: int
    """Under the suggested chart, optimistic end."""
    repeats: int
    """Calls identical to an earlier one of the trajectory (same model, messages and tools)."""
    retries: int
    repeated_nusd: int
    """What the repeats and retries cost."""


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one audit found."""

    version: int = SCHEMA_VERSION
    command: str = ""
    steps: int
    spend_nusd: int
    saving: Saving
    """The suggested chart against the recorded bill."""
    roles: tuple[RoleSpend, ...]
    """The dearest first."""
    wasteful: tuple[Waste, ...]
    repeats: int
    repeats_nusd: int
    retries: int
    retries_nusd: int
    comparable_steps: int
    """Steps with content, among which repeats can be seen."""
    replay: ReplayReport
    """The replay under the suggested chart, with everything the record lacked."""
