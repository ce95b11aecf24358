"""Step tables: Parquet files with what one or several models did on the same steps (docs/how-to/replay-your-traces.md).

Columns: source, category, task_id, trajectory_id, step_index, n_steps, role, messages (JSON text), tools (JSON text or
null), context_chars, outcomes (list of model, success, input_tokens, output_tokens, cost_usd, latency_s), label_level,
split_hint, group. ``n_steps`` is not known when a step is routed and is never handed on.

Three ways in: ``StepTableSource.read`` (whole steps, streaming), ``rows`` (any columns, streaming, without parsing
messages) and ``outcomes`` (a lazy frame, one line a step and model).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentrouter.errors import InputError, MissingExtraError
from agentrouter.lab.sources import lines
from agentrouter.lab.sources.fields import nusd_from, recorded_tokens, tokens_from
from agentrouter.lab.trace import ModelOutcome, RecordedStep, TraceReport
from agentrouter.types import Step, TokenCounts, Usage
from agentrouter.wire import EXPECTED_OUTPUT_TOKENS, step_from_messages

if TYPE_CHECKING:
    import polars as pl

COLUMNS = (
    *("source", "category", "task_id", "trajectory_id", "step_index", "role", "messages", "tools"),
    *("context_chars", "outcomes", "label_level", "split_hint", "group"),
)
"""The columns a step table must have (``n_steps`` may be missing)."""
_NEEDED = tuple(name for name in COLUMNS if name not in ("source", "category", "split_hint", "group"))
BATCH_ROWS = 512
_PARQUET = b"PAR1"


class StepTableSource:
    """Step tables.

    Args:
        recorded_model: which model's outcome counts as the recorded one on rows with several; empty: none does.
    """

    name = "step_table"

    def __init__(self, recorded_model: str = "") -> None:
        self._recorded_model = recorded_model

    def sniff(self, path: Path, head: bytes) -> bool:
        """A Parquet file; its columns are checked when it is read."""
        return head.startswith(_PARQUET)

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the rows in the order of the file.

        Raises:
            InputError: not a step table, or damaged.
        """
        for number, row in enumerate(rows(path, _NEEDED), start=1):
            report.lines += 1
            try:
                recorded = self._recorded(row, path.stem, number)
            except (InputError, RecursionError) as error:
                report.bad(lines.problem_from(error, path, number))
                continue
            yield report.saw(recorded)

    def _recorded(self, row: Mapping[str, Any], name: str, number: int) -> RecordedStep:
        alternatives = tuple(_outcome(one, place) for place, one in enumerate(row["outcomes"] or ()))
        chosen = self._chosen(alternatives)
        trajectory, index = _text(row, "trajectory_id"), _index(row["step_index"])
        role = row["role"] or "unknown"
        step = _step(row, f"{name}:{number}", trajectory, index, role)
        if chosen.usage is not None and chosen.usage.input_total:
            step = msgspec.structs.replace(step, tokens=recorded_tokens(chosen.usage))
        lacks = {
            "model": not chosen.model,
            "messages": not step.messages,
            "usage": chosen.usage is None,
            "cache": chosen.usage is not None,
            "cost": chosen.cost_nusd is None,
            "role": role == "unknown",
            "time": True,
        }
        return RecordedStep(
            step=step,
            model=chosen.model,
            usage=chosen.usage,
            cost_nusd=chosen.cost_nusd,
            success=chosen.success,
            label_level=row["label_level"] or "",
            latency_ms=chosen.latency_ms or 0.0,
            alternatives=alternatives,
            lacks=tuple(name for name, lacking in lacks.items() if lacking),
        )

    def _chosen(self, alternatives: tuple[ModelOutcome, ...]) -> ModelOutcome:
        if len(alternatives) == 1:
            return alternatives[0]
        found = (one for one in alternatives if self._recorded_model and one.model == self._recorded_model)
        return next(found, ModelOutcome(model=""))


def rows(path: Path, columns: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any]]:
    """Yield the rows of one table as records of the given columns, in constant memory.

    Raises:
        InputError: not a Parquet file, damaged, or without one of the columns.
        MissingExtraError: polars is not installed.
    """
    polars = _polars()
    try:
        frame = polars.scan_parquet(path)
        _check_columns(frame.collect_schema().names(), columns, path)
        for batch in frame.select(columns).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            yield from batch.iter_rows(named=True)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise InputError(f"cannot be read as Parquet: {error}", file=str(path)) from None


def outcomes(paths: Iterable[Path], columns: Sequence[str] = ()) -> pl.LazyFrame:
    """Return a lazy frame with one line a step and model, over tables whose number types differ.

    Columns: ``path``, ``row`` (position in its table, from 0), those asked for, then ``model``, ``success`` (0..1),
    ``input_tokens``, ``output_tokens``, ``cost_nusd``, ``latency_s``; nulls where unknown.

    Raises:
        InputError: a table lacks a column.
        MissingExtraError: polars is not installed.
    """
    polars = _polars()
    frames = []
    for path in paths:
        frame = polars.scan_parquet(path)
        _check_columns(frame.collect_schema().names(), (*columns, "outcomes"), path)
        one = polars.col("outcomes").struct
        frames.append(
            frame.with_row_index("row")
            .select(
                polars.lit(str(path)).alias("path"),
                polars.col("row").cast(polars.Int64),
                *(polars.col(name) for name in columns),
                polars.col("outcomes"),
            )
            .explode("outcomes")
            .select(
                "path",
                "row",
                *columns,
                one.field("model").cast(polars.String),
                one.field("success").cast(polars.Float64),
                one.field("input_tokens").cast(polars.Int64),
                one.field("output_tokens").cast(polars.Int64),
                (one.field("cost_usd").cast(polars.Float64) * 1e9).round().cast(polars.Int64).alias("cost_nusd"),
                one.field("latency_s").cast(polars.Float64),
            )
        )
    joined: pl.LazyFrame = polars.concat(frames, how="vertical_relaxed")
    return joined


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise MissingExtraError("polars", "lab") from None
    return polars


def _check_columns(present: Sequence[str], needed: Sequence[str], path: Path) -> None:
    missing = [name for name in needed if name not in present]
    if missing:
        raise InputError(
            f"is no step table: it lacks {', '.join(missing)}; expected the columns {', '.join(COLUMNS)}",
            file=str(path),
        )


def _outcome(raw: Mapping[str, Any], place: int) -> ModelOutcome:
    field = f"outcomes[{place}]"
    if not raw or not raw.get("model"):
        raise InputError("expected a model name", field=f"{field}.model")
    success = raw["success"]
    if success is not None and not 0 <= success <= 1:
        raise InputError(f"expected 0 to 1, got {success}", field=f"{field}.success")
    cost = None
    if raw["cost_usd"] is not None:
        # The table holds doubles; the shortest text that gives this double is what was recorded.
        cost = nusd_from(Decimal(repr(float(raw["cost_usd"]))), f"{field}.cost_usd")
    usage = None
    if raw["input_tokens"] is not None or raw["output_tokens"] is not None:
        usage = Usage(
            fresh_input=tokens_from(raw["input_tokens"] or 0, f"{field}.input_tokens"),
            output=tokens_from(raw["output_tokens"] or 0, f"{field}.output_tokens"),
            estimated=cost is None or raw["output_tokens"] is None,
        )
    latency = raw["latency_s"]
    if latency is not None and not (math.isfinite(latency) and latency >= 0):
        raise InputError(f"expected seconds, got {latency}", field=f"{field}.latency_s")
    return ModelOutcome(
        model=raw["model"],
        success=None if success is None else float(success),
        usage=usage,
        cost_nusd=cost,
        latency_ms=None if latency is None else float(latency) * 1000,
    )


def _step(row: Mapping[str, Any], identity: str, trajectory: str, index: int, role: str) -> Step:
    chars = row["context_chars"] or 0
    if row["messages"] in (None, "", "[]"):
        # Some sources publish labels and sizes only.
        size = TokenCounts(input=chars // 4, output=EXPECTED_OUTPUT_TOKENS)
        return Step(id=identity, trajectory_id=trajectory, index=index, role=role, tokens=size)
    return step_from_messages(
        _text(row, "messages"),
        row["tools"],
        id=identity,
        trajectory_id=trajectory,
        step_index=index,
        role=role,
        context_chars=chars,
        # Multi-agent logs put the speaker's name where the role belongs; to the next speaker it is input.
        speaker_role="user",
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value:
        raise InputError(f"expected text, got {type(value).__name__}", field=name)
    return value


def _index(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"expected a step index, got {value!r}", field="step_index")
    return value
