"""Readers of recorded traces, one file a format; ``open_traces`` finds the reader and reads everything.

A reader streams ``RecordedStep``s and fills a ``TraceReport``; nothing is dropped silently. To add one: a file here, a
row in ``SOURCES``, a fixture in tests/fixtures/traces (docs/how-to/add-a-source.md).
"""

from __future__ import annotations

import difflib
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from agentrouter.errors import InputError
from agentrouter.lab.sources.lines import head_of
from agentrouter.lab.trace import DataSource, Problem, RecordedStep, TraceReport

SOURCES: dict[str, str] = {
    "otlp": "agentrouter.lab.sources.otlp:OtlpSource",
    "openinference": "agentrouter.lab.sources.openinference:OpenInferenceSource",
    "claude_code": "agentrouter.lab.sources.claude_code:ClaudeCodeSource",
    "openai_log": "agentrouter.lab.sources.openai_log:OpenAiLogSource",
    "litellm": "agentrouter.lab.sources.litellm:LiteLlmSource",
    "ledger": "agentrouter.lab.sources.ledger:LedgerSource",
    "step_table": "agentrouter.lab.sources.step_table:StepTableSource",
    "twinrouter": "agentrouter.lab.sources.twinrouter:TwinRouterSource",
}

STDIN = "-"
KEPT_STDIN = "agentrouter-kept-"
"""Begin of a folder's name whose file ``stdin`` is shown as ``-``: a copy of standard input for who reads it twice."""


def open_traces(
    paths: str | Path | Iterable[str | Path], format: str = "auto"
) -> tuple[Iterator[RecordedStep], TraceReport]:
    """Return the steps of some traces and the report that is filled as they are read.

    Args:
        paths: a file, a folder (all its files, sorted, with subfolders), ``"-"`` for standard input, or several.
            Files may be gzip.
        format: a name of ``SOURCES``, or ``"auto"`` to look at each file.

    Raises:
        InputError: no such path, an empty or unknown file, an unknown format name. In a folder, files that are empty or
            of no known format are counted in ``report.skipped`` instead, unless no file of it can be read.
        LedgerError: while reading: a ledger of a newer version.
    """
    sources = {name: load(name) for name in (SOURCES if format == "auto" else [format])}
    report = TraceReport()
    report.format = format
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    plan: list[tuple[Path, DataSource]] = []
    for path in listed:
        if str(path) == STDIN:
            spool = _spool_stdin()
            try:
                plan.append((spool, _source_of(spool, sources, format)))
            except InputError:
                shutil.rmtree(spool.parent, ignore_errors=True)
                raise
        elif Path(path).is_dir():
            plan.extend(_in_folder(Path(path), sources, format, report))
        else:
            plan.append((Path(path), _source_of(Path(path), sources, format)))
    plan = _once_each(plan, report)
    if not plan:
        raise InputError(f"no trace to read: expected {_expected()}", file=", ".join(map(str, listed)))
    if format == "auto":
        report.format = "+".join(sorted({source.name for _, source in plan}))
    return _read(plan, report), report


def _once_each(plan: list[tuple[Path, DataSource]], report: TraceReport) -> list[tuple[Path, DataSource]]:
    """Drop files that were named before, themselves or by their folder: their steps would be billed twice."""
    kept: dict[Path, tuple[Path, DataSource]] = {}
    for path, source in plan:
        kept.setdefault(path.resolve(), (path, source))
    if len(kept) < len(plan):
        report.skipped["file named twice"] += len(plan) - len(kept)
    return list(kept.values())


def load(name: str) -> DataSource:
    """Return a new reader of that name.

    Raises:
        InputError: no such format; names the nearest.
    """
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown trace format {name!r}{hint} Known: {', '.join(SOURCES)}")
    module, _, attribute = SOURCES[name].partition(":")
    return cast(DataSource, getattr(importlib.import_module(module), attribute)())


def source_of(path: str | Path, format: str = "auto") -> DataSource:
    """Return a new reader for one file.

    Raises:
        InputError: missing, empty, of no known format, or an unknown format name.
    """
    sources = {name: load(name) for name in (SOURCES if format == "auto" else [format])}
    return _source_of(Path(path), sources, format)


def _read(plan: list[tuple[Path, DataSource]], report: TraceReport) -> Iterator[RecordedStep]:
    for path, source in plan:
        report.files.append(str(path))
        try:
            yield from source.read(path, report)
        finally:
            if _is_stdin(path):
                _name_stdin(path, report)
            if _is_spool(path):
                shutil.rmtree(path.parent, ignore_errors=True)


def _source_of(path: Path, sources: dict[str, DataSource], format: str) -> DataSource:
    """The reader of one file.

    Raises:
        InputError: missing, empty, or of no known format.
    """
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise InputError(f"cannot read this trace: {error.strerror}", file=str(path)) from None
    if empty:
        raise InputError(f"the file is empty: expected {_expected()}", file=_shown(path))
    if format != "auto":
        return sources[format]
    head = head_of(path)
    for source in sources.values():
        if source.sniff(path, head):
            return source
    kind = "a binary file" if b"\0" in head else "text"
    raise InputError(
        f"no reader knows this file ({kind}, begins {head[:40]!r}): expected {_expected()}; "
        "name its format if it is one of these",
        file=_shown(path),
    )


def _in_folder(
    folder: Path, sources: dict[str, DataSource], format: str, report: TraceReport
) -> Iterator[tuple[Path, DataSource]]:
    found, first = False, ""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            source = _source_of(path, sources, format)
        except InputError as error:
            report.skipped["file that is no trace"] += 1
            first = first or str(error)
            continue
        found = True
        yield path, source
    if not found:
        why = f"; first: {first}" if first else ""
        raise InputError(f"the folder holds no trace: expected {_expected()}{why}", file=str(folder))


def _expected() -> str:
    return f"a trace in one of the formats {', '.join(SOURCES)}"


def _spool_stdin() -> Path:
    """Copy standard input to a file: readers look at a trace's head first, and some formats need to seek."""
    path = Path(tempfile.mkdtemp(prefix=_SPOOL)) / "stdin"
    whole = False
    try:
        with path.open("wb") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
        whole = True
    finally:
        if not whole:  # interrupted, or no room
            shutil.rmtree(path.parent, ignore_errors=True)
    return path


_SPOOL = "agentrouter-stdin-"


def _is_spool(path: Path) -> bool:
    return path.name == "stdin" and path.parent.name.startswith(_SPOOL)


def _is_stdin(path: Path) -> bool:
    return path.name == "stdin" and path.parent.name.startswith((_SPOOL, KEPT_STDIN))


def _shown(path: Path) -> str:
    return STDIN if _is_stdin(path) else str(path)


def _name_stdin(path: Path, report: TraceReport) -> None:
    report.files[-1] = STDIN
    report.problems[:] = [
        Problem(STDIN, one.line, one.field, one.message) if one.file == str(path) else one for one in report.problems
    ]
