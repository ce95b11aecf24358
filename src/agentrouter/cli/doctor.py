"""``agentrouter doctor``: what works here, and what to do about what does not. Calls no model and no network."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from agentrouter.cli.output import console, print_json
from agentrouter.config import Config, cache_dir, load_config, provider_keys
from agentrouter.errors import AgentRouterError
from agentrouter.ledger import open_ledger
from agentrouter.providers.build import build_providers
from agentrouter.providers.store import ModelState, ModelStore
from agentrouter.types import Tier

EXTRAS = {"local": "xllamacpp", "lab": "polars"}
COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at."""

    what: str
    state: str
    """``ok``, ``note`` (works, but look) or ``bad``."""
    detail: str
    do: str = ""


def run(config: str | None, *, as_json: bool) -> int:
    """Look at everything; return 1 if something is bad."""
    findings = [_python(), *_extras()]
    loaded: Config | None = None
    try:
        loaded = load_config(config)
        findings.append(Finding(what="config", state="ok", detail=f"{loaded.source}; policy {loaded.policy.name}"))
    except AgentRouterError as error:
        findings.append(Finding(what="config", state="bad", detail=str(error), do="mend the file; see docs/config.md"))
    if loaded is not None:
        findings += [*_tiers(loaded), *_providers(loaded), _ledger(loaded)]
        state = loaded.telemetry_endpoint or "off (no endpoint set)"
        findings.append(Finding(what="telemetry", state="ok", detail=state))
    findings += _models()
    if as_json:
        print_json({"ok": all(each.state != "bad" for each in findings), "findings": findings})
    else:
        table = Table("", "what", "found", "to do")
        for each in findings:
            table.add_row(Text(each.state, COLOURS[each.state]), each.what, each.detail, each.do)
        console().print(table)
    return 1 if any(each.state == "bad" for each in findings) else 0


def _python() -> Finding:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    return Finding(what="python", state="ok" if good else "bad", detail=version, do="" if good else "use 3.11 or newer")


def _extras() -> list[Finding]:
    found = []
    for extra, package in EXTRAS.items():
        there = importlib.util.find_spec(package) is not None
        found.append(
            Finding(
                what=f"extra {extra}",
                state="ok" if there else "note",
                detail="installed" if there else f"{package} is not installed",
                do="" if there else f"pip install 'agentrouter[{extra}]'",
            )
        )
    return found


def _tiers(config: Config) -> list[Finding]:
    catalog = config.world.catalog
    empty = [tier.label for tier in Tier if not catalog.in_tier(tier)]
    if empty:
        detail = f"no candidate in {', '.join(empty)}: the nearest tier above serves"
        return [Finding(what="tiers", state="note", detail=detail, do="add models, or leave it so")]
    counts = ", ".join(f"{tier.label} {len(catalog.in_tier(tier))}" for tier in Tier)
    return [Finding(what="tiers", state="ok", detail=counts)]


def _providers(config: Config) -> list[Finding]:
    keys = provider_keys(config.providers)
    found = []
    for name, spec in config.providers.items():
        try:
            build_providers({name: spec}, keys=keys, cache_dir=cache_dir())
            found.append(Finding(what=f"provider {name}", state="ok", detail=spec.base_url or spec.kind))
        except AgentRouterError as error:
            found.append(Finding(what=f"provider {name}", state="bad", detail=str(error)))
    return found


def _ledger(config: Config) -> Finding:
    path = config.ledger.path
    if not path:
        return Finding(what="ledger", state="note", detail="off: steps are not booked", do="set ledger.path")
    if not Path(path).exists():
        return Finding(what="ledger", state="ok", detail=f"{path} (made when first written)")
    try:
        with open_ledger(path, read_only=True) as ledger:
            totals = ledger.totals()
    except AgentRouterError as error:
        return Finding(what="ledger", state="bad", detail=str(error))
    return Finding(what="ledger", state="ok", detail=f"{path}: {totals[0].steps if totals else 0:,} steps")


def _models() -> list[Finding]:
    found = []
    for status in ModelStore(cache_dir()).list():
        bad = status.state in (ModelState.CORRUPT, ModelState.PARTIAL)
        there = status.state is ModelState.PRESENT
        found.append(
            Finding(
                what=f"model {status.model.name}",
                state="bad" if bad else "ok" if there else "note",
                detail=status.state.value,
                do="" if there else f"agentrouter models pull {status.model.name}",
            )
        )
    return found
