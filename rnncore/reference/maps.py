"""Layers of models that map, pick or order numbers, in NumPy: (A13) to (A17) of docs/equations.md.

`x` is of any leading dimensions where a position is looked at alone, else (T, B, C).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnncore import _check
from rnncore._cells.results import FloatArray
from rnncore._common.quiet import quiet

MERGES = ("concat", "sum", "mul", "ave")


class LinearTrace(NamedTuple):
    """What the backward pass reads."""

    x: FloatArray
    weight: FloatArray
    bias: bool


@quiet
def linear_forward(
    x: FloatArray, weight: FloatArray, bias: FloatArray | None = None
) -> tuple[FloatArray, LinearTrace]:
    """A linear map of every position: y (.., O), and the trace. `weight` is (O, C), `bias` (O,)."""
    x = _check.array("x", x, (*np.shape(x)[:-1], "C"))
    weight = _check.array("weight", weight, ("O", x.shape[-1]), dtype=x.dtype, owner="x")
    bias = _check.optional_array("bias", bias, (len(weight),), dtype=x.dtype, owner="x")
    y = x @ weight.T + (0 if bias is None else bias)  # (A13)
    return y.astype(x.dtype, copy=False), LinearTrace(x.copy(), weight.copy(), bias is not None)


@quiet
def linear_backward(
    trace: LinearTrace, dy: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """The gradients of x, weight and bias."""
    x, weight, bias = _check.instance("trace", trace, LinearTrace)
    dy = _check.array("dy", dy, (*x.shape[:-1], len(weight)), dtype=x.dtype, owner="x")
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, len(weight))
    return dy @ weight, drows.T @ rows, drows.sum(axis=0) if bias else None  # (A13)


class EmbeddingTrace(NamedTuple):
    """What the backward pass reads."""

    ids: NDArray[np.intp]
    shape: tuple[int, int]  # of the table


def embedding_forward(ids: NDArray[Any], weight: FloatArray) -> tuple[FloatArray, EmbeddingTrace]:
    """Rows of a table: y (.., C) for ids of any shape, and the trace. `weight` is (N, C)."""
    weight = _check.array("weight", weight, ("N", "C"))
    found = _check.ids("ids", np.ravel(ids), len(weight)).reshape(np.shape(ids))
    y: FloatArray = weight[found]  # (A14)
    return y, EmbeddingTrace(found.copy(), weight.shape)


@quiet
def embedding_backward(trace: EmbeddingTrace, dy: FloatArray) -> FloatArray:
    """The gradient of the table."""
    ids, shape = _check.instance("trace", trace, EmbeddingTrace)
    dy = _check.array("dy", dy, (*ids.shape, shape[1]))
    dweight: FloatArray = np.zeros(shape, dy.dtype)
    np.add.at(dweight, ids, dy)  # (A14)
    return dweight


@quiet
def dropout_forward(x: FloatArray, mask: FloatArray) -> FloatArray:
    """x where the mask lets it pass; the gradient of x is that of y in its place, (A15)."""
    x = _check.array("x", x, np.shape(x))
    y: FloatArray = x * _check.array("mask", mask, x.shape, dtype=x.dtype, owner="x")  # (A15)
    return y


def reverse_forward(x: FloatArray, lengths: ArrayLike | None = None) -> FloatArray:
    """Every row's own steps from its end, and 0 past it; the gradient of x likewise, (A16)."""
    x = _check.array("x", x, ("T", "B", "C"))
    T, B, _ = x.shape
    own = _check.lengths(lengths, T, B)
    y = np.zeros_like(x)
    for b in range(B):
        L = T if own is None else own[b]
        for t in range(L):
            y[t, b] = x[L - 1 - t, b]  # (A16)
    return y


class MergeTrace(NamedTuple):
    """What the backward pass reads: both directions, side by side."""

    y: FloatArray
    merge: str


@quiet
def merge_forward(y: FloatArray, merge: str) -> tuple[FloatArray, MergeTrace]:
    """Both directions (.., 2 C) put together, and the trace; `merge` as of `Bidirectional`."""
    y = _check.array("y", y, (*np.shape(y)[:-1], "2C"))
    _check.choice("merge", merge, MERGES)
    first, second = np.split(y, 2, axis=-1)
    merged: FloatArray
    if merge == "sum":
        merged = first + second  # (A17)
    elif merge == "ave":
        merged = (first + second) / 2  # (A17)
    elif merge == "mul":
        merged = first * second  # (A17)
    else:
        merged = y.copy()  # (A17)
    return merged, MergeTrace(y.copy(), merge)


@quiet
def merge_backward(trace: MergeTrace, dy: FloatArray) -> FloatArray:
    """The gradient of both directions, side by side."""
    y, merge = _check.instance("trace", trace, MergeTrace)
    width = y.shape[-1] // (1 if merge == "concat" else 2)
    dy = _check.array("dy", dy, (*y.shape[:-1], width), dtype=y.dtype, owner="y")
    if merge == "concat":
        return dy.copy()  # (A17)
    if merge == "mul":
        first, second = np.split(y, 2, axis=-1)
        return np.concatenate([dy * second, dy * first], axis=-1)  # (A17)
    return np.concatenate([dy, dy], axis=-1) / (2 if merge == "ave" else 1)  # (A17)
