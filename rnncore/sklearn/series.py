"""Time series: their forms, and what a forecaster reads and tells at each of their steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from rnncore import _check
from rnncore.fitting.arrays import array_of, numbers_of


class Series(NamedTuple):
    """Time series, arrays (n_i, K) of float64.

    Attributes
    ----------
    flat : whether they came as (n_i,)
    listed : whether there may be several
    """

    each: list[np.ndarray]
    flat: bool
    listed: bool


def series_of(name: str, given: Any) -> Series:
    """One series (n,) or (n, K), or a list of such; ValueError as scikit-learn words it."""
    if given is None:
        raise ValueError(f"requires {name} to be passed, but it is None")
    given = array_of(name, given)
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__len__"):
        raise TypeError(f"{name} is {_check.kind_text(given)}, expected an array or a list")
    if not isinstance(given, list | tuple):
        given = np.asarray(given)
    is_table = isinstance(given, np.ndarray) and (given.dtype != object or given.ndim > 1)
    several = given.ndim == 3 if is_table else _has_several(given)
    each: list[np.ndarray] = []
    first: tuple[int, ...] = ()
    for k, one in enumerate(given if several else [given]):
        own = f"{name}[{k}]" if several else name
        one = numbers_of(own, one, objects=True)
        found = check_array(one, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name=own)
        if found.ndim not in (1, 2) or 0 in found.shape:
            raise ValueError(f"{own} has shape {found.shape}, expected (n,) or (n, K)")
        first = first or found.shape
        if first[1:] != found.shape[1:]:
            raise ValueError(f"{own} has shape {found.shape}, expected columns as of {name}[0]")
        each.append(found.reshape(len(found), -1))
    return Series(each, len(first) == 1, several)


def _has_several(given: Any) -> bool:
    first: Any = given[0] if len(given) else 0.0
    return isinstance(first, list | tuple) or np.ndim(first) > 0


class Plan(NamedTuple):
    """What is read before a forecast, and what is told.

    With `difference` that is the change of y in place of y.

    Attributes
    ----------
    window : steps; None: all there are
    ahead : steps that are told at a time
    """

    window: int | None
    ahead: int
    difference: bool

    @property
    def least(self) -> int:
        """The steps of a history that is long enough; with a window all that is read of it."""
        return (self.window or 1) + self.difference

    def cut(self, y: np.ndarray, x: Any, steps: int) -> tuple[np.ndarray, Any]:
        """What is read of so many steps, and of x what follows too; copies."""
        begin = 0 if self.window is None else steps - self.least
        return y[begin:].copy(), None if x is None else x[begin:].copy()

    def columns(self, y: np.ndarray, x: np.ndarray | None) -> np.ndarray:
        """What is read at every step of y, (steps, K + ahead * F): of x, which has the same steps
        and `ahead` that follow, those that follow."""
        z = np.diff(y, axis=0) if self.difference else y
        if x is None:
            return z
        x = x[self.difference :]
        after = (x[h : h + len(z)] for h in range(1, self.ahead + 1))
        return np.concatenate([z, *after], axis=1)

    def told(self, y: np.ndarray) -> np.ndarray:
        """What follows every step that has enough after it, (steps, ahead * K)."""
        N, K = len(y) - self.ahead, y.shape[1]
        found = np.stack([y[h : h + N] for h in range(1, self.ahead + 1)], axis=1)
        found = self.beside(found, y[:N])[self.difference :]
        return found.reshape(-1, self.ahead * K)

    def beside(self, after: np.ndarray, last: np.ndarray, sign: int = -1) -> np.ndarray:
        """Steps (N, ahead, K) as changes since the last one (N, K); with `sign` 1 the way back."""
        return after + sign * last[:, np.newaxis] if self.difference else after

    def windows(self, columns: np.ndarray) -> list[np.ndarray]:
        """All windows (window, F) of columns; views."""
        found = np.lib.stride_tricks.sliding_window_view(columns, self.window or 1, axis=0)
        return list(found.swapaxes(1, 2))


def check_long(series: Series, least: int) -> None:
    """Raise ValueError for a series y of fewer steps."""
    for k, own in enumerate(series.each):
        if len(own) < least:
            name = f"y[{k}]" if series.listed else "y"
            raise ValueError(f"{name} has {len(own)} steps, expected at least {least}")


def known_of(X: Any, steps: list[int], columns: int | None = -1) -> list[Any]:
    """What is known of each of some series, which has so many steps, (steps, F), or None.

    `columns` is F, or None where nothing is known; -1: nobody knows.
    """
    if X is None:
        if columns not in (None, -1):
            raise ValueError(f"X is None, expected {columns} columns, as fit had")
        return [None] * len(steps)
    if columns is None:
        raise ValueError("X is given, and fit had none")
    found = series_of("X", X).each
    if len(found) != len(steps):
        raise ValueError(f"X holds {len(found)} series, expected {len(steps)}, as y")
    if [len(own) for own in found] != steps:
        raise ValueError(f"X has {[len(own) for own in found]} steps, expected {steps}")
    if columns not in (-1, found[0].shape[1]):
        raise ValueError(f"X has {found[0].shape[1]} columns, expected {columns}, as fit had")
    return found
