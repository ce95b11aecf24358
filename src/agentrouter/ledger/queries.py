"""What is asked of a ledger: one step, all steps in order, totals by group.

Law: every statement is a literal with parameters; nothing from outside becomes SQL text. Reading only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from agentrouter.errors import InputError
from agentrouter.lab.trace import ModelOutcome, RecordedStep
from agentrouter.ledger.rows import LedgerStep, step_from
from agentrouter.types import Attempt, Status, TokenCounts

GROUPS = ("role", "model", "tier", "trajectory", "day", "policy", "status")
"""What totals can be grouped by."""

PAGE_STEPS = 256

_PAGE = "SELECT * FROM steps WHERE seq > :after ORDER BY seq LIMIT :limit"
_TRAJECTORY_PAGE = """
    SELECT * FROM steps WHERE trajectory_id = :trajectory_id AND seq > :after ORDER BY seq LIMIT :limit
"""
_BY_ID = "SELECT * FROM steps WHERE id = ?"
_ATTEMPTS = "SELECT * FROM attempts WHERE step_seq BETWEEN ? AND ? ORDER BY step_seq, position"
_TEXT = "SELECT body FROM texts WHERE hash = ?"

# The group is a value, chosen by CASE, so that the statement is the same for all of them. A step without attempts
# counts as a step, and in the groups of the attempts under the empty key.
_TOTALS = """
    SELECT
        CASE :by
            WHEN 'role' THEN s.role
            WHEN 'model' THEN COALESCE(a.candidate, '')
            WHEN 'tier' THEN COALESCE(a.tier, '')
            WHEN 'trajectory' THEN s.trajectory_id
            WHEN 'day' THEN s.day
            WHEN 'policy' THEN s.policy
            WHEN 'status' THEN s.status
            ELSE ''
        END AS "key",
        COUNT(DISTINCT s.seq) AS steps,
        COUNT(a.step_seq) AS attempts,
        COALESCE(SUM(a.fresh_input), 0) AS fresh_input,
        COALESCE(SUM(a.cache_read), 0) AS cache_read,
        COALESCE(SUM(a.cache_write), 0) AS cache_write,
        COALESCE(SUM(a.cache_write_1h), 0) AS cache_write_1h,
        COALESCE(SUM(a.output), 0) AS output,
        COALESCE(SUM(a.reasoning), 0) AS reasoning,
        COALESCE(SUM(a.cost_fresh_input), 0) AS cost_fresh_input_nusd,
        COALESCE(SUM(a.cost_cache_read), 0) AS cost_cache_read_nusd,
        COALESCE(SUM(a.cost_cache_write), 0) AS cost_cache_write_nusd,
        COALESCE(SUM(a.cost_output), 0) AS cost_output_nusd,
        COALESCE(SUM(a.cost_other), 0) AS cost_other_nusd,
        COALESCE(SUM(a.cost_checks), 0) AS cost_checks_nusd,
        COALESCE(SUM(a.cost_nusd), 0) AS cost_nusd
    FROM steps s LEFT JOIN attempts a ON a.step_seq = s.seq
    WHERE (:since IS NULL OR s.started_at >= :since) AND (:until IS NULL OR s.started_at < :until)
    GROUP BY 1
    ORDER BY cost_nusd DESC, 1
"""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over a group of steps: tokens as in ``Usage``, nano-dollars by line, the lines adding up to the cost."""

    key: str
    """The group's value; empty: the whole, or (by model or tier) steps without an attempt."""
    steps: int
    """Steps with something in this group: by model or tier one step may count in several."""
    attempts: int
    fresh_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    cost_fresh_input_nusd: int = 0
    cost_cache_read_nusd: int = 0
    cost_cache_write_nusd: int = 0
    cost_output_nusd: int = 0
    cost_other_nusd: int = 0
    cost_checks_nusd: int = 0
    """Paid for verifiers."""
    cost_nusd: int = 0


def check_group(by: str) -> None:
    """Raise ``InputError`` unless ``by`` is a grouping or empty."""
    if by and by not in GROUPS:
        raise InputError(f"totals cannot be grouped by {by!r}: expected one of {', '.join(GROUPS)}")


def totals(
    connection: sqlite3.Connection, by: str, *, since: float | None = None, until: float | None = None
) -> tuple[Totals, ...]:
    """Return the sums by group, the dearest first; a ledger without such steps gives none."""
    found = _select(connection, _TOTALS, {"by": by, "since": since, "until": until})
    return tuple(Totals(**row) for row in found)


def page(connection: sqlite3.Connection, *, after: int, trajectory_id: str = "") -> list[LedgerStep]:
    """Return the next steps after row ``after``, at most ``PAGE_STEPS``, in the order of writing."""
    given = {"after": after, "limit": PAGE_STEPS, "trajectory_id": trajectory_id}
    return _steps(connection, _select(connection, _TRAJECTORY_PAGE if trajectory_id else _PAGE, given))


def by_id(connection: sqlite3.Connection, step_id: str) -> LedgerStep | None:
    """Return one step, or None."""
    return next(iter(_steps(connection, _select(connection, _BY_ID, (step_id,)))), None)


def recorded_from(found: LedgerStep) -> RecordedStep:
    """Return a step as a trace has it, for the replay.

    Model and usage are those of the served attempt (of the last one where none was served); the cost is the whole
    step's, checks and other attempts included, so that the replayed bill is the ledger's. The other answers stand
    under ``alternatives``, without a label: a rejected answer is not a failed one.
    """
    position = found.served_position if found.served_position is not None else len(found.attempts) - 1
    made = found.attempts[position] if found.attempts else None
    # A call that failed or was cut says nothing of what this model's whole answer would have used.
    whole = ((n, each) for n, each in enumerate(found.attempts) if each.outcome.status is Status.OK)
    others = (attempt for n, attempt in whole if n != position)
    usage = made.outcome.usage if made else None
    step = found.step
    if usage is not None and usage.input_total:
        tokens = TokenCounts(
            input=usage.input_total, output=usage.output, cacheable=step.tokens.cacheable, estimated=usage.estimated
        )
        step = msgspec.structs.replace(step, tokens=tokens)
    lacks = {
        "usage": usage is None,
        "cost": made is None,
        "messages": not step.messages,
        "time": not found.started_at,
        "model": made is None,
        "role": step.role == "unknown",
    }
    return RecordedStep(
        step=step,
        model=made.candidate.name if made else "",
        provider=made.candidate.provider if made else "",
        usage=usage,
        cost_nusd=found.cost_nusd if made else None,
        status=found.status,
        latency_ms=found.latency_ms,
        started_at=found.started_at,
        alternatives=tuple(_alternative(attempt) for attempt in others),
        lacks=tuple(name for name, lacking in lacks.items() if lacking),
    )


def _alternative(attempt: Attempt) -> ModelOutcome:
    checks = sum(verdict.cost_nusd for verdict in attempt.outcome.verdicts)
    return ModelOutcome(
        model=attempt.candidate.name,
        usage=attempt.outcome.usage,
        cost_nusd=attempt.cost.total + checks,
        latency_ms=attempt.outcome.latency_ms,
    )


def _steps(connection: sqlite3.Connection, rows: Sequence[dict[str, Any]]) -> list[LedgerStep]:
    """Return the steps of ascending rows, with their attempts and texts."""
    if not rows:
        return []
    attempts: dict[int, list[dict[str, Any]]] = {row["seq"]: [] for row in rows}
    for attempt in _select(connection, _ATTEMPTS, (rows[0]["seq"], rows[-1]["seq"])):
        if attempt["step_seq"] in attempts:
            attempts[attempt["step_seq"]].append(attempt)
    texts = _Texts(connection)
    return [step_from(row, attempts[row["seq"]], texts) for row in rows]


class _Texts(dict[bytes, str]):
    """Texts by hash, fetched once each for one page of steps."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, name: bytes) -> str:
        row = self._connection.execute(_TEXT, (name,)).fetchone()
        if row is None:
            raise KeyError(f"text {name.hex()}")
        self[name] = row[0]
        return self[name]


def _select(
    connection: sqlite3.Connection, statement: str, given: dict[str, Any] | tuple[Any, ...]
) -> list[dict[str, Any]]:
    cursor = connection.execute(statement, given)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
