"""What the rivals learn from, as arrays: each row encoded by the functions that serve.

Law: nothing here is fitted, and a row's encoding depends on nothing but the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import sparse

from agentrouter.scorers.encode import COLUMNS, numeric
from agentrouter.scorers.hashing import BUCKETS, hashed
from agentrouter.scorers.role_table import table_keys
from agentrouter.types import Step, StepFeatures

Floats = npt.NDArray[np.float64]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """n rows to learn from."""

    keys: list[tuple[str, ...]]
    """Cells of the role table, widest first."""
    words: sparse.csr_array
    """(n, buckets) 1 + ln(count)."""
    numeric: Floats
    """(n, columns)."""
    target: Floats
    """(n, 4) outcome of each tier in [0, 1]; NaN: not measured."""
    weight: Floats
    """(n, 4) how much each outcome counts; 0 where it was not measured."""
    groups: list[str]
    sources: list[str]

    def rows(self, keep: npt.NDArray[np.bool_]) -> Inputs:
        """Return the rows that ``keep`` says."""
        at = np.flatnonzero(keep).tolist()
        return Inputs(
            keys=[self.keys[i] for i in at],
            words=self.words[at],
            numeric=self.numeric[at],
            target=self.target[at],
            weight=self.weight[at],
            groups=[self.groups[i] for i in at],
            sources=[self.sources[i] for i in at],
        )


def encoded(steps: Iterable[tuple[Step, StepFeatures]]) -> tuple[list[tuple[str, ...]], sparse.csr_array, Floats]:
    """Return the keys, words and numbers of steps."""
    keys: list[tuple[str, ...]] = []
    places, values, edges, rows = [np.zeros(0, dtype=np.int64)], [np.zeros(0)], [0], []
    for _, features in steps:
        keys.append(table_keys(features))
        place, value = hashed(features)
        places.append(place)
        values.append(value)
        edges.append(edges[-1] + place.size)
        rows.append(numeric(features))
    content = (np.concatenate(values), np.concatenate(places), np.array(edges))
    words = sparse.csr_array(content, shape=(len(keys), BUCKETS))
    return keys, words, np.asarray(rows, dtype=np.float64).reshape(len(keys), len(COLUMNS))


def balanced(weight: Floats, sources: Sequence[str], *, power: float = 0.5) -> Floats:
    """Return the weights with each source's total raised to ``1 - power``: 0 leaves them, 1 makes all sources equal."""
    out = np.array(weight, dtype=np.float64)
    names = np.array(sources)
    for name in np.unique(names):
        at = names == name
        total = float(out[at].sum())
        if total > 0:
            out[at] *= total**-power
    positive = out[out > 0]
    return out / positive.mean() if positive.size else out
