"""The functional core, compiled: one layer, one direction, forward and backward.

The functions and their signatures are those of `rnncore.reference`, which says in NumPy what they
compute. Here arguments are checked, arrays allocated, and the compiled core called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _validate, reference
from rnncore._activations import Activation, resolve
from rnncore._core import core
from rnncore._results import (
    FloatArray,
    GRUGrads,
    GRUOutputs,
    LSTMGrads,
    LSTMOutputs,
    RNNGrads,
    RNNOutputs,
    in_order,
    require_trace,
)
from rnncore._threads import get_num_threads

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]

_CACHE_LINE = 64  # bytes; also the widest register

# The compiled function of a dtype: called by itself, it would look its arguments' dtypes up.
_ADDRESS, _PACK, _INFER, _FORWARD, _BACKWARD = (
    {np.dtype(np.float32): function["float"], np.dtype(np.float64): function["double"]}
    for function in (core.address, core.pack, core.infer, core.forward, core.backward)
)


# Cells, batches, traces


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


class Masks(NamedTuple):
    """What recurrent dropout and zoneout drop and keep; see `rnncore.reference`."""

    h_mask: FloatArray | None = None  # (B, P)
    keep_h: FloatArray | None = None  # (T, B, P)
    keep_c: FloatArray | None = None  # (T, B, H)


_NO_MASKS = Masks()


class PackedCell(NamedTuple):
    """A cell of given sizes with its weights, ready for forward passes."""

    cell: Cell
    I: int
    H: int
    P: int
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class CoreTrace:
    """What the compiled backward pass reads: x, the states, and the gates as the core keeps them.

    Of a unit at a step that is 1 number for the RNN, 5 for the GRU, 6 for the LSTM, and another one
    for each of projection, recurrent dropout, zoneout of h and of c. They lie in `memory`, with the
    units padded to whole registers and the rows longest first; `h`, `c` and `gates` show them in
    the shapes of `rnncore.reference`.
    """

    cell: Cell
    x: FloatArray  # (T, B, I), of the whole sequence
    H: int
    P: int
    memory: FloatArray
    masks: tuple[FloatArray | None, ...] | None  # h_mask, keep_h, keep_c, each of three axes
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
        rows = self._array(at, self.steps + 1, _padded(units, self.x.dtype))[..., :units]
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
        made = self._array(at, self.steps, _padded(self.H, self.x.dtype))
        return self._of_steps(made[..., : self.H])


class GatedTrace(CoreTrace):
    @property
    def gates(self) -> FloatArray:
        """The values of `cell.kept` side by side, (T, B, kept * H)."""
        lanes, slots = core.REGISTER_BYTES // self.x.itemsize, self.cell.slots
        T, B, W = self.steps, self.x.shape[1], _padded(self.H, self.x.dtype)
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


_LSTM_SLOTS = ("f", "i", "g", "o")


def _core_cell(kind: int, flags: int, functions, own, clip) -> tuple:
    """The cell for the core; functions that are its `own` are its plain, fast ones."""
    if functions == own and clip is None:
        return kind, flags, None
    bounds = [clip or 0.0, clip or 0.0, 0.0]  # sums of gates are clipped, the memory is not
    table = [(f.code, f.alpha, f.beta, bound) for f, bound in zip(functions, bounds, strict=False)]
    return kind, flags, np.array(table, np.float64)


@lru_cache(maxsize=256)
def _rnn(nonlinearity: str, functions: tuple[Activation, ...], clip: float | None) -> Cell:
    own = resolve((nonlinearity,), ("Tanh",))
    flags = core.FLAGS["relu"] if nonlinearity == "relu" else 0
    spec = _core_cell(core.RNN, flags, functions, own, clip)
    return Cell(RNNTrace, RNNOutputs, spec, 1, ("pre",), ())


@lru_cache(maxsize=256)
def _gru(reset: str, functions: tuple[Activation, ...], clip: float | None) -> Cell:
    kind, last = (core.GRU_AFTER, "hn") if reset == "after" else (core.GRU_BEFORE, "rh")
    spec = _core_cell(kind, 0, functions, resolve(None, ("Sigmoid", "Tanh")), clip)
    kept = ("r", "z", "n", "hn") if reset == "after" else ("r", "z", "n")
    return Cell(GRUTrace, GRUOutputs, spec, 3, ("n", "r", "z", last), kept)


@lru_cache(maxsize=256)
def _lstm(
    peephole: str | None,
    coupled: bool,
    projected: bool,
    functions: tuple[Activation, ...],
    clip: float | None,
) -> Cell:
    flags = core.FLAGS.get(peephole, 0)
    flags |= core.FLAGS["coupled"] * coupled | core.FLAGS["projection"] * projected
    own = resolve(None, ("Sigmoid", "Tanh", "Tanh"))
    spec = _core_cell(core.LSTM, flags, functions, own, clip)
    return Cell(
        LSTMTrace, LSTMOutputs, spec, 4, _LSTM_SLOTS, ("i", "f", "g", "o"), peephole, projected
    )


def rnn_cell(nonlinearity: str = "tanh", activations=None, clip: float | None = None) -> Cell:
    nonlinearity = _validate.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    if activations is not None and nonlinearity != "tanh":
        raise ValueError(
            f"activations is given beside nonlinearity {nonlinearity!r}, expected one of them"
        )
    functions = resolve((nonlinearity,) if activations is None else activations, ("Tanh",))
    return _rnn(nonlinearity, functions, _validate.clip(clip))


def gru_cell(reset: str = "after", activations=None, clip: float | None = None) -> Cell:
    reset = _validate.choice("reset", reset, ("after", "before"))
    return _gru(reset, resolve(activations, ("Sigmoid", "Tanh")), _validate.clip(clip))


def lstm_cell(
    peephole: str | None = None,
    coupled: bool = False,
    projected: bool = False,
    activations=None,
    clip: float | None = None,
) -> Cell:
    peephole = _validate.choice("peephole", peephole, (None, "previous", "current"))
    functions = resolve(activations, ("Sigmoid", "Tanh", "Tanh"))
    coupled = _validate.flag("coupled", coupled)
    return _lstm(peephole, coupled, projected, functions, _validate.clip(clip))


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


def window_begins(T: int, B: int, H: int, batch: Ragged | None) -> list[int]:
    """The steps at which a window of a trace may begin so that the gradients keep their bits."""
    return core.chunk_begins(T, B, H, None if batch is None else batch.alive)[::-1] or [0]


# What all cells share


def _empty(count: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised memory that starts at a cache line, so that no register straddles two."""
    line = _CACHE_LINE // dtype.itemsize
    raw = np.empty(count + line, dtype)
    start = -(_ADDRESS[dtype](raw) // dtype.itemsize) % line
    return raw[start : start + count]


def _padded(units: int, dtype: np.dtype) -> int:
    """Units of a row, filled up to whole registers."""
    lanes = core.REGISTER_BYTES // dtype.itemsize
    return -(-units // lanes) * lanes


def _with_rows(a: np.ndarray | None) -> np.ndarray | None:
    """`a` if its rows lie as the core reads them, contiguous and at whole elements, or a copy."""
    if a is None or (a.flags.c_contiguous and a.flags.aligned):
        return a
    if (
        a.flags.aligned
        and a.strides[-1] == a.itemsize
        and all(stride % a.itemsize == 0 for stride in a.strides)
    ):
        return a
    return np.require(a, requirements="CA")


def _contiguous(a: np.ndarray | None) -> np.ndarray | None:
    if a is None or (a.flags.c_contiguous and a.flags.aligned):
        return a
    return np.require(a, requirements="CA")


def _packed(
    cell: Cell, backward: bool, w_ih, w_hh, b_ih=None, b_hh=None, w_ch=None, w_hr=None
) -> np.ndarray:
    GH, I = w_ih.shape
    H, P = GH // cell.gates, w_hh.shape[1]
    size = core.packed_size(cell.core, backward, I, H, P, w_ih.itemsize)
    packed = _empty(size, w_ih.dtype)
    _PACK[w_ih.dtype](
        cell.core, backward, H, _contiguous(w_ih), _contiguous(w_hh), _contiguous(b_ih),
        _contiguous(b_hh), _contiguous(w_ch), _contiguous(w_hr), packed,
    )  # fmt: skip
    return packed


def pack(cell: Cell, w_ih, w_hh, b_ih=None, b_hh=None, w_ch=None, w_hr=None) -> PackedCell:
    """The weights of a cell in the order in which its forward pass reads them."""
    GH, I = w_ih.shape
    weights = _packed(cell, False, w_ih, w_hh, b_ih, b_hh, w_ch, w_hr)
    return PackedCell(cell, I, GH // cell.gates, w_hh.shape[1], weights)


def infer(
    stack: Sequence[PackedCell],
    directions: int,
    x: FloatArray,
    starts: tuple[FloatArray | None, ...],
    y: FloatArray,
    ends: tuple[FloatArray, ...],
    reverse: bool = False,
    batch: Ragged | None = None,
) -> None:
    """Run layers upon each other and keep nothing but outputs and final states.

    Parameters
    ----------
    stack : every layer and direction, in the order of the first axis of a state
    x, y : (T, B, I), (T, B, D * P); y is written to, up to the end of each row
    starts, ends : h and, with a memory, c, (L * D, B, P or H); `ends` is written to
    reverse : whether the first direction starts at the end of time, as the second always does
    batch : the lengths of the rows, None where all have all steps
    """
    if x.shape[0] and x.shape[1]:
        h0, c0 = (*starts, None)[:2]
        h_n, c_n = (*ends, None)[:2]
        cells = [(one.cell.core, one.H, one.P, one.weights) for one in stack]
        table = None if batch is None else batch.table
        _INFER[x.dtype](
            cells, directions, reverse, get_num_threads(), _with_rows(x), table,
            _aligned(h0), _aligned(c0), y, h_n, c_n,
        )  # fmt: skip
    else:
        for start, end in zip(starts, ends, strict=True):
            end[...] = 0 if start is None else start


def _aligned(a: np.ndarray | None) -> np.ndarray | None:
    return a if a is None or a.flags.aligned else a.copy()


def _outputs(packed: PackedCell, x, starts, reverse: bool, batch: Ragged | None, masks: Masks):
    """The y and final states of one layer and direction."""
    T, B, _ = x.shape
    widths = (packed.P, packed.H)[: len(starts)]
    y = (np.empty if batch is None else np.zeros)((T, B, packed.P), x.dtype)
    ends = tuple(np.empty((1, B, width), x.dtype) for width in widths)
    final = tuple(end[0] for end in ends)
    if all(mask is None for mask in masks):
        starts = tuple(None if start is None else start[np.newaxis] for start in starts)
        infer((packed,), 1, x, starts, y, ends, reverse, batch)
    else:
        trace(packed, np.array(x, order="C"), starts, reverse, batch, masks, y, final)
    return packed.cell.outputs(y, *final)


def trace(
    packed: PackedCell,
    x: FloatArray,
    starts: tuple[FloatArray | None, ...],
    reverse: bool,
    batch: Ragged | None = None,
    masks: Masks = _NO_MASKS,
    y: FloatArray | None = None,
    ends: tuple[FloatArray | None, ...] = (None, None),
    window: tuple[int, int] | None = None,
) -> CoreTrace:
    """Run one layer and direction and keep what the backward pass reads.

    Parameters
    ----------
    x : (T, B, I), contiguous and the trace's own from now on
    starts : initial h and, with a memory, c, (B, P or H), or None for zeros
    y : (T, B, P), optional; outputs are written to it, up to the end of each row
    ends : like `starts`; final states are written to them
    window : the first step and the one after the last, of those to run and to keep; by default all
    """
    cell, _, H, P, weights = packed
    T, B, _ = x.shape
    first, last = (0, T) if window is None else window
    steps, dtype = last - first, x.dtype
    own = None
    if any(mask is not None for mask in masks):
        own = tuple(mask if mask is None else _read_only(mask) for mask in masks)
    room = core.trace_room(
        cell.core, H, P, steps, B, dtype.itemsize, *(mask is not None for mask in masks)
    )
    memory = _empty(room[0], dtype)
    x.flags.writeable = False
    kept = cell.trace(cell, x, H, P, memory, own, reverse, batch, first, steps)
    h0, c0 = (*starts, None)[:2]
    h_n, c_n = (*ends, None)[:2]
    if steps and B:
        _FORWARD[dtype](
            cell.core, H, P, reverse, get_num_threads(), x, weights,
            None if batch is None else batch.table, first, steps,
            _aligned(h0), _aligned(c0), own, memory, y, h_n, c_n,
        )  # fmt: skip
    else:  # neither steps nor rows: at most initial states, which are the final ones
        memory[:] = 0
        for at, width, start, end in zip(room[1:3], (P, H), (h0, c0), (h_n, c_n), strict=True):
            if start is not None:
                order = slice(None) if batch is None else batch.order
                kept._array(at, steps + 1, _padded(width, dtype))[..., :width] = start[order]
            if end is not None:
                end[...] = 0 if start is None else start
    memory.flags.writeable = False
    return kept


def _read_only(mask: np.ndarray) -> np.ndarray:
    """`mask` with three axes, if nobody can change it and it is contiguous, or a copy."""
    if mask.flags.writeable or mask.base is not None or not mask.flags.c_contiguous:
        mask = np.array(mask, order="C")
        mask.flags.writeable = False
    return mask.reshape((1,) * (3 - mask.ndim) + mask.shape)


def trace_bytes(
    cell: Cell, H: int, P: int, dtype: np.dtype, steps: int, B: int, masked: bool, zoned: bool
) -> int:
    """What a trace of some steps holds besides inputs and masks."""
    has_c = len(cell.outputs._fields) == 3
    size, *_ = core.trace_room(
        cell.core, H, P, steps, B, dtype.itemsize, masked, zoned, zoned and has_c
    )
    return size * dtype.itemsize


class StreamBuffers(NamedTuple):
    """What a stream holds of one layer: two states in turn, and the gates of a step."""

    packed: PackedCell
    states: tuple[FloatArray, ...]  # (2, B, width)
    cell_h: FloatArray | None  # (1, B, W), what a projection reads
    gates: FloatArray  # (1, B, slots * W)


def stream_buffers(packed: PackedCell, batch_size: int) -> StreamBuffers:
    cell, _, H, P, weights = packed
    dtype, B = weights.dtype, batch_size
    W, PW = _padded(H, dtype), _padded(P, dtype)

    def room(count: int, width: int) -> FloatArray:
        rows = _empty(count * B * width, dtype).reshape(count, B, width)
        rows[...] = 0
        return rows

    states = (room(2, PW), room(2, W))[: len(cell.outputs._fields) - 1]
    cell_h = room(1, W) if cell.projected else None
    return StreamBuffers(packed, states, cell_h, room(1, len(cell.slots) * W))


class Gradients(NamedTuple):
    """The gradients of the inputs and weights of a cell, as the core writes and adds to them."""

    x: FloatArray  # written
    w_ih: FloatArray  # added to, as all the others
    w_hh: FloatArray
    b_ih: FloatArray
    b_hh: FloatArray
    w_ch: FloatArray | None
    w_hr: FloatArray | None


def no_gradients(cell: Cell, x_shape, ragged: bool, w_ih, w_hh, w_hr=None) -> Gradients:
    """Gradients to which nothing was added yet."""
    dtype, GH = w_ih.dtype, w_ih.shape[0]
    return Gradients(
        (np.zeros if ragged else np.empty)(x_shape, dtype),
        np.zeros(w_ih.shape, dtype),
        np.zeros(w_hh.shape, dtype),
        np.zeros(GH, dtype),
        np.zeros(GH, dtype),
        None if cell.peephole is None else np.zeros(3 * GH // cell.gates, dtype),
        None if w_hr is None else np.zeros(w_hr.shape, dtype),
    )


def pack_backward(cell: Cell, w_ih, w_hh, w_ch=None, w_hr=None) -> FloatArray:
    """The weights in the order in which a backward pass reads them."""
    return _packed(cell, True, w_ih, w_hh, w_ch=w_ch, w_hr=w_hr)


def add_gradients(
    kept: CoreTrace,
    packed: FloatArray,
    dy: FloatArray | None,
    dends: tuple[FloatArray | None, ...],
    gradients: Gradients,
    flow: NDArray[np.float64] | None = None,
) -> tuple[FloatArray, ...]:
    """Run back through a trace and add to `gradients`; return those of the initial states."""
    cell, dtype, B = kept.cell, kept.x.dtype, kept.x.shape[1]
    dstarts = tuple(np.empty((B, width), dtype) for width in (kept.P, kept.H)[: len(dends)])
    if kept.steps and B:
        dh, dc = (*dends, None)[:2]
        dh0, dc0 = (*dstarts, None)[:2]
        dx, *dparams = gradients
        _BACKWARD[dtype](
            cell.core, kept.H, kept.P, kept.reverse, get_num_threads(), kept.x, packed,
            None if kept.ragged is None else kept.ragged.table, kept.first, kept.steps,
            kept.masks, kept.memory, _with_rows(dy), _aligned(dh), _aligned(dc), flow,
            dx, dh0, dc0, *dparams,
        )  # fmt: skip
    else:
        for dstart, dend in zip(dstarts, dends, strict=True):
            dstart[...] = 0 if dend is None else dend
    return dstarts


def backward(kept: CoreTrace, w_ih, w_hh, dy, dends, flow=None, w_ch=None, w_hr=None):
    """The gradients of inputs and weights, and those of the initial states."""
    cell = kept.cell
    if flow is not None:
        flow[...] = 0
    gradients = no_gradients(cell, kept.x.shape, kept.ragged is not None, w_ih, w_hh, w_hr)
    packed = pack_backward(cell, w_ih, w_hh, w_ch, w_hr)
    return gradients, add_gradients(kept, packed, dy, dends, gradients, flow)


def _run(packed: PackedCell, x, starts, reverse: bool, batch, masks: Masks, training: bool):
    if training:
        return trace(packed, np.array(x, order="C"), starts, reverse, batch, masks)
    return _outputs(packed, x, starts, reverse, batch, masks)


def _documented_as(twin):
    """Give a function the docstring of its twin in `rnncore.reference`: written once."""

    def decorate(function):
        function.__doc__ = twin.__doc__
        return function

    return decorate


# The cells


@_documented_as(reference.rnn_forward)
def rnn_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    nonlinearity: str = "tanh",
    activations: Sequence[str | tuple] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> RNNTrace | RNNOutputs:
    cell = rnn_cell(nonlinearity, activations, clip)
    _validate.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0}, h_mask=h_mask, keeps={"keep_h": keep_h},
    )  # fmt: skip
    batch = ragged(lengths, *x.shape[:2])
    packed = pack(cell, w_ih, w_hh, b)
    return _run(packed, x, (h0,), reverse, batch, Masks(h_mask, keep_h), training)


@_documented_as(reference.rnn_backward)
def rnn_backward(
    trace: RNNTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    *,
    flow: NDArray[np.float64] | None = None,
) -> RNNGrads:
    require_trace(trace, RNNTrace)
    _validate.cell_output_gradients(
        1, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}, flow=flow
    )
    d, (dh0,) = backward(trace, w_ih, w_hh, dy, (dh,), flow)
    return RNNGrads(d.x, d.w_ih, d.w_hh, d.b_ih, dh0)


@_documented_as(reference.gru_forward)
def gru_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b_ih: FloatArray | None = None,
    b_hh: FloatArray | None = None,
    h0: FloatArray | None = None,
    *,
    reset: str = "after",
    activations: Sequence[str | tuple] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> GRUTrace | GRUOutputs:
    cell = gru_cell(reset, activations, clip)
    _validate.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b_ih": b_ih, "b_hh": b_hh}, states={"h0": h0},
        h_mask=h_mask, keeps={"keep_h": keep_h},
    )  # fmt: skip
    batch = ragged(lengths, *x.shape[:2])
    packed = pack(cell, w_ih, w_hh, b_ih, b_hh)
    return _run(packed, x, (h0,), reverse, batch, Masks(h_mask, keep_h), training)


@_documented_as(reference.gru_backward)
def gru_backward(
    trace: GRUTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    *,
    flow: NDArray[np.float64] | None = None,
) -> GRUGrads:
    require_trace(trace, GRUTrace)
    _validate.cell_output_gradients(
        3, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}, flow=flow
    )
    d, (dh0,) = backward(trace, w_ih, w_hh, dy, (dh,), flow)
    return GRUGrads(d.x, d.w_ih, d.w_hh, d.b_ih, d.b_hh, dh0)


@_documented_as(reference.lstm_forward)
def lstm_forward(
    x: FloatArray,
    w_ih: FloatArray,
    w_hh: FloatArray,
    b: FloatArray | None = None,
    h0: FloatArray | None = None,
    c0: FloatArray | None = None,
    *,
    w_ch: FloatArray | None = None,
    w_hr: FloatArray | None = None,
    peephole: str | None = None,
    coupled: bool = False,
    activations: Sequence[str | tuple] | None = None,
    clip: float | None = None,
    lengths: NDArray[np.integer] | Sequence[int] | None = None,
    h_mask: FloatArray | None = None,
    keep_h: FloatArray | None = None,
    keep_c: FloatArray | None = None,
    reverse: bool = False,
    training: bool = True,
) -> LSTMTrace | LSTMOutputs:
    cell = lstm_cell(peephole, coupled, w_hr is not None, activations, clip)
    _validate.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0, "c0": c0}, w_ch=w_ch, peephole=peephole,
        w_hr=w_hr, h_mask=h_mask, keeps={"keep_h": keep_h, "keep_c": keep_c},
    )  # fmt: skip
    batch = ragged(lengths, *x.shape[:2])
    packed = pack(cell, w_ih, w_hh, b, None, w_ch, w_hr)
    return _run(packed, x, (h0, c0), reverse, batch, Masks(h_mask, keep_h, keep_c), training)


@_documented_as(reference.lstm_backward)
def lstm_backward(
    trace: LSTMTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
    dc: FloatArray | None = None,
    *,
    w_ch: FloatArray | None = None,
    w_hr: FloatArray | None = None,
    flow: NDArray[np.float64] | None = None,
) -> LSTMGrads:
    cell = require_trace(trace, LSTMTrace).cell
    _validate.cell_output_gradients(
        4, trace.x, trace.h, w_ih, w_hh, dy,
        dstates={"dh": dh, "dc": dc}, w_ch=w_ch, peephole=cell.peephole, w_hr=w_hr,
        projected=cell.projected, units=trace.H, flow=flow,
    )  # fmt: skip
    d, (dh0, dc0) = backward(trace, w_ih, w_hh, dy, (dh, dc), flow, w_ch, w_hr)
    return LSTMGrads(d.x, d.w_ih, d.w_hh, d.b_ih, dh0, dc0, d.w_ch, d.w_hr)
