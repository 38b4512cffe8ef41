"""A linear map of every position."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._engine.linear import linear_backward, linear_forward
from rnncore.layers.parameters import LATER
from rnncore.models.by_row import ByRow, Kept
from rnncore.models.part import saved

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@saved
class Linear(ByRow):
    """``y = x @ weight.T + bias`` for x of any leading dimensions.

    Parameters
    ----------
    in_features, out_features : int
        Last dimension of x and of y.
    bias : bool
        False leaves the bias out.
    dtype : float32 or float64
        Of the parameters, x and y.
    rng : None, int or numpy.random.Generator
        Weight and bias are drawn from it, in this order, uniformly from
        ``[-1/sqrt(in_features), 1/sqrt(in_features)]``, as in PyTorch.

    Attributes
    ----------
    params : dict
        ``weight`` (out_features, in_features) and ``bias`` (out_features,).

    The gradients are those of a linear map::

        dx = dy @ weight        dweight = dy.T @ x        dbias = sum of dy over all rows

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> layer = Linear(2, 1, dtype=np.float64)
    >>> layer.load_params({"weight": np.array([[2.0, 3.0]]), "bias": np.array([1.0])})
    >>> y, trace = layer.forward(np.array([[1.0, 10.0]]))
    >>> y
    array([[33.]])
    >>> grads = layer.backward(trace, np.array([[1.0]]))
    >>> grads.x, grads.params["weight"], grads.params["bias"]
    (array([[2., 3.]]), array([[ 1., 10.]]), array([1.]))
    """

    in_features: int
    out_features: int
    bias: bool
    dtype: np.dtype[Any]
    _draws = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        super().__init__(
            in_features=_check.size("in_features", in_features),
            out_features=_check.size("out_features", out_features),
            bias=_check.flag("bias", bias),
            dtype=_check.float_dtype("dtype", dtype),
        )
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        # What is drawn is float64 at first.
        nbytes = (8 + self.dtype.itemsize) * self.in_features * self.out_features
        _check.affordable(sizes, nbytes, "the weight")
        self._shapes = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            self._shapes["bias"] = (self.out_features,)
        if rng is not LATER:
            rng = _check.generator("rng", rng)
            bound = 1 / math.sqrt(self.in_features)
            self.params = {
                name: rng.uniform(-bound, bound, shape).astype(self.dtype)
                for name, shape in self._shapes.items()
            }

    def _width(self) -> int:
        return self.in_features

    def _inner_of_y(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.out_features,)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        params = self._checked_params()
        return linear_forward(rows, params["weight"], params.get("bias"))

    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        return self._apply(rows), (rows,)

    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        dx, dweight, dbias = linear_backward(kept[0], self._checked_params()["weight"], dy)
        return dx, {"weight": dweight} | ({"bias": dbias} if self.bias else {})
