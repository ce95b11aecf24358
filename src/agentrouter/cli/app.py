"""The tree of commands. Each command lives in a file of its own, imported when it runs, so that start is quick."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from agentrouter.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Routes every step of an agent's run to the cheapest of four model tiers that will do.",
    epilog="Exit codes: 0 done; 1 something in the input or the run was bad; 2 wrong usage, config or policy; "
    "130 interrupted.",
)
lab_app = typer.Typer(no_args_is_help=True, help="Evaluate policies on outcome data.")
models_app = typer.Typer(no_args_is_help=True, help="The catalogue's models, and the embedded ones.")
config_app = typer.Typer(no_args_is_help=True, help="Check a config file; print its JSON Schema.")
bench_app = typer.Typer(no_args_is_help=True, help="Measure this program on this machine.")
learn_app = typer.Typer(no_args_is_help=True, help="Fit scorers on outcome data.")
app.add_typer(lab_app, name="lab")
app.add_typer(learn_app, name="learn")
app.add_typer(models_app, name="models")
app.add_typer(config_app, name="config")
app.add_typer(bench_app, name="bench")

ConfigOption = Annotated[
    str | None, typer.Option("--config", "-c", help="Config file (YAML). Default: built-in example.")
]
PolicyOption = Annotated[str | None, typer.Option("--policy", "-p", help="Policy spec or YAML file.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
JsonPath = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file ('-': stdout).")]
HtmlPath = Annotated[Path | None, typer.Option("--html", help="Write one self-contained HTML page.")]
Traces = Annotated[list[Path], typer.Argument(help="Trace files or folders; '-' reads standard input.")]
FormatOption = Annotated[str, typer.Option("--format", help="Trace format; 'auto' looks at each file.")]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"agentrouter {version('agentrouter')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Routes every step of an agent's run to the cheapest of four model tiers that will do."""


@app.command()
def route(config: ConfigOption = None, policy: PolicyOption = None) -> None:
    """Route steps: JSON lines in on stdin, one decision a line out on stdout.

    In: `{"id", "messages", "tools"?, "role"?, "trajectory_id"?, "step_index"?, "context_chars"?}`. A bad line gives
    `{"id", "error"}` and the run goes on; exit code 1 at the end if there was any.
    """
    from agentrouter.cli.route import run

    raise typer.Exit(run(config, policy))


@app.command()
def explain(
    step_id: Annotated[str, typer.Argument(help="Step id in the ledger; '-': one step as JSON on stdin.")] = "-",
    ledger: Annotated[Path | None, typer.Option(help="Ledger file; default: the config's.")] = None,
    config: ConfigOption = None,
    policy: PolicyOption = None,
    json: JsonFlag = False,
) -> None:
    """Say why a step went where it went: rules, prices, probabilities, attempts."""
    from agentrouter.cli.explain import explain_booked, explain_live

    if step_id == "-":
        explain_live(config, policy, as_json=json)
    else:
        explain_booked(step_id, ledger, config, as_json=json)


@app.command()
def replay(
    traces: Traces,
    policy: PolicyOption = None,
    config: ConfigOption = None,
    format: FormatOption = "auto",
    json: JsonPath = None,
    html: HtmlPath = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; steps are sharded by trajectory.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
) -> None:
    """Price recorded traces under a policy: the bill before and after, with an interval. No model is called."""
    from agentrouter.cli.replay import ReplayRequest, run

    request = ReplayRequest(traces=traces, format=format, config=config, policy=policy, workers=workers, seed=seed)
    raise typer.Exit(run(request, json_path=json, html_path=html))


@app.command()
def audit(
    traces: Traces,
    config: ConfigOption = None,
    format: FormatOption = "auto",
    json: JsonPath = None,
    html: HtmlPath = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
) -> None:
    """Show the org chart of spend: each role's bill, the tier suggested for it, and what that would save."""
    from agentrouter.cli.replay import ReplayRequest, run_audit

    request = ReplayRequest(traces=traces, format=format, config=config, policy=None, workers=1, seed=seed)
    raise typer.Exit(run_audit(request, json_path=json, html_path=html))


@app.command()
def inspect(
    traces: Traces,
    by: Annotated[
        list[str] | None, typer.Option(help="Group a ledger by role, model, tier, trajectory, day, policy or status.")
    ] = None,
    format: FormatOption = "auto",
    json: JsonFlag = False,
) -> None:
    """Summarise traces or a ledger on one page: steps, models, roles, tokens, cost, what is missing, what is broken."""
    from agentrouter.cli.inspect import run

    raise typer.Exit(run(traces, format, tuple(by or ()), as_json=json))


@app.command()
def doctor(config: ConfigOption = None, json: JsonFlag = False) -> None:
    """Check the installation, the config, the models and the ledger, and say what to do about what is wrong."""
    from agentrouter.cli.doctor import run

    raise typer.Exit(run(config, as_json=json))


@app.command()
def demo(
    models: Annotated[str, typer.Option(help="'all' (1.7 GB) or 'small' (0.6 GB).")] = "all",
    policy: PolicyOption = None,
    out: Annotated[Path, typer.Option(help="Folder for ledger and report.")] = Path("demo-out"),
    json: JsonPath = None,
    fast: Annotated[bool, typer.Option("--fast", help="Do not run frontier-only for comparison; simulate it.")] = False,
) -> None:
    """Run a real agent on embedded models: each step decided, called, checked and booked; then the bill."""
    from agentrouter.demo.run import main

    raise typer.Exit(main(models=models, policy=policy, out=out, json_path=json, fast=fast))


@lab_app.command("evaluate")
def lab_evaluate(
    steps: Annotated[Path, typer.Option(help="Folder of step tables (parquet).")],
    policy: Annotated[list[str] | None, typer.Option("--policy", "-p", help="Policy spec; may be given often.")] = None,
    json: JsonPath = None,
    model_tiers: Annotated[
        Path | None, typer.Option(help="Model name to tier (JSON); default: beside the folder.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random policy and of the intervals.")] = 0,
    by_source: Annotated[bool, typer.Option("--by-source", help="Print a table for each source too.")] = False,
) -> None:
    """Score policies on recorded outcomes, beside oracle, random and always-<tier>, with intervals."""
    from agentrouter.cli.lab import EvaluateRequest, run

    request = EvaluateRequest(steps=steps, policies=tuple(policy or ()), model_tiers=model_tiers, seed=seed)
    raise typer.Exit(run(request, json_path=json, by_source=by_source))


@learn_app.command("dataset")
def learn_dataset(
    steps: Annotated[Path, typer.Option(help="Folder of step tables (parquet).")],
    out: Annotated[Path, typer.Option(help="Folder for the table (steps.parquet) and its card (card.md, card.json).")],
    licensed_only: Annotated[
        bool,
        typer.Option("--licensed-only/--all", help="Sources that may train what ships, or all but yardsticks."),
    ] = True,
    shuffle_labels: Annotated[
        bool, typer.Option("--shuffle-labels", help="Control: labels change places within source and level.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    json: JsonPath = None,
) -> None:
    """Build one training table of step tables: features, soft labels, splits without leaks, and a card."""
    from agentrouter.cli.learn import DatasetRequest, run

    request = DatasetRequest(
        steps=steps, out=out, licensed_only=licensed_only, shuffle_labels=shuffle_labels, seed=seed
    )
    raise typer.Exit(run(request, json_path=json))


@learn_app.command("rivals")
def learn_rivals(
    table: Annotated[Path, typer.Option(help="Folder of step tables (parquet).")],
    out: Annotated[Path, typer.Option(help="Folder for the artefacts, one folder a scorer.")],
    scorer: Annotated[list[str] | None, typer.Option(help="Which to fit; may be given often. Default: all.")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Which sources; may be given often. Default: the licence-clean ones.")
    ] = None,
    cap: Annotated[int, typer.Option(min=0, help="Most rows of a source; 0: all.")] = 1_500,
    seed: Annotated[int, typer.Option(help="Seed of the fits and splits.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Fit the simple scorers (role-table, tfidf, knn, gbdt) and write an artefact of each."""
    from agentrouter.cli.learn_rivals import RivalsRequest, run

    scorers, sources = tuple(scorer or ()), tuple(source or ())
    run(RivalsRequest(table=table, out=out, scorers=scorers, sources=sources, cap=cap, seed=seed), as_json=json)


@models_app.command("list")
def models_list(config: ConfigOption = None, json: JsonFlag = False) -> None:
    """List the catalogue's candidates with tier, prices and limits, and the embedded models."""
    from agentrouter.cli.models import show

    show(config, as_json=json)


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str], typer.Argument(help="Model names, 'small' or 'all'.")], json: JsonFlag = False
) -> None:
    """Fetch embedded models: resumes, checks the sum, tries each source in turn."""
    from agentrouter.cli.models import pull

    pull(names, as_json=json)


@models_app.command("verify")
def models_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Model names; default: all that are there.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check the sha256 of downloaded models."""
    from agentrouter.cli.models import verify

    raise typer.Exit(verify(names or [], as_json=json))


@config_app.command("check")
def config_check(
    file: Annotated[str, typer.Argument(help="Config file (YAML).")],
    policy: PolicyOption = None,
    json: JsonFlag = False,
) -> None:
    """Check a config file: the same result as a start, without a network."""
    from agentrouter.cli.settings import check

    check(file, policy, as_json=json)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the config file."""
    from agentrouter.cli.settings import schema

    schema()


@bench_app.command("decide")
def bench_decide(
    json: JsonPath = None,
    policy: PolicyOption = None,
    candidates: Annotated[int, typer.Option(min=4, max=200, help="Candidates in the catalogue.")] = 12,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time per request size.")] = 2.0,
) -> None:
    """Time a decision, parsing, features and hard rules included, by prefix length, on one thread."""
    from agentrouter.cli.bench import run

    run(policy or "roles", candidates=candidates, seconds=seconds, json_path=json)


def need_policy(policy: str | None, command: str) -> str:
    """Return the policy or say that the command needs one.

    Raises:
        ConfigError: none was given.
    """
    if not policy:
        raise ConfigError(f"{command} needs --policy SPEC, as in --policy roles or --policy fixed:frontier")
    return policy
