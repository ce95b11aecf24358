"""Replay of whole traces over several processes.

Law: each process reads the traces and keeps the trajectories whose name hashes to its shard, so a trajectory is
replayed by one process and in order; the merged sums, and with them the report, are those of a single process.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from zlib import crc32

import msgspec

from agentrouter.lab.replay import Replay, ReplayOptions
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.tally import Tally
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.policies import Policy
from agentrouter.trajectory import World

_GC_THRESHOLD = 50_000
"""Steps make many small objects and no cycles; the default threshold spends a fifth of the time looking for some."""


Opened = tuple[Iterator[RecordedStep], TraceReport]
Open = Callable[[], Opened]
"""Opens a trace anew: its steps, and the report that fills as they are read (``sources.open_traces`` with its arguments
bound). Must pickle where more than one process is asked for."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay."""

    open_: Open
    policy: Policy
    world: World
    options: ReplayOptions


def replay_traces(job: Job, workers: int = 1) -> ReplayReport:
    """Replay traces.

    Args:
        job: traces, policy, world and options.
        workers: processes; 1 replays in this one. More cannot read standard input.

    Raises:
        InputError: what the reader raises, or no baseline; from whichever process met it first.
    """
    options = job.options
    if workers <= 1:
        tally, trace = _replayed(job, 0, 1)
    else:
        # Each process may keep its share of the live states, so that memory stays what it was.
        kept = max(1, options.live_trajectories // workers)
        job = msgspec.structs.replace(job, options=msgspec.structs.replace(options, live_trajectories=kept))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = [pool.submit(_replayed, job, shard, workers) for shard in range(workers)]
            tally, trace = parts[0].result()
            for part in parts[1:]:
                tally.merge(part.result()[0])
    whole = Replay(job.policy, job.world, options)
    whole.tally = tally
    return whole.report(trace)


def shard_of(trajectory: str, shards: int) -> int:
    """Return which of ``shards`` replays a trajectory; the same in every process."""
    return crc32(trajectory.encode("utf-8", "surrogatepass")) % shards


def sharded(steps: Iterable[RecordedStep], shard: int, shards: int) -> Iterator[RecordedStep]:
    """Yield the steps of one shard's trajectories, in order."""
    for recorded in steps:
        if shard_of(recorded.step.trajectory_id, shards) == shard:
            yield recorded


def _replayed(job: Job, shard: int, shards: int) -> tuple[Tally, TraceReport]:
    thresholds = gc.get_threshold()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        engine = Replay(job.policy, job.world, job.options)
        steps, trace = job.open_()
        for recorded in sharded(steps, shard, shards) if shards > 1 else steps:
            engine.feed(recorded)
        engine.tally.fold()
        return engine.tally, trace
    finally:
        gc.set_threshold(*thresholds)
