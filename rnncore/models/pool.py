"""One vector for a row, or for every window of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.models.over_time import Kept, OverTime
from rnncore.models.part import saved
from rnncore.models.pooled import Frame, first_of_largest, over_steps, over_windows, taps
from rnncore.models.windows import MOST_STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("last", "first", "mean", "max")


@saved
class Pool(OverTime):
    """Of the steps that a row has the last, the first, the mean or the largest, (A10) to (A12).

    With a window the same of every window, (T', B, C); without one of the whole row, (B, C).

    Parameters
    ----------
    kind : "last", "first", "mean" or "max"
        Of each feature. Where several are the largest, the gradient goes to the first of them.
    window : int, optional
        Steps of a window, for "mean" and "max".
    stride : int, optional
        Steps from window to window; those of a window by default.
    padding : "valid" or "same"
        "valid": a window ends within the steps of its row; a row of L steps has
        ``(L - window) // stride + 1`` of them, at least 0. "same": it has ceil(L / stride), which
        lie as those of `Conv1d` do, and of the windows at the ends those steps count that exist.
    batch_first : bool
        Whether x, and y with a window, are (B, T, ..), instead of (T, B, ..).

    A row without steps gives 0. There are no parameters; x is float32 or float64, and so is y.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    Two rows, of two steps and of one:

    >>> x = np.array([[[1.0], [2.0]], [[5.0], [9.0]]])
    >>> Pool("mean")(x, lengths=[2, 1]).ravel()
    array([3., 2.])
    >>> layer = Pool("max")
    >>> y, trace = layer.forward(x, lengths=[2, 1])
    >>> layer.backward(trace, np.ones((2, 1))).x[..., 0]
    array([[0., 1.],
           [1., 0.]])
    """

    kind: str
    window: int | None
    stride: int | None
    padding: str
    dtype: None

    def __init__(
        self,
        kind: str,
        window: int | None = None,
        *,
        stride: int | None = None,
        padding: str = "valid",
        batch_first: bool = False,
    ):
        kind = _check.choice("kind", kind, KINDS)
        if window is not None:
            window = _check.size("window", window, maximum=MOST_STEPS)
            if kind in ("last", "first"):
                raise ValueError(f"window is {window}, expected None where kind is {kind!r}")
        if stride is not None:
            if window is None:
                raise ValueError(f"stride is {stride!r}, expected None without a window")
            stride = _check.size("stride", stride, maximum=MOST_STEPS)
        padding = _check.choice("padding", padding, ("valid", "same"))
        if padding == "same" and window is None:
            raise ValueError("padding is 'same', expected 'valid' without a window")
        super().__init__(
            kind=kind,
            window=window,
            stride=stride,
            padding=padding,
            batch_first=_check.flag("batch_first", batch_first),
        )
        self._ends_time = window is None

    def _steps_after(self, steps: int) -> int:
        assert self.window is not None
        by = self.stride or self.window
        if self.padding == "same":
            return -(-steps // by)
        return max(0, (steps - self.window) // by + 1)

    @quiet
    def _run(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, *, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        if self.window is not None:
            return self._run_windows(x, lengths, keep)
        if self.kind == "mean":  # (A11)
            return _mean(x, lengths), ()
        if self.kind == "max":  # (A12)
            return _largest(x, lengths) if keep else (over_steps(np.maximum, x, lengths), ())
        T, B, C = x.shape
        if lengths is None and T:  # (A10)
            return x[-1 if self.kind == "last" else 0].copy(), ()
        y = np.zeros((B, C), x.dtype)
        if lengths is not None and T:
            some = np.flatnonzero(lengths)
            y[some] = x[lengths[some] - 1 if self.kind == "last" else 0, some]  # (A10)
        return y, ()

    def _run_windows(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        size, stride, frame = *self._extent, self._frame(x.shape, lengths)
        steps, past = self._steps_after(len(x)), self._past(len(x), lengths)
        mean = self.kind == "mean"
        if frame is not None:
            x = frame.filled(x, -0.0 if mean else -np.inf)
        y = over_windows(np.add if mean else np.maximum, x, size, stride, steps)  # (A12)
        if mean:
            y /= size if frame is None else frame.existing(x.dtype)  # (A11)
        kept: tuple[np.ndarray, ...] = ()
        if keep and not mean:
            largest = first_of_largest(x, y, size, stride)
            kept = (largest if frame is None else np.maximum(largest, frame.first()),)
        if past is not None:
            for array in (y, *kept):
                array[past] = 0
        return y, kept

    @property
    def _extent(self) -> tuple[int, int]:
        """Of a window, and from one to the next."""
        assert self.window is not None
        return self.window, self.stride or self.window

    def _frame(self, shape: tuple[int, ...], lengths: NDArray[np.intp] | None) -> Frame | None:
        """How rows lie in their windows; None where windows end within the rows."""
        if self.padding == "valid":
            return None
        T, B = shape[:2]
        own = np.full(B, T, np.intp) if lengths is None else lengths
        size, stride = self._extent
        return Frame(own, size, stride, self._steps_after(T))

    def _past(self, T: int, lengths: NDArray[np.intp] | None) -> NDArray[np.bool_] | None:
        """(steps, B) which windows a row does not have; None: none."""
        if lengths is None:
            return None
        counts = np.array([self._steps_after(int(length)) for length in lengths], np.intp)
        return np.arange(self._steps_after(T))[:, np.newaxis] >= counts

    @quiet
    def _undo(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        T, B, C = sizes
        if self.window is not None:
            return self._undo_windows(kept, dy, sizes, lengths), {}
        own = np.full(B, T, np.intp) if lengths is None else lengths
        dx, some = np.zeros(sizes, dy.dtype), np.flatnonzero(own)
        if self.kind == "last":  # (A10)
            dx[own[some] - 1, some] = dy[some]
        elif self.kind == "first" and T:  # (A10)
            dx[0, some] = dy[some]
        elif self.kind == "mean":  # (A11)
            within = np.arange(T)[:, np.newaxis] < own
            share = dy[some] / own[some, np.newaxis].astype(dy.dtype)
            spread = np.zeros_like(dy)
            spread[some] = share
            dx[:] = np.where(within[..., np.newaxis], spread, 0)
        elif self.kind == "max":  # (A12)
            largest = _check.ids("trace.kept[0]", kept[0], max(T, 1), (B, C))
            dx[largest[some], some[:, np.newaxis], np.arange(C)] = dy[some]
        return dx, {}

    def _undo_windows(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> np.ndarray:
        (T, B, C), (size, stride), steps = sizes, self._extent, self._steps_after(sizes[0])
        past, frame = self._past(T, lengths), self._frame(sizes, lengths)
        if self.kind == "max":
            kept = (_check.ids("trace.kept[0]", kept[0], size, (steps, B, C)),)
        d = dy if past is None else np.where(past[..., np.newaxis], 0, dy)
        dx = np.zeros(sizes if frame is None else (frame.steps_in_all, B, C), dy.dtype)
        if self.kind == "mean":
            d = d / (size if frame is None else frame.existing(dy.dtype))
        # No two windows of a row have the same step at the same tap.
        for k, tap in enumerate(taps(dx, size, stride, steps) if steps else ()):
            tap += d if self.kind == "mean" else np.where(kept[0] == k, d, 0)  # (A11), (A12)
        return dx if frame is None else frame.taken(dx, T)


def _mean(x: np.ndarray, lengths: NDArray[np.intp] | None) -> np.ndarray:
    y = over_steps(np.add, x, lengths)
    steps = max(len(x), 1) if lengths is None else np.maximum(lengths, 1)[:, np.newaxis]
    y /= np.asarray(steps, x.dtype)
    return y


def _largest(x: np.ndarray, lengths: NDArray[np.intp] | None) -> tuple[np.ndarray, Kept]:
    """The largest, and which step it was."""
    T, B, C = x.shape
    if lengths is None:
        lengths = np.full(B, T, np.intp)
    y, largest = np.zeros((B, C), x.dtype), np.zeros((B, C), np.intp)
    some = np.flatnonzero(lengths)
    if some.size:
        own = x
        if lengths.min() < T:
            within = np.arange(T)[:, np.newaxis, np.newaxis] < lengths[:, np.newaxis]
            own = np.where(within, x, -np.inf)
        largest = own.argmax(axis=0)
        found = np.take_along_axis(x, largest[np.newaxis], axis=0)[0]
        y[some] = found[some] + 0  # as `over_steps` has it
    return y, (largest,)
