"""Fitting the simple rivals: a training table in, artefact folders out. ``agentrouter learn rivals``.

Law: deterministic (a seed, no clock), the inputs are made by the very functions that serve, and calibration is fitted
on groups that the model has not seen. scikit-learn is needed for the trees alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse, special

from agentrouter.errors import InputError, MissingExtraError
from agentrouter.learn.rival_inputs import Inputs
from agentrouter.scorers import role_table
from agentrouter.scorers.artefact import FORMAT, ArtefactConfig, packed
from agentrouter.scorers.encode import COLUMNS, ENCODING
from agentrouter.scorers.hashing import BUCKETS, TEXT_ENCODING
from agentrouter.scorers.ordinal import OWN_SHARE

VERSION = "1"
TIERS = 4
CALIBRATION_SHARE = 0.15
"""Share of the groups kept for calibration."""

Floats = npt.NDArray[np.float64]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a fit found: the arrays and the part of the config that is the scorer's own."""

    encoding: str
    arrays: dict[str, npt.NDArray[Any]]
    logits: Floats
    """(n, 4) raw predictions of all rows, for calibration."""
    columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    parameters: dict[str, float] = {}


def fit(scorer: str, inputs: Inputs, *, seed: int = 0, card: str = "") -> dict[str, bytes]:
    """Fit one scorer and return the files of its artefact.

    Args:
        scorer: a row of ``RIVALS``.
        inputs: the rows to learn from.
        seed: of everything that is drawn.
        card: text of ``card.md``.

    Raises:
        InputError: no such rival, or a tier that no row has measured.
        MissingExtraError: the trees without scikit-learn.
    """
    if scorer not in RIVALS:
        raise InputError(f"no rival {scorer!r}; there are {', '.join(RIVALS)}", field="scorer")
    if (inputs.weight.sum(axis=0) <= 0).any():
        raise InputError("every tier must be measured on some row", field="target")
    held = held_out(inputs.groups, seed)
    train = inputs.weight * ~held[:, None]
    if (train.sum(axis=0) <= 0).any() or (inputs.weight[held].sum(axis=0) <= 0).any():
        raise InputError("too few groups: a tier is not measured on both sides of the calibration split", field="group")
    fitted = RIVALS[scorer](inputs, train, seed)
    calibration = ordinal_calibration(fitted.logits[held], inputs.target[held], inputs.weight[held])
    names, counts = np.unique(np.array(inputs.sources), return_counts=True)
    config = ArtefactConfig(
        format=FORMAT,
        scorer=scorer,
        version=VERSION,
        encoding=fitted.encoding,
        columns=fitted.columns,
        parameters=fitted.parameters,
        calibration=calibration,
        keys=fitted.keys,
        sources=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        seed=seed,
    )
    return packed(config, fitted.arrays, card)


def held_out(groups: list[str], seed: int, share: float = CALIBRATION_SHARE) -> npt.NDArray[np.bool_]:
    """Say which rows are kept apart: whole groups, by a hash of their name, so that other rows change nothing."""
    edge = int(share * 2**32)
    return np.array([zlib.crc32(f"{seed}/{group}".encode("utf-8", "surrogatepass")) < edge for group in groups])


GAP = 0.05
"""Least distance between the intercepts of neighbouring tiers: a higher tier is never predicted to be just as good."""


def ordinal_calibration(logits: Floats, target: Floats, weight: Floats) -> tuple[tuple[float, float], ...]:
    """Return (slope, intercept) by tier for ``ordinal.calibrated``: one slope, intercepts that rise with the tier.

    The likeliest on soft targets; the slope stays within [0.05, 5], so that the order of the scores is kept.
    Source: Platt 1999, with the cut points of the proportional-odds model (McCullagh 1980).
    """
    mean = logits.mean(axis=1, keepdims=True)
    x = mean + OWN_SHARE * (logits - mean)
    y, w = np.nan_to_num(target), weight / weight.sum()

    def loss(at: Floats) -> tuple[float, Floats]:
        z = at[0] * x + at[1] + np.concatenate([[0.0], np.cumsum(at[2:])])
        slack = w * (special.expit(z) - y)
        above = np.cumsum(slack.sum(axis=0)[::-1])[::-1]
        return float((w * (np.logaddexp(0.0, z) - y * z)).sum()), np.concatenate([[(slack * x).sum()], above])

    bounds = [(0.05, 5.0), (-10.0, 10.0), *[(GAP, 5.0)] * (TIERS - 1)]
    start = [1.0, 0.0, *[2 * GAP] * (TIERS - 1)]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    slope, cuts = round(float(found[0]), 6), found[1] + np.concatenate([[0.0], np.cumsum(found[2:])])
    return tuple((slope, round(float(cut), 6)) for cut in cuts)


POOLING = 10.0
"""Rows' worth of the parent cell's mean in each cell of the role table."""
MIN_CELL = 5.0
"""A cell with less weight than this is left to its parent."""


def fit_role_table(inputs: Inputs, train: Floats, seed: int) -> Fitted:
    """Means by cell: Beta(1, 1) for the cell of everything, each narrower cell pooled with the one above it."""
    y = np.nan_to_num(inputs.target)
    good: dict[str, Floats] = {}
    mass: dict[str, Floats] = {}
    parent: dict[str, str] = {}
    for row, keys in enumerate(inputs.keys):
        for depth, key in enumerate(keys):
            good[key] = good.get(key, 0.0) + train[row] * y[row]
            mass[key] = mass.get(key, 0.0) + train[row]
            parent[key] = keys[max(0, depth - 1)]
    cells = {"": (good[""] + 1.0) / (mass[""] + 2.0)}
    for key in sorted(good, key=lambda key: (key.count("|") + bool(key), key)):
        if key and mass[key].sum() >= MIN_CELL and parent[key] in cells:
            cells[key] = (good[key] + POOLING * cells[parent[key]]) / (mass[key] + POOLING)
    narrowest = np.stack([cells[next(k for k in reversed(keys) if k in cells)] for keys in inputs.keys])
    return Fitted(
        encoding=role_table.ENCODING,
        arrays={"p_ok": np.stack(list(cells.values()))},
        keys=tuple(cells),
        logits=special.logit(narrowest),
    )


L2 = 3e-5
"""Ridge of the logistic heads, per unit of mean loss."""


def fit_tfidf(inputs: Inputs, train: Floats, seed: int) -> Fitted:
    """One L2-regularised logistic regression a tier on soft targets, by L-BFGS."""
    idf = document_frequencies(inputs.words)
    rows = unit_rows(inputs.words, idf)
    weight, bias = np.zeros((BUCKETS, TIERS), dtype=np.float16), np.zeros(TIERS)
    for tier in range(TIERS):
        found, bias[tier] = logistic(rows, inputs.target[:, tier], train[:, tier], l2=L2)
        weight[:, tier] = found
    arrays: dict[str, npt.NDArray[Any]] = {"idf": idf.astype(np.float16), "weight": weight, "bias": bias}
    # Calibrated as it will serve: with the rounded numbers.
    served = unit_rows(inputs.words, arrays["idf"].astype(np.float64)) @ weight.astype(np.float64) + bias
    return Fitted(encoding=TEXT_ENCODING, arrays=arrays, logits=np.asarray(served), parameters={"l2": L2})


def logistic(rows: sparse.csr_array, target: Floats, weight: Floats, *, l2: float) -> tuple[Floats, float]:
    """Return (w, b) that minimise sum_i weight_i * BCE(target_i, rows_i . w + b) / sum weight + l2 / 2 |w|^2.

    Args:
        rows: (n, d) inputs.
        target: (n,) in [0, 1]; NaN where the weight is 0.
        weight: (n,) 0 or more.
        l2: ridge on w, not on b.
    """
    keep = weight > 0
    x, y = rows[keep], target[keep]
    share = weight[keep] / weight[keep].sum()
    x_t = x.T.tocsr()

    def loss(at: Floats) -> tuple[float, Floats]:
        w, b = at[:-1], at[-1]
        z = x @ w + b
        slack = share * (special.expit(z) - y)
        value = float(share @ (np.logaddexp(0.0, z) - y * z)) + 0.5 * l2 * float(w @ w)
        return value, np.concatenate([x_t @ slack + l2 * w, [slack.sum()]])

    start = np.zeros(x.shape[1] + 1)
    done = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 400, "gtol": 1e-7})
    return done.x[:-1], float(done.x[-1])


DIMENSIONS = 64
NEIGHBOURS = 40
REFERENCES = 4_000


def fit_knn(inputs: Inputs, train: Floats, seed: int) -> Fitted:
    """Draw reference rows, as many of each source as its weight says, and project them."""
    rng = np.random.default_rng(seed)
    packed_signs = rng.integers(0, 256, size=(BUCKETS, DIMENSIONS // 8), dtype=np.uint8)
    signs = np.unpackbits(packed_signs, axis=1).astype(np.float64) * 2.0 - 1.0
    idf = document_frequencies(inputs.words).astype(np.float16)
    points = unit_rows(inputs.words, idf.astype(np.float64)) @ signs
    points /= np.maximum(np.sqrt((points**2).sum(axis=1, keepdims=True)), 1e-12)
    chance = train.sum(axis=1)
    size = min(REFERENCES, int((chance > 0).sum()))
    chosen = np.sort(rng.choice(chance.size, size=size, replace=False, p=chance / chance.sum()))
    known = (train[chosen] > 0).astype(np.float16)
    outcome = np.nan_to_num(inputs.target[chosen]).astype(np.float16)
    arrays: dict[str, npt.NDArray[Any]] = {
        "idf": idf,
        "signs": packed_signs,
        "points": points[chosen].astype(np.float16),
        "outcome": outcome,
        "weight": known,
    }
    mean = neighbour_means(points, arrays, NEIGHBOURS)
    return Fitted(
        encoding=TEXT_ENCODING,
        arrays=arrays,
        logits=special.logit(np.clip(mean, 1e-6, 1 - 1e-6)),
        parameters={"k": NEIGHBOURS},
    )


def neighbour_means(points: Floats, arrays: dict[str, npt.NDArray[Any]], k: int, block: int = 2_000) -> Floats:
    """Return (n, 4) the shrunk means that ``KnnScorer`` computes, for many points."""
    reference, outcome, weight = (arrays[name].astype(np.float64) for name in ("points", "outcome", "weight"))
    overall = (weight * outcome).sum(axis=0) / weight.sum(axis=0)
    k = min(k, reference.shape[0])
    found = []
    for start in range(0, points.shape[0], block):
        near = points[start : start + block] @ reference.T
        nearest = np.argpartition(near, -k, axis=1)[:, -k:]
        top, mass = (weight * outcome)[nearest].sum(axis=1), weight[nearest].sum(axis=1)
        found.append((top + overall) / (mass + 1.0))
    return np.concatenate(found)


TREES = {"max_iter": 80, "learning_rate": 0.1, "max_leaf_nodes": 12, "min_samples_leaf": 60, "l2_regularization": 5.0}


def fit_gbdt(inputs: Inputs, train: Floats, seed: int) -> Fitted:
    """One HistGradientBoostingClassifier a tier; a soft target is a success and a failure with its two weights."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError("scikit-learn", "train") from None
    models = []
    for tier in range(TIERS):
        y, w = np.nan_to_num(inputs.target[:, tier]), train[:, tier]
        x = np.concatenate([inputs.numeric, inputs.numeric])
        label = np.concatenate([np.ones(y.size), np.zeros(y.size)])
        mass = np.concatenate([w * y, w * (1.0 - y)])
        keep = mass > 0
        model = HistGradientBoostingClassifier(**TREES, early_stopping=False, random_state=seed)
        models.append(model.fit(x[keep], label[keep], sample_weight=mass[keep] / mass[keep].mean()))
    arrays, depth = exported(models)
    logits = np.stack([model.decision_function(inputs.numeric) for model in models], axis=1)
    parameters = {"depth": float(depth)}
    return Fitted(
        encoding=ENCODING,
        arrays=arrays,
        logits=logits,
        columns=tuple(column.name for column in COLUMNS),
        parameters=parameters,
    )


def exported(models: list[Any]) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """Return the arrays of ``scorers.gbdt`` and the depth of the deepest tree.

    Reads scikit-learn's private ``_predictors`` and ``_baseline_prediction`` (there is no public way); the parity test
    notices a version in which they differ. Inputs have no NaN, so the branch for missing values is left out.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {key: [] for key in ("feature", "threshold", "left", "right", "value")}
    roots: list[int] = []
    depth, offset = 0, 0
    for model in models:
        for (tree,) in model._predictors:
            nodes = tree.nodes
            own = np.arange(nodes.size)
            leaf = nodes["is_leaf"].astype(bool)
            parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"]).astype(np.int16))
            parts["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
            for side in ("left", "right"):
                parts[side].append((np.where(leaf, own, nodes[side]) + offset).astype(np.int32))
            parts["value"].append(nodes["value"].astype(np.float64))
            roots.append(offset)
            offset += nodes.size
            depth = max(depth, int(nodes["depth"].max()))
    arrays: dict[str, npt.NDArray[Any]] = {name: np.concatenate(found) for name, found in parts.items()}
    arrays["roots"] = np.array(roots, dtype=np.int32)
    arrays["trees"] = np.array([len(model._predictors) for model in models], dtype=np.int32)
    arrays["baseline"] = np.array([float(np.ravel(model._baseline_prediction)[0]) for model in models])
    return arrays, depth


def document_frequencies(words: sparse.csr_array) -> Floats:
    """Return the smoothed inverse document frequency of each bucket: ln((1 + n) / (1 + df)) + 1."""
    df = np.bincount(words.indices, minlength=BUCKETS)
    return np.asarray(np.log((1.0 + words.shape[0]) / (1.0 + df)) + 1.0)


def unit_rows(words: sparse.csr_array, idf: Floats) -> sparse.csr_array:
    """Return the rows times the frequencies, each of length 1 (``hashing.unit`` for many)."""
    scaled = words.copy()
    scaled.data = scaled.data * idf[scaled.indices]
    length = np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel())
    scaled.data = scaled.data / np.repeat(np.where(length > 0, length, 1.0), np.diff(scaled.indptr))
    return scaled


RIVALS: dict[str, Callable[[Inputs, Floats, int], Fitted]] = {
    "role-table": fit_role_table,
    "tfidf": fit_tfidf,
    "knn": fit_knn,
    "gbdt": fit_gbdt,
}
"""Scorer -> what fits it."""
