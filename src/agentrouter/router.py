"""The front door of the library: decide a step, or run it.

Law: drives ``flow.route_flow`` and does the I/O that the flow asks for; takes no decision of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

import msgspec

from agentrouter import bill, verifiers
from agentrouter.config import Config, cache_dir, provider_keys
from agentrouter.errors import FailureKind, InputError, LedgerError
from agentrouter.flow import Flow, route_flow
from agentrouter.ledger import JoinedLedger, Ledger, NullLedger, open_ledger
from agentrouter.ledger.redact import storable
from agentrouter.policies import Policy, build
from agentrouter.providers import Provider
from agentrouter.providers.build import build_providers
from agentrouter.sessions import Sessions
from agentrouter.trajectory import World, prepare
from agentrouter.types import Call, Context, Decision, Outcome, Reply, Status, Step, StepRecord, Verdict
from agentrouter.verifiers import Verifier
from agentrouter.wire import step_from_messages

log = logging.getLogger("agentrouter")

T = TypeVar("T")


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """A decision taken without making the call."""

    context: Context
    record: StepRecord
    """The record of the step as if the chosen candidate had answered as expected; nothing was called or booked."""


class Router:
    """Routes steps.

    Args:
        world: models, hard rules, settings.
        policy: a policy, or the spec of one.
        providers: provider name -> provider; needed by ``run`` only.
        ledger: where finished steps are booked.
        clock: seconds since the epoch; a fake one makes runs repeatable.

    Use as ``async with Router(...) as router`` and ``await router.run(step)``; without an event loop as
    ``with Router(...) as router`` and ``router.run_sync(step)``. One router serves one event loop.
    """

    def __init__(
        self,
        world: World,
        policy: Policy | str,
        *,
        providers: Mapping[str, Provider] | None = None,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.world = world
        self.policy = build(policy) if isinstance(policy, str) else policy
        self.sessions = Sessions()
        self.ledger_failures = 0
        """How many steps could not be booked."""
        self._providers = dict(providers or {})
        self._callable_world = _without_providerless(world, self._providers)
        self._ledger = ledger if ledger is not None else NullLedger()
        self._clock = clock
        self._free = tuple(verifiers.load(name) for name in verifiers.FREE)
        self._door = _SyncDoor()

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a router with the config's providers, ledger and telemetry, and the keys that the environment holds.

        Raises:
            ConfigError: a provider that cannot be built; all problems at once.
            LedgerError: the ledger cannot be opened.
        """
        providers = build_providers(config.providers, keys=provider_keys(config.providers), cache_dir=cache_dir())
        return cls(config.world, config.policy, providers=providers, ledger=_ledger_of(config))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    def step(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        trajectory_id: str,
        tools: Sequence[Mapping[str, Any]] | None = None,
        role: str = "",
        **fields: Any,
    ) -> Step:
        """Make a step of messages in OpenAI chat shape, with the trajectory's next step index.

        Args:
            messages: ``[{"role": ..., "content": ...}, ...]``.
            trajectory_id: the task this step belongs to.
            tools: tools in OpenAI chat shape.
            role: the step's role; empty: inferred.
            **fields: any other field of ``Step`` (``output``, ``slo``, ``pins``, ``replayable``, ...).

        Raises:
            InputError: names the field that cannot be read.
        """
        index = self.sessions.take_index(trajectory_id)
        made = step_from_messages(
            list(messages),
            list(tools) if tools else None,
            id=f"{trajectory_id}/{index}",
            trajectory_id=trajectory_id,
            step_index=index,
            role=role,
        )
        unknown = sorted(set(fields) - set(Step.__struct_fields__))
        if unknown:
            raise InputError(f"a step has no field {unknown[0]!r}; it has {', '.join(Step.__struct_fields__)}")
        return msgspec.structs.replace(made, **fields) if fields else made

    def route(self, step: Step) -> Routed:
        """Decide a step without making the call, and go on as if the choice had answered as expected.

        Raises:
            NoCandidateError: the hard rules leave no candidate.
        """
        now = self._clock()
        context = prepare(step, self.sessions.state(step.trajectory_id), self.world, now)
        flow = route_flow(self.policy, step, context, self.world.settings)
        call = next(flow)
        usage = bill.simulate_usage(call.candidate, step.tokens, context.caches.get(call.candidate.name), now)
        record = _finish(flow, Outcome(usage=usage, committed=True))
        self.sessions.finish(record, now)
        return Routed(context=context, record=record)

    def decide(self, step: Step) -> Decision:
        """Return the policy's first decision on a step and change nothing."""
        context = prepare(step, self.sessions.state(step.trajectory_id), self.world, self._clock())
        return self.policy.decide(step, context)

    async def run(self, step: Step, *, checks: Sequence[Verifier] = (), budget_nusd: int | None = None) -> StepRecord:
        """Route a step: decide, call, check, escalate or fall back, book.

        Args:
            step: the step.
            checks: further verifiers for this step only (a test to run, a parser), after the free ones.
            budget_nusd: what may be spent on this step at most.

        Raises:
            NoCandidateError: the hard rules leave no candidate, or none whose provider is configured; nothing was
                called and nothing is booked.
        """
        now = self._clock()
        state = self.sessions.state(step.trajectory_id)
        context = prepare(step, state, self._callable_world, now, budget_nusd=budget_nusd)
        flow = route_flow(self.policy, step, context, self.world.settings)
        call = next(flow)
        while True:
            outcome = Outcome()
            try:
                outcome = await self._answered(call)
                outcome = await self._verified(call, outcome, checks)
            except asyncio.CancelledError:
                # The caller has gone: what was spent so far (an answer that was being checked, too) is booked before
                # the cancellation goes on.
                gone = msgspec.structs.replace(outcome, status=Status.CANCELLED, failure=FailureKind.CANCELLED)
                self._book(_finish(flow, gone), now)
                raise
            try:
                call = flow.send(outcome)
            except StopIteration as stop:
                record: StepRecord = stop.value
                self._book(record, now)
                return record

    def run_sync(self, step: Step, *, checks: Sequence[Verifier] = (), budget_nusd: int | None = None) -> StepRecord:
        """As ``run``, for code without an event loop."""
        return self._door.run(self.run(step, checks=checks, budget_nusd=budget_nusd))

    async def close(self) -> None:
        """Close providers and ledger."""
        for provider in self._providers.values():
            await provider.close()
        self._ledger.close()

    def close_sync(self) -> None:
        """As ``close``, for code without an event loop."""
        self._door.run(self.close())
        self._door.stop()

    async def _answered(self, call: Call) -> Outcome:
        """Make the call; a provider that raises, or reports usage that cannot be, has failed to answer."""
        provider = self._providers[call.candidate.provider]
        try:
            outcome = await provider.send(call)
            bill.price_usage(outcome.usage, call.candidate.price)
            if (outcome.recorded_cost_nusd or 0) < 0:
                raise ValueError(f"it reports a cost of {outcome.recorded_cost_nusd} nano-dollars")
        except Exception as error:  # named in test_architecture: a broken provider must not lose the step
            kind = FailureKind.TIMEOUT if isinstance(error, TimeoutError) else FailureKind.SERVER_ERROR
            detail = f"provider {call.candidate.provider} broke: {type(error).__name__}: {error}"
            log.error("step %s: %s", storable(call.step.id), storable(detail))
            log.debug("where provider %s broke", call.candidate.provider, exc_info=error)
            return Outcome(status=Status.ERROR, failure=kind, failure_detail=detail[:500])
        return outcome

    async def _verified(self, call: Call, outcome: Outcome, checks: Sequence[Verifier]) -> Outcome:
        if outcome.status is not Status.OK:
            return outcome
        chosen = [verifiers.load(name) for name in call.verify] if call.verify else list(self._free)
        verdicts = [self._checked(verifier, call.step, outcome.reply) for verifier in chosen]
        for check in checks:
            if all(verdict.passed for verdict in verdicts):
                # A caller's own check may run code or a model: off the event loop, and only if the free ones passed.
                verdicts.append(await asyncio.to_thread(self._checked, check, call.step, outcome.reply))
        return msgspec.structs.replace(outcome, verdicts=(*outcome.verdicts, *verdicts))

    def _checked(self, verifier: Verifier, step: Step, reply: Reply) -> Verdict:
        try:
            verdict = verifier.check(step, reply)
        except Exception as error:  # noqa: BLE001 - named in test_architecture: a broken verifier must not break a step
            return verifiers.broken(verifier.name, f"{type(error).__name__}: {error}")
        if not math.isfinite(verdict.p_good):
            return verifiers.broken(verifier.name, f"gave P(good) = {verdict.p_good}")
        return verdict

    def _book(self, record: StepRecord, now: float) -> None:
        self.sessions.finish(record, now)
        try:
            self._ledger.append(record)
        except LedgerError as error:
            # A step is not broken by its bookkeeping, but it is not silent either.
            self.ledger_failures += 1
            log.error("step %s was not booked: %s", record.step.id, error)


def _ledger_of(config: Config) -> Ledger:
    """Open what the config books steps in: the file, the collector, both or neither."""
    ledgers: list[Ledger] = []
    if config.ledger.path:
        ledgers.append(open_ledger(config.ledger.path, store_content=config.ledger.store_content))
    if config.telemetry_endpoint:
        from agentrouter.ledger.otel import SpanLedger  # the SDK takes a tenth of a second to import

        ledgers.append(SpanLedger(config.telemetry_endpoint))
    return JoinedLedger(ledgers) if ledgers else NullLedger()


def _without_providerless(world: World, providers: Mapping[str, Provider]) -> World:
    """Bar candidates that nobody could call, so that neither a policy nor a fallback runs into one."""
    known = ", ".join(sorted(providers)) or "none"
    missing = {
        candidate.name: f"provider {candidate.provider!r} is not configured (configured: {known})"
        for candidate in world.catalog.candidates
        if candidate.provider not in providers
    }
    return msgspec.structs.replace(world, unhealthy={**world.unhealthy, **missing}) if missing else world


def _finish(flow: Flow, outcome: Outcome) -> StepRecord:
    """Send the last outcome of a flow and return its record."""
    try:
        flow.send(outcome)
    except StopIteration as stop:
        record: StepRecord = stop.value
        return record
    raise AssertionError("the flow asked for another call after a committed or cancelled one")


class _SyncDoor:
    """An event loop in a thread of its own, started when first used: providers keep their connections between calls,
    which a new loop for each call would cut.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            coroutine.close()
            raise RuntimeError("run_sync would block the running event loop; use: await router.run(step)")
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="agentrouter", daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def stop(self) -> None:
        with self._lock:
            if self._loop is not None and self._thread is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()
                self._loop = self._thread = None
