"""What is put back where it shall be as if nothing had been computed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Before:
    """Random generators, and arrays that are written to, as they are now."""

    def __init__(
        self, generators: Iterable[np.random.Generator], arrays: Iterable[np.ndarray]
    ) -> None:
        self._states = [(one, one.bit_generator.state) for one in generators]
        self._values = [(array, array.copy()) for array in arrays]

    def put_back(self) -> None:
        for generator, state in self._states:
            generator.bit_generator.state = state
        for array, value in self._values:
            np.copyto(array, value)
