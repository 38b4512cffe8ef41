"""The outputs of a model for many rows, in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from rnncore import _check
from rnncore.fitting.arrays import array_of
from rnncore.fitting.batches import Batch, Rows
from rnncore.fitting.layout import Layout, layout_of, whole


@overload
def predict(
    model: object, X: np.ndarray, batch_size: int = 256, *, lengths: object = None
) -> np.ndarray: ...


@overload
def predict(
    model: object, X: Sequence[object], batch_size: int = 256, *, lengths: None = None
) -> np.ndarray | list[np.ndarray]: ...


def predict(
    model: Any, X: Any, batch_size: int = 256, *, lengths: Any = None
) -> np.ndarray | list[np.ndarray]:
    """The outputs for all rows, as at inference, whatever their number and lengths.

    Parameters
    ----------
    model : a layer or model, frozen or not, or anything that gives ``y`` or ``(y, state)``
    X : (T, B, ...) array in the model's layout, or a list of sequences (T_i, ...)
        Numbers are cast to the model's dtype, batch by batch, as by `fit`.
    batch_size : rows that are computed together; rows of like length are
    lengths : (B,) integers, of an array

    Returns
    -------
    An array in the model's layout; for a list of sequences and outputs at every step a list of
    arrays (T_i, ...), in the order of X.

    Raises
    ------
    TypeError, ValueError for what is no such data, and what the model raises.

    Examples
    --------
    >>> from rnncore import GRU
    >>> y = predict(GRU(1, 2, rng=0), [np.ones((3, 1)), np.ones((5, 1))])
    >>> [each.shape for each in y]
    [(3, 2), (5, 2)]
    """
    size = _check.size("batch_size", batch_size)
    own = whole(model)
    if not callable(own) and not hasattr(own, "forward"):
        raise TypeError(f"model is of type {type(model).__name__}, which has no forward")
    layout = layout_of(own)
    X = array_of("X", X)
    rows = Rows(X, None, lengths, layout)
    found: list[Any] = [None] * rows.count  # the rows of an array, or arrays of their own
    all_of: np.ndarray | None = None
    for places in rows.places(size, None):
        batch = rows.batch(places)
        y = outputs(own, batch)
        steps = layout.has_steps(y, batch.x)
        by_row = y.swapaxes(0, 1) if steps and layout.axis else y
        if all_of is None and not (steps and rows.listed):
            all_of = _room(y, rows.count, steps, layout, X)
            found = list(all_of.swapaxes(0, 1) if steps and layout.axis else all_of)
        after = None if batch.lengths is None or not steps else layout.after(batch.lengths)
        for k, row in enumerate(places):
            one = by_row[k] if after is None else by_row[k, : after[k]]
            if all_of is None:
                found[row] = one.copy()
            elif steps:
                found[row][: len(one)] = one
            else:
                all_of[row] = one
    return found if all_of is None else all_of


def _room(y: np.ndarray, count: int, steps: bool, layout: Layout, X: Any) -> np.ndarray:
    """For the outputs of so many rows, of which y are some."""
    if not steps:
        return np.zeros((count, *y.shape[1:]), y.dtype)
    T = int(layout.after(np.array([X.shape[1 - layout.axis]], np.intp))[0])
    return np.zeros((*((T, count) if layout.axis else (count, T)), *y.shape[2:]), y.dtype)


def outputs(model: Any, batch: Batch) -> np.ndarray:
    """Those of a model for a batch, as at inference."""
    given = {} if batch.lengths is None else {"lengths": batch.lengths}
    found = model(batch.x, **given) if callable(model) else model.forward(batch.x, **given)
    y: np.ndarray = found[0] if isinstance(found, tuple) else found
    return y
