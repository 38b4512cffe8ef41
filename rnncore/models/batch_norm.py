"""Columns of the mean 0 and the variance 1: of a batch in training, of many later on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore._engine import rows as rows_
from rnncore.models.by_row import ByRow, Kept
from rnncore.models.part import saved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike


@saved
class BatchNorm(ByRow):
    """Every feature normalised over all positions, (A4) to (A7) of docs/equations.md::

        n = (x - mean) / sqrt(var + eps)        y = n * weight + bias

    In training, mean and variance are those of the positions of x that are within the lengths
    (Ioffe and Szegedy 2015), and `forward` moves the buffers towards them::

        running = (1 - momentum) * running + momentum * of this batch

    where the variance is the unbiased one, as in PyTorch. At inference they are the buffers.

    Parameters
    ----------
    size : int
        Of the last axis of x and y: how many features there are.
    eps : float
        Is added to the variance.
    momentum : float, 0 to 1
        How far the buffers go at a time; PyTorch's, which is 1 less Keras's.
    affine : bool
        False leaves weight and bias out.
    dtype : float32 or float64
        Of parameters, buffers, x and y.

    Attributes
    ----------
    params : dict
        ``weight`` (size,), ones at first, and ``bias`` (size,), zeros.
    buffers : dict
        ``running_mean`` (size,), zeros at first, and ``running_var`` (size,), ones.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above; ValueError in training on fewer than two
        positions.

    Examples
    --------
    >>> layer = BatchNorm(1, eps=1e-30, momentum=0.5, dtype=np.float64)
    >>> y, trace = layer.forward(np.array([[1.0], [5.0]]))
    >>> y.ravel(), layer.buffers["running_mean"], layer.buffers["running_var"]
    (array([-1.,  1.]), array([1.5]), array([4.5]))
    """

    size: int
    eps: float
    momentum: float
    affine: bool
    dtype: np.dtype[Any]

    def __init__(
        self,
        size: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__(
            size=_check.size("size", size),
            eps=_check.normal("eps", eps),
            momentum=_check.share("momentum", momentum),
            affine=_check.flag("affine", affine),
            dtype=_check.float_dtype("dtype", dtype),
        )
        _check.affordable({"size": self.size}, 4 * self.dtype.itemsize * self.size, "all arrays")
        ones, zeros = np.ones(self.size, self.dtype), np.zeros(self.size, self.dtype)
        if self.affine:
            self._shapes = {"weight": (self.size,), "bias": (self.size,)}
            self.params = {"weight": ones.copy(), "bias": zeros.copy()}
        self._buffer_shapes = {"running_mean": (self.size,), "running_var": (self.size,)}
        self.buffers = {"running_mean": zeros, "running_var": ones}

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copy the arrays of `mapping` into `params`; a PyTorch module's ``state_dict()`` will do.

        `mapping` may have all `buffers` too, and PyTorch's count of batches, which is left out.
        See `Linear.load_params` for the errors.
        """
        if hasattr(mapping, "keys") and "num_batches_tracked" in mapping:
            mapping = {key: mapping[key] for key in mapping if key != "num_batches_tracked"}
        super().load_params(mapping)

    def _width(self) -> int:
        return self.size

    def _kept_shapes(self, N: int, C: int) -> tuple[tuple[int, ...], ...]:
        return (N, C), (C,)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        return rows_.scale_shift(rows, *self._scale_and_shift())

    @quiet
    def _scale_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """What is done to every feature at inference."""
        params, buffers = self._checked_params(), self._checked_buffers()
        scale = 1 / np.sqrt(buffers["running_var"] + self.eps)
        if self.affine:
            scale *= params["weight"]
        shift = -buffers["running_mean"] * scale
        if self.affine:
            shift += params["bias"]
        return scale, shift

    @quiet
    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        N, params, buffers = len(rows), self._checked_params(), self._checked_buffers()
        for name, value in buffers.items():
            _check.writable(f"buffers[{name!r}]", value)
        if N < 2:
            raise ValueError(f"x has {N} positions, expected at least 2 for their variance")
        mean = rows.mean(axis=0)  # (A4)
        centred = rows - mean
        var = np.square(centred).mean(axis=0)  # (A5)
        scale = 1 / np.sqrt(var + self.eps)
        n = centred * scale  # (A6)
        for name, value in (("running_mean", mean), ("running_var", var * (N / (N - 1)))):
            buffers[name][...] += self.momentum * (value - buffers[name])
        return rows_.scale_shift(n, params.get("weight"), params.get("bias")), (n, scale)  # (A7)

    @quiet
    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        n, scale = kept
        params, grads = self._checked_params(), {}
        dn = dy
        if self.affine:
            grads = {"weight": (dy * n).sum(axis=0), "bias": dy.sum(axis=0)}  # (A7)
            dn = dy * params["weight"]
        return scale * (dn - dn.mean(axis=0) - n * (dn * n).mean(axis=0)), grads  # (A6) to (A4)
