"""``agentrouter learn dataset``: step tables to one training table with its card."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agentrouter.cli.output import console, notes, write_json
from agentrouter.learn.card import Card
from agentrouter.learn.dataset import PAGE_FILE, build, write
from agentrouter.types import Tier


class DatasetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for."""

    steps: Path
    out: Path
    licensed_only: bool
    shuffle_labels: bool
    seed: int


def run(request: DatasetRequest, *, json_path: Path | None) -> int:
    """Build, write and print; return the exit code (1: rows were bad, the card lists them)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes(), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(source: str, done: int, total: int) -> None:
            bar.update(task, description=source, completed=done, total=total)

        dataset = build(
            request.steps,
            licensed_only=request.licensed_only,
            shuffle_labels=request.shuffle_labels,
            seed=request.seed,
            progress=show,
        )
        bar.update(task, description="writing", total=None)
        card = write(dataset, request.out)
    if json_path is not None:
        write_json(card, json_path)
    if json_path is None or str(json_path) != "-":
        _print(card, request.out)
    return 1 if card.unreadable else 0


def _print(card: Card, out: Path) -> None:
    table = Table(title=f"{card.rows:,} steps, {card.groups:,} task instances", title_justify="left")
    table.add_column("source", no_wrap=True)
    for head in ("licence", "use", "steps", "groups", "later steps", "left out"):
        table.add_column(head, justify="left" if head in ("licence", "use") else "right")
    for one in card.sources:
        counts = (one.rows, one.groups, one.later_steps, sum(one.left_out.values()))
        table.add_row(one.source, one.licence, one.use, *(f"{count:,}" for count in counts))
    console().print(table)
    splits = ", ".join(f"{one.split} {one.rows:,}" for one in card.splits)
    measured = ", ".join(f"{tier.label} {one.rows:,}" for tier, one in zip(Tier, card.tiers, strict=True))
    console().print(f"splits: {splits}\nmeasured: {measured}")
    for source, rows in card.refused.items():
        console().print(f"not taken: {source}, {rows:,} rows", style="dim")
    for problem in card.unreadable:
        console().print(f"malformed: {problem}")
    for warning in card.warnings:
        console().print(f"beware: {warning}", style="dim")
    console().print(f"card: {out / PAGE_FILE}")
