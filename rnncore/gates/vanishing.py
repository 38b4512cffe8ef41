"""How far back the decision between was and were can be traced, before and after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnncore.gates.learning import Runs, new_reader, unseen_sentences
from rnncore.gates.model import TIMED, Reader
from rnncore.gates.settings import Settings
from rnncore.look.gradient_flow import GradientFlow, gradient_flow


class Norms(NamedTuple):
    """Norms of the gradient by distance from the last word, 0 first: (runs, T)."""

    dh: np.ndarray
    dc: np.ndarray | None  # of the memory of an LSTM

    @property
    def memory(self) -> np.ndarray:
        """Of what the cell keeps: c of an LSTM, h of the others."""
        return self.dh if self.dc is None else self.dc


def measure(settings: Settings, learned: Mapping[str, Runs]) -> dict[str, dict[str, Norms]]:
    """``["initial" or "trained"][cell]``: the norms of every run, on the longest test sentences."""
    words = unseen_sentences(settings, settings.longest).words

    def norms(readers: Sequence[Reader]) -> Norms:
        flows = [flow(reader, words) for reader in readers]
        dh = np.array([flow.dh[0, ::-1] for flow in flows])
        dc = [flow.dc[0, ::-1] for flow in flows if flow.dc is not None]
        return Norms(dh, np.array(dc) if dc else None)

    runs = range(settings.passage_runs)
    return {
        "initial": {
            cell: norms([new_reader(cell, settings, run) for run in runs])
            for cell in (*learned, *TIMED)
        },
        "trained": {cell: norms(found.readers) for cell, found in learned.items()},
    }


def flow(reader: Reader, words: np.ndarray) -> GradientFlow:
    """The gradient of "were" against "was" after the last word, scaled to norm 1 there."""
    vectors = reader.embedding(words)
    was, were = reader.head.params["weight"]
    dy = np.zeros((*words.shape, len(was)), vectors.dtype)
    dy[-1] = were - was
    dy /= np.linalg.norm(dy[-1])
    found: GradientFlow = gradient_flow(reader.recurrent, vectors, dy)
    return found


def geometric_mean(norms: np.ndarray) -> np.ndarray:
    """Over the first axis, the runs; a norm of 0 counts as the smallest number that there is."""
    logs = np.log(np.maximum(norms, np.finfo(np.float64).tiny))
    mean: np.ndarray = np.exp(logs.mean(axis=0))
    return mean
