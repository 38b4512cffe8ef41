"""What layers of models compute of rows, (N, C), in the compiled core.

Every row is computed from itself alone, with the same operations however many there are: a row of a
batch and the same row of a stream are the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncore._cells import activations
from rnncore._cells.row_functions import SELU, SELU_ALPHA, RowFunction
from rnncore._core import core
from rnncore._engine.memory import contiguous

__all__ = ["activation", "layer_norm", "normalised", "scale_shift", "step_of"]

# Those that are other functions with numbers of their own: (name, alpha, beta).
_SPECIAL = {
    "identity": ("affine", 1.0, 0.0),
    "selu": ("scaled_elu", SELU_ALPHA, SELU),
    "relu6": ("clamp", 0.0, 6.0),
}
_CODES = {name.lower(): k for k, name in enumerate(activations.FUNCTIONS)} | core.OWN_FUNCTIONS


def step_of(function: RowFunction, itemsize: int, width: int) -> core.RowStep:
    """What applies a function to rows of so many numbers."""
    if function.name in ("softmax", "log_softmax"):
        return core.SoftmaxStep(itemsize, width, function.name == "log_softmax")
    name, alpha, beta = _SPECIAL.get(function.name, function)
    if name == "hard_tanh":
        name = "clamp"
    code = _CODES[name if name in _CODES else name.replace("_", "")]
    return core.FunctionStep(itemsize, width, code, alpha, beta)


def activation(function: RowFunction, a: np.ndarray) -> np.ndarray:
    """The function of every element, or of every row."""
    a = contiguous(a)
    if not a.size:
        return a.copy()
    return _done(step_of(function, a.itemsize, a.shape[1]), a)


def normalised(a: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows with the mean 0 and the variance 1, and what they were scaled by, (N, 1)."""
    a = contiguous(a)
    n, scale = np.empty_like(a), np.empty((len(a), 1), a.dtype)
    core.NormStep(a.itemsize, a.shape[1], eps, None, None).with_scales(a, n, scale.reshape(-1))
    return n, scale


def layer_norm(
    a: np.ndarray, eps: float, weight: np.ndarray | None, bias: np.ndarray | None
) -> np.ndarray:
    """Normalised rows, each number scaled and shifted, if it is."""
    return _done(core.NormStep(a.itemsize, a.shape[1], eps, *_both(weight, bias)), contiguous(a))


def scale_shift(a: np.ndarray, scale: np.ndarray | None, shift: np.ndarray | None) -> np.ndarray:
    """``a * scale + shift``, of every column its own; None of both does nothing."""
    if scale is None or shift is None:
        return a.copy()
    return _done(core.ScaleStep(contiguous(scale), contiguous(shift)), contiguous(a))


def _both(*arrays: np.ndarray | None) -> tuple[np.ndarray | None, ...]:
    return tuple([None if a is None else contiguous(a) for a in arrays])


def _done(step: Callable[[np.ndarray, np.ndarray], None], a: np.ndarray) -> np.ndarray:
    y = np.empty_like(a)
    step(a, y)
    return y
