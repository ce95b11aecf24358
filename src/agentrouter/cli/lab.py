"""``agentrouter lab evaluate``: policies on recorded outcomes."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentrouter.cli.output import console, notes, write_json
from agentrouter.config import load_policy
from agentrouter.lab.evaluate import evaluate
from agentrouter.lab.evaluation_view import render


class EvaluateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for."""

    steps: Path
    policies: tuple[str, ...]
    model_tiers: Path | None
    seed: int


def run(request: EvaluateRequest, *, json_path: Path | None, by_source: bool) -> int:
    """Evaluate and print; return the exit code (1: rows were bad, they are listed)."""
    steps, model_tiers, seed = request.steps, request.model_tiers, request.seed
    built = [load_policy(spec) for spec in request.policies]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes(), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(source: str, done: int, total: int) -> None:
            bar.update(task, description=source, completed=done, total=total)

        report = evaluate(steps, built, model_tiers=model_tiers, seed=seed, progress=show)
    if json_path is not None:
        write_json(report, json_path)
    if json_path is None or str(json_path) != "-":
        console().print(render(report, by_source=by_source or len(report.sources) == 1))
        if not by_source and len(report.sources) > 1:
            console().print(f"{len(report.sources)} sources; each one: --by-source", style="dim")
    return 1 if report.problems else 0
