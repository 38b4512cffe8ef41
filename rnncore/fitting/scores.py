"""Losses and metrics of batches, by name or as functions, as means over what counts.

A position is what has a target: a step of a row within its length, or a row. Padding never counts,
and neither do targets of an ``ignore_index``. Means over batches weigh each by its positions, so
that they are what one batch of all rows would give.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.fitting.batches import Batch
from rnncore.fitting.history import History
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
    """The loss of a batch and its gradient.

    Attributes
    ----------
    positions : over how many the loss is a mean
    mass : the sum of their weights, by which it is one; `positions` where they have none
    """

    loss: float
    dy: np.ndarray
    positions: int
    mass: float


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
        options = given.keywords if isinstance(given, partial) and plain is _OF_CLASSES else {}
        self._ignored, self._weights = options.get("ignore_index"), options.get("class_weight")

    def check_lengths(self) -> None:
        """Raise TypeError for a function that cannot be told lengths."""
        if not takes(self._function, ("lengths", "batch_first")):
            raise TypeError(
                "loss takes no lengths= and batch_first=, and the rows of data have different"
                " lengths"
            )

    def __call__(self, y: np.ndarray, batch: Batch) -> Scored | None:
        """Of the outputs for a batch; None where nothing counts."""
        target, which, lengths = self._read(y, batch)
        positions = int(np.count_nonzero(which))
        if not positions:
            return None
        options: dict[str, Any] = {}
        if lengths is not None:
            options = {"lengths": lengths, "batch_first": self._layout.batch_first}
        found, dy = self._function(y, target, **options)
        mass = positions if self._weights is None else self._weights[target[which]].sum()
        return Scored(float(found), dy, positions, float(mass))

    def within(self, y: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """The outputs and the targets of the positions that count, each with these in its rows."""
        target, which, _ = self._read(y, batch)
        return y[which], target[which]

    def _read(self, y: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray, Any]:
        """Targets in the form that the loss reads, which of them count, and lengths of y."""
        target, lengths = batch.target, None
        if self._of_elements:
            target = target.astype(y.dtype, copy=False)
            if target.shape != y.shape and (*target.shape, 1) == y.shape:
                target = target[..., np.newaxis]  # one number for each, as of Linear(.., 1)
        steps = self._layout.has_steps(y, batch.x)
        which = np.ones(target.shape[: 2 if steps else 1], bool)
        if steps and batch.lengths is not None:
            lengths = self._layout.after(batch.lengths)
            first = self._layout.batch_first
            within = np.arange(which.shape[1 if first else 0]) < lengths[:, np.newaxis]
            which = within if first else within.T
        if self._ignored is not None:
            which = which & (target != self._ignored)
        return target, which, lengths


# Metrics: functions of outputs and targets, with positions as their rows


def _accuracy(y: np.ndarray, target: np.ndarray) -> float:
    """Of classes by their scores, or of yes and no by their logits."""
    if target.ndim < y.ndim and y.shape[-1] > 1:
        if target.shape != y.shape[:-1]:
            raise ValueError(f"accuracy reads outputs {y.shape} and targets {target.shape}")
        return float(np.mean(y.argmax(axis=-1) == target))
    return float(np.mean((y > 0) == (_alike("accuracy", y, target) > 0.5)))


def _squares(y: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((y.astype(np.float64) - _alike("mse", y, target)) ** 2))


def _sizes(y: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean(abs(y.astype(np.float64) - _alike("mae", y, target))))


def _alike(name: str, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The targets in the shape of the outputs."""
    if (*target.shape, 1) == y.shape:
        return target[..., np.newaxis]
    if target.shape != y.shape:
        raise ValueError(f"{name} reads outputs {y.shape[1:]} and targets {target.shape[1:]}")
    return target


METRICS = {"accuracy": _accuracy, "mse": _squares, "mae": _sizes}


def metrics_of(given: Any) -> dict[str, Callable[..., float]]:
    """Metrics by their names; ``(y, target) -> float`` where they are functions."""
    found: dict[str, Callable[..., float]] = {}
    for one in several("metrics", given):
        if isinstance(one, str):
            name, metric = one, METRICS[_check.choice("metrics", one, list(METRICS))]
        elif callable(one):
            name, metric = getattr(one, "__name__", type(one).__name__), one
        else:
            raise TypeError(
                f"metrics has a {type(one).__name__}, expected {' or '.join(METRICS)}, or functions"
            )
        if name in found or name in ("loss", "lr", "seconds") or hasattr(History, name):
            raise ValueError(f"metrics has {name!r} twice, or as a name of the history's own")
        found[name] = metric
    return found


def several(name: str, given: Any) -> list[Any]:
    """One, or a list of them."""
    if given is None or isinstance(given, str) or callable(given):
        return [] if given is None else [given]
    if not isinstance(given, Iterable):
        raise TypeError(f"{name} is of type {type(given).__name__}, expected a list")
    return list(given)


class Means:
    """The means of a loss and of metrics over batches."""

    def __init__(self, loss: Loss, metrics: dict[str, Callable[..., float]]) -> None:
        self._loss, self._metrics = loss, metrics
        self._sums = dict.fromkeys(("loss", *metrics), 0.0)
        self._positions, self._mass = 0, 0.0

    def add(self, scored: Scored, y: np.ndarray, batch: Batch) -> None:
        self._sums["loss"] += scored.loss * scored.mass
        self._mass += scored.mass
        if self._metrics:
            own = self._loss.within(y, batch)
            for name, metric in self._metrics.items():
                self._sums[name] += float(metric(*own)) * scored.positions
        self._positions += scored.positions

    def values(self) -> dict[str, float]:
        """By their names; ValueError where nothing was counted."""
        if not self._positions:
            raise ValueError("no position of the data counts, expected at least one")
        found = {name: total / self._positions for name, total in self._sums.items()}
        return {**found, "loss": self._sums["loss"] / self._mass}


def takes(function: Callable[..., Any], names: Sequence[str]) -> bool:
    """Whether a function has arguments of these names."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    return free or all(name in found for name in names)
