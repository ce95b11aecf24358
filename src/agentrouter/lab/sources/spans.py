"""From a tree of spans to trajectories: which spans are calls, whose they are, and in what order they were made.

What the attributes mean is the business of a ``Convention`` (``gen_ai``, ``openinference``). Spans of a trace come in
no fixed order (children are usually exported before their parents), so traces are held back until the file ends or the
buffer is full; calls come out in the order of their start.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Protocol

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import Seen, StepCounter, recorded_tokens
from agentrouter.lab.sources.span_json import Span, spans_from
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import CallKind, Status, Step, Usage
from agentrouter.wire import step_from_messages

MAX_SPANS = 4096
"""How many spans are held back at most; then the trace that grew longest ago is given out."""
MAX_HELD_BYTES = 32 * 1024 * 1024

CALL, AGENT = "call", "agent"


class SpanCall(msgspec.Struct, kw_only=True):
    """What a convention reads from the attributes of a model call."""

    model: str = ""
    provider: str = ""
    conversation: str = ""
    """Trajectory the span itself names; empty: the trace is the trajectory."""
    parent: str = ""
    """Parent trajectory the span itself names."""
    role: str = ""
    step_index: int | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    messages: list[object] | None = None
    """Prompt in OpenAI chat form."""
    tools: list[object] | None = None
    success: float | None = None
    step_id: str = ""
    """The step this call is an attempt of, where our own ledger exported it."""
    lacks: tuple[str, ...] = ()


class Convention(Protocol):
    """What one set of attribute names says of a span."""

    def kind_of(self, span: Span) -> str:
        """``call``, ``agent``, another kind, or empty where the span is not of this convention."""
        ...

    def call_of(self, span: Span) -> SpanCall:
        """Facts of a span of kind ``call``.

        Raises:
            InputError: an attribute has a value that cannot be.
        """
        ...


class SpanReader:
    """Yields the model calls of OTLP files; one instance reads the files of one import, in order."""

    def __init__(self, conventions: tuple[Convention, ...]) -> None:
        self._conventions = conventions
        self._held: OrderedDict[str, list[Span]] = OrderedDict()
        self._held_spans = 0
        self._held_bytes = 0
        self._seen = Seen()
        self._steps = StepCounter()

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the steps of one file; a trace that goes on in the next file is read as two pieces."""
        for number, text in lines.records(path, report):
            for span in spans_from(path, number, text, report):
                self._hold(span, len(text), report)
            while self._held_spans > MAX_SPANS or (self._held_bytes > MAX_HELD_BYTES and self._held):
                yield from self._give_out(path, report)
        for trace_id in sorted(self._held, key=lambda name: min(span.start for span in self._held[name])):
            self._held.move_to_end(trace_id)
        while self._held:
            yield from self._give_out(path, report)
        self._held_bytes = 0

    def _hold(self, span: Span, size: int, report: TraceReport) -> None:
        if self._seen.again((span.trace_id, span.span_id)):
            report.skipped["duplicate"] += 1
            return
        for place, convention in enumerate(self._conventions):
            span.kind = convention.kind_of(span)
            if span.kind:
                span.convention = place
                break
        trace = self._held.get(span.trace_id)
        if trace is None:
            self._held[span.trace_id] = [span]
        else:
            trace.append(span)
            self._held.move_to_end(span.trace_id)
        self._held_spans += 1
        self._held_bytes += size

    def _give_out(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        _, trace = self._held.popitem(last=False)
        self._held_bytes -= self._held_bytes * len(trace) // self._held_spans
        self._held_spans -= len(trace)
        calls = [span for span in trace if span.kind == CALL]
        if len(calls) < len(trace):
            for span in trace:
                if span.kind != CALL:
                    report.skipped[span.kind or "other span"] += 1
        if not calls:
            return
        # Most traces of plain calls are no trees: then there is nothing to look up.
        by_id = {span.span_id: span for span in trace} if any(span.parent_id for span in trace) else {}
        calls.sort(key=attrgetter("start"))
        facts = self._facts(calls, path, report)
        left_out = (_wrappers(calls, facts) | _folded(calls, facts)) if by_id else ()
        for span in calls:
            call = facts.get(span.span_id)
            if call is None:
                continue
            if span.span_id in left_out:
                report.skipped["other attempt" if call.step_id else "wrapped call"] += 1
                continue
            try:
                yield report.saw(self._step(span, call, by_id))
            except (InputError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, span.line))

    def _facts(self, calls: list[Span], path: Path, report: TraceReport) -> dict[str, SpanCall]:
        facts = {}
        for span in calls:
            try:
                facts[span.span_id] = self._conventions[span.convention].call_of(span)
            except (InputError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, span.line))
        return facts

    def _step(self, span: Span, call: SpanCall, by_id: dict[str, Span]) -> RecordedStep:
        root = call.conversation or span.trace_id or span.span_id
        agents = _agents_above(span, by_id) if by_id else []
        trajectory, parent = root, call.parent
        if len(agents) > 1:
            trajectory = f"{root}/{agents[0].span_id}"
            parent = root if len(agents) == 2 else f"{root}/{agents[1].span_id}"
        role = call.role or (_agent_name(agents[0]) if agents else "")
        index = self._steps.next(trajectory)
        if call.step_index is not None:
            index = call.step_index
        step = _bare_step(span, call, trajectory, role or "unknown", index, parent)
        lacks = call.lacks
        if not (call.model and role and span.start and (call.conversation or span.trace_id)):
            named = (("model", call.model), ("role", role), ("time", span.start))
            lacks += tuple(name for name, value in named if not value)
            lacks += () if call.conversation or span.trace_id else ("trajectory",)
        return RecordedStep(
            step=step,
            model=call.model,
            provider=call.provider,
            usage=call.usage,
            cost_nusd=call.cost_nusd,
            status=Status.ERROR if span.failed else Status.OK,
            success=call.success,
            label_level="step" if call.success is not None else "",
            latency_ms=max(0.0, (span.end - span.start) * 1000) if span.end else 0.0,
            started_at=span.start,
            lacks=lacks,
        )


def _bare_step(span: Span, call: SpanCall, trajectory: str, role: str, index: int, parent: str) -> Step:
    kind = CallKind.SUBAGENT if parent else CallKind.MAIN
    tokens = recorded_tokens(call.usage)
    if call.messages is None:
        return Step(
            id=call.step_id or span.span_id,
            trajectory_id=trajectory,
            index=index,
            parent_id=parent,
            role=role,
            kind=kind,
            tokens=tokens,
        )
    step = step_from_messages(
        call.messages,
        call.tools,
        id=call.step_id or span.span_id,
        trajectory_id=trajectory,
        step_index=index,
        role=role,
    )
    if call.usage is None:
        tokens = step.tokens
    return msgspec.structs.replace(step, parent_id=parent, kind=kind, tokens=tokens)


def _agents_above(span: Span, by_id: dict[str, Span]) -> list[Span]:
    """The agent spans around a call, innermost first."""
    found: list[Span] = []
    visited: set[str] = {span.span_id}
    above = by_id.get(span.parent_id)
    while above is not None and above.span_id not in visited:
        visited.add(above.span_id)
        if above.kind == AGENT:
            found.append(above)
        above = by_id.get(above.parent_id)
    return found


def _agent_name(span: Span) -> str:
    for name in ("gen_ai.agent.name", "agent.name", "graph.node.id", "traceloop.entity.name"):
        value = span.attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _wrappers(calls: list[Span], facts: dict[str, SpanCall]) -> set[str]:
    """Calls to leave out where a framework and the provider's SDK both made a span of one call.

    The inner one is the provider's own account; the outer one counts only where the inner has no usage.
    """
    out: set[str] = set()
    for span in calls:
        inner, outer = facts.get(span.span_id), facts.get(span.parent_id)
        if inner is None or outer is None or inner is outer:
            continue
        out.add(span.parent_id if inner.usage is not None or outer.usage is None else span.span_id)
    return out


def _folded(calls: list[Span], facts: dict[str, SpanCall]) -> set[str]:
    """Attempts to leave out: of the attempts of one step the last good one stands for it, with the cost of all."""
    attempts: dict[tuple[str, str], list[Span]] = {}
    for span in calls:
        call = facts.get(span.span_id)
        if call is not None and call.step_id:
            attempts.setdefault((call.conversation, call.step_id), []).append(span)
    out: set[str] = set()
    for spans in attempts.values():
        served = next((span for span in reversed(spans) if not span.failed), spans[-1])
        costs = [facts[span.span_id].cost_nusd for span in spans]
        known = [cost for cost in costs if cost is not None]
        facts[served.span_id].cost_nusd = sum(known) if len(known) == len(costs) else None
        out.update(span.span_id for span in spans if span is not served)
    return out
