"""The outputs of a model for many rows, in batches of like length."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore import _check
from rnncore.fitting.batches import Batch, Rows
from rnncore.fitting.layout import layout_of, whole


def predict(model: Any, X: Any, batch_size: int = 256, *, lengths: Any = None) -> Any:
    """The outputs for all rows, as at inference, whatever their number and lengths.

    Parameters
    ----------
    model : a layer or model, frozen or not, or anything that gives ``y`` or ``(y, state)``
    X : (T, B, ...) array in the model's layout, or a list of sequences (T_i, ...)
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
    layout = layout_of(own, x=X)
    rows = Rows(X, None, lengths, layout)
    listed = not hasattr(X, "shape")
    found: Any = [None] * rows.count if listed else None
    axis = 0 if layout.batch_first else 1
    for places in rows.places(size, None):
        batch = rows.batch(places)
        y = outputs(own, batch)
        per_step = y.shape[:2] == batch.x.shape[:2] and layout.per_step
        if not per_step:
            axis = 0
        if not listed:
            if found is None:
                shape = (*X.shape[:2], *y.shape[2:]) if per_step else (rows.count, *y.shape[1:])
                found = np.zeros(shape, y.dtype)
            if not per_step:
                found[places] = y
            elif axis == 0:
                found[places, : y.shape[1]] = y
            else:
                found[: y.shape[0], places] = y
            continue
        for k, row in enumerate(places):
            one = y[k] if axis == 0 else y[:, k]
            steps = None if batch.lengths is None or not per_step else int(batch.lengths[k])
            found[row] = one[:steps].copy()
    if listed and not layout.per_step:
        return np.stack(found)
    return found


def outputs(model: Any, batch: Batch) -> np.ndarray:
    """Those of a model for a batch, as at inference."""
    given = {} if batch.lengths is None else {"lengths": batch.lengths}
    found = model(batch.x, **given) if callable(model) else model.forward(batch.x, **given)
    y: np.ndarray = found[0] if isinstance(found, tuple) else found
    return y
