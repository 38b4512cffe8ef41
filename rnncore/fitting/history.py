"""What a training was like: a number for each epoch and each thing that was measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

_BESIDE = ("lr", "seconds")


class History:
    """Columns of numbers, one for each epoch.

    Attributes
    ----------
    loss, val_loss : (epochs,) arrays of float64
        Mean losses of the training, measured on the way, and of the validation after each epoch;
        likewise a column, and one that begins with ``val_``, for each metric.
    lr, seconds : (epochs,) arrays of float64
        The last learning rate of each epoch, and how long it took.
    best_epoch : int or None
        The epoch, counted from 0 as columns are, with the least validation loss; None without
        validation.
    stopped : bool
        Whether the training ended early.

    Examples
    --------
    >>> history = History({"loss": [2.0, 1.0], "val_loss": [2.5, 2.0]})
    >>> history.loss, history.best_epoch, len(history)
    (array([2., 1.]), 1, 2)
    """

    stopped = False

    def __init__(self, columns: dict[str, list[float]] | None = None) -> None:
        self._columns = columns or {}

    def add(self, values: dict[str, float]) -> None:
        """One more epoch."""
        for name, value in values.items():
            self._columns.setdefault(name, []).append(float(value))

    def __len__(self) -> int:
        return max(map(len, self._columns.values()), default=0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            raise KeyError(f"there is no column {name!r}, only {', '.join(self._columns)}")
        return np.array(self._columns[name], np.float64)

    def __getattr__(self, name: str) -> np.ndarray:
        if name in self.__dict__.get("_columns", {}):
            return self[name]
        raise AttributeError(f"History has no attribute {name!r}")

    @property
    def best_epoch(self) -> int | None:
        found = self._columns.get("val_loss")
        if not found or np.isnan(found).all():
            return None
        return int(np.nanargmin(found))

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self._columns.items())
        best = self.best_epoch
        least = "" if best is None else f", least val_loss after {best + 1}"
        return f"History({len(self)} epochs{least}: {last})"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw losses and metrics; with a path into a file of its suffix. Needs matplotlib.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure

        names = [n for n in self._columns if n not in _BESIDE and not n.startswith("val_")]
        figure = Figure(figsize=(4.5 * max(len(names), 1), 3.2), layout="constrained")
        for k, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), k + 1)
            epochs = np.arange(1, len(self) + 1)
            axes.plot(epochs, self[name], "o-", markersize=3, label="training")
            if f"val_{name}" in self._columns:
                axes.plot(epochs, self[f"val_{name}"], "s--", markersize=3, label="validation")
            axes.set(xlabel="epoch", ylabel=name)
            axes.grid(alpha=0.3)
            axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure
