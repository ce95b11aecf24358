"""The library's front door on the scripted provider."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from agentrouter.catalog import builtin_catalog
from agentrouter.config import load_config
from agentrouter.errors import FailureKind, InputError, LedgerError, NoCandidateError
from agentrouter.ledger import open_ledger
from agentrouter.providers.scripted import Scripted
from agentrouter.router import Router
from agentrouter.trajectory import World
from agentrouter.types import Call, Outcome, OutputContract, Reply, Status, Step, StepRecord, Usage, Verdict

WORLD = World(catalog=builtin_catalog())
ASK = [{"role": "user", "content": "Give the answer as JSON."}]
JSON = OutputContract(form="json")


class Shelf:
    """A ledger in memory; ``broken`` makes every append fail."""

    def __init__(self, *, broken: bool = False) -> None:
        self.records: list[StepRecord] = []
        self.broken = broken
        self.closed = False

    def append(self, record: StepRecord) -> None:
        if self.broken:
            raise LedgerError("disk full")
        self.records.append(record)

    def close(self) -> None:
        self.closed = True


class Named:
    """A check with a verdict by a function."""

    def __init__(self, passes: bool | None) -> None:
        self.name = "own-check"
        self.passes = passes

    def check(self, step: Step, reply: Reply) -> Verdict:
        if self.passes is None:
            raise RuntimeError("the checker broke")
        return Verdict(verifier=self.name, p_good=float(self.passes), passed=self.passes)


def router(script: object, policy: str = "escalate:roles", ledger: Shelf | None = None) -> Router:
    return Router(WORLD, policy, providers={"example": Scripted(script)}, ledger=ledger, clock=lambda: 1_000.0)  # type: ignore[arg-type]


def run(made: Router, step: Step, checks: Sequence[Named] = ()) -> StepRecord:
    return asyncio.run(made.run(step, checks=checks))


def test_a_step_is_decided_called_checked_and_booked() -> None:
    shelf = Shelf()
    made = router({"minimal": "not json", "efficient": '{"ok": true}'}, ledger=shelf)
    record = run(made, made.step(ASK, trajectory_id="t", role="format", output=JSON))
    assert [attempt.candidate.tier.label for attempt in record.attempts] == ["minimal", "efficient"]
    assert record.reply == Reply(text='{"ok": true}')
    assert shelf.records == [record]
    assert made.sessions.state("t").history.spend_nusd == record.cost_nusd > 0


def test_own_checks_run_after_the_free_ones_and_can_escalate() -> None:
    made = router({"*": '{"ok": true}'})
    step = made.step(ASK, trajectory_id="t", role="format", output=JSON)
    record = run(made, step, [Named(False)])
    assert len(record.attempts) == 3
    assert [verdict.verifier for verdict in record.attempts[0].outcome.verdicts] == [
        "complete",
        "contract",
        "own-check",
    ]


def test_a_broken_check_is_noted_and_breaks_nothing() -> None:
    made = router({"*": '{"ok": true}'})
    record = run(made, made.step(ASK, trajectory_id="t", role="format"), [Named(None)])
    verdict = record.attempts[0].outcome.verdicts[-1]
    assert verdict.failed_to_run
    assert "the checker broke" in verdict.detail
    assert record.notes == ("verifier_error: own-check: RuntimeError: the checker broke",)
    assert len(record.attempts) == 1


def test_a_broken_ledger_breaks_no_step_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    made = router({"*": "fine"}, ledger=Shelf(broken=True))
    with caplog.at_level(logging.ERROR, logger="agentrouter"):
        record = run(made, made.step(ASK, trajectory_id="t"))
    assert record.status is Status.OK
    assert made.ledger_failures == 1
    assert "disk full" in caplog.text


def test_a_provider_failure_falls_back() -> None:
    def script(call: Call) -> str | Outcome:
        return "fine" if call.number else Outcome(status=Status.ERROR, failure=FailureKind.RATE_LIMIT)

    made = router(script, "fixed:mid")
    record = run(made, made.step(ASK, trajectory_id="t"))
    assert [attempt.candidate.tier.label for attempt in record.attempts] == ["mid", "frontier"]


def test_candidates_without_a_provider_are_barred_with_the_reason() -> None:
    made = Router(WORLD, "roles", providers={"other": Scripted({}, name="other")})
    with pytest.raises(NoCandidateError, match="provider 'example' is not configured"):
        run(made, made.step(ASK, trajectory_id="t"))


def test_cancelling_books_the_step_and_goes_on_cancelling() -> None:
    shelf = Shelf()

    class Hanging(Scripted):
        async def send(self, call: Call) -> Outcome:
            await asyncio.sleep(60)
            raise AssertionError("not reached")

    async def scenario() -> None:
        made = Router(WORLD, "roles", providers={"example": Hanging({})}, ledger=shelf)
        task = asyncio.create_task(made.run(made.step(ASK, trajectory_id="t")))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert [record.status for record in shelf.records] == [Status.CANCELLED]


def test_step_numbers_follow_within_a_trajectory() -> None:
    made = router({})
    steps = [made.step(ASK, trajectory_id=name) for name in ("a", "a", "b", "a")]
    assert [(step.trajectory_id, step.index, step.id) for step in steps] == [
        ("a", 0, "a/0"),
        ("a", 1, "a/1"),
        ("b", 0, "b/0"),
        ("a", 2, "a/2"),
    ]


def test_a_misspelt_step_field_is_refused() -> None:
    with pytest.raises(InputError, match="no field 'rol'"):
        router({}).step(ASK, trajectory_id="t", rol="planner")


def test_the_sync_door_works_and_closes() -> None:
    shelf = Shelf()
    with router({"*": "fine"}, ledger=shelf) as made:
        first = made.run_sync(made.step(ASK, trajectory_id="t"))
        second = made.run_sync(made.step(ASK, trajectory_id="t"))
    assert [first.step.index, second.step.index] == [0, 1]
    assert shelf.closed


def test_the_sync_door_refuses_inside_an_event_loop() -> None:
    made = router({"*": "fine"})

    async def inside() -> None:
        made.run_sync(made.step(ASK, trajectory_id="t"))

    with pytest.raises(RuntimeError, match=r"await router\.run"):
        asyncio.run(inside())


def test_route_decides_without_calling() -> None:
    made = Router(WORLD, "roles", clock=lambda: 0.0)
    routed = made.route(made.step(ASK, trajectory_id="t", role="planner"))
    assert routed.record.served is not None
    assert routed.record.served.tier.label == "frontier"
    assert made.sessions.state("t").history.steps == 1


def test_concurrent_steps_of_one_trajectory_are_all_folded_in() -> None:
    shelf = Shelf()
    made = router({"*": "fine"}, ledger=shelf)

    async def scenario() -> None:
        await asyncio.gather(*(made.run(made.step(ASK, trajectory_id="t")) for _ in range(20)))

    asyncio.run(scenario())
    assert sorted(record.step.index for record in shelf.records) == list(range(20))
    assert made.sessions.state("t").history.steps == 20


def test_a_checks_not_a_number_counts_as_broken() -> None:
    class Nan(Named):
        def check(self, step: Step, reply: Reply) -> Verdict:
            return Verdict(verifier=self.name, p_good=float("nan"), passed=True)

    made = router({"*": "fine"})
    record = run(made, made.step(ASK, trajectory_id="t"), [Nan(True)])
    assert record.attempts[0].outcome.verdicts[-1].failed_to_run


def test_scripted_turns_and_caches() -> None:
    made = router({"planner": ["one", "two"]}, "fixed:frontier")
    texts = [run(made, made.step(ASK, trajectory_id="t", role="planner")) for _ in range(3)]
    assert [record.reply.text for record in texts if record.reply] == ["one", "two", "two"]
    assert [record.attempts[0].outcome.usage.cache_read > 0 for record in texts] == [False, True, True]
    assert msgspec.json.encode(texts[0])


def test_a_router_from_a_config_file_books_and_survives_a_dead_collector(tmp_path: Path) -> None:
    path = tmp_path / "router.yaml"
    path.write_text(
        "policy: fixed:mid\n"
        "providers: {stage: {kind: scripted}}\n"
        "models: [{tier: mid, provider: stage, model: m, price: {input: 1, output: 5}}]\n"
        f"ledger: {{path: {tmp_path / 'steps.db'}}}\n",
        encoding="utf-8",
    )
    config = load_config(str(path), environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    with Router.from_config(config) as made:
        record = made.run_sync(made.step(ASK, trajectory_id="t"))
    assert record.status is Status.OK
    with open_ledger(tmp_path / "steps.db", read_only=True) as ledger:
        (row,) = ledger.steps()
    assert (row.step.id, row.cost_nusd) == ("t/0", record.cost_nusd)
    assert record.cost_nusd > 0


class Breaking:
    """A provider that raises or answers nonsense in its first call."""

    name = "example"

    def __init__(self, first: BaseException | object) -> None:
        self.first = first

    async def send(self, call: Call) -> Outcome:
        if call.number:
            return Outcome(reply=Reply(text="fine"), usage=Usage(fresh_input=100, output=10))
        if isinstance(self.first, BaseException):
            raise self.first
        return self.first  # type: ignore[return-value]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("first", "kind", "said"),
    [
        (ValueError("a bug"), FailureKind.SERVER_ERROR, "provider example broke: ValueError: a bug"),
        (TimeoutError(), FailureKind.TIMEOUT, "provider example broke: TimeoutError"),
        (None, FailureKind.SERVER_ERROR, "AttributeError"),
        (Outcome(usage=Usage(fresh_input=-5)), FailureKind.SERVER_ERROR, "fresh_input: expected a whole number"),
    ],
)
def test_a_provider_that_breaks_is_a_failed_attempt(
    first: object, kind: FailureKind, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    made = Router(WORLD, "fixed:mid", providers={"example": Breaking(first)}, ledger=shelf)
    record = run(made, made.step(ASK, trajectory_id="t"))
    assert [attempt.outcome.failure for attempt in record.attempts] == [kind, None]
    assert said in record.attempts[0].outcome.failure_detail
    assert "provider example broke" in caplog.text
    assert record.status is Status.OK
    assert shelf.records == [record]


def test_a_broken_provider_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    made = Router(WORLD, "fixed:mid", providers={"example": Breaking(ValueError("Bearer sk-ant-api03-abcdef123456"))})
    run(made, made.step(ASK, trajectory_id="t"))
    assert "abcdef123456" not in caplog.text
    assert "[redacted]" in caplog.text


def test_cancelling_while_an_answer_is_checked_books_what_it_cost() -> None:
    shelf, begun, go_on = Shelf(), threading.Event(), threading.Event()

    class Slow:
        name = "slow"

        def check(self, step: Step, reply: Reply) -> Verdict:
            begun.set()
            go_on.wait(5.0)
            return Verdict(verifier=self.name, p_good=1.0, passed=True)

    async def cancelled() -> None:
        made = router({"*": "fine"}, "fixed:mid", shelf)
        task = asyncio.create_task(made.run(made.step(ASK, trajectory_id="t"), checks=[Slow()]))
        await asyncio.to_thread(begun.wait, 5.0)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (record,) = shelf.records
    assert record.status is Status.CANCELLED
    assert record.attempts[0].outcome.usage.output > 0
    assert record.cost_nusd > 0


def test_the_sync_door_takes_a_budget() -> None:
    with router({"*": "fine"}, "fixed:frontier") as made:
        step = made.step(ASK, trajectory_id="t")
        with pytest.raises(NoCandidateError, match="the caller budget holds"):
            made.run_sync(step, budget_nusd=0)
        assert made.run_sync(step, budget_nusd=10**12).served is not None


def test_a_provider_that_pays_us_has_not_answered() -> None:
    made = router(lambda call: Outcome(usage=Usage(fresh_input=5), recorded_cost_nusd=-15), "fixed:frontier")
    record = run(made, made.step(ASK, trajectory_id="t"))
    assert record.status is Status.ERROR
    assert record.cost_nusd == 0
