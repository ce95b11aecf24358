"""The provider of embedded models: over a fake engine always, over the real files where they are present."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest

from agentrouter import config
from agentrouter.errors import FailureKind, MissingExtraError, ModelFileError, ProviderError
from agentrouter.providers.engine import (
    ChatMessage,
    Engine,
    EngineOptions,
    Generation,
    LlamaEngine,
    Request,
    default_threads,
)
from agentrouter.providers.local import Local
from agentrouter.providers.local_dialect import reply_from_generation, request_from_step, shape_of
from agentrouter.providers.model_files import ModelFile
from agentrouter.providers.store import ModelStore
from agentrouter.types import (
    AttemptKind,
    Call,
    Candidate,
    Message,
    OutputContract,
    Price,
    Status,
    Step,
    Tier,
    Tool,
    ToolCall,
    Usage,
)

T = TypeVar("T")
WEATHER = Tool(
    name="get_weather",
    description="Weather of a city",
    parameters='{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)
READ = Tool(name="read_file", parameters='{"type":"object","properties":{"path":{"type":"string"}}}')


def run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


def generation(text: str = "ok", **changes: object) -> Generation:
    values: dict[str, object] = {
        "text": text,
        "finish": "stop",
        "logprobs": (-0.1, -0.2),
        "prompt_tokens": 30,
        "cached_tokens": 20,
        "completion_tokens": 2,
        "prefill_ms": 5.0,
        "decode_ms": 4.0,
        "ttft_ms": 6.0,
    }
    return Generation(**(values | changes))  # type: ignore[arg-type]


class FakeEngine:
    """Answers from a script; remembers requests and how many calls ran at the same time."""

    def __init__(self, answer: Callable[[Request, Callable[[], bool]], Generation] | Generation) -> None:
        self.requests: list[Request] = []
        self.closed = 0
        self.busiest = self._busy = 0
        self._answer = answer

    def load(self) -> None:
        """Nothing to load."""

    def generate(self, request: Request, cancelled: Callable[[], bool] = lambda: False) -> Generation:
        self.requests.append(request)
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            return self._answer if isinstance(self._answer, Generation) else self._answer(request, cancelled)
        finally:
            self._busy -= 1

    def close(self) -> None:
        self.closed += 1


def tiny_model(name: str) -> ModelFile:
    return ModelFile(name=name, filename=f"{name}.gguf", size=4, sha256="", licence="CC0-1.0", trained_context=8)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path, models={name: tiny_model(name) for name in ("one", "two", "absent")})
    made.folder.mkdir()
    for name in ("one", "two"):
        (made.folder / f"{name}.gguf").write_bytes(b"GGUF")
    return made


def step(text: str = "hello", *, tools: tuple[Tool, ...] = (), **output: object) -> Step:
    contract = OutputContract(**output)  # type: ignore[arg-type]
    return Step(id="s1", trajectory_id="t", messages=(Message(role="user", text=text),), tools=tools, output=contract)


def call(model: str = "one", asked: Step | None = None, max_output: int = 64) -> Call:
    candidate = Candidate(
        name=f"local/{model}",
        provider="local",
        model=model,
        tier=Tier.MINIMAL,
        price=Price(input=0, output=0, cache_read=0, cache_write=0),
        max_output=max_output,
    )
    return Call(step=asked or step(), candidate=candidate, number=1, kind=AttemptKind.FIRST)


def local_with(store: ModelStore, engine: Engine, *, timeout_s: float = 0.0) -> Local:
    return Local(store, make_engine=lambda path, options: engine, timeout_s=timeout_s)


def test_text_usage_and_times(store: ModelStore) -> None:
    engine = FakeEngine(generation("Hello!"))
    outcome = run(local_with(store, engine).send(call()))
    assert outcome.status is Status.OK
    assert (outcome.reply.text, outcome.reply.finish) == ("Hello!", "stop")
    assert outcome.reply.logprobs == (-0.1, -0.2)
    assert outcome.usage == Usage(fresh_input=10, cache_read=20, output=2)
    assert outcome.latency_ms > 0
    assert outcome.ttft_ms >= 6.0
    assert engine.requests == [Request(messages=(ChatMessage(role="user", text="hello"),), max_tokens=64)]


def test_a_cut_answer_is_truncated(store: ModelStore) -> None:
    outcome = run(local_with(store, FakeEngine(generation("Hel", finish="length"))).send(call()))
    assert (outcome.status, outcome.reply.finish) == (Status.TRUNCATED, "length")


@pytest.mark.parametrize("kind", [FailureKind.CONTEXT_WINDOW, FailureKind.BAD_REQUEST, FailureKind.SERVER_ERROR])
def test_engine_failures_become_outcomes(store: ModelStore, kind: FailureKind) -> None:
    def fail(request: Request, cancelled: Callable[[], bool]) -> Generation:
        raise ProviderError("no", kind)

    outcome = run(local_with(store, FakeEngine(fail)).send(call()))
    assert (outcome.status, outcome.failure, outcome.failure_detail) == (Status.ERROR, kind, "no")


def test_missing_file_and_missing_runtime_say_what_to_do(store: ModelStore) -> None:
    def fail(request: Request, cancelled: Callable[[], bool]) -> Generation:
        raise MissingExtraError("xllamacpp", "local")

    provider = local_with(store, FakeEngine(fail))
    absent = run(provider.send(call("absent")))
    assert absent.failure is FailureKind.SERVER_ERROR
    assert "agentrouter models pull absent" in absent.failure_detail
    assert "did you mean" in run(provider.send(call("onne"))).failure_detail.lower()
    assert "pip install 'agentrouter[local]'" in run(provider.send(call())).failure_detail


def test_one_model_works_one_call_at_a_time_and_two_work_together(store: ModelStore) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(request: Request, cancelled: Callable[[], bool]) -> Generation:
        if request.messages[0].text == "meet":
            both.wait()
        time.sleep(0.01)
        return generation()

    engines: dict[str, FakeEngine] = {}

    def make(path: Path, options: EngineOptions) -> FakeEngine:
        assert path.stem not in engines, "a model must be made once"
        return engines.setdefault(path.stem, FakeEngine(meet))

    async def work() -> None:
        provider = Local(store, make_engine=make)
        await asyncio.gather(*(provider.send(call("one")) for _ in range(5)))
        await asyncio.gather(*(provider.send(call(name, step("meet"))) for name in ("one", "two")))
        await provider.close()

    run(work())
    assert [engines[name].busiest for name in ("one", "two")] == [1, 1]
    assert [engines[name].closed for name in ("one", "two")] == [1, 1]


def hold(started: threading.Event, stopped: threading.Event) -> FakeEngine:
    def wait(request: Request, cancelled: Callable[[], bool]) -> Generation:
        started.set()
        while not cancelled():
            time.sleep(0.001)
        stopped.set()
        raise ProviderError("the request was cancelled", FailureKind.CANCELLED)

    return FakeEngine(wait)


def test_a_cancelled_task_stops_the_model(store: ModelStore) -> None:
    started, stopped = threading.Event(), threading.Event()

    async def work() -> None:
        provider = local_with(store, hold(started, stopped))
        task = asyncio.create_task(provider.send(call()))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stopped.wait, 10)
        await provider.close()

    run(work())


def test_a_late_answer_is_a_timeout_also_while_waiting_for_a_turn(store: ModelStore) -> None:
    started, stopped = threading.Event(), threading.Event()
    engine = hold(started, stopped)

    async def work() -> None:
        provider = local_with(store, engine, timeout_s=0.2)
        outcomes = await asyncio.gather(*(provider.send(call()) for _ in range(3)))
        assert [outcome.failure for outcome in outcomes] == [FailureKind.TIMEOUT] * 3
        assert "within 0.2 s" in outcomes[0].failure_detail
        await provider.close()

    run(work())
    assert stopped.is_set()
    assert len(engine.requests) == 1


def test_messages_become_one_system_and_turns() -> None:
    asked = Step(
        id="s1",
        trajectory_id="t",
        messages=(
            Message(role="system", text="Be brief."),
            Message(role="developer", text="Use metres."),
            Message(role="user", text="Weather?"),
            Message(role="assistant", text="Looking.", tool_calls=(ToolCall(id="c", name="get", arguments='{"a":1}'),)),
            Message(role="tool", tool_call_id="c", text="4 degrees"),
            Message(role="tool", tool_call_id="d", text="no such city", is_error=True),
        ),
    )
    assert request_from_step(asked, max_tokens=9).messages == (
        ChatMessage(role="system", text="Be brief.\n\nUse metres."),
        ChatMessage(role="user", text="Weather?"),
        ChatMessage(role="assistant", text='Looking.\n{"tool": "get", "arguments": {"a":1}}'),
        ChatMessage(role="user", text="Tool result:\n4 degrees\n\nTool error:\nno such city"),
    )


def test_tools_become_lines_and_a_union() -> None:
    request = request_from_step(step(tools=(WEATHER, READ)), max_tokens=9)
    head = request.messages[0]
    assert head.role == "system"
    assert "- get_weather: Weather of a city arguments schema: " in head.text
    assert "If no tool is needed" in head.text
    union = json.loads(request.schema)["anyOf"]
    assert [each["required"] for each in union] == [["tool", "arguments"], ["tool", "arguments"], ["answer"]]
    assert [each["properties"]["tool"] for each in union[:2]] == [{"const": "get_weather"}, {"const": "read_file"}]
    assert union[0]["properties"]["arguments"]["additionalProperties"] is False


def test_a_forced_tool_leaves_no_other_way() -> None:
    any_tool = request_from_step(step(tools=(WEATHER, READ), form="tool"), max_tokens=9)
    assert len(json.loads(any_tool.schema)["anyOf"]) == 2
    assert "If no tool" not in any_tool.messages[0].text
    named = request_from_step(step(tools=(WEATHER, READ), form="tool", tool="read_file"), max_tokens=9)
    assert "get_weather" not in named.schema + named.messages[0].text


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        pytest.param(step(), "", id="text"),
        pytest.param(step(form="json"), '{"anyOf":[{"type":"object"},{"type":"array"}]}', id="any json"),
        pytest.param(step(form="json_schema", schema='{"type":"array"}'), '{"type":"array"}', id="schema"),
        pytest.param(
            step(tools=(WEATHER,), form="json_schema", schema='{"type":"array"}'), '{"type":"array"}', id="over tools"
        ),
    ],
)
def test_the_schema_of_other_forms(asked: Step, schema: str) -> None:
    assert request_from_step(asked, max_tokens=9).schema == schema


def test_an_argument_schema_that_is_open_stays_open() -> None:
    def arguments(parameters: str) -> dict[str, object]:
        shape = shape_of(step(tools=(Tool(name="f", parameters=parameters),)))
        found = json.loads(shape.schema)["anyOf"][0]["properties"]["arguments"]
        assert isinstance(found, dict)
        return found

    assert arguments("") == {"type": "object", "additionalProperties": True}
    assert arguments('{"properties":{"a":{}},"additionalProperties":true}')["additionalProperties"] is True
    assert "$schema" not in arguments('{"$schema":"https://json-schema.org/draft-07/schema","properties":{"a":{}}}')


REFERRING = Tool(
    name="book",
    parameters=(
        '{"type":"object","properties":{"city":{"$ref":"#/$defs/City"}},"required":["city"],'
        '"$defs":{"City":{"enum":["Oslo","Lima"]}}}'
    ),
)


def test_references_inside_a_tool_schema_still_lead_home() -> None:
    union = json.loads(shape_of(step(tools=(READ, REFERRING))).schema)
    reference = union["anyOf"][1]["properties"]["arguments"]["properties"]["city"]["$ref"]
    assert reference == "#/anyOf/1/properties/arguments/$defs/City"
    target = union
    for key in reference.removeprefix("#/").split("/"):
        target = target[int(key)] if isinstance(target, list) else target[key]
    assert target == {"enum": ["Oslo", "Lima"]}


def test_token_limits_take_the_lowest() -> None:
    assert request_from_step(step(max_tokens=5), max_tokens=9).max_tokens == 5
    assert request_from_step(step(max_tokens=50), max_tokens=9).max_tokens == 9
    assert request_from_step(step(), max_tokens=9).max_tokens == 9


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(
            step(form="json_schema", schema="{"), "the output's JSON Schema is not a JSON object", id="schema"
        ),
        pytest.param(step(tools=(Tool(name="f", parameters="[]"),)), "schema of tool 'f' is not", id="arguments"),
        pytest.param(step(tools=(READ,), form="tool", tool="write"), r"'write' .* \(read_file\)", id="no such tool"),
    ],
)
def test_bad_steps_are_bad_requests(store: ModelStore, asked: Step, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        request_from_step(asked, max_tokens=9)
    outcome = run(local_with(store, FakeEngine(generation())).send(call(asked=asked)))
    assert outcome.failure is FailureKind.BAD_REQUEST


def test_replies_are_unwrapped() -> None:
    union = shape_of(step(tools=(WEATHER,)))
    called = reply_from_generation(generation('{"tool": "get_weather", "arguments": {"city": "Oslo"}}'), union, "c1")
    assert called.tool_calls == (ToolCall(id="c1", name="get_weather", arguments='{"city":"Oslo"}'),)
    assert (called.text, called.finish) == ("", "tool_calls")
    answered = reply_from_generation(generation('{"answer": "Four."}'), union, "c1")
    assert (answered.text, answered.finish, answered.tool_calls) == ("Four.", "stop", ())
    cut = reply_from_generation(generation('{"tool": "get_wea', finish="length"), union, "c1")
    assert (cut.text, cut.finish) == ('{"tool": "get_wea', "length")
    plain = reply_from_generation(generation('{"answer": "x"}'), shape_of(step()), "c1")
    assert plain.text == '{"answer": "x"}'


def test_default_threads_leave_a_core_free() -> None:
    assert 1 <= default_threads() <= 8


def test_a_missing_file_and_a_missing_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileError, match="no model file at"):
        LlamaEngine(tmp_path / "none.gguf").load()
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agentrouter\[local\]'"):
        LlamaEngine(tmp_path / "some.gguf").load()


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra 'local'")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ModelFileError, match=r"could not load .*bad\.gguf"):
        LlamaEngine(tmp_path / "bad.gguf").load()


SMALLEST = "smollm2-135m"


@pytest.fixture(scope="module")
def smallest() -> Path:
    pytest.importorskip("xllamacpp", reason="needs the extra 'local'")
    try:
        return ModelStore(config.cache_dir()).path(SMALLEST)
    except ModelFileError as error:
        pytest.skip(str(error))


def request(text: str, **changes: object) -> Request:
    values: dict[str, object] = {"messages": (ChatMessage(role="user", text=text),), "max_tokens": 12}
    return Request(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.models
def test_the_engine_counts_reuses_repeats_and_obeys(smallest: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = LlamaEngine(smallest, EngineOptions(context_tokens=512, threads=1, reuse_prefix=False))
    long = "The order of the customer arrived late and the invoice is wrong. " * 5
    first, again = engine.generate(request(long)), engine.generate(request(long))
    assert (first.text, first.logprobs) == (again.text, again.logprobs)
    assert first.completion_tokens - len(first.logprobs) in (0, 1)  # the end token has none
    assert all(value <= 0 for value in first.logprobs)
    assert first.cached_tokens == again.cached_tokens == 0
    held = engine.generate(request("Pick.", schema='{"enum": ["alpha", "beta"]}'))
    assert json.loads(held.text) in ("alpha", "beta")
    tools = shape_of(step(tools=(READ, REFERRING), form="tool", tool="book"))
    booked = engine.generate(request("Pick.", schema=tools.schema, max_tokens=60))
    assert json.loads(booked.text)["arguments"]["city"] in ("Oslo", "Lima")
    with pytest.raises(ProviderError, match="loaded with 512") as caught:
        engine.generate(request("word " * 600))
    assert caught.value.kind is FailureKind.CONTEXT_WINDOW
    with pytest.raises(ProviderError, match="held to this schema") as caught:
        engine.generate(request("Pick.", schema='{"type": "nonsense"}'))
    assert caught.value.kind is FailureKind.BAD_REQUEST
    with pytest.raises(ProviderError) as caught:
        engine.generate(request(long, max_tokens=200), lambda: True)
    assert caught.value.kind is FailureKind.CANCELLED
    engine.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.models
def test_the_engine_reuses_prefixes_of_trajectories_taking_turns(smallest: Path) -> None:
    engine = LlamaEngine(smallest, EngineOptions(context_tokens=1024, threads=1))
    alpha, beta = "Alpha manual. " * 30, "Beta handbook. " * 30
    for text in (alpha, beta):
        engine.generate(request(text + "First question", max_tokens=2))
    for text in (alpha, beta):
        warm = engine.generate(request(text + "Second question", max_tokens=2))
        assert warm.cached_tokens > warm.prompt_tokens / 2
    engine.close()


@pytest.mark.models
def test_a_real_step_with_tools(smallest: Path) -> None:
    async def work() -> None:
        provider = Local(
            ModelStore(config.cache_dir()), options=EngineOptions(context_tokens=1024, threads=1, batch_tokens=64)
        )
        asked = step("Read README.md", tools=(READ,), form="tool", tool="read_file", max_tokens=60)
        outcome = await provider.send(call(SMALLEST, asked))
        assert outcome.reply.finish in ("tool_calls", "length")
        assert all(made.name == "read_file" for made in outcome.reply.tool_calls)
        assert outcome.usage.input_total > 0
        await provider.close()

    run(work())
