"""What steps come to, one after the other: sums and the largest, of whole rows and of windows.

Every number is made of its row's own, from the first step on, whatever is beside it: so a row of a
batch, a row alone and a stream of it have the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore.models.windows import missing_before

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 1 << 15  # numbers of y at a time: they and what they are made of stay in a cache


def over_steps(join: np.ufunc, x: np.ndarray, lengths: NDArray[np.intp] | None) -> np.ndarray:
    """`np.add` or `np.maximum` of all steps of each row, (B, C); 0 for a row without any.

    NumPy has it that either of 0 and -0 is the larger, as they come to lie: here it is 0.
    """
    T, B, C = x.shape
    if lengths is None and T:
        return _joined(join, x)
    y = np.zeros((B, C), x.dtype)
    for length in () if lengths is None else np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        # One row needs no copy.
        own = x[:length, rows[0], np.newaxis] if len(rows) == 1 else x[:length].take(rows, axis=1)
        y[rows] = _joined(join, own)
    return y


def over_windows(join: np.ufunc, x: np.ndarray, size: int, stride: int, steps: int) -> np.ndarray:
    """The same of so many windows of each row, (steps, B, C)."""
    y = np.empty((steps, *x.shape[1:]), x.dtype)
    if size > steps:  # few windows of many steps
        for t in range(steps):
            y[t] = _joined(join, x[t * stride : t * stride + size])
        return y
    for at, own in _parts(x, y, stride):
        part = y[at]
        first, *others = taps(own, size, stride, len(part))
        if not others:
            part[...] = first
        for tap in others:
            first = join(first, tap, out=part)
        if join is np.maximum:
            part += 0
    return y


def first_of_largest(
    x: np.ndarray, largest: np.ndarray, size: int, stride: int
) -> NDArray[np.intp]:
    """Which step of each window is the first that has its largest number, or its first NaN."""
    found = np.zeros(largest.shape, np.intp)
    for at, own in _parts(x, largest, stride):
        for k, tap in reversed([*enumerate(taps(own, size, stride, len(found[at])))]):
            there = (tap == largest[at]) | (tap != tap)  # of NaN alone
            np.copyto(found[at], k, where=there)
    return found


def taps(x: np.ndarray, size: int, stride: int, steps: int) -> list[np.ndarray]:
    """Views, (steps, B, C): the first steps of all windows, then the second, and so on."""
    reach = (steps - 1) * stride + 1
    return [x[k : k + reach : stride] for k in range(size)]


def _parts(x: np.ndarray, y: np.ndarray, stride: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Some steps of y at a time, and x from where they begin."""
    at_once = max(1, _AT_ONCE // max(1, y[0].size)) if len(y) else 1
    for start in range(0, len(y), at_once):
        yield slice(start, start + at_once), x[start * stride :]


def _joined(join: np.ufunc, x: np.ndarray) -> np.ndarray:
    """Of all steps, (B, C), in their order."""
    C = x.shape[2]
    if C == 1:
        # NumPy would add in pairs what lies end to end; but not what it has to give all sums of.
        y: np.ndarray = join.accumulate(x, axis=0)[-1].copy()
    else:
        # It goes from a step to the next where the features of a step lie closest together.
        near = x.flags.aligned and x.strides[2] == x.itemsize
        for count, stride in zip(x.shape[:2], x.strides[:2], strict=True):
            near = near and (count == 1 or stride >= C * x.itemsize)
        if not near:
            x = np.require(x, requirements=("C", "A"))
        # Of what sums begin with, -0 alone changes no number, not even -0.
        y = join.reduce(x, axis=0, initial=-0.0 if join is np.add else x.dtype.type(-np.inf))
    if join is np.maximum:
        y += 0
    return y


class Frame(NamedTuple):
    """Rows with room before and after them, in which all windows lie as those of the first do.

    Those of padding "same": see `missing_before`.
    """

    lengths: NDArray[np.intp]  # (B,)
    size: int
    stride: int
    steps: int  # windows of the longest row that there may be

    @property
    def before(self) -> NDArray[np.intp]:
        """(B,) the steps that the first window of each row misses."""
        found: NDArray[np.intp] = missing_before(self.lengths, self.stride, self.size)
        return found

    @property
    def steps_in_all(self) -> int:
        reach = (self.steps - 1) * self.stride + self.size if self.steps else 0
        return max(reach, int((self.before + self.lengths).max(initial=0)))

    def filled(self, x: np.ndarray, fill: float) -> np.ndarray:
        """x with its rows where they lie, and `fill` around them."""
        whole = np.full((self.steps_in_all, *x.shape[1:]), fill, x.dtype)
        for b, start, end in self._rows():
            whole[start:end, b] = x[: end - start, b]
        return whole

    def taken(self, whole: np.ndarray, T: int) -> np.ndarray:
        """Undo `filled`: (T, B, C), and 0 past the rows."""
        x = np.zeros((T, *whole.shape[1:]), whole.dtype)
        for b, start, end in self._rows():
            x[: end - start, b] = whole[start:end, b]
        return x

    def _rows(self) -> Iterator[tuple[Any, int, int]]:
        """Those of one length: which, and where they begin and end."""
        for length in np.unique(self.lengths):
            b: Any = np.flatnonzero(self.lengths == length)
            start = int(self.before[b[0]])
            yield slice(None) if len(b) == len(self.lengths) else b, start, start + int(length)

    def first(self) -> NDArray[np.intp]:
        """(steps, B, 1) the first step of each window that there is."""
        found: NDArray[np.intp] = np.maximum(self.before - self._starts(), 0)[..., np.newaxis]
        return found

    def existing(self, dtype: np.dtype[Any]) -> np.ndarray:
        """(steps, B, 1) how many steps of each window there are; 1 where it is past the row."""
        starts = self._starts() - self.before
        count = np.minimum(starts + self.size, self.lengths) - np.maximum(starts, 0)
        found: np.ndarray = np.maximum(count, 1)[..., np.newaxis].astype(dtype)
        return found

    def _starts(self) -> NDArray[np.intp]:
        return (np.arange(self.steps) * self.stride)[:, np.newaxis]
