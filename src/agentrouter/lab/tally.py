"""Sums of a replay, exact and mergeable: by cell (role, recorded model, policy's model, day), trajectory, step number.

Law: adding is associative. Two tallies of two shards of a trace merge into the tally of the whole, whatever the order.
Steps are buffered and folded in blocks, since a replay adds a million of them. All figures are 64-bit integers:
nano-dollars, tokens or counts.
"""

from __future__ import annotations

from array import array
from collections import Counter
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.int64]

BLOCK = 4_096
"""Steps folded at once."""

FIGURE_LIMIT = 10**12
"""A recorded cost above this (1,000 USD for one call) is a corrupt record; below it 64-bit sums hold nine million."""

MAX_INDEX = 200
"""Step numbers above this share one bucket."""

TIERS = 5
"""The four tiers and ``unknown``."""


class Column(IntEnum):
    """The figures of one step, in the order in which ``Tally.add`` takes them."""

    STEPS = 0
    CHANGED = 1
    RECORDED = 2
    RECORDED_CACHED = 3
    RECORDED_UNCACHED = 4
    FRONTIER_CACHED = 5
    FRONTIER_UNCACHED = 6
    POLICY = 7
    POLICY_CACHED = 8
    POLICY_UNCACHED = 9
    REDO = 10
    """What redoing the step would add to POLICY, POLICY_CACHED and POLICY_UNCACHED if its attempt failed."""
    REDO_CACHED = 11
    REDO_UNCACHED = 12
    CHANGED_OUTPUT = 13
    """Output cost of attempts by other models than the recorded one."""
    INPUT = 14
    OUTPUT = 15
    USAGE_INPUT = 16
    """Input tokens of steps whose usage was recorded, and how many of them were read from a cache."""
    USAGE_READ = 17
    RECORDED_READ = 18
    """Cache reads, caches simulated."""
    POLICY_READ = 19
    POLICY_INPUT = 20
    RECORDED_COLD = 21
    POLICY_COLD = 22
    RECORDED_SWITCH = 23
    POLICY_SWITCH = 24


WIDTH = len(Column)
_PLACES = 5
"""Cell, trajectory, step number and two tiers, in front of a buffered step's figures."""
CURVE = (Column.STEPS, Column.RECORDED, Column.POLICY_CACHED, Column.FRONTIER_CACHED, Column.POLICY)

Cell = tuple[str, str, str, int]
"""Role, recorded model, policy's model, day since the epoch (-1: unknown)."""


class Tally:
    """Running sums; picklable, so that a worker can hand its shard back."""

    def __init__(self) -> None:
        self.cells: dict[Cell, int] = {}
        self.trajectories: dict[str, int] = {}
        self.parents: dict[str, str] = {}
        self.cell_sums: Sums = np.zeros((64, WIDTH), np.int64)
        self.trajectory_sums: Sums = np.zeros((1024, WIDTH), np.int64)
        self.index_sums: Sums = np.zeros((MAX_INDEX + 1, WIDTH), np.int64)
        self.tier_counts: Sums = np.zeros((MAX_INDEX + 1, 2, TIERS), np.int64)
        self.tiers: dict[str, int] = {}
        """Tier of each model met (4: unknown)."""
        self.counts: Counter[str] = Counter()
        """Named counts of the record's quality and of outcomes."""
        self.kept_rules: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.unpriced: dict[tuple[str, str], list[int]] = {}
        """(model, reason) -> steps, input tokens, output tokens, recorded cost."""
        self._buffer = array("q")

    def trajectory(self, name: str, parent: str) -> int:
        """Return the row of a trajectory, made at first sight."""
        row = self.trajectories.get(name)
        if row is None:
            row = self.trajectories[name] = len(self.trajectories)
            if parent:
                self.parents[name] = parent
        return row

    def add(self, cell: Cell, trajectory: int, index: int, tiers: tuple[int, int], figures: tuple[int, ...]) -> None:
        """Add one step: ``figures`` in the order of ``Column``; ``tiers`` recorded and decided (4: unknown).

        Raises:
            OverflowError: a figure that 64 bits cannot hold (the caller refuses those above ``FIGURE_LIMIT``).
        """
        place = self.cells.get(cell)
        if place is None:
            place = self.cells[cell] = len(self.cells)
        self._buffer.extend((place, trajectory, index if index < MAX_INDEX else MAX_INDEX, *tiers, *figures))
        if len(self._buffer) >= BLOCK * (_PLACES + WIDTH):
            self.fold()

    def fold(self) -> None:
        """Fold the buffered steps into the sums."""
        if not self._buffer:
            return
        rows = np.frombuffer(self._buffer, np.int64).reshape(-1, _PLACES + WIDTH)
        places, figures = rows[:, :_PLACES], rows[:, _PLACES:]
        self.cell_sums = _grown(self.cell_sums, len(self.cells))
        self.trajectory_sums = _grown(self.trajectory_sums, len(self.trajectories))
        np.add.at(self.cell_sums, places[:, 0], figures)
        np.add.at(self.trajectory_sums, places[:, 1], figures)
        np.add.at(self.index_sums, places[:, 2], figures)
        # One flat place for (step number, recorded or decided, tier).
        flat = self.tier_counts.reshape(-1)
        np.add.at(flat, places[:, 2] * 2 * TIERS + places[:, 3], 1)
        np.add.at(flat, places[:, 2] * 2 * TIERS + TIERS + places[:, 4], 1)
        self._buffer = array("q")

    def leave_out(self, model: str, reason: str, figures: tuple[int, int, int]) -> None:
        """Count a step that no bill can hold: input tokens, output tokens, recorded cost."""
        row = self.unpriced.setdefault((model, reason), [0, 0, 0, 0])
        row[0] += 1
        for place, figure in enumerate(figures, start=1):
            row[place] += figure

    def merge(self, other: Tally) -> None:
        """Add another shard's sums to this one's."""
        self.fold()
        other.fold()
        for cell in other.cells:
            self.cells.setdefault(cell, len(self.cells))
        for name in other.trajectories:
            self.trajectories.setdefault(name, len(self.trajectories))
        self.parents.update(other.parents)
        self.cell_sums = _grown(self.cell_sums, len(self.cells))
        self.trajectory_sums = _grown(self.trajectory_sums, len(self.trajectories))
        rows = [self.cells[cell] for cell in other.cells]
        np.add.at(self.cell_sums, rows, other.cell_sums[: len(rows)])
        rows = [self.trajectories[name] for name in other.trajectories]
        np.add.at(self.trajectory_sums, rows, other.trajectory_sums[: len(rows)])
        self.index_sums += other.index_sums
        self.tier_counts += other.tier_counts
        self.tiers.update(other.tiers)
        self.counts.update(other.counts)
        self.kept_rules.update(other.kept_rules)
        self.notes.update(other.notes)
        for (model, reason), row in other.unpriced.items():
            mine = self.unpriced.setdefault((model, reason), [0, 0, 0, 0])
            for place, figure in enumerate(row):
                mine[place] += figure

    def totals(self) -> Sums:
        """Return the sums over all steps, by ``Column``."""
        self.fold()
        total: Sums = self.cell_sums[: len(self.cells)].sum(axis=0, dtype=np.int64)
        return total

    def grouped(self, part: int) -> dict[str | int, Sums]:
        """Return the sums by one part of the cell key (0 role, 1 recorded model, 2 policy's model, 3 day)."""
        self.fold()
        groups: dict[str | int, Sums] = {}
        for cell, row in self.cells.items():
            key = cell[part]
            sums = self.cell_sums[row]
            groups[key] = groups[key] + sums if key in groups else sums
        return groups

    def by_task(self) -> tuple[list[str], Sums]:
        """Return the names of the resampling units, sorted, and their sums.

        A sub-agent belongs to the trajectory that its record names as its parent (one level up).
        """
        self.fold()
        units = {name: self.parents.get(name) or name for name in self.trajectories}
        names = sorted(set(units.values()))
        place = {name: row for row, name in enumerate(names)}
        sums: Sums = np.zeros((len(names), WIDTH), np.int64)
        np.add.at(sums, [place[units[name]] for name in self.trajectories], self.trajectory_sums[: len(units)])
        return names, sums


def _grown(sums: Sums, rows: int) -> Sums:
    """Return the array with room for ``rows``, doubling so that growing stays linear overall."""
    if rows <= len(sums):
        return sums
    bigger = np.zeros((max(rows, 2 * len(sums)), sums.shape[1]), np.int64)
    bigger[: len(sums)] = sums
    return bigger
