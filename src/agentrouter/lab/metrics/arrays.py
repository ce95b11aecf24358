"""Turning what a caller hands over into checked arrays.

Law: every metric validates its input here and nowhere else, so that a bad table is named once and in one wording.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentrouter.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def floats(name: str, values: npt.ArrayLike, *, like: int | None = None, empty: bool = False) -> Floats:
    """Return ``values`` as a 1-D array of finite floats.

    Args:
        name: what to call it in the message.
        values: numbers.
        like: the length it must have.
        empty: whether no value at all is allowed.

    Raises:
        InputError: not one-dimensional, of another length, empty, or with a value that is not a finite number.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("expected numbers", field=name) from None
    _shape(name, array.shape, like, empty)
    if not np.isfinite(array).all():
        raise InputError(f"value {int(np.argmin(np.isfinite(array)))} is not a finite number", field=name)
    return array


def tiers(name: str, values: npt.ArrayLike, *, like: int | None = None, n_tiers: int = 4) -> Ints:
    """Return ``values`` as a 1-D array of tiers 0..``n_tiers`` - 1.

    Raises:
        InputError: not one-dimensional, of another length, empty, or with a value that is not a tier.
    """
    array = floats(name, values, like=like)
    wrong = (array != np.floor(array)) | (array < 0) | (array >= n_tiers)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise InputError(f"value {place} is {array[place]:g}: expected a tier 0..{n_tiers - 1}", field=name)
    return array.astype(np.int64)


def known(table: Floats) -> Bools:
    """Return which entries of a table are measured (not NaN), of the same shape."""
    return np.logical_not(np.isnan(table)).astype(np.bool_).reshape(table.shape)


def complete(table: Floats) -> Bools:
    """Return which rows of a table (n, k) have no NaN."""
    return np.asarray(known(table).all(axis=1), dtype=np.bool_)


def codes(name: str, values: npt.ArrayLike, *, like: int) -> Ints:
    """Return group labels of any kind as integers 0..g-1, equal labels alike.

    Raises:
        InputError: not one-dimensional or of another length.
    """
    array = np.asarray(values)
    _shape(name, array.shape, like, True)
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _shape(name: str, shape: tuple[int, ...], like: int | None, empty: bool) -> None:
    if len(shape) != 1:
        raise InputError(f"expected one dimension, got shape {shape}", field=name)
    if like is not None and shape[0] != like:
        raise InputError(f"expected {like} values, got {shape[0]}", field=name)
    if not shape[0] and not empty:
        raise InputError("expected at least one value", field=name)
