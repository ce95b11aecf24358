"""What an OpenAI chat completions endpoint sends back: the reply and its usage, or why there is none.

Law: pure. Finish reasons and failures go by table; nothing is ``stop`` or ``ok`` for want of knowing better. What
cannot be read is a failure, never half an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import msgspec

from agentrouter.errors import FailureKind, InputError
from agentrouter.tokens import estimate_tokens, prompt_tokens
from agentrouter.types import Reply, Step, ToolCall, Usage
from agentrouter.wire.json_text import decode_with
from agentrouter.wire.usage import read_usage

FINISH: Mapping[str, str] = MappingProxyType(
    {
        "stop": "stop",
        "eos": "stop",
        "end_turn": "stop",
        "stop_sequence": "stop",
        "length": "length",
        "max_tokens": "length",
        "model_length": "length",
        "tool_calls": "tool_calls",
        "tool_use": "tool_calls",
        "function_call": "tool_calls",
        "content_filter": "content_filter",
        "safety": "content_filter",
        "recitation": "content_filter",
        "prohibited_content": "content_filter",
        "refusal": "refusal",
    }
)
"""The vendors' finish reasons, in lower case -> ours. Any other (``pause_turn``, null, ...) is ``unknown``."""

_FAILED_FINISH: Mapping[str, FailureKind] = MappingProxyType(
    {
        "error": FailureKind.SERVER_ERROR,
        "abort": FailureKind.SERVER_ERROR,
        "insufficient_system_resource": FailureKind.OVERLOADED,
    }
)
_STATUS: Mapping[int, FailureKind] = MappingProxyType(
    {
        401: FailureKind.AUTH,
        402: FailureKind.AUTH,  # out of credit: like a bad key, it is the account's and lasts
        403: FailureKind.AUTH,
        408: FailureKind.TIMEOUT,
        409: FailureKind.RATE_LIMIT,
        429: FailureKind.RATE_LIMIT,
        503: FailureKind.OVERLOADED,
        504: FailureKind.TIMEOUT,
        522: FailureKind.TIMEOUT,
        524: FailureKind.TIMEOUT,
        529: FailureKind.OVERLOADED,
    }
)
_CODES: Mapping[str, FailureKind] = MappingProxyType(
    {
        "context_length_exceeded": FailureKind.CONTEXT_WINDOW,
        "context_window_exceeded": FailureKind.CONTEXT_WINDOW,
        "exceed_context_size_error": FailureKind.CONTEXT_WINDOW,
        "content_filter": FailureKind.CONTENT_POLICY,
        "content_policy_violation": FailureKind.CONTENT_POLICY,
        "invalid_prompt": FailureKind.CONTENT_POLICY,
        "moderation_blocked": FailureKind.CONTENT_POLICY,
        "invalid_api_key": FailureKind.AUTH,
        "authentication_error": FailureKind.AUTH,
        "rate_limit_exceeded": FailureKind.RATE_LIMIT,
    }
)
_PHRASES: tuple[tuple[FailureKind, tuple[str, ...]], ...] = (
    (FailureKind.AUTH, ("api key not valid", "invalid api key", "incorrect api key")),
    (
        FailureKind.CONTEXT_WINDOW,
        (
            *("maximum context length", "maximum prompt length", "context length exceeded", "context window"),
            *("exceeds the available context size", "prompt is too long", "prompt too long", "input is too long"),
            *("too many input tokens", "too large for model", "length of all messages is too long"),
            *("reduce the length of the", "maximum allowed input length", "model token limit"),
            *("exceeds the maximum number of tokens", "max_model_len"),
        ),
    ),
    (
        FailureKind.CONTENT_POLICY,
        (
            *("content management policy", "content policy", "usage policy", "usage policies", "safety system"),
            *("was flagged", "content exists risk"),
        ),
    ),
)
MAX_RETRY_AFTER_S = 86_400.0


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that could be read."""

    reply: Reply
    usage: Usage


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no reply."""

    kind: FailureKind
    detail: str
    """The provider's own words where it gave any: not redacted and not cut, which is for who stores or shows them."""
    retry_after_s: float = 0.0
    usage: Usage = Usage()
    """What the call used all the same, where the answer says so."""


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"")


class _Body(msgspec.Struct):
    choices: list[_Choice]


class _Around(msgspec.Struct):
    """What may stand beside the choices; read apart, so that it can be broken without breaking the reply."""

    usage: Any = None
    error: Any = None


class _TokenLogprob(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob] | None = None


_BODY = msgspec.json.Decoder(_Body)
_AROUND = msgspec.json.Decoder(_Around)
_LOGPROBS = msgspec.json.Decoder(_Logprobs | None)
_ANY = msgspec.json.Decoder()


def read_completion(body: bytes, step: Step, *, convention: str = "openai", number: int = 0) -> Completion | Failure:
    """Read the body of an answer with status 200.

    Args:
        body: the decoded body.
        step: the step it answers; its size stands in where the answer has no usage.
        convention: how the vendor counts: one of ``wire.usage``, or ``openai_total``: as ``openai``, and tokens that
            only the total shows are thoughts.
        number: the attempt's number; part of the ids of tool calls that come without one.
    """
    around = _around(body)
    usage = _reported(around.usage, convention)
    if around.error:
        failed = _embedded(around.error)
        return msgspec.structs.replace(failed, usage=usage or Usage())
    try:
        choices = decode_with(_BODY, body).choices
        if not choices:
            raise InputError("expected at least one choice", field="choices")
    except InputError as error:
        detail = f"the answer is no chat completion: {error}"
        return Failure(kind=FailureKind.UNREADABLE, detail=detail, usage=usage or Usage())
    choice = choices[0]
    ended = (choice.finish_reason or "").lower()
    if ended in _FAILED_FINISH:
        detail = f"the model stopped with {ended!r}"
        return Failure(kind=_FAILED_FINISH[ended], detail=detail, usage=usage or Usage())
    reply = _reply(choice, ended, call_prefix=_digest(f"{step.id}\0{number}"))
    return Completion(reply=reply, usage=_complete(usage, step, reply))


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Failure:
    """Read an answer with any other status than 200.

    Args:
        status: of the answer.
        headers: of the answer, names in lower case.
        body: the decoded body.
        now: seconds since the epoch, for a ``retry-after`` that is a date.
    """
    message, code = _message_of(_decoded(body))
    kind = _kind(status, code, message)
    if not message and headers.get("content-type", "").startswith("text/plain"):
        message = body.decode("utf-8", "replace").strip()
    return Failure(
        kind=kind,
        detail=f"HTTP {status}" + (f": {message}" if message else ""),
        retry_after_s=retry_after(headers, now),
    )


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds to wait that the headers ask for (a number or an HTTP date), at most a day; 0: none."""
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * factor
        except ValueError:
            seconds = _until(text, now)
        if math.isfinite(seconds) and seconds > 0.0:
            return min(seconds, MAX_RETRY_AFTER_S)
    return 0.0


def charged_prompt(step: Step) -> Usage:
    """Return the estimated usage of a call whose answer was begun and lost: its prompt."""
    return Usage(fresh_input=_prompt_size(step), estimated=True)


def _until(text: str, now: float) -> float:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _kind(status: int, code: str, message: str) -> FailureKind:
    known = _STATUS.get(status)
    # What the body says refines "bad request" and "forbidden" only: a throttled call may well speak of its tokens.
    if status in (400, 403, 404, 413, 422):
        return _named(code, message) or known or FailureKind.BAD_REQUEST
    if known is not None:
        return known
    if 400 <= status < 500:
        return FailureKind.BAD_REQUEST
    return FailureKind.SERVER_ERROR if 500 <= status < 600 else FailureKind.UNREADABLE


def _named(code: str, message: str) -> FailureKind | None:
    if code in _CODES:
        return _CODES[code]
    lowered = message.lower()
    for kind, phrases in _PHRASES:
        if any(phrase in lowered for phrase in phrases):
            return kind
    return None


def _embedded(error: object) -> Failure:
    """Read an error object that came with status 200 (OpenRouter: the model failed after it had begun)."""
    message, code = _message_of({"error": error})
    status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 0
    kind = _kind(status, code, message) if status >= 400 else _named(code, message) or FailureKind.SERVER_ERROR
    return Failure(kind=kind, detail=f"HTTP 200 with an error: {message or code or 'no message'}")


def _message_of(decoded: object) -> tuple[str, str]:
    """Return message and code of the shapes that errors come in; empty where there are none."""
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]  # Gemini wraps its error in a list
    if not isinstance(decoded, dict):
        return "", ""
    error = decoded.get("error", decoded)
    if not isinstance(error, dict):
        return (error, "") if isinstance(error, str) else ("", "")
    words = [error.get(name) for name in ("message", "detail", "msg")]
    message = next((_text(word) for word in words if word), "")
    around = error.get("metadata")
    if isinstance(around, dict) and isinstance(around.get("raw"), str):
        message = f"{message}: {around['raw']}"  # OpenRouter: what the vendor behind it said
    codes = [error.get(name) for name in ("code", "type", "status")]
    found = [str(code) for code in codes if isinstance(code, str | int) and code]
    # A named code says more than a number, and a known one more than the others.
    return message, next((code for code in found if code in _CODES), found[0] if found else "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")


def _decoded(body: bytes) -> object:
    try:
        return _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _around(body: bytes) -> _Around:
    try:
        return _AROUND.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Around()


def _reply(choice: _Choice, ended: str, *, call_prefix: str) -> Reply:
    message = choice.message
    calls = _calls(message, call_prefix)
    finish = FINISH.get(ended, "unknown")
    text = message.content or ""
    if isinstance(text, list):
        # Reasoning models of some vendors answer in parts; only those of text are the answer.
        text = "".join(part.text or "" for part in text if part.type in ("text", "output_text"))
    if message.refusal:
        text, finish = text or message.refusal, "refusal"
    elif calls and finish == "stop":
        finish = "tool_calls"  # so the vendors end a forced call
    return Reply(text=text, tool_calls=calls, finish=finish, logprobs=_logprobs(choice.logprobs))


def _calls(message: _Message, prefix: str) -> tuple[ToolCall, ...]:
    listed = list(message.tool_calls or ())
    if message.function_call is not None:
        listed.append(_Call(function=message.function_call))
    seen: set[str] = set()
    calls = []
    for j, call in enumerate(listed):
        # Without an id of its own a call cannot be told from the others when its result comes back.
        id = call.id if call.id and call.id not in seen else f"call_{prefix}_{j}"
        seen.add(id)
        given = call.function.arguments
        arguments = given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()
        calls.append(ToolCall(id=id, name=call.function.name, arguments=arguments))
    return tuple(calls)


def _logprobs(raw: msgspec.Raw) -> tuple[float, ...]:
    if not bytes(raw):
        return ()
    try:
        read = _LOGPROBS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()  # other vendors have other shapes; the answer does not depend on it
    return tuple(token.logprob for token in read.content) if read is not None and read.content else ()


def _reported(raw: object, convention: str) -> Usage | None:
    """Return the usage the answer reports; None: it has none that can be believed."""
    by_total = convention == "openai_total"
    usage = _read("openai" if by_total else convention, raw) or _read("", raw)
    if usage is None or not usage.input_total:
        return None  # a prompt of no tokens was not counted
    total = raw.get("total_tokens") if isinstance(raw, dict) else None
    if by_total and isinstance(total, int) and not isinstance(total, bool):
        hidden = max(0, total - usage.input_total - usage.output)
        return msgspec.structs.replace(usage, output=usage.output + hidden, reasoning=usage.reasoning + hidden)
    return usage


def _read(convention: str, raw: object) -> Usage | None:
    try:
        return read_usage(raw, convention)
    except InputError:
        return None


def _complete(usage: Usage | None, step: Step, reply: Reply) -> Usage:
    written = estimate_tokens(reply.text)
    written += sum(estimate_tokens(call.name) + estimate_tokens(call.arguments) for call in reply.tool_calls)
    if usage is None:
        return Usage(fresh_input=_prompt_size(step), output=max(1, written), estimated=True)
    if written and not usage.output:
        return msgspec.structs.replace(usage, output=written, estimated=True)
    return usage


def _prompt_size(step: Step) -> int:
    return max(1, step.tokens.input or prompt_tokens(step.messages, step.tools))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
