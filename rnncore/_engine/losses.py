"""Losses and the gradient of an embedding in the compiled core, in a fixed order of sums.

NumPy would take several passes over memory, and a temporary array for each.
"""

import numpy as np

from rnncore._core import core
from rnncore._engine.memory import by_dtype, contiguous

__all__ = ["embedding_backward", "mse", "softmax_cross_entropy"]

_SOFTMAX = by_dtype(core.softmax_cross_entropy)
_MSE = by_dtype(core.mse)
_EMBEDDING = by_dtype(core.embedding_backward)


def softmax_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss of (rows, K) logits with (rows,) integers, and its gradient."""
    dlogits = np.empty(logits.shape, logits.dtype)
    loss = _SOFTMAX[logits.dtype](contiguous(logits), _indices(targets), dlogits)
    return loss, dlogits


def mse(y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean squared error of two arrays of one shape and dtype, and its gradient."""
    dy = np.empty(y.shape, y.dtype)
    flat = contiguous(y).reshape(-1), contiguous(target).reshape(-1)
    return _MSE[y.dtype](*flat, dy.reshape(-1)), dy


def embedding_backward(ids: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Add row r of (rows, D) `dy` to row ``ids[r]`` of `dweight`, for all r in order."""
    _EMBEDDING[dy.dtype](_indices(ids), contiguous(dy), dweight)


def _indices(ids: np.ndarray) -> np.ndarray:
    """Integers of any type as those that the core reads."""
    return np.require(ids, np.intp, ("C", "A"))
