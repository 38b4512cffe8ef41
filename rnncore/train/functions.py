"""Functions that turn what a model gives into probabilities."""

from __future__ import annotations

import numpy as np

from rnncore import _check
from rnncore._cells import activations
from rnncore._common.quiet import quiet
from rnncore._engine import losses


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along an axis: numbers above 0 whose sum is 1.

    The largest of each sum is subtracted first, so that no exponential overflows.

    Parameters
    ----------
    x : array of one axis or more, float32 or float64
    axis : int
        From -1, the last one, backwards, or from 0.

    Returns
    -------
    Array like x. Where an x is NaN or infinity, or all are -infinity, all of the sum are NaN.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0 + np.log(3)])).round(12)
    array([0.25, 0.75])
    """
    x = _check.array("x", x, np.shape(x))
    if x.ndim == 0:
        raise ValueError("x has shape (), expected at least one axis")
    axis = _check.size("axis", axis, minimum=-x.ndim, maximum=x.ndim - 1)
    return losses.softmax(x, axis) if x.size else x.copy()


@quiet
def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))``, the probability of yes: from 0 to 1, and 1/2 at 0.

    Computed as ``exp(x) / (1 + exp(x))`` where x is negative, so that no exponential overflows.

    Parameters
    ----------
    x : array of any shape, float32 or float64

    Returns
    -------
    Array like x.

    Raises
    ------
    TypeError
        If x is no such array.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, np.log(3)])).round(12)
    array([0.  , 0.5 , 0.75])
    """
    x = _check.array("x", x, np.shape(x))
    return np.asarray(activations.sigmoid(x), x.dtype)
