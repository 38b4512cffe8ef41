"""What passes over sequences are given: their lengths, and gradients from outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore._check.ndarrays import plain
from rnncore._check.texts import dtype_text, shape_text


def some_gradient(**gradients: Any) -> None:
    """Check that a backward pass gets a gradient from outside: without one it would give zeros.

    >>> some_gradient(dy=None, dstate=(None, None))
    Traceback (most recent call last):
    ValueError: dy is None and dstate is (None, None), expected at least one gradient
    """
    for value in gradients.values():
        parts = value if isinstance(value, tuple | list) else (value,)
        if any(part is not None for part in parts):
            return
    came = [f"{name} is {value}" for name, value in gradients.items()]
    raise ValueError(f"{' and '.join(came)}, expected at least one gradient")


def lengths(value: object, T: int, B: int) -> np.ndarray | None:
    """Check that `value` is None or holds the length of each of B rows, 0 to T, and copy it.

    Returns
    -------
    (B,) array of `numpy.intp`, or None.

    Examples
    --------
    >>> lengths([3, 9], 5, 2)
    Traceback (most recent call last):
    ValueError: lengths[1] is 9, expected 0 to 5, the steps of x
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray) and type(value) is not np.ndarray:
        value = plain("lengths", value)
    try:
        found = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"lengths cannot be read as a numpy array of integers: {error}") from error
    if isinstance(value, tuple | list) and not value:
        found = found.astype(np.intp)  # an empty list has no numbers that could be integers
    if found.dtype.kind not in "iu":
        raise TypeError(f"lengths has dtype {dtype_text(found.dtype)}, expected integers")
    if found.shape != (B,):
        raise ValueError(f"lengths has shape {shape_text(found.shape)}, expected ({B},)")
    wrong = np.flatnonzero((found < 0) | (found > T))
    if wrong.size:
        row = wrong[0]
        raise ValueError(f"lengths[{row}] is {found[row]}, expected 0 to {T}, the steps of x")
    return found.astype(np.intp)
