"""Inside the memory: the gates of the units that carry the number, word by word."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnncore.agreement import VERBS, VOCABULARY, Batch, batch
from rnncore.gates.model import Reader
from rnncore.gates.settings import Settings

_UNITS = 4
_NEARLY_SHUT = 0.1


class Memory(NamedTuple):
    """One passage through the units that carry the number: arrays (units, T)."""

    words: tuple[str, ...]
    before_verb: np.ndarray  # the steps after which a verb was told
    told: tuple[str, ...]  # those verbs
    right: tuple[bool, ...]
    units: np.ndarray  # their numbers in the layer; who carries most comes first
    carried: np.ndarray  # by each of them: the least correlation with the number
    gates: dict[str, np.ndarray]  # update (1 writes, 0 keeps), and the LSTM's forget
    memory: np.ndarray  # c of an LSTM, h of a GRU
    # Over all test passages, (units,):
    at_subject: dict[str, np.ndarray]  # the mean of each gate at the subjects
    between: dict[str, np.ndarray]  # and at the words from there to the verbs
    shut_between: np.ndarray  # the fraction of update gates below 0.1 at those words


def measure(settings: Settings, reader: Reader) -> Memory:
    """Look into a trained reader of a GRU or an LSTM, on test passages.

    A unit carries the number as far as its memory tells it at *every* word from a subject to its
    verb: by the least absolute correlation, over those words, of the memory with the number.
    """
    passages = batch(
        (settings.shown_distance,) * settings.sentences,
        settings.test_rows,
        settings.rng("test", settings.shown_distance, settings.sentences),
        part="test",
        attractor=True,
    )
    memory, gates = _run(reader, passages.words)
    subjects = passages.before_verb - settings.shown_distance + 1
    carried = np.min(
        [
            _least_correlation(memory[first : last + 1], number)
            for first, last, number in zip(
                subjects, passages.before_verb, passages.number, strict=True
            )
        ],
        axis=0,
    )
    units = np.argsort(-carried, kind="stable")[:_UNITS]
    between = np.concatenate(
        [np.arange(a + 1, b + 1) for a, b in zip(subjects, passages.before_verb, strict=True)]
    )
    shown = _shown(passages)
    told = reader(passages)[:, shown].argmax(axis=-1)
    kept = {name: values[:, :, units] for name, values in gates.items()}
    return Memory(
        words=tuple(VOCABULARY[word] for word in passages.words[:, shown]),
        before_verb=passages.before_verb,
        told=tuple(VERBS[verb] for verb in told),
        right=tuple((told == passages.number[:, shown]).tolist()),
        units=units,
        carried=carried[units],
        gates={name: values[:, shown].T for name, values in kept.items()},
        memory=memory[:, shown, units].T,
        at_subject={name: values[subjects].mean(axis=(0, 1)) for name, values in kept.items()},
        between={name: values[between].mean(axis=(0, 1)) for name, values in kept.items()},
        shut_between=(kept["update"][between] < _NEARLY_SHUT).mean(axis=(0, 1)),
    )


def _run(reader: Reader, words: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The memory after every word and the gates at it, (T, B, H) each."""
    _, _, trace = reader.recurrent.forward(reader.embedding(words))
    (cell,) = trace.cells
    blocks = np.split(cell.gates, cell.gates.shape[-1] // reader.recurrent.hidden_size, axis=-1)
    if hasattr(cell, "c"):
        return cell.c[1:], {"update": blocks[0], "forget": blocks[1]}
    return cell.h[1:], {"update": 1 - blocks[1]}  # z keeps


def _least_correlation(memory: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(T, B, H), (B,) -> (H,): the least over time of the absolute correlation over the batch."""
    m = memory - memory.mean(axis=1, keepdims=True, dtype=np.float64)
    n = (number - number.mean())[:, np.newaxis]
    spread = np.sqrt((m**2).sum(axis=1) * (n**2).sum())
    correlation = (m * n).sum(axis=1) / np.maximum(spread, np.finfo(np.float64).tiny)
    least: np.ndarray = np.abs(correlation).min(axis=0)
    return least


def _shown(passages: Batch) -> int:
    """The first passage that begins with a plural subject and changes to a singular one."""
    wanted = np.arange(1, len(passages.number) + 1) % 2
    return int((passages.number == wanted[:, np.newaxis]).all(axis=0).argmax())
