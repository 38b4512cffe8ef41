"""A function of every number, or of every row."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore._cells.row_functions import row_function
from rnncore._common.quiet import quiet
from rnncore._engine import rows as rows_
from rnncore.models.by_row import ByRow, Kept
from rnncore.models.part import saved

_AT_ONCE = 1 << 13  # numbers of a gradient: what is computed on the way to it stays in a cache


@saved
class Activation(ByRow):
    """``y = function(x)``, (A1) of docs/equations.md, for x of any leading dimensions.

    Parameters
    ----------
    function : str or tuple
        A name in any case: "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "celu",
        "selu", "gelu", "gelu_tanh", "silu", "mish", "relu6", "hard_tanh", "hard_sigmoid",
        "hard_swish", "softsign", "softplus", "log_sigmoid", "exponential", "thresholded_relu",
        "scaled_tanh", "affine"; "softmax" or "log_softmax" of the last axis. Or a tuple (name,
        alpha) or (name, alpha, beta) of those that take numbers; see the table in
        docs/equations.md.

    There are no parameters; x is float32 or float64, and so is y.

    Raises
    ------
    ValueError, TypeError
        If the function is none of these.

    Examples
    --------
    >>> Activation("relu")(np.array([-1.0, 2.0]))
    array([0., 2.])
    >>> layer = Activation(("leaky_relu", 0.5))
    >>> y, trace = layer.forward(np.array([-1.0, 2.0]))
    >>> y, layer.backward(trace, np.array([10.0, 10.0])).x
    (array([-0.5,  2. ]), array([ 5., 10.]))
    """

    function: str | tuple[str | float, ...]
    dtype: None

    def __init__(self, function: str | tuple[Any, ...]):
        self._function = row_function("function", function)
        super().__init__(function=self._function.given)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        return rows_.activation(self._function, rows)

    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        y = rows_.activation(self._function, rows)
        return y, ((y.copy() if self._function.keeps_value else rows),)

    @quiet
    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        dx, at_once = np.empty_like(dy), max(1, _AT_ONCE // max(1, dy.shape[1]))
        for start in range(0, len(dy), at_once):
            some = slice(start, start + at_once)
            dx[some] = self._function.gradient(dy[some], kept[0][some])
        return dx, {}
