"""Step records as rows of the ledger, and rows as data again.

Law: pure; what leaves here for the store is redacted, and without content unless ``content`` says otherwise.
Content is: messages, tools, output schema, reply text, tool arguments, log-probabilities, feature values (they hold the
head of the newest message). The hash of the features is always kept, so that two decisions can be compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec

from agentrouter.ledger.redact import looks_harmless, storable, storable_id, storable_tree
from agentrouter.types import (
    Attempt,
    AttemptKind,
    Candidate,
    Cost,
    DecisionRecord,
    Exclusion,
    Outcome,
    Reply,
    Status,
    Step,
    StepFeatures,
    StepRecord,
)

USAGE_COLUMNS = ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "estimated")
COST_COLUMNS = ("fresh_input", "cache_read", "cache_write", "output", "other")


class LedgerStep(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the ledger knows of one step. ``msgspec.json.encode`` and ``msgspec.to_builtins`` take it as it is."""

    seq: int
    """Number of the row in the file: ascending in the order of writing."""
    step: Step
    """With the index and retry number the ledger gave it; messages, tools and schema only where content is stored."""
    status: Status
    served: Candidate | None
    """With the prices of that time."""
    served_position: int | None
    """Which of ``attempts`` was served."""
    policy: str
    reason: str
    """Why the served candidate was chosen (the last decision's reason where none was served)."""
    program: str
    """Version of agentrouter that wrote the row."""
    started_at: float
    latency_ms: float
    """Sum over the attempts, which run one after another."""
    ttft_ms: float
    """From the step's start to the served attempt's first token; 0: unknown."""
    cost_nusd: int
    """All attempts and checks."""
    decisions: tuple[DecisionRecord, ...]
    attempts: tuple[Attempt, ...]
    excluded: tuple[Exclusion, ...]
    notes: tuple[str, ...]
    features_hash: str
    features: StepFeatures | None = None
    """Only where content is stored."""


class StepRows(msgspec.Struct, frozen=True, kw_only=True):
    """One record as the store writes it."""

    step: dict[str, Any]
    """Column values of ``steps`` but for ``seq``; index and retry number as the caller gave them."""
    attempts: tuple[dict[str, Any], ...]
    """Column values of ``attempts`` but for ``step_seq``."""
    texts: dict[bytes, str]
    """Bodies by hash: candidates, and messages and tools where content is stored."""


def rows_from(record: StepRecord, *, program: str, content: bool) -> StepRows:
    """Return what to write for ``record``.

    Args:
        record: the step as the flow returned it.
        program: version of the writing program.
        content: keep messages, replies and feature values too (redacted).
    """
    texts: dict[bytes, str] = {}
    attempts = tuple(_attempt_row(n, attempt, texts, content=content) for n, attempt in enumerate(record.attempts))
    step = _step_row(record, texts, program=program, content=content)
    served = served_position(record.served, record.attempts)
    step |= {
        "served": served,
        "latency_ms": sum(row["latency_ms"] for row in attempts),
        "ttft_ms": _ttft(attempts, served),
        "attempts": len(attempts),
        "estimated": any(row["estimated"] for row in attempts),
    }
    summed = (*USAGE_COLUMNS[:-1], *(f"cost_{line}" for line in COST_COLUMNS), "cost_checks", "cost_nusd")
    step |= {column: sum(row[column] for row in attempts) for column in summed}
    step["digest"] = digest_of(msgspec.json.encode((step, attempts), order="deterministic"))
    return StepRows(step=step, attempts=attempts, texts=texts)


def _step_row(record: StepRecord, texts: dict[bytes, str], *, program: str, content: bool) -> dict[str, Any]:
    step, served, chosen = record.step, record.served, deciding(record)
    step_id = storable_id(step.id)
    return {
        "id": step_id,
        # A step of no trajectory is a trajectory of its own, or all of them would be counted as one.
        "trajectory_id": storable_id(step.trajectory_id) or step_id,
        "step_index": step.index,
        "retry": step.retry,
        "parent_id": storable_id(step.parent_id),
        "role": storable(step.role),
        "kind": step.kind.value,
        "status": record.status.value,
        "tier": served.tier.label if served else "",
        "model": storable(served.name) if served else "",
        "provider": storable(served.provider) if served else "",
        "policy": storable(next((made.policy for made in record.decisions if made.policy), "")),
        "reason": chosen.reason.value if chosen else "",
        "program": program,
        "started_at": _finite(record.started_at),
        "day": _day(record.started_at),
        "escalated": record.escalated,
        "features_hash": features_hash(record.features),
        "features": _text(record.features, _numbers_of(record.features)) if content else None,
        "step": _text(_step_body(step, texts, content=content)),
        "decisions": _text(record.decisions, chain.from_iterable(map(_numbers_in, record.decisions))),
        "excluded": _text(record.excluded),
        "notes": _text(record.notes),
    }


def _step_body(step: Step, texts: dict[bytes, str], *, content: bool) -> dict[str, Any]:
    """Return what of the step has no column: with content, messages and tools by their hashes."""
    messages, tools = (step.messages, step.tools) if content else ((), ())
    output = step.output if content else msgspec.structs.replace(step.output, schema="")
    bare = msgspec.structs.replace(
        step, id="", trajectory_id="", parent_id="", role="", messages=(), tools=(), output=output
    )
    body: dict[str, Any] = msgspec.to_builtins(bare, order="deterministic")
    body["messages"] = [_keep(message, texts).hex() for message in messages]
    body["tools"] = [_keep(tool, texts).hex() for tool in tools]
    return body


def _attempt_row(position: int, attempt: Attempt, texts: dict[bytes, str], *, content: bool) -> dict[str, Any]:
    candidate, outcome, cost = attempt.candidate, attempt.outcome, attempt.cost
    reply = outcome.reply if content else Reply(finish=outcome.reply.finish)
    checks = sum(verdict.cost_nusd for verdict in outcome.verdicts)
    row: dict[str, Any] = {
        "position": position,
        "number": attempt.number,
        "kind": attempt.kind.value,
        "candidate": storable(candidate.name),
        "candidate_hash": _keep(candidate, texts),
        "tier": candidate.tier.label,
        "model": storable(candidate.model),
        "provider": storable(candidate.provider),
        "status": outcome.status.value,
        "failure": outcome.failure.value if outcome.failure else "",
        "failure_detail": storable(outcome.failure_detail),
        "retry_after_s": _finite(outcome.retry_after_s),
        "committed": outcome.committed,
        "latency_ms": _finite(outcome.latency_ms),
        "ttft_ms": _finite(outcome.ttft_ms),
        "cost_checks": checks,
        "cost_nusd": cost.total + checks,
        "recorded_cost_nusd": outcome.recorded_cost_nusd,
        "verdicts": _text(outcome.verdicts, (verdict.p_good for verdict in outcome.verdicts)),
        "reply": _text(reply, reply.logprobs),
    }
    row |= {column: getattr(outcome.usage, column) for column in USAGE_COLUMNS}
    row |= {f"cost_{line}": getattr(cost, line) for line in COST_COLUMNS}
    return row


def step_from(
    row: Mapping[str, Any], attempt_rows: Sequence[Mapping[str, Any]], texts: Mapping[bytes, str]
) -> LedgerStep:
    """Return the step of a row of ``steps``, its rows of ``attempts`` and the texts that both name.

    Raises:
        msgspec.ValidationError, KeyError: the rows are not what ``rows_from`` wrote.
    """
    body = msgspec.json.decode(row["step"])
    for part in ("messages", "tools"):
        body[part] = [msgspec.json.decode(texts[bytes.fromhex(name)]) for name in body[part]]
    body |= {column: row[column] for column in ("id", "trajectory_id", "parent_id", "role", "retry")} | {
        "index": row["step_index"]
    }
    attempts = tuple(_attempt_from(attempt, texts) for attempt in attempt_rows)
    position: int | None = row["served"]
    return LedgerStep(
        seq=row["seq"],
        step=msgspec.convert(body, Step),
        status=Status(row["status"]),
        served=None if position is None else attempts[position].candidate,
        served_position=position,
        policy=row["policy"],
        reason=row["reason"],
        program=row["program"],
        started_at=row["started_at"],
        latency_ms=row["latency_ms"],
        ttft_ms=row["ttft_ms"],
        cost_nusd=row["cost_nusd"],
        decisions=msgspec.json.decode(row["decisions"], type=tuple[DecisionRecord, ...]),
        attempts=attempts,
        excluded=msgspec.json.decode(row["excluded"], type=tuple[Exclusion, ...]),
        notes=msgspec.json.decode(row["notes"], type=tuple[str, ...]),
        features_hash=row["features_hash"],
        features=msgspec.json.decode(row["features"], type=StepFeatures) if row["features"] else None,
    )


def _attempt_from(row: Mapping[str, Any], texts: Mapping[bytes, str]) -> Attempt:
    usage = {column: row[column] for column in USAGE_COLUMNS}
    outcome = {
        "status": row["status"],
        "reply": msgspec.json.decode(row["reply"]),
        "usage": usage | {"estimated": bool(usage["estimated"])},
        "latency_ms": row["latency_ms"],
        "ttft_ms": row["ttft_ms"],
        "failure": row["failure"] or None,
        "failure_detail": row["failure_detail"],
        "retry_after_s": row["retry_after_s"],
        "verdicts": msgspec.json.decode(row["verdicts"]),
        "committed": bool(row["committed"]),
        "recorded_cost_nusd": row["recorded_cost_nusd"],
    }
    return Attempt(
        candidate=msgspec.json.decode(texts[row["candidate_hash"]], type=Candidate),
        number=row["number"],
        kind=AttemptKind(row["kind"]),
        outcome=msgspec.convert(outcome, Outcome),
        cost=Cost(**{line: row[f"cost_{line}"] for line in COST_COLUMNS}),
    )


def served_position(served: Candidate | None, attempts: Sequence[Attempt]) -> int | None:
    """Return which attempt the caller got: the last one of the served candidate."""
    if served is None:
        return None
    return next((n for n in range(len(attempts) - 1, -1, -1) if attempts[n].candidate.name == served.name), None)


def digest_of(data: bytes) -> bytes:
    """Return the 16-byte fingerprint by which texts and records are told apart."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _keep(value: msgspec.Struct, texts: dict[bytes, str]) -> bytes:
    body = _text(value)
    name = digest_of(body.encode())
    texts[name] = body
    return name


def deciding(record: StepRecord) -> DecisionRecord | None:
    """Return the decision that chose the served candidate (the last decision where none was served)."""
    name = record.served.name if record.served else None
    chosen = (made for made in reversed(record.decisions) if made.action == name)
    return next(chosen, record.decisions[-1] if record.decisions else None)


def _ttft(attempts: Sequence[Mapping[str, Any]], served: int | None) -> float:
    if served is None or not attempts[served]["ttft_ms"]:
        return 0.0
    waited: float = sum(row["latency_ms"] for row in attempts[:served])
    return waited + float(attempts[served]["ttft_ms"])


def features_hash(features: StepFeatures) -> str:
    """Return the hash of all feature values, 32 hex digits: equal for two steps that looked the same to the policy."""
    try:
        data = msgspec.json.encode(features)
    except UnicodeEncodeError:  # lone surrogates in the text
        data = msgspec.json.encode(storable_tree(msgspec.to_builtins(features)))
    return digest_of(data).hex()


def _text(value: Any, numbers: Iterable[float] = ()) -> str:
    """Return ``value`` as redacted JSON.

    The walk over every string is for the rare value that needs it: a possible credential, a lone surrogate, or one of
    ``numbers`` (all that may be NaN or infinite in it) that JSON cannot hold.
    """
    if all(map(math.isfinite, numbers)):
        try:
            text = msgspec.json.encode(value, order="deterministic").decode()
        except UnicodeEncodeError:
            text = ""
        if text and looks_harmless(text):
            return text
    return msgspec.json.encode(storable_tree(msgspec.to_builtins(value, order="deterministic"))).decode()


def _numbers_in(made: DecisionRecord) -> Iterator[float]:
    yield made.propensity
    yield from made.probabilities.values()
    if made.scores is not None:
        yield from (*made.scores.p_ok, *(made.scores.low or ()), *(made.scores.high or ()))


def _numbers_of(features: StepFeatures) -> tuple[float, ...]:
    load = features.load
    return (load.code_share, load.data_share, features.state.foreign_share, features.dependency.fan_out)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _day(started_at: float) -> str:
    try:
        return datetime.fromtimestamp(started_at, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
