"""Losses and scores of rows whose targets are found by their places, with weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncore.train.losses import mse, softmax_cross_entropy


def shared_out(weights: np.ndarray | None, dtype: Any) -> np.ndarray | None:
    """Weights whose mean over all is 1; None where all are alike."""
    if weights is None or (weights == weights[0]).all():
        return None
    weights = weights / weights.max()
    own: np.ndarray = (weights / weights.mean()).astype(dtype)
    return own


class Targets:
    """All targets, of which batches know the places.

    A row's loss has its weight beside the mean weight of all, not of those in its batch: a batch of
    rows that weigh little moves the model little.
    """

    def __init__(
        self, values: np.ndarray, weights: np.ndarray | None, loss: Callable[..., Any], score: Any
    ) -> None:
        self.values, self.weights = values, weights
        self._loss, self._score = loss, score

    def __call__(self, y: np.ndarray, places: np.ndarray, **given: Any) -> Any:
        target = self.values[places]
        if self.weights is None:
            return self._loss(y, target, **given)
        weight = self.weights[places]
        within = np.ones(places.shape, bool)
        if given:  # rows of several lengths, one after the other
            within = np.arange(places.shape[1]) < given["lengths"][:, np.newaxis]
        share = float(weight[within].mean(dtype=np.float64))
        if not share:  # a batch that says nothing
            return 0.0, np.zeros_like(y)
        if target.ndim > places.ndim:
            weight = weight[..., np.newaxis]  # for all numbers of a row
        loss, dy = self._loss(y, target, weight=weight, **given)
        return loss * share, dy * dy.dtype.type(share)

    def score(self, y: np.ndarray, places: np.ndarray) -> float:
        """Of outputs, one for each place."""
        return float(self._score(y, self.values[places]))


def of_classes(labels: np.ndarray, weights: np.ndarray | None) -> Targets:
    """Targets that are classes; their score is the accuracy."""
    return Targets(labels, weights, softmax_cross_entropy, _accuracy)


def of_numbers(targets: np.ndarray, weights: np.ndarray | None) -> Targets:
    """Targets that are numbers (..., K) of mean 0 and deviation 1; the score is R2."""
    return Targets(targets, weights, mse, _explained)


def _accuracy(y: np.ndarray, labels: np.ndarray) -> Any:
    return np.mean(y.argmax(axis=-1) == labels)


def _explained(y: np.ndarray, targets: np.ndarray) -> Any:
    return 1 - np.mean((y - targets) ** 2)
