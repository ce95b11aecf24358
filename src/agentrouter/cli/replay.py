"""``agentrouter replay`` and ``agentrouter audit``: recorded traces priced again, no model called."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from agentrouter.cli.app import need_policy
from agentrouter.cli.output import console, notes, write_json, write_text
from agentrouter.config import Config, load_config
from agentrouter.lab.audit import audit
from agentrouter.lab.replay import ReplayOptions, replay
from agentrouter.lab.replay_parallel import Job, replay_traces
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.report_audit import render_audit
from agentrouter.lab.report_html import render
from agentrouter.lab.report_tables import audit_tables, replay_tables
from agentrouter.lab.sources import KEPT_STDIN, STDIN, open_traces
from agentrouter.lab.trace import RecordedStep


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for."""

    traces: list[Path]
    format: str
    config: str | None
    policy: str | None
    workers: int
    seed: int


def run(request: ReplayRequest, *, json_path: Path | None, html_path: Path | None) -> int:
    """Replay and print; return 1 if lines were malformed or steps could not be priced."""
    loaded = load_config(request.config, policy=need_policy(request.policy, "replay"))
    options = ReplayOptions(seed=request.seed, overrides=loaded.overrides, command=_command())
    report = _replayed(request, loaded, options)
    if json_path is None or str(json_path) != "-":
        # First, so that a file that cannot be written does not take the result with it.
        console().print(replay_tables(report))
    if json_path is not None:
        write_json(report, json_path)
    if html_path is not None:
        write_text(render(report), html_path)
        if str(json_path) != "-":
            console().print(f"page: {html_path}")
    return 1 if report.trace.malformed or not report.complete else 0


def run_audit(request: ReplayRequest, *, json_path: Path | None, html_path: Path | None) -> int:
    """Print the org chart of spend; return 1 if lines were malformed or steps could not be priced."""
    loaded = load_config(request.config)
    options = ReplayOptions(seed=request.seed, overrides=loaded.overrides, command=_command())
    with tempfile.TemporaryDirectory(prefix=KEPT_STDIN) as folder, notes().status("reading"):
        # An audit reads its traces more than once, and standard input can be read once only.
        kept = [_kept(path, Path(folder)) for path in request.traces]
        report = audit(partial(open_traces, kept, request.format), loaded.world, options)
    if json_path is None or str(json_path) != "-":
        console().print(audit_tables(report))
    if json_path is not None:
        write_json(report, json_path)
    if html_path is not None:
        write_text(render_audit(report), html_path)
    return 1 if report.replay.trace.malformed or not report.replay.complete else 0


def _kept(path: Path, folder: Path) -> Path:
    if str(path) != STDIN:
        return path
    copy = folder / "stdin"
    with copy.open("wb") as out:
        shutil.copyfileobj(sys.stdin.buffer, out)
    return copy


def _replayed(request: ReplayRequest, loaded: Config, options: ReplayOptions) -> ReplayReport:
    with notes().status("reading") as status:
        if request.workers > 1:
            opened = partial(open_traces, request.traces, request.format)
            job = Job(open_=opened, policy=loaded.policy, world=loaded.world, options=options)
            return replay_traces(job, min(request.workers, os.cpu_count() or 1))
        steps, trace = open_traces(request.traces, request.format)

        def counted() -> Iterator[RecordedStep]:
            for number, recorded in enumerate(steps):
                if number % 20_000 == 0:
                    status.update(f"replaying: {number:,} steps")
                yield recorded

        return replay(counted(), loaded.policy, loaded.world, options, trace)


def _command() -> str:
    return shlex.join(["agentrouter", *sys.argv[1:]])
