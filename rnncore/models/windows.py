"""Windows over the steps of a batch: which steps each of them has, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STEPS = 1 << 24  # of windows, strides, dilations and padding
_MOST_NUMBERS = 1 << 20  # of windows that are in memory at once


class Kernel(NamedTuple):
    """How windows lie in a row."""

    size: int
    stride: int
    dilation: int

    @property
    def reach(self) -> int:
        """Steps from the first of a window to its last, both included."""
        return self.dilation * (self.size - 1) + 1


class Windows:
    """The windows of all rows of a batch of T steps: of every row as many as it has.

    Parameters
    ----------
    kernel : how they lie
    T, lengths : the steps there are, and those of each row
    steps, counts : how many windows a row of T steps has, and how many each row has
    before : of every row how many steps before its first the first window begins
    """

    def __init__(
        self,
        kernel: Kernel,
        T: int,
        lengths: NDArray[np.intp],
        steps: int,
        counts: NDArray[np.intp],
        before: NDArray[np.intp],
    ) -> None:
        self.kernel, self.steps, self._none, self._lengths = kernel, steps, T, lengths
        self._t, self._b = np.nonzero(np.arange(steps)[:, np.newaxis] < counts)
        self._first = self._t * kernel.stride - before[self._b]

    def parts(self, width: int) -> Iterator[Part]:
        """Of rows of so many numbers: as many windows at a time as take little memory."""
        at_once = max(1, _MOST_NUMBERS // max(1, self.kernel.size * width))
        offsets = np.arange(self.kernel.size) * self.kernel.dilation
        for start in range(0, len(self._t), at_once):
            part = slice(start, start + at_once)
            t, b = self._t[part], self._b[part]
            taps = self._first[part, np.newaxis] + offsets
            taps[(taps < 0) | (taps >= self._lengths[b, np.newaxis])] = self._none
            yield Part(t, b, taps)


class Part(NamedTuple):
    """Some of the windows."""

    t: NDArray[np.intp]  # (N,) the step of y
    b: NDArray[np.intp]  # (N,) the row
    taps: NDArray[np.intp]  # (N, K) the steps of x; T stands for one that is not there

    def content(self, x: np.ndarray) -> np.ndarray:
        """(N, K, C) what is in the windows, of an x with a step for those that are not there."""
        found: np.ndarray = x[self.taps, self.b[:, np.newaxis]]
        return found

    def add(self, dx: np.ndarray, dcontent: np.ndarray) -> None:
        """Undo `content`: add up what windows share.

        No two windows of a row have the same step at the same tap, but for the one that is not
        there, so a tap at a time can be added where it belongs.
        """
        for k in range(self.taps.shape[1]):
            dx[self.taps[:, k], self.b] += dcontent[:, k]


def with_none(x: np.ndarray) -> np.ndarray:
    """A copy of x with a step of zeros behind it, for those that are not there."""
    return np.concatenate((x, np.zeros((1, *x.shape[1:]), x.dtype)))
