"""The five feature groups of a step: role, semantics, context load, trajectory state, dependency.

Law: pure; every value comes from the step as sent and from the steps before it, so nothing that happens later can
change it. Cost is linear in the messages with a small constant: text is looked at only in bounded windows (the
``..._CHARS`` constants), and a step without messages takes no scan at all.

The groups follow "AgentRouter" (AdaptFM workshop, 2026), which says that there are five and does not name them.
"""

from __future__ import annotations

from agentrouter.observations import is_observation, looks_failed, shares
from agentrouter.roles import ROLES, canonical_role, role_from, verb_role
from agentrouter.tokens import estimate_tokens, message_tokens, prompt_tokens, tool_tokens
from agentrouter.types import (
    DependencyFeatures,
    History,
    LoadFeatures,
    Message,
    RoleFeatures,
    SemanticFeatures,
    StateFeatures,
    Status,
    Step,
    StepFeatures,
    ToolCall,
)
from agentrouter.wire.volatile import visible_text

__all__ = ["ROLES", "canonical_role", "estimate_tokens", "extract", "infer_role"]

HEAD_CHARS = 1_200
"""Characters kept from the start of the newest instruction, and of the newest observation."""
TAIL_CHARS = 800
"""Characters kept from the end of each."""
RECENT_TIERS = 4
SAMPLED_MESSAGES = 6
"""Code and data shares are measured on the newest messages, at most this many."""
CHECKED_RESULTS = 8
"""Tool results without an error flag are searched for failure texts only among this many newest ones."""
QUESTION_CHARS = 240

FAN_OUT: dict[str, float] = {
    "plan": 1.0,
    "summarise": 0.8,
    "reason": 0.7,
    "edit": 0.6,
    "retrieve": 0.5,
    "tool_call": 0.5,
    "execute": 0.5,
    "unknown": 0.5,
    "verify": 0.4,
    "chat": 0.3,
    "format": 0.2,
    "title": 0.0,
    "probe": 0.0,
}
"""How much of what follows hangs on a step of this role: a set order, not a measurement."""

_STRICTNESS = {"text": 0, "json": 1, "tool": 1, "json_schema": 2}
_ACTING_ROLES = frozenset({"tool_call", "execute"})
_LASTING = (
    "_send_",
    "_email_",
    "_pay_",
    "_purchase_",
    "_buy_",
    "_order_",
    "_book_",
    "_cancel_",
    "_refund_",
    "_publish_",
    "_deploy_",
    "_delete_",
    "_drop_",
    "_merge_",
    "_push_",
    "_submit_",
    "_remove_",
    "_withdraw_",
    "_charge_",
)
"""Words of tool names whose effect outside the agent's own workspace cannot be taken back."""
_EMPTY_SEMANTICS = SemanticFeatures(instruction="", observation="")


class _Scan:
    """What one backward walk over the messages finds."""

    __slots__ = (
        "errors",
        "files",
        "images",
        "instruction",
        "is_tool_result",
        "last_call",
        "last_is_error",
        "new_tokens",
        "observation",
        "repeated",
        "results",
        "started",
        "turns",
        "turns_since_error",
    )

    def __init__(self) -> None:
        # A message that is neither of the system nor empty has been met, so the newest of them is behind us.
        self.started = False
        self.is_tool_result = False
        self.instruction = ""
        self.observation = ""
        self.last_call: ToolCall | None = None
        self.last_is_error = False
        self.turns = self.errors = self.results = self.repeated = self.images = self.files = self.new_tokens = 0
        self.turns_since_error = -1


_NOTHING_SEEN = _Scan()


def extract(step: Step, history: History) -> StepFeatures:
    """Compute the five feature groups of a step.

    Args:
        step: the step as visible before the call; it may have no messages (token counts only).
        history: the trajectory up to, not including, this step.
    """
    messages = step.messages
    scan = _scan(messages) if messages else _NOTHING_SEEN
    verb = verb_role(scan.instruction) if scan.instruction else "unknown"
    role = step.role
    role = "" if role == "unknown" else canonical_role(role)
    if not role or role == "unknown":
        role = _inferred(step, scan, verb)
    return StepFeatures(
        role=RoleFeatures(
            role=role,
            kind=step.kind,
            verb=verb,
            is_tool_result=scan.is_tool_result,
            asks_question=bool(scan.instruction) and _asks(scan.instruction),
        ),
        semantics=SemanticFeatures(instruction=_clip(scan.instruction), observation=_clip(scan.observation))
        if messages
        else _EMPTY_SEMANTICS,
        load=_load(step, scan, history),
        state=_state(step, scan, history),
        dependency=DependencyFeatures(
            reversible=step.replayable and not (role in _ACTING_ROLES and _lasting_tools(step)),
            contract_strictness=2 if step.output.tool else _STRICTNESS.get(step.output.form, 0),
            fan_out=FAN_OUT.get(role, 0.5),
        ),
    )


def infer_role(step: Step) -> str:
    """Guess the canonical role of a step whose caller named none (its own role string is not looked at)."""
    scan = _scan(step.messages) if step.messages else _NOTHING_SEEN
    return _inferred(step, scan, verb_role(scan.instruction) if scan.instruction else "unknown")


def _inferred(step: Step, scan: _Scan, verb: str) -> str:
    last_call = scan.last_call.name if scan.last_call is not None else ""
    return role_from(
        step,
        verb,
        last_call,
        is_tool_result=scan.is_tool_result,
        last_is_error=scan.is_tool_result and scan.last_is_error,
    )


def _scan(messages: tuple[Message, ...]) -> _Scan:
    """Walk from the newest message to the oldest once."""
    scan = _Scan()
    in_turn = False
    for message in reversed(messages):
        role = message.role
        if message.images or message.files:
            scan.images += message.images
            scan.files += message.files
        if role == "assistant":
            if not in_turn:
                scan.turns += 1
                in_turn = True
            scan.started = True
            if message.tool_calls:
                _add_calls(scan, message.tool_calls)
            continue
        in_turn = False
        if not scan.turns:
            scan.new_tokens += message_tokens(message)
        if role == "tool" or (role == "user" and is_observation(message.text)):
            _add_result(scan, message)
        elif role == "user" and not scan.instruction:
            text = visible_text(message.text)
            if text:
                scan.started = True
                scan.instruction = text
    return scan


def _add_calls(scan: _Scan, calls: tuple[ToolCall, ...]) -> None:
    """Note the newest call, or count those equal to it."""
    newest = scan.last_call
    if newest is None:
        newest = scan.last_call = calls[-1]
        calls = calls[:-1]
    for call in calls:
        if call.arguments == newest.arguments and call.name == newest.name:
            scan.repeated += 1


def _add_result(scan: _Scan, message: Message) -> None:
    """Note the newest observation, and whether this one reports a failure."""
    scan.results += 1
    failed = message.is_error or (scan.results <= CHECKED_RESULTS and looks_failed(message.text))
    if not scan.started:
        scan.started = True
        scan.is_tool_result = True
    if scan.results == 1:
        scan.observation = message.text
    if failed:
        scan.errors += 1
        scan.last_is_error = scan.last_is_error or not scan.turns
        if scan.turns_since_error < 0:
            scan.turns_since_error = scan.turns


def _load(step: Step, scan: _Scan, history: History) -> LoadFeatures:
    messages, tools = step.messages, step.tools
    size = step.tokens.input
    if not messages:
        new = _new_without_text(size, history)
        code = data = 0.0
    else:
        size = size or prompt_tokens(messages, tools)
        new = min(size, scan.new_tokens) if scan.turns else size
        code, data = shares(messages[-SAMPLED_MESSAGES:])
    return LoadFeatures(
        prefix_tokens=size,
        new_tokens=new,
        n_messages=len(messages),
        n_tools=len(tools),
        tool_schema_tokens=tool_tokens(tools) if tools else 0,
        code_share=code,
        data_share=data,
        n_images=scan.images,
        n_files=scan.files,
    )


def _new_without_text(size: int, history: History) -> int:
    """Return what the prompt holds beyond the last prompt and its answer; all of it if it does not go on from there."""
    if not history.recent:
        return size
    last = history.recent[-1]
    before = last.input_tokens + last.output_tokens
    return size - before if last.input_tokens and before <= size else size


def _state(step: Step, scan: _Scan, history: History) -> StateFeatures:
    recent = history.recent
    tiers: tuple[int, ...] = ()
    foreign = 0.0
    trailing = 0
    if recent:
        tiers = tuple([past.tier for past in recent[-RECENT_TIERS:]])
        written = sum(history.output_tokens)
        if written:
            foreign = 1.0 - history.output_tokens[tiers[-1]] / written
        if recent[-1].status is not Status.OK:
            trailing = _trailing_failures(history)
    since = scan.turns_since_error
    if history.last_error_index >= 0:
        steps = max(0, step.index - history.last_error_index)
        since = steps if since < 0 else min(since, steps)
    return StateFeatures(
        step_index=step.index,
        errors=history.errors + scan.errors,
        steps_since_error=since,
        last_is_error=scan.last_is_error or trailing > 0,
        repeated_calls=scan.repeated,
        retries=step.retry + trailing,
        tool_results=scan.results,
        recent_tiers=tiers,
        switches=history.switches,
        foreign_share=foreign,
    )


def _trailing_failures(history: History) -> int:
    """Return how many of the newest steps in a row failed."""
    count = 0
    for past in reversed(history.recent):
        if past.status is Status.OK:
            break
        count += 1
    return count


def _lasting_tools(step: Step) -> bool:
    """Whether a tool's name says that its effect stays (``send_email``, ``cancel-order``)."""
    if not step.tools:
        return False
    names = "_" + "_".join([tool.name for tool in step.tools]).lower().replace("-", "_") + "_"
    # Agents' own messages to each other (Qwen Code, Claude Code) leave nothing behind.
    names = names.replace("_send_message_", "_")
    return any(word in names for word in _LASTING)


def _asks(instruction: str) -> bool:
    tail = instruction[-QUESTION_CHARS:]
    return "?" in tail or "?" in instruction[:QUESTION_CHARS]


def _clip(text: str) -> str:
    """Keep the head and the tail of a long text."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n…\n{text[-TAIL_CHARS:]}"
