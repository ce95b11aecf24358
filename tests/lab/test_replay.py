from __future__ import annotations

import math
import os
import random
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_records import NOON, OPTIONS, WORLD, four_steps, recorded

from agentrouter.bill import price_usage
from agentrouter.catalog import Catalog
from agentrouter.eligibility import HardRules, Pin
from agentrouter.errors import AgentRouterError, InputError
from agentrouter.lab.intervals import MAX_UNITS, Interval, pooled, resampled, share_interval
from agentrouter.lab.recorded_models import RecordedModels, tier_by_price
from agentrouter.lab.replay import Replay, replay
from agentrouter.lab.replay_parallel import BATCH, WAITING, Job, Opened, replay_traces, sharded
from agentrouter.lab.replay_report import ReplayReport, encode
from agentrouter.lab.tally import FIGURE_LIMIT
from agentrouter.lab.trace import ModelOutcome, Problem, RecordedStep, TraceReport
from agentrouter.policies import build
from agentrouter.trajectory import World
from agentrouter.types import Context, Decision, Price, Status, Step, Tier, TokenCounts, Usage


def run(steps: list[RecordedStep], policy: str = "roles", world: World = WORLD) -> ReplayReport:
    return replay(steps, build(policy), world, OPTIONS)


# --- the worked trajectory --------------------------------------------------------------------------------------------
#
# Recorded on the frontier (nUSD):
#   1: 1,000 x 6,250              + 100 x 25,000 =  8,750,000
#   2: 1,000 x 500 + 500 x 6,250  + 100 x 25,000 =  6,125,000
#   3: 1,500 x 500 + 500 x 6,250  + 100 x 25,000 =  6,375,000
#   4: 2,000 x 500 + 500 x 6,250  + 100 x 25,000 =  6,625,000      together 27,875,000
# Under `roles` (plan -> frontier, execute -> minimal):
#   1: as recorded                                                    8,750,000
#   2: minimal, cold:  1,500 x 125              + 100 x 400    =        227,500
#   3: minimal, warm:  1,500 x 10  + 500 x 125  + 100 x 400    =        117,500
#   4: frontier, which holds the first 1,000:
#      1,000 x 500 + 1,500 x 6,250 + 100 x 25,000              =     12,375,000      together 21,470,000

RECORDED = 27_875_000
POLICY = 21_470_000


def test_switching_costs_are_those_worked_by_hand() -> None:
    report = run(four_steps())

    assert report.bill("recorded") == RECORDED
    assert report.bill("recorded_cached") == RECORDED
    assert report.bill("frontier_cached") == RECORDED
    assert report.bill("policy") == POLICY
    assert report.bill("policy_cached") == POLICY
    # (1,000 + 1,500 + 2,000 + 2,500) x 5,000 + 4 x 2,500,000
    assert report.bill("frontier_uncached") == 45_000_000
    # 7,500,000 + (1,500 x 100 + 40,000) + (2,000 x 100 + 40,000) + 15,000,000
    assert report.bill("policy_uncached") == 22_930_000


def test_the_pessimistic_end_redoes_every_downgraded_step_at_the_recorded_model() -> None:
    saving = run(four_steps()).saving("recorded")

    # Steps 2 and 3 again at their recorded cost: 6,125,000 + 6,375,000.
    assert saving.pessimistic_nusd == POLICY + 12_500_000
    assert saving.share == pytest.approx(1 - 21_470 / 27_875, abs=1e-12)
    assert saving.share_pessimistic == pytest.approx(1 - 33_970 / 27_875, abs=1e-12)


def test_switches_cache_reads_and_cold_input_are_counted() -> None:
    report = run(four_steps())

    assert (report.recorded_motion.switches, report.policy_motion.switches) == (0, 2)
    # Recorded: 1,000 + 1,500 + 2,000 read of 7,000; policy: 0 + 0 + 1,500 + 1,000.
    assert report.recorded_motion.cache_read_share == pytest.approx(4_500 / 7_000)
    assert report.policy_motion.cache_read_share == pytest.approx(2_500 / 7_000)
    # Only step 2 meets no live cache after the first step: 1,500 x 125.
    assert report.recorded_motion.cold_input_nusd == 0
    assert report.policy_motion.cold_input_nusd == 187_500


def test_an_excursion_does_not_make_the_way_back_free() -> None:
    rows = {row.key: row for row in run(four_steps()).by_role}

    # The planner pays for the 1,000 tokens that the workers wrote elsewhere: 12,375,000 instead of 6,625,000.
    assert rows["plan"].recorded_nusd == 8_750_000 + 6_625_000
    assert rows["plan"].policy_nusd == 8_750_000 + 12_375_000
    assert rows["execute"].policy_nusd == 345_000
    assert (rows["plan"].changed, rows["execute"].changed) == (0, 2)


def test_breakdowns_add_up_to_the_whole() -> None:
    report = run([*four_steps(), recorded("edit", trajectory="u", usage=Usage(fresh_input=10, output=1))])

    for rows in (
        report.by_role,
        report.by_tier_recorded,
        report.by_tier_policy,
        report.by_model_recorded,
        report.by_model_policy,
        report.by_day,
        report.top_trajectories,
    ):
        assert sum(row.steps for row in rows) == 5
        assert sum(row.recorded_nusd for row in rows) == report.bill("recorded")
        assert sum(row.policy_nusd for row in rows) == report.bill("policy")
        assert sum(row.frontier_nusd for row in rows) == report.bill("frontier_cached")


def test_curve_and_tiers_follow_the_step_numbers() -> None:
    report = run(four_steps())

    assert [point.policy_nusd for point in report.curve] == [8_750_000, 8_977_500, 9_095_000, POLICY]
    assert report.curve[-1].recorded_nusd == RECORDED
    assert [point.policy for point in report.tiers] == [
        (0, 0, 0, 1, 0),
        (1, 0, 0, 0, 0),
        (1, 0, 0, 0, 0),
        (0, 0, 0, 1, 0),
    ]


def test_a_cache_that_outlives_its_time_is_cold() -> None:
    # 299 s and 301 s after a write that lives 300 s; without recorded usage the simulation is the recorded bill.
    def steps(gap: float) -> list[RecordedStep]:
        sizes = [TokenCounts(input=1_000, output=0), TokenCounts(input=1_500, output=0)]
        return [recorded(index=i, tokens=size, at=NOON + gap * i) for i, size in enumerate(sizes)]

    # 1,000 x 6,250 + (1,000 x 500 + 500 x 6,250)
    assert run(steps(299.0), "recorded").bill("recorded_cached") == 6_250_000 + 3_625_000
    # 1,000 x 6,250 + 1,500 x 6,250
    assert run(steps(301.0), "recorded").bill("recorded_cached") == 6_250_000 + 9_375_000


def test_steps_without_a_time_are_ten_seconds_apart_and_said_to_be() -> None:
    sizes = [TokenCounts(input=1_000, output=0)] * 2
    report = run([recorded(index=i, tokens=size, at=0.0) for i, size in enumerate(sizes)], "recorded")

    # The second call reads all 1,000: 6,250,000 + 500,000.
    assert report.bill("recorded_cached") == 6_750_000
    assert report.quality.clock_steps == 2
    assert any("10 s after" in line for line in report.assumptions)
    assert [row.key for row in report.by_day] == ["unknown"]


def test_a_rewritten_prompt_and_another_prompt_head_meet_cold_caches() -> None:
    long, short = TokenCounts(input=5_000, output=0), TokenCounts(input=1_000, output=0)
    compacted = run([recorded(tokens=long), recorded(index=1, tokens=short, at=NOON + 10)], "recorded")
    # 5,000 x 6,250 + 1,000 x 6,250: nothing of the longer prefix is read.
    assert compacted.bill("recorded_cached") == 37_500_000

    heads = [recorded(tokens=short, prefix="a"), recorded(index=1, tokens=short, prefix="b", at=NOON + 10)]
    assert run(heads, "recorded").bill("recorded_cached") == 12_500_000


# --- identity ---------------------------------------------------------------------------------------------------------


def _trace(seed: int, length: int) -> list[RecordedStep]:
    """Return an odd trace: interleaved trajectories, gaps of every kind, errors, models known and not."""
    chance = random.Random(seed)
    steps = []
    for index in range(length):
        usage = None
        if chance.random() < 0.7:
            sizes = [chance.choice((0, 3, 700, chance.randrange(50_000))) for _ in range(4)]
            usage = Usage(fresh_input=sizes[0], cache_read=sizes[1], cache_write=sizes[2], output=sizes[3] // 10)
        steps.append(
            recorded(
                chance.choice(("plan", "execute", "unknown", "a role of mine")),
                trajectory=chance.choice("abc"),
                index=index,
                usage=usage,
                tokens=TokenCounts(input=700, output=7) if usage is None and chance.random() < 0.5 else None,
                model=chance.choice(
                    ("example/frontier", "example/minimal", "claude-sonnet-4-5", "nobody-knows-me", "")
                ),
                at=chance.choice((0.0, NOON, NOON + 50.0 * index, NOON + 400.0 * index)),
                cost=chance.choice((None, None, chance.randrange(10**9))),
                prefix=chance.choice(("", "", "h1", "h2", "h3", "h4", "h5")),
                status=chance.choice(list(Status)),
            )
        )
    return steps


_traces = st.builds(_trace, st.integers(0, 2**32), st.integers(0, 40))


@settings(max_examples=150, deadline=None)
@given(_traces)
def test_the_identity_policy_gives_back_the_recorded_bill_to_the_nano_dollar(steps: list[RecordedStep]) -> None:
    report = run(steps, "recorded")

    assert report.bill("policy") == report.bill("recorded")
    assert report.bill("policy_cached") == report.bill("recorded_cached")
    assert report.bill("policy_uncached") == report.bill("recorded_uncached")
    assert report.outcomes.changed == 0
    assert report.steps == len(steps) == report.priced_steps + sum(row.steps for row in report.unpriced)
    for group in (report.by_role, report.by_model_recorded, report.by_day):
        assert all(row.policy_nusd == row.recorded_nusd for row in group)


def test_invoices_come_back_exactly_whatever_the_step_asked_for() -> None:
    invoices = [123_456_789, 1, 0, 999_999_999]
    steps = []
    for index, (step, cost) in enumerate(zip(four_steps(), invoices, strict=True)):
        pinned = msgspec.structs.replace(step.step, data_class="secret" if index == 1 else "")
        steps.append(msgspec.structs.replace(step, step=pinned, cost_nusd=cost))
    report = run(steps, "recorded")

    assert report.bill("recorded") == report.bill("policy") == sum(invoices)
    assert report.quality.invoice_steps == 4
    assert report.quality.kept_steps == 0


@pytest.mark.parametrize("policy", ["fixed:minimal", "roles", "length", "sticky:roles", "escalate:roles", "uniform"])
@settings(max_examples=12, deadline=None)
@given(steps=_traces)
def test_every_report_is_finite_and_its_pessimistic_end_never_below_the_optimistic_one(
    policy: str, steps: list[RecordedStep]
) -> None:
    report = run(steps, policy)

    for saving in report.savings:
        assert saving.pessimistic_nusd >= saving.policy_nusd
        if saving.share is not None and saving.share_pessimistic is not None:
            assert saving.share_pessimistic <= saving.share
    assert b"NaN" not in encode(report)
    assert all(math.isfinite(number) for number in _numbers(msgspec.to_builtins(report)))


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in _numbers(part)]
    if isinstance(value, list | tuple):
        return [number for part in value for number in _numbers(part)]
    return [value] if isinstance(value, float) else []


# --- what is not known ------------------------------------------------------------------------------------------------


def test_a_model_without_price_and_cost_is_listed_and_makes_the_totals_incomplete() -> None:
    strange = recorded(trajectory="x", model="nobody-knows-me", usage=Usage(fresh_input=500, output=5))
    report = run([*four_steps(), strange], "fixed:frontier")

    assert not report.complete
    assert [(row.model, row.reason, row.steps, row.input_tokens) for row in report.unpriced] == [
        ("nobody-knows-me", "no price known", 1, 500)
    ]
    assert (report.steps, report.priced_steps) == (5, 4)
    assert report.bill("frontier_cached") == RECORDED
    assert any("incomplete" in line for line in report.assumptions)


def test_a_model_without_price_but_with_an_invoice_counts_at_its_invoice() -> None:
    report = run([recorded("execute", model="nobody-knows-me", usage=Usage(fresh_input=500, output=5), cost=7_000_000)])

    assert report.complete
    assert report.bill("recorded") == report.bill("recorded_cached") == report.bill("recorded_uncached") == 7_000_000
    # minimal, cold: 500 x 125 + 5 x 400
    assert report.bill("policy") == 64_500
    # Its tier is not known, so neither is the outcome: the step may have to be redone at the invoice.
    assert report.saving("recorded").pessimistic_nusd == 7_064_500
    assert report.quality.invoice_only_steps == 1


def test_a_listed_model_outside_the_catalogue_is_priced_by_its_day_and_put_in_a_tier_by_price() -> None:
    report = run(
        [recorded(model="claude-sonnet-4-5", provider="anthropic", usage=Usage(fresh_input=1_000, output=100))]
    )

    # 3 USD and 15 USD per million tokens: 1,000 x 3,000 + 100 x 15,000.
    assert report.bill("recorded") == 4_500_000
    assert report.by_tier_recorded[0].key == "frontier"
    assert tier_by_price(WORLD.catalog, 15_000_000) is Tier.FRONTIER
    assert tier_by_price(WORLD.catalog, 500_000) is Tier.MINIMAL


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (recorded(model=""), "no usage recorded"),
        (recorded(model="", usage=Usage(fresh_input=1)), "no model recorded"),
        (recorded(usage=Usage(fresh_input=10**12)), "absurd figures"),
        (recorded(usage=Usage(fresh_input=-5, cache_read=9)), "absurd figures"),
        (recorded(usage=Usage(fresh_input=1), cost=-1), "absurd figures"),
        (recorded(usage=Usage(fresh_input=1), cost=10**18), "absurd figures"),
    ],
    ids=["nothing", "no-model", "huge", "negative-part", "negative-cost", "huge-cost"],
)
def test_unusable_records_are_listed_with_their_reason(step: RecordedStep, reason: str) -> None:
    report = run([step])

    assert [(row.reason, row.steps) for row in report.unpriced] == [(reason, 1)]
    assert report.priced_steps == 0
    assert report.saving("recorded").share is None


def test_known_outcomes_replace_the_unknown_ones() -> None:
    usage = Usage(fresh_input=1_000, output=100)
    good = recorded(
        "execute", trajectory="g", usage=usage, alternatives=[ModelOutcome(model="example/minimal", success=1.0)]
    )
    bad = recorded(
        "execute", trajectory="b", usage=usage, alternatives=[ModelOutcome(model="example/minimal", success=0.0)]
    )
    failed = recorded("execute", trajectory="f", usage=usage, success=0.0)
    report = run([good, bad, failed])

    cheap = 1_000 * 125 + 100 * 400
    dear = 1_000 * 5_000 + 100 * 25_000
    # The bad one is known to be redone, so it is billed twice at both ends; the other two never are.
    assert report.bill("policy") == report.saving("recorded").pessimistic_nusd == 3 * cheap + dear
    outcomes = report.outcomes
    assert (outcomes.known_good, outcomes.known_bad, outcomes.recorded_failed, outcomes.unknown) == (1, 1, 1, 0)


def test_a_known_answer_length_is_used() -> None:
    other = ModelOutcome(model="example/minimal", success=1.0, usage=Usage(fresh_input=900, output=300))
    report = run([recorded("execute", usage=Usage(fresh_input=1_000, output=100), alternatives=[other])])

    assert report.bill("policy") == 900 * 125 + 300 * 400


def test_answers_of_other_lengths_move_the_bill_by_their_output_cost() -> None:
    length = run(four_steps()).output_length

    # Two changed steps wrote 100 tokens at 400 nUSD each: 80,000; half of it less, once more of it more.
    assert (length.low_nusd, length.high_nusd) == (POLICY - 40_000, POLICY + 80_000)


def test_a_step_that_the_rules_forbid_everywhere_stays_as_recorded() -> None:
    world = World(catalog=WORLD.catalog, rules=HardRules(roles={"plan": Pin(models=frozenset({"none/such"}))}))
    report = run(four_steps(), "roles", world)

    assert report.quality.kept_steps == 2
    assert report.quality.kept_rules == {"pin": 2}
    rows = {row.key: row for row in report.by_role}
    assert rows["plan"].policy_nusd == rows["plan"].recorded_nusd


def test_nothing_in_is_nothing_out() -> None:
    report = run([])

    assert {bill.nusd for bill in report.bills} == {0}
    assert report.complete
    assert (report.steps, report.trajectories, report.curve, report.savings[0].share) == (0, 0, (), None)
    assert msgspec.json.decode(encode(report), type=ReplayReport) == report


def test_a_baseline_that_is_not_in_the_catalogue_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="example/frontier"):
        replay([], build("roles"), WORLD, msgspec.structs.replace(OPTIONS, frontier="example/frontir"))


def test_a_trajectory_that_returns_after_its_state_was_dropped_is_counted() -> None:
    options = msgspec.structs.replace(OPTIONS, live_trajectories=1)
    usage = Usage(fresh_input=100, output=1)
    steps = [recorded(trajectory=name, index=i, usage=usage) for i, name in enumerate("aba")]
    report = replay(steps, build("recorded"), WORLD, options)

    assert report.quality.returned_trajectories == 1
    assert report.trajectories == 2
    assert report.bill("policy") == report.bill("recorded")


# --- shards and intervals ---------------------------------------------------------------------------------------------


def _many() -> list[RecordedStep]:
    steps = []
    for number in range(40):
        parent = f"t{number - 1}" if number % 4 == 3 else ""
        for step in four_steps(gap_s=40.0 + number):
            renamed = msgspec.structs.replace(
                step.step, trajectory_id=f"t{number}", id=f"t{number}-{step.step.index}", parent_id=parent
            )
            steps.append(msgspec.structs.replace(step, step=renamed, started_at=step.started_at + 9_999.0 * number))
    steps.append(recorded(trajectory="x", model="nobody-knows-me", usage=Usage(fresh_input=500, output=5)))
    return steps


def test_merged_shards_give_the_report_of_the_whole() -> None:
    steps = _many()
    whole = run(steps)
    engines = [Replay(build("roles"), WORLD, OPTIONS) for _ in range(3)]
    for shard, engine in enumerate(engines):
        for step in sharded(steps, shard, 3):
            engine.feed(step)
        assert engine.tally.counts["steps"] > 0
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = Replay(build("roles"), WORLD, OPTIONS)
        for shard in order:
            merged.tally.merge(engines[shard].tally)
        assert merged.report() == whole


def _opened(path: Path) -> Opened:
    trace = TraceReport()
    trace.files.append(path.name)
    trace.bad(Problem(path.name, 7, "usage", "expected an object"))
    return map(trace.saw, msgspec.json.decode(path.read_bytes(), type=list[RecordedStep])), trace


def test_two_processes_give_the_report_of_one(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    path.write_bytes(msgspec.json.encode(_many()))
    job = Job(open_=partial(_opened, path), policy=build("roles"), world=WORLD, options=OPTIONS)
    one = replay_traces(job)

    assert replay_traces(job, workers=2) == one
    assert (one.trace.steps, one.trace.malformed) == (len(_many()), 1)


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(1, 10**9), st.integers(1, 10**9))
def test_the_bill_without_caches_is_the_price_engines(read: int, wrote: int, in_price: int, out_price: int) -> None:
    price = Price(input=in_price, output=out_price, cache_read=0, cache_write=0)
    model = msgspec.structs.replace(WORLD.catalog.candidates[0], price=price)
    world = World(catalog=Catalog((model,)))
    usage = Usage(fresh_input=read, output=wrote)
    expected = price_usage(usage, price).total
    if expected > FIGURE_LIMIT:
        return
    report = run([recorded(model=model.name, usage=usage)], "recorded", world)

    assert report.bill("recorded_uncached") == expected
    assert report.bill("recorded") == expected


def test_text_that_cannot_be_encoded_still_reaches_a_worker() -> None:
    odd = "lone \udc80 surrogate"
    steps = [recorded(odd, trajectory=odd, usage=Usage(fresh_input=100, output=1)), *four_steps()]
    job = Job(open_=lambda: (iter(steps), TraceReport()), policy=build("roles"), world=WORLD, options=OPTIONS)

    assert replay_traces(job, workers=2) == replay_traces(job)


class _Exits:
    """A policy that ends its process."""

    name = "exits"
    reviews = False

    def decide(self, step: Step, context: Context) -> Decision:
        os._exit(3)


def test_a_worker_that_dies_is_an_error_and_not_a_wait_for_ever() -> None:
    steps = [
        recorded(trajectory=f"t{i}", usage=Usage(fresh_input=100, output=1)) for i in range(2 * BATCH * (WAITING + 2))
    ]
    job = Job(open_=lambda: (iter(steps), TraceReport()), policy=_Exits(), world=WORLD, options=OPTIONS)

    with pytest.raises(AgentRouterError, match="exit code 3"):
        replay_traces(job, workers=2)


def test_sub_agents_are_resampled_with_their_parent() -> None:
    usage = Usage(fresh_input=100, output=1)
    report = run([recorded(trajectory="main", usage=usage), recorded(trajectory="sub", parent="main", usage=usage)])

    assert (report.trajectories, report.tasks) == (2, 1)
    assert report.saving("recorded").sampling is None


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    # 40 tasks of cost lognormal(0, 1), policy = 60 % of it on average: the true share is 0.4.
    generator = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        before = generator.lognormal(0.0, 1.0, 40) * 1e6
        after = before * generator.uniform(0.2, 1.0, 40)
        samples = resampled(np.column_stack([before, after]), 300, trial)
        assert samples is not None
        interval = share_interval(samples[:, 0], samples[:, 1], 0.95)
        assert interval is not None
        covered += interval.low <= 0.4 <= interval.high
    # A percentile interval at n = 40 covers a little less than 95 %.
    assert 172 <= covered <= 198


def test_intervals_are_seeded_and_absent_where_there_is_nothing_to_resample() -> None:
    units = np.array([[10.0, 5.0], [20.0, 18.0], [5.0, 1.0]])
    one, two = resampled(units, 50, 3), resampled(units, 50, 3)
    assert one is not None
    assert two is not None
    assert np.array_equal(one, two)
    assert resampled(units[:1], 50, 3) is None
    assert share_interval(np.zeros(4), np.ones(4), 0.95) is None
    assert share_interval(np.full(4, 2.0), np.ones(4), 0.95) == Interval(0.5, 0.5)


def test_pooling_keeps_the_sums() -> None:
    count = MAX_UNITS + 100
    sums = np.arange(2 * count, dtype=np.int64).reshape(count, 2)
    pools = pooled([f"t{i}" for i in range(count)], sums)

    assert pools.shape == (MAX_UNITS, 2)
    assert pools.sum(axis=0).tolist() == sums.sum(axis=0).tolist()


def test_recorded_models_prefer_the_catalogue_and_remember() -> None:
    models = RecordedModels(WORLD.catalog)

    assert models.find("", "example/mid", 0.0) is WORLD.catalog.get("example/mid")
    listed = models.find("anthropic", "claude-sonnet-4-5", NOON)
    assert listed is models.find("anthropic", "claude-sonnet-4-5", NOON + 1)
    assert models.find("", "nobody-knows-me", 1e300) is None
    assert models.find("", "", NOON) is None
