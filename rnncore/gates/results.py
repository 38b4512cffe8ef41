"""All that `rnncore gates` measures, and what stands for the end of a training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnncore.gates.exploding import Exploding, Training
from rnncore.gates.learning import Runs
from rnncore.gates.memory import Memory
from rnncore.gates.vanishing import Norms

_LAST_UPDATES = 50  # whose mean loss stands for the end of a training
# When a training has learned: the mean loss of so many steps is below so many nats
LEARNED, _WINDOW = 0.1, 20


class Results(NamedTuple):
    """All that was measured."""

    by_distance: dict[str, dict[int, Runs]]
    on_passages: dict[str, Runs]
    vanishing: dict[str, dict[str, Norms]]
    exploding: Exploding
    memory: dict[str, Memory]
    seconds: float  # that it took


def steps_to_learn(losses: np.ndarray) -> int | None:
    """The first step whose mean loss, with those before it, is low."""
    means = np.convolve(losses, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
    learned = means < LEARNED
    return int(learned.argmax()) + _WINDOW if learned.any() else None


def last_loss(training: Training) -> float | None:
    return float(training.losses[-_LAST_UPDATES:].mean()) if training.losses.size else None
