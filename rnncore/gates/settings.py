"""How large the experiments are, and the random numbers of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Every use of random numbers has a stream of its own: what one experiment draws moves no other.
_STREAMS = ("training", "validation", "test", "parameters", "adding")


@dataclass(frozen=True)
class Settings:
    """The sizes; those by default take about two minutes."""

    seed: int = 0

    # The sentences and what reads them
    hidden: int = 32
    embedding: int = 16
    batch: int = 32
    test_rows: int = 200

    # Trained on one distance from subject to verb alone
    distances: tuple[int, ...] = (10, 20, 30, 50)
    steps: int = 500  # at most
    enough: float = 0.003  # the mean loss of the last steps, in nats, with which a training ends
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    tuning_runs: int = 2  # of all runs, those that every rate is tried with
    runs: int = 2

    # Trained on passages of sentences, short and long
    longest: int = 50
    sentences: int = 2
    passage_steps: int = 800
    passage_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    passage_tuning_runs: int = 2
    passage_runs: int = 3
    shown_distance: int = 12  # of the sentences whose gates are shown

    # The adding problem, for gradients that explode
    adding_steps: int = 30
    adding_updates: int = 1500

    def rng(self, stream: str, *which: int) -> np.random.Generator:
        """The generator of one of `_STREAMS`, for the use with those numbers."""
        return np.random.default_rng((self.seed, _STREAMS.index(stream), *which))


def quick(seed: int) -> Settings:
    """Sizes for a look at the pictures in seconds; too small for the numbers to mean much."""
    return Settings(
        seed=seed,
        hidden=16,
        embedding=8,
        test_rows=40,
        distances=(5, 10),
        steps=60,
        rates=(3e-3, 1e-2),
        longest=12,
        passage_steps=100,
        passage_rates=(3e-3, 1e-2),
        passage_tuning_runs=1,
        passage_runs=2,
        shown_distance=6,
        adding_steps=20,
        adding_updates=60,
    )
