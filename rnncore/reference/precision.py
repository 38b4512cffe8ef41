"""Weights and inputs below float32, and their products, in NumPy: what the core computes.

With int8 weights ("w8a16", "w8a8") every row of a weight has a scale, and so has every row that is
multiplied with it: ``w = s_w q_w`` and ``x = s q``, with integers q_w of 8 bits and q of 16 or 8.
A product is ``(s s_w) sum(q q_w)``, in which the sum is one of integers, and exact. "bfloat16" has
weights of 8 significant bits and the exponents of float32.

Nothing is calibrated: the scale of a row takes its largest magnitude to the largest integer, at
every step anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.results import FloatArray
from rnncore._common.quiet import quiet

PRECISIONS = ("bfloat16", "w8a16", "w8a8")
LARGEST = {"w8a8": 127, "w8a16": 32767}  # of the integers that inputs become

_FAINTEST = np.float32(2.0**-110)  # below this a row is zeros: its scale would be subnormal


class Quantized(NamedTuple):
    """Rows of integers, each with a scale: ``scale[:, None] * values``."""

    values: NDArray[Any]
    scale: NDArray[np.float32]

    @quiet
    def widened(self) -> NDArray[np.float32]:
        """As float32."""
        return self.scale[:, np.newaxis] * self.values.astype(np.float32)


@quiet
def quantize(rows: FloatArray, largest: int = 127) -> Quantized:
    """The nearest integers, from -largest to largest, and the scale of every row.

    Parameters
    ----------
    rows : (N, K) array of float32
    largest : what the largest magnitude of a row becomes

    Returns
    -------
    Quantized: int8 values where they fit, else int16. A row with NaN or infinity has the scale NaN.
    """
    top = np.abs(rows).max(axis=1, initial=0).astype(np.float32)
    finite = np.logical_and.reduce(np.isfinite(rows), axis=1)
    faint = ~(top >= _FAINTEST)
    none = faint | ~finite
    inverse = np.where(none, np.float32(0), np.float32(largest) / np.where(none, 1, top))
    scale = np.where(faint, np.float32(0), top / np.float32(largest))
    scale = np.where(finite, scale, np.float32(np.nan))
    values = np.rint(np.where(finite[:, np.newaxis], rows, 0) * inverse[:, np.newaxis])
    return Quantized(
        values.astype(np.int8 if largest < 128 else np.int16), scale.astype(np.float32)
    )


def integer_product(values: NDArray[Any], weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """``values @ weights.T``, exactly: (B, K) and (N, K) to (B, N)."""
    return values.astype(np.int64) @ weights.astype(np.int64).T


@quiet
def product(rows: FloatArray, weights: Quantized, precision: str) -> NDArray[np.float32]:
    """``rows @ weights.T`` of "w8a16" or "w8a8", (B, K) to (B, N)."""
    x = quantize(rows, LARGEST[precision])
    # Its upper and its lower byte have a sum each: both together may take more than 31 bits.
    planes: tuple[tuple[int, NDArray[Any]], ...] = ((1, x.values),)
    if precision == "w8a16":
        planes = ((256, x.values >> 8), (1, x.values & 255))
    total = sum(
        np.float32(factor) * integer_product(plane, weights.values).astype(np.float32)
        for factor, plane in planes
    )
    # First with the scale of the weight: the product of two scales may be too small or too large.
    return x.scale[:, np.newaxis] * (weights.scale * total)


class NarrowMatrix:
    """A weight of "w8a16" or "w8a8", for the steps of this package: ``a @ w.T`` is `product`."""

    __array_ufunc__ = None  # so that an array leaves the product to this class

    def __init__(self, weights: Quantized, precision: str) -> None:
        self.weights, self.precision = weights, precision

    @property
    def T(self) -> NarrowMatrix:
        """The same: rows are multiplied with W' alone."""
        return self

    def __len__(self) -> int:
        return len(self.weights.values)

    def __getitem__(self, rows: slice) -> NarrowMatrix:
        found = Quantized(self.weights.values[rows], self.weights.scale[rows])
        return NarrowMatrix(found, self.precision)

    def __rmatmul__(self, a: FloatArray) -> NDArray[np.float32]:
        return product(a, self.weights, self.precision)


def to_bfloat16(a: FloatArray) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16 numbers, of two equally near the even one."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    nearest = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    kept = np.where(np.isnan(a), bits | np.uint32(0x400000), nearest)
    return (kept >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The numbers that have these bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
