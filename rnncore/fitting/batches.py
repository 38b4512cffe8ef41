"""Data as batches: arrays, lists of sequences, or batches that come as they are.

Rows of like length go together, so that little is padded, and are shuffled all the same: a random
order of all rows is cut into pools, rows are sorted by length within a pool, and the batches are
shuffled again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.fitting.arrays import Sequences, array_of, check_numbers, numbers_of, sequences_of
from rnncore.fitting.layout import Layout

_POOL = 50  # batches among which rows are sorted
_MANY = 2**20  # targets that are looked at together


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


class Shared(NamedTuple):
    """A batch, of which this process has some parts.

    Attributes
    ----------
    parts : the number of each, and its rows
    rows, steps : of the whole batch
    """

    parts: list[tuple[int, Batch]]
    rows: int
    steps: int


# Of so many rows of a batch, in parts of at least so many, what this process has.
Share: TypeAlias = Callable[[int, int], list[tuple[int, slice]]]


def everything(rows: int, least: int) -> list[tuple[int, slice]]:
    """The share of a process alone."""
    return [(0, slice(0, rows))]


class Rows:
    """All rows of a data set, of which batches are taken by their places.

    X and targets are lists, arrays, or files that are read like them: what `array_of` gives.

    Attributes
    ----------
    count : of rows
    listed : whether they came one by one
    lengths : (count,) of the rows; None where all are as long
    among : the places of those that batches are taken of
    """

    def __init__(self, X: Any, target: Any, lengths: Any, layout: Layout) -> None:
        of_objects = isinstance(X, np.ndarray) and X.dtype == object
        self._whole: Rows | None = None  # what this was split from
        self._layout, self.listed = layout, of_objects or not hasattr(X, "shape")
        self._x: Any
        if self.listed:
            if lengths is not None:
                raise ValueError("lengths are given beside a list of sequences, which have theirs")
            self._x, self._target = sequences_of("X", X), target
            own = np.array([len(x) for x in self._x], np.intp)
        else:
            self._x, self._target, own = X, target, None
            check_numbers("X", X)
            if len(X.shape) < (fewest := 3 if layout.ids is False else 2):
                form = "(B, T, F)" if layout.batch_first else "(T, B, F)"
                form = form if fewest == 3 else form.replace(", F", "")
                raise ValueError(
                    f"X has shape {tuple(X.shape)}, expected {form}; a single sequence x is [x]"
                )
        self.count = len(self._x) if self.listed else X.shape[self._layout.axis]
        if not self.count:
            raise ValueError("X has no rows, expected at least one")
        if not self.listed:
            own = _check.lengths(lengths, X.shape[1 - self._layout.axis], self.count)
        self._own = own  # lengths, where anybody says them
        self._steps = 0 if self.listed else int(X.shape[1 - self._layout.axis])
        self.lengths = own if own is not None and (own != own[0]).any() else None
        self.among = np.arange(self.count)
        if target is not None:
            self._check_target(self._x if self.listed else X.shape)

    def split(self, share: float, rng: np.random.Generator) -> Rows:
        """Rows of which batches are a random share of these, which are left out here."""
        held = min(max(1, round(share * self.count)), self.count - 1)
        if held < 1:
            raise ValueError("validation is a share of one row, expected more rows")
        order, other = rng.permutation(self.count), copy.copy(self)
        other._whole = self
        self.among, other.among = np.sort(order[held:]), np.sort(order[:held])
        return other

    def _check_target(self, x: Any) -> None:
        """Of the sequences, or the shape of the array, X."""
        if self.listed and self._layout.per_step:
            if np.ndim(self._target[0]) == 0:
                raise ValueError(
                    "Y has one target a sequence and the model an output at every step, expected a"
                    " target for each; rnncore.Pool in the model leaves one output a sequence"
                )
            self._target = sequences_of("Y", self._target)
            self._check_count(len(self._target))
            after = self._after(np.array([len(row) for row in x], np.intp))
            for k, (steps, y) in enumerate(zip(after, self._target, strict=True)):
                if len(y) != steps:
                    raise ValueError(
                        f"Y[{k}] has {len(y)} steps and X[{k}] {len(x[k])}, expected {steps}: a"
                        " target for each output"
                    )
            return
        if not hasattr(self._target, "shape"):
            self._target = numbers_of("Y", self._target)
        check_numbers("Y", self._target)
        if not self._layout.per_step:
            self._check_count(_with_axes("Y", self._target, 1).shape[0])
            return
        T = int(self._after(np.array([x[1 - self._layout.axis]], np.intp))[0])
        expected = (self.count, T) if self._layout.axis == 0 else (T, self.count)
        found = tuple(_with_axes("Y", self._target, 2).shape[:2])
        if found != expected:
            raise ValueError(f"Y has shape {self._target.shape}, expected {expected} and more")

    def _check_count(self, found: int) -> None:
        if found != self.count:
            form = "" if self.listed else ", which is read as (B, T, ...)"
            if not self.listed and not self._layout.batch_first:
                form = ", which is read as (T, B, ...): layers of batch_first=True read (B, T, ...)"
            raise ValueError(
                f"Y has {found} targets, expected {self.count}: one for each row of X{form}"
            )

    def _after(self, lengths: np.ndarray) -> np.ndarray:
        found = self._layout.after(lengths)
        return lengths if found is None else np.asarray(found)

    def batch(self, rows: np.ndarray, steps: int | None = None) -> Batch:
        """The rows of these places, with so many steps, or those of the longest."""
        lengths = None if self._own is None else self._own[rows]
        if lengths is not None and steps is None:
            steps = int(lengths.max())
        if lengths is not None and (lengths == steps).all():
            lengths = None
        if self.listed:
            x = self._padded(self._x, rows, steps or 0, self._layout)
        else:
            x = self._layout.numbers(self._taken(self._x, rows, slice(steps)))
        return Batch(x, self._targets(rows, steps), lengths, len(rows))

    def _targets(self, rows: np.ndarray, steps: int | None) -> Any:
        if self._target is None:
            return None
        if not self._layout.per_step:
            return self._taken(self._target, rows)
        if steps is not None:
            steps = int(self._after(np.array([steps], np.intp))[0])
        if self.listed:
            return self._padded(self._target, rows, steps or 0, None)
        return self._taken(self._target, rows, slice(steps))

    def _taken(self, a: Any, rows: np.ndarray, *of_steps: slice) -> np.ndarray:
        """These rows of an array: so many of its steps, if it has any."""
        axis = self._layout.axis if of_steps else 0
        order = np.sort(rows)  # a file on the disk is read from its start to its end
        found = np.asarray(a[(*of_steps, order) if axis else (order, *of_steps)])
        return np.ascontiguousarray(np.take(found, np.searchsorted(order, rows), axis))

    @quiet
    def _padded(
        self, all_of: Sequences, rows: np.ndarray, steps: int, layout: Layout | None
    ) -> np.ndarray:
        """These rows, which here alone become numbers of the model's: no list is there twice."""
        of = np.zeros(0, all_of.dtype)
        dtype = of.dtype if layout is None else layout.numbers(of).dtype
        whole = np.zeros((len(rows), steps, *all_of[0].shape[1:]), dtype)
        for row, k in zip(whole, rows, strict=True):
            row[: len(all_of[k])] = all_of[k].astype(all_of.dtype, copy=False)
        return whole if self._layout.axis == 0 else np.ascontiguousarray(whole.swapaxes(0, 1))

    def batches(
        self, size: int, rng: np.random.Generator | None, share: Share = everything
    ) -> Iterator[Shared]:
        """Of so many rows: in a random order with `rng`, else from the shortest to the longest."""
        for places in self.places(size, rng):
            steps = None if self._own is None else int(self._own[places].max())
            own = share(len(places), self._layout.least)
            parts = [(k, self.batch(places[rows], steps)) for k, rows in own]
            yield Shared(parts, len(places), self._steps if steps is None else steps)

    def targets(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """All targets, some rows at a time as they lie, and the lengths of those that are padded.

        Those of sequences are one after the other, without any padding.
        """
        many = max(1, _MANY // max(self._steps, 1))
        for own in pieces(len(self.among), many):
            rows = self.among[own]
            if isinstance(self._target, Sequences):
                joined = np.concatenate([self._target[k] for k in rows])
                yield joined[:, np.newaxis], None
            else:
                yield self._targets(rows, None), None if self._own is None else self._own[rows]

    def how_many(self, size: int) -> int:
        """The number of these batches."""
        return len(pieces(len(self.among), size, self._layout.least))

    def places(self, size: int, rng: np.random.Generator | None) -> list[np.ndarray]:
        """The places of the rows of each."""
        order = self.among if rng is None else rng.permutation(self.among)
        least = self._layout.least
        if self.lengths is None:
            return [order[own] for own in pieces(len(order), size, least)]
        found = []
        for own in pieces(len(order), len(order) if rng is None else _POOL * size, least):
            pool = order[own][np.argsort(self.lengths[order[own]], kind="stable")]
            found += [pool[some] for some in pieces(len(pool), size, least)]
        return found if rng is None else [found[k] for k in rng.permutation(len(found))]


def split_of(train: Rows | Given, held: Rows | Given | None) -> tuple[Rows, Rows] | None:
    """Both, where one was split from the other; None where they are data of their own."""
    if isinstance(train, Rows) and isinstance(held, Rows) and held._whole is train:
        return train, held
    return None


class Given:
    """Batches that come as they are: (x, target) or (x, target, lengths)."""

    def __init__(self, name: str, batches: Iterable[Any], layout: Layout, *, again: bool) -> None:
        if again and iter(batches) is batches:
            raise ValueError(
                f"{name} gives its batches once, expected a list or what can be iterated anew"
            )
        self._name, self._batches, self._layout = name, batches, layout
        self.listed = batches if isinstance(batches, list | tuple) else None

    def how_many(self, size: int) -> None:
        """Nobody knows."""

    def batches(
        self, size: int, rng: np.random.Generator | None, share: Share = everything
    ) -> Iterator[Shared]:
        """As they come: nothing is shuffled."""
        for k, given in enumerate(self._batches):
            if not isinstance(given, tuple | list) or len(given) not in (2, 3):
                raise ValueError(
                    f"batch {k} of {self._name} is no tuple of two or three, expected (x, target)"
                    " or (x, target, lengths)"
                )
            place = f"of batch {k} of {self._name}"
            x = self._layout.numbers(np.asarray(array_of(f"x {place}", given[0])))
            target = np.asarray(array_of(f"the target {place}", given[1]))
            axis = 0 if self._layout.batch_first else min(1, x.ndim - 1)
            lengths = None
            if len(given) == 3:
                lengths = _check.lengths(given[2], x.shape[1 - axis], x.shape[axis])
            batch = Batch(x, target, lengths, x.shape[axis])
            own = share(batch.rows, self._layout.least)
            parts = [(n, self._part(batch, rows, axis)) for n, rows in own]
            yield Shared(parts, batch.rows, x.shape[1 - axis] if x.ndim > 1 else 1)

    def _part(self, batch: Batch, rows: slice, axis: int) -> Batch:
        if rows == slice(0, batch.rows):
            return batch
        per_step = self._layout.per_step
        if per_step is None:
            per_step = batch.target.shape[:2] == batch.x.shape[:2]
        x, target = (
            np.ascontiguousarray(a[(slice(None),) * of + (rows,)])
            for a, of in ((batch.x, axis), (batch.target, axis if per_step else 0))
        )
        lengths = None if batch.lengths is None else batch.lengths[rows]
        return Batch(x, target, lengths, x.shape[axis])


def pieces(count: int, size: int, least: int = 1) -> list[slice]:
    """So many rows in pieces of one size; a rest of fewer than `least` is in the last of them.

    >>> pieces(5, 4), pieces(5, 4, 2)
    ([slice(0, 4, None), slice(4, 5, None)], [slice(0, 5, None)])
    """
    begins = [*range(0, count, size)]
    if not begins:
        return []
    if len(begins) > 1 and count - begins[-1] < least:
        begins.pop()
    return [slice(one, end) for one, end in zip(begins, [*begins[1:], count], strict=True)]


def _with_axes(name: str, a: Any, fewest: int) -> Any:
    if len(a.shape) < fewest:
        raise ValueError(f"{name} has shape {tuple(a.shape)}, expected at least {fewest} axes")
    return a
