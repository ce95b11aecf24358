"""The provider of embedded models: small models that run in this process, at no price and without a network.

Law: returns an ``Outcome``, raises nothing for what a model does. A model is loaded at its first call, once a process;
calls to one model wait for each other, calls to different models do not. Must not import xllamacpp.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from agentrouter.errors import FailureKind, MissingExtraError, ModelFileError, ProviderError
from agentrouter.providers.engine import Engine, EngineOptions, LlamaEngine
from agentrouter.providers.local_dialect import reply_from_generation, request_from_step, shape_of
from agentrouter.providers.store import ModelStore
from agentrouter.types import Call, Outcome, Status, Usage

MakeEngine = Callable[[Path, EngineOptions], Engine]


class Local:
    """Embedded models by their names in the store; a candidate ``local/qwen2.5-coder-0.5b`` runs that model.

    Args:
        store: where the model files lie. Files are never fetched here: a missing one is a failure that says how.
        options: how every model is loaded.
        name: the provider's name.
        timeout_s: limit of one call, waiting for the model's turn included; 0: none.
        make_engine: what runs a model file.
    """

    def __init__(
        self,
        store: ModelStore,
        *,
        options: EngineOptions | None = None,
        name: str = "local",
        timeout_s: float = 0.0,
        make_engine: MakeEngine = LlamaEngine,
    ) -> None:
        self.name = name
        self._store = store
        self._options = options or EngineOptions()
        self._timeout_s = timeout_s
        self._make_engine = make_engine
        self._slots: dict[str, _Slot] = {}
        self._guard = threading.Lock()

    async def send(self, call: Call) -> Outcome:
        """Run the call's model in its worker thread; a cancelled task stops the model at its next token or batch."""
        started = time.perf_counter()
        abandoned = threading.Event()
        try:
            slot = self._slot(call.candidate.model)
        except ModelFileError as error:
            return _failed(error, started)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(slot.worker, self._run, slot.engine, call, started, abandoned.is_set)
        try:
            return await asyncio.wait_for(work, self._timeout_s or None)
        except TimeoutError:
            late = ProviderError(f"no complete answer within {self._timeout_s:g} s", FailureKind.TIMEOUT)
            return _failed(late, started)
        finally:
            abandoned.set()

    async def close(self) -> None:
        """Free all models, each after the call it is working on; a later call loads its model again."""
        with self._guard:
            slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            await asyncio.to_thread(slot.worker.shutdown)
            slot.engine.close()

    def _run(self, engine: Engine, call: Call, started: float, abandoned: Callable[[], bool]) -> Outcome:
        waited_ms = (time.perf_counter() - started) * 1e3
        limit = max(1, min(call.candidate.max_output, self._options.context_tokens))
        try:
            if abandoned():
                raise ProviderError("the call was cancelled before its turn", FailureKind.CANCELLED)
            shape = shape_of(call.step)
            generation = engine.generate(request_from_step(call.step, max_tokens=limit), abandoned)
        except (ProviderError, ModelFileError, MissingExtraError) as error:
            return _failed(error, started)
        # At the caller's own limit the answer is what was asked for; the free checks still see that it was cut.
        asked = call.step.output.max_tokens
        cut = generation.finish == "length" and not (asked and generation.completion_tokens >= asked)
        return Outcome(
            status=Status.TRUNCATED if cut else Status.OK,
            reply=reply_from_generation(generation, shape, call_id=f"call_{call.step.id}_{call.number}"),
            usage=Usage(
                fresh_input=generation.prompt_tokens - generation.cached_tokens,
                cache_read=generation.cached_tokens,
                output=generation.completion_tokens,
            ),
            latency_ms=(time.perf_counter() - started) * 1e3,
            ttft_ms=waited_ms + generation.ttft_ms if generation.ttft_ms else 0.0,
        )

    def _slot(self, model: str) -> _Slot:
        """Return the model's slot, made at its first call.

        Raises:
            ModelFileError: the store has no usable file.
        """
        path = self._store.path(model)
        with self._guard:
            if model not in self._slots:
                # One worker a model is its lock and its queue in one: calls wait there without holding a thread.
                worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"local-{model}")
                self._slots[model] = _Slot(self._make_engine(path, self._options), worker)
            return self._slots[model]


class _Slot(NamedTuple):
    """One model and the one thread that may use it."""

    engine: Engine
    worker: ThreadPoolExecutor


def _failed(error: ProviderError | ModelFileError | MissingExtraError, started: float) -> Outcome:
    # A missing file or runtime is not the caller's fault and another candidate may do: the flow falls back on it.
    kind = error.kind if isinstance(error, ProviderError) else FailureKind.SERVER_ERROR
    return Outcome(
        status=Status.CANCELLED if kind is FailureKind.CANCELLED else Status.ERROR,
        failure=kind,
        failure_detail=str(error),
        latency_ms=(time.perf_counter() - started) * 1e3,
    )
