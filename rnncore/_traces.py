"""The traces of the compiled core, and the cells, batches and masks that they tell of."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _validate
from rnncore._core import core
from rnncore._results import FloatArray, in_order


class Cell(NamedTuple):
    """A cell with its options, as the compiled core knows it."""

    trace: "type[CoreTrace]"
    outputs: type[NamedTuple]
    core: tuple[int, int, FloatArray | None]  # kind, flags, activations with their bounds
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
    lengths = _validate.lengths(lengths, T, B)
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


_NO_MASKS = Masks()


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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Out of a pickle, and of a deep copy, arrays come writable."""
        self.__dict__.update(state)
        for array in self.arrays:
            array.flags.writeable = False

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
        return self._states(self._room()[1], self.P)

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

    def _room(self) -> tuple[int, ...]:
        """Where in `memory` what lies, as the core tells."""
        masks = (self.masks is not None and mask is not None for mask in self.masks or (None,) * 3)
        return core.trace_room(
            self.cell.core, self.H, self.P, self.steps, self.x.shape[1], self.x.itemsize, *masks
        )

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


class RNNTrace(CoreTrace):
    @property
    def gates(self) -> FloatArray | None:
        """With zoneout what the activation gave, (T, B, H); else that is h."""
        at = self._room()[4]
        if at < 0:
            return None
        made = self._array(at, self.steps, padded(self.H, self.x.dtype))
        return self._of_steps(made[..., : self.H])


class GatedTrace(CoreTrace):
    @property
    def gates(self) -> FloatArray:
        """The values of `cell.kept` side by side, (T, B, kept * H)."""
        lanes, slots = core.REGISTER_BYTES // self.x.itemsize, self.cell.slots
        T, B, W = self.steps, self.x.shape[1], padded(self.H, self.x.dtype)
        blocks = self._array(self._room()[3], T, len(slots) * W)
        by_slot = blocks.reshape(T, B, W // lanes, len(slots), lanes).swapaxes(-2, -3)
        by_slot = by_slot.reshape(T, B, len(slots), W)[..., : self.H]
        return self._of_steps(
            np.concatenate([by_slot[:, :, slots.index(k)] for k in self.cell.kept], axis=-1)
        )


class GRUTrace(GatedTrace):
    pass


class LSTMTrace(GatedTrace):
    @property
    def c(self) -> FloatArray:
        """The memory at all T+1 instants in the order of computation, (T+1, B, H)."""
        return self._states(self._room()[2], self.H)

    @property
    def c_n(self) -> FloatArray:
        """Final memory, (B, H)."""
        return self.c[-1]
