"""Time of parsing a request and of extracting its features, by size; one thread, no network.

Run: python benchmarks/features.py [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from agentrouter.features import extract
from agentrouter.types import History, PastStep, Status, Step, StepFeatures, Tier, TokenCounts
from agentrouter.wire import parse_request

PROSE = "Read the failing test, find the function that it calls, and change as little as possible. "
CODE = "def total(rows: list[dict]) -> int:\n    return sum(int(row['amount']) for row in rows if row.get('paid'))\n"


def _tool(i: int, chars: int) -> dict[str, object]:
    return {
        "name": f"tool_{i}",
        "description": (PROSE * (chars // len(PROSE) + 1))[:chars],
        "input_schema": {
            "type": "object",
            "properties": {f"field_{j}": {"type": "string", "description": PROSE} for j in range(4)},
            "required": ["field_0"],
        },
    }


def anthropic_body(system_chars: int, tools: int, tool_chars: int, rounds: int, result_chars: int) -> bytes:
    """Return a request in the shape of a coding agent's: system blocks, tools, rounds of call and result."""
    messages: list[dict[str, object]] = [
        {
            "role": "user",
            "content": [
                {
                    "type": "text",
                    "text": "<system-reminder>\n# currentDate\nToday's date is 2026-11-21.\n</system-reminder>",
                },
                {"type": "text", "text": "Fix the rounding bug in the invoice totals."},
            ],
        }
    ]
    for i in range(rounds):
        call = {"type": "tool_use", "id": f"toolu_{i}", "name": f"tool_{i % 3}", "input": {"path": f"src/{i}.py"}}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "Next I look."}, call]})
        result = (CODE * (result_chars // len(CODE) + 1))[:result_chars]
        messages.append(
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"toolu_{i}", "content": result}]}
        )
    body = {
        "model": "agentrouter/auto",
        "max_tokens": 32_000,
        "stream": True,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=9.9.9.abc;"},
            {
                "type": "text",
                "text": (PROSE * (system_chars // len(PROSE) + 1))[:system_chars],
                "cache_control": {"type": "ephemeral"},
            },
        ],
        "tools": [_tool(i, tool_chars) for i in range(tools)],
        "messages": messages,
        "metadata": {"user_id": '{"device_id":"d","session_id":"s-1"}'},
    }
    return json.dumps(body).encode()


def chat_body(rounds: int) -> bytes:
    """Return a chat request of many short messages."""
    messages: list[dict[str, object]] = [{"role": "system", "content": PROSE}, {"role": "user", "content": PROSE}]
    for i in range(rounds):
        function = {"name": "bash", "arguments": json.dumps({"command": f"ls {i}"})}
        call = {"id": f"c{i}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{i}", "content": f"file_{i}.py"})
    return json.dumps({"model": "agentrouter/auto", "messages": messages}).encode()


def timed(action: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the median and the 99th percentile of one call, microseconds."""
    for _ in range(10):
        action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        action()
        times.append((time.perf_counter_ns() - start) / 1_000)
    times.sort()
    return {"p50_us": round(statistics.median(times), 1), "p99_us": round(times[int(len(times) * 0.99)], 1)}


def decide_input(dialect: str, body: bytes, before: History) -> StepFeatures:
    """Parse and extract, as each request needs it."""
    return extract(parse_request(dialect, body), before)


def history() -> History:
    """Return a history of twenty steps over two tiers."""
    so_far = History()
    for i in range(20):
        tier = Tier.FRONTIER if i % 3 else Tier.EFFICIENT
        so_far = so_far.after(
            PastStep(
                index=i,
                role="edit",
                tier=tier,
                candidate=f"example/{tier.label}",
                status=Status.ERROR if i == 11 else Status.OK,
                escalated=False,
                cost_nusd=1_000,
                output_tokens=200,
            )
        )
    return so_far


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=2_000)
    options = parser.parse_args()
    cases = {
        "anthropic 30 kB": ("anthropic_messages", anthropic_body(9_000, 10, 600, 6, 1_000)),
        "anthropic 90 kB, 25 tools": ("anthropic_messages", anthropic_body(9_000, 25, 2_000, 8, 1_500)),
        "anthropic 300 kB": ("anthropic_messages", anthropic_body(9_000, 25, 1_500, 100, 2_000)),
        "chat 2,000 messages": ("openai_chat", chat_body(999)),
    }
    before = history()
    results: dict[str, dict[str, float]] = {}
    for name, (dialect, body) in cases.items():
        step = parse_request(dialect, body, {})
        n = max(50, options.repeats * 30_000 // len(body))
        parse = timed(partial(parse_request, dialect, body), n)
        features = timed(partial(extract, step, before), n)
        both = timed(partial(decide_input, dialect, body, before), n)
        decode = timed(partial(msgspec.json.decode, body), n)
        results[name] = {
            "bytes": len(body),
            "messages": len(step.messages),
            "parse_p50_us": parse["p50_us"],
            "features_p50_us": features["p50_us"],
            "both_p50_us": both["p50_us"],
            "both_p99_us": both["p99_us"],
            "untyped_decode_p50_us": decode["p50_us"],
        }
    bare = Step(id="s", trajectory_id="t", index=20, tokens=TokenCounts(input=20_000, output=300))
    start = time.perf_counter_ns()
    for _ in range(100_000):
        extract(bare, before)
    results["no messages"] = {"features_mean_us": round((time.perf_counter_ns() - start) / 1e8, 2)}
    for name, result in results.items():
        print(name, json.dumps(result))
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
