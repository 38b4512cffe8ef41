"""Arrays that lie in memory as the compiled core reads and writes them."""

from typing import Any

import numpy as np

from rnncore._core import core


def empty(count: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised memory that starts at a cache line, so that no register straddles two."""
    return core.empty(count, dtype.itemsize)


def padded(units: int, dtype: np.dtype) -> int:
    """Units of a row, filled up to whole registers."""
    lanes = core.REGISTER_BYTES // dtype.itemsize
    return -(-units // lanes) * lanes


def with_rows(a: np.ndarray) -> np.ndarray:
    """`a` if its rows are contiguous and at whole elements, or a copy."""
    right = a.flags.aligned and a.strides[-1] == a.itemsize
    for step in a.strides:
        right = right and step % a.itemsize == 0
    return a if right else contiguous(a)


def contiguous(a: np.ndarray) -> np.ndarray:
    """`a` if it is contiguous and at whole elements, or a copy."""
    flags = a.flags
    return a if flags.c_contiguous and flags.aligned else np.require(a, requirements=("C", "A"))


def all_aligned(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Those whose elements are at whole elements, and copies of the others; None stays None."""
    return tuple([a if a is None or a.flags.aligned else a.copy() for a in arrays])
