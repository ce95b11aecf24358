"""``agentrouter replay`` and ``agentrouter audit``: recorded traces priced again, no model called."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentrouter.cli.app import need_policy
from agentrouter.cli.output import console, notes, write_json, write_text
from agentrouter.config import Config, load_config
from agentrouter.errors import InputError
from agentrouter.lab.audit import audit
from agentrouter.lab.report_html import render
from agentrouter.lab.report_tables import audit_tables, replay_tables
from agentrouter.lab.replay import ReplayOptions, replay
from agentrouter.lab.replay_parallel import Job, replay_file
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.sources import open_traces, source_of
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
    if html_path is not None:
        write_text(render(report), html_path)
    if json_path is not None:
        write_json(report, json_path)
    if json_path is None or str(json_path) != "-":
        console().print(replay_tables(report))
        if html_path is not None:
            console().print(f"page: {html_path}", markup=False)
    return 1 if report.trace.malformed or not report.complete else 0


def run_audit(traces: list[Path], format: str, config: str | None, seed: int, *, json_path: Path | None) -> int:
    """Print the org chart of spend; return 1 if lines were malformed or steps could not be priced."""
    loaded = load_config(config)
    steps, trace = open_traces(traces, format)
    options = ReplayOptions(seed=seed, overrides=loaded.overrides, command=_command())
    with notes().status("reading"):
        report = audit(steps, loaded.world, options, trace)
    if json_path is not None:
        write_json(report, json_path)
    if json_path is None or str(json_path) != "-":
        console().print(audit_tables(report))
    return 1 if report.trace.malformed or not report.complete else 0


def _replayed(request: ReplayRequest, loaded: Config, options: ReplayOptions) -> ReplayReport:
    with notes().status("reading") as status:
        if request.workers > 1:
            if len(request.traces) != 1 or not request.traces[0].is_file():
                raise InputError("--workers needs one trace file: each process reads the file and keeps its share")
            path = request.traces[0]
            source = source_of(path, request.format)
            job = Job(source=source, path=path, policy=loaded.policy, world=loaded.world, options=options)
            return replay_file(job, min(request.workers, os.cpu_count() or 1))
        steps, trace = open_traces(request.traces, request.format)

        def counted() -> Iterator[RecordedStep]:
            for number, recorded in enumerate(steps):
                if number % 20_000 == 0:
                    status.update(f"replaying: {number:,} steps")
                yield recorded

        return replay(counted(), loaded.policy, loaded.world, options, trace)


def _command() -> str:
    return shlex.join(["agentrouter", *sys.argv[1:]])
