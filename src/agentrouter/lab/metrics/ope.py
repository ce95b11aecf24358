"""Off-policy evaluation: what a target policy would have got, from the log of another.

One decision per record (a step, or a trajectory with exactly one randomised step). Sources: Dudik et al.
2011 (1103.4601) for DR, Swaminathan and Joachims 2015 for SNIPS.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError
from agentrouter.lab.metrics.arrays import Floats, floats

LEAST_ESS = 100.0
LARGEST_SHARE = 0.05
"""Below this effective sample size, or above this share of the largest weight, an estimate is not to be trusted."""

_Z95 = 1.959963984540054


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An off-policy value with a normal 95 % interval and the diagnostics of its weights."""

    value: float
    low: float
    high: float
    ess: float
    """Effective sample size, (sum w)^2 / sum w^2."""
    max_weight: float
    max_share: float
    """Largest weight / sum of the weights."""
    n: int

    @property
    def trustworthy(self) -> bool:
        """Whether the diagnostics are inside the limits (ESS >= 100, largest share < 5 %)."""
        return self.ess >= LEAST_ESS and self.max_share < LARGEST_SHARE


def importance_weights(target: npt.ArrayLike, logged: npt.ArrayLike) -> Floats:
    """W = pi(a | x) / p(a | x) of the logged actions.

    Args:
        target: probability of the logged action under the target policy.
        logged: its recorded propensity.

    Raises:
        InputError: a probability is outside [0, 1], or a propensity is 0 (the log lies: the action was taken).
    """
    p = floats("logged", logged)
    pi = floats("target", target, like=p.size)
    if (p <= 0).any() or (p > 1).any():
        raise InputError(f"propensity {int(np.argmax((p <= 0) | (p > 1)))} is not in (0, 1]", field="logged")
    if (pi < 0).any() or (pi > 1).any():
        raise InputError(f"probability {int(np.argmax((pi < 0) | (pi > 1)))} is not in [0, 1]", field="target")
    return pi / p


def ips(reward: npt.ArrayLike, weights: npt.ArrayLike) -> Estimate:
    """IPS: V = mean(w r). Unbiased where the log has support; its variance grows with the largest weight."""
    w = floats("weights", weights)
    r = floats("reward", reward, like=w.size)
    return _estimate(w * r, w)


def snips(reward: npt.ArrayLike, weights: npt.ArrayLike) -> Estimate:
    """SNIPS: V = sum(w r) / sum(w). Bounded by the rewards, biased by O(1/n); interval by the delta method.

    Raises:
        InputError: all weights are 0: the log has no record of what the target would do.
    """
    w = floats("weights", weights)
    r = floats("reward", reward, like=w.size)
    if w.sum() <= 0:
        raise InputError("all are 0: the log never took an action of the target policy", field="weights")
    value = float((w * r).sum() / w.sum())
    # Influence of a record on the ratio: w (r - V) / mean(w).
    return _estimate(value + w * (r - value) / w.mean(), w, value=value)


def doubly_robust(
    reward: npt.ArrayLike, weights: npt.ArrayLike, predicted_target: npt.ArrayLike, predicted_logged: npt.ArrayLike
) -> Estimate:
    """DR: V = mean( sum_a pi(a|x) rhat(x, a) + w (r - rhat(x, a_logged)) ).

    Unbiased if either the propensities or ``rhat`` are right.

    Args:
        reward: observed rewards.
        weights: from ``importance_weights``.
        predicted_target: sum_a pi(a|x) rhat(x, a) of each record.
        predicted_logged: rhat(x, a_logged) of each record.
    """
    w = floats("weights", weights)
    r = floats("reward", reward, like=w.size)
    direct = floats("predicted_target", predicted_target, like=w.size)
    return _estimate(direct + w * (r - floats("predicted_logged", predicted_logged, like=w.size)), w)


def trajectory_weights(step_weights: npt.ArrayLike, trajectories: npt.ArrayLike) -> Floats:
    """w_{1:t} = product of the step weights up to and with each step, by trajectory, steps in their order.

    Per-decision IS values costs as sum_t w_{1:t} c_t; success takes the weight of the last step. Keep exploration to
    one step a trajectory: the variance is exponential in the number of randomised steps.
    """
    w = floats("step_weights", step_weights)
    names = np.asarray(trajectories)
    if names.shape != w.shape:
        raise InputError(f"expected shape {w.shape}, got {names.shape}", field="trajectories")
    out = np.empty_like(w)
    running: dict[object, float] = {}
    for index, name in enumerate(names.tolist()):
        running[name] = out[index] = running.get(name, 1.0) * w[index]
    return out


def _estimate(terms: Floats, w: Floats, *, value: float | None = None) -> Estimate:
    mean = float(terms.mean()) if value is None else value
    half = _Z95 * float(terms.std(ddof=1)) / float(np.sqrt(terms.size)) if terms.size > 1 else float("inf")
    total, squares = float(w.sum()), float((w**2).sum())
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        ess=total**2 / squares if squares else 0.0,
        max_weight=float(w.max()),
        max_share=float(w.max()) / total if total else 0.0,
        n=w.size,
    )
