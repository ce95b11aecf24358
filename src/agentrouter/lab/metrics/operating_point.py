"""What a scorer saves at a promised quality: the cheapest setting of one price of quality for all sources.

Law: pure; the setting is the same for all sources, each source's retention counts at most 1 (a source on which the
cheap tiers are better must not pay for another), and sources weigh alike. The setting is chosen on the rows it is
judged on, in every resample anew: an optimistic figure by one fitted number, the same for every scorer.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Floats
from agentrouter.lab.metrics.bootstrap import Interval, group_sums, percentile_interval, resampled_sums


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """One source under T settings of a router; n rows."""

    kept: Floats
    """(T, n) outcome of the tier chosen at each setting."""
    cost: Floats
    """(T, n) its cost."""
    reference: Floats
    """(n,) outcome of the reference."""
    base: Floats
    """(n,) cost of the reference."""
    groups: Sequence[str]


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest setting that keeps the target."""

    target: float
    saving: Interval
    """Macro mean over sources of 1 - cost / reference cost; 0 where no setting keeps the target."""
    retention: float | None
    """Macro mean at that setting; None: no setting keeps the target."""
    setting: int | None
    by_source: tuple[tuple[float, float], ...]
    """(saving, retention, not capped) of each source at that setting."""


def operating_point(parts: Sequence[Swept], target: float, *, seed: int = 0, resamples: int = 200) -> OperatingPoint:
    """Return what is saved at macro retention of at least ``target``.

    Args:
        parts: the sources, all with the same settings.
        target: least macro mean of min(1, retention).
        seed: of the bootstrap, which draws groups within each source.
        resamples: number of draws.

    Raises:
        InputError: no source, or settings differ in number.
    """
    if not parts or len({part.kept.shape[0] for part in parts}) != 1:
        raise InputError("expected at least one source, all with the same settings", field="parts")
    settings = parts[0].kept.shape[0]
    tables = [_sums(part) for part in parts]
    totals = np.stack([table.sum(axis=0) for table in tables])[None]
    saving, kept, best = _chosen(totals, settings, target)
    draws = [resampled_sums(table, seed=seed + place, resamples=resamples) for place, table in enumerate(tables)]
    drawn = _chosen(np.stack(draws, axis=1), settings, target)[0]
    interval = percentile_interval(float(saving[0]), drawn, n_groups=sum(table.shape[0] for table in tables))
    at = int(best[0])
    if at < 0:
        return OperatingPoint(target=target, saving=interval, retention=None, setting=None, by_source=())
    savings, retentions = _ratios(totals, settings)
    each = zip(savings[0, :, at].tolist(), retentions[0, :, at].tolist(), strict=True)
    return OperatingPoint(target=target, saving=interval, retention=float(kept[0]), setting=at, by_source=tuple(each))


def _sums(part: Swept) -> Floats:
    columns = np.concatenate([part.kept, part.cost, part.reference[None], part.base[None]]).T
    return group_sums(columns, np.array(part.groups, dtype=str))


def _ratios(totals: Floats, settings: int) -> tuple[Floats, Floats]:
    """Return savings and retentions, (draws, sources, settings), of (draws, sources, 2 T + 2) totals."""
    reference, base = totals[..., -2:-1], totals[..., -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        # A draw in which the reference never succeeds has nothing to lose.
        retention = np.where(reference > 0, totals[..., :settings] / reference, 1.0)
        saving = np.where(base > 0, 1.0 - totals[..., settings : 2 * settings] / base, 0.0)
    return saving, retention


def _chosen(totals: Floats, settings: int, target: float) -> tuple[Floats, Floats, Floats]:
    """Return saving, capped macro retention and setting (-1: none) of each draw."""
    saving, retention = _ratios(totals, settings)
    macro_saving = saving.mean(axis=1)
    macro_kept = np.minimum(retention, 1.0).mean(axis=1)
    # Twelve decimals, as in ``percentile_interval``: a sum's last bit must not decide.
    allowed = np.where(np.round(macro_kept - target, 12) >= 0, macro_saving, -np.inf)
    best = allowed.argmax(axis=1)
    rows = np.arange(best.size)
    none = ~np.isfinite(allowed[rows, best])
    return (
        np.where(none, 0.0, macro_saving[rows, best]),
        macro_kept[rows, best],
        np.where(none, -1, best).astype(np.float64),
    )
