"""Parts that look at the steps of a sequence together, such as `Conv1d`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore.models.part import HeadGrads, Part, PartTrace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Kept = tuple["np.ndarray | None", ...]


class OverTime(Part):
    """A part that looks at the steps of a sequence together, and so has a layout."""

    batch_first: bool
    _ends_time: bool = False  # whether y has no steps

    def __call__(self, x: np.ndarray, *, lengths: ArrayLike | None = None) -> np.ndarray:
        """The output for `x`, as at inference; nothing is kept.

        Parameters
        ----------
        x : (T, B, C) array, (B, T, C) with `batch_first`, or (T, C): one sequence without a batch
        lengths : (B,) integers from 0 to T, optional
            A row is what it is up to its length: the steps past it are not read, and y is 0 there.

        Raises
        ------
        ValueError for a wrong shape or length, and for lengths of an x without a batch; TypeError
        for another dtype than the layer's.
        """
        x = self._input(x)
        y, _ = self._run(self._inside(x), self._lengths(x, lengths), keep=False)
        return self._outside(y, x.ndim)

    def forward(
        self, x: np.ndarray, *, lengths: ArrayLike | None = None, training: bool = True
    ) -> tuple[np.ndarray, PartTrace]:
        training = _check.flag("training", training)
        x = self._input(x)
        own = self._lengths(x, lengths)
        y, kept = self._run(self._inside(x), own, keep=training)
        trace = self._trace(x, own, kept if training else None, batch_first=self.batch_first)
        return self._outside(y, x.ndim), trace

    def backward(self, trace: PartTrace, dy: np.ndarray) -> HeadGrads:
        kept, shape = self._checked_kept(trace), trace.shape
        T, B, C = self._sizes(shape)
        steps, width = () if self._ends_time else (self._steps_after(T),), self._width_after(C)
        batch: tuple[int, ...] = (B,) if len(shape) > 2 else ()
        of_y = (*batch, *steps, width) if self.batch_first else (*steps, *batch, width)
        dtype, owner = (self.dtype, "the layer") if self.dtype is not None else (trace.dtype, "x")
        dy = _check.array("dy", dy, of_y, dtype=dtype, owner=owner)
        dx, grads = self._undo(kept, self._inside_of_y(dy, len(shape)), (T, B, C), trace.lengths)
        return self._grads(self._as_x(dx, len(shape)), grads)

    def lengths_after(self, lengths: ArrayLike | None) -> NDArray[np.intp] | None:
        own = super().lengths_after(lengths)
        if own is None or self._ends_time:
            return None
        return np.array([self._steps_after(int(length)) for length in own], np.intp)

    # What each of them does with x time first, (T, B, C)

    @abstractmethod
    def _run(
        self, x: np.ndarray, lengths: NDArray[np.intp] | None, *, keep: bool
    ) -> tuple[np.ndarray, Kept]:
        """The output, new and time first, and with `keep` what `_undo` reads."""

    @abstractmethod
    def _undo(
        self,
        kept: Any,
        dy: np.ndarray,
        sizes: tuple[int, int, int],
        lengths: NDArray[np.intp] | None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The gradients of x, time first, whose sizes are T, B and C, and of the parameters."""

    def _steps_after(self, steps: int) -> int:
        """How many steps y has, of a row of so many."""
        return steps

    def _width_after(self, C: int) -> int:
        return C

    def _width(self) -> int | None:
        """How many numbers a step of x has; None: any."""
        return None

    # Layouts

    def _input(self, x: Any) -> np.ndarray:
        C: int | str = self._width() or "C"
        batched = ("B", "T", C) if self.batch_first else ("T", "B", C)
        owner = "the layer" if self.dtype is not None else ""
        return _check.array("x", x, batched, ("T", C), dtype=self.dtype, owner=owner)

    def _lengths(self, x: np.ndarray, lengths: ArrayLike | None) -> NDArray[np.intp] | None:
        if lengths is None:
            return None
        if x.ndim == 2:
            batched = "(B, T, C)" if self.batch_first else "(T, B, C)"
            raise ValueError(f"x has shape {x.shape}, expected {batched} where there are lengths")
        T, B, _ = self._sizes(x.shape)
        return _check.lengths(lengths, T, B)

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        if len(shape) == 2:
            return shape[0], 1, shape[1]
        first, second, C = shape
        return (second, first, C) if self.batch_first else (first, second, C)

    def _inside(self, x: np.ndarray) -> np.ndarray:
        """(T, B, C), a view."""
        if x.ndim == 2:
            return x[:, np.newaxis]
        return x.swapaxes(0, 1) if self.batch_first else x

    def _as_x(self, inside: np.ndarray, ndim: int) -> np.ndarray:
        if ndim == 2:
            return inside[:, 0]
        return np.ascontiguousarray(inside.swapaxes(0, 1)) if self.batch_first else inside

    def _outside(self, y: np.ndarray, ndim: int) -> np.ndarray:
        if self._ends_time:  # (B, C)
            return y[0] if ndim == 2 else y
        return self._as_x(y, ndim)

    def _inside_of_y(self, dy: np.ndarray, ndim: int) -> np.ndarray:
        if self._ends_time:
            return dy[np.newaxis] if ndim == 2 else dy
        return self._inside(dy)
