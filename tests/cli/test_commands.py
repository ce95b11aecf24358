"""The other commands: what they print, as tables and as JSON, and their exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentrouter.catalog import builtin_catalog
from agentrouter.ledger import open_ledger
from agentrouter.providers.scripted import Scripted
from agentrouter.router import Router
from agentrouter.trajectory import World
from tests.cli.running import agentrouter

ASK = [{"role": "user", "content": "Give it as JSON."}]
STEP = json.dumps({"id": "s", "messages": ASK, "role": "format"})


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one trajectory of three steps, the second escalated."""
    path = tmp_path_factory.mktemp("ledger") / "steps.db"
    provider = Scripted({"minimal": "", "*": "fine"})

    async def fill() -> None:
        world = World(catalog=builtin_catalog())
        made = Router(world, "escalate:roles", providers={"example": provider}, ledger=open_ledger(path))
        async with made:
            for role in ("planner", "format", "worker"):
                await made.run(made.step(ASK, trajectory_id="t", role=role))

    asyncio.run(fill())
    return path


def test_version_and_help() -> None:
    assert agentrouter("--version").out.startswith("agentrouter ")
    done = agentrouter("--help")
    assert done.code == 0
    for command in ("route", "explain", "replay", "audit", "lab", "models", "inspect", "doctor", "bench", "demo"):
        assert command in done.out


def test_explain_a_live_step() -> None:
    done = agentrouter("explain", "-", "--policy", "roles", "--json", stdin=STEP)
    said = json.loads(done.out)
    assert (said["chosen"], said["reason"]) == ("example/minimal", "role: format")
    assert [row["tier"] for row in said["candidates"]] == ["minimal", "efficient", "mid", "frontier"]
    assert all(row["quote_nusd"] > 0 for row in said["candidates"])
    assert set(said["features"]) == {"role", "semantics", "load", "state", "dependency"}
    assert "example/minimal" in agentrouter("explain", "-", "--policy", "roles", stdin=STEP).out


def test_explain_says_why_a_candidate_is_out() -> None:
    line = json.dumps({"id": "s", "messages": ASK, "context_chars": 900_000})
    said = json.loads(agentrouter("explain", "-", "--policy", "roles", "--json", stdin=line).out)
    out = {row["candidate"]: row["excluded"] for row in said["candidates"] if row["excluded"]}
    assert set(out) == {"example/minimal", "example/efficient", "example/mid"}
    assert all(reason.startswith("context_window") for reason in out.values())


def test_explain_a_booked_step(ledger: Path) -> None:
    done = agentrouter("explain", "t/1", "--ledger", str(ledger), "--json")
    said = json.loads(done.out)
    assert [attempt["kind"] for attempt in said["attempts"]] == ["first", "escalation"]
    assert "escalation" in agentrouter("explain", "t/1", "--ledger", str(ledger)).out
    missing = agentrouter("explain", "nope", "--ledger", str(ledger))
    assert missing.code == 1
    assert "nope" in missing.err


def test_explain_without_a_ledger_says_what_to_do() -> None:
    done = agentrouter("explain", "t/1")
    assert done.code == 2
    assert "--ledger" in done.err


def test_inspect_a_ledger(ledger: Path) -> None:
    said = json.loads(agentrouter("inspect", str(ledger), "--json").out)
    assert (said["steps"], said["trajectories"], said["malformed"]) == (3, 1, 0)
    groups = json.loads(agentrouter("inspect", str(ledger), "--by", "role", "--by", "tier", "--json").out)[str(ledger)]
    whole = groups[""][0]["cost_nusd"]
    assert sum(row["cost_nusd"] for row in groups["role"]) == whole
    assert sum(row["cost_nusd"] for row in groups["tier"]) == whole == said["whole"]["cost_nusd"]
    assert "frontier" in agentrouter("inspect", str(ledger), "--by", "tier").out


def test_inspect_refuses_an_unknown_grouping(ledger: Path) -> None:
    done = agentrouter("inspect", str(ledger), "--by", "colour")
    assert done.code == 1
    assert "colour" in done.err


def test_inspect_a_missing_file() -> None:
    done = agentrouter("inspect", "/no/such/file.jsonl")
    assert done.code == 1
    assert "/no/such/file.jsonl" in done.err
    assert "Traceback" not in done.err


def test_doctor() -> None:
    done = agentrouter("doctor", "--json")
    said = json.loads(done.out)
    assert {"python", "config", "tiers", "ledger", "telemetry"} <= {finding["what"] for finding in said["findings"]}
    assert (done.code == 0) == said["ok"]


def test_doctor_finds_a_bad_config(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("polcy: roles\n", encoding="utf-8")
    done = agentrouter("doctor", "--config", str(path), "--json")
    (finding,) = [each for each in json.loads(done.out)["findings"] if each["what"] == "config"]
    assert done.code == 1
    assert "did you mean 'policy'?" in finding["detail"]


def test_config_check_and_schema(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("policy: length\n", encoding="utf-8")
    assert json.loads(agentrouter("config", "check", str(path), "--json").out)["policy"] == "length"
    path.write_text("polcy: length\nflow: {seeed: 1}\n", encoding="utf-8")
    done = agentrouter("config", "check", str(path))
    assert done.code == 2
    assert done.err.count("error:") == 2
    assert json.loads(agentrouter("config", "schema").out)["$defs"]["ConfigFile"]


def test_models_list() -> None:
    said = json.loads(agentrouter("models", "list", "--json").out)
    assert said["candidates"][0]["name"] == "example/minimal"
    assert {each["name"] for each in said["embedded"]} >= {"smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"}


def test_models_pull_of_an_unknown_name() -> None:
    done = agentrouter("models", "pull", "qwen2.5-coder-0.6b")
    assert done.code == 1
    assert "qwen2.5-coder-0.5b" in done.err


def test_bench_decide(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = agentrouter("bench", "decide", "--seconds", "0.1", "--json", str(out))
    said = json.loads(out.read_text(encoding="utf-8"))
    assert done.code == 0
    assert (said["threads"], said["candidates"], said["policy"]) == (1, 12, "roles")
    assert [row["request"] for row in said["by_prefix"]][-1] == "2,000 messages"
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in said["by_prefix"])


def test_replay_needs_a_policy(ledger: Path) -> None:
    done = agentrouter("replay", str(ledger))
    assert done.code == 2
    assert "--policy" in done.err


def test_a_wrong_option_is_a_usage_error() -> None:
    assert agentrouter("route", "--polcy", "roles").code == 2


def test_names_from_others_are_text_and_not_markup(tmp_path: Path) -> None:
    line = json.dumps({"id": "[/red]x", "role": "[/b]", "messages": ASK})
    assert "step [/red]x ->" in agentrouter("explain", stdin=line).out
    trace = tmp_path / "[/odd]" / "t.jsonl"
    trace.parent.mkdir(parents=True)
    rows = (Path(__file__).parents[1] / "fixtures/traces/litellm.jsonl").read_text().splitlines()
    trace.write_text("\n".join(json.dumps(json.loads(row) | {"model": "[/red]evil"}) for row in rows))
    done = agentrouter("inspect", str(trace))
    assert done.code == 0
    assert "[/red]evil" in done.out


def test_a_file_name_that_is_not_utf8_can_be_said_in_json(tmp_path: Path) -> None:
    trace = os.fsencode(tmp_path) + b"/t\xff.jsonl"
    shutil.copy(Path(__file__).parents[1] / "fixtures/traces/otlp.jsonl", trace)
    done = agentrouter("inspect", os.fsdecode(trace), "--json")
    assert done.code == 0
    assert json.loads(done.out)["files"][0].endswith("t\\udcff.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_and_a_closed_stdout_are_no_traceback() -> None:
    command = [sys.executable, "-m", "agentrouter", "config", "schema"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    assert subprocess.run(shell, stderr=subprocess.PIPE, check=False).stderr == b""


def test_config_check_says_what_is_wrong_with_a_provider(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("providers: {office: {base_url: nope}, gpu: {kind: lokal}, x: {api_key_env: sk-abc123456789}}")
    done = agentrouter("config", "check", str(path))
    assert done.code == 2
    assert "providers.office.base_url: expected http://host" in done.err
    assert "did you mean local?" in done.err
    assert "providers.x.api_key_env: expected the name of an environment variable" in done.err
    assert "sk-abc123456789" not in done.err


def test_an_audit_of_standard_input_calls_it_so() -> None:
    assert "error: -: the file is empty" in agentrouter("audit", "-").err
    trace = (Path(__file__).parents[1] / "fixtures/traces/otlp.jsonl").read_bytes()
    done = agentrouter("audit", "-", "--json", "-", stdin=trace + b'{"cut')
    said = json.loads(done.out)["replay"]["trace"]
    assert (said["files"], {problem["file"] for problem in said["problems"]}) == (["-"], {"-"})


def test_a_name_cannot_move_the_cursor(tmp_path: Path) -> None:
    line = json.dumps({"id": "\x1b[2Jx", "messages": ASK, "role": "\x1b]0;title\x07"})
    done = agentrouter("explain", "-", "--policy", "roles", stdin=line)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\\x1b[2Jx" in done.out
