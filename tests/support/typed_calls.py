"""What each public call gives, asserted for mypy, which `tests/project/test_types.py` runs."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import rnncore as rc
from rnncore import functional, reference
from rnncore._cells.gru import GRUGrads
from rnncore._cells.indrnn import IndRNNGrads
from rnncore._cells.layer_norm_lstm import LayerNormLSTMGrads
from rnncore._cells.lstm import LSTMGrads
from rnncore._cells.results import GatedTrace, MemoryOutputs, MemoryTrace, Outputs, Trace
from rnncore._cells.rnn import RNNGrads
from rnncore.layers import results
from rnncore.layers.frozen import Frozen, Stream

Array = NDArray[Any]
Floats = NDArray[np.floating]
Pair = tuple[Array, Array]
Params = dict[str, Array]
Maybe = Floats | None


# Layers: the state of some is an array, that of the others the pair (h, c)


def layers_of_one_state(layer: rc.RNN | rc.GRU | rc.IndRNN, x: Array) -> None:
    assert_type(layer(x), tuple[Array, Array])
    y, h = layer(x, lengths=[1, 2])
    assert_type(y, Array)
    assert_type(h, Array)
    assert_type(layer(x, h), tuple[Array, Array])
    y, h, trace = layer.forward(x, h, lengths=None, training=True, memory_limit=None)
    assert_type(h, Array)
    assert_type(trace, results.Trace)
    grads = layer.backward(trace, y, h, flow=np.zeros((1, 1, 1, 1)))
    assert_type(grads, results.Grads[Array])
    assert_type(grads.x, Array)
    assert_type(grads.state, Array)
    assert_type(grads.params, Params)
    frozen = layer.freeze()
    assert_type(frozen, Frozen[Array])
    assert_type(frozen(x, h), tuple[Array, Array])
    stream = frozen.stream(batch_size=2)
    assert_type(stream, Stream[Array])
    assert_type(stream(x), Array)
    assert_type(stream(x, out=y), Array)
    assert_type(stream.state, Array)
    assert_type(stream.copy(), Stream[Array])
    stream.reset()
    stream.reset(h)


def layers_of_two_states(layer: rc.LSTM | rc.LayerNormLSTM, x: Array) -> None:
    assert_type(layer(x), tuple[Array, Pair])
    y, (h, c) = layer(x, lengths=np.array([1, 2]))
    assert_type(h, Array)
    assert_type(layer(x, (h, c)), tuple[Array, Pair])
    y, state, trace = layer.forward(x, (h, c), training=False)
    assert_type(y, Array)
    assert_type(state, Pair)
    assert_type(trace, results.Trace)
    grads = layer.backward(trace, None, (None, c))
    assert_type(grads, results.Grads[Pair])
    assert_type(grads.x, Array)
    assert_type(grads.state, Pair)
    assert_type(grads.params, Params)
    frozen = layer.freeze()
    assert_type(frozen, Frozen[Pair])
    assert_type(frozen(x, state), tuple[Array, Pair])
    stream = frozen.stream()
    assert_type(stream, Stream[Pair])
    assert_type(stream(x), Array)
    assert_type(stream.state, Pair)
    assert_type(stream.copy(), Stream[Pair])
    stream.reset(state)


def constructors() -> None:
    assert_type(rc.RNN(3, 4, nonlinearity="relu", bias=False).nonlinearity, str)
    assert_type(rc.GRU(3, 4, 2, reset="before", dropout=0.5).reset, str)
    lstm = rc.LSTM(3, 4, peephole="current", coupled=True, proj_size=2, dtype="float64", rng=0)
    assert_type(lstm.peephole, str | None)
    assert_type(lstm.coupled, bool)
    assert_type(lstm.proj_size, int)
    assert_type(rc.LSTM(3, 4, bias_init=("chrono", 9)).bias_init, str | tuple[str, int] | None)
    assert_type(rc.IndRNN(3, 4, activations=["relu"], clip=9.0).nonlinearity, str)
    assert_type(rc.LayerNormLSTM(3, 4, eps=1e-6, zoneout=0.1, batch_first=True).eps, float)


def what_layers_have(layer: rc.GRU | rc.LSTM) -> None:
    assert_type(layer.input_size, int)
    assert_type(layer.hidden_size, int)
    assert_type(layer.num_layers, int)
    assert_type(layer.num_directions, int)
    assert_type(layer.bias, bool)
    assert_type(layer.batch_first, bool)
    assert_type(layer.bidirectional, bool)
    assert_type(layer.dropout, float)
    assert_type(layer.recurrent_dropout, float)
    assert_type(layer.zoneout, float)
    assert_type(layer.clip, float | None)
    assert_type(layer.dtype, np.dtype[Any])
    assert_type(layer.params, Params)
    assert_type(layer.options, dict[str, Any])
    layer.load_params(layer.params)
    layer.save("layer.npz")


def frozen_layers(frozen: Frozen[Array], trace: results.Trace) -> None:
    assert_type(frozen.hidden_size, int)
    assert_type(frozen.dtype, np.dtype[Any])
    assert_type(trace.kind, str)
    assert_type(trace.shape, tuple[int, ...])
    assert_type(trace.nbytes, int)


# Cells


def cells_of_one_state(cell: rc.RNNCell | rc.GRUCell | rc.IndRNNCell, x: Array) -> None:
    assert_type(cell(x), Array)
    h = cell(x, cell(x))
    assert_type(cell.forward(x, h), tuple[Array, results.Trace])
    h, trace = cell.forward(x, training=True)
    grads = cell.backward(trace, h)
    assert_type(grads, results.Grads[Array])
    assert_type(grads.state, Array)


def cells_of_two_states(cell: rc.LSTMCell | rc.LayerNormLSTMCell, x: Array) -> None:
    assert_type(cell(x), Pair)
    h, c = cell(x, cell(x))
    assert_type(h, Array)
    assert_type(cell.forward(x, (h, c)), tuple[Pair, results.Trace])
    state, trace = cell.forward(x)
    assert_type(cell.backward(trace, state), results.Grads[Pair])
    grads = cell.backward(trace, (h, None))
    assert_type(grads, results.Grads[Pair])
    assert_type(grads.state, Pair)


def what_cells_have() -> None:
    assert_type(rc.RNNCell(3, 4, nonlinearity="relu").nonlinearity, str)
    assert_type(rc.GRUCell(3, 4, reset="before").reset, str)
    lstm = rc.LSTMCell(3, 4, peephole="current", coupled=True, proj_size=2, bias_init=("chrono", 9))
    assert_type(lstm.peephole, str | None)
    assert_type(lstm.coupled, bool)
    assert_type(lstm.proj_size, int)
    assert_type(rc.IndRNNCell(3, 4, bias=False).nonlinearity, str)
    cell = rc.LayerNormLSTMCell(3, 4, eps=1e-6, dtype=np.float64, rng=0)
    assert_type(cell.eps, float)
    assert_type(cell.input_size, int)
    assert_type(cell.hidden_size, int)
    assert_type(cell.bias, bool)
    assert_type(cell.recurrent_dropout, float)
    assert_type(cell.zoneout, float)
    assert_type(cell.clip, float | None)
    assert_type(cell.dtype, np.dtype[Any])
    assert_type(cell.params, Params)
    cell.load_params(cell.params)


# The functional core and its twin: the same functions with the same types


def rnn(x: Floats, w: Floats, training: bool) -> None:
    trace = functional.rnn_forward(x, w, w, b=w, h0=w, nonlinearity="relu")
    assert_type(trace, Trace)
    assert_type(trace.x, Floats)
    assert_type(trace.y, Floats)
    assert_type(trace.h, Floats)
    assert_type(trace.h_n, Floats)
    assert_type(trace.lengths, NDArray[np.intp] | None)
    assert_type(trace.reverse, bool)
    outputs = functional.rnn_forward(x, w, w, training=False, lengths=[1], reverse=True)
    assert_type(outputs, Outputs)
    assert_type(outputs.y, Floats)
    assert_type(outputs.h_n, Floats)
    assert_type(functional.rnn_forward(x, w, w, training=training), Trace | Outputs)
    assert_type(functional.rnn_backward(trace, w, w, dy=x, dh=w), RNNGrads)
    assert_type(reference.rnn_forward(x, w, w, activations=[("elu", 0.5)], clip=9.0), Trace)
    assert_type(reference.rnn_forward(x, w, w, training=False), Outputs)
    assert_type(reference.rnn_forward(x, w, w, training=training), Trace | Outputs)
    grads = reference.rnn_backward(trace, w, w, dh=w, flow=np.zeros((1, 1, 1)))
    assert_type(grads, RNNGrads)
    assert_type(grads.w_ih, Floats)


def gru(x: Floats, w: Floats, training: bool) -> None:
    trace = functional.gru_forward(x, w, w, w, w, w, reset="before", h_mask=w, keep_h=x)
    assert_type(trace, GatedTrace)
    assert_type(trace.h, Floats)
    assert_type(trace.gates, Floats)
    assert_type(functional.gru_forward(x, w, w, training=False), Outputs)
    assert_type(functional.gru_forward(x, w, w, training=training), GatedTrace | Outputs)
    assert_type(functional.gru_backward(trace, w, w, x), GRUGrads)
    assert_type(reference.gru_forward(x, w, w, training=True), GatedTrace)
    assert_type(reference.gru_forward(x, w, w, training=False), Outputs)
    assert_type(reference.gru_forward(x, w, w, training=training), GatedTrace | Outputs)
    assert_type(reference.gru_backward(trace, w, w, x), GRUGrads)


def indrnn(x: Floats, w: Floats, training: bool) -> None:
    trace = functional.indrnn_forward(x, w, w, nonlinearity="tanh")
    assert_type(trace, Trace)
    assert_type(functional.indrnn_forward(x, w, w, training=False), Outputs)
    assert_type(functional.indrnn_forward(x, w, w, training=training), Trace | Outputs)
    assert_type(functional.indrnn_backward(trace, w, w, dh=w), IndRNNGrads)
    assert_type(reference.indrnn_forward(x, w, w), Trace)
    assert_type(reference.indrnn_forward(x, w, w, training=False), Outputs)
    assert_type(reference.indrnn_forward(x, w, w, training=training), Trace | Outputs)
    assert_type(reference.indrnn_backward(trace, w, w, dh=w), IndRNNGrads)


def lstm(x: Floats, w: Floats, training: bool) -> None:
    trace = functional.lstm_forward(
        x, w, w, w, w, c0=w, w_ch=w, w_hr=w, peephole="current", coupled=True, keep_c=x
    )
    assert_type(trace, MemoryTrace)
    assert_type(trace.gates, Floats)
    assert_type(trace.c, Floats)
    assert_type(trace.c_n, Floats)
    outputs = functional.lstm_forward(x, w, w, training=False)
    assert_type(outputs, MemoryOutputs)
    assert_type(outputs.c_n, Floats)
    either = functional.lstm_forward(x, w, w, training=training)
    assert_type(either, MemoryTrace | MemoryOutputs)
    grads = functional.lstm_backward(trace, w, w, dh=w, dc=w, w_ch=w, w_hr=w)
    assert_type(grads, LSTMGrads)
    assert_type(grads.c0, Floats)
    assert_type(grads.w_hr, Floats | None)
    assert_type(reference.lstm_forward(x, w, w), MemoryTrace)
    assert_type(reference.lstm_forward(x, w, w, training=False), MemoryOutputs)
    either = reference.lstm_forward(x, w, w, training=training)
    assert_type(either, MemoryTrace | MemoryOutputs)
    assert_type(reference.lstm_backward(trace, w, w, dc=w), LSTMGrads)


def layer_norm_lstm(x: Floats, w: Floats, training: bool) -> None:
    trace = functional.layer_norm_lstm_forward(x, w, w, w, w, w, b_ih=w, c0=w, eps=1e-6)
    assert_type(trace, MemoryTrace)
    outputs = functional.layer_norm_lstm_forward(x, w, w, w, w, w, training=False)
    assert_type(outputs, MemoryOutputs)
    either = functional.layer_norm_lstm_forward(x, w, w, w, w, w, training=training)
    assert_type(either, MemoryTrace | MemoryOutputs)
    grads = functional.layer_norm_lstm_backward(trace, w, w, w, w, w, dy=x)
    assert_type(grads, LayerNormLSTMGrads)
    assert_type(reference.layer_norm_lstm_forward(x, w, w, w, w, w), MemoryTrace)
    outputs = reference.layer_norm_lstm_forward(x, w, w, w, w, w, training=False)
    assert_type(outputs, MemoryOutputs)
    either = reference.layer_norm_lstm_forward(x, w, w, w, w, w, training=training)
    assert_type(either, MemoryTrace | MemoryOutputs)
    grads = reference.layer_norm_lstm_backward(trace, w, w, w, w, w, dy=x)
    assert_type(grads, LayerNormLSTMGrads)


def keeping(layer: rc.LSTM) -> None:
    layer.save(io.BytesIO())
    loaded: object = rc.load("layer.npz")  # only the file tells whether of a layer or a model
    if isinstance(loaded, rc.LSTM):
        assert_type(loaded, rc.LSTM)


def running() -> None:
    assert_type(rc.get_num_threads(), int)
    rc.set_num_threads(2)
    with rc.num_threads(1):
        pass
    rc.show_config()
    assert_type(rc.show_config("dicts"), dict[str, str])
    assert_type(rc.__version__, str)
