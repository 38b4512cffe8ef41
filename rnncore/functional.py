"""The functional core, compiled: one layer, one direction, forward and backward.

The functions and their signatures are those of `rnncore.reference`, which says in NumPy what they
compute. Here arguments are checked, and the passes of the compiled core run.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from rnncore import reference
from rnncore._cells import arguments
from rnncore._cells.arguments import Inputs
from rnncore._cells.kind import CellKind
from rnncore._cells.results import MemoryOutputs, Outputs, outputs, require_trace
from rnncore._cells.table import CELLS
from rnncore._core import core
from rnncore._engine import passes
from rnncore._engine.batch import Masks, Ragged, ragged
from rnncore._engine.cells import CoreCell, Weights, cell_of
from rnncore._engine.passes import Run, StackRun
from rnncore._engine.traces import CoreTrace
from rnncore._engine.weights import by_argument, of_arguments

Function = TypeVar("Function", bound=Callable[..., Any])


def _forward(kind: CellKind, twin: Function) -> Function:
    """The forward function of a cell, with the signature and the docstring of its twin."""
    bind = _binder(twin)

    @wraps(twin)
    def forward(*args: Any, **kwargs: Any) -> Any:
        given = arguments.inputs(kind, bind(args, kwargs))
        T, B, I = given.x.shape
        cell = cell_of(kind, given.options, I, given.H, given.P, given.x.dtype)
        batch = None if given.lengths is None else ragged(given.lengths, T, B)
        weights = of_arguments(kind, given.weights)
        if given.training:
            return passes.trace(_run(cell, weights, given, batch), given.starts)
        return _outputs(cell, weights, given, batch)

    forward.__module__ = __name__
    return forward  # type: ignore[return-value]


def _run(cell: CoreCell, weights: Weights, given: Inputs, batch: Ragged | None) -> Run:
    x, masks = np.array(given.x, order="C"), Masks(given.h_mask, given.keeps)
    return Run(cell, weights, x, given.reverse, batch, masks)


def _outputs(
    cell: CoreCell, weights: Weights, given: Inputs, batch: Ragged | None
) -> Outputs | MemoryOutputs:
    """Of a pass whose trace nobody wants."""
    T, B, _ = given.x.shape
    y = (np.empty if batch is None else np.zeros)((T, B, cell.P), cell.dtype)
    ends = tuple([np.empty((1, B, width), cell.dtype) for width in cell.widths])
    final = tuple([end[0] for end in ends])
    if Masks(given.h_mask, given.keeps).arrays:
        passes.trace(_run(cell, weights, given, batch), given.starts, y, final)
    else:
        stack = core.Stack((((cell.shape, given.reverse),),))
        first = tuple([None if start is None else start[np.newaxis] for start in given.starts])
        passes.infer(StackRun(stack, (weights,), given.x, first, y, ends, batch))
    return outputs(y, final)


def _backward(kind: CellKind, twin: Function) -> Function:
    """The backward function of a cell, likewise."""
    bind = _binder(twin)

    @wraps(twin)
    def backward(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        trace = given["trace"]
        require_trace(trace, CoreTrace, kind)
        weights, dy, dends, flow = arguments.arriving(trace, given)
        arriving = passes.arriving(dy, dends, flow)
        d, dstarts = passes.one_backward(trace, of_arguments(kind, weights), arriving)
        arriving.give_flow(flow)
        grads = {f"{part}0": dstart for part, dstart in zip(kind.parts, dstarts, strict=True)}
        return kind.grads(x=d.x, **grads, **by_argument(kind, d.weights[0]))

    backward.__module__ = __name__
    return backward  # type: ignore[return-value]


def _binder(twin: Callable[..., Any]) -> Callable[[Any, Any], dict[str, Any]]:
    """Arguments by their names: a tenth of the time of `inspect.Signature.bind`."""
    signature = inspect.signature(twin)
    every = signature.parameters.keys()
    positional = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    defaults = {
        p.name: p.default for p in signature.parameters.values() if p.default is not p.empty
    }

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = {**defaults, **dict(zip(positional, args, strict=False)), **kwargs}
        twice = kwargs.keys() & positional[: len(args)]
        if len(args) > len(positional) or twice or given.keys() != every:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{twin.__name__}(): {error}") from None
        return given

    return bind


rnn_forward = _forward(CELLS["RNN"], reference.rnn_forward)
rnn_backward = _backward(CELLS["RNN"], reference.rnn_backward)
gru_forward = _forward(CELLS["GRU"], reference.gru_forward)
gru_backward = _backward(CELLS["GRU"], reference.gru_backward)
lstm_forward = _forward(CELLS["LSTM"], reference.lstm_forward)
lstm_backward = _backward(CELLS["LSTM"], reference.lstm_backward)
indrnn_forward = _forward(CELLS["IndRNN"], reference.indrnn_forward)
indrnn_backward = _backward(CELLS["IndRNN"], reference.indrnn_backward)
layer_norm_lstm_forward = _forward(CELLS["LayerNormLSTM"], reference.layer_norm_lstm_forward)
layer_norm_lstm_backward = _backward(CELLS["LayerNormLSTM"], reference.layer_norm_lstm_backward)

__all__ = [
    "gru_backward",
    "gru_forward",
    "indrnn_backward",
    "indrnn_forward",
    "layer_norm_lstm_backward",
    "layer_norm_lstm_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]
