"""Layers for inference alone: weights packed once, and streams that read one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._common.sealed import Sealed
from rnncore._core import core
from rnncore._engine.runner import CORE
from rnncore._engine.streams import stream_buffers
from rnncore._engine.weights import SCALE, narrowed, pack, stored_arrays, widened
from rnncore.layers import storage
from rnncore.layers.parameters import LATER
from rnncore.layers.results import Array, StateT
from rnncore.layers.stack import Stack
from rnncore.reference.precision import PRECISIONS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rnncore._engine.cells import CoreCell

__all__ = ["Frozen", "Stream"]


class Frozen(Stack[StateT]):
    """An immutable copy of a layer, made by `layer.freeze()`; threads may share it.

    It gives the same results as the layer did when it was frozen, bit for bit, and does not pack
    the weights anew at every call. A copy is the same object; a pickle holds the layer's weights,
    for machines of any instruction set.

    With a `precision` below float32 the weights are narrower, and so are the rows that they are
    multiplied with; results are close to the layer's, and `compare` tells how close. All else
    holds: the bits of a row depend on that row alone. See `docs/precision.md`.

    Attributes
    ----------
    precision : None, "bfloat16", "w8a16" or "w8a8"
    nbytes : of the packed weights

    Examples
    --------
    >>> from rnncore import GRU
    >>> layer = GRU(3, 4, rng=0)
    >>> fast, x = layer.freeze(), np.ones((5, 1, 3), np.float32)
    >>> np.array_equal(fast(x)[0], layer(x)[0])
    True
    >>> layer.freeze("w8a16").compare(x).largest < 0.01
    True
    """

    _OPTIONS = ("input_size", "hidden_size", "num_layers", "bidirectional", "batch_first", "dtype")
    _layer: Any
    _cells: tuple[CoreCell, ...]
    _weights: tuple[NDArray[np.uint8], ...]
    _arrays: Mapping[str, Array]  # as they are saved
    _rounded: bool  # whether the layer has no more than those
    precision: str | None

    def __init__(
        self, layer: Any, precision: str | None = None, arrays: Mapping[str, Array] | None = None
    ) -> None:
        """Of a `RecurrentLayer`, which is this one's own from now on.

        `arrays` are those that the weights became before: the layer has what is left of them.
        """
        for name in (*self._OPTIONS, "_kind", "_widths", "_no_states"):
            object.__setattr__(self, name, getattr(layer, name))
        stack, weights, own = layer._stack, layer._plan.read(layer.params), layer.params
        if precision is not None:
            own = narrowed(layer.params, precision) if arrays is None else arrays
            stack, weights = stack.at(precision), layer._plan.narrow(weights, own)
        packed = [pack(cell, given) for cell, given in zip(stack.cells, weights, strict=True)]
        for name, value in (
            ("_layer", layer),
            ("_runner", CORE),
            ("_stack", stack),
            ("_cells", stack.cells),
            ("_weights", tuple(packed)),
            ("_arrays", own),
            ("_rounded", arrays is not None),
            ("precision", precision),
        ):
            object.__setattr__(self, name, value)

    @property
    def nbytes(self) -> int:
        return sum(packed.nbytes for packed in self._weights)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set: a frozen layer does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} cannot be deleted: a frozen layer does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        # The weights as users know them: how they are packed depends on the instruction set.
        if self.precision is None:
            return Frozen, (self._layer,)
        return frozen_of, (type(self._layer), self._layer.options, self.precision, self._arrays)

    def __copy__(self) -> Frozen[StateT]:
        return self

    def __deepcopy__(self, memo: Any) -> Frozen[StateT]:
        return self

    def __call__(
        self, x: Array, state: StateT | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[Array, StateT]:
        """The outputs and the final state, as the layer gave them; see `RecurrentLayer`."""
        return self._infer(self._weights, x, state, lengths)

    def compare(
        self, x: Array, state: StateT | None = None, lengths: ArrayLike | None = None
    ) -> Comparison:
        """How far `y` is from that of the layer as it was frozen, for this `x`.

        Raises
        ------
        ValueError after a file or a pickle: narrow weights are all that is left in those.
        """
        if self._rounded:
            raise ValueError(
                "the layer that this one was frozen from is not here, only its rounded weights:"
                " compare before saving"
            )
        exact = self._layer(x, state, lengths=lengths)[0]
        return comparison(self(x, state, lengths=lengths)[0], exact)

    def save(self, path: storage.Place) -> None:
        """Save it to a .npz or .safetensors file, int8 as int8; `rnncore.load` makes it anew.

        The errors are those of `rnncore.layers.storage.save_arrays`; TypeError for a layer of a
        class that `rnncore.load` does not know.
        """
        storage.check_kind(self._layer)
        options = {
            "layer": type(self._layer).__name__,
            "precision": self.precision,
            "options": self._layer.options,
        }
        storage.save_arrays(path, type(self).__name__, options, self._arrays)

    def stream(self, batch_size: int = 1) -> Stream[StateT]:
        """A state that reads one step at a time, starting from zeros."""
        return Stream(self, batch_size)

    def __repr__(self) -> str:
        precision = "" if self.precision is None else repr(self.precision)
        return f"{self._layer!r}.freeze({precision})"


class Comparison(NamedTuple):
    """Of an output with what it should be: magnitudes of the differences."""

    largest: float
    mean: float
    where: tuple[int, ...]  # the index of the largest


def comparison(y: Array, exact: Array) -> Comparison:
    """Of two arrays of one shape."""
    difference = np.abs(y.astype(np.float64) - exact)
    where = np.unravel_index(np.argmax(difference), difference.shape) if difference.size else ()
    return Comparison(
        float(difference.max(initial=0)),
        float(difference.mean()) if difference.size else 0.0,
        tuple(map(int, where)),
    )


def checked_precision(precision: Any, layer: Any) -> str | None:
    """A precision that a layer can be frozen to.

    Raises
    ------
    ValueError for one that there is not, or not for this layer.
    """
    if precision is None:
        return None
    if not isinstance(precision, str) or precision not in PRECISIONS:
        expected = ", ".join(map(repr, PRECISIONS))
        raise ValueError(f"precision is {precision!r}, expected None or one of {expected}")
    if layer.dtype != np.float32:
        raise ValueError(f"precision is {precision!r}, expected None for a layer of {layer.dtype}")
    most = max(layer.hidden_size, *(cell.shape.I for cell in layer._cells))
    if precision != "bfloat16" and most > core.NARROW_TERMS:
        raise ValueError(
            f"precision is {precision!r} and a row has {most} numbers, expected at most"
            f" {core.NARROW_TERMS}: sums of more would not fit 31 bits"
        )
    return str(precision)


def frozen_of(
    kind: Callable[..., Any], options: Mapping[str, Any], precision: str, arrays: dict[str, Array]
) -> Frozen[Any]:
    """One whose weights were rounded before."""
    layer = kind(**options, rng=LATER)
    layer.params = widened(arrays, layer._shapes, precision)
    return Frozen(layer, precision, arrays)


def check_scales(file: str, arrays: Mapping[str, Array]) -> None:
    """Raise ValueError for a scale of int8 that no row of weights has."""
    for name, value in arrays.items():
        if name.endswith(SCALE) and (np.isinf(value) | (value < 0)).any():
            raise ValueError(f"{file} has infinity or a negative number in {name}")


@storage.loads("Frozen")
def _load(stored: storage.Stored) -> Frozen[Any]:
    with stored.made_of("frozen layer"):
        options = dict(stored.options)
        name, precision, own = (options.pop(key, None) for key in ("layer", "precision", "options"))
        if options:
            raise ValueError(f"{', '.join(options)} unknown")
        kind = storage.kind_of(name)
        layer = kind(**own, rng=LATER)
        checked_precision(precision, layer)
        shapes = stored_arrays(layer._shapes, precision, layer.dtype)
    stored.check(shapes)
    arrays = stored.read()
    check_scales(stored.name, arrays)
    if precision is not None:
        return frozen_of(kind, own, precision, arrays)
    layer.params = arrays
    for value in arrays.values():
        value.flags.writeable = False
    return Frozen(layer)


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

    def reset(self, state: StateT | None = None, *, rows: ArrayLike | None = None) -> None:
        """Go on from `state`, by default from zeros.

        Parameters
        ----------
        state : of the shape of the `state` here, with as many rows as `rows` has
        rows : which rows alone begin anew, by their numbers; None: all

        Raises
        ------
        ValueError for a wrong shape or row, TypeError for another dtype than the layer's.
        """
        frozen, B = self._frozen, len(self._y)
        chosen: Any = slice(None)
        if rows is not None:
            chosen = _check.ids("rows", np.asarray(rows), B, (np.size(rows),))
            B = len(chosen)
        shapes = [(frozen.num_layers, B, width) for width in frozen._widths]
        parts: tuple[Array | None, ...] = frozen._no_states
        if state is not None:
            parts = _check.arrays(
                "state", state, frozen._kind.parts, shapes, dtype=frozen.dtype, owner="the layer"
            )
        for layer, states in enumerate(self._states):
            for part, own, width in zip(parts, states, frozen._widths, strict=True):
                own[self.phase, chosen, :width] = 0 if part is None else part[layer]

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
