"""Replay of long traces over several processes.

Law: this process reads, once and in order; each trajectory is replayed by the one worker that its name hashes to. The
merged sums, and with them the report, are those of a single process.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from queue import Full
from zlib import crc32

import msgspec

from agentrouter.errors import AgentRouterError
from agentrouter.lab.replay import Replay, ReplayOptions
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.tally import Tally
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.policies import Policy
from agentrouter.trajectory import World

Opened = tuple[Iterator[RecordedStep], TraceReport]
Open = Callable[[], Opened]
"""Opens traces: their steps, and the report that fills as they are read (``sources.open_traces``, arguments bound)."""

BATCH = 256
"""Steps sent to a worker at once."""
WAITING = 32
"""Batches that may wait for a worker; beyond it the reader waits, so that memory stays bounded."""

_GC_THRESHOLD = 50_000
"""Steps make many small objects and no cycles; the default threshold spends a fifth of the time looking for some."""

_Batch = bytes | list[RecordedStep] | None
"""Steps as MessagePack, as objects where text cannot be encoded (lone surrogates), or the end."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay; policy, world and options must pickle where more than one process is asked for."""

    open_: Open
    policy: Policy
    world: World
    options: ReplayOptions


def replay_traces(job: Job, workers: int = 1) -> ReplayReport:
    """Replay traces.

    Args:
        job: traces, policy, world and options.
        workers: processes beside this one, which then only reads; 1 replays in this one.

    Raises:
        InputError: what the reader raises, or no baseline.
        AgentRouterError: a worker ended before its time.
    """
    whole = Replay(job.policy, job.world, job.options)
    steps, trace = job.open_()
    thresholds = gc.get_threshold()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        if workers <= 1:
            for recorded in steps:
                whole.feed(recorded)
        else:
            for tally in _tallies(steps, job, workers):
                whole.tally.merge(tally)
    finally:
        gc.set_threshold(*thresholds)
    return whole.report(trace)


def shard_of(trajectory: str, shards: int) -> int:
    """Return which of ``shards`` replays a trajectory; the same in every process."""
    return crc32(trajectory.encode("utf-8", "surrogatepass")) % shards


def sharded(steps: Iterable[RecordedStep], shard: int, shards: int) -> Iterator[RecordedStep]:
    """Yield the steps of one shard's trajectories, in order."""
    for recorded in steps:
        if shard_of(recorded.step.trajectory_id, shards) == shard:
            yield recorded


class _Worker:
    """One process, the steps on their way to it, and the pipe its tally comes back through."""

    def __init__(self, job: Job, shards: int) -> None:
        context = get_context("spawn")
        # Each process may keep its share of the live states, so that memory stays what it was.
        kept = max(1, job.options.live_trajectories // shards)
        options = msgspec.structs.replace(job.options, live_trajectories=kept)
        self.queue: Queue[_Batch] = context.Queue(WAITING)
        self.result, sender = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=_work, args=(self.queue, sender, job.policy, job.world, options), daemon=True
        )
        self.process.start()
        sender.close()
        self._waiting: list[RecordedStep] = []

    def send(self, recorded: RecordedStep) -> None:
        self._waiting.append(recorded)
        if len(self._waiting) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        try:
            batch: _Batch = msgspec.msgpack.encode(self._waiting)
        except UnicodeEncodeError:
            batch = self._waiting
        self._waiting = []
        self._put(batch)

    def tally(self) -> Tally:
        self.flush()
        self._put(None)
        try:
            tally: Tally = self.result.recv()
        except EOFError:
            raise self._dead() from None
        self.process.join()
        return tally

    def stop(self) -> None:
        """End the process, if it has not ended by itself."""
        self.queue.cancel_join_thread()
        if self.process.is_alive():
            self.process.terminate()
        self.process.join()
        self.result.close()

    def _put(self, batch: _Batch) -> None:
        while True:
            try:
                return self.queue.put(batch, timeout=1.0)
            except Full:
                if not self.process.is_alive():
                    raise self._dead() from None

    def _dead(self) -> AgentRouterError:
        self.process.join()
        return AgentRouterError(f"a replay process ended with exit code {self.process.exitcode}; see its error above")


def _tallies(steps: Iterable[RecordedStep], job: Job, count: int) -> list[Tally]:
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(job, count) for _ in range(count))
        for recorded in steps:
            workers[shard_of(recorded.step.trajectory_id, count)].send(recorded)
        for worker in workers:
            worker.flush()
        return [worker.tally() for worker in workers]
    finally:
        for worker in workers:
            worker.stop()


def _work(queue: Queue[_Batch], sender: Connection, policy: Policy, world: World, options: ReplayOptions) -> None:
    """Replay what comes through the queue until its end, then send the sums back."""
    gc.set_threshold(_GC_THRESHOLD)
    engine = Replay(policy, world, options)
    decoder = msgspec.msgpack.Decoder(list[RecordedStep])
    while (batch := queue.get()) is not None:
        for recorded in decoder.decode(batch) if isinstance(batch, bytes) else batch:
            engine.feed(recorded)
    engine.tally.fold()
    sender.send(engine.tally)
    sender.close()
