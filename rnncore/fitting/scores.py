"""Losses and metrics of batches, by name or as functions, as means over what counts.

A position is what has a target: a step of a row within its length, or a row. Padding never counts,
and neither do targets of an ``ignore_index``. Means over batches weigh each by its positions, so
that they are what one batch of all rows would give.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.fitting.batches import Batch, Given, Rows
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
MASS = 0  # the place of the sum of weights among those of `Means`
_OF_CLASSES = losses.softmax_cross_entropy


class Scored(NamedTuple):
    """The loss of a batch and its gradient.

    Attributes
    ----------
    mass : the sum of the weights of positions, by which the loss is a mean; else their number
    target, which : the targets, and which positions count, in their first axes
    """

    loss: float
    dy: np.ndarray
    mass: float
    target: np.ndarray
    which: np.ndarray


class Loss:
    """A loss: a name of `LOSSES`, or a function like those of `rnncore`.

    A function gives ``(loss, dy)`` for ``(y, target)``. Where rows have lengths it is told
    ``lengths=`` and ``batch_first=``.
    """

    def __init__(self, given: Any, layout: Layout) -> None:
        self.layout = layout
        if isinstance(given, str):
            given = LOSSES[_check.choice("loss", given, list(LOSSES))]
        if not callable(given):
            raise TypeError(
                f"loss is of type {type(given).__name__}, expected {' or '.join(LOSSES)},"
                " or a function"
            )
        self._function = given
        plain = given.func if isinstance(given, partial) else given
        self._of_classes = plain is _OF_CLASSES
        self._of_elements = plain in LOSSES.values() and not self._of_classes
        options = given.keywords if isinstance(given, partial) and self._of_classes else {}
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
        target, options = batch.target, {}
        if self._of_elements:
            target = in_shape_of(y, _in_dtype_of(y, target))
        steps = self.layout.has_steps(y, batch.x)
        which = self._which(target, batch.lengths if steps else None, 2 if steps else 1)
        if steps and batch.lengths is not None:
            options["lengths"] = self.layout.after(batch.lengths)
            options["batch_first"] = self.layout.batch_first
        mass = float(which.sum())
        if isinstance(self._weights, np.ndarray):
            of_classes = _check.ids("target", target[which], len(self._weights))
            mass = float(self._weights[of_classes].sum())
        if not mass:
            return None
        found = self._function(y, target, **options)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(f"what loss gives is {_check.kind_text(found)}, expected (loss, dy)")
        loss, dy = found
        if getattr(dy, "shape", None) != y.shape:
            came = f"has shape {dy.shape}" if hasattr(dy, "shape") else f"is {_check.kind_text(dy)}"
            raise ValueError(f"the dy that loss gives {came}, expected {y.shape}, as the outputs")
        return Scored(_as_float("what loss gives", loss), dy, mass, target, which)

    def _which(self, target: np.ndarray, lengths: np.ndarray | None, axes: int) -> np.ndarray:
        """The positions that count, in so many axes; `lengths` are those of x."""
        which = np.ones(target.shape[:axes], bool)
        if lengths is not None:
            lengths, first = self.layout.after(lengths), self.layout.batch_first
            within = np.arange(which.shape[1 if first else 0]) < lengths[:, np.newaxis]
            which = within if first else within.T
        return which if self._ignored is None else which & (target != self._ignored)

    def check_classes(self, data: Rows | Given, y: np.ndarray, batch: Batch) -> None:
        """Raise ValueError for a target of any row that is no class of outputs like those y."""
        if self._of_classes and isinstance(data, Rows):
            steps = self.layout.has_steps(y, batch.x)
            for target, lengths in data.targets():
                which = self._which(target, lengths if steps else None, 2 if steps else 1)
                _check.ids("Y", target[which], y.shape[-1])


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
    target = in_shape_of(y, target)
    if target.shape != y.shape:
        raise ValueError(f"{name} reads outputs {y.shape[1:]} and targets {target.shape[1:]}")
    return target


def in_shape_of(y: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Targets of one number for each position as ``Linear(.., 1)`` gives it; others as they are."""
    return target[..., np.newaxis] if (*target.shape, 1) == y.shape else target


@quiet
def _in_dtype_of(y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return target.astype(y.dtype, copy=False)


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

    def __init__(self, metrics: Mapping[str, Callable[..., float]]) -> None:
        self._metrics, self.count = metrics, 3 + len(metrics)
        self._sums = [0.0] * self.count

    def of(self, scored: Scored | None, y: np.ndarray) -> list[float]:
        """The sums of a batch: of mass, positions, the loss and each metric."""
        if scored is None:
            return [0.0] * self.count
        positions = float(np.count_nonzero(scored.which))
        found = [scored.mass, positions, scored.loss * scored.mass]
        for name, metric in self._metrics.items():
            own = metric(y[scored.which], scored.target[scored.which])
            found.append(_as_float(f"what metric {name} gives", own) * positions)
        return found

    def add(self, sums: Sequence[float]) -> None:
        """Those of a batch, or of several."""
        self._sums = [one + more for one, more in zip(self._sums, sums, strict=True)]

    def values(self) -> dict[str, float]:
        """By their names; ValueError where nothing was counted."""
        mass, positions, loss, *metrics = self._sums
        if not positions:
            raise ValueError("no position of the data counts, expected at least one")
        found = {n: own / positions for n, own in zip(self._metrics, metrics, strict=True)}
        return {"loss": loss / mass, **found}


def _as_float(name: str, given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {_check.kind_text(given)}, expected a number") from None


def takes(function: Callable[..., Any], names: Sequence[str]) -> bool:
    """Whether a function has arguments of these names."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    return free or all(name in found for name in names)
