"""One vector for a row, or for every window of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.models.over_time import Kept, OverTime
from rnncore.models.part import saved
from rnncore.models.windows import MOST_STEPS, Kernel, Part, Windows, with_none

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

    def _windows(self, T: int, B: int, lengths: NDArray[np.intp]) -> Windows:
        assert self.window is not None
        counts = np.array([self._steps_after(int(length)) for length in lengths], np.intp)
        kernel, before = Kernel(self.window, self.stride or self.window, 1), np.zeros(B, np.intp)
        if self.padding == "same":
            missing = (counts - 1) * kernel.stride + kernel.size - lengths
            before = np.maximum(missing, 0) // 2
        return Windows(kernel, T, lengths, self._steps_after(T), counts, before)

    @quiet
    def _run(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, *, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        T, B, C = x.shape
        own = np.full(B, T, np.intp) if lengths is None else lengths
        if self.window is not None:
            return self._run_windows(x, own)
        y, some = np.zeros((B, C), x.dtype), np.flatnonzero(own)
        largest: np.ndarray | None = None
        if not some.size:
            pass
        elif self.kind == "last":  # (A10)
            y[some] = x[own[some] - 1, some]
        elif self.kind == "first":  # (A10)
            y[some] = x[0, some]
        elif self.kind == "mean":  # (A11)
            # Sums from the first step on, whatever rows are beside: np.sum would add in pairs of
            # some shapes, and not of others.
            y[some] = _over_steps(np.add, x, own)[some] / own[some, np.newaxis].astype(x.dtype)
        elif not keep:  # (A12)
            y[some] = _over_steps(np.maximum, x, own)[some]
        if self.kind == "max" and keep:  # (A12)
            largest = np.zeros((B, C), np.intp)
            if some.size:
                within = np.arange(T)[:, np.newaxis, np.newaxis] < own[:, np.newaxis]
                largest = np.where(within, x, -np.inf).argmax(axis=0)
                found = np.take_along_axis(x, largest[np.newaxis], axis=0)[0]
                y[some] = found[some]
        return y, () if largest is None else (largest,)

    def _run_windows(self, x: np.ndarray, lengths: NDArray[np.intp]) -> tuple[np.ndarray, Kept]:
        T, B, C = x.shape
        source, windows = with_none(x), self._windows(T, B, lengths)
        y = np.zeros((windows.steps, B, C), x.dtype)
        kept = np.zeros((windows.steps, B, C), np.intp) if self.kind == "max" else None
        for part in windows.parts(C):
            rows = part.content(source)
            if kept is None:
                total = rows[:, 0].copy()
                for k in range(1, rows.shape[1]):
                    total += rows[:, k]
                y[part.t, part.b] = total / _counts(part, T, x.dtype)  # (A11)
            else:
                there = part.taps < T  # in windows of "valid" all are
                rows = np.where(there[..., np.newaxis], rows, -np.inf)
                # Where all are -inf, the first of those that exist.
                largest = np.maximum(rows.argmax(axis=1), there.argmax(axis=1)[:, np.newaxis])
                kept[part.t, part.b] = largest
                found = np.take_along_axis(rows, largest[:, np.newaxis], axis=1)
                y[part.t, part.b] = found[:, 0]  # (A12)
        return y, () if kept is None else (kept,)

    @quiet
    def _undo(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        T, B, C = sizes
        own = np.full(B, T, np.intp) if lengths is None else lengths
        if self.window is not None:
            return self._undo_windows(kept, dy, sizes, own), {}
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
        self, kept: Any, dy: np.ndarray, sizes: tuple[int, int, int], lengths: NDArray[np.intp]
    ) -> np.ndarray:
        T, B, C = sizes
        dsource, windows = np.zeros((T + 1, B, C), dy.dtype), self._windows(T, B, lengths)
        if self.kind == "max":
            K = windows.kernel.size
            kept = (_check.ids("trace.kept[0]", kept[0], K, (windows.steps, B, C)),)
        for part in windows.parts(C):
            K, d = part.taps.shape[1], dy[part.t, part.b][:, np.newaxis]
            if self.kind == "mean":
                share = d / _counts(part, T, dy.dtype)[:, np.newaxis]
                part.add(dsource, np.broadcast_to(share, (len(part.t), K, C)))  # (A11)
            else:
                largest = kept[0][part.t, part.b][:, np.newaxis]
                here = np.arange(K)[:, np.newaxis] == largest
                part.add(dsource, np.where(here, d, 0))  # (A12)
        return dsource[:T]


def _counts(part: Part, T: int, dtype: np.dtype[Any]) -> np.ndarray:
    """(N, 1) how many steps of each window exist."""
    counts: np.ndarray = (part.taps < T).sum(axis=1)[:, np.newaxis].astype(dtype)
    return counts


def _over_steps(join: np.ufunc, x: np.ndarray, lengths: NDArray[np.intp]) -> np.ndarray:
    """The steps of every row put together one after the other; of a row without any, the first."""
    total: np.ndarray = x[0].copy()
    whole = int(lengths.min())
    for step in x[1:whole]:
        join(total, step, out=total)
    for t in range(max(whole, 1), int(lengths.max())):
        there = lengths > t
        total[there] = join(total[there], x[t, there])
    return total
