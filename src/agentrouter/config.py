"""Configuration: one YAML file and the environment, read once and here only.

Law: the only module that reads ``os.environ`` or config files. Everything wrong with a file is reported at once, each
problem with its line; unknown keys are refused with the nearest known name. Nothing is half started.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.config_file import BudgetSpec, ConfigFile, FlowSpec, LedgerSpec, PinSpec, ProviderSpec, RulesSpec
from agentrouter.config_text import Document, parse_yaml
from agentrouter.eligibility import HardRules, Pin, SloLimit
from agentrouter.errors import AgentRouterError, ConfigError
from agentrouter.flow import FlowSettings
from agentrouter.policies import Policy, build
from agentrouter.prices.overrides import PriceOverride, parse_overrides, shipped_overrides
from agentrouter.prices.spec import candidate_from_spec
from agentrouter.providers.build import key_env
from agentrouter.trajectory import World
from agentrouter.types import Candidate, Slo, Tier

if TYPE_CHECKING:
    from agentrouter.scorers.artefact import Artefact


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A config that has been checked: everything resolved, ready to build a router of."""

    world: World
    policy: Policy
    providers: dict[str, ProviderSpec] = {}
    ledger: LedgerSpec = LedgerSpec()
    telemetry_endpoint: str = ""
    overrides: tuple[PriceOverride, ...] = ()
    source: str = "built-in example"


def load_config(
    path: str | None = None, *, policy: str | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    """Read the config file and the environment.

    Args:
        path: the YAML file; None: ``AGENTROUTER_CONFIG``, else the built-in example.
        policy: a policy spec that comes before the file's; a name or a YAML file.
        environ: the environment; None: this process's.

    Environment: ``AGENTROUTER_CONFIG``, ``AGENTROUTER_POLICY``, ``AGENTROUTER_LEDGER`` (path),
    ``OTEL_EXPORTER_OTLP_ENDPOINT``. A command-line argument beats the environment, which beats the file.

    Raises:
        ConfigError: everything that is wrong with the file, each problem with its line.
    """
    env = os.environ if environ is None else environ
    chosen = path or env.get("AGENTROUTER_CONFIG", "")
    spec = policy or env.get("AGENTROUTER_POLICY") or None
    if not chosen:
        checked = _checked(ConfigFile(), Document.empty(), spec, Path())
    else:
        document = parse_yaml(_read_text(Path(chosen)), file=chosen)
        checked = _checked(document.convert(ConfigFile), document, spec, Path(chosen).parent)
        checked = msgspec.structs.replace(checked, source=chosen)
    ledger = env.get("AGENTROUTER_LEDGER")
    if ledger:
        checked = msgspec.structs.replace(checked, ledger=msgspec.structs.replace(checked.ledger, path=ledger))
    endpoint = env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint:
        checked = msgspec.structs.replace(checked, telemetry_endpoint=endpoint)
    return checked


def load_policy(spec: str) -> Policy:
    """Return the policy a command line names: a spec of the table, or a YAML file.

    Raises:
        ConfigError: neither, or the file's policy cannot be built.
    """
    if not spec.endswith((".yaml", ".yml")):
        return build(spec)
    document = parse_yaml(_read_text(Path(spec)), file=spec)
    try:
        return build(with_artefacts(document.value, Path(spec).parent))
    except ConfigError as error:
        raise ConfigError(error.problems, file=spec) from None


def with_artefacts(spec: Any, folder: Path) -> Any:
    """Return a policy spec with the path under each ``artefact`` replaced by what the folder holds.

    Args:
        spec: as in a policy file; anything but a mapping is returned as it is.
        folder: what a relative path starts from: the folder of the file.

    Raises:
        ModelFileError: a folder that is no artefact.
    """
    if not isinstance(spec, Mapping):
        return spec
    found = {key: with_artefacts(value, folder) for key, value in spec.items()}
    path = found.get("artefact")
    if isinstance(path, str):
        found["artefact"] = artefact_from(folder / Path(path).expanduser())
    return found


def artefact_from(folder: Path) -> Artefact:
    """Read and verify a scorer's artefact.

    Raises:
        ModelFileError: a file is missing, damaged or not what this program reads.
    """
    # Loads numpy, which most starts do not need.
    from agentrouter.scorers.artefact import read_artefact

    return read_artefact(lambda name: (folder / name).read_bytes(), str(folder))


def provider_keys(specs: Mapping[str, ProviderSpec], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the API keys that the environment holds, by provider; a provider without one is left out.

    The variable is the entry's ``api_key_env``, else the vendor's own (``OPENAI_API_KEY``, ...).
    """
    env = os.environ if environ is None else environ
    named = {name: key_env(name, spec) for name, spec in specs.items()}
    return {name: env[variable] for name, variable in named.items() if variable and env.get(variable)}


def cache_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return where downloaded models are kept: ``AGENTROUTER_HOME``, else the user's cache folder."""
    env = os.environ if environ is None else environ
    home = env.get("AGENTROUTER_HOME")
    if home:
        return Path(home).expanduser()
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "agentrouter"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the config file."""
    return msgspec.json.schema(ConfigFile)


def _checked(file: ConfigFile, document: Document, policy: str | None, folder: Path) -> Config:
    problems: list[str] = []

    def attempt(where: str, make: Any, fallback: Any) -> Any:
        try:
            return make()
        except ConfigError as error:
            other = f"{error.file}: " if error.file else ""
            problems.extend(f"{document.place(where)}{other}{problem}" for problem in error.problems)
        except AgentRouterError as error:
            problems.append(f"{document.place(where)}{error}")
        return fallback

    overrides = attempt("price_overrides", lambda: _overrides(file.price_overrides, folder), ())
    candidates = _candidates(file, overrides, attempt, problems, document)
    names = frozenset(candidate.name for candidate in candidates) if file.models else None
    rules = attempt("rules", lambda: _hard_rules(file.rules, names), HardRules())
    settings = attempt("flow", lambda: _flow_settings(file.flow), FlowSettings())
    given = file.policy
    built = attempt("policy", lambda: load_policy(policy) if policy else build(with_artefacts(given, folder)), None)
    budget = attempt("budget", lambda: _budget(file.budget), None)
    if file.version != 1:
        problems.append(f"{document.place('version')}config version {file.version} is not known; this program reads 1")
    if problems:
        raise ConfigError(problems, file=document.file)
    catalog = Catalog(tuple(candidates)) if candidates else builtin_catalog()
    return Config(
        world=World(catalog=catalog, rules=rules, settings=settings, trajectory_budget_nusd=budget),
        policy=built,
        providers=file.providers,
        ledger=file.ledger,
        telemetry_endpoint=file.telemetry.endpoint,
        overrides=overrides,
    )


def _candidates(
    file: ConfigFile, overrides: tuple[PriceOverride, ...], attempt: Any, problems: list[str], document: Document
) -> list[Candidate]:
    today = datetime.now(UTC).date()
    candidates: list[Candidate] = []
    for index, model in enumerate(file.models):
        where = f"models[{index}]"
        spec = msgspec.to_builtins(model)
        made = attempt(where, lambda spec=spec: candidate_from_spec(spec, on=today, overrides=overrides), None)
        if made is None:
            continue
        if any(made.name == other.name for other in candidates):
            problems.append(f"{document.place(where)}two models are named {made.name!r}")
        if made.provider not in file.providers:
            problems.append(f"{document.place(where)}provider {made.provider!r} is not under providers:")
        candidates.append(made)
    return candidates


def _overrides(path: str, folder: Path) -> tuple[PriceOverride, ...]:
    shipped = shipped_overrides()
    if not path:
        return shipped
    # Later rows win over earlier ones of the same rank, so the user's table goes last.
    return (*shipped, *parse_overrides(_read_text(folder / path)))


def _hard_rules(spec: RulesSpec, names: frozenset[str] | None) -> HardRules:
    unknown_slo = [name for name in spec.slo if name not in set(Slo)]
    if unknown_slo:
        raise ConfigError(f"slo: unknown class {unknown_slo[0]!r}; known classes are {', '.join(Slo)}")
    if not 1.0 <= spec.estimate_margin <= 10.0:
        raise ConfigError(f"estimate_margin: expected a factor from 1 to 10, got {spec.estimate_margin}")
    for name, each in spec.slo.items():
        for field, limit in (("max_ttft_ms", each.max_ttft_ms), ("max_total_ms", each.max_total_ms)):
            # NaN would compare as no limit at all.
            if not 0.0 <= limit < math.inf:
                raise ConfigError(f"slo.{name}.{field}: expected milliseconds, 0 (no limit) or more, got {limit}")
    return HardRules(
        roles={role: _pin(pin, f"roles.{role}", names) for role, pin in spec.roles.items()},
        data_classes={name: _pin(pin, f"data_classes.{name}", names) for name, pin in spec.data_classes.items()},
        slo={
            Slo(name): SloLimit(
                max_ttft_ms=each.max_ttft_ms,
                max_total_ms=each.max_total_ms,
                min_tier=Tier.parse(each.min_tier) if each.min_tier else None,
                batch=each.batch,
            )
            for name, each in spec.slo.items()
        },
        estimate_margin=spec.estimate_margin,
    )


def _pin(spec: PinSpec, where: str, names: frozenset[str] | None) -> Pin:
    if not (spec.models or spec.tiers or spec.labels):
        raise ConfigError(f"{where}: an empty pin restricts nothing; give models, tiers or labels, or leave it out")
    missing = sorted(set(spec.models) - names) if names is not None else []
    if missing:
        raise ConfigError(f"{where}: model {missing[0]!r} is not under models:")
    return Pin(
        models=frozenset(spec.models),
        tiers=frozenset(Tier.parse(tier) for tier in spec.tiers),
        labels=frozenset(spec.labels),
    )


def _flow_settings(spec: FlowSpec) -> FlowSettings:
    if not 1 <= spec.max_attempts <= 10:
        raise ConfigError(f"max_attempts: expected 1 to 10, got {spec.max_attempts}")
    return FlowSettings(max_attempts=spec.max_attempts, default_tier=Tier.parse(spec.default_tier), seed=spec.seed)


def _budget(spec: BudgetSpec) -> int | None:
    if spec.trajectory_usd is None:
        return None
    if not 0 < spec.trajectory_usd < 1e9:
        raise ConfigError(f"trajectory_usd: expected a positive number of dollars, got {spec.trajectory_usd}")
    return round(spec.trajectory_usd * 1_000_000_000)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", file=str(path)) from None
    except IsADirectoryError:
        raise ConfigError("is a folder, expected a YAML file", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", file=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
