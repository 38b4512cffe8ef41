"""Layers for inference alone: weights packed once, and streams that read one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from rnncore import _check
from rnncore._common.sealed import Sealed
from rnncore._core import core
from rnncore._engine.runner import CORE
from rnncore._engine.streams import stream_buffers
from rnncore._engine.weights import pack
from rnncore.layers.results import Array, StateT
from rnncore.layers.stack import Stack

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rnncore._engine.cells import CoreCell

__all__ = ["Frozen", "Stream"]


class Frozen(Stack[StateT]):
    """An immutable copy of a layer, made by `layer.freeze()`; threads may share it.

    It gives the same results as the layer did when it was frozen, bit for bit, and does not pack
    the weights anew at every call. A copy is the same object; a pickle holds the layer's weights,
    for machines of any instruction set.

    Examples
    --------
    >>> from rnncore import GRU
    >>> layer = GRU(3, 4, rng=0)
    >>> fast, x = layer.freeze(), np.ones((5, 1, 3), np.float32)
    >>> np.array_equal(fast(x)[0], layer(x)[0])
    True
    """

    _OPTIONS = ("input_size", "hidden_size", "num_layers", "bidirectional", "batch_first", "dtype")
    _layer: Any
    _cells: tuple[CoreCell, ...]
    _weights: tuple[NDArray[np.uint8], ...]

    def __init__(self, layer: Any) -> None:
        """Of a `RecurrentLayer`, which is this one's own from now on."""
        for name in (*self._OPTIONS, "_kind", "_cells", "_stack", "_widths", "_no_states"):
            object.__setattr__(self, name, getattr(layer, name))
        weights = layer._plan.read(layer.params)
        packed = tuple([pack(cell, own) for cell, own in zip(layer._cells, weights, strict=True)])
        for name, value in (("_layer", layer), ("_runner", CORE), ("_weights", packed)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set: a frozen layer does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} cannot be deleted: a frozen layer does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        # The weights as users know them: how they are packed depends on the instruction set.
        return Frozen, (self._layer,)

    def __copy__(self) -> Frozen[StateT]:
        return self

    def __deepcopy__(self, memo: Any) -> Frozen[StateT]:
        return self

    def __call__(
        self, x: Array, state: StateT | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[Array, StateT]:
        """The outputs and the final state, as the layer gave them; see `RecurrentLayer`."""
        return self._infer(self._weights, x, state, lengths)

    def stream(self, batch_size: int = 1) -> Stream[StateT]:
        """A state that reads one step at a time, starting from zeros."""
        return Stream(self, batch_size)

    def __repr__(self) -> str:
        return f"{self._layer!r}.freeze()"


class Stream(Sealed, core.Stream, Generic[StateT]):
    """One step at a time through a frozen layer: ``y_t = stream(x_t)``.

    It holds a state and all the memory that a step needs: a step allocates nothing. ``stream(x_t)``
    reads x_t (B, I) and gives y_t (B, P), an array that the next call overwrites;
    ``stream(x_t, out=y_t)`` writes to the array given. The numbers are those that the layer gives
    for all steps at once, bit for bit. A stream is one thread's at a time. It can be copied and
    pickled, with its state: also to a machine of another instruction set.

    Raises
    ------
    ValueError for a layer of two directions: the second reads a sequence from its end. A call
    raises ValueError for a wrong shape and TypeError for another dtype than the layer's.

    Examples
    --------
    >>> from rnncore import LSTM
    >>> layer, x = LSTM(3, 4, rng=0), np.ones((5, 1, 3), np.float32)
    >>> stream = layer.freeze().stream()
    >>> steps = [stream(x_t).copy() for x_t in x]
    >>> np.array_equal(steps, layer(x)[0])
    True
    """

    _frozen: Frozen[StateT]

    def __init__(self, frozen: Frozen[StateT], batch_size: int = 1) -> None:
        B = _check.size("batch_size", batch_size)
        of_a_row = 2 * sum(frozen._widths)  # each state twice, and the gates
        of_a_row += frozen._cells[0].shape.slots * frozen.hidden_size
        nbytes = B * frozen.num_layers * of_a_row * frozen.dtype.itemsize
        _check.affordable({"batch_size": B}, nbytes, "the states")
        if frozen.bidirectional:
            raise ValueError("bidirectional is True, expected one direction to stream")
        self._frozen, dtype = frozen, frozen.dtype
        layers = [
            stream_buffers(cell, packed, B)
            for cell, packed in zip(frozen._cells, frozen._weights, strict=True)
        ]
        self._states = [buffers.states for buffers in layers]
        self._y = np.empty((B, frozen._widths[0]), dtype)
        super().__init__(layers, self._y, self._fitted)

    @property
    def state(self) -> StateT:
        """A copy of the present state, (L, B, P); for the LSTM the pair (h, c), c with H."""
        parts = tuple(
            np.stack([states[part][self.phase, :, :width] for states in self._states])
            for part, width in enumerate(self._frozen._widths)
        )
        return parts[0] if len(parts) == 1 else parts  # type: ignore[return-value]

    def reset(self, state: StateT | None = None) -> None:
        """Go on from `state`, by default from zeros.

        Raises
        ------
        ValueError for a wrong shape, TypeError for another dtype than the layer's.
        """
        frozen = self._frozen
        B = self._states[0][0].shape[1]
        shapes = [(frozen.num_layers, B, width) for width in frozen._widths]
        parts: tuple[Array | None, ...] = frozen._no_states
        if state is not None:
            parts = _check.arrays(
                "state", state, frozen._kind.parts, shapes, dtype=frozen.dtype, owner="the layer"
            )
        for layer, states in enumerate(self._states):
            for part, rows, width in zip(parts, states, frozen._widths, strict=True):
                rows[self.phase, :, :width] = 0 if part is None else part[layer]

    def copy(self) -> Stream[StateT]:
        """Another stream through the same frozen layer, with the state that this one has now."""
        return _stream_at(type(self), self._frozen, len(self._y), self.state)

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Stream[StateT]:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _stream_at, (type(self), self._frozen, len(self._y), self.state)

    def _fitted(self, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        """What the core can read instead of `value`, which it cannot read as it is."""
        array = _check.array(name, value, shape, dtype=self._frozen.dtype, owner="the layer")
        if name == "out":
            _check.writable("out", array)
            raise ValueError(
                "out is misaligned, or its rows are not contiguous or overlap, expected an array to"
                " write to"
            )
        return array.copy()


def _stream_at(
    kind: type[Stream[StateT]], frozen: Frozen[StateT], batch_size: int, state: StateT
) -> Stream[StateT]:
    """A stream in this state."""
    stream = kind(frozen, batch_size)
    stream.reset(state)
    return stream
