"""Parts that look at every position alone, such as `Linear`: a step and a row at a time.

A position is a row of numbers, or an id. Where rows of a batch have lengths, those positions alone
are computed that are within them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rnncore import _check
from rnncore._check.texts import shape_text
from rnncore.models.part import HeadGrads, Part, PartTrace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Kept = tuple["np.ndarray | None", ...]


class Places:
    """The positions of an x that are within the lengths of its rows, as rows of a table."""

    def __init__(
        self, leading: tuple[int, ...], lengths: NDArray[np.intp] | None, batch_first: bool
    ) -> None:
        self.leading, self.lengths = leading, lengths
        self._mask: NDArray[np.bool_] | None = None
        self.count = math.prod(leading)
        if lengths is not None:
            steps = leading[1 if batch_first else 0]
            mask = np.arange(steps) < lengths[:, np.newaxis]  # (B, T)
            self._mask = mask if batch_first else mask.T
            self.count = int(lengths.sum()) * math.prod(leading[2:])

    def rows(self, a: np.ndarray) -> np.ndarray:
        """(count, ...) of an array that has something for every position; a view if it can be."""
        inner = a.shape[len(self.leading) :]
        found = a if self._mask is None else a[self._mask]
        return found.reshape(self.count, *inner)

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """The other way: rows in the places that they came from, 0 elsewhere."""
        shape = (*self.leading, *rows.shape[1:])
        if self._mask is None:
            return rows.reshape(shape)
        spread = np.zeros(shape, rows.dtype)
        spread[self._mask] = rows.reshape(-1, *shape[2:])
        return spread


class ByRow(Part):
    """A part that looks at every position alone."""

    _inner: ClassVar[int] = 1  # axes of x within a position; 0 of ids

    def __call__(
        self, x: np.ndarray, *, lengths: ArrayLike | None = None, batch_first: bool = False
    ) -> np.ndarray:
        """The output for `x`, as at inference; nothing is kept.

        Parameters
        ----------
        x : array of any leading dimensions; with `lengths` (T, B, ...)
        lengths : (B,) integers from 0 to T, optional
            Past its length nothing of a row is read, and its y is 0.
        batch_first : bool
            Whether x is (B, T, ...); tells something with `lengths` alone.

        Raises
        ------
        ValueError for a wrong shape or length, and for lengths of an x without a batch; TypeError
        for another dtype than the layer's.
        """
        x, places = self._given(x, lengths, batch_first)
        return places.spread(self._apply(self._rows(places, x)))

    def forward(
        self,
        x: np.ndarray,
        *,
        lengths: ArrayLike | None = None,
        batch_first: bool = False,
        training: bool = True,
    ) -> tuple[np.ndarray, PartTrace]:
        """The output for `x`, and the trace that `backward` reads.

        The other arguments are those of a call of the layer. With ``training=False`` the output is
        that of a call, and the trace is empty.
        """
        training = _check.flag("training", training)
        x, places = self._given(x, lengths, batch_first)
        rows, kept = self._rows(places, x), None
        if training:
            # A copy: the caller may go on to use its own, and the trace is read-only.
            y, kept = self._keep(np.array(rows, order="C") if lengths is None else rows)
        else:
            y = self._apply(rows)
        trace = self._trace(x, places.lengths, kept, batch_first=bool(batch_first))
        return places.spread(y), trace

    def backward(self, trace: PartTrace, dy: np.ndarray) -> HeadGrads:
        kept = self._checked_kept(trace)
        leading = trace.shape[: len(trace.shape) - self._inner]
        places = Places(leading, trace.lengths, trace.batch_first)
        shape = (*leading, *self._inner_of_y(trace.shape))
        dtype, owner = (self.dtype, "the layer") if self.dtype is not None else (trace.dtype, "x")
        dy = _check.array("dy", dy, shape, dtype=dtype, owner=owner)
        width = trace.shape[-1] if self._inner else 0
        for k, like in enumerate(self._kept_shapes(places.count, width)):
            array = kept[k]
            if array is None or array.shape != like:
                raise ValueError(f"trace.kept[{k}] does not fit, expected shape {shape_text(like)}")
            if self._inner and array.dtype != dtype:
                raise TypeError(f"trace.kept[{k}] has dtype {array.dtype}, expected {dtype}")
        dx, grads = self._undo(kept, places.rows(dy))
        return self._grads(None if dx is None else places.spread(dx), grads)

    # What each of them does with rows, (N, C), or ids, (N,); what it gives is new

    @abstractmethod
    def _apply(self, rows: np.ndarray) -> np.ndarray:
        """The output at inference."""

    @abstractmethod
    def _keep(self, rows: np.ndarray) -> tuple[np.ndarray, Kept]:
        """The output in training, and what `_undo` reads; `rows` may be kept."""

    @abstractmethod
    def _undo(self, kept: Any, dy: np.ndarray) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """The gradients of the rows and of the parameters."""

    def _kept_shapes(self, N: int, C: int) -> tuple[tuple[int, ...], ...]:
        """Of what `_keep` keeps, for N rows of C numbers."""
        return ((N, C),)

    def _inner_of_y(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of y within a position, for an x of a shape."""
        return shape[-1:]

    def _width(self) -> int | None:
        """How many numbers a position of x has; None: any."""
        return None

    # What came

    def _given(self, x: Any, lengths: Any, batch_first: Any) -> tuple[np.ndarray, Places]:
        x, batch_first = self._input(x), _check.flag("batch_first", batch_first)
        leading = x.shape[: x.ndim - self._inner]
        if lengths is None:
            return x, Places(leading, None, batch_first)
        if len(leading) < 2:
            batch = ("B", "T") if batch_first else ("T", "B")
            expected = shape_text((*batch, *x.shape[x.ndim - self._inner :]))
            raise ValueError(f"x has shape {x.shape}, expected {expected} where there are lengths")
        T, B = leading[1::-1] if batch_first else leading[:2]
        return x, Places(leading, _check.lengths(lengths, T, B), batch_first)

    def _input(self, x: Any) -> np.ndarray:
        if type(x) is not np.ndarray:
            x = _check.plain("x", x)
        width = self._width()
        last = x.shape[-1] if x.ndim and width is None else width
        shape = (*x.shape[:-1], "C" if last is None else last)
        owner = "the layer" if self.dtype is not None else ""
        return _check.array("x", x, shape, dtype=self.dtype, owner=owner)

    def _rows(self, places: Places, x: np.ndarray) -> np.ndarray:
        return places.rows(x)
