"""The best epoch of a training, and when to stop waiting for a better one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Best:
    """What a model was at its least validation loss.

    Attributes
    ----------
    lowest : that loss
    waited : for how many epochs there was none below it
    arrays : copies of what the model had then; empty where nobody waits
    """

    def __init__(self, patience: int | None = None) -> None:
        self._patience = patience
        self.lowest, self.waited = np.inf, 0
        self.arrays: dict[str, np.ndarray] = {}

    def sees(self, loss: float, arrays: Mapping[str, np.ndarray]) -> bool:
        """Keep the arrays if the loss is the least so far; whether it is."""
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            self.arrays = {name: value.copy() for name, value in arrays.items()}
            return True
        self.waited += 1
        return False

    def ends(self, loss: float | None, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether the training ends after an epoch with this loss."""
        if loss is None or self._patience is None or self.sees(loss, arrays):
            return False
        return self.waited >= max(self._patience, 1)

    def give_back(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write it to the model's arrays, where anybody waited."""
        for name, value in self.arrays.items():
            np.copyto(arrays[name], value)
