"""From four raw scores to four honest, ordered probabilities.

Law: pure; plain floats, since four values are too few for an array to pay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Four = tuple[float, float, float, float]
FLOOR = 1e-6
OWN_SHARE = 0.3
"""How much of a tier's distance from the mean logit is its own; more leaves ties that no threshold can tell apart."""


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-min(x, 700.0)))
    e = math.exp(max(x, -700.0))
    return e / (1.0 + e)


def logit(p: float) -> float:
    """ln(p / (1 - p)), p kept ``FLOOR`` away from 0 and 1."""
    p = min(1.0 - FLOOR, max(FLOOR, p))
    return math.log(p / (1.0 - p))


def calibrated(logits: Sequence[float], calibration: Sequence[tuple[float, float]]) -> Four:
    """Return P(ok) by tier: sigmoid(slope * x + intercept), x the logit drawn towards the mean of all four.

    Four heads fitted apart differ by noise where tiers hardly differ, and a threshold on their ratio then follows the
    noise; the mean is the step's difficulty as all heads see it, and ordered intercepts are the ordinal model
    P(m* > j) = sigmoid(g(x) - b_j). ``OWN_SHARE`` keeps part of what a tier's own head knows.

    Args:
        logits: one a tier, minimal first.
        calibration: (slope, intercept) by tier; empty: the logits as they are.
    """
    if calibration:
        mean = sum(logits) / len(logits)
        logits = [a * (mean + OWN_SHARE * (x - mean)) + b for x, (a, b) in zip(logits, calibration, strict=True)]
    return monotone([sigmoid(x) for x in logits])


def monotone(p: Sequence[float]) -> Four:
    """Return the non-decreasing sequence nearest to ``p`` in least squares: a higher tier does no worse.

    Pool adjacent violators (Barlow et al. 1972), equal weights. It is P(m* > j) = 1 - P(ok) made ordinal: the paper's
    P(m* > 0) >= P(m* > 1) >= P(m* > 2).
    """
    blocks: list[tuple[float, int]] = []
    for value in p:
        total, count = value, 1
        while blocks and blocks[-1][0] * count > total * blocks[-1][1]:
            before, n = blocks.pop()
            total, count = total + before, count + n
        blocks.append((total, count))
    out: list[float] = []
    for total, count in blocks:
        out += [total / count] * count
    # Means of equal values may differ in the last bit; order is exact.
    a = out[0]
    b = max(a, out[1])
    c = max(b, out[2])
    return (a, b, c, max(c, out[3]))
