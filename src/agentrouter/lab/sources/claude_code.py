"""Claude Code transcripts: the ``.jsonl`` files of ``~/.claude/projects``.

One API call is written as several ``assistant`` lines (one a content block) that repeat the call's id and usage: it is
counted once, with the last figures, since the first lines can hold those of the stream's start. A resumed session
copies earlier calls into a new file: known ids are counted as duplicates.

What the transcript lacks: system prompt and tool schemas (so ``messages`` are the conversation only), and the cost in
versions that do not write ``costUSD``. ``started_at`` is the time of the call's first line.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import Seen, StepCounter, given, nusd_from, recorded_tokens, seconds_from
from agentrouter.lab.trace import RecordedStep, TraceReport
from agentrouter.types import CallKind, Message, Step, Usage
from agentrouter.wire import anthropic
from agentrouter.wire.usage import usage_from

_ALWAYS_LACKS = ("system", "tools", "role")
SYNTHETIC = "<synthetic>"
"""Model name of lines that the client wrote itself (errors, interruptions): no call was made."""


class _Line(msgspec.Struct, rename="camel"):
    type: str = ""
    subtype: str | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    is_sidechain: bool | None = None
    is_compact_summary: bool | None = None
    timestamp: str | None = None
    request_id: str | None = None
    message: msgspec.Raw = msgspec.Raw()
    cost_usd: Decimal | None = msgspec.field(name="costUSD", default=None)


class _Block(msgspec.Struct):
    type: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    id: str | None = None
    model: str | None = None
    usage: dict[str, object] | None = None
    content: str | list[_Block] | None = None


class _Pending(msgspec.Struct, kw_only=True):
    """A call whose lines are still coming."""

    key: tuple[str, str]
    model: str
    usage: Usage | None
    cost_nusd: int | None
    timestamp: str
    line: int
    prompt: tuple[Message, ...]
    at: int
    """Where the answer stands in the thread's messages."""


class _Thread:
    """One conversation: the main one of a session, or a sub-agent's."""

    def __init__(self, trajectory_id: str, parent_id: str) -> None:
        self.trajectory_id, self.parent_id = trajectory_id, parent_id
        self.messages: list[Message] = []
        self.reached: dict[str, int] = {}
        """Number of messages after the line of that uuid."""
        self.pending: _Pending | None = None
        self.lost = False
        """A line of this conversation could not be read, so later prompts are incomplete."""

    def rewind(self, parent_uuid: str | None) -> None:
        """Go back to the line that a new user prompt answers, where the user edited an earlier prompt."""
        if parent_uuid is None or parent_uuid not in self.reached:
            return
        kept = self.reached[parent_uuid]
        if any(message.role == "assistant" for message in self.messages[kept:]):
            del self.messages[kept:]


_DECODE_LINE = msgspec.json.Decoder(_Line)
_DECODE_MESSAGE = msgspec.json.Decoder(_Message)


class ClaudeCodeSource:
    """Claude Code transcripts; one instance reads the files of one import."""

    name = "claude_code"

    def __init__(self) -> None:
        self._seen = Seen()
        self._steps = StepCounter()

    def sniff(self, path: Path, head: bytes) -> bool:
        """Lines with the transcript's own ids."""
        if b'"parentUuid"' not in head and b'"leafUuid"' not in head and b'"file-history-snapshot"' not in head:
            return False
        keys = lines.top_keys(head)
        return bool({b"type", b"sessionId"} & keys) and bool({b"parentUuid", b"leafUuid", b"snapshot"} & keys)

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield each call when its last line has been read."""
        threads: dict[str, _Thread] = {}
        roots: dict[str, str] = {}
        for number, line in lines.decoded(path, report, _DECODE_LINE.decode):
            if line.type not in ("user", "assistant"):
                report.skipped[line.type or "record without type"] += 1
                if line.subtype == "compact_boundary" and line.session_id in threads:
                    threads[line.session_id].messages.clear()
                continue
            thread = _thread_of(line, threads, roots, path)
            try:
                message = self._message(line, thread)
                if line.type == "user":
                    _take_user(line, message, thread)
                    report.skipped["user"] += 1
                    continue
                finished = self._take_assistant(line, message, thread, number, report)
            except (InputError, msgspec.MsgspecError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, number))
                continue
            if finished is not None:
                yield self._recorded(thread, finished, report)
        for thread in threads.values():
            if thread.pending is not None:
                yield self._recorded(thread, thread.pending, report)

    def _message(self, line: _Line, thread: _Thread) -> _Message:
        if not given(line.message):
            raise InputError("expected a message, got nothing", field="message")
        message = _DECODE_MESSAGE.decode(line.message)
        if line.timestamp:
            seconds_from(line.timestamp, "timestamp")
        return message

    def _take_assistant(
        self, line: _Line, message: _Message, thread: _Thread, number: int, report: TraceReport
    ) -> _Pending | None:
        """Note one assistant line; returns the call before it, now complete, if this line begins another."""
        if message.model == SYNTHETIC:
            report.skipped["synthetic"] += 1
            return None
        answer = _normalised(line)
        usage = usage_from("anthropic", message.usage) if message.usage else None
        cost = None if line.cost_usd is None else nusd_from(line.cost_usd, "costUSD")
        key = (message.id or line.uuid or str(number), line.request_id or "")
        pending = thread.pending
        if pending is not None and pending.key == key:
            report.skipped["continued"] += 1
            if usage is not None and (pending.usage is None or usage.output >= pending.usage.output):
                pending.usage = usage
            pending.cost_nusd = cost if cost is not None else pending.cost_nusd
            _merge(thread, pending.at, answer)
            _reach(line, thread)
            return None
        prompt, at = tuple(thread.messages), len(thread.messages)
        thread.messages.extend(answer)
        _reach(line, thread)
        if self._seen.again(key):
            report.skipped["duplicate"] += 1
            return None
        thread.pending = _Pending(
            key=key,
            model=message.model or "",
            usage=usage,
            cost_nusd=cost,
            timestamp=line.timestamp or "",
            line=number,
            prompt=prompt,
            at=at,
        )
        return pending

    def _recorded(self, thread: _Thread, call: _Pending, report: TraceReport) -> RecordedStep:
        lacks = list(_ALWAYS_LACKS)
        lacks += [
            name
            for name, missing in (
                ("usage", call.usage is None),
                ("cost", call.cost_nusd is None),
                ("time", not call.timestamp),
                ("model", not call.model),
                ("messages", not call.prompt),
            )
            if missing
        ]
        step = Step(
            id=call.key[0],
            trajectory_id=thread.trajectory_id,
            index=self._steps.next(thread.trajectory_id),
            parent_id=thread.parent_id,
            kind=CallKind.SUBAGENT if thread.parent_id else CallKind.MAIN,
            messages=call.prompt,
            tokens=recorded_tokens(call.usage),
        )
        return report.saw(
            RecordedStep(
                step=step,
                model=call.model,
                provider="anthropic" if call.model.startswith("claude") else "",
                usage=call.usage,
                cost_nusd=call.cost_nusd,
                started_at=seconds_from(call.timestamp, "timestamp") if call.timestamp else 0.0,
                lacks=tuple(lacks),
            )
        )


def _thread_of(line: _Line, threads: dict[str, _Thread], roots: dict[str, str], path: Path) -> _Thread:
    """The conversation a line belongs to: by session and agent; older versions name no agent, only a side chain."""
    session = line.session_id or path.name.removesuffix(".gz").removesuffix(".jsonl")
    agent = line.agent_id or ""
    if line.is_sidechain and not agent:
        agent = roots.get(line.parent_uuid or "", "") or line.uuid or "side"
        if line.uuid:
            roots[line.uuid] = agent
    key = f"{session}/{agent}" if line.is_sidechain else session
    if key not in threads:
        threads[key] = _Thread(key, session if line.is_sidechain else "")
    return threads[key]


def _take_user(line: _Line, message: _Message, thread: _Thread) -> None:
    answers_tool = isinstance(message.content, list) and any(block.type == "tool_result" for block in message.content)
    said = _normalised(line)
    if not answers_tool:
        if line.is_compact_summary:
            thread.messages.clear()
        thread.rewind(line.parent_uuid)
    thread.messages.extend(said)
    _reach(line, thread)


def _reach(line: _Line, thread: _Thread) -> None:
    if line.uuid:
        thread.reached[line.uuid] = len(thread.messages)


def _normalised(line: _Line) -> tuple[Message, ...]:
    body = b'{"model":"recorded","max_tokens":1,"messages":[' + bytes(line.message) + b"]}"
    try:
        return anthropic.read(body).messages
    except InputError as error:
        raise InputError(error.message, field=error.field.replace("messages[0]", "message")) from None


def _merge(thread: _Thread, at: int, more: tuple[Message, ...]) -> None:
    """Join a further content block to the answer it belongs to."""
    if not more or at >= len(thread.messages):
        return
    before, block = thread.messages[at], more[0]
    thread.messages[at] = msgspec.structs.replace(
        before,
        text="\n".join(filter(None, (before.text, block.text))),
        tool_calls=before.tool_calls + block.tool_calls,
        reasoning_chars=before.reasoning_chars + block.reasoning_chars,
    )
