"""How often a policy changes the model, and what that does to the prompt caches.

Definitions: docs/metrics.md.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import codes, floats


class Switching(msgspec.Struct, frozen=True, kw_only=True):
    """Switching figures of one policy over a set of trajectories."""

    trajectories: int
    switches_per_trajectory: float
    cache_read_share: float
    """Cache-read tokens / all input tokens."""
    cold_write_usd: float
    """USD paid for cache writes on steps that read nothing from a cache."""
    wasted_usd: float
    """USD of attempts whose answer was not served (cascades)."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Router overhead of a decision, milliseconds."""

    p50_ms: float
    p95_ms: float


def switching(
    models: npt.ArrayLike,
    trajectories: npt.ArrayLike,
    *,
    cache_read: npt.ArrayLike,
    input_tokens: npt.ArrayLike,
    write_usd: npt.ArrayLike,
    wasted_usd: npt.ArrayLike | None = None,
) -> Switching:
    """Count changes of model between consecutive steps of a trajectory, and what the caches made of it.

    Args:
        models: model (or tier) that served each step, steps of a trajectory in their order.
        trajectories: trajectory of each step.
        cache_read: tokens each step read from a cache.
        input_tokens: all input tokens of each step.
        write_usd: USD each step paid for cache writes.
        wasted_usd: USD of attempts that were not served; None: none.
    """
    names = np.asarray(models)
    if names.ndim != 1 or not names.size:
        raise InputError(f"expected one non-empty dimension, got shape {names.shape}", field="models")
    n = names.size
    code = codes("trajectories", trajectories, like=n)
    model = codes("models", names, like=n)
    order = np.argsort(code, kind="stable")
    same = code[order][1:] == code[order][:-1]
    changed = model[order][1:] != model[order][:-1]
    count = int(code.max()) + 1
    read = floats("cache_read", cache_read, like=n)
    total = float(floats("input_tokens", input_tokens, like=n).sum())
    written = floats("write_usd", write_usd, like=n)
    wasted = 0.0 if wasted_usd is None else float(floats("wasted_usd", wasted_usd, like=n).sum())
    return Switching(
        trajectories=count,
        switches_per_trajectory=float((same & changed).sum()) / count,
        cache_read_share=float(read.sum()) / total if total else 0.0,
        cold_write_usd=float(written[read == 0].sum()),
        wasted_usd=wasted,
    )


def overhead(ms: npt.ArrayLike) -> Latency:
    """Return the median and the 95th percentile of the router's own time per decision."""
    values = floats("ms", ms)
    p50, p95 = np.quantile(values, [0.5, 0.95])
    return Latency(p50_ms=float(p50), p95_ms=float(p95))
