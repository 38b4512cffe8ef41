"""Rows of the mean 0 and the variance 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore._engine import rows as rows_
from rnncore.models.by_row import ByRow, Kept
from rnncore.models.part import saved

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@saved
class LayerNorm(ByRow):
    """Every position normalised on its own, (A2) and (A3) of docs/equations.md::

        n = (x - mean(x)) / sqrt(var(x) + eps)        y = n * weight + bias

    Mean and variance are those of the last axis (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    size : int
        Of the last axis of x and y.
    eps : float
        Is added to the variance.
    affine : bool
        False leaves weight and bias out.
    dtype : float32 or float64
        Of the parameters, x and y.

    Attributes
    ----------
    params : dict
        ``weight`` (size,), ones at first, and ``bias`` (size,), zeros.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> layer = LayerNorm(2, eps=1e-30, dtype=np.float64)
    >>> layer(np.array([[1.0, 5.0], [8.0, 2.0]]))
    array([[-1.,  1.],
           [ 1., -1.]])
    """

    size: int
    eps: float
    affine: bool
    dtype: np.dtype[Any]

    def __init__(
        self,
        size: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__(
            size=_check.size("size", size),
            eps=_check.normal("eps", eps),
            affine=_check.flag("affine", affine),
            dtype=_check.float_dtype("dtype", dtype),
        )
        _check.affordable({"size": self.size}, 2 * self.dtype.itemsize * self.size, "parameters")
        if self.affine:
            self._shapes = {"weight": (self.size,), "bias": (self.size,)}
            self.params = {
                "weight": np.ones(self.size, self.dtype),
                "bias": np.zeros(self.size, self.dtype),
            }

    def _width(self) -> int:
        return self.size

    def _kept_shapes(self, N: int, C: int) -> tuple[tuple[int, ...], ...]:
        return (N, C), (N, 1)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        params = self._checked_params()
        return rows_.layer_norm(rows, self.eps, params.get("weight"), params.get("bias"))

    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        params = self._checked_params()
        n, scale = rows_.normalised(rows, self.eps)
        return rows_.scale_shift(n, params.get("weight"), params.get("bias")), (n, scale)

    @quiet
    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        n, scale = kept
        params, grads = self._checked_params(), {}
        dn = dy
        if self.affine:
            grads = {"weight": (dy * n).sum(axis=0), "bias": dy.sum(axis=0)}  # (A3)
            dn = dy * params["weight"]
        mean = dn.mean(axis=-1, keepdims=True)
        along = (dn * n).mean(axis=-1, keepdims=True)
        return scale * (dn - mean - n * along), grads  # (A2)
