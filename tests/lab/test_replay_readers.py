"""Every reader's fixture under the identity policy: the recorded bill comes back, worked out from the records alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from replay_records import NOON, OPTIONS, WORLD

from agentrouter.bill import price_usage
from agentrouter.flow import route_flow
from agentrouter.lab.recorded_models import RecordedModels
from agentrouter.lab.replay import replay
from agentrouter.lab.sources import open_traces
from agentrouter.ledger import open_ledger
from agentrouter.policies import build
from agentrouter.trajectory import TrajectoryState, advance, prepare
from agentrouter.types import Outcome, Step, StepRecord, Tier, TokenCounts, Usage, Verdict

TRACES = Path(__file__).parents[1] / "fixtures" / "traces"


def _fixtures() -> list[Path]:
    return sorted(path for path in TRACES.iterdir() if path.is_file())


@pytest.mark.parametrize("path", _fixtures(), ids=lambda path: path.name)
def test_the_identity_policy_gives_back_the_bill_of_every_fixture(path: Path) -> None:
    models = RecordedModels(WORLD.catalog, OPTIONS.price_date)
    expected = listed = invoiced = 0
    for recorded in open_traces(path)[0]:
        candidate = models.find(recorded.provider, recorded.model, recorded.started_at)
        if recorded.cost_nusd is not None and (recorded.usage is not None or recorded.step.tokens.input):
            expected, invoiced = expected + recorded.cost_nusd, invoiced + 1
        elif recorded.usage is not None and candidate is not None:
            expected, listed = expected + price_usage(recorded.usage, candidate.price).total, listed + 1
    steps, trace = open_traces(path)
    report = replay(steps, build("recorded"), WORLD, OPTIONS, trace)

    assert report.steps == trace.steps > 0
    assert report.steps == report.priced_steps + sum(row.steps for row in report.unpriced)
    assert (report.quality.invoice_steps, report.quality.listed_steps) == (invoiced, listed)
    assert report.bill("policy") == report.bill("recorded")
    if not report.quality.estimated_steps:
        assert report.bill("policy") == expected


def _served(step: Step, state: TrajectoryState, now: float) -> StepRecord:
    """Drive the serving flow; on odd steps the answer of mid fails its check and the step goes one tier up."""
    flow = route_flow(build("escalate:fixed:mid"), step, prepare(step, state, WORLD, now), WORLD.settings)
    call = next(flow)
    while True:
        bad = step.index % 2 and call.candidate.tier is Tier.MID
        verdicts = (Verdict(verifier="schema", p_good=0.0, passed=False),) if bad else ()
        try:
            call = flow.send(Outcome(usage=Usage(fresh_input=1_000, output=9), verdicts=verdicts))
        except StopIteration as stop:
            record: StepRecord = stop.value
            return record


def test_a_ledger_replays_to_what_it_booked_escalations_included(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    state = TrajectoryState()
    booked = 0
    with closing(open_ledger(path)) as ledger:
        for index in range(6):
            tokens = TokenCounts(input=1_000, output=9)
            step = Step(id=f"s{index}", trajectory_id="t", index=index, role="plan", tokens=tokens)
            record = _served(step, state, NOON + index)
            booked += record.cost_nusd
            ledger.append(record)
            state = advance(state, record, NOON + index)
    steps, trace = open_traces(path)
    report = replay(steps, build("recorded"), WORLD, OPTIONS, trace)

    # mid: 1,000 x 1,000 + 9 x 5,000; frontier on top: 1,000 x 5,000 + 9 x 25,000.
    assert booked == 6 * 1_045_000 + 3 * 5_225_000
    assert report.bill("policy") == report.bill("recorded") == booked
