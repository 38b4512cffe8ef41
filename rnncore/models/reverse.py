"""Sequences from their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore.models.over_time import Kept, OverTime
from rnncore.models.part import saved

if TYPE_CHECKING:
    from numpy.typing import NDArray


@saved
class Reverse(OverTime):
    """Every row from its last step to its first: of a row of L steps, ``y[t] = x[L - 1 - t]``.

    Parameters
    ----------
    batch_first : bool
        Whether x and y are (B, T, C), instead of (T, B, C).

    There are no parameters; x is float32 or float64, and so is y.

    Raises
    ------
    TypeError
        If batch_first is not True or False.

    Examples
    --------
    Two rows, of three steps and of two:

    >>> x = np.array([[[1.0], [5.0]], [[2.0], [6.0]], [[3.0], [0.0]]])
    >>> Reverse()(x, lengths=[3, 2])[..., 0]
    array([[3., 6.],
           [2., 5.],
           [1., 0.]])
    """

    dtype: None

    def __init__(self, *, batch_first: bool = False):
        super().__init__(batch_first=_check.flag("batch_first", batch_first))

    def _run(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, *, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        return _reversed(x, lengths), ()

    def _undo(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return _reversed(dy, lengths), {}


def _reversed(x: np.ndarray, lengths: NDArray[np.intp] | None) -> np.ndarray:
    """It undoes itself."""
    if lengths is None:
        return x[::-1].copy()
    y, steps = np.zeros_like(x, order="C"), np.arange(len(x))[:, np.newaxis]
    t, b = np.nonzero(steps < lengths)
    y[t, b] = x[lengths[b] - 1 - t, b]
    return y
