"""A stack of layers as an operator sees it: options in a text, arrays of NumPy in and out.

PyTorch's compiler and exporter hand texts and tensors around, so the whole description of a layer
is the text that `describe` makes, and `kernel_of` finds the layer again, in another process too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rnncore._engine import passes
from rnncore._engine.batch import Ragged, ragged
from rnncore._engine.cells import PLACES, VECTORS, CellStack, Weights
from rnncore._engine.memory import all_aligned, with_rows
from rnncore.layers.cells import GRUCell, IndRNNCell, LayerNormLSTMCell, LSTMCell, RNNCell
from rnncore.layers.kinds import BY_PREFIX
from rnncore.layers.parameters import LATER
from rnncore.layers.results import Array

States = tuple[Array | None, ...]

_CELLS = [cell._layer_type for cell in (RNNCell, GRUCell, LSTMCell, IndRNNCell, LayerNormLSTMCell)]
KINDS = {layer.__name__: layer for layer in (*BY_PREFIX.values(), *_CELLS)}
_LINE = 64  # bytes of a cache line, at which the memory of every layer starts


def describe(kind: str, options: Mapping[str, Any]) -> str:
    """The name of a layer and its options but for what is dropped, which comes as masks."""
    return json.dumps([kind, options], sort_keys=True)


@lru_cache(maxsize=256)
def kernel_of(spec: str) -> Kernel:
    """The layer that `describe` has described."""
    kind, options = json.loads(spec)
    if options.get("activations") is not None:
        options["activations"] = _tuples(options["activations"])
    layer = KINDS[kind](**options, rng=LATER)
    return StepKernel(layer) if type(layer) in _CELLS else Kernel(layer)


def _tuples(functions: Sequence[Any]) -> list[Any]:
    """JSON has no tuples."""
    return [one if isinstance(one, str) else tuple(one) for one in functions]


class Given(NamedTuple):
    """What a pass reads beside x, the initial state and the weights; a list that is not there is
    empty, and otherwise complete."""

    lengths: Array | None  # (B,)
    drops: Sequence[Array]  # (T, B, D * P), of every layer but the first
    h_masks: Sequence[Array]  # (B, P), of every layer and direction
    keeps: Sequence[Array]  # (T, B, P or H), of every layer and direction, of each of its states


NOTHING = Given(None, (), (), ())


class Piece(NamedTuple):
    """A parameter: which layer and direction has it, in which place, and which of its vectors."""

    cell: int
    place: int
    vector: int


class Kernel:
    """A layer without parameters or generator, and what its passes take and give.

    Attributes
    ----------
    names, shapes : of the parameters, in the order in which the passes take and give them
    widths : of the states, P or H
    """

    def __init__(self, layer: Any) -> None:
        self._layer, self._stack, self._cells = layer, layer._stack, layer._cells
        self.names, self.shapes = tuple(layer._shapes), tuple(layer._shapes.values())
        self.widths: tuple[int, ...] = layer._widths
        self.dtype, self.batch_first = layer.dtype, layer.batch_first
        self.layers, self.directions = layer.num_layers, layer.num_directions
        self.columns = self.directions * self.widths[0]
        self._pieces = self._places(layer)
        self._rooms: dict[tuple[bool, bool], tuple[int, int, int]] = {}

    def _places(self, layer: Any) -> list[Piece]:
        found = []
        for k, suffix in enumerate(layer._suffixes()):
            vectors = 0
            for weight in layer._kind.weights:
                there, vector = weight.stem + suffix in layer._shapes, weight.place == "vector"
                if there:
                    found.append(Piece(k, PLACES[weight.place], vectors if vector else -1))
                vectors += vector and (there or weight.needs == "bias")
        return found

    def weights(self, arrays: Sequence[Array]) -> list[Weights]:
        """Those of every layer and direction, in their places; views, where they are contiguous."""
        found: list[Weights] = self._layer._plan.read(dict(zip(self.names, arrays, strict=True)))
        return found

    def states(self, shape: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The shapes of the states for an x of this shape."""
        _, B = self._steps_and_rows(shape)
        return [(self.layers * self.directions, B, width) for width in self.widths]

    def outputs(self, shape: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Those of the outputs and the final states."""
        return [(*shape[:-1], self.columns), *self.states(shape)]

    # The memory that a pass leaves to the pass back

    def reserve(self, shape: Sequence[Any], masked: bool, zoned: bool) -> Any:
        """How many numbers it takes for an x of this shape, whose sizes may be symbols.

        That is what the layers and directions keep, one after another, then what every layer but
        the first has read.
        """
        T, B = self._steps_and_rows(shape)
        a, b, c = self._room(masked, zoned)
        line = _LINE // self.dtype.itemsize
        inner = (self.layers - 1) * (T * B * self.columns + line)
        return a * T * B + b * B + c + inner

    def _room(self, masked: bool, zoned: bool) -> tuple[int, int, int]:
        """(a, b, c) so that a T B + b B + c numbers do for all traces; see native/room.h."""
        if (masked, zoned) not in self._rooms:
            line, a, b, c = _LINE // self.dtype.itemsize, 0, 0, 0
            states = (zoned,) * len(self.widths)
            for cell in self._cells:  # with rows that fill lines nothing is rounded up
                room = cell.shape.room(line, line, masked, states)
                more = cell.shape.room(2 * line, line, masked, states)[0] - room[0]
                a += more // line**2
                b += (room[0] - room[1][0] - more) // line  # header first, then the states
                pieces = sum(at >= 0 for at in (*room[1], room[2], *room[3], room[4]))
                c += room[1][0] + (pieces + 1) * line
            self._rooms[masked, zoned] = a, b, c
        return self._rooms[masked, zoned]

    def _steps_and_rows(self, shape: Sequence[Any]) -> tuple[Any, Any]:
        return (shape[1], shape[0]) if self.batch_first else (shape[0], shape[1])

    # Passes

    def quick(self, weights: list[Weights], x: Array, state: Any) -> tuple[Any, Any] | None:
        """The outputs and the final state, as a layer gives them; None: not without a look."""
        found: tuple[Any, Any] | None = self._stack.call(weights, x, state)
        return found

    def infer(
        self, weights: list[Weights], x: Array, starts: States, lengths: Array | None
    ) -> tuple[Array, ...]:
        """The outputs and the final states."""
        return _in_a_row(*self._layer._infer(weights, x, _state(starts), lengths))

    def forward(
        self, weights: list[Weights], x: Array, starts: States, given: Given, reserve: Array
    ) -> tuple[Array, ...]:
        """The same; what the pass back reads is left in `reserve`."""
        if given is NOTHING:
            found = self._stack.keep(weights, x, _state(starts), reserve)
            if found is not None:
                return _in_a_row(*found)
        x = x.swapaxes(0, 1) if self.batch_first else x
        x, batch, make = self._inside(x, given)
        T, B, _ = x.shape
        shape = (B, T, self.columns) if self.batch_first else (T, B, self.columns)
        y, ends = make(shape, self.dtype), self._layer._empty_states(B)
        if not (T and B):
            passes.copy_states(starts or (None,) * len(ends), ends)
            return (y, *ends)
        memories, inner = self._cut(reserve, T, B, given)
        self._stack.forward(
            weights, [x, *inner], self._drops(given), None if batch is None else batch.table,
            all_aligned(starts) if starts else self._layer._no_states,
            self._masks(given), memories, y.swapaxes(0, 1) if self.batch_first else y, ends,
        )  # fmt: skip
        return (y, *ends)

    def backward(
        self,
        weights: list[Weights],
        x: Array,
        given: Given,
        reserve: Array,
        arriving: States,
        wanted: Sequence[bool],
    ) -> list[Array]:
        """The gradients that are wanted of (x, each state, each parameter).

        `arriving` are those of the outputs and the final states; None stands for zeros.
        """
        dweights = self._zeros(wanted[1 + len(self.widths) :])
        x = x.swapaxes(0, 1) if self.batch_first else x
        found = None
        if given is NOTHING and x.size:
            memories, inner = self._cut(reserve, x.shape[0], x.shape[1], given)
            dy, *dends = arriving
            found = self._stack.back(
                weights, [x, *inner], memories, dweights, dy, _state(dends), wanted[0]
            )
        if found is None:
            found = self._back(weights, x, given, reserve, arriving, dweights, wanted[0])
        dxs, *dstarts = _in_a_row(*found)
        dx = None
        if wanted[0]:
            dx = passes.sum_of(dxs)
            dx = dx.swapaxes(0, 1) if self.batch_first else dx
        grads = [dx, *dstarts, *[self._piece(dweights, piece) for piece in self._pieces]]
        return [d for d, want in zip(grads, wanted, strict=True) if want]

    def _back(
        self, weights: list[Weights], x: Array, given: Given, reserve: Array, arriving: States,
        dweights: list[Weights], wants_x: bool,
    ) -> tuple[Any, Any]:  # fmt: skip
        """What `core.Stack.back` gives, after a look: for an x with the steps first."""
        x, batch, make = self._inside(x, given)
        T, B, I = x.shape
        dstarts, D = self._layer._empty_states(B), self.directions
        own = make if wants_x else _nothing
        dxs: list[list[Any]] = [[own((T, B, I), self.dtype) for _ in range(D)]]
        for layer in range(1, self.layers):  # they take turns with two sets of arrays
            shape = (T, B, self.columns)
            new = layer < 3
            dxs.append([np.empty(shape, self.dtype) for _ in range(D)] if new else dxs[layer - 2])
        dy = arriving[0]
        if dy is not None and self.batch_first:
            dy = dy.swapaxes(0, 1)
        outside = passes.arriving(dy, arriving[1:], None)
        if T and B:
            memories, inner = self._cut(reserve, T, B, given)
            self._stack.backward(
                weights, [x, *inner], self._drops(given), None if batch is None else batch.table,
                self._masks(given), memories, outside.dy, outside.dends, None, dxs, dweights,
                dstarts,
            )  # fmt: skip
        else:
            passes.copy_states(outside.dends, dstarts)
        return dxs[0], dstarts

    def _cut(self, reserve: Array, T: int, B: int, given: Given) -> tuple[list[Array], list[Array]]:
        """The memory of every layer and direction, and the inputs of all layers but the first."""
        zoned = (bool(given.keeps),) * len(self.widths)
        found: tuple[list[Array], list[Array]]
        found = self._stack.cut(reserve, T, B, bool(given.h_masks), zoned)
        return found

    def _inside(self, x: Array, given: Given) -> tuple[Array, Ragged | None, Any]:
        """x as the core reads it, the rows by their lengths, and what makes outputs for them."""
        x = with_rows(x)
        if given.lengths is None:
            return x, None, np.empty
        return x, ragged(given.lengths, *x.shape[:2]), np.zeros

    def _drops(self, given: Given) -> list[Any]:
        return list(given.drops) or [None] * (self.layers - 1)

    def _masks(self, given: Given) -> list[Any]:
        """(h_mask, a keep for each state) of every layer and direction, or None."""
        _, _, h_masks, keeps = given
        if not h_masks and not keeps:
            return [None] * len(self._cells)
        S, found = len(self.widths), []
        for k in range(len(self._cells)):
            of_states = tuple(keeps[k * S : (k + 1) * S]) or (None,) * S
            found.append((h_masks[k] if h_masks else None, *of_states))
        return found

    def _zeros(self, wanted: Sequence[bool]) -> list[Weights]:
        """Gradients of the weights to which nothing was added yet; None for what nobody wants."""
        if all(wanted):
            return [cell.zeros() for cell in self._cells]
        found: list[list[Any]] = [[None] * len(Weights._fields) for _ in self._cells]
        for fields, cell in zip(found, self._cells, strict=True):
            fields[VECTORS] = [None] * len(cell.shape.vectors)
        for piece, shape, want in zip(self._pieces, self.shapes, wanted, strict=True):
            if want:
                value = np.zeros(shape, self.dtype)
                if piece.place == VECTORS:
                    found[piece.cell][VECTORS][piece.vector] = value
                else:
                    found[piece.cell][piece.place] = value
        for fields in found:
            fields[VECTORS] = tuple(fields[VECTORS])
        return [Weights(*fields) for fields in found]

    def _piece(self, dweights: list[Weights], piece: Piece) -> Any:
        value: Any = dweights[piece.cell][piece.place]
        return value[piece.vector] if piece.place == VECTORS else value


def _state(parts: Sequence[Any]) -> Any:
    """A state as layers take it; None where all of it is zeros."""
    for part in parts:
        if part is not None:
            return tuple(parts) if len(parts) > 1 else part
    return None


def _in_a_row(first: Any, state: Any) -> tuple[Any, ...]:
    """(first, each part of the state)."""
    return (first, *state) if type(state) is tuple else (first, state)


def _nothing(shape: tuple[int, ...], dtype: Any) -> None:
    """In place of an array that nobody wants."""


class StepKernel(Kernel):
    """A cell: a layer of one step, of which the state is all that comes out."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._single = CellStack(layer._cells, 1, "B")

    def states(self, shape: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [(shape[0], width) for width in self.widths]

    outputs = states

    def quick(self, weights: list[Weights], x: Array, state: Any) -> tuple[Any, Any] | None:
        found = self._single.call(weights, x, state)
        return None if found is None else (None, found)

    def _steps_and_rows(self, shape: Sequence[Any]) -> tuple[Any, Any]:
        return 1, shape[0]

    def infer(
        self, weights: list[Weights], x: Array, starts: States, lengths: Array | None
    ) -> tuple[Array, ...]:
        return _first(super().infer(weights, x[None], _stacked(starts), None)[1:])

    def forward(
        self, weights: list[Weights], x: Array, starts: States, given: Given, reserve: Array
    ) -> tuple[Array, ...]:
        found = super().forward(weights, x[None], _stacked(starts), given, reserve)
        return _first(found[1:])

    def backward(
        self,
        weights: list[Weights],
        x: Array,
        given: Given,
        reserve: Array,
        arriving: States,
        wanted: Sequence[bool],
    ) -> list[Array]:
        whole = (None, *_stacked(arriving))
        found = super().backward(weights, x[None], given, reserve, whole, wanted)
        of_steps = sum(wanted[: 1 + len(self.widths)])
        return [*_first(found[:of_steps]), *found[of_steps:]]


def _stacked(states: States) -> States:
    """States, or gradients of them, with the axis of layers."""
    found: list[Array | None] = []
    for state in states:
        found.append(None if state is None else state[None])
    return tuple(found)


def _first(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Undo `_stacked`."""
    return tuple([each[0] for each in arrays])
