"""Reading step tables: parquet files in which several models' outcomes stand beside the same step.

Law: nothing is guessed and nothing dropped in silence. A file that is not such a table is an ``InputError``; a row that
cannot be used is counted, and listed with its file and row while the list is short. The columns are those of
docs/metrics.md, section "Step tables".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agentrouter.errors import InputError, MissingExtraError
from agentrouter.lab.metrics.arrays import Floats, Ints
from agentrouter.lab.trace import Problem, TraceReport
from agentrouter.types import Tier

if TYPE_CHECKING:
    import polars

REQUIRED = ("messages", "outcomes", "trajectory_id", "step_index", "group")
OPTIONAL = ("source", "role", "tools", "context_chars", "label_level", "split_hint")
TIERS_FILE = "model_tiers.json"
N_TIERS = len(Tier)

LEFT_OUT_HINTS = frozenset({"contaminated"})
"""Values of ``split_hint`` whose rows are left out: questions that are known to be in training data."""

STRANGER = "user"
"""Role given to messages of multi-agent chats whose role is the name of a speaker."""

TierMap = Mapping[str, Tier | None]


class StepRow(msgspec.Struct, frozen=True):
    """The part of a row that a policy may see, as the table has it."""

    messages: str
    tools: str | None
    role: str
    context_chars: int


class StepTable(msgspec.Struct, frozen=True, kw_only=True):
    """One source's rows that can be used, as parallel arrays; ``order`` lists them run by run.

    Arrays have one entry a row. A tier's outcome is the mean success of its models on the row; NaN: not measured.
    """

    source: str
    file: str
    numbers: Ints
    """Row number in the file, from 1."""
    rows: list[StepRow]
    outcome: Floats
    """(n, 4) mean success by tier, NaN where no model of the tier was measured."""
    input_tokens: Floats
    """Mean recorded input tokens over all models; NaN: none recorded."""
    output_tokens: Floats
    """(n, 4) mean recorded output tokens by tier, else over all models; NaN: none recorded."""
    trajectory_ids: list[str]
    step_index: Ints
    run: Ints
    """Trajectory of each row, 0..r-1 in order of first appearance; see ``_runs``."""
    groups: list[str]
    label_levels: list[str]
    left_out: Counter[str]
    """Reason -> rows that are not in the arrays."""
    models_without_tier: Counter[str]
    """Models that have no tier, and on how many rows they stand."""

    def runs(self) -> Iterator[list[int]]:
        """Yield the rows of each trajectory in the order of its steps."""
        order = np.lexsort((self.step_index, self.run))
        edges = np.flatnonzero(np.diff(self.run[order])) + 1
        for part in np.split(order, edges) if order.size else ():
            yield part.tolist()


def step_files(where: Path) -> list[Path]:
    """Return the step tables of a folder (or its ``steps`` folder), by name; or the one file given.

    Raises:
        InputError: no such place, or no parquet file in it.
    """
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise InputError("no such file or folder; expected a folder of step tables (*.parquet)", file=str(where))
    found = sorted(where.glob("*.parquet")) or sorted((where / "steps").glob("*.parquet"))
    if not found:
        raise InputError("holds no step table: expected at least one *.parquet file", file=str(where))
    return found


def load_tiers(path: Path) -> dict[str, Tier | None]:
    """Read a JSON object of model name -> tier name, or null for models to leave out.

    Raises:
        InputError: unreadable, not such an object, or an unknown tier; names the model.
    """
    try:
        given = msgspec.json.decode(path.read_bytes(), type=dict[str, str | None])
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except msgspec.DecodeError as error:
        raise InputError(f"expected an object of model name to tier name or null: {error}", file=str(path)) from None
    return tier_map(given, file=str(path))


def tier_map(given: Mapping[str, str | Tier | None], *, file: str = "") -> dict[str, Tier | None]:
    """Return ``given`` with tier names parsed.

    Raises:
        InputError: an unknown tier; names the model.
    """
    tiers: dict[str, Tier | None] = {}
    for model, tier in given.items():
        try:
            tiers[model] = Tier.parse(tier) if isinstance(tier, str) else tier
        except InputError as error:
            raise InputError(error.message, file=file, field=model) from None
    return tiers


def find_tiers(where: Path) -> Path:
    """Return the ``model_tiers.json`` that belongs to a folder of step tables: in it, or beside it.

    Raises:
        InputError: there is none.
    """
    folder = where if where.is_dir() else where.parent
    for place in (folder / TIERS_FILE, folder.parent / TIERS_FILE):
        if place.is_file():
            return place
    raise InputError(f"no {TIERS_FILE} in the folder or beside it; give the tiers of the models", file=str(where))


def read_tables(path: Path, tiers: TierMap, report: TraceReport) -> list[StepTable]:
    """Read a step table, one result for each value of its ``source`` column (else one, named as the file).

    Args:
        path: a parquet file.
        tiers: model -> tier; a model with None or without an entry is left out and counted.
        report: counts rows and lists bad ones.

    Raises:
        InputError: not a parquet file, a missing column or one of the wrong type; names it.
        MissingExtraError: polars is not installed.
    """
    frame = _read(path)
    _check_schema(frame, path)
    report.files.append(str(path))
    report.lines += frame.height
    frame = frame.with_row_index("row_number", offset=1)
    if "source" not in frame.columns:
        return [_table(frame, path.stem, path, tiers, report)]
    parts = frame.partition_by("source", maintain_order=True, as_dict=True)
    return [_table(part, str(key[0] or path.stem), path, tiers, report) for key, part in parts.items()]


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise MissingExtraError("polars", "lab") from None
    return polars


def _read(path: Path) -> polars.DataFrame:
    pl = _polars()
    try:
        wanted = [name for name in pl.read_parquet_schema(path) if name in (*REQUIRED, *OPTIONAL)]
        frame: polars.DataFrame = pl.read_parquet(path, columns=wanted)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot be read as parquet: {str(error).splitlines()[0]}", file=str(path)) from None
    return frame


def _check_schema(frame: polars.DataFrame, path: Path) -> None:
    pl = _polars()
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise InputError(
            f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; a step table has {', '.join(REQUIRED)}",
            file=str(path),
        )
    for name in frame.columns:
        kind = frame.schema[name]
        if kind == pl.Null and name in OPTIONAL:
            continue
        if name in ("step_index", "context_chars"):
            right, expected = kind.is_integer(), "integers"
        elif name == "outcomes":
            right, expected = _is_outcome_list(kind), "a list of {model, success, ...}"
        else:
            right, expected = kind == pl.String, "text"
        if not right:
            raise InputError(f"expected {expected}, got {kind}", file=str(path), field=name)


def _is_outcome_list(kind: Any) -> bool:
    pl = _polars()
    if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return False
    fields = {field.name: field.dtype for field in kind.inner.fields}
    numbers = [fields.get(name, pl.Null) for name in ("success", "input_tokens", "output_tokens")]
    return (
        fields.get("model") == pl.String
        and "success" in fields
        and all(one == pl.Null or one.is_numeric() or one == pl.Boolean for one in numbers)
    )


def _table(frame: polars.DataFrame, source: str, path: Path, tiers: TierMap, report: TraceReport) -> StepTable:
    left_out: Counter[str] = Counter()
    keep = _usable(frame, path, left_out, report)
    frame = frame.filter(_polars().Series(keep))
    without: Counter[str] = Counter()
    outcome, given, written, bad = _outcomes(frame, tiers, without)
    numbers = frame["row_number"].to_numpy().astype(np.int64)
    if bad:
        for row, (field, message) in bad.items():
            report.bad(Problem(str(path), int(numbers[row]), field, message))
        left_out["bad_row"] += len(bad)
        keep = np.ones(frame.height, dtype=bool)
        keep[list(bad)] = False
        frame, numbers = frame.filter(_polars().Series(keep)), numbers[keep]
        outcome, given, written = outcome[keep], given[keep], written[keep]
    step_index = frame["step_index"].to_numpy().astype(np.int64)
    trajectory_ids = frame["trajectory_id"].to_list()
    report.steps += frame.height
    return StepTable(
        source=source,
        file=str(path),
        numbers=numbers,
        rows=_rows(frame),
        outcome=outcome,
        input_tokens=given,
        output_tokens=written,
        trajectory_ids=trajectory_ids,
        step_index=step_index,
        run=_runs(trajectory_ids, step_index),
        groups=frame["group"].to_list(),
        label_levels=[level or "step" for level in _column(frame, "label_level", "step")],
        left_out=left_out,
        models_without_tier=without,
    )


def _usable(frame: polars.DataFrame, path: Path, left_out: Counter[str], report: TraceReport) -> np.ndarray[Any, Any]:
    """Say which rows have what every row needs; count the others."""
    keep = np.ones(frame.height, dtype=bool)
    numbers = frame["row_number"].to_list()
    for name in ("messages", "outcomes", "trajectory_id", "step_index", "group"):
        for row in np.flatnonzero(frame[name].is_null().to_numpy()):
            if keep[row]:
                keep[row] = False
                left_out["bad_row"] += 1
                report.bad(Problem(str(path), numbers[row], name, "is null"))
    if "split_hint" in frame.columns:
        hinted = frame["split_hint"].cast(_polars().String).is_in(sorted(LEFT_OUT_HINTS)).fill_null(False).to_numpy()
        for hint in frame["split_hint"].filter(_polars().Series(hinted & keep)).to_list():
            left_out[f"split_hint:{hint}"] += 1
        keep &= ~hinted
    blank = frame["messages"].str.strip_chars().is_in(["", "[]"]).fill_null(False).to_numpy() & keep
    if blank.any():
        left_out["no_messages"] += int(blank.sum())
    return keep & ~blank


def _outcomes(
    frame: polars.DataFrame, tiers: TierMap, without: Counter[str]
) -> tuple[Floats, Floats, Floats, dict[int, tuple[str, str]]]:
    """Return outcome (n, 4), input tokens (n,), output tokens (n, 4), and the bad rows with field and message."""
    n = frame.height
    flat = frame["outcomes"].list.explode(empty_as_null=False, keep_nulls=False)
    sizes = frame["outcomes"].list.len().to_numpy().astype(np.int64)
    row = np.repeat(np.arange(n), sizes)
    if not row.size:
        empty = np.full((n, N_TIERS), np.nan)
        return empty, np.full(n, np.nan), empty.copy(), {}
    parts = flat.struct.unnest()
    names = parts["model"].to_list()
    for name in names:
        if tiers.get(name) is None:
            without[str(name)] += 1
    tier = np.array([-1 if (found := tiers.get(name)) is None else int(found) for name in names], dtype=np.int64)
    success, given, written = (_numbers(parts, name) for name in ("success", "input_tokens", "output_tokens"))
    bad: dict[int, tuple[str, str]] = {}
    wrong = (success < 0) | (success > 1) | np.isinf(success)
    for place in np.flatnonzero(wrong | (given < 0) | (written < 0) | np.isinf(given) | np.isinf(written)):
        field = "outcomes.success" if wrong[place] else "outcomes.tokens"
        expected = "a number in 0..1" if wrong[place] else "a token count"
        bad.setdefault(int(row[place]), (field, f"model {names[place]!r}: expected {expected}"))
    cell = row * N_TIERS + tier
    inside = tier >= 0
    outcome = _means(cell[inside], success[inside], n * N_TIERS).reshape(n, N_TIERS)
    by_tier = _means(cell[inside], written[inside], n * N_TIERS).reshape(n, N_TIERS)
    by_row = _means(row, written, n)[:, None]
    return outcome, _means(row, given, n), np.where(np.isnan(by_tier), by_row, by_tier), bad


def _means(place: Ints, values: Floats, size: int) -> Floats:
    """Mean of the values that fall on each place, NaN where none does."""
    known = ~np.isnan(values)
    count = np.bincount(place[known], minlength=size)
    total = np.bincount(place[known], weights=values[known], minlength=size)
    with np.errstate(invalid="ignore"):
        means: Floats = total / np.where(count, count, np.nan)
    return means


def _numbers(parts: polars.DataFrame, name: str) -> Floats:
    if name not in parts.columns:
        return np.full(parts.height, np.nan)
    column: Floats = parts[name].cast(_polars().Float64).to_numpy().astype(np.float64)
    return column


def _column(frame: polars.DataFrame, name: str, default: Any) -> list[Any]:
    return frame[name].to_list() if name in frame.columns else [default] * frame.height


def _rows(frame: polars.DataFrame) -> list[StepRow]:
    columns = (
        frame["messages"].to_list(),
        _column(frame, "tools", None),
        _column(frame, "role", "unknown"),
        _column(frame, "context_chars", 0),
    )
    return [
        StepRow(messages, tools or None, role or "unknown", chars or 0)
        for messages, tools, role, chars in zip(*columns, strict=True)
    ]


def _runs(trajectory_ids: list[str], step_index: Ints) -> Ints:
    """Number the trajectories; the k-th row of the same trajectory and step belongs to its k-th run.

    Some sources judge one step in several ways (after one turn, after ten): those are runs of their own, since a
    trajectory has each step once.
    """
    seen: Counter[tuple[str, int]] = Counter()
    codes: dict[tuple[str, int], int] = {}
    out = np.empty(len(trajectory_ids), dtype=np.int64)
    for row, key in enumerate(zip(trajectory_ids, step_index.tolist(), strict=True)):
        out[row] = codes.setdefault((key[0], seen[key]), len(codes))
        seen[key] += 1
    return out
