from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from agentrouter.errors import InputError, LedgerError
from agentrouter.ledger import JoinedLedger, NullLedger, SqliteLedger, open_ledger
from agentrouter.ledger import sqlite as sqlite_module
from agentrouter.ledger.rows import LedgerStep
from agentrouter.types import Pins, Reply, Scores, Status, StepRecord, Tier

from .records import attempt, decision, escalated, failed, record, step, without_content

CANARY = "sk-ant-CANARY0x7f3A9q8Wz1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def as_record(found: LedgerStep, full: StepRecord) -> StepRecord:
    """The stored step as a record again; features are not stored, so they are taken from ``full``."""
    return StepRecord(
        step=found.step,
        features=found.features or full.features,
        status=found.status,
        served=found.served,
        decisions=found.decisions,
        attempts=found.attempts,
        excluded=found.excluded,
        started_at=found.started_at,
        notes=found.notes,
    )


def numbers(ledger: SqliteLedger, trajectory: str = "t-1") -> list[tuple[int, int]]:
    return [(found.step.index, found.step.retry) for found in ledger.steps(trajectory_id=trajectory)]


@pytest.mark.parametrize(
    "full",
    [
        record(),
        escalated(),
        record(step(), failed(Tier.MINIMAL), status=Status.ERROR),
        msgspec.structs.replace(record(), attempts=(), decisions=(), served=None, status=Status.CANCELLED),
        record(msgspec.structs.replace(step(), pins=Pins(model="m", tier=Tier.MID, max_cost_nusd=5), replayable=False)),
    ],
    ids=["one attempt", "three attempts", "failed", "cancelled before any attempt", "pinned"],
)
def test_a_record_comes_back_whole_but_for_its_content(path: Path, full: StepRecord) -> None:
    with open_ledger(path) as ledger:
        ledger.append(full)
        found = ledger.explain("s-1")
        assert as_record(found, full) == without_content(full)
        assert found.features is None
        assert found.cost_nusd == full.cost_nusd


def test_with_content_a_record_comes_back_whole(path: Path) -> None:
    with open_ledger(path, store_content=True) as ledger:
        ledger.append(escalated())
        found = ledger.explain("s-1")
    assert as_record(found, record()) == escalated()
    assert found.features == escalated().features


def test_figures_of_an_escalated_step(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(escalated())
        found = ledger.explain("s-1")
    assert found.cost_nusd == 101_007  # rate-limited 0; efficient 50,500 and 7 for the judge; frontier 50,500
    assert found.latency_ms == 540.0  # 40 + 250 + 250
    assert found.ttft_ms == 390.0  # 40 + 250 until the frontier call, and its 100
    assert found.served_position == 2
    assert found.served is not None
    assert found.served.price.input == 5_000_000
    assert (found.policy, found.reason) == ("threshold:step@abcd", "escalation")


def test_content_is_not_in_the_file_unless_asked_for(path: Path, tmp_path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(record())
    with open_ledger(tmp_path / "open.db", store_content=True) as ledger:
        ledger.append(record())
    pieces = [b"Rename the function", b"Renamed it", b"a.py", b"private", b"-0.5"]
    assert [piece in path.read_bytes() for piece in pieces] == [False] * 5
    assert [piece in (tmp_path / "open.db").read_bytes() for piece in pieces] == [True] * 5


def planted() -> StepRecord:
    """A record with a key in every text that it has."""
    key = f"x {CANARY} y"
    made = step(key, trajectory=key, role=key)
    made = msgspec.structs.replace(
        made,
        parent_id=key,
        data_class=key,
        prefix_hash=key,
        pins=Pins(model=key, labels=frozenset({key})),
        messages=tuple(msgspec.structs.replace(message, text=key, tool_call_id=key) for message in made.messages),
        tools=tuple(msgspec.structs.replace(tool, description=key, parameters=key) for tool in made.tools),
        output=msgspec.structs.replace(made.output, schema=key, tool=key, form=key),
    )
    base = attempt(Tier.MID, checks=1)
    (verdict,) = base.outcome.verdicts
    (call,) = base.outcome.reply.tool_calls
    outcome = msgspec.structs.replace(
        base.outcome,
        reply=Reply(text=key, tool_calls=(msgspec.structs.replace(call, id=key, name=key, arguments=key),), finish=key),
        failure_detail=key,
        verdicts=(msgspec.structs.replace(verdict, detail=key, verifier=key),),
    )
    chosen = msgspec.structs.replace(base.candidate, name=key, provider=key, model=key, labels=frozenset({key}))
    tried = msgspec.structs.replace(base, candidate=chosen, outcome=outcome)
    full = record(made, tried)
    out = full.excluded[0]
    exclusion = type(out)(key, key, key)
    decided = msgspec.structs.replace(
        decision(tried), detail=key, policy=key, scores=Scores(p_ok=(0.1, 0.2, 0.3, 0.4), scorer=key)
    )
    features = msgspec.structs.replace(
        full.features, semantics=msgspec.structs.replace(full.features.semantics, instruction=key, observation=key)
    )
    return msgspec.structs.replace(full, notes=(key,), excluded=(exclusion,), decisions=(decided,), features=features)


@pytest.mark.parametrize("content", [False, True], ids=["without content", "with content"])
def test_a_planted_key_is_nowhere_in_the_files(path: Path, *, content: bool) -> None:
    with open_ledger(path, store_content=content) as ledger:
        ledger.append(planted())
        written = b"".join(file.read_bytes() for file in path.parent.iterdir())
        shown = msgspec.json.encode(list(ledger.steps())) + msgspec.json.encode(list(ledger.recorded()))
    assert b"[redacted]" in written
    assert b"CANARY" not in written + shown + path.read_bytes()


def test_sql_in_every_text_is_plain_data(path: Path) -> None:
    hostile = "'; DROP TABLE steps; --"
    with open_ledger(path) as ledger:
        ledger.append(record(step(hostile, trajectory=hostile, role=hostile)))
        assert ledger.explain(hostile).step.role == hostile
        assert numbers(ledger, hostile) == [(0, 0)]
        assert numbers(ledger, "' OR '1'='1") == []
        assert [total.key for total in ledger.totals("role")] == [hostile]


def test_text_that_utf8_cannot_hold_and_numbers_that_json_cannot(path: Path) -> None:
    made = decision(attempt(Tier.MID))
    nan = float("nan")
    broken = msgspec.structs.replace(made, scores=Scores(p_ok=(nan, 0.5, 0.5, 0.5)), detail="a\ud800", propensity=nan)
    full = msgspec.structs.replace(record(step(role="\udc80")), decisions=(broken,), notes=("nul\0",))
    role = msgspec.structs.replace(full.features.role, verb="\ud800")
    full = msgspec.structs.replace(full, features=msgspec.structs.replace(full.features, role=role))
    with open_ledger(path, store_content=True) as ledger:
        ledger.append(full)
        found = ledger.explain("s-1")
    assert found.step.role == "?"
    assert found.notes == ("nul\0",)
    assert (found.decisions[0].detail, found.decisions[0].propensity) == ("a?", -1.0)
    assert found.decisions[0].scores == Scores(p_ok=(-1.0, 0.5, 0.5, 0.5))


# --- numbering and repetition ----------------------------------------------------------------------------------------


def test_an_index_in_use_becomes_the_next_free_one(path: Path) -> None:
    with open_ledger(path) as ledger:
        for n, index in enumerate([0, 1, 1, 0, 4]):
            ledger.append(record(step(f"s-{n}", index=index)))
        # the second 1 and 0 take 2 and 3; 4 was free
        assert numbers(ledger) == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]


def test_a_retry_keeps_its_index(path: Path) -> None:
    with open_ledger(path) as ledger:
        for n, retry in enumerate([0, 1, 1]):
            ledger.append(record(step(f"s-{n}", index=5, retry=retry)))
        assert numbers(ledger) == [(5, 0), (5, 1), (5, 2)]


def test_twenty_at_once_get_twenty_numbers_without_a_gap(path: Path) -> None:
    with open_ledger(path) as ledger:
        ready = threading.Barrier(20)

        def append(n: int) -> None:
            ready.wait()
            ledger.append(record(step(f"s-{n}")))

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(append, range(20)))
        assert sorted(numbers(ledger)) == [(n, 0) for n in range(20)]


def test_two_connections_number_one_trajectory_together(path: Path) -> None:
    with open_ledger(path) as one, open_ledger(path) as two:
        for n in range(10):
            (one, two)[n % 2].append(record(step(f"s-{n}")))
        assert numbers(one) == numbers(two) == [(n, 0) for n in range(10)]


def test_a_step_of_no_trajectory_is_its_own(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(record(step("a", trajectory="")))
        ledger.append(record(step("b", trajectory="")))
        assert [(f.step.trajectory_id, f.step.index) for f in ledger.steps()] == [("a", 0), ("b", 0)]


def test_the_same_record_again_is_one_row(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(escalated())
        ledger.append(escalated())
    with open_ledger(path) as ledger:  # after a crash and a restart
        ledger.append_many([escalated(), escalated()])
        assert [total.attempts for total in ledger.totals()] == [3]
        assert numbers(ledger) == [(0, 0)]


def test_another_record_under_a_known_id_is_booked_beside_it(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(record(step("a")))
        other = record(step("a", role="plan"))
        ledger.append_many([other, record(step("b", index=1)), other])
        ledger.append(record(step("a", role="format")))
        found = [(stored.step.id, stored.step.role) for stored in ledger.steps()]
        assert found == [("a", "edit"), ("a#2", "plan"), ("b", "edit"), ("a#3", "format")]
        assert len({stored.step.index for stored in ledger.steps()}) == 4
        assert ledger.dropped == 0


# --- reading ---------------------------------------------------------------------------------------------------------


def test_steps_stream_over_pages_in_the_order_of_writing(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append_many([record(step(f"s-{n}", trajectory=f"t-{n % 2}", index=n // 2)) for n in range(600)])
        assert [found.step.id for found in ledger.steps()] == [f"s-{n}" for n in range(600)]
        assert [found.step.id for found in ledger.steps(trajectory_id="t-1")] == [f"s-{n}" for n in range(1, 600, 2)]
        seq = ledger.explain("s-597").seq
        assert [found.step.id for found in ledger.steps(after=seq)] == ["s-598", "s-599"]


def test_reading_and_writing_may_interleave(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append_many([record(step(f"s-{n}", index=n)) for n in range(300)])
        seen = 0
        for found in ledger.steps():
            seen += 1
            if found.step.index == 0:
                ledger.append(record(step("late", index=300)))
        assert seen == 301


def test_recorded_steps_for_the_replay(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(escalated())
        (found,) = ledger.recorded()
    assert (found.model, found.provider, found.status) == ("example/frontier", "example", Status.OK)
    assert found.cost_nusd == 101_007
    assert found.usage is not None
    assert (found.usage.input_total, found.usage.output) == (1_000, 50)
    assert (found.step.tokens.input, found.step.tokens.cacheable, found.step.tokens.estimated) == (1_000, 900, False)
    # The call of example/minimal failed: its zero tokens are not what its answer would have used.
    assert [(other.model, other.cost_nusd) for other in found.alternatives] == [("example/efficient", 50_507)]
    assert found.lacks == ("messages",)


def test_a_step_without_attempts_says_what_it_lacks(path: Path) -> None:
    full = msgspec.structs.replace(
        record(step(role="unknown"), at=0.0), attempts=(), decisions=(), served=None, status=Status.CANCELLED
    )
    with open_ledger(path, store_content=True) as ledger:
        ledger.append(full)
        (found,) = ledger.recorded()
    assert found.lacks == ("usage", "cost", "time", "model", "role")
    assert (found.model, found.usage, found.cost_nusd) == ("", None, None)


def test_an_unknown_step_is_an_input_error(path: Path) -> None:
    with open_ledger(path) as ledger, pytest.raises(InputError, match="no step 'nothing'"):
        ledger.explain("nothing")


def test_an_explanation_is_json(path: Path) -> None:
    with open_ledger(path) as ledger:
        ledger.append(escalated())
        shown = msgspec.json.decode(msgspec.json.encode(ledger.explain("s-1")))
    assert shown["decisions"][0]["probabilities"] == {"example/minimal": 0.75, "example/other": 0.25}
    assert shown["decisions"][0]["scores"]["p_ok"] == [0.1, 0.91, 0.95, 0.99]
    assert shown["excluded"] == [
        {"candidate": "example/minimal", "rule": "context_window", "detail": "needs 1000 tokens, has 512"}
    ]
    assert shown["attempts"][0]["outcome"]["failure"] == "rate_limit"


# --- trouble ---------------------------------------------------------------------------------------------------------


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrouter.ledger.schema.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(sqlite_module, "_WAIT_NORMALLY", "PRAGMA busy_timeout = 50")


def test_steps_wait_while_the_file_is_locked_and_none_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    with open_ledger(path) as ledger:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for n in range(3):
            with pytest.raises(LedgerError, match=f"locked; {n + 1} steps wait in memory, 0 were dropped"):
                ledger.append(record(step(f"s-{n}", index=n)))
        assert (ledger.waiting, ledger.dropped) == (3, 0)
        blocker.execute("ROLLBACK")
        blocker.close()
        ledger.append(record(step("s-3", index=3)))
        assert ledger.waiting == 0
        assert [found.step.id for found in ledger.steps()] == ["s-0", "s-1", "s-2", "s-3"]


def test_an_append_does_not_hold_up_its_caller_while_steps_wait(path: Path) -> None:
    with open_ledger(path) as ledger:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        ledger._keep_waiting([])  # as after a first failure, without its five seconds
        ledger._waiting.append(sqlite_module.rows_from(record(step("w")), program="x", content=False))
        before = time.perf_counter()
        with pytest.raises(LedgerError):
            ledger.append(record(step("s")))
        assert time.perf_counter() - before < 1.0
        blocker.execute("ROLLBACK")
        blocker.close()


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(sqlite_module, "WAITING_LIMIT", 2)
    ledger = open_ledger(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for n in range(3):
        with pytest.raises(LedgerError):
            ledger.append(record(step(f"s-{n}", index=n)))
    assert (ledger.waiting, ledger.dropped) == (2, 1)
    with pytest.raises(LedgerError, match="lost at closing: 2 steps that were waiting: database is locked"):
        ledger.close()
    assert ledger.dropped == 3
    blocker.close()


def test_what_waits_is_written_at_close(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    ledger = open_ledger(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError):
        ledger.append(record())
    blocker.execute("ROLLBACK")
    blocker.close()
    ledger.close()
    with open_ledger(path) as again:
        assert numbers(again) == [(0, 0)]


def test_a_full_disk_keeps_the_step_waiting(path: Path) -> None:
    with open_ledger(path) as ledger:
        connection = ledger._usable()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match="full; 200 steps wait in memory"):
            ledger.append_many([record(step(f"s-{n}", index=n)) for n in range(200)])
        assert list(ledger.steps()) == []
        connection.execute("PRAGMA max_page_count = 1000000")
        ledger.append(record(step("last", index=200)))
        assert numbers(ledger) == [(n, 0) for n in range(201)]


def test_a_number_too_large_for_the_file_is_refused_and_the_rest_of_the_batch_kept(path: Path) -> None:
    with open_ledger(path) as ledger:
        with pytest.raises(LedgerError, match="refused for good: step 'bad': Python int too large"):
            ledger.append_many([record(step("a")), record(step("bad", index=2**70)), record(step("b", index=1))])
        assert (ledger.waiting, ledger.dropped) == (0, 1)
        ledger.append(record(step("c", index=2)))
        assert numbers(ledger) == [(0, 0), (1, 0), (2, 0)]


def test_a_bad_step_that_had_to_wait_does_not_keep_the_others_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    with open_ledger(path) as ledger:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for n, index in enumerate([0, 2**70]):
            with pytest.raises(LedgerError, match="locked"):
                ledger.append(record(step(f"s-{n}", index=index)))
        blocker.execute("ROLLBACK")
        blocker.close()
        with pytest.raises(LedgerError, match="refused for good: step 's-1'"):
            ledger.append(record(step("s-2", index=1)))
        assert [found.step.id for found in ledger.steps()] == ["s-0", "s-2"]
        assert (ledger.waiting, ledger.dropped) == (0, 1)


def test_a_closed_ledger_says_so(path: Path) -> None:
    ledger = open_ledger(path)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        ledger.append(record())
    with pytest.raises(LedgerError, match="is closed"):
        ledger.totals()


def test_after_a_fork_the_child_must_open_its_own(path: Path) -> None:
    with open_ledger(path) as ledger:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads of the test runner
            child = os.fork()
        if child == 0:
            try:
                ledger.append(record())
            except LedgerError as error:
                os._exit(0 if "parent process" in str(error) else 2)
            os._exit(3)
        assert os.waitpid(child, 0)[1] == 0
        ledger.append(record())


class Broken:
    def append(self, record: StepRecord) -> None:
        raise LedgerError("broken")

    def close(self) -> None:
        raise LedgerError("still broken")


def test_joined_ledgers_each_get_the_record_although_one_fails(path: Path) -> None:
    store = open_ledger(path)
    joined = JoinedLedger([Broken(), NullLedger(), store])
    with pytest.raises(LedgerError, match=r"^broken$"):
        joined.append(record())
    assert numbers(store) == [(0, 0)]
    with pytest.raises(LedgerError, match=r"^still broken$"):
        joined.close()
    with pytest.raises(LedgerError, match="is closed"):
        store.append(record())


def test_two_thousand_steps_of_one_trajectory(path: Path) -> None:
    # L1 of the reliability list: gapless, exact, and the last step not slower than three times the first
    with open_ledger(path) as ledger:
        times = []
        for n in range(2_000):
            made = record(step(f"s-{n}", index=n))
            before = time.perf_counter()
            ledger.append(made)
            times.append(time.perf_counter() - before)
        assert numbers(ledger) == [(n, 0) for n in range(2_000)]
        (whole,) = ledger.totals()
        assert (whole.steps, whole.cost_nusd) == (2_000, 2_000 * 50_500)
        first, last = sorted(times[:200])[100], sorted(times[-200:])[100]
        assert last < 3 * first
