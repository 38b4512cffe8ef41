"""``y = x @ w.T + b`` and its gradients in the compiled core.

NumPy would do, but its BLAS has a thread pool of its own: two pools at work in turn take the cores
from each other.
"""

import numpy as np

from rnncore._core import core
from rnncore._engine.memory import contiguous

__all__ = ["linear_backward", "linear_forward"]


def linear_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, out: np.ndarray | None = None
) -> np.ndarray:
    """(rows, K), (N, K), (N,) -> (rows, N), all of one dtype, which nobody checks here.

    It goes into `out` where that is given, which is contiguous.
    """
    x, w = contiguous(x), contiguous(w)
    y = np.empty((len(x), len(w)), x.dtype) if out is None else out
    if len(x):
        core.linear_forward(x, w, None if b is None else contiguous(b), y)
    return y


def linear_backward(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of x, w and b, from that of y."""
    x, w, dy = contiguous(x), contiguous(w), contiguous(dy)
    dx, dw, db = np.empty_like(x), np.zeros_like(w), np.zeros(len(w), w.dtype)
    if len(x):
        core.linear_backward(x, w, dy, dx, dw, db)
    return dx, dw, db
