"""Splits that nothing leaks through: units of task instances, a hash that decides, sources left out in turn.

Law: pure. A row is never split off from the rows that show the same task: rows with one ``group``, and groups that open
with the same words, form a unit, and a unit is in one split. Which one is decided by a hash of the unit's name and the
seed alone, so that adding a source moves only the units that it joins.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np

from agentrouter.lab.metrics.arrays import Bools, Ints
from agentrouter.types import Step
from agentrouter.wire.volatile import visible_text

SHARES: dict[str, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Splits and their shares of the units."""

TEMPLATE_GROUPS = 50
"""An opening that more groups than this share is a template, not one task asked twice: it joins nothing."""

_WORD = re.compile(r"\w+")


class Units(msgspec.Struct, frozen=True, kw_only=True):
    """The split units of n rows."""

    names: list[str]
    """Unit of each row: the first of its groups by name."""
    joined_groups: int
    """Groups that share their unit with another."""
    templates: int
    """Openings that were too frequent to join groups."""


def fingerprint(text: str) -> str:
    """Return a hash of a text's words (NFKC, lower case, no marks, no white space); empty for a text without words."""
    words = " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:24] if words else ""


def opening(step: Step) -> str:
    """Return the fingerprint of what the user first asked: the task, whatever was said since; empty: nothing."""
    for message in step.messages:
        if message.role == "user":
            text = visible_text(message.text)
            if text:
                return fingerprint(text)
    return ""


def units(groups: Sequence[str], openings: Sequence[str]) -> Units:
    """Join groups that open with the same words, transitively."""
    sharing: dict[str, set[str]] = defaultdict(set)
    for group, print_ in zip(groups, openings, strict=True):
        if print_:
            sharing[print_].add(group)
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    templates = 0
    for same in sharing.values():
        if len(same) > TEMPLATE_GROUPS:
            templates += 1
            continue
        # The first by name becomes the root, so that a unit's name does not hang on the order of the rows.
        roots = sorted({root(group) for group in same})
        for other in roots[1:]:
            parent[other] = roots[0]
    sizes: dict[str, int] = defaultdict(int)
    for group in parent:
        sizes[root(group)] += 1
    joined = sum(size for size in sizes.values() if size > 1)
    return Units(names=[root(group) for group in groups], joined_groups=joined, templates=templates)


def draw(name: str, seed: int) -> float:
    """Return the number in [0, 1) that decides a unit's split."""
    digest = hashlib.sha256(f"split/{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def split_of(name: str, seed: int) -> str:
    """Return the split of a unit."""
    at = draw(name, seed)
    for split, share in SHARES.items():
        at -= share
        if at < 0:
            return split
    return next(reversed(SHARES))


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One source left out: fit on ``fit``, choose on ``choose``, measure on ``measure``."""

    fit: Bools
    choose: Bools
    measure: Bools
    """All rows of the source left out."""
    withheld: int
    """Rows of other sources that are in none, since the left-out source has rows of the same unit."""


def leave_out(source: str, sources: Sequence[str], names: Sequence[str], splits: Sequence[str]) -> Fold:
    """Return the fold that leaves a source out; a unit of it is in no other part.

    The other sources' test rows are in none of the three, so that a model of a fold can be measured on them too.
    """
    mine = np.array([one == source for one in sources], dtype=np.bool_)
    touched = {name for name, own in zip(names, mine.tolist(), strict=True) if own}
    free = np.array([name not in touched for name in names], dtype=np.bool_)
    split = np.array(splits, dtype=object)
    return Fold(
        fit=free & (split == "train"),
        choose=free & (split == "validation"),
        measure=mine,
        withheld=int((~mine & ~free).sum()),
    )


def leaks(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Return what is in more than one split; of groups, of units or of openings. Empty means that nothing leaks."""
    seen: dict[str, str] = {}
    return sorted({name for name, split in zip(names, splits, strict=True) if seen.setdefault(name, split) != split})


def shuffled(items: Sequence[str], strata: Sequence[str], *, seed: int) -> Ints:
    """Return for each row the row whose labels it gets in the shuffle control.

    Items (a bag, else a row) change places within their stratum, so that each stratum keeps its labels and nothing ties
    them to the step any more: whatever a model then still scores above a stratum's mean is a leak.

    Args:
        items: what has one label; rows of one item keep one.
        strata: source and label level of each row, the same for all rows of an item.
        seed: of the permutation.
    """
    first: dict[str, int] = {}
    for row, item in enumerate(items):
        first.setdefault(item, row)
    members: dict[str, list[str]] = defaultdict(list)
    for item, row in first.items():
        members[strata[row]].append(item)
    rng = np.random.default_rng(seed)
    donor: dict[str, int] = {}
    for stratum in sorted(members):
        own = sorted(members[stratum])
        for item, place in zip(own, rng.permutation(len(own)).tolist(), strict=True):
            donor[item] = first[own[place]]
    return np.array([donor[item] for item in items], dtype=np.int64)
