"""The functional core, compiled: one layer, one direction, forward and backward.

The functions and their signatures are those of `rnncore.reference`, which says in NumPy what they
compute. Here arguments are checked, and the passes of the compiled core run.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnncore import _check, reference
from rnncore._cells.results import (
    FloatArray,
    GRUGrads,
    GRUOutputs,
    LSTMGrads,
    LSTMOutputs,
    RNNGrads,
    RNNOutputs,
    require_trace,
)
from rnncore._engine.core_cells import gru_cell, lstm_cell, rnn_cell
from rnncore._engine.passes import backward, contiguous, infer, pack, trace
from rnncore._engine.traces import Cell, GRUTrace, LSTMTrace, Masks, RNNTrace, ragged

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]


def _run(cell: Cell, weights, x, starts, reverse: bool, batch, masks: Masks, training: bool):
    """The trace of a pass, or not training its y and final states."""
    if training:
        own = np.array(x, order="C")
        return trace(cell, contiguous(weights), own, starts, reverse, batch, masks)
    T, B, _ = x.shape
    packed = pack(cell, weights)
    shape = packed.shape
    y = (np.empty if batch is None else np.zeros)((T, B, shape.P), x.dtype)
    ends = tuple(np.empty((1, B, width), x.dtype) for width in shape.widths)
    final = tuple(end[0] for end in ends)
    if all(mask is None for mask in masks):
        starts = tuple(None if start is None else start[np.newaxis] for start in starts)
        infer((packed,), 1, x, starts, y, ends, reverse, batch)
    else:
        own = np.array(x, order="C")
        trace(cell, contiguous(weights), own, starts, reverse, batch, masks, y, final)
    return cell.outputs(y, *final)


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
    _check.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0}, h_mask=h_mask, keeps={"keep_h": keep_h},
        reverse=reverse, training=training,
    )  # fmt: skip
    batch = ragged(lengths, *x.shape[:2])
    weights = (w_ih, w_hh, b, None, None, None)
    return _run(cell, weights, x, (h0,), reverse, batch, Masks(h_mask, keep_h), training)


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
    _check.cell_output_gradients(1, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}, flow=flow)
    weights = (w_ih, w_hh, None, None, None, None)
    d, (dh0,) = backward(trace, weights, dy, (dh,), flow)
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
    _check.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b_ih": b_ih, "b_hh": b_hh}, states={"h0": h0},
        h_mask=h_mask, keeps={"keep_h": keep_h}, reverse=reverse, training=training,
    )  # fmt: skip
    batch = ragged(lengths, *x.shape[:2])
    weights = (w_ih, w_hh, b_ih, b_hh, None, None)
    return _run(cell, weights, x, (h0,), reverse, batch, Masks(h_mask, keep_h), training)


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
    _check.cell_output_gradients(3, trace.x, trace.h, w_ih, w_hh, dy, dstates={"dh": dh}, flow=flow)
    weights = (w_ih, w_hh, None, None, None, None)
    d, (dh0,) = backward(trace, weights, dy, (dh,), flow)
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
    _check.cell_inputs(
        cell.gates, x, w_ih, w_hh,
        biases={"b": b}, states={"h0": h0, "c0": c0}, w_ch=w_ch, peephole=peephole,
        w_hr=w_hr, h_mask=h_mask, keeps={"keep_h": keep_h, "keep_c": keep_c},
        reverse=reverse, training=training,
    )  # fmt: skip
    batch = ragged(lengths, *x.shape[:2])
    weights = (w_ih, w_hh, b, None, w_ch, w_hr)
    masks = Masks(h_mask, keep_h, keep_c)
    return _run(cell, weights, x, (h0, c0), reverse, batch, masks, training)


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
    _check.cell_output_gradients(
        4, trace.x, trace.h, w_ih, w_hh, dy,
        dstates={"dh": dh, "dc": dc}, w_ch=w_ch, peephole=cell.peephole, w_hr=w_hr,
        projected=cell.projected, units=trace.H, flow=flow,
    )  # fmt: skip
    weights = (w_ih, w_hh, None, None, w_ch, w_hr)
    d, (dh0, dc0) = backward(trace, weights, dy, (dh, dc), flow)
    return LSTMGrads(d.x, d.w_ih, d.w_hh, d.b_ih, dh0, dc0, d.w_ch, d.w_hr)
