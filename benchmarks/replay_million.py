"""Time and memory of a replay of one million recorded steps, through the real reader and a real policy.

Run: ``python benchmarks/replay_million.py [--steps N] [--workers 1 2] [--policy roles] [--json OUT]``. The trace is
synthetic LiteLLM spend logs without content (about 430 bytes a step, trajectories of 5 to 45 steps, Anthropic-like
caching), written to a temporary folder first; writing it is not timed. The aim for a million steps on two cores: under
60 seconds of wall time and under 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from agentrouter.catalog import builtin_catalog
from agentrouter.lab.replay import ReplayOptions
from agentrouter.lab.replay_parallel import Job, replay_traces
from agentrouter.lab.sources import open_traces
from agentrouter.policies import build
from agentrouter.trajectory import World

ROLES = ("plan", "edit", "tool_call", "execute", "summarise", "verify")
START = 1_767_225_600


def write_trace(path: Path, steps: int) -> None:
    chance = random.Random(1)
    written = task = 0
    with path.open("w", encoding="ascii") as out:
        while written < steps:
            size = 8_000
            for index in range(min(chance.randint(5, 45), steps - written)):
                read = size if index else 0
                size += chance.randint(300, 1_200)
                output = chance.randint(50, 400)
                at = datetime.fromtimestamp(START + 37 * task + 12 * index, UTC).isoformat().replace("+00:00", "Z")
                row = {
                    "request_id": f"r{written}",
                    "call_type": "acompletion",
                    "spend": round((read * 0.5 + (size - read) * 6.25 + output * 25) / 1e6, 9),
                    "prompt_tokens": size,
                    "completion_tokens": output,
                    "startTime": at,
                    "endTime": at,
                    "model": "claude-opus-4-6",
                    "custom_llm_provider": "anthropic",
                    "agent_id": ROLES[chance.randrange(len(ROLES))],
                    "session_id": f"s{task}",
                    "status": "success",
                    "metadata": {
                        "usage_object": {"cache_creation_input_tokens": size - read, "cache_read_input_tokens": read}
                    },
                }
                out.write(json.dumps(row) + "\n")
                written += 1
            task += 1


def measure(path: str, policy: str, workers: int) -> dict[str, object]:
    """Replay in this process (and its workers) and return what it took."""
    job = Job(
        open_=partial(open_traces, path),
        policy=build(policy),
        world=World(catalog=builtin_catalog()),
        options=ReplayOptions(),
    )
    started, busy = time.perf_counter(), time.process_time()
    report = replay_traces(job, workers)
    wall = time.perf_counter() - started
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    # ru_maxrss of children is the largest of them; all of them together is at most that times their number.
    kib = own.ru_maxrss + (children.ru_maxrss * workers if workers > 1 else 0)
    cpu = time.process_time() - busy + (children.ru_utime + children.ru_stime if workers > 1 else 0.0)
    return {
        "workers": workers,
        "steps": report.steps,
        "trajectories": report.trajectories,
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "cpu_us_per_step": round(cpu / report.steps * 1e6, 1),
        "peak_rss_mib_at_most": kib // 1024,
        "recorded_nusd": report.bill("recorded"),
        "policy_nusd": report.bill("policy"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--policy", default="roles")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", metavar="TRACE", help="measure on a trace that is there, in this process (internal)")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.policy, options.workers[0])))
        return
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spend.jsonl"
        write_trace(path, options.steps)
        size = path.stat().st_size
        for workers in options.workers:
            # A fresh process for each run, so that its peak memory is its own.
            command = [sys.executable, __file__, "--one", str(path), "--workers", str(workers)]
            done = subprocess.run([*command, "--policy", options.policy], check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout))
            print(runs[-1])
    result = {
        "benchmark": "replay_million",
        "command": f"python benchmarks/replay_million.py --steps {options.steps} --policy {options.policy}",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average_at_end": [round(load, 2) for load in os.getloadavg()],
        "trace_bytes": size,
        "policy": options.policy,
        "runs": runs,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
