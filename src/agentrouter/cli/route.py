"""``agentrouter route``: JSON lines in, decisions out."""

from __future__ import annotations

import codecs
import sys
import time
from typing import Any, BinaryIO

import msgspec

from agentrouter.config import load_config
from agentrouter.errors import AgentRouterError, InputError
from agentrouter.policies import Policy
from agentrouter.router import Router
from agentrouter.types import Step, Tier
from agentrouter.wire import step_from_messages


class StepLine(msgspec.Struct, kw_only=True):
    """One line of input. Other keys are ignored, so that rows of a step table can be fed as they are."""

    id: str | int
    messages: msgspec.Raw
    tools: msgspec.Raw = msgspec.Raw(b"null")
    role: str | None = None
    trajectory_id: str | int | None = None
    step_index: int | None = None
    context_chars: int | None = None


class RouteLine(msgspec.Struct, kw_only=True):
    """One line of output."""

    id: str | int
    tier: str
    model: str
    scores: dict[str, float]
    """P(ok) by tier; empty where the policy scores nothing."""
    probabilities: dict[str, float]
    """Of every legal candidate, by its name."""
    reason: str
    policy: str
    overhead_ms: float


class ErrorLine(msgspec.Struct, kw_only=True):
    """What a bad line gives."""

    id: str | int | None
    error: str


_DECODER = msgspec.json.Decoder(StepLine)


def run(config: str | None, policy: str | None) -> int:
    """Route stdin to stdout; return the exit code."""
    loaded = load_config(config, policy=policy)
    router = Router(loaded.world, loaded.policy)
    bad = 0
    encoder = msgspec.json.Encoder()
    source: BinaryIO = sys.stdin.buffer
    for number, line in enumerate(source, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        answer = route_line(router, loaded.policy, line, number)
        bad += isinstance(answer, ErrorLine)
        # One flush a line: the caller may wait for each decision before it sends the next step.
        sys.stdout.buffer.write(encoder.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    if bad:
        sys.stderr.write(f'{bad} bad line{"s" if bad > 1 else ""}; each has an "error" in the output\n')
    return 1 if bad else 0


def route_line(router: Router, policy: Policy, line: bytes, number: int) -> RouteLine | ErrorLine:
    """Route one line, or say what is wrong with it."""
    started = time.perf_counter_ns()
    given: str | int | None = None
    try:
        parsed = decode_line(line, number)
        given = parsed.id
        record = router.route(step_of(parsed, router)).record
    except AgentRouterError as error:
        if given is None:
            given = _id_of(line)
        message = str(error.at(line=number)) if isinstance(error, InputError) else f"line {number}: {error}"
        return ErrorLine(id=given, error=message)
    decision = record.decisions[0]
    served = record.attempts[0].candidate
    legal = [
        each for each in router.world.catalog.candidates if each.name not in {x.candidate for x in record.excluded}
    ]
    return RouteLine(
        id=parsed.id,
        tier=served.tier.label,
        model=served.name,
        scores=_by_tier(decision.scores.p_ok) if decision.scores is not None else {},
        probabilities={each.name: decision.probabilities.get(each.name, 0.0) for each in legal},
        reason=f"{decision.reason.value}: {decision.detail}" if decision.detail else decision.reason.value,
        policy=policy.name,
        overhead_ms=round((time.perf_counter_ns() - started) / 1e6, 4),
    )


def decode_line(line: bytes, number: int) -> StepLine:
    """Read one line of input.

    Raises:
        InputError: names the line and the field.
    """
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise InputError(message[:1].lower() + message[1:], line=number, field=place.rstrip("`").lstrip(".")) from None
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start} of a string)", line=number) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"not a JSON object: {error}", line=number) from None


def step_of(line: StepLine, router: Router) -> Step:
    """Make the step of a line; without a trajectory id each line is a trajectory of its own.

    Raises:
        InputError: names the field.
    """
    for name, value in (("step_index", line.step_index), ("context_chars", line.context_chars)):
        if value is not None and not 0 <= value <= 10**12:
            raise InputError(f"expected a count from 0 to 10^12, got {value}", field=name)
    trajectory = str(line.id if line.trajectory_id is None else line.trajectory_id)
    index = line.step_index
    if index is None:
        index = router.sessions.take_index(trajectory)
    tools = _text_of(line.tools)
    return step_from_messages(
        _text_of(line.messages),
        None if tools in ("null", '""') else tools,
        id=str(line.id),
        trajectory_id=trajectory,
        step_index=index,
        role=line.role or "unknown",
        context_chars=line.context_chars or 0,
    )


def _text_of(raw: msgspec.Raw) -> str:
    """Return a value's JSON text; a step table holds lists as JSON text in a string, which is unwrapped."""
    text = bytes(raw).decode("utf-8", "surrogatepass")
    if not text.startswith('"'):
        return text
    inner: str = msgspec.json.decode(raw, type=str)
    return inner if inner.lstrip().startswith("[") else text


def _id_of(line: bytes) -> str | int | None:
    """Fish the id out of a line that could not be used, so that its sender can tell which one it was."""

    class OnlyId(msgspec.Struct):
        id: Any = None

    try:
        found = msgspec.json.decode(line, type=OnlyId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, str | int) else None


def _by_tier(values: tuple[float, ...]) -> dict[str, float]:
    return {tier.label: value for tier, value in zip(Tier, values, strict=True)}
