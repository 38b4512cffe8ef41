"""What a training changes before its first step, for one that does not come so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore.train.generators import generators_of


class Before:
    """The generators of the order of rows and of layers, and what layers keep, as they are now.

    A batch that is refused has been drawn, and read in part, by then. What a model of one's own
    keeps where nobody knows of it is not found.
    """

    def __init__(self, rng: np.random.Generator, model: Any) -> None:
        generators = [rng, *generators_of(model)]
        self._states = [(one, one.bit_generator.state) for one in generators]
        self._kept = [(a, a.copy()) for a in getattr(model, "buffers", {}).values()]

    def put_back(self) -> None:
        for generator, state in self._states:
            generator.bit_generator.state = state
        for array, value in self._kept:
            np.copyto(array, value)
