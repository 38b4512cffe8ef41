"""The functional core, compiled: one layer, one direction, forward and backward.

The functions and their signatures are those of `rnncore.reference`, which says in NumPy what they
compute. Here arguments are checked, arrays allocated, and the compiled core called.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnncore import _validate, reference
from rnncore._core import core
from rnncore._results import (
    FloatArray,
    GRUGrads,
    GRUOutputs,
    LSTMGrads,
    LSTMOutputs,
    RNNGrads,
    RNNOutputs,
    Trace,
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


@dataclass(frozen=True, eq=False)
class CoreTrace(Trace):
    """What the compiled backward pass reads: x, the states, and the gates as the core keeps them.

    Of a unit at a step that is 1 number for the RNN, 5 for the GRU, 6 for the LSTM. `h`, `c` and
    `gates` show them in the shapes of `rnncore.reference`; `gates` is a copy.
    """

    cell: "Cell"
    states: tuple[FloatArray, ...]  # h, c: (T+1, B, W), units padded to whole registers
    blocks: FloatArray | None  # (T, B, slots * W), of every register of units all slots
    reverse: bool


class RNNTrace(CoreTrace):
    pass


class GatedTrace(CoreTrace):
    @property
    def gates(self) -> FloatArray:
        """The values of `cell.kept` side by side, (T, B, kept * H)."""
        H, lanes = self.h.shape[-1], core.REGISTER_BYTES // self.h.itemsize
        slots, (T, B, _) = self.cell.slots, self.blocks.shape
        by_slot = self.blocks.reshape(T, B, -1, len(slots), lanes).swapaxes(-2, -3)
        by_slot = by_slot.reshape(T, B, len(slots), -1)[..., :H]
        gates = np.concatenate([by_slot[:, :, slots.index(k)] for k in self.cell.kept], axis=-1)
        gates.flags.writeable = False
        return gates


class GRUTrace(GatedTrace):
    pass


class LSTMTrace(GatedTrace):
    @property
    def c(self) -> FloatArray:
        return self.states[1][..., : self.h.shape[-1]]

    @property
    def c_n(self) -> FloatArray:
        return self.c[-1]


class Cell(NamedTuple):
    """A cell with its options, as the compiled core knows it."""

    trace: type[CoreTrace]
    outputs: type[NamedTuple]
    kind: int
    flags: int
    gates: int  # row blocks of the weights
    slots: tuple[str, ...]  # values of a unit at a step, as the core keeps them
    kept: tuple[str, ...]  # and as the `gates` of a trace show them
    peephole: str | None = None


_RNN = {
    nonlinearity: Cell(
        RNNTrace, RNNOutputs, core.RNN, core.FLAGS.get(nonlinearity, 0), 1, ("pre",), ()
    )
    for nonlinearity in ("tanh", "relu")
}
_GRU = {
    "after": Cell(
        GRUTrace, GRUOutputs, core.GRU_AFTER, 0, 3, ("n", "r", "z", "hn"), ("r", "z", "n", "hn")
    ),
    "before": Cell(
        GRUTrace, GRUOutputs, core.GRU_BEFORE, 0, 3, ("n", "r", "z", "rh"), ("r", "z", "n")
    ),
}
_LSTM = {
    (peephole, coupled): Cell(
        LSTMTrace,
        LSTMOutputs,
        core.LSTM,
        core.FLAGS.get(peephole, 0) | (core.FLAGS["coupled"] if coupled else 0),
        4,
        ("f", "i", "g", "o"),
        ("i", "f", "g", "o"),
        peephole,
    )
    for peephole in (None, "previous", "current")
    for coupled in (False, True)
}


def rnn_cell(nonlinearity: str) -> Cell:
    return _RNN[_validate.choice("nonlinearity", nonlinearity, tuple(_RNN))]


def gru_cell(reset: str) -> Cell:
    return _GRU[_validate.choice("reset", reset, tuple(_GRU))]


def lstm_cell(peephole: str | None, coupled: bool) -> Cell:
    peephole = _validate.choice("peephole", peephole, (None, "previous", "current"))
    return _LSTM[peephole, _validate.flag("coupled", coupled)]


class PackedCell(NamedTuple):
    """A cell of given sizes with its weights, ready for forward passes."""

    cell: Cell
    I: int
    H: int
    weights: FloatArray


# What all cells share


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Uninitialised memory that starts at a cache line, so that no register straddles two."""
    count = math.prod(shape)
    raw = np.empty(count + _CACHE_LINE // dtype.itemsize, dtype)
    start = -(_ADDRESS[dtype](raw) // dtype.itemsize) % (_CACHE_LINE // dtype.itemsize)
    return raw[start : start + count].reshape(shape)


def _padded(H: int, dtype: np.dtype) -> int:
    """Units of a row, filled up to whole registers."""
    lanes = core.REGISTER_BYTES // dtype.itemsize
    return -(-H // lanes) * lanes


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


def _packed(cell: Cell, backward: bool, w_ih, w_hh, b_ih=None, b_hh=None, w_ch=None) -> np.ndarray:
    size = core.packed_size(
        cell.kind, cell.flags, backward, w_ih.shape[1], w_hh.shape[1], w_ih.itemsize
    )
    packed = _empty((size,), w_ih.dtype)
    _PACK[w_ih.dtype](
        cell.kind, cell.flags, backward, _contiguous(w_ih), _contiguous(w_hh),
        _contiguous(b_ih), _contiguous(b_hh), _contiguous(w_ch), packed,
    )  # fmt: skip
    return packed


def _padded_states(first, count: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Room for `count` states, the first of them set: (count, B, W)."""
    B, H = shape
    rows = _empty((count, B, _padded(H, dtype)), dtype)
    rows[0] = 0
    if first is not None:
        rows[0, :, :H] = first
    return rows


def pack(cell: Cell, w_ih, w_hh, b_ih=None, b_hh=None, w_ch=None) -> PackedCell:
    """The weights of a cell in the order in which its forward pass reads them."""
    return PackedCell(
        cell, w_ih.shape[1], w_hh.shape[1], _packed(cell, False, w_ih, w_hh, b_ih, b_hh, w_ch)
    )


def infer(
    stack: Sequence[PackedCell],
    directions: int,
    x: FloatArray,
    starts: tuple[FloatArray | None, ...],
    y: FloatArray,
    ends: tuple[FloatArray, ...],
    reverse: bool = False,
) -> None:
    """Run layers upon each other and keep nothing but outputs and final states.

    Parameters
    ----------
    stack : every layer and direction, in the order of the first axis of a state
    x, y : (T, B, I), (T, B, D * H); y is written to
    starts, ends : h and, with a memory, c, (L * D, B, H); `ends` is written to
    reverse : whether the first direction starts at the end of time, as the second always does
    """
    if x.shape[0] and x.shape[1]:
        h0, c0 = (*starts, None)[:2]
        h_n, c_n = (*ends, None)[:2]
        cells = [(one.cell.kind, one.cell.flags, one.H, one.weights) for one in stack]
        _INFER[x.dtype](
            cells, directions, reverse, get_num_threads(), _with_rows(x), h0, c0, y, h_n, c_n
        )
    else:
        for start, end in zip(starts, ends, strict=True):
            end[...] = 0 if start is None else start


def _outputs(packed: PackedCell, x, starts, reverse: bool):
    """The y and final states of one layer and direction."""
    T, B, _ = x.shape
    starts = tuple(None if start is None else start[np.newaxis] for start in starts)
    y = np.empty((T, B, packed.H), x.dtype)
    ends = tuple(np.empty((1, B, packed.H), x.dtype) for _ in starts)
    infer((packed,), 1, x, starts, y, ends, reverse)
    return packed.cell.outputs(y, *(end[0] for end in ends))


def _trace(packed: PackedCell, x, starts, reverse: bool):
    """The trace of a pass."""
    T, B, _ = x.shape
    cell, H, dtype = packed.cell, packed.H, x.dtype
    x = np.array(x, order="C")
    states = tuple(_padded_states(first, T + 1, (B, H), dtype) for first in starts)
    blocks = None
    if cell.kept:
        blocks = _empty((T, B, len(cell.slots) * _padded(H, dtype)), dtype)
    if T and B:
        h, c = (*states, None)[:2]
        _FORWARD[dtype](
            cell.kind, cell.flags, H, reverse, get_num_threads(), x, packed.weights, h, c, blocks
        )  # fmt: skip
    for rows in (*states, blocks):
        if rows is not None:
            rows.flags.writeable = False
    return cell.trace(x, states[0][..., :H], cell, states, blocks, reverse)


class StreamBuffers(NamedTuple):
    """What a stream holds of one layer: two states in turn, and the gates of a step."""

    packed: PackedCell
    states: tuple[FloatArray, ...]  # (2, B, W)
    gates: FloatArray  # (1, B, slots * W)


def stream_buffers(packed: PackedCell, batch_size: int) -> StreamBuffers:
    cell, H, dtype = packed.cell, packed.H, packed.weights.dtype
    states = tuple(
        _padded_states(None, 2, (batch_size, H), dtype) for _ in cell.outputs._fields[1:]
    )
    gates = _empty((1, batch_size, len(cell.slots) * _padded(H, dtype)), dtype)
    return StreamBuffers(packed, states, gates)


def _backward(trace: CoreTrace, w_ih, w_hh, dy, dends, w_ch):
    """Gradients of x, w_ih, w_hh, b_ih, b_hh, w_ch and the initial states."""
    cell, x = trace.cell, trace.x
    T, B, I = x.shape
    H, dtype = w_hh.shape[1], x.dtype
    dstates = [_padded_states(last, 1, (B, H), dtype)[0] for last in dends]
    dx = np.empty((T, B, I), dtype)
    dw_ih, dw_hh = np.zeros(w_ih.shape, dtype), np.zeros(w_hh.shape, dtype)
    db_ih, db_hh = np.zeros(w_ih.shape[0], dtype), np.zeros(w_ih.shape[0], dtype)
    dw_ch = np.zeros(3 * H, dtype)
    if T and B:
        packed = _packed(cell, True, w_ih, w_hh, w_ch=w_ch)
        h, c = (*trace.states, None)[:2]
        dh, dc = (*dstates, dstates[0])[:2]
        _BACKWARD[dtype](
            cell.kind, cell.flags, H, trace.reverse, get_num_threads(),
            x, packed, h, c, trace.blocks, _with_rows(dy), dh, dc,
            dx, dw_ih, dw_hh, db_ih, db_hh, dw_ch,
        )  # fmt: skip
    return dx, dw_ih, dw_hh, db_ih, db_hh, dw_ch, *(d[:, :H].copy() for d in dstates)


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
    reverse: bool = False,
    training: bool = True,
) -> RNNTrace | RNNOutputs:
    cell = rnn_cell(nonlinearity)
    _validate.cell_inputs(cell.gates, x, w_ih, w_hh, biases={"b": b}, states={"h0": h0})
    run = _trace if training else _outputs
    return run(pack(cell, w_ih, w_hh, b), x, (h0,), reverse)


@_documented_as(reference.rnn_backward)
def rnn_backward(
    trace: RNNTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
) -> RNNGrads:
    cell = require_trace(trace, RNNTrace).cell
    _validate.cell_output_gradients(
        cell.gates, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}
    )
    dx, dw_ih, dw_hh, db, _, _, dh0 = _backward(trace, w_ih, w_hh, dy, (dh,), None)
    return RNNGrads(dx, dw_ih, dw_hh, db, dh0)


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
    reverse: bool = False,
    training: bool = True,
) -> GRUTrace | GRUOutputs:
    cell = gru_cell(reset)
    biases = {"b_ih": b_ih, "b_hh": b_hh}
    _validate.cell_inputs(cell.gates, x, w_ih, w_hh, biases=biases, states={"h0": h0})
    run = _trace if training else _outputs
    return run(pack(cell, w_ih, w_hh, b_ih, b_hh), x, (h0,), reverse)


@_documented_as(reference.gru_backward)
def gru_backward(
    trace: GRUTrace,
    w_ih: FloatArray,
    w_hh: FloatArray,
    dy: FloatArray | None = None,
    dh: FloatArray | None = None,
) -> GRUGrads:
    cell = require_trace(trace, GRUTrace).cell
    _validate.cell_output_gradients(
        cell.gates, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}
    )
    dx, dw_ih, dw_hh, db_ih, db_hh, _, dh0 = _backward(trace, w_ih, w_hh, dy, (dh,), None)
    return GRUGrads(dx, dw_ih, dw_hh, db_ih, db_hh, dh0)


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
    peephole: str | None = None,
    coupled: bool = False,
    reverse: bool = False,
    training: bool = True,
) -> LSTMTrace | LSTMOutputs:
    cell = lstm_cell(peephole, coupled)
    _validate.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0, "c0": c0}, w_ch=w_ch, peephole=peephole,
    )  # fmt: skip
    run = _trace if training else _outputs
    return run(pack(cell, w_ih, w_hh, b, None, w_ch), x, (h0, c0), reverse)


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
) -> LSTMGrads:
    cell = require_trace(trace, LSTMTrace).cell
    _validate.cell_output_gradients(
        cell.gates, trace.x, trace.h, w_ih, w_hh, dy,
        dstates={"dh": dh, "dc": dc}, w_ch=w_ch, peephole=cell.peephole,
    )  # fmt: skip
    dx, dw_ih, dw_hh, db, _, dw_ch, dh0, dc0 = _backward(trace, w_ih, w_hh, dy, (dh, dc), w_ch)
    return LSTMGrads(dx, dw_ih, dw_hh, db, dh0, dc0, None if w_ch is None else dw_ch)
