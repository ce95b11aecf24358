"""``agentrouter models``: the catalogue, and the embedded models on this machine."""

from __future__ import annotations

from rich.table import Table

from agentrouter.cli.output import console, notes, print_json
from agentrouter.config import cache_dir, load_config
from agentrouter.money import Price
from agentrouter.providers.model_files import MODELS
from agentrouter.providers.pull_progress import progress_bar
from agentrouter.providers.store import ModelState, ModelStore

GROUPS = {"small": ("smollm2-135m", "qwen2.5-coder-0.5b"), "all": tuple(MODELS)}
"""Names that stand for several models."""


def show(config: str | None, *, as_json: bool) -> None:
    """Print the candidates with their prices, and the state of each embedded model."""
    loaded = load_config(config)
    candidates = loaded.world.catalog.candidates
    statuses = ModelStore(cache_dir()).list()
    if as_json:
        embedded = [
            {"name": s.model.name, "state": s.state.value, "path": str(s.path), "bytes": s.model.size} for s in statuses
        ]
        print_json({"config": loaded.source, "candidates": candidates, "embedded": embedded})
        return
    out = console()
    table = Table(
        "candidate", "tier", "in", "out", "cache read", "write", "window", "labels", title=f"Catalogue: {loaded.source}"
    )
    for each in candidates:
        prices = (_usd(rate) for rate in _rates(each.price))
        labels = ", ".join(sorted(each.labels))
        table.add_row(each.name, each.tier.label, *prices, f"{each.context_window:,}", labels)
    out.print(table)
    out.print("prices in USD per million tokens\n", style="dim")
    files = Table("model", "size", "state", "file", title="Embedded models")
    for status in statuses:
        files.add_row(status.model.name, f"{status.model.size / 1e6:,.0f} MB", status.state.value, str(status.path))
    out.print(files)


def pull(names: list[str], *, as_json: bool) -> None:
    """Fetch models, with a progress bar on stderr.

    Raises:
        ModelFileError: unknown name, no source, wrong sum, no room; says what to do.
    """
    store = ModelStore(cache_dir())
    wanted = [member for name in names for member in GROUPS.get(name, (name,))]
    out = notes()
    done = []
    for name in dict.fromkeys(wanted):
        with progress_bar(out) as progress:
            pulled = store.pull(name, progress)
        done.append(pulled)
        for note in pulled.notes:
            out.print(f"{name}: {note}")
        state = (
            "was here already, sum checked"
            if pulled.source == "present"
            else f"fetched from the {pulled.source}, sum checked"
        )
        out.print(f"{name}: {state}: {pulled.path}")
    if as_json:
        print_json([{"name": each.model, "source": each.source, "path": str(each.path)} for each in done])


def verify(names: list[str], *, as_json: bool) -> int:
    """Check sums; return 1 if a file is corrupt or, where named, absent.

    Raises:
        ModelFileError: unknown name.
    """
    store = ModelStore(cache_dir())
    chosen = names or [status.model.name for status in store.list() if status.state is not ModelState.ABSENT]
    with notes().status("reading model files"):
        statuses = [store.verify(name) for name in chosen]
    if as_json:
        print_json([{"name": each.model.name, "state": each.state.value, "path": str(each.path)} for each in statuses])
    else:
        for each in statuses:
            console().print(f"{each.model.name}: {each.state.value}  {each.path}")
        if not statuses:
            console().print("no models here; fetch some with: agentrouter models pull small")
    return 0 if all(each.state is ModelState.VERIFIED for each in statuses) else 1


def _rates(price: Price) -> tuple[int, int, int, int]:
    return price.input, price.output, price.cache_read, price.cache_write


def _usd(rate: int) -> str:
    return f"{rate / 1_000_000:.4f}".rstrip("0").rstrip(".") or "0"
