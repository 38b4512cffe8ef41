"""The layers of models in NumPy, (A1) to (A12) of docs/equations.md.

`x` is (T, B, C), or of any leading dimensions where a position is looked at alone. What a forward
function returns last is what its backward function reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnncore import _check
from rnncore._cells.results import FloatArray
from rnncore._cells.row_functions import RowFunction, row_function
from rnncore._common.quiet import quiet
from rnncore.reference.layer_norm_lstm import norm, norm_gradient

Maybe = FloatArray | None


def _like(x: FloatArray, name: str, value: Any, *shape: int) -> Any:
    """None, or an array of this shape and the dtype of x."""
    return _check.optional_array(name, value, shape, dtype=x.dtype, owner="x")


def _within(lengths: ArrayLike | None, T: int, B: int) -> tuple[NDArray[np.intp], Any]:
    """The lengths of all rows, and (T, B) which steps are within them."""
    own = _check.lengths(lengths, T, B)
    own = np.full(B, T, np.intp) if own is None else own
    return own, np.arange(T)[:, np.newaxis] < own


# Activation


class ActivationTrace(NamedTuple):
    """What the backward pass reads: y or x, whichever the derivative is written with."""

    function: RowFunction
    kept: FloatArray


@quiet
def activation_forward(x: FloatArray, function: Any) -> tuple[FloatArray, ActivationTrace]:
    """A function of every number of x, or of its last axis: y, and the trace.

    `function` is a name, or (name, alpha) or (name, alpha, beta); see `rnncore.Activation`.
    """
    x = _check.array("x", x, (*np.shape(x)[:-1], "C"))
    found = row_function("function", function)
    y = found(x)  # (A1)
    return y, ActivationTrace(found, y.copy() if found.keeps_value else x.copy())


@quiet
def activation_backward(trace: ActivationTrace, dy: FloatArray) -> FloatArray:
    """The gradient of x, where that of y is `dy`."""
    function, kept = _check.instance("trace", trace, ActivationTrace)
    dy = _check.array("dy", dy, kept.shape, dtype=kept.dtype, owner="x")
    return function.gradient(dy, kept)  # (A1) y = f(x)


# LayerNorm and BatchNorm


class NormTrace(NamedTuple):
    """What the backward pass reads."""

    n: FloatArray
    scale: FloatArray
    weight: Maybe
    within: Any  # (T, B), or None where all positions are


@quiet
def layer_norm_forward(
    x: FloatArray, weight: Maybe = None, bias: Maybe = None, *, eps: float = 1e-5
) -> tuple[FloatArray, NormTrace]:
    """Every position of x (..., C) normalised on its own: y, and the trace.

    `weight` and `bias`, (C,) each, scale and shift it afterwards.
    """
    x = _check.array("x", x, (*np.shape(x)[:-1], "C"))
    C, eps = x.shape[-1], _check.normal("eps", eps)
    weight, bias = _like(x, "weight", weight, C), _like(x, "bias", bias, C)
    n, scale = norm(x, eps)  # (A2)
    return _affine(n, weight, bias), NormTrace(n, scale, weight, None)  # (A3)


@quiet
def layer_norm_backward(trace: NormTrace, dy: FloatArray) -> tuple[FloatArray, Maybe, Maybe]:
    """The gradients of x, weight and bias; None where there is no weight."""
    n, scale, weight, _ = _check.instance("trace", trace, NormTrace)
    dy = _check.array("dy", dy, n.shape, dtype=n.dtype, owner="x")
    dn, dweight, dbias = _affine_gradient(dy, n, weight)  # (A3) y = n * weight + bias
    return norm_gradient(dn, n, scale), dweight, dbias  # (A2) n = norm(x)


@quiet
def batch_norm_forward(
    x: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    weight: Maybe = None,
    bias: Maybe = None,
    *,
    lengths: ArrayLike | None = None,
    eps: float = 1e-5,
    momentum: float = 0.1,
    training: bool = True,
) -> tuple[FloatArray, tuple[FloatArray, FloatArray], NormTrace | None]:
    """Every feature of x (T, B, C) normalised over all positions: y, the buffers, and the trace.

    Without `training` the buffers are what is normalised with, and there is no trace.
    """
    x = _check.array("x", x, ("T", "B", "C"))
    T, B, C = x.shape
    eps, momentum = _check.normal("eps", eps), _check.share("momentum", momentum)
    same: dict[str, Any] = {"dtype": x.dtype, "owner": "x"}
    running_mean = _check.array("running_mean", running_mean, (C,), **same)
    running_var = _check.array("running_var", running_var, (C,), **same)
    weight, bias = _like(x, "weight", weight, C), _like(x, "bias", bias, C)
    _, within = _within(lengths, T, B)
    y = np.zeros_like(x)
    if not _check.flag("training", training):
        n = (x - running_mean) / np.sqrt(running_var + eps)  # (A6)
        y[within] = _affine(n, weight, bias)[within]  # (A7)
        return y, (running_mean, running_var), None
    rows = x[within]
    N = len(rows)
    if N < 2:
        raise ValueError(f"x has {N} positions, expected at least 2 for their variance")
    mean = rows.sum(axis=0) / N  # (A4)
    var = np.square(rows - mean).sum(axis=0) / N  # (A5)
    scale = 1 / np.sqrt(var + eps)
    n = (rows - mean) * scale  # (A6)
    y[within] = _affine(n, weight, bias)  # (A7)
    moved = (
        (1 - momentum) * running_mean + momentum * mean,
        (1 - momentum) * running_var + momentum * var * N / (N - 1),
    )
    return y, moved, NormTrace(n, scale, weight, within)


@quiet
def batch_norm_backward(trace: NormTrace, dy: FloatArray) -> tuple[FloatArray, Maybe, Maybe]:
    """The gradients of x, weight and bias; None where there is no weight."""
    n, scale, weight, within = _check.instance("trace", trace, NormTrace)
    dy = _check.array("dy", dy, (*within.shape, n.shape[-1]), dtype=n.dtype, owner="x")
    dn, dweight, dbias = _affine_gradient(dy[within], n, weight)  # (A7) y = n * weight + bias
    dx = np.zeros_like(dy)
    # (A6) n = (x - mean) * scale, with what (A5) and (A4) make of it
    dx[within] = scale * (dn - dn.mean(axis=0) - n * (dn * n).mean(axis=0))
    return dx, dweight, dbias


def _affine(n: FloatArray, weight: Maybe, bias: Maybe) -> FloatArray:
    scaled = n if weight is None else n * weight
    return scaled.copy() if bias is None else scaled + bias


def _affine_gradient(
    dy: FloatArray, n: FloatArray, weight: Maybe
) -> tuple[FloatArray, Maybe, Maybe]:
    if weight is None:
        return dy, None, None
    over = tuple(range(dy.ndim - 1))
    return dy * weight, (dy * n).sum(axis=over), dy.sum(axis=over)


# Conv1d


class ConvTrace(NamedTuple):
    """What the backward pass reads."""

    x: FloatArray
    weight: FloatArray
    bias: bool
    places: list[tuple[int, int, list[tuple[int, int]]]]  # t, b, and the (k, step of x) it sees
    steps: int


@quiet
def conv1d_forward(
    x: FloatArray,
    weight: FloatArray,
    bias: Maybe = None,
    *,
    stride: int = 1,
    padding: str | int | Sequence[int] = "valid",
    dilation: int = 1,
    lengths: ArrayLike | None = None,
) -> tuple[FloatArray, ConvTrace]:
    """A convolution over the steps of x (T, B, C), with weight (out, C, K): y, and the trace."""
    x = _check.array("x", x, ("T", "B", "C"))
    T, B, C = x.shape
    same: dict[str, Any] = {"dtype": x.dtype, "owner": "x"}
    weight = _check.array("weight", weight, ("out", C, "K"), **same)
    bias = _check.optional_array("bias", bias, (len(weight),), **same)
    stride, dilation = _check.size("stride", stride), _check.size("dilation", dilation)
    pads, K = _check.padding("padding", padding), weight.shape[-1]
    own, _ = _within(lengths, T, B)
    steps, _ = _conv_steps(T, K, stride, pads, dilation)
    y, places = np.zeros((steps, B, len(weight)), x.dtype), []
    for b, L in enumerate(own):
        count, before = _conv_steps(int(L), K, stride, pads, dilation)
        for t in range(count):
            at = [(k, t * stride + k * dilation - before) for k in range(K)]
            seen = [(k, step) for k, step in at if 0 <= step < L]  # (A8)
            for k, step in seen:
                y[t, b] += weight[:, :, k] @ x[step, b]  # (A9)
            if bias is not None:
                y[t, b] += bias  # (A9)
            places.append((t, b, seen))
    return y, ConvTrace(x.copy(), weight.copy(), bias is not None, places, steps)


@quiet
def conv1d_backward(trace: ConvTrace, dy: FloatArray) -> tuple[FloatArray, FloatArray, Maybe]:
    """The gradients of x, weight and bias; None where there is no bias."""
    x, weight, has_bias, places, steps = _check.instance("trace", trace, ConvTrace)
    shape = (steps, x.shape[1], len(weight))
    dy = _check.array("dy", dy, shape, dtype=x.dtype, owner="x")
    dx, dweight, dbias = np.zeros_like(x), np.zeros_like(weight), np.zeros(len(weight), x.dtype)
    for t, b, seen in places:
        dbias += dy[t, b]  # (A9) y = bias + sum of weight @ x
        for k, step in seen:
            dx[step, b] += dy[t, b] @ weight[:, :, k]  # (A9), (A8)
            dweight[:, :, k] += np.outer(dy[t, b], x[step, b])  # (A9)
    return dx, dweight, dbias if has_bias else None


def _conv_steps(L: int, K: int, stride: int, padding: Any, dilation: int) -> tuple[int, int]:
    """Of a row of L steps, those that y has, and how many zeros stand before the row."""
    reach = dilation * (K - 1) + 1
    if padding == "causal":
        return -(-L // stride), reach - 1
    if padding == "same":
        steps = -(-L // stride)
        return steps, max(0, (steps - 1) * stride + reach - L) // 2
    before, after = (0, 0) if padding == "valid" else padding
    return max(0, (L + before + after - reach) // stride + 1), before


# Pool


class PoolTrace(NamedTuple):
    """What the backward pass reads: of every number of y, the steps of x it is made of, equally."""

    shape: tuple[int, ...]  # of x
    dtype: Any
    steps_of_y: int | None  # None: y has no steps
    sources: list[tuple[int, int, int, list[int]]]  # t, b, the feature, and the steps of x


@quiet
def pool_forward(
    x: FloatArray,
    kind: str,
    window: int | None = None,
    *,
    stride: int | None = None,
    padding: str = "valid",
    lengths: ArrayLike | None = None,
) -> tuple[FloatArray, PoolTrace]:
    """The last, the first, the mean or the largest of the steps of x (T, B, C): y, and the trace.

    y is (B, C), or with a window, (T', B, C).
    """
    x = _check.array("x", x, ("T", "B", "C"))
    T, B, C = x.shape
    kind = _check.choice("kind", kind, ("last", "first", "mean", "max"))
    own, _ = _within(lengths, T, B)
    W = None if window is None else _check.size("window", window)
    by = W if stride is None else _check.size("stride", stride)
    padding = _check.choice("padding", padding, ("valid", "same"))
    steps = 1 if W is None or by is None else _conv_steps(T, W, by, padding, 1)[0]
    y, sources = np.zeros((steps, B, C), x.dtype), []
    for b, L in enumerate(own):
        spans = [range(L)] if L else []
        if W is not None and by is not None:
            count, before = _conv_steps(int(L), W, by, padding, 1)
            starts = [t * by - before for t in range(count)]
            spans = [range(max(0, s), min(s + W, int(L))) for s in starts]
        for t, span in enumerate(spans):
            for j in range(C):
                of = _sources(kind, x[span.start : span.stop, b, j], span)
                y[t, b, j] = x[of, b, j].sum() / len(of)
                sources.append((t, b, j, of))
    whole = y[0] if W is None else y
    return whole, PoolTrace(x.shape, x.dtype, None if W is None else steps, sources)


def _sources(kind: str, values: FloatArray, span: range) -> list[int]:
    """The steps that a number of y is the mean of."""
    if kind == "mean":
        return list(span)  # (A11)
    if kind == "max":
        return [span[int(values.argmax())]]  # (A12)
    return [span[-1 if kind == "last" else 0]]  # (A10)


@quiet
def pool_backward(trace: PoolTrace, dy: FloatArray) -> FloatArray:
    """The gradient of x."""
    shape, dtype, steps, sources = _check.instance("trace", trace, PoolTrace)
    of_y = shape[1:] if steps is None else (steps, *shape[1:])
    dy = _check.array("dy", dy, of_y, dtype=dtype, owner="x")
    inside, dx = dy[np.newaxis] if steps is None else dy, np.zeros(shape, dtype)
    for t, b, j, of in sources:
        dx[of, b, j] += inside[t, b, j] / len(of)  # (A12), (A11), (A10)
    return dx
