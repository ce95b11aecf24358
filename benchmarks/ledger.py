"""Rows a second of the SQLite ledger: single appends, one batch, streaming read, grouped totals.

Run: ``python benchmarks/ledger.py [--json OUT]``. Appends are durable against ``kill -9`` (WAL, synchronous=NORMAL).
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import msgspec

from agentrouter import bill
from agentrouter.catalog import builtin_catalog
from agentrouter.flow import route_flow
from agentrouter.ledger import open_ledger
from agentrouter.policies import build
from agentrouter.trajectory import TrajectoryState, World, advance, prepare
from agentrouter.types import Outcome, Reply, Step, StepRecord, TokenCounts

STEPS = 3_000
PER_TRAJECTORY = 20


def records(prefix: str) -> list[StepRecord]:
    """Make the records of trajectories routed by the default policy."""
    world = World(catalog=builtin_catalog())
    policy = build("escalate:roles")
    made = []
    state = TrajectoryState()
    for number in range(STEPS):
        index = number % PER_TRAJECTORY
        if index == 0:
            state = TrajectoryState()
        trajectory = f"{prefix}{number // PER_TRAJECTORY}"
        tokens = TokenCounts(input=2_000 + 700 * index, output=200, estimated=False)
        step = Step(id=f"{trajectory}/{index}", trajectory_id=trajectory, index=index, role="edit", tokens=tokens)
        now = 1_750_000_000.0 + 10.0 * number
        context = prepare(step, state, world, now)
        flow = route_flow(policy, step, context, world.settings)
        call = next(flow)
        usage = bill.simulate_usage(call.candidate, tokens, context.caches.get(call.candidate.name), now)
        try:
            flow.send(Outcome(reply=Reply(text="done"), usage=usage, latency_ms=800.0, committed=True))
        except StopIteration as stop:
            made.append(stop.value)
        state = advance(state, made[-1], now)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    out = parser.parse_args().json
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        with open_ledger(path) as ledger:
            times = []
            for record in records("single-"):
                start = time.perf_counter()
                ledger.append(record)
                times.append(time.perf_counter() - start)
            batch = records("batch-")
            start = time.perf_counter()
            ledger.append_many(batch)
            batched = STEPS / (time.perf_counter() - start)
            start = time.perf_counter()
            read = sum(1 for _ in ledger.steps()) / (time.perf_counter() - start)
            start = time.perf_counter()
            ledger.totals("tier")
            totals_ms = 1e3 * (time.perf_counter() - start)
        size = path.stat().st_size
    times.sort()
    result = {
        "command": "python benchmarks/ledger.py",
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "steps": STEPS,
        "single_append_per_s": round(STEPS / sum(times)),
        "single_append_p50_ms": round(1e3 * times[STEPS // 2], 3),
        "single_append_p99_ms": round(1e3 * times[STEPS * 99 // 100], 3),
        "batched_append_per_s": round(batched),
        "read_steps_per_s": round(read),
        "totals_by_tier_ms": round(totals_ms, 1),
        "bytes_per_step": round(size / (2 * STEPS)),
    }
    print(json.dumps(result, indent=2))
    if out is not None:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


if __name__ == "__main__":
    main()
