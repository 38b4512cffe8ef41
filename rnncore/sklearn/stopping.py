"""Rows that are held back, and when a training ends: by the rules of `MLPClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore.fitting.best import Best


def held_back(
    count: int, share: float, strata: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Whether each of so many rows is held back, of every stratum about this share."""
    held = min(max(1, round(share * count)), max(1, count - 1))
    order = rng.permutation(count)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    which = np.zeros(count, bool)
    which[order[((np.arange(held) + rng.random()) * (count / held)).astype(int)]] = True
    return which


class Watch:
    """Called after each epoch: whether nothing has got better by `tol` for more than `wait` epochs.

    Of the loss; with `validated` of the rows that are held back, where the best parameters are
    kept.

    Attributes
    ----------
    epoch : where the loss was least
    """

    def __init__(self, tol: float, wait: int, *, validated: bool) -> None:
        self._tol, self._wait, self._validated = tol, wait, validated
        self._best, self.epoch, self._count = Best(), 0, 0

    def __call__(self, training: Any) -> bool:
        history = training.history
        last = float((history.val_loss if self._validated else history.loss)[-1])
        self._count = 0 if last <= self._best.lowest - self._tol else self._count + 1
        if self._best.sees(last, training.model.params if self._validated else {}):
            self.epoch = len(history) - 1
        return self._count > self._wait

    def give_back(self, model: Any) -> None:
        """Write the best parameters to the model, where they were kept."""
        self._best.give_back(model.params)
