"""Nothing leaks: groups, near-duplicates and left-out sources; stable under new sources; the shuffle control."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.learn.splits import (
    SHARES,
    TEMPLATE_GROUPS,
    draw,
    fingerprint,
    leaks,
    leave_out,
    opening,
    shuffled,
    split_of,
    units,
)
from agentrouter.types import Message, Step

GROUPS = st.sampled_from([f"g{i}" for i in range(12)])
PRINTS = st.sampled_from(["", *(f"p{i}" for i in range(8))])
SOURCES = st.sampled_from(["a", "b", "c"])
DRAWN = 0.4561644223090734
ROWS = st.lists(st.tuples(GROUPS, PRINTS, SOURCES), min_size=1, max_size=60)


def test_fingerprint_sees_words_only() -> None:
    same = fingerprint("How many  apples are 3 + 4?")
    assert same == fingerprint("how many\napples are 3 4")
    assert same == fingerprint("How many apples are \uff13 + \uff14")  # full-width digits, by NFKC
    assert same != fingerprint("How many apples are 3 + 5?")
    assert fingerprint(" ?! ") == ""


def test_opening_is_what_the_user_first_asked() -> None:
    messages = (
        Message(role="system", text="rules"),
        Message(role="user", text="Do it."),
        Message(role="assistant", text="ok"),
        Message(role="user", text="Go on."),
    )
    assert opening(Step(id="s", trajectory_id="t", messages=messages)) == fingerprint("do it")
    assert opening(Step(id="s", trajectory_id="t", messages=messages[:1])) == ""


def test_units_by_hand() -> None:
    # c-b by p, b-a by q: one unit, named by its first group. Empty openings join nothing.
    found = units(["c", "b", "b", "a", "d", "e"], ["p", "p", "q", "q", "", ""])
    assert found.names == ["a", "a", "a", "a", "d", "e"]
    assert (found.joined_groups, found.templates) == (3, 0)


def test_a_template_joins_nothing() -> None:
    groups = [f"g{i:03}" for i in range(TEMPLATE_GROUPS + 1)]
    found = units(groups, ["same"] * len(groups))
    assert (found.names, found.joined_groups, found.templates) == (groups, 0, 1)
    assert set(units(groups[:-1], ["same"] * TEMPLATE_GROUPS).names) == {"g000"}


@given(ROWS, st.integers(0, 3))
def test_no_group_and_no_opening_is_in_two_splits(rows: list[tuple[str, str, str]], seed: int) -> None:
    groups, prints, _ = (list(column) for column in zip(*rows, strict=True))
    names = units(groups, prints).names
    splits = [split_of(name, seed) for name in names]
    assert leaks(groups, splits) == []
    assert set(leaks(prints, splits)) <= {""}
    assert leaks(names, splits) == []


@given(ROWS, ROWS)
def test_a_new_source_moves_only_the_units_it_joins(
    old: list[tuple[str, str, str]], new: list[tuple[str, str, str]]
) -> None:
    def named(rows: list[tuple[str, str, str]]) -> list[str]:
        return units([group for group, _, _ in rows], [print_ for _, print_, _ in rows]).names

    before, after = named(old), named(old + new)[: len(old)]
    groups, prints = {group for group, _, _ in new}, {print_ for _, print_, _ in new} - {""}
    touched = {
        name for name, (group, print_, _) in zip(before, old, strict=True) if group in groups or print_ in prints
    }
    assert [a for a in before if a not in touched] == [
        b for a, b in zip(before, after, strict=True) if a not in touched
    ]


@given(ROWS)
def test_the_order_of_rows_does_not_matter(rows: list[tuple[str, str, str]]) -> None:
    def named(rows: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
        return dict(zip(rows, units([row[0] for row in rows], [row[1] for row in rows]).names, strict=True))

    assert named(rows) == named(rows[::-1])


def test_shares_and_seed() -> None:
    counts = Counter(split_of(f"unit{i}", 0) for i in range(20_000))
    for split, share in SHARES.items():
        # Standard error sqrt(.7 * .3 / 20000) = 0.0032.
        assert counts[split] / 20_000 == pytest.approx(share, abs=0.013)
    moved = sum(split_of(f"unit{i}", 0) != split_of(f"unit{i}", 1) for i in range(1_000))
    assert moved > 300
    # Pinned: the hash must not change under a user's feet.
    assert draw("unit0", 0) == pytest.approx(DRAWN, abs=1e-12)


@given(ROWS, SOURCES)
def test_a_left_out_source_shares_no_unit_with_what_is_fitted(rows: list[tuple[str, str, str]], source: str) -> None:
    groups, prints, sources = (list(column) for column in zip(*rows, strict=True))
    names = units(groups, prints).names
    splits = [split_of(name, 0) for name in names]
    fold = leave_out(source, sources, names, splits)
    assert fold.measure.tolist() == [one == source for one in sources]
    used = fold.fit | fold.choose
    measured = {name for name, own in zip(names, fold.measure.tolist(), strict=True) if own}
    assert not measured & {name for name, mine in zip(names, used.tolist(), strict=True) if mine}
    assert not (fold.fit & fold.choose).any()
    assert fold.withheld == sum(name in measured and one != source for name, one in zip(names, sources, strict=True))


def test_leaks_are_found() -> None:
    assert leaks(["a", "b", "a", "b"], ["train", "test", "test", "test"]) == ["a"]


@given(st.lists(st.tuples(st.integers(0, 9), SOURCES), min_size=1, max_size=40), st.integers(0, 5))
def test_shuffled_moves_items_whole_and_within_their_stratum(rows: list[tuple[int, str]], seed: int) -> None:
    items, strata = [f"{source}{item}" for item, source in rows], [source for _, source in rows]
    donors = shuffled(items, strata, seed=seed)
    assert [strata[donor] for donor in donors] == strata
    # One donor an item, and every item gives once.
    given_by = {item: items[donor] for item, donor in zip(items, donors, strict=True)}
    assert all(given_by[item] == items[donor] for item, donor in zip(items, donors, strict=True))
    assert sorted(given_by) == sorted(given_by.values())
    assert donors.tolist() == shuffled(items, strata, seed=seed).tolist()


def test_shuffled_labels_teach_nothing() -> None:
    """A table of role means predicts the labels; shuffled, it is no better than the mean of all."""
    rng = np.random.default_rng(3)
    n = 4_000
    role = rng.integers(0, 8, n)
    outcome = (rng.random(n) < 0.1 + 0.1 * role).astype(float)
    fit = np.arange(n) < n // 2

    def gain(labels: np.ndarray) -> float:
        """Share of the variance on the second half that the first half's role means explain."""
        means = np.array([labels[fit & (role == one)].mean() for one in range(8)])
        rest = labels[~fit]
        return float(1 - ((rest - means[role[~fit]]) ** 2).mean() / ((rest - labels[fit].mean()) ** 2).mean())

    donors = shuffled([str(row) for row in range(n)], ["own"] * n, seed=0)
    assert gain(outcome) > 0.1
    assert gain(outcome[donors]) < 0.01
