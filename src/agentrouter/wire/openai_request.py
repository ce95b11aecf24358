"""A ``Step`` as the body of an OpenAI chat completions request, in the dialect of a vendor.

Law: pure. The body carries everything the step holds or is refused; nothing is left out silently but a model's own
thinking, which belongs to the model that wrote it. Sampling settings are not part of a step and are not sent.
"""

from __future__ import annotations

import re
from collections import deque
from hashlib import blake2b
from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.types import Candidate, Capability, Message, OutputContract, Step, Tool
from agentrouter.wire.json_text import encode_text


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Where a vendor's chat completions differ from the others'."""

    limit_field: str = "max_tokens"
    """The field of the output limit: ``max_tokens`` or ``max_completion_tokens``."""
    structured: str = "schema"
    """What ``response_format`` can hold the model to: ``schema``, ``object`` (any JSON) or ``none``. Below ``schema``
    a system message asks for the form, and the verifier checks it."""
    developer_role: bool = False
    """The vendor knows the role ``developer``; for the others it becomes ``system``."""
    logprobs: bool = True
    """Log-probabilities may be asked for; False: the field is refused or ignored."""
    some_tool: str = "required"
    """The ``tool_choice`` that means: call some tool."""
    short_call_ids: bool = False
    """Ids of tool calls must be nine letters or digits."""
    call_signature: str = ""
    """What stands for the thought signature that the model wants with its earlier tool calls and that we do not
    keep."""


_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SHORT_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_TOOL_ERROR = "Tool error: "
_NO_ARGUMENTS = msgspec.Raw(b'{"type":"object","properties":{}}')
_OBJECTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def request_body(step: Step, candidate: Candidate, dialect: Dialect) -> bytes:
    """Return the JSON body that asks ``candidate`` to take ``step``, without streaming.

    Args:
        step: the step.
        candidate: gives the model's name, the limit of its output, and whether log-probabilities are wanted.
        dialect: of the vendor.

    Raises:
        InputError: the step cannot be written as it is: it holds images or files (their bytes are not part of a
            ``Step``), a tool that only its own vendor runs, a schema that is not JSON, or a forced tool that is not
            among its tools. ``field`` names the place.
    """
    _refuse_attachments(step.messages)
    body: dict[str, Any] = {"model": candidate.model, "messages": _messages(step, dialect)}
    if step.tools:
        body["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(step.tools)]
    contract = step.output
    if contract.form == "tool":
        body["tool_choice"] = _tool_choice(step, dialect)
    response_format = _response_format(contract, dialect)
    if response_format is not None:
        body["response_format"] = response_format
    limit = output_limit(step, candidate)
    if limit:
        body[dialect.limit_field] = limit
    if dialect.logprobs and Capability.LOGPROBS in candidate.capabilities:
        body["logprobs"] = True
    return encode_text(body, "")


def output_limit(step: Step, candidate: Candidate) -> int:
    """Return the output limit to send, tokens; 0: none, since the caller set none."""
    return min(step.output.max_tokens, candidate.max_output) if step.output.max_tokens else 0


def _refuse_attachments(messages: tuple[Message, ...]) -> None:
    for i, message in enumerate(messages):
        if message.images or message.files:
            what = f"{message.images} images and {message.files} files"
            raise InputError(
                f"holds {what}, whose bytes are not part of a step: they cannot be sent on, and the step is not sent "
                "without them",
                field=f"messages[{i}]",
            )


def _messages(step: Step, dialect: Dialect) -> list[dict[str, Any]]:
    ids = _CallIds(dialect)
    listed = [_message(message, i, ids, dialect) for i, message in enumerate(step.messages)]
    instruction = _form_instruction(step.output, dialect)
    return [{"role": "system", "content": instruction}, *listed] if instruction else listed


def _message(message: Message, i: int, ids: _CallIds, dialect: Dialect) -> dict[str, Any]:
    if message.role == "tool":
        # The dialect has no field for a tool's failure, and the model must know of it.
        text = _TOOL_ERROR + message.text if message.is_error else message.text
        return {"role": "tool", "tool_call_id": ids.answered(message.tool_call_id), "content": text}
    role = "system" if message.role == "developer" and not dialect.developer_role else message.role
    if message.role != "assistant" or not message.tool_calls:
        return {"role": role, "content": message.text}
    calls: list[dict[str, Any]] = [
        {
            "id": ids.made(call.id, f"{i}.{j}"),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments or "{}"},
        }
        for j, call in enumerate(message.tool_calls)
    ]
    if dialect.call_signature:
        calls[0]["extra_content"] = {"google": {"thought_signature": dialect.call_signature}}
    return {"role": "assistant", "content": message.text or None, "tool_calls": calls}


class _CallIds:
    """Ids of tool calls as the vendor takes them: another vendor's ids are mapped, missing ones made up."""

    def __init__(self, dialect: Dialect) -> None:
        self._short = dialect.short_call_ids
        self._open: deque[str] = deque()
        """Made-up ids that no result has answered yet; results without an id answer them in order."""

    def made(self, given: str, place: str) -> str:
        if given:
            return self._fitting(given)
        self._open.append(f"call.{place}")
        return self._fitting(self._open[-1])

    def answered(self, given: str) -> str:
        if given:
            return self._fitting(given)
        return self._fitting(self._open.popleft() if self._open else "call.unknown")

    def _fitting(self, text: str) -> str:
        if (_SHORT_CALL_ID if self._short else _CALL_ID).fullmatch(text):
            return text
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return digest[:9] if self._short else f"call_{digest}"


def _tool(tool: Tool, field: str) -> dict[str, Any]:
    if tool.kind != "function":
        raise InputError(
            f"tool {tool.name!r} is of kind {tool.kind!r}, which chat completions cannot carry", field=f"{field}.type"
        )
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = _schema(tool.parameters, f"{field}.parameters") if tool.parameters else _NO_ARGUMENTS
    return {"type": "function", "function": function}


def _tool_choice(step: Step, dialect: Dialect) -> object:
    name = step.output.tool
    if not name:
        return dialect.some_tool
    if all(tool.name != name for tool in step.tools):
        known = ", ".join(tool.name for tool in step.tools) or "none"
        raise InputError(f"the forced tool {name!r} is not among the tools ({known})", field="tool_choice")
    return {"type": "function", "function": {"name": name}}


def _response_format(contract: OutputContract, dialect: Dialect) -> dict[str, Any] | None:
    if contract.form not in ("json", "json_schema") or dialect.structured == "none":
        return None
    if contract.form == "json" or dialect.structured == "object" or not contract.schema:
        return {"type": "json_object"}
    schema = _schema(contract.schema, "response_format")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _form_instruction(contract: OutputContract, dialect: Dialect) -> str:
    """Return the sentence that asks for the form where ``response_format`` cannot; empty: it can."""
    if contract.form == "json_schema" and dialect.structured != "schema" and contract.schema:
        return f"Answer with JSON only. It must fit this JSON Schema: {bytes(_schema(contract.schema, '')).decode()}"
    if contract.form in ("json", "json_schema") and dialect.structured != "schema":
        return "Answer with JSON only."
    return ""


def _schema(text: str, field: str) -> msgspec.Raw:
    """Return a schema's own text, to be written as it stands (key order and numbers are part of it)."""
    try:
        raw = text.encode("utf-8")
        _OBJECTS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(f"the JSON Schema is not a JSON object: {error}"[:200], field=field) from None
    return msgspec.Raw(raw)
