"""Data as batches: arrays, lists of sequences, or batches that come as they are.

Rows of like length go together, so that little is padded, and are shuffled all the same: a random
order of all rows is cut into pools, rows are sorted by length within a pool, and the batches are
shuffled again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.fitting.layout import Layout

_POOL = 50  # batches among which rows are sorted


class Batch(NamedTuple):
    """Some rows.

    Attributes
    ----------
    x, target : in the layout of the model; what is past the end of a row is 0
    lengths : (B,) of the rows; None where all have all steps
    rows : how many
    """

    x: np.ndarray
    target: Any
    lengths: np.ndarray | None
    rows: int


class Rows:
    """All rows of a data set, of which batches are taken by their places.

    Attributes
    ----------
    count : of rows
    lengths : (count,) of the rows; None where all are as long
    """

    def __init__(self, X: Any, target: Any, lengths: Any, layout: Layout) -> None:
        self._layout, self._listed = layout, not hasattr(X, "shape")
        self._x: Any
        if self._listed:
            if lengths is not None:
                raise ValueError("lengths are given beside a list of sequences, which have theirs")
            self._x, self._target = _sequences("X", X, layout.dtype), target
            own = np.array([len(x) for x in self._x], np.intp)
        else:
            self._x, self._target, own = _with_axes("X", X, 2), target, None
        self.count = len(self._x) if self._listed else X.shape[self._axis]
        if not self.count:
            raise ValueError("X has no rows, expected at least one")
        if not self._listed:
            own = _check.lengths(lengths, X.shape[1 - self._axis], self.count)
        self.lengths = own if own is not None and (own != own[0]).any() else None
        self._longest = own  # of each row, where they say so
        if target is not None:
            self._check_target()

    @property
    def _axis(self) -> int:
        """That of rows."""
        return 0 if self._layout.batch_first else 1

    def _check_target(self) -> None:
        per_step = self._layout.per_step
        if not hasattr(self._target, "shape") and not (self._listed and per_step):
            self._target = np.asarray(self._target)
        if self._listed and per_step:
            self._target = _sequences("Y", self._target, None)
            found, expected = len(self._target), self.count
            wrong = [
                k
                for k, (x, y) in enumerate(zip(self._x, self._target, strict=False))
                if len(x) != len(y)
            ]
            if found == expected and wrong:
                k = wrong[0]
                raise ValueError(
                    f"Y[{k}] has {len(self._target[k])} steps and X[{k}] {len(self._x[k])},"
                    " expected a target for each step"
                )
        elif per_step:
            _with_axes("Y", self._target, 2)
            found, expected = self._target.shape[:2], self._x.shape[:2]
        else:
            found, expected = _with_axes("Y", self._target, 1).shape[0], self.count
        if found != expected:
            what = "steps and rows" if isinstance(found, tuple) else "targets"
            raise ValueError(f"Y has {found} {what}, expected {expected} as X")

    def batch(self, rows: np.ndarray) -> Batch:
        """The rows of these places."""
        lengths = None if self._longest is None else self._longest[rows]
        steps = None if lengths is None else int(lengths.max())
        if lengths is not None and (lengths == steps).all():
            lengths = None
        if self._listed:
            x = self._padded([self._x[k] for k in rows], steps or 0)
        else:
            x = self._cut(self._x, rows, steps)
        if x.dtype.kind == "f" and self._layout.dtype is not None:
            x = x.astype(self._layout.dtype, copy=False)
        return Batch(x, self._targets(rows, steps), lengths, len(rows))

    def _targets(self, rows: np.ndarray, steps: int | None) -> Any:
        if self._target is None:
            return None
        if not self._layout.per_step:
            return np.asarray(self._target[rows])
        if self._listed:
            return self._padded([self._target[k] for k in rows], steps or 0)
        return self._cut(self._target, rows, steps)

    def _cut(self, a: Any, rows: np.ndarray, steps: int | None) -> np.ndarray:
        order = np.sort(rows)  # a file on the disk is read from its start to its end
        back = np.searchsorted(order, rows)
        found = a[order, :steps] if self._axis == 0 else a[:steps, order]
        return np.ascontiguousarray(np.take(found, back, self._axis))

    def _padded(self, sequences: Sequence[np.ndarray], steps: int) -> np.ndarray:
        whole = np.zeros((len(sequences), steps, *sequences[0].shape[1:]), sequences[0].dtype)
        for row, sequence in zip(whole, sequences, strict=True):
            row[: len(sequence)] = sequence
        return whole if self._axis == 0 else np.ascontiguousarray(whole.swapaxes(0, 1))

    def places(
        self, size: int, rng: np.random.Generator | None, among: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The places of the rows of every batch, of all rows or those `among` them.

        In a random order with `rng`, from the shortest to the longest without.
        """
        order = np.arange(self.count) if among is None else among
        if rng is not None:
            order = rng.permutation(order)
        if self.lengths is None:
            return _pieces(order, size)
        found = []
        for pool in _pieces(order, len(order) if rng is None else _POOL * size):
            found += _pieces(pool[np.argsort(self.lengths[pool], kind="stable")], size)
        return found if rng is None else [found[k] for k in rng.permutation(len(found))]

    def without(self, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The places of rows to train with, and of a random share that is held back."""
        held = min(max(1, round(share * self.count)), self.count - 1)
        if held < 1:
            raise ValueError("validation is a share of one row, expected more rows")
        order = rng.permutation(self.count)
        return np.sort(order[held:]), np.sort(order[:held])


class Given:
    """Batches that come as they are: (x, target) or (x, target, lengths)."""

    def __init__(self, name: str, batches: Iterable[Any], layout: Layout, *, again: bool) -> None:
        if again and iter(batches) is batches:
            raise ValueError(
                f"{name} gives its batches once, expected a list or what can be iterated anew"
            )
        self._name, self._batches, self._layout = name, batches, layout

    def __iter__(self) -> Iterator[Batch]:
        for k, given in enumerate(self._batches):
            if not isinstance(given, tuple | list) or len(given) not in (2, 3):
                raise ValueError(
                    f"batch {k} of {self._name} is no tuple of two or three, expected (x, target)"
                    " or (x, target, lengths)"
                )
            x = np.asarray(given[0])
            if x.dtype.kind == "f" and self._layout.dtype is not None:
                x = x.astype(self._layout.dtype, copy=False)
            axis = 0 if self._layout.batch_first else min(1, x.ndim - 1)
            lengths = None
            if len(given) == 3:
                lengths = _check.lengths(given[2], x.shape[1 - axis], x.shape[axis])
            yield Batch(x, np.asarray(given[1]), lengths, x.shape[axis])


def _pieces(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[k : k + size] for k in range(0, len(order), size)]


def _with_axes(name: str, a: Any, fewest: int) -> Any:
    if len(a.shape) < fewest:
        raise ValueError(f"{name} has shape {tuple(a.shape)}, expected at least {fewest} axes")
    return a


def _sequences(name: str, given: Any, dtype: np.dtype[Any] | None) -> list[np.ndarray]:
    """Arrays (T_i, ...) that differ in their steps alone."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise TypeError(
            f"{name} is of type {type(given).__name__}, expected an array or a list of sequences"
        )
    found = [np.asarray(sequence) for sequence in given]
    for k, sequence in enumerate(found):
        if sequence.ndim < 1 or sequence.dtype.kind not in "fiub":
            raise ValueError(f"{name}[{k}] is no sequence of numbers")
        if sequence.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"{name}[{k}] has steps of shape {sequence.shape[1:]}, and {name}[0] of"
                f" {found[0].shape[1:]}"
            )
    floats = any(sequence.dtype.kind == "f" for sequence in found)
    common = np.result_type(*found) if found else np.float64
    if floats and dtype is not None:
        common = dtype
    return [sequence.astype(common, copy=False) for sequence in found]
