"""Losses and metrics of batches, by name or as functions, as means over what counts.

A position is what has a target: a step of a row within its length, or a row. Padding never counts,
and neither do targets of an ``ignore_index``. Means over batches weigh each by its positions, so
that they are what one batch of all rows would give.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.fitting.batches import Batch
from rnncore.fitting.layout import Layout
from rnncore.train import losses

LOSSES: dict[str, Callable[..., Any]] = {
    "cross_entropy": losses.softmax_cross_entropy,
    "bce": losses.bce_with_logits,
    "mse": losses.mse,
    "mae": losses.mae,
    "huber": losses.huber,
}
_OF_CLASSES = losses.softmax_cross_entropy


class Scored(NamedTuple):
    """The loss of a batch, its gradient, and over how many positions it is a mean."""

    loss: float
    dy: np.ndarray
    positions: int


class Loss:
    """A loss: a name of `LOSSES`, or a function like those of `rnncore`.

    A function gives ``(loss, dy)`` for ``(y, target)``. Where rows have lengths it is told
    ``lengths=`` and ``batch_first=``.
    """

    def __init__(self, given: Any, layout: Layout) -> None:
        self._layout = layout
        if isinstance(given, str):
            given = LOSSES[_check.choice("loss", given, list(LOSSES))]
        if not callable(given):
            raise TypeError(
                f"loss is of type {type(given).__name__}, expected {' or '.join(LOSSES)},"
                " or a function"
            )
        self._function = given
        plain = given.func if isinstance(given, partial) else given
        self._of_elements = plain in LOSSES.values() and plain is not _OF_CLASSES
        options = given.keywords if isinstance(given, partial) else {}
        self._ignored = options.get("ignore_index") if plain is _OF_CLASSES else None

    def fitted(self, y: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Targets in the form that the loss reads."""
        if not self._of_elements:
            return target
        target = target.astype(y.dtype, copy=False)
        if target.shape != y.shape and (*target.shape, 1) == y.shape:
            target = target[..., np.newaxis]  # one number for each position, as of Linear(.., 1)
        return target

    def counts(self, target: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """Which positions count, in the first axes of the target."""
        shape = target.shape[:2] if self._layout.per_step else target.shape[:1]
        which = np.ones(shape, bool)
        if self._layout.per_step and lengths is not None:
            steps = np.arange(shape[1 if self._layout.batch_first else 0])
            within = steps < lengths[:, np.newaxis]
            which = within if self._layout.batch_first else within.T
        if self._ignored is not None:
            which = which & (target != self._ignored)
        return which

    def __call__(self, y: np.ndarray, batch: Batch) -> Scored | None:
        """Of the outputs for a batch; None where nothing counts."""
        target = self.fitted(y, batch.target)
        positions = int(np.count_nonzero(self.counts(target, batch.lengths)))
        if not positions:
            return None
        options: dict[str, Any] = {}
        if self._layout.per_step and batch.lengths is not None:
            options = {"lengths": batch.lengths, "batch_first": self._layout.batch_first}
        found, dy = self._function(y, target, **options)
        return Scored(float(found), dy, positions)

    def within(self, y: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """The outputs and the targets of the positions that count, each with these in its rows."""
        target = self.fitted(y, batch.target)
        which = self.counts(target, batch.lengths)
        return y[which], target[which]


# Metrics: functions of outputs and targets, with positions as their rows


def _accuracy(y: np.ndarray, target: np.ndarray) -> float:
    """Of classes by their scores, or of yes and no by their logits."""
    if target.shape == y.shape:
        return float(np.mean((y > 0) == (target > 0.5)))
    return float(np.mean(y.argmax(axis=-1) == target))


def _squares(y: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((y.astype(np.float64) - target) ** 2))


def _sizes(y: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean(abs(y.astype(np.float64) - target)))


METRICS = {"accuracy": _accuracy, "mse": _squares, "mae": _sizes}


def metrics_of(given: Any) -> dict[str, Callable[..., float]]:
    """Metrics by their names; ``(y, target) -> float`` where they are functions."""
    found: dict[str, Callable[..., float]] = {}
    for one in [given] if isinstance(given, str) or callable(given) else list(given):
        if isinstance(one, str):
            found[one] = METRICS[_check.choice("metrics", one, list(METRICS))]
        elif callable(one):
            found[getattr(one, "__name__", type(one).__name__)] = one
        else:
            raise TypeError(
                f"metrics has a {type(one).__name__}, expected {' or '.join(METRICS)}, or functions"
            )
    if "loss" in found or "lr" in found or "seconds" in found:
        raise ValueError("a metric is named as a column of the history, expected another name")
    return found


class Means:
    """The means of a loss and of metrics over batches."""

    def __init__(self, loss: Loss, metrics: dict[str, Callable[..., float]]) -> None:
        self._loss, self._metrics = loss, metrics
        self._sums = dict.fromkeys(("loss", *metrics), 0.0)
        self.positions = 0

    def add(self, scored: Scored, y: np.ndarray, batch: Batch) -> None:
        self._sums["loss"] += scored.loss * scored.positions
        if self._metrics:
            own = self._loss.within(y, batch)
            for name, metric in self._metrics.items():
                self._sums[name] += float(metric(*own)) * scored.positions
        self.positions += scored.positions

    def values(self) -> dict[str, float]:
        """By their names; ValueError where nothing was counted."""
        if not self.positions:
            raise ValueError("no position of the data counts, expected at least one")
        return {name: total / self.positions for name, total in self._sums.items()}


def takes(function: Callable[..., Any], names: Sequence[str]) -> bool:
    """Whether a function has arguments of these names."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    return free or all(name in found for name in names)
