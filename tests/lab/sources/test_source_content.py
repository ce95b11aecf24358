"""What the readers make of content: prompts, tools, trajectories, status, and what each record lacks."""

from __future__ import annotations

import json
from pathlib import Path

from agentrouter.lab.sources import open_traces
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import CallKind, Message, Slo, Status, ToolCall, Usage

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


def by_id(name: str) -> dict[str, RecordedStep]:
    steps, _ = open_traces(TRACES / name)
    return {one.step.id: one for one in steps}


def read_records(path: Path, *records: object, format: str = "auto") -> tuple[list[RecordedStep], TraceReport]:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    steps, report = open_traces(path, format=format)
    return list(steps), report


# --- OTLP ------------------------------------------------------------------------------------------------------------


def test_otlp_sub_agent_is_a_trajectory_with_a_parent() -> None:
    steps = by_id("otlp.jsonl")
    found = {
        id: (one.step.trajectory_id, one.step.index, one.step.parent_id, one.step.role) for id, one in steps.items()
    }
    assert found["a000000000000011"] == ("conv-1", 0, "", "builder")
    assert found["a000000000000012"] == ("conv-1", 1, "", "builder")
    assert found["a000000000000021"] == ("conv-1/a000000000000002", 0, "conv-1", "searcher")
    assert steps["a000000000000021"].step.kind is CallKind.SUBAGENT


def test_otlp_messages_of_the_current_convention() -> None:
    messages = by_id("otlp.jsonl")["a000000000000012"].step.messages
    assert [(one.role, one.text) for one in messages] == [
        ("system", "Be brief."),
        ("user", "Which file holds the port?"),
        ("assistant", ""),
        ("tool", "config.toml: port = 8080"),
    ]
    assert messages[2].tool_calls == (ToolCall(id="c1", name="grep", arguments='{"pattern":"port"}'),)


def test_otlp_messages_of_2025_and_of_span_events() -> None:
    steps = by_id("otlp.jsonl")
    numbered = steps["b000000000000002"].step.messages
    assert [(one.role, one.text) for one in numbered] == [("system", "You fix tests."), ("user", "Run them.")]
    assert [(one.role, one.text) for one in steps["c000000000000001"].step.messages] == [("user", "Say hello.")]


def test_otlp_times_models_and_failures() -> None:
    steps = by_id("otlp.jsonl")
    failed = steps["c000000000000001"]
    assert (failed.status, failed.usage, failed.latency_ms) == (Status.ERROR, None, 250.0)
    assert failed.lacks == ("usage", "cost", "role")
    first = steps["a000000000000011"]
    # 2026-01-01T00:00:01Z
    assert (first.started_at, first.latency_ms) == (1_767_225_601.0, 2000.0)
    assert (first.model, first.provider) == ("claude-opus-4-6-20260205", "anthropic")
    assert first.step.tokens.input == 1000
    assert not first.step.tokens.estimated


def test_otlp_input_without_its_cached_part_is_fresh() -> None:
    usage = by_id("otlp.jsonl")["d000000000000001"].usage
    assert usage == Usage(fresh_input=12, cache_read=3000, cache_write=100, output=7)


def span(id: str, parent: str = "", start: int = 1, **attributes: object) -> dict[str, object]:
    named = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **attributes}
    return {
        **{"traceId": "t", "spanId": id, "parentSpanId": parent, "name": "chat"},
        **{"startTimeUnixNano": start * 10**9, "endTimeUnixNano": (start + 1) * 10**9, "attributes": named},
    }


def test_otlp_wrapper_counts_where_the_inner_span_has_no_usage(tmp_path: Path) -> None:
    outer = span("outer", **{"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2})
    steps, report = read_records(tmp_path / "t.jsonl", span("inner", "outer"), outer)
    assert [one.step.id for one in steps] == ["outer"]
    assert report.skipped == {"wrapped call": 1}


def test_otlp_attempts_of_one_step_of_our_own_export_are_one_step(tmp_path: Path) -> None:
    ours = {"agentrouter.step.id": "s-7", "agentrouter.trajectory.id": "run", "agentrouter.step": 4}
    tokens = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2}
    root = span(
        "root", **{"gen_ai.operation.name": None, "gen_ai.request.model": None, **ours, "agentrouter.cost.nusd": 7}
    )
    cheap = span("one", "root", 1, **ours, **tokens, **{"agentrouter.cost.nusd": 2})
    dear = span("two", "root", 2, **ours, **tokens, **{"agentrouter.cost.nusd": 5, "gen_ai.response.model": "big"})
    steps, report = read_records(tmp_path / "t.jsonl", root, dear, cheap)
    # The bill of the step is that of all its attempts, as in the ledger.
    assert [(one.step.id, one.step.trajectory_id, one.step.index, one.model, one.cost_nusd) for one in steps] == [
        ("s-7", "run", 4, "big", 7)
    ]
    assert report.skipped == {"other attempt": 1, "other span": 1}


def test_otlp_parents_that_point_at_each_other_end(tmp_path: Path) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent"}
    loop = (span("a", "b", **agent), span("b", "a", **agent), span("c", "a"))
    steps, _ = read_records(tmp_path / "t.jsonl", *loop)
    assert [(one.step.id, one.step.trajectory_id, one.step.parent_id) for one in steps] == [("c", "t/a", "t")]


def test_otlp_traces_larger_than_the_buffer_keep_their_order_and_count(tmp_path: Path) -> None:
    usage = {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 1}
    spans = [span(f"s{number}", start=number + 1, **usage) for number in range(9000)]
    steps, report = read_records(tmp_path / "t.jsonl", *spans)
    assert [one.step.index for one in steps] == list(range(9000))
    assert (report.steps, report.malformed) == (9000, 0)


# --- OpenInference ---------------------------------------------------------------------------------------------------


def test_openinference_messages_tools_and_tool_calls() -> None:
    steps = by_id("openinference.jsonl")
    first, second = steps["e0000000000000a1"].step, steps["e0000000000000a2"].step
    assert [(one.role, one.text) for one in first.messages] == [
        ("system", "You answer questions."),
        ("user", "Weather in Oslo?"),
    ]
    assert [(tool.name, tool.description) for tool in first.tools] == [("weather", "Weather of a city")]
    assert second.messages[1].tool_calls == (ToolCall(id="w1", name="weather", arguments='{"city":"Oslo"}'),)
    assert (second.messages[2].role, second.messages[2].tool_call_id) == ("tool", "w1")
    assert (second.role, second.index) == ("forecaster", 1)


def test_openinference_nested_attributes_of_a_viewer() -> None:
    exported = by_id("openinference.jsonl")["f000000000000001"]
    assert exported.usage == Usage(fresh_input=100, output=9)
    assert exported.step.messages == (Message(role="user", text="Hi"),)
    assert exported.lacks == ("cache", "cost", "role")


# --- Claude Code -----------------------------------------------------------------------------------------------------


def test_claude_code_call_split_over_lines_is_one_step_with_the_last_usage() -> None:
    call = by_id("claude_code.jsonl")["msg_1"]
    assert call.usage == Usage(fresh_input=3, cache_write=9000, cache_write_1h=2000, output=120)
    assert call.lacks == ("system", "tools", "role", "cost")
    assert [one.text for one in call.step.messages] == ["The basket total is wrong by one cent."]


def test_claude_code_prompt_is_what_came_before_the_call() -> None:
    messages = by_id("claude_code.jsonl")["msg_2"].step.messages
    assert [one.role for one in messages] == ["user", "assistant", "tool"]
    # The three lines of the first call are one answer again.
    assert messages[1].text == "I look at the rounding."
    assert messages[1].reasoning_chars > 0
    assert [call.name for call in messages[1].tool_calls] == ["Read"]
    assert messages[2].text == "total = round(x)"


def test_claude_code_edited_prompt_drops_the_abandoned_branch() -> None:
    steps = by_id("claude_code.jsonl")
    assert [one.text for one in steps["msg_4"].step.messages][-1] == "Add a test."
    texts = [one.text for one in steps["msg_5"].step.messages]
    assert texts[-2:] == ["Fixed: it rounds half up now.", "Add two tests."]
    assert "Added." not in texts


def test_claude_code_sub_agent() -> None:
    session = "11111111-2222-4333-8444-555555555555"
    call = by_id("claude_code.jsonl")["msg_s1"].step
    assert (call.trajectory_id, call.parent_id, call.kind) == (f"{session}/abc123", session, CallKind.SUBAGENT)
    assert [one.text for one in call.messages] == ["Find all uses of round"]


def claude(type: str, uuid: str, parent: str | None, message: dict[str, object], **more: object) -> dict[str, object]:
    return {"type": type, "uuid": uuid, "parentUuid": parent, "sessionId": "s", "message": message, **more}


def answer(id: str, text: str = "ok") -> dict[str, object]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {
        "id": id,
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": text}],
        "usage": usage,
    }


def test_claude_code_older_side_chains_without_agent_id(tmp_path: Path) -> None:
    side = {"isSidechain": True}
    lines = [
        claude("user", "a1", None, {"role": "user", "content": "one"}, **side),
        claude("user", "b1", None, {"role": "user", "content": "two"}, **side),
        claude("assistant", "a2", "a1", answer("m1"), **side),
        claude("assistant", "b2", "b1", answer("m2"), **side),
    ]
    steps, _ = read_records(tmp_path / "t.jsonl", *lines)
    assert {one.step.id: (one.step.trajectory_id, one.step.messages[0].text) for one in steps} == {
        "m1": ("s/a1", "one"),
        "m2": ("s/b1", "two"),
    }


def test_claude_code_compaction_starts_the_prompt_anew(tmp_path: Path) -> None:
    lines = [
        claude("user", "u1", None, {"role": "user", "content": "long story"}),
        claude("assistant", "u2", "u1", answer("m1")),
        {"type": "system", "subtype": "compact_boundary", "sessionId": "s", "uuid": "u3", "parentUuid": None},
        claude("user", "u4", "u3", {"role": "user", "content": "summary"}, isCompactSummary=True),
        claude("assistant", "u5", "u4", answer("m2"), costUSD=0.25),
    ]
    steps, _ = read_records(tmp_path / "t.jsonl", *lines)
    assert [one.text for one in steps[1].step.messages] == ["summary"]
    # Older versions wrote what the call cost.
    assert [one.cost_nusd for one in steps] == [None, 250_000_000]


# --- request logs ----------------------------------------------------------------------------------------------------


def test_openai_log_dialects_and_wrappers() -> None:
    steps = by_id("openai_log.jsonl")
    assert [one.text for one in steps["chatcmpl-2"].step.messages] == ["And food?"]
    assert [(one.role, one.text) for one in steps["resp_1"].step.messages][-1] == ("user", "Name a river.")
    anthropic = steps["msg_9"]
    assert (anthropic.step.trajectory_id, anthropic.usage) == (
        "sess-cc",
        Usage(fresh_input=100, cache_write=2000, output=50),
    )
    assert [(one.role, one.text) for one in anthropic.step.messages] == [
        ("system", "You review code."),
        ("user", "Review this."),
    ]


def test_openai_log_batch_line_and_failure() -> None:
    steps = by_id("openai_log.jsonl")
    batch = steps["chatcmpl-b7"]
    assert batch.step.slo is Slo.BATCH
    assert batch.lacks == ("messages", "trajectory", "role", "cache", "cost")
    assert (steps["log-6"].status, steps["log-6"].usage) == (Status.ERROR, None)


def test_openai_log_streamed_chunks_and_json_text(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    chunks = [
        {"id": "c1", "object": "chat.completion.chunk", "model": "m"},
        {"id": "c1", "object": "chat.completion.chunk"},
    ]
    record = {
        "request": {"body": json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]})},
        "response": [*chunks, {"id": "c1", "object": "chat.completion.chunk", "model": "m", "usage": usage}],
    }
    steps, _ = read_records(tmp_path / "t.jsonl", record)
    assert [(one.step.id, one.usage) for one in steps] == [("c1", Usage(fresh_input=7, output=3))]


# --- LiteLLM ---------------------------------------------------------------------------------------------------------


def test_litellm_prompt_from_the_request_or_the_messages_column() -> None:
    steps = by_id("litellm.jsonl")
    assert [one.text for one in steps["req-2"].step.messages] == ["Continue."]
    assert [one.text for one in steps["req-3"].step.messages] == ["Route mail.", "To whom?"]
    assert [tool.name for tool in steps["req-3"].step.tools] == ["send"]
    assert steps["req-1"].lacks == ("role", "messages")
    assert steps["req-4"].status is Status.ERROR


def test_litellm_spend_is_taken_as_text_never_as_a_float(tmp_path: Path) -> None:
    # 0.1 + 0.2 as doubles is 0.30000000000000004; 1234567.123456789 USD has 16 digits.
    spends = ["0.1", "0.2", "1234567.123456789", "1e-9", "0.0000000005", "0.0000000015"]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"request_id": "r{n}", "spend": {spend}}}\n' for n, spend in enumerate(spends)))
    steps, _ = open_traces(path)
    # Half to even below the ninth decimal: 0.5 -> 0, 1.5 -> 2.
    assert [one.cost_nusd for one in steps] == [100_000_000, 200_000_000, 1_234_567_123_456_789, 1, 0, 2]


# --- TwinRouterBench -------------------------------------------------------------------------------------------------


def test_twinrouter_labels_are_outcomes_of_the_four_tiers() -> None:
    steps = by_id("twinrouter.jsonl")
    row = steps["task_b_step_1"]
    assert {one.model: one.success for one in row.alternatives} == {
        "tier:low": 0.0,
        "tier:mid": 1.0,
        "tier:mid_high": 1.0,
        "tier:high": 1.0,
    }
    assert (row.step.tokens.input, row.step.tokens.output, row.step.tokens.estimated) == (1321, 112, False)
    assert (row.step.trajectory_id, row.step.index, row.model) == ("pinchbench/task_b", 0, "")
    assert [tool.name for tool in steps["task_a_step_2"].step.tools] == ["book"]
