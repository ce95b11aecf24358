"""``agentrouter learn rivals``: fit the simple scorers and write their artefacts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agentrouter.cli.output import console, notes, print_json
from agentrouter.errors import InputError
from agentrouter.learn.licences import Use, mark
from agentrouter.learn.rival_card import card_of
from agentrouter.learn.rival_rows import CLEAN_SOURCES, read_rows
from agentrouter.learn.rivals import RIVALS, fit


class RivalsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for."""

    table: Path
    out: Path
    scorers: tuple[str, ...]
    sources: tuple[str, ...]
    cap: int
    seed: int


def run(request: RivalsRequest, *, as_json: bool) -> None:
    """Fit and write; print what was written.

    Raises:
        InputError: no table, an unknown scorer, or a folder that cannot be written.
        MissingExtraError: polars or scikit-learn is not installed.
    """
    unknown = [name for name in request.scorers if name not in RIVALS]
    if unknown:
        raise InputError(f"unknown scorer {unknown[0]!r}; those that can be fitted are {', '.join(RIVALS)}")
    sources = request.sources or tuple(CLEAN_SOURCES)
    yardsticks = [source for source in sources if mark(source).use is Use.MEASURE]
    if yardsticks:
        raise InputError(f"source {yardsticks[0]!r} is for measuring only: a scorer fitted on it could not be measured")
    with notes().status("reading step tables"):
        rows = read_rows(request.table, sources=sources, cap=request.cap, seed=request.seed)
        inputs = rows.inputs()
    written = []
    for name in request.scorers or tuple(RIVALS):
        with notes().status(f"fitting {name}"):
            files = fit(name, inputs, seed=request.seed, card=card_of(name, rows, request.seed))
        folder = request.out / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, data in files.items():
                (folder / file).write_bytes(data)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", file=str(folder)) from None
        written.append({"scorer": name, "folder": str(folder), "bytes": sum(map(len, files.values()))})
    if as_json:
        print_json({"rows": len(rows.steps), "left_out": rows.left_out, "artefacts": written})
        return
    out = console()
    out.print(f"{len(rows.steps):,} rows of {len(set(rows.sources))} sources; left out: {rows.left_out}", markup=False)
    for each in written:
        out.print(f"{each['scorer']}: {each['folder']} ({each['bytes']:,} bytes)", markup=False)
