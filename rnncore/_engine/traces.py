"""The traces of the compiled core, and the cells, batches and masks that they tell of."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _check
from rnncore._cells.results import FloatArray, in_order
from rnncore._core import core

# The compiled function of a dtype: called by itself, it would look its arguments' dtypes up.
_ADDRESS, _BEGIN = (
    {np.dtype(np.float32): function["float"], np.dtype(np.float64): function["double"]}
    for function in (core.address, core.begin_trace)
)
_ADDRESS[np.dtype(np.uint8)] = core.address["unsigned char"]


class Cell(NamedTuple):
    """A cell with its options, as the compiled core knows it."""

    trace: "type[CoreTrace]"
    outputs: type[NamedTuple]
    core: tuple[int, int, FloatArray | None, float]  # kind, flags, activations, eps of norms
    gates: int  # row blocks of the weights
    slots: tuple[str, ...]  # values of a unit at a step, as the core keeps them
    kept: tuple[str, ...]  # and as the `gates` of a trace show them
    peephole: str | None = None
    projected: bool = False


class Ragged(NamedTuple):
    """A batch of rows of different lengths, as the compiled core wants it: longest first."""

    lengths: NDArray[np.intp]  # (B,), as they were given
    order: NDArray[np.intp]  # (B,), the rows by falling length
    alive: NDArray[np.intp]  # (T,), rows that have such a step
    table: NDArray[np.intp]  # what the core reads: order, lengths in that order, alive


def ragged(lengths, T: int, B: int) -> Ragged | None:
    """The rows of a batch by falling length; None where all have all steps.

    >>> ragged([1, 3, 0], 3, 3).order, ragged([1, 3, 0], 3, 3).alive
    (array([1, 0, 2]), array([2, 1, 1]))
    """
    lengths = _check.lengths(lengths, T, B)
    if lengths is None:
        return None
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    alive = B - np.searchsorted(ordered[::-1], np.arange(T), side="right")
    batch = Ragged(lengths, order, alive, np.concatenate((order, ordered, alive)))
    for table in batch:
        table.flags.writeable = False
    return batch


class Masks(NamedTuple):
    """What recurrent dropout and zoneout drop and keep; see `rnncore.reference`."""

    h_mask: FloatArray | None = None  # (B, P)
    keep_h: FloatArray | None = None  # (T, B, P)
    keep_c: FloatArray | None = None  # (T, B, H)


_CACHE_LINE = 64  # bytes; also the widest register


def empty(count: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised memory that starts at a cache line, so that no register straddles two."""
    line = _CACHE_LINE // dtype.itemsize
    raw = np.empty(count + line, dtype)
    start = -(_ADDRESS[dtype](raw) // dtype.itemsize) % line
    return raw[start : start + count]


class Room(NamedTuple):
    """How many numbers the memory of a trace has, and where in it what starts; -1: it is not there.

    The states h and c, the values of the gates, what the cell made where that is not the state yet
    (with a projection or zoneout), and the h that products read, with recurrent dropout.
    """

    size: int
    h: int
    c: int
    gates: int
    made_h: int
    made_c: int
    h_in: int


def room_of(
    cell: Cell, H: int, P: int, steps: int, B: int, itemsize: int, masks: tuple[bool, bool, bool]
) -> Room:
    """The room of a trace; `masks` tells of `Masks` which there are."""
    h_masked, *zoned = masks
    shape = core.Shape(cell.core, 1, H, P, itemsize)
    states = len(shape.widths)
    size, starts, gates, made, h_in = shape.room(steps, B, h_masked, tuple(zoned[:states]))
    return Room(size, *(*starts, -1)[:2], gates, *(*made, -1)[:2], h_in)


def padded(units: int, dtype: np.dtype) -> int:
    """Units of a row, filled up to whole registers."""
    lanes = core.REGISTER_BYTES // dtype.itemsize
    return -(-units // lanes) * lanes


@dataclass(frozen=True, eq=False)
class CoreTrace:
    """What the compiled backward pass reads: x, the states, and the gates as the core keeps them.

    Of a unit at a step that is 1 number for the RNN, 5 for the GRU, 6 for the LSTM, and another one
    for each of projection, recurrent dropout, zoneout of h and of c. They lie in `memory`, with the
    units padded to whole registers and the rows longest first; `h`, `c` and `gates` show them in
    the shapes of `rnncore.reference`.
    """

    family: ClassVar[str] = "rnncore.functional"  # where it comes from

    cell: Cell
    x: FloatArray  # (T, B, I), of the whole sequence
    H: int
    P: int
    memory: FloatArray
    masks: Masks | None
    reverse: bool
    ragged: Ragged | None
    first: int  # the step of the sequence that is the first here
    steps: int

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it holds."""
        held = (self.x, self.memory, *(self.masks or ()), *(self.ragged or ()))
        return [a for a in held if a is not None]

    @property
    def lengths(self) -> NDArray[np.intp] | None:
        """Of the rows, where they were given."""
        return None if self.ragged is None else self.ragged.lengths

    @property
    def h(self) -> FloatArray:
        """The states at all T+1 instants in the order of computation, (T+1, B, P)."""
        return self._states(self._room().h, self.P)

    @property
    def h_n(self) -> FloatArray:
        """Final state, (B, P)."""
        return self.h[-1]

    @property
    def y(self) -> FloatArray:
        """Outputs in time order, (T, B, P)."""
        y = in_order(self.h[1:], self.reverse, self.lengths)
        y.flags.writeable = False
        return y

    def _kept_masks(self) -> tuple[bool, bool, bool]:
        """Which of the masks there were."""
        h_mask, keep_h, keep_c = self.masks or Masks()
        return h_mask is not None, keep_h is not None, keep_c is not None

    def _room(self) -> Room:
        """Where in `memory` what lies."""
        B, size = self.x.shape[1], self.x.itemsize
        return room_of(self.cell, self.H, self.P, self.steps, B, size, self._kept_masks())

    def _array(self, at: int, steps: int, width: int) -> FloatArray:
        B = self.x.shape[1]
        return self.memory[at : at + steps * B * width].reshape(steps, B, width)

    def _states(self, at: int, units: int) -> FloatArray:
        """States in the user's order; past its end a row has its final state."""
        rows = self._array(at, self.steps + 1, padded(units, self.x.dtype))[..., :units]
        if self.ragged is None:
            return rows
        instants = np.minimum(np.arange(len(rows))[:, np.newaxis], self.lengths)
        shown = rows[instants, np.argsort(self.ragged.order)]
        shown.flags.writeable = False
        return shown

    def _of_steps(self, values: FloatArray) -> FloatArray:
        """A copy of `values` in the user's order; past its end a row has zeros."""
        shown = values.copy()
        if self.ragged is not None:
            shown[:, self.ragged.order] = values
            shown[np.arange(len(shown))[:, np.newaxis] >= self.lengths] = 0
        shown.flags.writeable = False
        return shown

    # A trace that travels

    def _places(self) -> list[tuple[int, int, int, int]]:
        """The parts of `memory`: start, steps, units, and slots of a unit."""
        room, T, H, P = self._room(), self.steps, self.H, self.P
        places = [(room.h, T + 1, P, 1), (room.c, T + 1, H, 1)]
        places += [(room.gates, T, H, len(self.cell.slots)), (room.made_h, T, H, 1)]
        places += [(room.made_c, T, H, 1), (room.h_in, T, P, 1)]
        return [place for place in places if place[0] >= 0]

    def _by_slot(self, at: int, steps: int, units: int, slots: int) -> FloatArray:
        """A part of `memory` as a view, (steps, B, slots, registers, lanes)."""
        lanes = core.REGISTER_BYTES // self.x.itemsize
        W = padded(units, self.x.dtype)
        part = self._array(at, steps, slots * W)
        return part.reshape(*part.shape[:2], W // lanes, slots, lanes).swapaxes(2, 3)

    def __getstate__(self) -> dict[str, Any]:
        """The parts of `memory` as no register pads or orders them, (steps, B, slots, units)."""
        parts = []
        for at, steps, units, slots in self._places():
            part = self._by_slot(at, steps, units, slots)
            parts.append(_in_a_row(part)[..., :units].copy())
        return {**self.__dict__, "memory": parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Lay the parts out as the core in use wants them."""
        parts, dtype = state["memory"], state["x"].dtype
        self.__dict__.update(state)
        memory = self.__dict__["memory"] = empty(self._room().size, dtype)
        memory[...] = 0
        for (at, steps, units, slots), part in zip(self._places(), parts, strict=True):
            whole = np.zeros((*part.shape[:3], padded(units, dtype)), dtype)
            whole[..., :units] = part
            place = self._by_slot(at, steps, units, slots)
            place[...] = whole.reshape(place.shape)
        shape = core.Shape(self.cell.core, 1, self.H, self.P, dtype.itemsize)
        masked = self._kept_masks()[: 1 + len(shape.widths)]
        _BEGIN[dtype](shape, self.steps, self.x.shape[1], masked, memory)
        for array in self.arrays:
            array.flags.writeable = False


def _in_a_row(by_slot: FloatArray) -> FloatArray:
    """(steps, B, slots, registers, lanes) -> (steps, B, slots, units); empty ones have no -1."""
    *others, registers, lanes = by_slot.shape
    return by_slot.reshape(*others, registers * lanes)


@dataclass(frozen=True, eq=False)
class RNNTrace(CoreTrace):
    @property
    def gates(self) -> FloatArray | None:
        """With zoneout what the activation gave, (T, B, H); else that is h."""
        at = self._room().made_h
        if at < 0:
            return None
        made = self._array(at, self.steps, padded(self.H, self.x.dtype))
        return self._of_steps(made[..., : self.H])


@dataclass(frozen=True, eq=False)
class GatedTrace(CoreTrace):
    @property
    def gates(self) -> FloatArray:
        """The values of `cell.kept` side by side, (T, B, kept * H)."""
        slots = self.cell.slots
        by_slot = self._by_slot(self._room().gates, self.steps, self.H, len(slots))
        by_slot = _in_a_row(by_slot)[..., : self.H]
        return self._of_steps(
            np.concatenate([by_slot[:, :, slots.index(k)] for k in self.cell.kept], axis=-1)
        )


@dataclass(frozen=True, eq=False)
class GRUTrace(GatedTrace):
    pass


@dataclass(frozen=True, eq=False)
class LSTMTrace(GatedTrace):
    @property
    def c(self) -> FloatArray:
        """The memory at all T+1 instants in the order of computation, (T+1, B, H)."""
        return self._states(self._room().c, self.H)

    @property
    def c_n(self) -> FloatArray:
        """Final memory, (B, H)."""
        return self.c[-1]
