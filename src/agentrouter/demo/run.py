"""``agentrouter demo``: pull the models, run the tasks twice, print the bill, leave ledger and page.

The only module of the demo that knows of the command line, the model files and the folder of results.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from agentrouter.catalog import Catalog
from agentrouter.cli.output import notes, write_json, write_text
from agentrouter.config import cache_dir, load_config
from agentrouter.demo import console as show
from agentrouter.demo.lineup import CONTEXT_TOKENS, ListPriced, chosen, config_from, line_up
from agentrouter.demo.passes import BillRow, PassResult, Simulated, Watcher, by_role, by_tier, rejected_nusd, run_pass
from agentrouter.demo.tasks import TaskVerdict, make_tasks
from agentrouter.errors import InputError, MissingExtraError, ModelFileError
from agentrouter.lab.replay import ReplayOptions, replay
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.report_html import render
from agentrouter.ledger import open_ledger
from agentrouter.policies import Policy, build
from agentrouter.providers import Provider
from agentrouter.providers.engine import EngineOptions
from agentrouter.providers.local import Local
from agentrouter.providers.pull_progress import progress_bar
from agentrouter.providers.store import ModelStore
from agentrouter.router import Router
from agentrouter.trajectory import World
from agentrouter.types import Tier

DEFAULT_POLICY = "escalate:roles"
BASELINE_POLICY = "fixed:frontier"
LEDGER, BASELINE_LEDGER = "ledger.sqlite", "ledger-frontier-only.sqlite"
PAGE, CONFIG = "report.html", "models.yaml"

MakeProvider = Callable[[], Provider]


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One task in the JSON result."""

    name: str
    verdict: TaskVerdict
    steps: int
    cost_nusd: int
    seconds: float


class PassSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One pass in the JSON result."""

    policy: str
    solved: int
    tasks: tuple[TaskSummary, ...]
    cost_nusd: int
    seconds: float
    by_role: tuple[BillRow, ...]
    by_tier: tuple[BillRow, ...]
    broken: tuple[str, ...]


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes. Money in nano-dollars."""

    models: dict[str, str]
    """Tier to model."""
    routed: PassSummary
    frontier_only: PassSummary | None
    """None: not run (``--fast``)."""
    simulated: Simulated
    """The routed pass's steps as they were routed and all at the frontier, with simulated caches on both sides."""
    saved_share: float | None
    seconds: float


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo is played with; tests play it with a scripted provider."""

    catalog: Catalog
    provider: MakeProvider
    """Makes a cold provider: each pass gets its own, so that neither finds the other's prompts in the caches."""
    policy: Policy
    out: Path
    fast: bool = False


def main(
    *,
    models: str = "all",
    policy: str | None = None,
    out: Path = Path("demo-out"),
    json_path: Path | None = None,
    fast: bool = False,
) -> int:
    """Run the demo and return the exit code: 0 it ran, whatever the tasks' verdicts; 1 something broke.

    Raises:
        ConfigError: unknown set of models or policy.
        ModelFileError: not one model can be had.
        InputError: the folder cannot be written.
    """
    console = Console(stderr=json_path is not None and str(json_path) == "-", highlight=False)
    wanted = chosen(models)
    made = load_config(policy=policy).policy if policy else build(DEFAULT_POLICY)
    console.print(
        "[bold]AgentRouter demo[/]: an agent on embedded models; every step decided, called, checked, booked.\n"
    )
    store = ModelStore(cache_dir())
    present = pull(store, wanted, console)
    catalog = line_up(present)
    console.print(show.lineup_table(catalog))
    top = catalog.in_tier(Tier.FRONTIER)[0]
    console.print(
        f"A larger model cannot be had without a key, so the largest here, {escape(top.model)}, plays the frontier. "
        "The bill is at list prices: what the same tokens would cost at models sold at these prices."
    )
    stage = Stage(
        catalog=catalog,
        provider=lambda: ListPriced(Local(store, options=EngineOptions(context_tokens=CONTEXT_TOKENS))),
        policy=made,
        out=out,
        fast=fast,
    )
    result = asyncio.run(play(stage, console))
    if json_path is not None:
        write_json(result, json_path)
    broken = [*result.routed.broken, *(result.frontier_only.broken if result.frontier_only else ())]
    for line in broken:
        console.print(f"[red]broke:[/] {escape(line)}")
    return 1 if broken else 0


def pull(store: ModelStore, wanted: Sequence[str], console: Console) -> tuple[str, ...]:
    """Bring the models here and return those that could be had; the others are said.

    Raises:
        ModelFileError: none could be had.
    """
    present, problems = [], []
    for name in wanted:
        try:
            with progress_bar(notes()) as progress:
                pulled = store.pull(name, progress)
            present.append(name)
            state = "was here already" if pulled.source == "present" else f"came from {pulled.source}"
            console.print(f"[dim]{escape(name)} {state}, sum checked: {escape(str(pulled.path))}[/]", soft_wrap=True)
        except ModelFileError as error:
            problems.append(str(error))
            console.print(
                f"[yellow]{escape(name)} cannot be had; the demo goes on with what there is:[/] {escape(str(error))}"
            )
    if not present:
        raise ModelFileError("the demo needs at least one model: " + "; ".join(problems))
    return tuple(present)


async def play(stage: Stage, console: Console) -> DemoResult:
    """Run both passes, print the bill, write ledgers and page.

    Raises:
        InputError: the folder cannot be written.
    """
    began = time.perf_counter()
    world = World(catalog=stage.catalog)
    _clear(stage.out)
    with tempfile.TemporaryDirectory(prefix="agentrouter-demo-") as folder:
        tasks = make_tasks(Path(folder))

        async def one(policy: Policy, ledger: str, watcher: Watcher) -> PassResult:
            booked = open_ledger(stage.out / ledger)
            async with Router(world, policy, providers=_by_name(stage.provider()), ledger=booked) as router:
                found = await run_pass(router, tasks, watcher)
                if router.ledger_failures:
                    console.print(f"[red]{router.ledger_failures} steps could not be booked[/]")
                return found

        console.rule(f"policy {escape(stage.policy.name)}")
        routed = await one(stage.policy, LEDGER, show.Narrator(console))
        baseline = None
        if not stage.fast:
            console.rule("the same tasks, frontier-only")
            baseline = await one(build(BASELINE_POLICY), BASELINE_LEDGER, show.Murmur(console))
    report = _replayed(stage.out / LEDGER, world)
    simulated = Simulated(
        routed_nusd=report.bill("recorded_cached") + rejected_nusd(routed.records),
        frontier_nusd=report.bill("frontier_cached"),
    )
    show.print_bill(console, routed, baseline, simulated)
    _write_page(report, stage, console, show.run_sentence(routed, baseline))
    return DemoResult(
        models={candidate.tier.label: candidate.model for candidate in stage.catalog.candidates},
        routed=_summary(routed),
        frontier_only=_summary(baseline) if baseline is not None else None,
        simulated=simulated,
        saved_share=show.saved_share(routed, baseline, simulated),
        seconds=time.perf_counter() - began,
    )


def _by_name(provider: Provider) -> dict[str, Provider]:
    return {provider.name: provider}


def _clear(out: Path) -> None:
    """Make the folder, and take away what an earlier demo left in it: a ledger is append-only, runs would add up."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (LEDGER, BASELINE_LEDGER):
            for tail in ("", "-wal", "-shm"):
                (out / f"{name}{tail}").unlink(missing_ok=True)
        (out / PAGE).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(out)) from None


def _replayed(ledger: Path, world: World) -> ReplayReport:
    with contextlib.closing(open_ledger(ledger, read_only=True)) as booked:
        return replay(booked.recorded(), build("recorded"), world, ReplayOptions(command="agentrouter demo"))


def _write_page(report: ReplayReport, stage: Stage, console: Console, note: str) -> None:
    ledger, page, config = stage.out / LEDGER, stage.out / PAGE, stage.out / CONFIG
    write_text(config_from(stage.catalog), config)
    written = f"\nledger  {ledger}\nconfig  {config}\n"
    try:
        write_text(render(report, f"The demo's bill under {stage.policy.name}", note), page)
        written += f"page    {page}\n"
    except MissingExtraError as error:
        written += f"page    not written: {error}\n"
    console.print(
        escape(written + f"next    agentrouter replay {ledger} --config {config} --policy fixed:efficient"),
        soft_wrap=True,
    )


def _summary(found: PassResult) -> PassSummary:
    return PassSummary(
        policy=found.policy,
        solved=found.solved,
        tasks=tuple(
            TaskSummary(
                name=task.name,
                verdict=task.verdict,
                steps=len(task.records),
                cost_nusd=task.cost_nusd,
                seconds=round(task.seconds, 3),
            )
            for task in found.tasks
        ),
        cost_nusd=found.cost_nusd,
        seconds=round(found.seconds, 3),
        by_role=by_role(found.records),
        by_tier=by_tier(found.records),
        broken=found.broken,
    )
