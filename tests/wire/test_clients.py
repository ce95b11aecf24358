"""Every client's requests, in the shape its captures have: trajectory, parent, kind, position, contract."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agentrouter.features import extract
from agentrouter.types import CallKind, History, Step
from agentrouter.wire import DIALECTS, parse_request, sniff_dialect

FIXTURES = Path(__file__).parents[1] / "fixtures" / "wire"


def steps_of(client: str) -> list[Step]:
    requests = json.loads((FIXTURES / f"{client}.json").read_text())
    return [parse_request(r["dialect"], json.dumps(r["body"]).encode(), r["headers"]) for r in requests]


MAIN, SUB = CallKind.MAIN, CallKind.SUBAGENT

# client -> for each request: trajectory, parent, kind, index, retry, form of the answer. Written by hand.
NAMED = {
    "claude_code": [
        ("sess-1", "", CallKind.TITLE, 0, 0, "json_schema"),
        ("sess-1", "", MAIN, 0, 0, "text"),
        ("sess-1", "", MAIN, 1, 2, "text"),
        ("sess-1/a1", "sess-1", SUB, 0, 0, "text"),
        ("sess-1/a1", "sess-1", SUB, 1, 0, "text"),
        ("sess-1/a2", "sess-1/a1", SUB, 0, 0, "text"),
        ("sess-1", "", CallKind.COMPACTION, 1, 0, "text"),
        ("sess-1", "", CallKind.PROBE, 0, 0, "text"),
    ],
    "codex": [
        ("cx-1", "", MAIN, 0, 0, "text"),
        ("cx-1", "", MAIN, 1, 0, "text"),
        ("cx-2", "cx-1", SUB, 0, 0, "text"),
        ("cx-1", "", CallKind.COMPACTION, 0, 0, "text"),
    ],
    "opencode": [
        ("ses_a", "", CallKind.TITLE, 0, 0, "text"),
        ("ses_a", "", MAIN, 0, 0, "text"),
        ("ses_b", "ses_a", SUB, 0, 0, "text"),
        ("ses_a", "", MAIN, 1, 0, "text"),
    ],
    "sdks": [
        ("t-1", "", MAIN, 0, 0, "text"),
        ("u-1", "", MAIN, 0, 0, "text"),
        ("k-1", "", MAIN, 0, 0, "text"),
        ("s-9", "", MAIN, 0, 0, "text"),
        ("u-2", "", MAIN, 0, 0, "text"),
        ("t-3", "", MAIN, 0, 0, "text"),
        ("mine", "", MAIN, 0, 0, "text"),
    ],
}

# Clients that send no id: the index of the first request of the same trajectory, then kind, index, retry, form, and
# whether the newest message is a tool's answer that failed. aider's two few-shot answers count as turns.
UNNAMED = {
    "qwen_code": [(0, MAIN, 1, 0, "text", False), (0, MAIN, 2, 1, "text", False)],
    "aider": [(0, MAIN, 2, 0, "text", False), (0, MAIN, 3, 0, "text", True)],
    "mini_swe": [(0, MAIN, 0, 0, "text", False), (0, MAIN, 1, 0, "text", True)],
    "openai_agents": [
        (0, MAIN, 0, 0, "text", False),
        (0, MAIN, 1, 0, "text", False),
        (2, MAIN, 1, 0, "text", False),
    ],
    "pydantic_ai": [(0, MAIN, 0, 0, "tool", False), (1, MAIN, 0, 0, "json_schema", False)],
    "langgraph": [(0, MAIN, 0, 0, "text", False), (0, MAIN, 1, 0, "text", False)],
    "smolagents": [(0, MAIN, 0, 0, "tool", False), (0, MAIN, 1, 0, "tool", True)],
    "crewai": [(0, MAIN, 0, 0, "text", False), (0, MAIN, 1, 0, "text", False)],
}


@pytest.mark.parametrize("client", NAMED)
def test_clients_that_say_who_they_are(client: str) -> None:
    seen = [(s.trajectory_id, s.parent_id, s.kind, s.index, s.retry, s.output.form) for s in steps_of(client)]
    assert NAMED[client] == seen


@pytest.mark.parametrize("client", UNNAMED)
def test_clients_that_send_no_id(client: str) -> None:
    steps = steps_of(client)
    ids = [step.trajectory_id for step in steps]
    assert all(one.startswith("fp-") for one in ids)
    seen = [
        (ids.index(s.trajectory_id), s.kind, s.index, s.retry, s.output.form, extract(s, History()).state.last_is_error)
        for s in steps
    ]
    assert UNNAMED[client] == seen


def test_the_billing_header_changes_no_fingerprint_and_stays_in_the_messages() -> None:
    _, first, second, *_ = steps_of("claude_code")
    assert first.prefix_hash == second.prefix_hash
    assert "cc_version=9.1.0.aaa" in first.messages[0].text
    assert "cc_version=9.1.0.bbb" in second.messages[0].text


def test_a_mid_conversation_system_message_stays_in_place() -> None:
    second = steps_of("claude_code")[2]
    assert [m.role for m in second.messages] == ["system"] * 3 + ["user", "system", "assistant", "tool"]


def test_claude_code_step_in_full() -> None:
    second = steps_of("claude_code")[2]
    *_, said, result = second.messages
    assert [(c.id, c.name, json.loads(c.arguments)) for c in said.tool_calls] == [
        ("toolu_0", "Bash", {"command": "grep -c apple trees.txt"})
    ]
    assert len("Look first.") == said.reasoning_chars
    assert (
        result.text,
        result.tool_call_id,
        result.is_error,
        result.cache_breakpoint,
    ) == ("12", "toolu_0", False, True)
    assert second.tokens.input == second.tokens.cacheable  # the breakpoint is on the last message
    features = extract(second, History())
    assert features.semantics.instruction == "Count the apple trees."  # not the reminder before it
    assert features.semantics.observation == "12"
    assert features.role.is_tool_result


def test_a_failed_tool_of_a_sub_agent_behind_a_trailing_system_message() -> None:
    features = extract(steps_of("claude_code")[4], History())
    assert features.role.kind is SUB
    assert features.role.is_tool_result
    assert features.state.last_is_error
    assert features.role.role == "reason"


def test_codex_tools_and_reasoning() -> None:
    _, second, *_ = steps_of("codex")
    assert [(t.name, t.kind) for t in second.tools] == [
        ("exec_command", "function"),
        ("multi_agent_v1", "namespace"),
        ("web_search", "web_search"),
    ]
    assert "spawn_agent" in second.tools[1].parameters
    said = second.messages[-2]
    assert (said.role, said.text, said.reasoning_chars, len(said.tool_calls)) == ("assistant", "I run mv.", 400, 1)
    assert extract(second, History()).state.last_is_error  # "Process exited with code 1"


def test_qwen_keeps_its_trajectory_over_midnight() -> None:
    first, second = steps_of("qwen_code")
    assert "March 4" in first.messages[1].text
    assert "March 5" in second.messages[1].text
    assert first.trajectory_id == second.trajectory_id


def test_a_handoff_is_another_agent() -> None:
    desk, handing_over, botanist = steps_of("openai_agents")
    assert desk.trajectory_id == handing_over.trajectory_id != botanist.trajectory_id
    assert extract(handing_over, History()).role.role == "plan"  # transfer_to_* hands work on


def test_a_forced_answer_tool_is_formatting() -> None:
    forced, schema = steps_of("pydantic_ai")
    assert (forced.output.form, forced.output.tool) == ("tool", "final_result")
    assert extract(forced, History()).role.role == "format"
    assert extract(forced, History()).dependency.contract_strictness == 2
    assert json.loads(schema.output.schema) == {"type": "object", "properties": {"city": {"type": "string"}}}
    assert schema.output.max_tokens == 64
    assert schema.tokens.output == 64  # never more than the limit


def test_a_gemini_body_is_none_of_ours() -> None:
    (request,) = json.loads((FIXTURES / "gemini_cli.json").read_text())
    assert sniff_dialect(request["body"]) == ""


@pytest.mark.parametrize("client", sorted(path.stem for path in FIXTURES.glob("*.json") if path.stem != "gemini_cli"))
def test_the_dialect_of_a_body_is_recognised(client: str) -> None:
    for request in json.loads((FIXTURES / f"{client}.json").read_text()):
        body = request["body"]
        ambiguous = request["dialect"] == "anthropic_messages" and not {"system", "tools"} & body.keys()
        expected = "openai_chat" if ambiguous else request["dialect"]
        assert expected == sniff_dialect(body)


def test_an_object_reads_as_its_bytes_do() -> None:
    for path in FIXTURES.glob("*.json"):
        for request in json.loads(path.read_text()):
            if "dialect" not in request:
                continue
            compact = json.dumps(request["body"], separators=(",", ":"), ensure_ascii=False).encode()
            assert parse_request(request["dialect"], compact, request["headers"]) == parse_request(
                request["dialect"], request["body"], request["headers"]
            )


# --- the captures themselves, where they are at hand ------------------------------------------------------------------

CAPTURES = Path(os.environ.get("AGENTROUTER_SHARED_CAPTURES") or Path(__file__).parents[3] / "shared" / "captures")
PATHS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/responses": "openai_responses",
    "/v1/messages": "anthropic_messages",
    "/v1/messages/count_tokens": "anthropic_messages",
}

# capture -> for each request of a known path: group (numbered in order of appearance) and kind; "title" and "sub" as
# in the client's own words. Written by hand from captures/README.md.
EXPECTED = {
    "aider": "0m 0m 0m 0m",
    "anthropic_js": "0m 0m",
    "anthropic_python": "0m 1m 0m 2m",
    "claude_code": "0t 0m 0m",
    "claude_code_subagent": "0t 0m 1s 1s 0m",
    "codex": "0m 0m",
    "crewai": "0m 0m",
    "gemini_cli": "",
    "langgraph": "0m 0m 0m 0m 0m 0m 0m 0m",
    "litellm_sdk": "0m 0m 0m 0m",
    "llm_cli": "0m 0m",
    "mini_swe_agent": "0m 0m",
    "openai_agents": "0m 0m 0m 0m 0m 0m 0m 0m",
    "openai_js": "0m 0m 1m",
    "openai_python": "0m 1m 2m 0m 3m",
    "opencode_anthropic": "0t 0m 0m",
    "opencode_openai": "0t 0m 0m",
    "opencode_subagent": "0t 0m 1s 1s 0m",
    "pydantic_ai": "0m 0m 0m 0m 1m",
    "qwen_code": "0m 0m",
    "smolagents": "0m 0m 1m 1m",
}


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES}; set AGENTROUTER_SHARED_CAPTURES")
@pytest.mark.parametrize("client", EXPECTED)
def test_captured_requests(client: str) -> None:
    groups: list[str] = []
    seen = []
    for request in json.loads((CAPTURES / f"{client}.json").read_text())["requests"]:
        dialect = PATHS.get(request["path"])
        if dialect is None or request["method"] != "POST":
            continue
        step = parse_request(dialect, json.dumps(request["body"]).encode(), dict(request["headers"]))
        if step.trajectory_id not in groups:
            groups.append(step.trajectory_id)
        seen.append(f"{groups.index(step.trajectory_id)}{step.kind.value[0]}")
        if step.kind is CallKind.SUBAGENT:
            assert step.parent_id == groups[0]
        assert dialect in DIALECTS
        assert extract(step, History()).semantics.instruction
    assert EXPECTED[client] == " ".join(seen)
