"""Running a model file in this process: the ``Engine`` protocol and its llama.cpp implementation.

Law: nothing is loaded at import; xllamacpp is imported when the first model is loaded, and nowhere else in the package.
An engine serves one request at a time (its caller holds a lock) and blocks its thread. Several engines may be loaded.

Repeatability: at temperature 0 the same requests, in the same order, on a fresh engine give the same output. Whether a
prefix came from the cache changes how the arithmetic is grouped, so log-probabilities move by some hundredths and a
near tie may fall the other way; ``EngineOptions(reuse_prefix=False)`` makes a request independent of those before it.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agentrouter.errors import FailureKind, MissingExtraError, ModelFileError, ProviderError

MAX_THREADS = 8
"""Decoding is bound by memory bandwidth; more threads than this only burn power on the machines we know."""


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is loaded."""

    context_tokens: int = 8_192
    """Prompt and answer together."""
    threads: int = 0
    """0: physical cores less one, at least one and at most ``MAX_THREADS``. On a machine whose cores are shared, one
    thread too many is far worse than one too few: llama.cpp's threads wait for the slowest of them at every layer."""
    reuse_prefix: bool = True
    """Keep the computed prompt and skip the part that the next prompt shares with it."""
    prefix_store_mb: int = 512
    """Memory for the prompts of other trajectories, so that trajectories taking turns keep their prefixes."""
    batch_tokens: int = 128
    """Prompt tokens per batch; a request can be cancelled between batches."""


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message as the model's chat template takes it."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    text: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One generation."""

    messages: tuple[ChatMessage, ...]
    schema: str = ""
    """JSON Schema, as JSON text, that the output must fit; empty: free text."""
    max_tokens: int = 1_024
    temperature: float = 0.0
    seed: int = 0


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What came out, and what it took."""

    text: str
    finish: str
    """``stop``, or ``length``: the token limit or the end of the context was reached."""
    logprobs: tuple[float, ...]
    """Log-probability the model gave each output token, before any schema narrowed the choice."""
    prompt_tokens: int
    cached_tokens: int
    """Part of ``prompt_tokens`` that was not computed again."""
    completion_tokens: int
    prefill_ms: float
    decode_ms: float
    ttft_ms: float
    """From the call to the first token of the answer; 0: there was none."""


def _never() -> bool:
    return False


class Engine(Protocol):
    """One model that can be run."""

    def load(self) -> None:
        """Load the model if it is not loaded.

        Raises:
            ModelFileError: the file is missing or is not a model that llama.cpp can load.
            MissingExtraError: the runtime is not installed.
        """
        ...

    def generate(self, request: Request, cancelled: Callable[[], bool] = _never) -> Generation:
        """Run one request; ``cancelled`` is asked between batches and between tokens.

        Raises:
            ProviderError: of kind ``context_window`` (nothing was computed), ``bad_request``,
                ``cancelled``, ``server_error`` or ``unreadable``.
        """
        ...

    def close(self) -> None:
        """Free the model; a later ``load`` loads it again."""
        ...


class LlamaEngine:
    """llama.cpp in this process, through the xllamacpp wheel.

    Its server also listens on a loopback port; a random key that nobody is told keeps everyone out.
    """

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        self._path = path
        self._options = options or EngineOptions()
        self._server: Any = None

    def load(self) -> None:
        """Load the model if it is not loaded."""
        if self._server is None:
            if not self._path.is_file():
                raise ModelFileError(f"there is no model file at {self._path}")
            self._server = _start(self._path, self._options)

    def generate(self, request: Request, cancelled: Callable[[], bool] = _never) -> Generation:
        """Run one request on the loaded model, loading it first if need be."""
        self.load()
        reader = _Reader(cancelled)
        try:
            self._server.handle_chat_completions(_body(request, self._options), reader.receive)
        except ValueError as error:
            # xllamacpp raises this for a schema that llama.cpp cannot turn into a grammar.
            raise ProviderError(f"the model cannot be held to this schema: {error}", FailureKind.BAD_REQUEST) from error
        except RuntimeError as error:
            raise ProviderError(f"llama.cpp failed: {error}", FailureKind.SERVER_ERROR) from error
        return reader.result()

    def close(self) -> None:
        """Free the model."""
        self._server = None


class _Reader:
    """Collects one streamed answer. ``receive`` runs inside llama.cpp's call, so it must not raise."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self._started = time.perf_counter()
        self._first_token = 0.0
        self._text: list[str] = []
        self._logprobs: list[float] = []
        self._finish = ""
        self._last: dict[str, Any] = {}
        self._failure: ProviderError | None = None

    def receive(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk; True stops the generation."""
        if "error" in chunk:
            self._failure = _failure(chunk["error"])
            return True
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta") or {}
            text = delta.get("content") or delta.get("reasoning_content") or ""
            if text and not self._text:
                self._first_token = time.perf_counter()
            self._text += [text] if text else []
            self._logprobs += [float(token["logprob"]) for token in (choice.get("logprobs") or {}).get("content") or ()]
            self._finish = choice.get("finish_reason") or self._finish
        if "usage" in chunk:
            self._last = chunk
        if self._cancelled():
            self._failure = ProviderError("the request was cancelled", FailureKind.CANCELLED)
        return self._failure is not None

    def result(self) -> Generation:
        if self._failure is not None:
            raise self._failure
        if not self._last:
            raise ProviderError("llama.cpp ended the answer without its usage", FailureKind.UNREADABLE)
        usage, timings = self._last["usage"], self._last.get("timings", {})
        return Generation(
            text="".join(self._text),
            finish="length" if self._finish == "length" else "stop",
            logprobs=tuple(self._logprobs),
            prompt_tokens=usage["prompt_tokens"],
            cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
            completion_tokens=usage["completion_tokens"],
            prefill_ms=float(timings.get("prompt_ms", 0.0)),
            decode_ms=float(timings.get("predicted_ms", 0.0)),
            ttft_ms=(self._first_token - self._started) * 1e3 if self._first_token else 0.0,
        )


def _failure(error: dict[str, Any]) -> ProviderError:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return ProviderError(
            f"the prompt has {error.get('n_prompt_tokens')} tokens; the model was loaded with {error.get('n_ctx')}",
            FailureKind.CONTEXT_WINDOW,
        )
    kind = FailureKind.BAD_REQUEST if error.get("code") == 400 else FailureKind.SERVER_ERROR
    return ProviderError(message, kind)


def _body(request: Request, options: EngineOptions) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.text} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "logprobs": True,
        "top_logprobs": 1,
        "cache_prompt": options.reuse_prefix,
        "stream": True,
        "stream_options": {"include_usage": True},
        # Without progress chunks nothing is called during prefill, and a request could not be cancelled there.
        "return_progress": True,
    }
    if request.schema:
        schema = msgspec.json.decode(request.schema)
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    return body


_LOADING = threading.Lock()
"""llama.cpp's start-up touches process-wide state (log level, backends), so models are started one at a time."""


def _start(path: Path, options: EngineOptions) -> Any:
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("xllamacpp", "local") from error
    threads = options.threads or default_threads()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = options.context_tokens
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = options.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = options.prefix_store_mb if options.reuse_prefix else 0
    params.cache_prompt = options.reuse_prefix
    params.warmup = False
    params.verbosity = -1
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 1
    params.api_keys = [secrets.token_hex(32)]
    try:
        with _LOADING:
            return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelFileError(
            f"llama.cpp could not load {path}: {error} Check the file with: agentrouter models verify"
        ) from error


def default_threads() -> int:
    """Return the physical cores this process may use less one, within 1 and ``MAX_THREADS``."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(cpu) for cpu in allowed}
    return max(1, min(MAX_THREADS, len(cores) - 1))


def _siblings(cpu: int) -> str:
    """Return a name shared by the hardware threads of one core (Linux); elsewhere every thread counts as a core."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return str(cpu)
