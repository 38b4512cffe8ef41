"""Passes of the compiled core: weights packed, memory allocated, the core called.

Nothing is checked here: `rnncore.functional` and the layers have done that.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.results import FloatArray
from rnncore._core import core
from rnncore._engine.traces import Cell, CoreTrace, Masks, Ragged, empty, padded, room_of

_NO_MASKS = Masks()

# The compiled function of a dtype: called by itself, it would look its arguments' dtypes up.
_INFER, _FORWARD, _BACKWARD = (
    {np.dtype(np.float32): function["float"], np.dtype(np.float64): function["double"]}
    for function in (core.infer, core.forward, core.backward)
)


# w_ih, w_hh, b_ih, b_hh, w_ch, w_hr; what there is not is None
Weights: TypeAlias = tuple[FloatArray | None, ...]


class PackedCell(NamedTuple):
    """A cell of given sizes with its weights, ready for forward passes."""

    cell: Cell
    shape: Any  # core.Shape
    weights: NDArray[np.uint8]


def _for_core(cell: Cell, weights: Weights) -> tuple[Any, ...]:
    """Weights as the core takes them: the vectors of a cell in a tuple."""
    w_ih, w_hh, b_ih, b_hh, w_ch, w_hr = weights
    return w_ih, w_hh, b_ih, b_hh, () if cell.peephole is None else (w_ch,), w_hr


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


def contiguous(weights: Weights) -> Weights:
    """Weights as the core reads them."""
    return tuple([_contiguous(each) for each in weights])


def pack(cell: Cell, weights: Weights) -> PackedCell:
    """The weights of a cell in the order in which its forward pass reads them."""
    weights = contiguous(weights)
    w_ih, w_hh = weights[:2]
    (GH, I), P = w_ih.shape, w_hh.shape[1]
    H = GH // cell.gates
    shape = core.Shape(cell.core, I, H, P, w_ih.itemsize)
    packed = empty(shape.packed_size, np.dtype(np.uint8))
    core.pack(shape, _for_core(cell, weights), packed)
    return PackedCell(cell, shape, packed)


# Forward


def infer(
    stack: tuple[PackedCell, ...],
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
        layers = tuple(
            [
                tuple(
                    [
                        (s, d == 1 or reverse, w)
                        for d, (_, s, w) in enumerate(stack[k : k + directions])
                    ]
                )
                for k in range(0, len(stack), directions)
            ]
        )
        table = None if batch is None else batch.table
        starts = tuple([_aligned(start) for start in starts])
        _INFER[x.dtype](layers, _with_rows(x), table, starts, y, ends)
    else:
        for start, end in zip(starts, ends, strict=True):
            end[...] = 0 if start is None else start


def _aligned(a: np.ndarray | None) -> np.ndarray | None:
    return a if a is None or a.flags.aligned else a.copy()


def trace(
    cell: Cell,
    weights: Weights,
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
    weights : contiguous
    x : (T, B, I), contiguous and the trace's own from now on
    starts : initial h and, with a memory, c, (B, P or H), or None for zeros
    y : (T, B, P), optional; outputs are written to it, up to the end of each row
    ends : like `starts`; final states are written to them
    window : the first step and the one after the last, of those to run and to keep; by default all
    """
    T, B, _ = x.shape
    P = weights[1].shape[1]
    H = len(weights[0]) // cell.gates
    first, last = (0, T) if window is None else window
    steps, dtype = last - first, x.dtype
    own = None
    if any(mask is not None for mask in masks):
        own = Masks(*(mask if mask is None else _read_only(mask) for mask in masks))
    shape = core.Shape(cell.core, x.shape[2], H, P, dtype.itemsize)
    memory = empty(
        room_of(cell, H, P, steps, B, dtype.itemsize, tuple([m is not None for m in masks])).size,
        dtype,
    )
    x.flags.writeable = False
    kept = cell.trace(cell, x, H, P, memory, own, reverse, batch, first, steps)
    count = len(shape.widths)
    if steps and B:
        _FORWARD[dtype](
            shape, _for_core(cell, weights), x, (reverse, _table(batch), first, steps),
            tuple([_aligned(start) for start in starts]), own and own[: 1 + count], memory, y,
            ends[:count],
        )  # fmt: skip
    else:  # neither steps nor rows: at most initial states, which are the final ones
        memory[:] = 0
        places = kept._room()
        for at, width, start, end in zip(
            (places.h, places.c)[:count], (P, H)[:count], starts, ends[:count], strict=True
        ):
            if start is not None:
                order = slice(None) if batch is None else batch.order
                kept._array(at, steps + 1, padded(width, dtype))[..., :width] = start[order]
            if end is not None:
                end[...] = 0 if start is None else start
    memory.flags.writeable = False
    return kept


def _read_only(mask: np.ndarray) -> np.ndarray:
    """`mask`, if nobody can change it and it is contiguous, or a copy."""
    if mask.flags.writeable or mask.base is not None or not mask.flags.c_contiguous:
        mask = np.array(mask, order="C")
        mask.flags.writeable = False
    return mask


def _table(batch: Ragged | None) -> NDArray[np.intp] | None:
    return None if batch is None else batch.table


def trace_bytes(
    cell: Cell, H: int, P: int, dtype: np.dtype, steps: int, B: int, masked: bool, zoned: bool
) -> int:
    """What a trace of some steps holds besides inputs and masks."""
    has_c = len(cell.outputs._fields) == 3
    masks = masked, zoned, zoned and has_c
    return room_of(cell, H, P, steps, B, dtype.itemsize, masks).size * dtype.itemsize


def window_begins(T: int, B: int, H: int, batch: Ragged | None) -> list[int]:
    """The steps at which a window of a trace may begin so that the gradients keep their bits."""
    return core.chunk_begins(T, B, H, None if batch is None else batch.alive)[::-1] or [0]


class StreamBuffers(NamedTuple):
    """What a stream holds of one layer: two states in turn, and the gates of a step."""

    shape: Any
    weights: NDArray[np.uint8]
    states: tuple[FloatArray, ...]  # (2, B, width)
    made: tuple[FloatArray | None, ...]  # (1, B, W), what a projection reads
    gates: FloatArray  # (1, B, slots * W)


def stream_buffers(packed: PackedCell, batch_size: int) -> StreamBuffers:
    cell, shape, weights = packed
    H, P = shape.H, shape.P
    dtype, B = np.dtype(f"f{shape.itemsize}"), batch_size
    W, PW = padded(H, dtype), padded(P, dtype)

    def room(count: int, width: int) -> FloatArray:
        rows = empty(count * B * width, dtype).reshape(count, B, width)
        rows[...] = 0
        return rows

    states = (room(2, PW), room(2, W))[: len(cell.outputs._fields) - 1]
    made = (room(1, W) if cell.projected else None, *(None,) * (len(states) - 1))
    return StreamBuffers(shape, weights, states, made, room(1, shape.slots * W))


# Backward


class Gradients(NamedTuple):
    """The gradients of the inputs and weights of a cell, as the core writes and adds to them."""

    x: FloatArray  # written
    w_ih: FloatArray  # added to, as all the others
    w_hh: FloatArray
    b_ih: FloatArray
    b_hh: FloatArray
    w_ch: FloatArray | None
    w_hr: FloatArray | None


def no_gradients(cell: Cell, x_shape: tuple[int, ...], ragged: bool, weights: Weights) -> Gradients:
    """Gradients to which nothing was added yet."""
    w_ih, w_hh, *_, w_hr = weights
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


def add_gradients(
    kept: CoreTrace,
    weights: Weights,
    dy: FloatArray | None,
    dends: tuple[FloatArray | None, ...],
    gradients: Gradients,
    flow: NDArray[np.float64] | None = None,
) -> tuple[FloatArray, ...]:
    """Run back through a trace and add to `gradients`; return those of the initial states.

    `weights` are contiguous; the biases are not read.
    """
    cell, dtype, B = kept.cell, kept.x.dtype, kept.x.shape[1]
    dstarts = tuple(np.empty((B, width), dtype) for width in (kept.P, kept.H)[: len(dends)])
    if kept.steps and B:
        squares = _doubles_in_place(flow)
        dx, *dparams = gradients
        shape = core.Shape(cell.core, dx.shape[2], kept.H, kept.P, dtype.itemsize)
        _BACKWARD[dtype](
            shape, _for_core(cell, weights), kept.x,
            (kept.reverse, _table(kept.ragged), kept.first, kept.steps),
            kept.masks and kept.masks[: 1 + len(dends)], kept.memory,
            (_with_rows(dy), *[_aligned(dend) for dend in dends]), squares,
            (dx, dstarts, _for_core(cell, tuple(dparams))),
        )  # fmt: skip
        if squares is not flow:
            flow[...] = squares
    else:
        for dstart, dend in zip(dstarts, dends, strict=True):
            dstart[...] = 0 if dend is None else dend
    return dstarts


def _doubles_in_place(flow: np.ndarray | None) -> np.ndarray | None:
    """`flow` if the core can step to each of its elements, or a copy."""
    if flow is None or (flow.flags.aligned and not any(s % flow.itemsize for s in flow.strides)):
        return flow
    return flow.copy()


def backward(
    kept: CoreTrace,
    weights: Weights,
    dy: FloatArray | None,
    dends: tuple[FloatArray | None, ...],
    flow: NDArray[np.float64] | None = None,
) -> tuple[Gradients, tuple[FloatArray, ...]]:
    """The gradients of inputs and weights, and those of the initial states."""
    if flow is not None:
        flow[...] = 0
    weights = contiguous(weights)
    gradients = no_gradients(kept.cell, kept.x.shape, kept.ragged is not None, weights)
    return gradients, add_gradients(kept, weights, dy, dends, gradients, flow)
