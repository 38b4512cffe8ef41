"""Weights that go over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore._engine.linear import linear_backward, linear_forward
from rnncore.layers.parameters import LATER
from rnncore.models.over_time import Kept, OverTime
from rnncore.models.part import saved
from rnncore.models.windows import (
    MOST_STEPS,
    Kernel,
    Windows,
    add_block,
    blocks,
    filled_length,
    filled_up,
    missing_before,
    with_none,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


@saved
class Conv1d(OverTime):
    """A convolution over time, (A8) and (A9) of docs/equations.md::

        y[t] = bias + sum over k of weight[:, :, k] @ x[t * stride + k * dilation - before]

    where x is 0 before its first step and after its last; in a batch after the last of each row.

    Parameters
    ----------
    in_channels, out_channels : int
        Last dimension of x and of y.
    kernel_size : int
        K, the steps that a window has.
    stride, dilation : int
        Steps from window to window, and from one step of a window to the next.
    padding : "valid", "same", "causal", an int or a pair
        How many steps of zeros are put before and after a row, of L steps. "valid": none. An int:
        so many on both sides; a pair: (before, after). "same": as many as make it
        ceil(L / stride) steps of y, half of them before, rounded down, as TensorFlow has it, and
        PyTorch with a stride of 1. "causal": all of ``dilation * (K - 1)`` before, so that no step
        of y sees a later one of x.
    bias : bool
        False leaves the bias out.
    batch_first : bool
        Whether x and y are (B, T, ..), instead of (T, B, ..).
    dtype : float32 or float64
        Of the parameters, x and y.
    rng : None, int or numpy.random.Generator
        Weight and bias are drawn from it, in this order, uniformly from
        ``[-1/sqrt(in_channels * K), 1/sqrt(in_channels * K)]``, as in PyTorch.

    Attributes
    ----------
    params : dict
        ``weight`` (out_channels, in_channels, K) and ``bias`` (out_channels,).

    A row of L steps gives ``(L + before + after - dilation * (K - 1) - 1) // stride + 1`` steps,
    at least 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> layer = Conv1d(1, 1, 2, bias=False, dtype=np.float64)
    >>> layer.load_params({"weight": np.array([[[1.0, 10.0]]])})
    >>> layer(np.array([[1.0], [2.0], [3.0]]))
    array([[21.],
           [32.]])
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: str | tuple[int, int]
    dilation: int
    bias: bool
    dtype: np.dtype[Any]
    _draws = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: str | int | Sequence[int] = "valid",
        dilation: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ):
        super().__init__(
            in_channels=_check.size("in_channels", in_channels),
            out_channels=_check.size("out_channels", out_channels),
            kernel_size=_check.size("kernel_size", kernel_size, maximum=MOST_STEPS),
            stride=_check.size("stride", stride, maximum=MOST_STEPS),
            padding=_check.padding("padding", padding, MOST_STEPS),
            dilation=_check.size("dilation", dilation, maximum=MOST_STEPS),
            bias=_check.flag("bias", bias),
            batch_first=_check.flag("batch_first", batch_first),
            dtype=_check.float_dtype("dtype", dtype),
        )
        shape = (self.out_channels, self.in_channels, self.kernel_size)
        names = ("out_channels", "in_channels", "kernel_size")
        nbytes = (8 + self.dtype.itemsize) * math.prod(shape)
        _check.affordable(dict(zip(names, shape, strict=True)), nbytes, "the weight")
        self._shapes = {"weight": shape} | ({"bias": shape[:1]} if self.bias else {})
        if rng is not LATER:
            rng = _check.generator("rng", rng)
            bound = 1 / math.sqrt(self.in_channels * self.kernel_size)
            self.params = {
                name: rng.uniform(-bound, bound, shape).astype(self.dtype)
                for name, shape in self._shapes.items()
            }

    def _width(self) -> int:
        return self.in_channels

    def _width_after(self, C: int) -> int:
        return self.out_channels

    def _steps_after(self, steps: int) -> int:
        """How many windows a row of so many steps has."""
        if self.padding in ("same", "causal"):
            return -(-steps // self.stride)
        before, after = self.padding if isinstance(self.padding, tuple) else (0, 0)
        return max(0, (steps + before + after - self._kernel.reach) // self.stride + 1)

    def _before(self, steps: int) -> int:
        """How many steps of zeros are put before such a row."""
        if self.padding == "same":
            return int(missing_before(steps, self.stride, self._kernel.reach))
        if self.padding == "causal":
            return self._kernel.reach - 1
        return self.padding[0] if isinstance(self.padding, tuple) else 0

    @property
    def _kernel(self) -> Kernel:
        return Kernel(self.kernel_size, self.stride, self.dilation)

    def _windows(self, T: int, lengths: NDArray[np.intp]) -> Windows:
        counts = np.array([self._steps_after(length) for length in lengths.tolist()], np.intp)
        before = np.array([self._before(length) for length in lengths.tolist()], np.intp)
        return Windows(self._kernel, T, lengths, self._steps_after(T), counts, before)

    def _length_of_all(self, T: int, lengths: NDArray[np.intp] | None) -> int | None:
        """The length that all rows have, if they have one and can be filled up with few zeros."""
        whole = T if lengths is None or not len(lengths) else int(lengths[0])
        if lengths is not None and (lengths != whole).any():
            return None
        steps = self._steps_after(whole)
        filled = filled_length(whole, self._kernel, self._before(whole), steps)
        return whole if filled <= 2 * whole + steps * self.kernel_size else None

    def _weights(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(out, K * in), with a window's steps one after the other as they are gathered; (out,)."""
        params = self._checked_params()
        weight = np.ascontiguousarray(params["weight"].transpose(0, 2, 1))
        return weight.reshape(self.out_channels, -1), params.get("bias")

    def _run(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, *, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        T, B, _ = x.shape
        source, (weight, bias) = with_none(x) if keep else x, self._weights()
        steps, whole = self._steps_after(T), self._length_of_all(T, lengths)
        if whole is not None:
            return self._of_equal_rows(x[:whole], steps, weight, bias), (source,) if keep else ()
        lengths = np.full(B, T, np.intp) if lengths is None else lengths
        source = source if keep else with_none(x)
        y = np.zeros((steps, B, self.out_channels), x.dtype)
        for part in self._windows(T, lengths).parts(self.in_channels):  # (A8), (A9)
            rows = part.content(source).reshape(len(part.t), -1)
            y[part.t, part.b] = linear_forward(rows, weight, bias)
        return y, (source,) if keep else ()

    def _of_equal_rows(
        self, x: np.ndarray, steps: int, weight: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        """(steps, B, out) of rows of one length; 0 where they have no more windows."""
        own = self._steps_after(len(x))
        y = np.empty((steps, x.shape[1], self.out_channels), x.dtype)
        if own < steps:
            y[own:] = 0
        source = filled_up(x, self._kernel, self._before(len(x)), own)
        for block in blocks(source, self._kernel, own):  # (A8), (A9)
            rows, part = block.content.reshape(-1, weight.shape[1]), y[block.t, block.b]
            if part.flags.c_contiguous:
                linear_forward(rows, weight, bias, part.reshape(len(rows), -1))
            else:
                part[...] = linear_forward(rows, weight, bias).reshape(part.shape)
        return y

    @quiet
    def _undo(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        T, B, C = sizes
        source = _check.array("trace.kept[0]", kept[0], (T + 1, B, C), dtype=self.dtype)
        weight, _ = self._weights()
        total, whole = _Gradients(weight), self._length_of_all(T, lengths)
        if whole is not None:
            before, steps = self._before(whole), self._steps_after(whole)
            filled = filled_up(source[:whole], self._kernel, before, steps)
            dfilled = np.zeros_like(filled)
            for block in blocks(filled, self._kernel, steps):
                rows = block.content.reshape(-1, weight.shape[1])
                drows = total.undone(rows, dy[block.t, block.b].reshape(len(rows), -1))
                add_block(dfilled, self._kernel, block, drows.reshape(block.content.shape))
            dx = dfilled[before : before + whole]
            if whole < T:
                dx = np.concatenate((dx, np.zeros((T - whole, B, C), self.dtype)))
        else:
            lengths = np.full(B, T, np.intp) if lengths is None else lengths
            dsource = np.zeros_like(source)
            for part in self._windows(T, lengths).parts(C):
                content = part.content(source)
                rows = content.reshape(len(part.t), -1)
                part.add(dsource, total.undone(rows, dy[part.t, part.b]).reshape(content.shape))
            dx = dsource[:T]
        by_step = total.weight.reshape(self.out_channels, self.kernel_size, C)
        grads = {"weight": np.ascontiguousarray(by_step.transpose(0, 2, 1))}
        return dx, grads | ({"bias": total.bias} if self.bias else {})


class _Gradients:
    """Those of the parameters, summed over products of some windows each."""

    def __init__(self, weight: np.ndarray) -> None:
        self._of = weight
        self.weight, self.bias = np.zeros_like(weight), np.zeros(len(weight), weight.dtype)

    def undone(self, rows: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """The gradient of windows, from that of their product with the weight."""
        drows, dweight, dbias = linear_backward(rows, self._of, dy)  # (A8), (A9)
        self.weight += dweight
        self.bias += dbias
        return drows
