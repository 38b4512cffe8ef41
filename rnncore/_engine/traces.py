"""The trace of the compiled core: one memory, shown as states and gates, and how it travels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.kind import CellKind
from rnncore._cells.results import FloatArray, ShowsStates
from rnncore._core import core
from rnncore._engine.batch import Masks, Ragged
from rnncore._engine.cells import CoreCell
from rnncore._engine.memory import empty, padded


class Room(NamedTuple):
    """How many numbers the memory of a trace has, and where in it what starts; -1: it is not there.

    The states, the values of the gates, what the cell made where that is not the state yet (with a
    projection or zoneout), and the h that the recurrent weights read, with recurrent dropout.
    """

    size: int
    states: tuple[int, ...]
    gates: int
    made: tuple[int, ...]  # of each state
    h_in: int


def room_of(cell: CoreCell, steps: int, B: int, masks: Masks | None) -> Room:
    """The room of a trace with these masks."""
    return Room(*cell.shape.room(steps, B, *_there(cell, masks)))


def memory_of(cell: CoreCell, steps: int, B: int, masks: Masks | None) -> np.ndarray:
    """Memory for such a trace, uninitialised."""
    masked, zoned = (False, cell.unzoned) if masks is None else _there(cell, masks)
    return cell.shape.memory(steps, B, masked, zoned)


def _there(cell: CoreCell, masks: Masks | None) -> tuple[bool, tuple[bool, ...]]:
    """Which masks there are: that of h, and for each state that of zoneout."""
    h_mask, keeps = masks or Masks()
    zoned = tuple([keep is not None for keep in keeps]) if keeps else cell.unzoned
    return h_mask is not None, zoned


@dataclass(frozen=True, eq=False, init=False)
class CoreTrace(ShowsStates):
    """What the compiled backward pass reads: x, the states, and the gates as the core keeps them.

    Of a unit at a step that is a number for each state and each slot of the cell (the RNN keeps no
    slot: 1; GRU 5, LSTM 6, LayerNormLSTM 18), and another one for each of projection, recurrent
    dropout, zoneout of each state. They lie in `memory`, with the
    units padded to whole registers and the rows longest first; `h`, `c` and `gates` show them in
    the shapes of `rnncore.reference`.
    """

    family: ClassVar[str] = "rnncore.functional"  # where it comes from

    cell: CoreCell
    x: FloatArray  # (T, B, I), of the whole sequence
    memory: FloatArray
    masks: Masks | None
    reverse: bool
    ragged: Ragged | None
    first: int  # the step of the sequence that is the first here
    steps: int

    def __init__(
        self,
        cell: CoreCell,
        x: FloatArray,
        memory: FloatArray,
        masks: Masks | None,
        reverse: bool,
        ragged: Ragged | None,
        first: int,
        steps: int,
    ) -> None:
        # At once: a frozen dataclass's own takes 2 us, which a small call would feel.
        self.__dict__.update(
            cell=cell, x=x, memory=memory, masks=masks, reverse=reverse, ragged=ragged,
            first=first, steps=steps,
        )  # fmt: skip

    @property
    def kind(self) -> CellKind:
        return self.cell.kind

    @property
    def options(self) -> dict[str, Any]:
        return self.cell.options

    @property
    def H(self) -> int:
        return self.cell.H

    @property
    def P(self) -> int:
        return self.cell.P

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it holds."""
        held = [self.x, self.memory, *(self.ragged or ())]
        return held if self.masks is None else held + self.masks.arrays

    @property
    def lengths(self) -> NDArray[np.intp] | None:
        """Of the rows, where they were given."""
        return None if self.ragged is None else self.ragged.lengths

    @property
    def gates(self) -> FloatArray | None:
        """The values of the gates side by side, (T, B, ..).

        Of a cell without gates, with zoneout, what its activation gave, (T, B, H); else None.
        """
        room, shows = self._room(), self.cell.shape.shows
        if room.gates >= 0:
            by_slot = self._by_slot(room.gates, self.steps, self.H, self.cell.shape.slots)
            by_slot = _in_a_row(by_slot)[..., : self.H]
            return self._of_steps(np.concatenate([by_slot[:, :, k] for k in shows], axis=-1))
        if room.made[0] >= 0:
            made = self._array(room.made[0], self.steps, padded(self.H, self.x.dtype))
            return self._of_steps(made[..., : self.H])
        return None

    def _room(self) -> Room:
        """Where in `memory` what lies."""
        return room_of(self.cell, self.steps, self.x.shape[1], self.masks)

    def _array(self, at: int, steps: int, width: int) -> FloatArray:
        B = self.x.shape[1]
        return self.memory[at : at + steps * B * width].reshape(steps, B, width)

    def _state(self, part: int) -> FloatArray:
        """A state in the user's order; past its end a row has its final state."""
        at, units = self._room().states[part], self.cell.widths[part]
        rows = self._array(at, self.steps + 1, padded(units, self.x.dtype))[..., :units]
        if self.ragged is None:
            return rows
        instants = np.minimum(np.arange(len(rows))[:, np.newaxis], self.ragged.lengths)
        shown = rows[instants, np.argsort(self.ragged.order)]
        shown.flags.writeable = False
        return shown

    def _of_steps(self, values: FloatArray) -> FloatArray:
        """A copy of `values` in the user's order; past its end a row has zeros."""
        shown = values.copy()
        if self.ragged is not None:
            shown[:, self.ragged.order] = values
            shown[np.arange(len(shown))[:, np.newaxis] >= self.ragged.lengths] = 0
        shown.flags.writeable = False
        return shown

    # A trace that travels

    def _places(self) -> list[tuple[int, int, int, int]]:
        """The parts of `memory`: start, steps, units, and slots of a unit."""
        room, T, H, widths = self._room(), self.steps, self.H, self.cell.widths
        places = [(at, T + 1, width, 1) for at, width in zip(room.states, widths, strict=True)]
        places += [(room.gates, T, H, self.cell.shape.slots)]
        places += [(at, T, H, 1) for at in room.made]
        places += [(room.h_in, T, self.P, 1)]
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
        masked, zoned = _there(self.cell, self.masks)
        core.begin_trace(self.cell.shape, self.steps, self.x.shape[1], masked, zoned, memory)
        for array in self.arrays:
            array.flags.writeable = False


def _in_a_row(by_slot: FloatArray) -> FloatArray:
    """(steps, B, slots, registers, lanes) -> (steps, B, slots, units); empty ones have no -1."""
    *others, registers, lanes = by_slot.shape
    return by_slot.reshape(*others, registers * lanes)
