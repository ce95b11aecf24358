"""``agentrouter bench decide``: how long a decision takes on this machine, by size of the request."""

from __future__ import annotations

import gc
import math
import platform
import time
from pathlib import Path

import msgspec
from rich.table import Table

from agentrouter.catalog import Catalog, builtin_catalog
from agentrouter.cli.output import console, notes, write_json
from agentrouter.policies import Policy, build
from agentrouter.trajectory import TrajectoryState, World, prepare
from agentrouter.wire import parse_request

MIN_SAMPLES = 30


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Times of one request size, milliseconds."""

    request: str
    body_bytes: int
    messages: int
    prefix_tokens: int
    """As estimated from the text; the estimate is part of the time."""
    samples: int
    p50_ms: float
    p99_ms: float
    parse_p50_ms: float
    """Of that, reading the body into a step."""


class BenchResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``bench decide``."""

    policy: str
    candidates: int
    threads: int
    machine: str
    python: str
    p50_ms: float
    """Of the 30 kB request."""
    p99_ms: float
    by_prefix: tuple[Timing, ...]


def run(policy_spec: str, *, candidates: int, seconds: float, json_path: Path | None) -> None:
    """Time parsing, features, hard rules and the policy, one thread, no call made."""
    policy = build(policy_spec)
    world = World(catalog=_catalog(candidates))
    timings = []
    with notes().status("measuring") as status:
        for name, body in _requests():
            status.update(f"measuring {name}")
            timings.append(_timing(name, body, policy, world, seconds))
    middle = next(timing for timing in timings if timing.request == "30 kB")
    result = BenchResult(
        policy=policy.name,
        candidates=candidates,
        threads=1,
        machine=f"{platform.machine()}, {platform.system()}",
        python=platform.python_version(),
        p50_ms=middle.p50_ms,
        p99_ms=middle.p99_ms,
        by_prefix=tuple(timings),
    )
    if json_path is not None:
        write_json(result, json_path)
        if str(json_path) == "-":
            return
    table = Table("request", "bytes", "messages", "tokens", "p50 ms", "p99 ms", "of it parsing", title=policy.name)
    for timing in timings:
        table.add_row(
            timing.request,
            f"{timing.body_bytes:,}",
            f"{timing.messages:,}",
            f"{timing.prefix_tokens:,}",
            f"{timing.p50_ms:.3f}",
            f"{timing.p99_ms:.3f}",
            f"{timing.parse_p50_ms:.3f}",
        )
    console().print(table)


def _timing(name: str, body: bytes, policy: Policy, world: World, seconds: float) -> Timing:
    step = parse_request("openai_chat", body, {})
    state = TrajectoryState()
    whole: list[float] = []
    parsing: list[float] = []
    gc.collect()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(whole) < MIN_SAMPLES:
        start = time.perf_counter()
        parsed = parse_request("openai_chat", body, {})
        between = time.perf_counter()
        context = prepare(parsed, state, world, 0.0)
        policy.decide(parsed, context)
        whole.append(1e3 * (time.perf_counter() - start))
        parsing.append(1e3 * (between - start))
    return Timing(
        request=name,
        body_bytes=len(body),
        messages=len(step.messages),
        prefix_tokens=step.tokens.input,
        samples=len(whole),
        p50_ms=_quantile(whole, 0.5),
        p99_ms=_quantile(whole, 0.99),
        parse_p50_ms=_quantile(parsing, 0.5),
    )


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 4)


def _catalog(count: int) -> Catalog:
    base = builtin_catalog().candidates
    made = []
    for number in range(count):
        candidate = base[number % len(base)]
        copy = number // len(base)
        made.append(
            msgspec.structs.replace(candidate, name=f"{candidate.name}-{copy}", model=f"{candidate.model}-{copy}")
        )
    return Catalog(tuple(made))


def _requests() -> list[tuple[str, bytes]]:
    """Agent-like requests: a system prompt, tools, then alternating calls and results up to the size wanted."""
    return [(f"{size} kB", _request(size * 1_000, 2 + size // 2)) for size in (1, 10, 30, 100, 300)] + [
        ("2,000 messages", _request(300_000, 2_000))
    ]


def _request(size: int, messages: int) -> bytes:
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": "Read, search or change one thing of the workspace. " * 3,
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
            },
        }
        for number in range(min(12, 1 + size // 4_000))
    ]
    listed: list[dict[str, object]] = [
        {"role": "system", "content": "You are a careful coding agent. " * max(1, size // 200)},
        {"role": "user", "content": "Find why the nightly import drops rows, mend it and prove it with a test."},
    ]
    left = max(0, size - len(msgspec.json.encode({"messages": listed, "tools": tools})))
    rounds = max(1, (messages - len(listed)) // 2)
    chunk = "def load(rows):\n    return [clean(row) for row in rows if row]  # keeps order\n"
    each = max(0, left // rounds - 260)
    for number in range(rounds):
        function = {"name": "tool_0", "arguments": f'{{"path":"src/import_{number}.py"}}'}
        call = {"id": f"c{number}", "type": "function", "function": function}
        content = (chunk * (each // len(chunk) + 1))[:each]
        listed.append({"role": "assistant", "content": None, "tool_calls": [call]})
        listed.append({"role": "tool", "tool_call_id": f"c{number}", "content": content})
    return msgspec.json.encode({"model": "agentrouter/auto", "messages": listed, "tools": tools})
