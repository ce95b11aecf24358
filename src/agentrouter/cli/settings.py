"""``agentrouter config``: check a file, print the schema."""

from __future__ import annotations

from rich.table import Table

from agentrouter.cli.output import console, print_json
from agentrouter.config import cache_dir, json_schema, load_config, provider_keys
from agentrouter.errors import ConfigError
from agentrouter.providers.build import build_providers


def check(file: str, policy: str | None, *, as_json: bool) -> None:
    """Read a config file as a start would, and say what it comes to.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    loaded = load_config(file, policy=policy)
    # Keys are the machine's, not the file's: a missing one is for `doctor` to say.
    keys = dict.fromkeys(loaded.providers, "unset") | provider_keys(loaded.providers)
    try:
        build_providers(loaded.providers, keys=keys, cache_dir=cache_dir())
    except ConfigError as error:
        raise ConfigError(error.problems, file=file) from None
    candidates = loaded.world.catalog.candidates
    if as_json:
        names = [{"name": each.name, "tier": each.tier.label} for each in candidates]
        print_json({"ok": True, "policy": loaded.policy.name, "candidates": names, "providers": list(loaded.providers)})
        return
    out = console()
    out.print(f"{file}: fine. Policy {loaded.policy.name}, {len(candidates)} candidates")
    table = Table("candidate", "tier", "window")
    for candidate in candidates:
        table.add_row(candidate.name, candidate.tier.label, f"{candidate.context_window:,}")
    out.print(table)


def schema() -> None:
    """Print the JSON Schema of the config file."""
    print_json(json_schema())
