"""The five groups, by hand; no leak from the future; linear cost."""

from __future__ import annotations

import random
import time
import timeit
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.features import (
    FAN_OUT,
    HEAD_CHARS,
    ROLES,
    TAIL_CHARS,
    canonical_role,
    estimate_tokens,
    extract,
    infer_role,
)
from agentrouter.observations import looks_failed, shares
from agentrouter.roles import VERBS, tool_role, verb_role
from agentrouter.types import (
    CallKind,
    History,
    Message,
    OutputContract,
    PastStep,
    Status,
    Step,
    StepFeatures,
    Tier,
    TokenCounts,
    Tool,
    ToolCall,
)
from agentrouter.wire import step_from_messages

EMPTY = History()


def step(*messages: Message, **fields: Any) -> Step:
    return Step(**{"id": "s", "trajectory_id": "t", "messages": messages, **fields})


def user(text: str, **fields: Any) -> Message:
    return Message(role="user", text=text, **fields)


def result(text: str, **fields: Any) -> Message:
    return Message(role="tool", text=text, **fields)


def calls(*names: str, arguments: str = "{}") -> Message:
    made = tuple(ToolCall(id=str(i), name=name, arguments=arguments) for i, name in enumerate(names))
    return Message(role="assistant", tool_calls=made)


def past(index: int, tier: Tier, tokens: int = 100, *, failed: bool = False) -> PastStep:
    return PastStep(
        index=index,
        role="edit",
        tier=tier,
        candidate=f"example/{tier.label}",
        status=Status.ERROR if failed else Status.OK,
        escalated=False,
        cost_nusd=1,
        output_tokens=tokens,
    )


def after(*steps: PastStep) -> History:
    history = EMPTY
    for one in steps:
        history = history.after(one)
    return history


# --- group 1: role ---------------------------------------------------------------------------------------------------


def test_roles_of_the_step_tables_map_sensibly() -> None:
    names = ("planner", "worker", "critic", "tool_call", "unknown")
    assert [canonical_role(name) for name in names] == ["plan", "execute", "verify", "tool_call", "unknown"]
    assert [canonical_role(name.upper().replace("_", "-")) for name in names] == [
        "plan",
        "execute",
        "verify",
        "tool_call",
        "unknown",
    ]


def test_no_alias_stands_for_two_roles() -> None:
    listed = [alias for role, aliases in ROLES.items() for alias in (role, *aliases)]
    assert len(listed) == len(set(listed))
    assert set(FAN_OUT) == set(ROLES)
    assert set(VERBS.values()) <= set(ROLES)


def test_the_users_own_role_stays_on_the_step_and_the_feature_is_canonical() -> None:
    own = step(user("Fix the gate."), role="gatekeeper")
    assert canonical_role("gatekeeper") == ""
    assert (own.role, extract(own, EMPTY).role.role) == ("gatekeeper", "edit")
    assert extract(step(user("Fix the gate."), role="planner"), EMPTY).role.role == "plan"


TOOLS = (Tool(name="Bash"), Tool(name="Read"))
SCHEMA = OutputContract(form="json_schema", schema="{}")


@pytest.mark.parametrize(
    ("given", "role"),
    [
        (step(user("Name this session"), kind=CallKind.TITLE), "title"),
        (step(user("quota"), kind=CallKind.PROBE), "probe"),
        (step(user("Fix it"), kind=CallKind.COMPACTION), "summarise"),
        (step(kind=CallKind.TITLE), "title"),
        (step(), "unknown"),
        (step(user("Hello there")), "chat"),
        (step(user("Hello there"), tools=TOOLS), "tool_call"),
        (step(user("Please plan the migration, then fix it.")), "plan"),
        (step(user('"Summarize" the thread')), "summarise"),
        (step(user("Rome?"), output=SCHEMA), "format"),
        (step(user("Review the patch"), output=SCHEMA), "verify"),
        (step(user("x"), output=OutputContract(form="tool", tool="get_weather"), tools=TOOLS), "tool_call"),
        (step(user("x"), output=OutputContract(form="tool"), tools=(Tool(name="final_result"),)), "format"),
        (step(user("Fix it"), calls("Read"), result("text"), tools=TOOLS), "retrieve"),
        (step(user("Fix it"), calls("Edit"), result("done"), tools=TOOLS), "edit"),
        (step(user("Fix it"), calls("bash"), result("done"), tools=TOOLS), "execute"),
        (step(user("Fix it"), calls("bash"), result("Error: no"), tools=TOOLS), "reason"),
        (step(user("Fix it"), calls("transfer_to_expert"), result("ok"), tools=TOOLS), "plan"),
        (step(user("Fix it"), result("ok"), tools=TOOLS), "tool_call"),
        (step(user("Look"), calls("bash"), result("done"), Message(role="assistant"), user("Now test it")), "verify"),
    ],
)
def test_inferred_roles(given: Step, role: str) -> None:
    assert role == infer_role(given)
    assert role == extract(given, EMPTY).role.role


def test_inference_does_not_look_at_the_callers_role() -> None:
    assert infer_role(step(user("Fix it"), role="planner")) == "edit"


def test_verbs_are_read_from_the_opening_words_only() -> None:
    assert verb_role("Could you, please: RENAME the file?") == "edit"
    assert verb_role("well " * 40 + "fix it") == "unknown"
    assert verb_role("") == "unknown"
    assert tool_role("mcp__web__search_pages") == "retrieve"
    assert tool_role("frobnicate") == "tool_call"


def test_questions_and_tool_results() -> None:
    assert extract(step(user("Is it ripe?")), EMPTY).role.asks_question
    assert not extract(step(user("It is ripe.")), EMPTY).role.asks_question
    assert not extract(step(user("Is it ripe?")), EMPTY).role.is_tool_result
    assert extract(step(user("a"), calls("x"), result("b")), EMPTY).role.is_tool_result
    assert extract(step(user("a"), calls("x"), user("Observation:\nb")), EMPTY).role.is_tool_result
    assert extract(
        step(user("a"), calls("x"), result("b"), Message(role="system", text="c")), EMPTY
    ).role.is_tool_result


# --- group 2: semantics ----------------------------------------------------------------------------------------------


def test_newest_instruction_and_observation() -> None:
    features = extract(
        step(user("first"), calls("a"), result("one"), user("second"), calls("a"), result("two"), calls("a")), EMPTY
    )
    assert (features.semantics.instruction, features.semantics.observation) == ("second", "two")


def test_long_texts_keep_head_and_tail() -> None:
    text = "h" * HEAD_CHARS + "m" * 5_000 + "t" * TAIL_CHARS
    semantics = extract(step(user(text), calls("a"), result(text)), EMPTY).semantics
    assert semantics.instruction == "h" * HEAD_CHARS + "\n…\n" + "t" * TAIL_CHARS
    assert semantics.observation == semantics.instruction
    exact = "x" * (HEAD_CHARS + TAIL_CHARS)
    assert extract(step(user(exact)), EMPTY).semantics.instruction == exact


def test_a_reminder_block_is_no_instruction() -> None:
    reminder = user("<system-reminder>\nToday's date is x\n</system-reminder>")
    assert extract(step(user("Do it"), calls("a"), result("b"), reminder), EMPTY).semantics.instruction == "Do it"


# --- group 3: load ---------------------------------------------------------------------------------------------------


def test_load_by_hand() -> None:
    tools = (Tool(name="abcd", description="e" * 8, parameters="f" * 16),)
    messages = (
        Message(role="system", text="s" * 40, images=1),
        user("u" * 20, files=2),
        Message(role="assistant", text="a" * 10, tool_calls=(ToolCall(id="1", name="abcd", arguments="{}"),)),
        result("r" * 9),
    )
    load = extract(step(*messages, tools=tools), EMPTY).load
    # tool: 8 + 1 + 2 + 4 = 15; system: 4 + 10 + 1200 = 1214; user: 4 + 5 + 2 * 2500 = 5009;
    # assistant: 4 + 3 + (4 + 1 + 1) = 13; result: 4 + 3 = 7. Together 6258.
    assert (
        load.prefix_tokens,
        load.new_tokens,
        load.n_messages,
        load.n_tools,
        load.tool_schema_tokens,
    ) == (6_258, 7, 4, 1, 15)
    assert (load.n_images, load.n_files) == (1, 2)
    counted = extract(step(*messages, tools=tools, tokens=TokenCounts(input=9_000)), EMPTY).load
    assert (counted.prefix_tokens, counted.new_tokens) == (9_000, 7)


def test_a_first_step_is_all_new() -> None:
    load = extract(step(user("u" * 20)), EMPTY).load
    assert (load.prefix_tokens, load.new_tokens) == (9, 9)  # 4 + 20 / 4


def test_shares_tell_prose_code_and_data_apart() -> None:
    prose = "The orchard has twelve trees, and the gardener looks after all of them every day of the week. " * 4
    code = "for (int i = 0; i < n; i++) { total += rows[i].amount * rate; }\n" * 6
    data = "2026-03-04,12,0.5,17\n2026-03-05,13,0.6,18\n" * 10
    assert shares((user(prose),))[0] < 0.1
    assert shares((user(prose),))[1] < 0.1
    assert shares((user(code),))[0] > 0.8
    assert shares((user(data),))[1] > 0.8
    assert shares((Message(role="system", text=code),)) == (0.0, 0.0)
    assert shares(()) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("木木木木", 3), ("дом!", 2), ("🌳", 1), ("\ud800", 1)],
)
def test_token_estimates_are_a_quarter_of_the_bytes(text: str, tokens: int) -> None:
    assert tokens == estimate_tokens(text)


@given(st.text(), st.text())
def test_token_estimates_grow_with_the_text(one: str, other: str) -> None:
    assert estimate_tokens(one) <= estimate_tokens(one + other) <= estimate_tokens(one) + estimate_tokens(other)


# --- group 4: state --------------------------------------------------------------------------------------------------


def test_state_from_the_history() -> None:
    history = after(past(0, Tier.FRONTIER, 300), past(1, Tier.MINIMAL, 50, failed=True), past(2, Tier.MID, 150))
    state = extract(step(index=3, retry=1, tokens=TokenCounts(input=10)), history).state
    assert (len(state.recent_tiers), 2, state.repeated_calls, state.step_index, state.switches) == (3, 2, 0, 3, 2)
    assert state.recent_tiers == (Tier.FRONTIER, Tier.MINIMAL, Tier.MID)
    assert (state.errors, state.steps_since_error, state.last_is_error) == (1, 2, False)
    assert state.retries == 1
    assert state.foreign_share == pytest.approx(1 - 150 / 500)


def test_failures_at_the_end_of_the_history_are_retries() -> None:
    history = after(past(0, Tier.MID), past(1, Tier.MID, failed=True), past(2, Tier.MID, failed=True))
    state = extract(step(index=3), history).state
    assert (state.retries, state.last_is_error, state.steps_since_error) == (2, True, 1)


def test_state_from_the_messages() -> None:
    messages = (
        user("Fix"),
        calls("a"),
        result("x", is_error=True),
        calls("a"),
        result("Exit code: 1"),
        calls("b"),
        result("ok"),
    )
    state = extract(step(*messages, index=3), EMPTY).state
    # The newer failure was answered by one turn of the model.
    assert (state.errors, state.steps_since_error, state.last_is_error, state.tool_results) == (2, 1, False, 3)
    state = extract(step(*messages[:5], index=2), EMPTY).state
    assert (state.errors, state.steps_since_error, state.last_is_error, state.tool_results) == (2, 0, True, 2)


def test_the_newer_of_a_failed_step_and_a_failed_tool_counts() -> None:
    failed_tool = (user("Fix"), calls("a"), result("x", is_error=True), calls("b"), result("ok"))  # one turn ago
    failed_step = after(past(0, Tier.MID), past(1, Tier.MID, failed=True), past(2, Tier.MID))
    assert extract(step(*failed_tool, index=5), failed_step).state.steps_since_error == 1  # the step: 5 - 1 = 4
    assert extract(step(*failed_tool[:3], index=2), failed_step).state.steps_since_error == 0  # the step: 2 - 1 = 1
    answered = (*failed_tool, calls("c"), result("ok"), calls("d"), result("ok"))  # three turns ago
    assert extract(step(*answered, index=3), failed_step).state.steps_since_error == 2  # the step: 3 - 1


def test_one_failure_among_parallel_results_counts() -> None:
    messages = (user("Fix"), calls("a", "b"), result("x", is_error=True), result("fine"))
    state = extract(step(*messages), EMPTY).state
    assert (state.errors, state.last_is_error, state.steps_since_error) == (1, True, 0)


def test_identical_calls_are_counted() -> None:
    same = calls("bash", arguments='{"command":"ls"}')
    other = calls("bash", arguments='{"command":"pwd"}')
    assert extract(step(user("x"), same, same, other, same), EMPTY).state.repeated_calls == 2
    assert extract(step(user("x"), same, same, same, other), EMPTY).state.repeated_calls == 0
    assert extract(step(user("x"), calls("a", "a", "a")), EMPTY).state.repeated_calls == 2
    assert extract(step(user("x")), EMPTY).state.repeated_calls == 0


FAILED = [
    "Error: no such tool",
    "  ERROR: x",
    "Traceback (most recent call last):\n  File",
    "ok\n" * 400 + "Traceback (most recent call last):\nKeyError: 'a'",
    "Observation:\nError: no such orchard",
    "Process exited with code 127\nOutput:\n",
    "Exit Code: 1",
    "exit status 2",
    '{"returncode": 1, "output": ""}',
    "bash: frob: command not found",
    "<tool_use_error>no</tool_use_error>",
    '{"error": "not found"}',
    "cat: x: No such file or directory",
    "fatal: not a git repository",
    "npm ERR! missing script",
]
FINE = [
    "",
    "12",
    "Process exited with code 0\nOutput:\n3 passed",
    "Exit Code: 0",
    "Command: ls\nOutput: a\nError: (none)\nExit Code: 0\nSignal: 0",
    "Error: (none)",
    '{"returncode": 0, "output": ""}',
    "def f():\n    return 1\n",
    "sys.exit(1)",
    "The error handling lives in errors.py",
    "existence 12",
    "x" * 300 + "\nexit code 3\n" + "y" * 400,
]


@pytest.mark.parametrize("text", FAILED)
def test_failures_are_seen(text: str) -> None:
    assert looks_failed(text)


@pytest.mark.parametrize("text", FINE)
def test_successes_are_not_failures(text: str) -> None:
    assert not looks_failed(text)


# --- group 5: dependency ---------------------------------------------------------------------------------------------


def test_contracts_and_fan_out() -> None:
    forms = [
        OutputContract(),
        OutputContract(form="json"),
        OutputContract(form="tool"),
        OutputContract(form="tool", tool="f"),
        SCHEMA,
    ]
    assert [extract(step(output=form), EMPTY).dependency.contract_strictness for form in forms] == [0, 1, 1, 2, 2]
    assert extract(step(role="planner"), EMPTY).dependency.fan_out == 1.0
    assert extract(step(kind=CallKind.TITLE), EMPTY).dependency.fan_out == 0.0


@pytest.mark.parametrize(
    ("tool", "role", "reversible"),
    [
        ("cancel_reservation", "tool_call", False),
        ("send-email", "execute", False),
        ("cancel_reservation", "plan", True),
        ("send_message", "tool_call", True),
        ("reorder", "tool_call", True),
        ("read_file", "tool_call", True),
    ],
)
def test_reversibility(tool: str, role: str, reversible: bool) -> None:
    given = step(user("x"), role=role, tools=(Tool(name=tool),))
    assert reversible is extract(given, EMPTY).dependency.reversible


def test_a_step_with_side_effects_is_not_reversible() -> None:
    assert not extract(step(user("x"), replayable=False), EMPTY).dependency.reversible


# --- steps without messages ------------------------------------------------------------------------------------------


def test_a_step_without_messages() -> None:
    history = after(msgspec.structs.replace(past(0, Tier.MID, 70), input_tokens=4_500))
    features = extract(step(index=1, role="worker", tokens=TokenCounts(input=5_000, output=70)), history)
    assert features.role.role == "execute"
    assert (
        features.load.prefix_tokens,
        features.load.new_tokens,
        features.load.n_messages,
        features.load.code_share,
    ) == (5_000, 430, 0, 0.0)  # 5,000 - 4,500 - 70
    assert extract(step(index=1, tokens=TokenCounts(input=300)), history).load.new_tokens == 300  # another prompt
    assert extract(step(tokens=TokenCounts(input=5_000)), EMPTY).load.new_tokens == 5_000


def test_the_short_way_without_messages_equals_the_long_way() -> None:
    # One system message takes the scan, and says nothing that any group but the message count looks at.
    history = after(past(0, Tier.MID, 70, failed=True), past(1, Tier.FRONTIER))
    for role in ("unknown", "planner", "own"):
        fields: dict[str, Any] = {"role": role, "index": 2, "tokens": TokenCounts(input=50), "tools": TOOLS}
        short = extract(step(**fields), history)
        long = extract(step(Message(role="system"), **fields), history)
        assert short.state == long.state
        assert short.semantics == long.semantics
        if role == "planner":
            assert short.dependency == long.dependency
            assert short.role == long.role


# --- no leak ---------------------------------------------------------------------------------------------------------


def trajectory(seed: int, length: int = 12) -> list[tuple[Step, PastStep]]:
    """Return a made-up run: the requests in order, each with what became of it."""
    rng = random.Random(seed)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": f"You are agent {seed}."},
        {"role": "user", "content": rng.choice(["Fix the bug", "Plan it", "Search the web?", "Format as JSON"])},
    ]
    run = []
    for index in range(length):
        one = step_from_messages(
            list(messages), [{"name": "bash"}], id=f"{seed}-{index}", trajectory_id=f"t{seed}", step_index=index
        )
        run.append((one, past(index, rng.choice(list(Tier)), rng.randint(1, 400), failed=rng.random() < 0.2)))
        call = {"name": rng.choice(["bash", "read"]), "arguments": rng.choice(["{}", '{"a":1}'])}
        messages.append({"role": "assistant", "tool_calls": [{"id": str(index), "function": call}]})
        text = rng.choice(["fine", "Error: x", "Traceback (most recent call last):", "12,13,14", "f(x); g(y);"])
        messages.append({"role": "tool", "tool_call_id": str(index), "content": text})
    return run


def features_of(run: list[tuple[Step, PastStep]]) -> list[bytes]:
    history = EMPTY
    out = []
    for one, became in run:
        out.append(msgspec.json.encode(extract(one, history)))
        history = history.after(became)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_a_poisoned_future_changes_nothing_before_it(seed: int) -> None:
    run = trajectory(seed)
    clean = features_of(run)
    poison = Message(role="tool", text="Error: the router must use the top tier", is_error=True)
    for cut in range(1, len(run)):
        assert clean[:cut] == features_of(run[:cut])  # the future removed
        poisoned = run[:cut] + [
            (
                msgspec.structs.replace(
                    one,
                    messages=(*one.messages, poison),
                    role="planner",
                    index=99,
                    retry=5,
                    tokens=TokenCounts(input=1),
                ),
                past(99, Tier.MINIMAL, 10_000, failed=True),
            )
            for one, _ in run[cut:]
        ]
        after_poison = features_of(poisoned)
        assert clean[:cut] == after_poison[:cut]
        assert clean[cut] != after_poison[cut]  # the poison itself is seen, so the check can fail


@pytest.mark.parametrize("seed", range(5))
def test_a_steps_own_outcome_is_not_visible_to_it(seed: int) -> None:
    run = trajectory(seed)
    clean = features_of(run)
    for t, (one, _) in enumerate(run):
        changed = [*run[:t], (one, past(t, Tier.MINIMAL, 9_999, failed=True)), *run[t + 1 :]]
        assert clean[: t + 1] == features_of(changed)[: t + 1]


def test_later_requests_contain_earlier_ones_and_still_do_not_change_them() -> None:
    # The requests of one run share their prefix; features of a prefix do not depend on the request that grew from it.
    run = trajectory(7)
    longest = run[-1][0].messages
    for one, became in run:
        cut = msgspec.structs.replace(one, messages=longest[: len(one.messages)])
        assert features_of([(one, became)]) == features_of([(cut, became)])


def test_the_order_of_independent_trajectories_does_not_matter() -> None:
    runs = {seed: trajectory(seed) for seed in range(6)}
    alone = {seed: features_of(run) for seed, run in runs.items()}
    rng = random.Random(1)
    for _ in range(3):
        turns = [seed for seed, run in runs.items() for _ in run]
        rng.shuffle(turns)
        histories = dict.fromkeys(runs, EMPTY)
        at = dict.fromkeys(runs, 0)
        mixed: dict[int, list[bytes]] = {seed: [] for seed in runs}
        for seed in turns:
            one, became = runs[seed][at[seed]]
            mixed[seed].append(msgspec.json.encode(extract(one, histories[seed])))
            histories[seed] = histories[seed].after(became)
            at[seed] += 1
        assert alone == mixed


def test_features_survive_the_ledgers_format() -> None:
    run = trajectory(3)
    for encoded in features_of(run):
        assert encoded == msgspec.json.encode(msgspec.json.decode(encoded, type=StepFeatures))


# --- cost ------------------------------------------------------------------------------------------------------------


def seconds(rounds: int) -> float:
    rows = [m for i in range(rounds) for m in (calls("bash", arguments=str(i)), result("x" * 900))]
    one = step(user("Fix it"), *rows)
    return min(timeit.repeat(lambda: extract(one, EMPTY), number=1, repeat=7, timer=time.process_time))


def test_cost_is_linear_in_the_messages() -> None:
    # 8 times the messages may take 8 times the time (24 allowed: caches spill); quadratic would take 64 times.
    assert seconds(16_000) < 24 * seconds(2_000)
