"""All that `rnncore gates` measures, and what stands for the end of a training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnncore.gates.exploding import Exploding, Training
from rnncore.gates.learning import Runs
from rnncore.gates.memory import Memory
from rnncore.gates.model import LAST
from rnncore.gates.vanishing import Norms

_LAST_UPDATES = 50  # whose mean loss stands for the end of a training
LEARNED = 0.1  # nats: a training has learned when the mean loss of `LAST` steps is below it


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
    means = np.convolve(losses, np.full(LAST, 1 / LAST), mode="valid")
    learned = means < LEARNED
    return int(learned.argmax()) + LAST if learned.any() else None


def last_loss(training: Training) -> float | None:
    return float(training.losses[-_LAST_UPDATES:].mean()) if training.losses.size else None
