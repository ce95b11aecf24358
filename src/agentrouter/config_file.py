"""The config file as data: what may stand in it. ``docs/config.schema.json`` is made of these classes.

Law: values only, nothing is checked against anything else here; ``config`` does that.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

DEFAULT_POLICY = "escalate:roles"

Usd = float | str
"""US dollars, as a number or as text (exact)."""


class AmortisedSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model on your own hardware costs."""

    watts: Usd
    usd_per_kwh: Usd
    hardware_usd_per_hour: Usd
    input_tokens_per_s: Usd
    output_tokens_per_s: Usd


class PriceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """List prices, USD per million tokens."""

    input: Usd | UnsetType = UNSET
    output: Usd | UnsetType = UNSET
    cache_read: Usd | UnsetType = UNSET
    cache_write: Usd | UnsetType = UNSET
    cache_write_1h: Usd | UnsetType = UNSET
    batch_percent: int | UnsetType = UNSET
    bands: list[dict[str, Any]] | UnsetType = UNSET
    free: bool | UnsetType = UNSET
    """Costs nothing, said on purpose. A price of zero is refused otherwise."""
    amortised: AmortisedSpec | UnsetType = UNSET
    as_of: str | UnsetType = UNSET
    source: str | UnsetType = UNSET


class CacheSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prompt cache, where it differs from the vendor's own terms."""

    enabled: bool | UnsetType = UNSET
    ttl_s: float | UnsetType = UNSET
    min_tokens: int | UnsetType = UNSET
    step_tokens: int | UnsetType = UNSET
    refresh_on_read: bool | UnsetType = UNSET
    writes_billed: bool | UnsetType = UNSET


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One candidate. Left out prices and windows come from the price library."""

    tier: str
    provider: str
    model: str
    name: str | UnsetType = UNSET
    """Unique name; left out: ``provider/model``."""
    price: PriceSpec | UnsetType = UNSET
    cache: CacheSpec | UnsetType = UNSET
    context_window: int | UnsetType = UNSET
    max_output: int | UnsetType = UNSET
    capabilities: list[str] | UnsetType = UNSET
    labels: list[str] | UnsetType = UNSET
    ttft_ms: float | UnsetType = UNSET
    tokens_per_s: float | UnsetType = UNSET


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. ``kind: openai`` is any endpoint that speaks OpenAI chat completions."""

    kind: str = "openai"
    """``openai`` (HTTP endpoint), ``local`` (embedded GGUF models) or ``scripted`` (no model)."""
    base_url: str = ""
    api_key_env: str = ""
    """Name of the environment variable that holds the key. Keys themselves do not belong into the file."""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 120.0
    threads: int = 0
    """``local`` only: threads per model; 0: chosen by the engine."""


class PinSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a role or data class is restricted to."""

    models: list[str] = []
    tiers: list[str] = []
    labels: list[str] = []


class SloSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one service class demands."""

    max_ttft_ms: float = 0.0
    max_total_ms: float = 0.0
    min_tier: str = ""
    batch: bool = False


class RulesSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hard rules."""

    roles: dict[str, PinSpec] = {}
    data_classes: dict[str, PinSpec] = {}
    slo: dict[str, SloSpec] = {}
    estimate_margin: float = 1.1


class FlowSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attempt limit and where failures of scorer or policy go."""

    max_attempts: int = 3
    default_tier: str = "frontier"
    seed: int = 0


class LedgerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where steps are booked; no path: nowhere."""

    path: str = ""
    store_content: bool = False


class TelemetrySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry export; off unless an endpoint is set."""

    endpoint: str = ""


class BudgetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hard budgets."""

    trajectory_usd: float | None = None


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The config file, as ``docs/config.schema.json`` describes it."""

    version: int = 1
    policy: str | dict[str, Any] = DEFAULT_POLICY
    models: list[ModelSpec] = []
    providers: dict[str, ProviderSpec] = {}
    rules: RulesSpec = RulesSpec()
    flow: FlowSpec = FlowSpec()
    budget: BudgetSpec = BudgetSpec()
    ledger: LedgerSpec = LedgerSpec()
    telemetry: TelemetrySpec = TelemetrySpec()
    price_overrides: str = ""
    """Path of a dated price override file, relative to the config file; comes before the one that ships."""
