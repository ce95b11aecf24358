"""Steps with outcomes for the rivals: step tables in, encoded rows out, the licence-clean sources unless told.

Law: whole groups or none, chosen by a hash of their name; what is left out is counted.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.catalog import builtin_catalog
from agentrouter.errors import InputError
from agentrouter.features import extract
from agentrouter.lab.evaluation_drive import Bills, Driven, only, tier_candidates
from agentrouter.lab.metrics.arrays import known
from agentrouter.lab.step_tables import STRANGER, StepTable, find_tiers, load_tiers, read_tables, step_files
from agentrouter.lab.trace import TraceReport
from agentrouter.learn.licences import SOURCES, Use
from agentrouter.learn.rival_inputs import Floats, Inputs, balanced, encoded
from agentrouter.types import History, Step, StepFeatures
from agentrouter.wire import step_from_messages

CLEAN_SOURCES = {name: mark.licence for name, mark in SOURCES.items() if mark.use is Use.SHIP}
"""Source -> licence, of those that may train weights that ship."""

LEVEL_WEIGHT = {"step": 1.0, "turn": 0.7, "task": 0.25, "trajectory": 0.25}
"""How much a row counts by what was judged: a verdict on a whole run says little of one step."""

OVERLAP_FILE = "overlap_routellm.json"


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """n steps with what several tiers made of them."""

    steps: list[tuple[Step, StepFeatures]]
    outcome: Floats
    """(n, 4) mean success by tier, NaN: not measured."""
    cost: Floats
    """(n, 4) nano-dollars at the example catalogue's list prices, without caches."""
    level: list[str]
    groups: list[str]
    sources: list[str]
    left_out: dict[str, int]

    def inputs(self) -> Inputs:
        """Return what the rivals learn from; sources are balanced half-way."""
        keys, words, numeric = encoded(self.steps)
        level = np.array([LEVEL_WEIGHT.get(name, LEVEL_WEIGHT["task"]) for name in self.level])
        weight = np.where(np.isnan(self.outcome), 0.0, level[:, None])
        return Inputs(
            keys=keys,
            words=words,
            numeric=numeric,
            target=self.outcome,
            weight=balanced(weight, self.sources),
            groups=self.groups,
            sources=self.sources,
        )


def read_rows(folder: Path, *, sources: Collection[str] | None = None, cap: int = 0, seed: int = 0) -> Rows:
    """Read step tables.

    Args:
        folder: of step tables (docs/metrics.md), ``model_tiers.json`` in it or beside it; task ids listed in an
            ``overlap_routellm.json`` there are left out, since they repeat questions that routers are measured on.
        sources: which to take; None: ``CLEAN_SOURCES``.
        cap: most rows of a source, whole groups by a hash of their name; 0: all.
        seed: of that hash.

    Raises:
        InputError: no such table, or none of the sources in it.
        MissingExtraError: polars is not installed.
    """
    wanted = CLEAN_SOURCES.keys() if sources is None else sources
    tiers = load_tiers(find_tiers(folder))
    overlap = _overlap(folder)
    left_out: Counter[str] = Counter()
    parts = []
    for file in step_files(folder):
        # A table's file is named as its source where it holds one; others are read to see.
        for table in read_tables(file, tiers, TraceReport()):
            if table.source not in wanted:
                left_out["source"] += len(table.rows)
                continue
            table = _measured(table, file, overlap.get(table.source, frozenset()), left_out)
            parts.append(_part(_capped(table, cap, seed, left_out), left_out))
    if not parts:
        raise InputError(f"none of the sources {', '.join(sorted(wanted))} is there", file=str(folder))
    return Rows(
        steps=[step for part in parts for step in part.steps],
        outcome=np.concatenate([part.outcome for part in parts]),
        cost=np.concatenate([part.cost for part in parts]),
        level=[level for part in parts for level in part.level],
        groups=[group for part in parts for group in part.groups],
        sources=[source for part in parts for source in part.sources],
        left_out=dict(sorted(left_out.items())),
    )


def _overlap(folder: Path) -> dict[str, frozenset[str]]:
    """Read source -> task ids to leave out; empty where there is no such file."""
    for place in (folder / OVERLAP_FILE, folder.parent / OVERLAP_FILE):
        if place.is_file():
            try:
                return msgspec.json.decode(place.read_bytes(), type=dict[str, frozenset[str]])
            except msgspec.DecodeError as error:
                raise InputError(f"expected source -> list of task ids: {error}", file=str(place)) from None
    return {}


def _measured(table: StepTable, file: Path, overlap: frozenset[str], left_out: Counter[str]) -> StepTable:
    """Drop rows with no outcome, and those that repeat an evaluation question."""
    import polars

    keep = np.asarray(known(table.outcome).any(axis=1), dtype=np.bool_)
    left_out["not_measured"] += int((~keep).sum())
    if overlap and "task_id" in polars.read_parquet_schema(file):
        ids = polars.read_parquet(file, columns=["task_id"])["task_id"].to_list()
        repeated = np.array([ids[number - 1] in overlap for number in table.numbers.tolist()], dtype=bool)
        left_out["routellm_overlap"] += int((keep & repeated).sum())
        keep &= ~repeated
    return only(table, keep)


def _capped(table: StepTable, cap: int, seed: int, left_out: Counter[str]) -> StepTable:
    n = len(table.rows)
    if not cap or n <= cap:
        return table
    sizes = Counter(table.groups)
    chosen: set[str] = set()
    total = 0
    for group in sorted(sizes, key=lambda group: zlib.crc32(f"cap/{seed}/{group}".encode("utf-8", "surrogatepass"))):
        if total + sizes[group] <= cap or not chosen:
            chosen.add(group)
            total += sizes[group]
    left_out["cap"] += n - total
    return only(table, np.array([group in chosen for group in table.groups], dtype=bool))


def _part(table: StepTable, left_out: Counter[str]) -> Rows:
    steps: list[tuple[Step, StepFeatures]] = []
    usable = np.ones(len(table.rows), dtype=bool)
    for row, content in enumerate(table.rows):
        try:
            step = step_from_messages(
                content.messages,
                content.tools,
                id=f"{table.source}/{row}",
                trajectory_id=table.trajectory_ids[row],
                step_index=int(table.step_index[row]),
                role=content.role,
                context_chars=content.context_chars,
                speaker_role=STRANGER,
            )
        except InputError:
            usable[row] = False
            left_out["unreadable"] += 1
            continue
        steps.append((step, extract(step, History())))
    table = only(table, usable)
    sizes: npt.NDArray[np.int64] = np.array([step.tokens.input for step, _ in steps], dtype=np.int64)
    n = sizes.size
    driven = Driven(
        tiers=np.zeros((0, n), dtype=np.int64),
        p_ok=np.zeros((0, n, 4)),
        errors=np.zeros(0, dtype=np.int64),
        usable=np.ones(n, dtype=bool),
        heads=[""] * n,
        sizes=sizes,
    )
    return Rows(
        steps=[(msgspec.structs.replace(step, messages=()), features) for step, features in steps],
        outcome=table.outcome,
        cost=Bills(table, driven, tier_candidates(builtin_catalog())).plain,
        level=table.label_levels,
        groups=table.groups,
        sources=[table.source] * n,
        left_out={},
    )
