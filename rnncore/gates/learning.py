"""Was or were? How far back each cell learns to look, with the learning rate that suits it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rnncore.agreement import SHORTEST, Batch, batch
from rnncore.gates.model import TIMED, Reader, train
from rnncore.gates.settings import Settings

COMPARED = ("RNN", "GRU", "LSTM", *TIMED)  # by distance
ON_PASSAGES = ("RNN", "GRU", "LSTM", "LSTM with peepholes")
_VALIDATION_BATCHES = 8


class Runs(NamedTuple):
    """Trainings of one cell that differ in what is random, at the rate with the least loss."""

    validation: np.ndarray  # (rates,) mean loss of the runs that tune, in nats
    rate: float
    losses: list[np.ndarray]  # of training, a step each
    accuracy: np.ndarray  # (runs,) on the test sentences
    readers: list[Reader]


def trainings(settings: Settings) -> int:
    """How many trainings `by_distance` and `on_passages` do together."""
    found = 0
    for count, budget in (
        (len(COMPARED) * len(settings.distances), _one_distance(settings)),
        (len(ON_PASSAGES), _passages(settings)),
    ):
        found += count * ((len(budget.rates) - 1) * budget.tuning_runs + budget.runs)
    return found


def by_distance(settings: Settings, advance: Callable[[], None]) -> dict[str, dict[int, Runs]]:
    """``[cell][distance]``: trained and tested on sentences of one distance alone.

    All cells and rates get the same sentences in the same order; `advance` is called after each
    training.
    """
    found: dict[str, dict[int, Runs]] = {cell: {} for cell in COMPARED}
    for distance in settings.distances:

        def draw(rng: np.random.Generator, part: str, distance: int = distance) -> Batch:
            return batch(distance, settings.batch, rng, part=part)

        data = _Data(settings, distance, _one_distance(settings), draw)
        for cell in COMPARED:
            found[cell][distance] = _best_runs(cell, settings, data, advance)
    return found


def on_passages(settings: Settings, advance: Callable[[], None]) -> dict[str, Runs]:
    """``[cell]``: trained on passages of sentences of any distance, tested on the longest.

    Distances are uniform in their logarithm: as in language, most are short.
    """

    def draw(rng: np.random.Generator, part: str) -> Batch:
        low, high = math.log(SHORTEST), math.log(settings.longest + 1)
        distances = np.exp(rng.uniform(low, high, settings.sentences)).astype(int)
        return batch(distances.tolist(), settings.batch, rng, part=part)

    data = _Data(settings, settings.longest, _passages(settings), draw)
    return {cell: _best_runs(cell, settings, data, advance) for cell in ON_PASSAGES}


def new_reader(cell: str, settings: Settings, run: int) -> Reader:
    """A reader before its training."""
    rng = settings.rng("parameters", run)
    return Reader(cell, settings.hidden, settings.embedding, rng)


def unseen_sentences(settings: Settings, distance: int) -> Batch:
    """For no training, and their last noun before the verb has the other number."""
    rng = settings.rng("test", distance)
    return batch(distance, settings.test_rows, rng, part="test", attractor=True)


class _Budget(NamedTuple):
    """What every cell may spend."""

    rates: tuple[float, ...]
    tuning_runs: int
    runs: int
    steps: int
    enough: float


def _one_distance(s: Settings) -> _Budget:
    return _Budget(s.rates, s.tuning_runs, s.runs, s.steps, s.enough)


def _passages(s: Settings) -> _Budget:
    return _Budget(s.passage_rates, s.passage_tuning_runs, s.passage_runs, s.passage_steps, 0.0)


class _Data:
    """The batches of every run, and those that rates are chosen and runs tested by."""

    def __init__(
        self,
        settings: Settings,
        tested: int,
        budget: _Budget,
        draw: Callable[[np.random.Generator, str], Batch],
    ):
        def batches(stream: str, part: str, count: int, *which: int) -> Sequence[Batch]:
            rng = settings.rng(stream, tested, *which)
            return [draw(rng, part) for _ in range(count)]

        self.budget = budget
        self.training = [
            batches("training", "train", budget.steps, run) for run in range(budget.runs)
        ]
        self.validation = batches("validation", "validation", _VALIDATION_BATCHES)
        self.test = unseen_sentences(settings, tested)


def _best_runs(cell: str, settings: Settings, data: _Data, advance: Callable[[], None]) -> Runs:
    """Try every rate with the first runs, and go on with the best to the rest of them."""
    budget = data.budget

    def trained(run: int, rate: float) -> tuple[Reader, list[float]]:
        reader = new_reader(cell, settings, run)
        losses = train(reader, data.training[run], rate, budget.enough)
        advance()
        return reader, losses

    tried = {
        rate: [trained(run, rate) for run in range(budget.tuning_runs)] for rate in budget.rates
    }
    validation = {
        rate: float(np.mean([reader.loss(b) for reader, _ in runs for b in data.validation]))
        for rate, runs in tried.items()
    }
    rate = min(validation, key=validation.__getitem__)
    others = range(budget.tuning_runs, budget.runs)
    runs = tried[rate] + [trained(run, rate) for run in others]
    readers = [reader for reader, _ in runs]
    return Runs(
        validation=np.array(list(validation.values())),
        rate=rate,
        losses=[np.array(losses) for _, losses in runs],
        accuracy=np.array([reader.accuracy(data.test) for reader in readers]),
        readers=readers,
    )
