"""Windows over the steps of a batch: which steps each of them has, and what is in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STEPS = 1 << 24  # of windows, strides, dilations and padding
_MOST_NUMBERS = 1 << 18  # of windows that are in memory at once


class Kernel(NamedTuple):
    """How windows lie in a row."""

    size: int
    stride: int
    dilation: int

    @property
    def reach(self) -> int:
        """Steps from the first of a window to its last, both included."""
        return self.dilation * (self.size - 1) + 1


def missing_before(length: Any, stride: int, reach: int) -> Any:
    """The steps that the first of ceil(length / stride) windows misses: half of all, rounded down.

    `length` is a number of steps, or an array of them. So TensorFlow pads for "same".
    """
    counts = -(-length // stride)
    return np.maximum((counts - 1) * stride + reach - length, 0) // 2


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


class Block(NamedTuple):
    """Windows of some steps and some rows, where all rows are as long."""

    t: slice  # the steps of y
    b: slice  # the rows
    content: np.ndarray  # (steps, rows, K, C) what is in the windows


def filled_length(T: int, kernel: Kernel, before: int, steps: int) -> int:
    """How many steps `filled_up` makes of T."""
    return max(before + T, (steps - 1) * kernel.stride + kernel.reach)


def filled_up(x: np.ndarray, kernel: Kernel, before: int, steps: int) -> np.ndarray:
    """`x` with zeros around it, so that all of so many windows are within it.

    The first of them begins `before` steps before x. It is x itself if that will do.
    """
    T, length = len(x), filled_length(len(x), kernel, before, steps)
    if length == T and not before and x.flags.c_contiguous:
        return x
    filled = np.empty((length, *x.shape[1:]), x.dtype)
    filled[:before] = 0
    filled[before : before + T] = x
    filled[before + T :] = 0
    return filled


def blocks(x: np.ndarray, kernel: Kernel, steps: int) -> Iterator[Block]:
    """So many windows of every row of an x that is contiguous and has all that is in them.

    The memory of a block is that of the next.
    """
    _, B, C = x.shape
    most = max(1, _MOST_NUMBERS // max(1, kernel.size * C))
    at_once, rows = max(1, min(steps, most // max(1, B))), max(1, min(B, most))
    room = np.empty((at_once, rows, kernel.size, C), x.dtype)
    row, step = x.strides[1], x.strides[0]
    strides = (step * kernel.stride, row, step * kernel.dilation, x.itemsize)
    for begin in range(0, B, rows):
        b = slice(begin, min(begin + rows, B))
        for start in range(0, steps, at_once):
            t = slice(start, min(start + at_once, steps))
            shape = (t.stop - t.start, b.stop - b.start, kernel.size, C)
            content = room
            if shape != room.shape:
                content = room.reshape(-1)[: math.prod(shape)].reshape(shape)
            first = start * strides[0] + begin * row
            # Each window is one piece of memory, or as many as it has steps.
            content[...] = np.ndarray(shape, x.dtype, x, first, strides)
            yield Block(t, b, content)


def add_block(dx: np.ndarray, kernel: Kernel, block: Block, dcontent: np.ndarray) -> None:
    """Undo a block of x: add up what windows share.

    No two windows of a row have the same step at the same tap.
    """
    first = block.t.start * kernel.stride
    reach = (block.t.stop - block.t.start - 1) * kernel.stride + 1
    for k in range(kernel.size):
        at = first + k * kernel.dilation
        dx[at : at + reach : kernel.stride, block.b] += dcontent[:, :, k]


def with_none(x: np.ndarray) -> np.ndarray:
    """A copy of x with a step of zeros behind it, for those that are not there."""
    return np.concatenate((x, np.zeros((1, *x.shape[1:]), x.dtype)))
