"""Models that read one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.sealed import Sealed
from rnncore._core import core
from rnncore.layers.results import Array
from rnncore.models.embedding import Embedding
from rnncore.models.members import leaves
from rnncore.models.steps import Steps

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class ModelStream(Sealed, core.ModelStream):
    """One step at a time through a frozen model: ``y_t = stream(x_t)``.

    It holds the states and all the memory that a step needs, and runs without Python between the
    layers. ``stream(x_t)`` reads x_t (B, I), or ids (B,) of an `Embedding`, and gives y_t (B, O),
    an array that the next call overwrites; ``stream(x_t, out=y_t)`` writes to the array given. The
    numbers are those that the model gives for all steps at once, bit for bit: a `Pool` gives at
    every step what it would if this were the last one. A stream is one thread's at a time. It can
    be copied and pickled, with its states.

    Raises
    ------
    ValueError for a model with a layer that does not go step by step: of two directions, or a
    convolution that reads steps to come. A call raises ValueError for a wrong shape and TypeError
    for another dtype than the model's.

    Examples
    --------
    >>> from rnncore.layers import GRU
    >>> from rnncore.models.linear import Linear
    >>> from rnncore.models.sequential import Sequential
    >>> model, x = Sequential(GRU(3, 4, rng=0), Linear(4, 2, rng=0)), np.ones((5, 1, 3), np.float32)
    >>> stream = model.freeze().stream()
    >>> steps = [stream(x_t).copy() for x_t in x]
    >>> np.array_equal(steps, model(x)[0])
    True
    """

    def __init__(self, model: Any, batch_size: int = 1) -> None:
        """Of a `Sequential` of frozen layers."""
        B = _check.size("batch_size", batch_size)
        first = next(leaves(model))[1]
        self._dtype = np.dtype(np.float32) if model.dtype is None else model.dtype
        width = 1 if isinstance(first, Embedding) else model.input_size
        if width is None:
            raise ValueError(f"{model.names[0]} reads any number of inputs, expected one that says")
        _check.affordable({"batch_size": B}, B * width * self._dtype.itemsize, "a step")
        self._model, self._steps = model, Steps(B, self._dtype)
        chain = core.ChainStep(self._steps.of("the model", model, width), B, False)
        count = first.num_embeddings if isinstance(first, Embedding) else 0
        self._shape, self._count = (B, width), count
        self._y = np.empty((B, model.output_size or width), self._dtype)
        super().__init__(chain, self._y, self._fitted)

    @property
    def state(self) -> tuple[Any, ...]:
        """A copy of the present states, one entry for each recurrent layer."""
        return tuple([stream.state for stream in self._steps.streams])

    def reset(self, state: Any = None, *, rows: ArrayLike | None = None) -> None:
        """Go on from `state`, by default from zeros; what other layers remember is forgotten.

        Parameters
        ----------
        state : one entry for each recurrent layer, or None
        rows : which rows alone begin anew, by their numbers; None: all

        Raises
        ------
        ValueError for a wrong shape or row, TypeError for another dtype than the model's.
        """
        streams = self._steps.streams
        parts = (None,) * len(streams) if state is None else state
        if not isinstance(parts, tuple | list) or len(parts) != len(streams):
            raise ValueError(
                f"state is of type {type(state).__name__}, expected a tuple of {len(streams)}: one"
                " for each recurrent layer"
            )
        chosen: Any = slice(None)
        if rows is not None:
            chosen = _check.ids("rows", np.asarray(rows), len(self._y), (np.size(rows),))
        for trial in (True, False):  # all of them are looked at before one is changed
            for stream, part in zip(streams, parts, strict=True):
                (stream.copy() if trial else stream).reset(part, rows=rows)
        for array, axis in self._steps.memories:
            array[(slice(None),) * axis + (chosen,)] = 0

    def copy(self) -> ModelStream:
        """Another stream through the same frozen model, with the state that this one has now."""
        return _stream_at(type(self), *self._content())

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> ModelStream:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _stream_at, (type(self), *self._content())

    def _content(self) -> tuple[Any, ...]:
        memories = [array.copy() for array, _ in self._steps.memories]
        return self._model, len(self._y), self.state, memories, self._phases()

    def _phases(self) -> list[int]:
        return [step.phase for step in self._steps.phased]

    def _fitted(self, name: str, value: Any) -> Array:
        """What the core can read instead of `value`, which it cannot read as it is."""
        if name == "out":
            array = _check.array(name, value, self._y.shape, dtype=self._dtype, owner="the model")
            _check.writable(name, array)
            raise ValueError("out is not contiguous, expected an array from end to end")
        if self._count:
            ids = _check.ids(name, value, self._count, self._shape[:1])
            return np.require(ids, np.intp, ("C", "A"))
        array = _check.array(name, value, self._shape, dtype=self._dtype, owner="the model")
        return np.array(array, order="C")


def _stream_at(
    kind: type[ModelStream],
    model: Any,
    batch_size: int,
    state: Any,
    memories: list[np.ndarray],
    phases: list[int],
) -> ModelStream:
    """A stream in this state."""
    stream = kind(model, batch_size)
    stream.reset(state)
    for (array, _), value in zip(stream._steps.memories, memories, strict=True):
        array[...] = value
    for step, phase in zip(stream._steps.phased, phases, strict=True):
        step.phase = phase
    return stream
