"""The sum of the squares of an array, in the compiled core.

NumPy would do, but its BLAS hands the sum to threads of its own, which share the cores with all
that runs, and adds in an order that depends on their number.
"""

from collections.abc import Iterator

import numpy as np

from rnncore._core import core


def sum_of_squares(array: np.ndarray) -> float:
    """Summed in float64, in one order for every layout; of float32 the same on every machine."""
    if array.flags.c_contiguous and array.flags.aligned:
        return core.sum_of_squares(array.reshape(-1))
    total = 0.0
    for piece in pieces(array):
        total += core.sum_of_squares(piece)
    return total


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Copies of the elements in C order, so many at a time as the core adds up by themselves."""
    for start in range(0, array.size, core.SQUARES_PIECE):
        yield array.flat[start : start + core.SQUARES_PIECE]
