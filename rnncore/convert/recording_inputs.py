"""Inputs for a source that runs and for the model made of it, and what the source gives for them.

They are seeded: of odd sizes, as short as the model takes, and with lengths where the source has
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnncore.models import members
from rnncore.models.embedding import Embedding
from rnncore.models.members import RowEnds
from rnncore.models.recorded import Case, Recorded
from rnncore.models.sequential import Sequential

__all__ = ["Inputs", "NotRecordedError", "Run", "inputs_of", "record", "skips_steps", "told"]

_MOST_NUMBERS = 1 << 17  # of an input or an output that is kept
_MOST_STEPS = 4096  # of the shortest x that a model reads
_SEED = 0


class NotRecordedError(Exception):
    """Why the source of a model gives nothing to compare with."""


class Inputs(NamedTuple):
    """What x may be.

    Attributes
    ----------
    axes : "T", "B" and "F" (features) in the order of x
    fixed : sizes of axes "T" and "B" of which there are no others
    lengths : whether the source has lengths of rows
    """

    axes: tuple[str, ...]
    fixed: Mapping[str, int]
    lengths: bool


class Run(NamedTuple):
    """A source that runs.

    Attributes
    ----------
    name : of the framework with its version, such as "torch 2.13.0"
    inputs : what it reads
    call : its first output for x, and for lengths (B,) or None
    """

    name: str
    inputs: Inputs
    call: Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def record(run: Run, model: Sequential, name: str) -> Recorded:
    """The outputs of a source for inputs of odd sizes, the shortest x, and one with lengths.

    Raises
    ------
    NotRecordedError where it cannot run any of them, or gives more than can be kept.
    """
    cases, problems = [], []
    for x, lengths in _xs(model, run.inputs):
        try:
            y = np.asarray(run.call(x, lengths))
        except Exception as error:  # of whatever kind a framework raises
            problems.append(f"x of shape {x.shape}: {told(error)}")
            continue
        cases.append(Case(x, lengths, _without_ends(model, x, lengths, y)))
    if not cases:
        raise NotRecordedError(f"{run.name} cannot run {problems[0] if problems else 'it'}")
    refused = f", which cannot run {problems[0]}" if problems else ""
    return Recorded(f"{name}, run by {run.name}{refused}", tuple(cases))


def told(error: Exception) -> str:
    """What an error says, in one short line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def inputs_of(model: Sequential) -> Inputs:
    """x in the layout of a model, with a batch."""
    steps = ("B", "T") if model.batch_first else ("T", "B")
    ids = _reader_of(model).ids is not None
    return Inputs(steps if ids else (*steps, "F"), {}, True)


def skips_steps(model: Sequential) -> bool:
    """Whether steps with some number or id stand for none."""
    return _reader_of(model).masked is not None


# Inputs


class _Reader(NamedTuple):
    """What reads x: how many ids there are, or how many features; what stands for no step."""

    ids: int | None
    width: int
    masked: float | None


def _reader_of(model: Sequential) -> _Reader:
    masked: float | None = None
    for _, leaf in members.leaves(model):
        masked = getattr(leaf, "masked", masked)
        if isinstance(leaf, Embedding):
            return _Reader(leaf.num_embeddings, 1, masked)
        if (width := members.width_taken(leaf)) is not None:
            return _Reader(None, width, masked)
    return _Reader(None, 5, masked)


def _xs(model: Sequential, inputs: Inputs) -> Sequence[tuple[np.ndarray, np.ndarray | None]]:
    """Inputs, each with its lengths or None."""
    rng = np.random.default_rng(_SEED)
    shortest, width = _shortest(model, inputs, rng)
    rows = max(1, _MOST_NUMBERS // width)
    if shortest > rows:
        raise NotRecordedError(f"an x of {shortest} steps and its y are too large to be kept")

    def drawn(T: int, B: int, lengths: bool) -> tuple[np.ndarray, np.ndarray | None]:
        T, B = inputs.fixed.get("T", T), inputs.fixed.get("B", B)
        T = max(shortest, min(T, rows // B))
        ends = None
        if lengths:
            ends = rng.integers(shortest, max(shortest + 1, T), B)
            ends[-1] = T
        return _drawn(model, inputs, T, B, ends, rng), ends

    found = [drawn(shortest + 16, 3, False), drawn(shortest, 1, False)]
    if inputs.lengths and "B" in inputs.axes and "T" in inputs.axes:
        found.append(drawn(shortest + 32, 2, True))
    return found[:1] if {"T", "B"} & set(inputs.axes) <= set(inputs.fixed) else found


def _shortest(model: Sequential, inputs: Inputs, rng: np.random.Generator) -> tuple[int, int]:
    """How many steps a model needs at least, and the numbers of a step: of x or of y."""
    T = inputs.fixed.get("T", 1)
    while True:
        x = _drawn(model, inputs, T, inputs.fixed.get("B", 1), None, rng)
        try:
            y, _ = model(x)
            if y.size:
                return T, max(x[0].size if x.ndim == 1 else x.shape[-1], y.shape[-1], 1)
            problem = "its y is empty"
        except ValueError as error:
            problem = told(error)
        T *= 2
        if "T" in inputs.fixed or T > _MOST_STEPS:
            raise NotRecordedError(f"no x was found that the model reads: {problem}")


def _drawn(
    model: Sequential,
    inputs: Inputs,
    T: int,
    B: int,
    ends: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    reader = _reader_of(model)
    sizes = {"T": T, "B": B, "F": reader.width}
    shape = [sizes[axis] for axis in inputs.axes]
    if reader.ids is None:
        dtype = np.float32 if model.dtype is None else model.dtype
        x = rng.standard_normal(shape).astype(dtype)
    elif reader.masked is None or reader.ids < 2:
        x = rng.integers(0, reader.ids, shape)
    else:  # any id but the one that is masked
        x = rng.integers(0, reader.ids - 1, shape)
        x += x >= int(reader.masked)
    if ends is not None and reader.masked is not None:
        past = np.arange(T) >= ends[:, None]  # (B, T)
        x[past if inputs.axes[0] == "B" else past.T] = reader.masked
    return x


def _without_ends(
    model: Sequential, x: np.ndarray, lengths: np.ndarray | None, y: np.ndarray
) -> np.ndarray:
    """The output of a source with zeros past the ends of rows, where each has its own there."""
    if lengths is None:
        return y
    states = (None,) * members.states_of(model)
    ends = members.infer(model, x, states, RowEnds(lengths, bool(model.batch_first))).ends
    if ends is None:
        return y
    y = np.array(y)
    ends.clear(y)
    return y
