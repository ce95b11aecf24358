from __future__ import annotations

import ast
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentrouter.ledger
from agentrouter.errors import InputError
from agentrouter.ledger import open_ledger
from agentrouter.ledger.queries import GROUPS, Totals
from agentrouter.types import AttemptKind, Cost, Status, StepRecord, Tier, Usage

from .records import attempt, escalated, failed, record, step

DAY = 86_400.0
PARTS = [name for name in Totals.__struct_fields__ if name not in ("key", "steps")]

_tokens = st.integers(0, 10**7)
_nusd = st.integers(0, 10**13)
_usages = st.builds(
    Usage,
    fresh_input=_tokens,
    cache_read=_tokens,
    cache_write=_tokens,
    cache_write_1h=_tokens,
    output=_tokens,
    reasoning=_tokens,
)
_costs = st.builds(Cost, fresh_input=_nusd, cache_read=_nusd, cache_write=_nusd, output=_nusd, other=_nusd)
_attempts = st.lists(
    st.builds(
        lambda tier, usage, cost, checks: attempt(tier, usage=usage, cost=cost, checks=checks),
        st.sampled_from(Tier),
        _usages,
        _costs,
        _nusd,
    ),
    max_size=4,
)
_steps = st.lists(
    st.tuples(
        _attempts,
        st.sampled_from(["plan", "edit", "verify"]),
        st.sampled_from(["t-1", "t-2"]),
        st.sampled_from(Status),
        st.integers(0, 4),
    ),
    max_size=12,
)


def built(rows: list[tuple[list[object], str, str, Status, int]]) -> list[StepRecord]:
    records = []
    for n, (attempts, role, trajectory, status, day) in enumerate(rows):
        made = record(step(f"s-{n}", role=role, trajectory=trajectory), status=status, at=1.8e9 + day * DAY)
        served = attempts[-1].candidate if attempts and status is Status.OK else None  # type: ignore[attr-defined]
        records.append(msgspec.structs.replace(made, attempts=tuple(attempts), served=served))
    return records


@given(_steps)
@settings(max_examples=40, deadline=None)
def test_the_groups_add_up_to_the_whole_and_the_lines_to_the_cost(rows: list) -> None:  # type: ignore[type-arg]
    records = built(rows)
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "l.db") as ledger:
        ledger.append_many(records)
        whole = ledger.totals()
        assert sum(total.cost_nusd for total in whole) == sum(made.cost_nusd for made in records)
        assert sum(total.steps for total in whole) == len(records)
        for by in GROUPS:
            groups = ledger.totals(by)
            for part in PARTS:
                assert sum(getattr(group, part) for group in groups) == sum(getattr(total, part) for total in whole)
            if by not in ("model", "tier"):
                assert sum(group.steps for group in groups) == len(records)
        for total in (*whole, *ledger.totals("model")):
            lines = [getattr(total, part) for part in PARTS if part.startswith("cost_") and part != "cost_nusd"]
            assert sum(lines) == total.cost_nusd
        # the sums kept on the rows of the steps are those of their attempts
        assert sum(found.cost_nusd for found in ledger.steps()) == sum(made.cost_nusd for made in records)


def test_the_row_of_a_step_holds_the_sums_of_its_attempts(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db") as ledger:
        ledger.append(escalated())
        row = (
            ledger._usable()
            .execute(
                "SELECT fresh_input, cache_read, cache_write, output, cost_output, cost_checks, cost_nusd FROM steps"
            )
            .fetchone()
        )
    # two attempts of 100 fresh, 800 read, 100 written, 50 out, 20,000 nano-dollars for output; 7 for the judge
    assert row == (200, 1_600, 200, 100, 40_000, 7, 101_007)


def test_an_escalated_step_counts_in_every_tier_that_it_used(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db") as ledger:
        ledger.append(escalated("a"))
        ledger.append(record(step("b", index=1), attempt(Tier.EFFICIENT)))
        found = {total.key: (total.steps, total.attempts, total.cost_nusd) for total in ledger.totals("tier")}
        by_model = {total.key: total.cost_nusd for total in ledger.totals("model")}
    assert found == {"minimal": (1, 1, 0), "efficient": (2, 2, 101_007), "frontier": (1, 1, 50_500)}
    assert by_model == {"example/minimal": 0, "example/efficient": 101_007, "example/frontier": 50_500}


def test_days_are_those_of_utc_and_since_and_until_cut(tmp_path: Path) -> None:
    midnight = 20_000 * DAY  # 2024-10-04
    with open_ledger(tmp_path / "l.db") as ledger:
        for n, at in enumerate([midnight - 1, midnight, midnight + DAY - 1, midnight + DAY]):
            ledger.append(record(step(f"s-{n}", index=n), at=at))
        days = {total.key: total.steps for total in ledger.totals("day")}
        within = ledger.totals(since=midnight, until=midnight + DAY)
    assert days == {"2024-10-03": 1, "2024-10-04": 2, "2024-10-05": 1}
    assert [total.steps for total in within] == [2]


def test_the_dearest_group_comes_first(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db") as ledger:
        for n, (role, cost) in enumerate([("plan", 5), ("edit", 9), ("verify", 9)]):
            ledger.append(record(step(f"s-{n}", index=n, role=role), attempt(Tier.MID, cost=Cost(other=cost))))
        assert [(total.key, total.cost_nusd) for total in ledger.totals("role")] == [
            ("edit", 9),
            ("verify", 9),
            ("plan", 5),
        ]


def test_status_policy_and_trajectory(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db") as ledger:
        ledger.append(record(step("a")))
        ledger.append(record(step("b", trajectory="t-2"), failed(Tier.MINIMAL), status=Status.ERROR))
        assert {total.key: total.steps for total in ledger.totals("status")} == {"ok": 1, "error": 1}
        assert {total.key: total.steps for total in ledger.totals("policy")} == {"threshold:step@abcd": 2}
        assert {total.key: total.steps for total in ledger.totals("trajectory")} == {"t-1": 1, "t-2": 1}


def test_ten_million_rows_of_a_tenth_of_a_micro_dollar_would_be_exact(tmp_path: Path) -> None:
    # B17 in small: 1e-7 USD is 100 nano-dollars; as floats of dollars, 10,000 of them would not give 0.0001
    assert sum([1e-7] * 1_000) != 0.0001
    made = [record(step(f"s-{n}", index=n), attempt(Tier.MID, cost=Cost(other=100))) for n in range(1_000)]
    with open_ledger(tmp_path / "l.db") as ledger:
        ledger.append_many(made)
        (whole,) = ledger.totals()
    assert whole.cost_nusd == 100_000  # 0.0001 USD


def test_an_empty_ledger_has_no_totals(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db") as ledger:
        assert ledger.totals() == ledger.totals("role") == ()


@pytest.mark.parametrize("by", ["rolle", "s.role", "role; DROP TABLE steps", "*"])
def test_an_unknown_grouping_is_an_input_error(tmp_path: Path, by: str) -> None:
    with open_ledger(tmp_path / "l.db") as ledger, pytest.raises(InputError, match="expected one of role, model, tier"):
        ledger.totals(by)


def test_no_statement_is_put_together_from_parts() -> None:
    # S5: whatever reaches execute() is a name or a literal, never a format, a sum or a call
    folder = Path(agentrouter.ledger.__file__).parent
    seen = 0
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("execute", "executemany", "executescript"):
                seen += 1
                assert isinstance(node.args[0], ast.Name | ast.Constant), f"{file.name}:{node.lineno}"
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                words = "".join(part.value for part in node.values if isinstance(part, ast.Constant)).upper()
                assert not any(word in words for word in ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "PRAGMA "))
    assert seen > 15


def test_escalated_attempts_keep_their_kind(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db") as ledger:
        ledger.append(escalated())
        kinds = [made.kind for made in ledger.explain("s-1").attempts]
    assert kinds == [AttemptKind.FIRST, AttemptKind.FALLBACK, AttemptKind.ESCALATION]
