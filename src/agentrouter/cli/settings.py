"""``agentrouter config``: check a file, print the schema."""

from __future__ import annotations

from rich.table import Table

from agentrouter.cli.output import console, print_json
from agentrouter.config import json_schema, load_config


def check(file: str, policy: str | None, *, as_json: bool) -> None:
    """Read a config file as a start would, and say what it comes to.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    loaded = load_config(file, policy=policy)
    candidates = loaded.world.catalog.candidates
    if as_json:
        names = [{"name": each.name, "tier": each.tier.label} for each in candidates]
        print_json({"ok": True, "policy": loaded.policy.name, "candidates": names, "providers": list(loaded.providers)})
        return
    out = console()
    out.print(f"{file}: fine. Policy {loaded.policy.name}, {len(candidates)} candidates", markup=False)
    table = Table("candidate", "tier", "window")
    for candidate in candidates:
        table.add_row(candidate.name, candidate.tier.label, f"{candidate.context_window:,}")
    out.print(table)


def schema() -> None:
    """Print the JSON Schema of the config file."""
    print_json(json_schema())
