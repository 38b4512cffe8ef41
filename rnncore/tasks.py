"""Two classic tasks that ask for a long memory, as functions that make batches, with baselines.

Both were made to tell cells apart: what has to be known at the end stands far back, and a network
that does not reach so far has a loss that can be written down. For the third task of this package,
in words, see `rnncore.agreement`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnncore import _check

__all__ = [
    "ADDING_BASELINE",
    "COPY_CLASSES",
    "AddingBatch",
    "CopyBatch",
    "adding",
    "copy_baseline",
    "copy_memory",
]

# Mean squared error of always answering 1, the mean of the sum of two numbers that are uniform in
# [0, 1): its variance, twice 1/12.
ADDING_BASELINE = 1 / 6

_SYMBOLS, _COPIED = 8, 10  # how many symbols there are, and how many have to be copied
_BLANK, _GO = _SYMBOLS, _SYMBOLS + 1

COPY_CLASSES = _SYMBOLS + 2  # 0 to 7 the symbols, 8 the blank, 9 the signal to answer


class AddingBatch(NamedTuple):
    x: np.ndarray  # (T, B, 2): a number, and whether it counts
    target: np.ndarray  # (B, 1): the sum of the two that count


class CopyBatch(NamedTuple):
    x: NDArray[np.int64]  # (delay + 20, B): classes to read
    target: NDArray[np.int64]  # (delay + 20, B): the class to answer at each step


def adding(
    steps: int,
    size: int,
    rng: int | np.random.Generator | None = None,
    *,
    dtype: DTypeLike = np.float32,
) -> AddingBatch:
    """The adding problem: the sum of two numbers of a long sequence, known after its last step.

    Each step brings a number, uniform in [0, 1), and a mark, which is 1 at one step of the first
    half and at one of the second, and 0 elsewhere. Introduced by Hochreiter and Schmidhuber, "Long
    short-term memory", 1997, experiment 4; in this form in Le, Jaitly and Hinton, "A simple way to
    initialize recurrent networks of rectified linear units", 2015, and Arjovsky, Shah and Bengio,
    "Unitary evolution recurrent neural networks", 2016.

    Parameters
    ----------
    steps, size : int
        T, at least 2, and B.
    rng : None, int or numpy.random.Generator
    dtype : float32 or float64

    Returns
    -------
    AddingBatch: `x` (T, B, 2) and `target` (B, 1), for the mean squared error. Who always answers 1
    has the error `ADDING_BASELINE`, 1/6.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> x, target = adding(6, 1, rng=0, dtype=np.float64)
    >>> x[:, 0, 1]
    array([0., 1., 0., 0., 1., 0.])
    >>> bool(x[1, 0, 0] + x[4, 0, 0] == target[0, 0])
    True
    """
    steps = _check.size("steps", steps, minimum=2)
    size = _check.size("size", size)
    rng = _check.generator("rng", rng)
    _check.affordable({"steps": steps, "size": size}, 32 * steps * size, "the batch")
    x = np.zeros((steps, size, 2), _check.float_dtype("dtype", dtype))
    x[..., 0] = rng.random((steps, size), x.dtype)
    rows, half = np.arange(size), steps // 2
    marked = rng.integers(half, size=size), rng.integers(half, steps, size=size)
    for step in marked:
        x[step, rows, 1] = 1
    first, second = (x[step, rows, :1] for step in marked)
    return AddingBatch(x, first + second)


def copy_memory(delay: int, size: int, rng: int | np.random.Generator | None = None) -> CopyBatch:
    """Copy memory: ten symbols are shown, and asked for again after a delay.

    A sequence is 10 symbols of 8, ``delay - 1`` blanks, the signal and 10 more blanks; the target
    is blank until the signal has been read, and then the 10 symbols in their order. The form is
    that of Arjovsky, Shah and Bengio 2016, after Hochreiter and Schmidhuber 1997, experiment 2.

    Parameters
    ----------
    delay, size : int
        At least 1, and B.
    rng : None, int or numpy.random.Generator

    Returns
    -------
    CopyBatch: `x` and `target`, (delay + 20, B) integers below `COPY_CLASSES`, for the
    cross-entropy at every step. A network without memory has at best `copy_baseline`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> x, target = copy_memory(3, 1, rng=0)
    >>> print(*x[:, 0])
    6 5 4 2 2 0 0 0 1 6 8 8 9 8 8 8 8 8 8 8 8 8 8
    >>> print(*target[:, 0])
    8 8 8 8 8 8 8 8 8 8 8 8 8 6 5 4 2 2 0 0 0 1 6
    """
    delay = _check.size("delay", delay)
    size = _check.size("size", size)
    _check.affordable({"delay": delay, "size": size}, 32 * delay * size, "the batch")
    rng = _check.generator("rng", rng)
    x = np.full((delay + 2 * _COPIED, size), _BLANK)
    target = x.copy()
    x[:_COPIED] = target[-_COPIED:] = rng.integers(_SYMBOLS, size=(_COPIED, size))
    x[-_COPIED - 1] = _GO
    return CopyBatch(x, target)


def copy_baseline(delay: int) -> float:
    """The least cross-entropy without memory, in nats a step: ``10 ln 8 / (delay + 20)``.

    The blanks are known from where they stand, and each of the ten symbols is one of eight.

    >>> round(copy_baseline(100), 4)
    0.1733
    """
    delay = _check.size("delay", delay)
    return _COPIED * math.log(_SYMBOLS) / (delay + 2 * _COPIED)
