"""The conversions of docs/layouts.md against the libraries that they are for."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pages import python_blocks

import rnncore as rc

T, B, I, H = 7, 3, 5, 4
CELLS = {"RNN": rc.RNN, "GRU": rc.GRU, "LSTM": rc.LSTM}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def page():
    """The names that the page's code defines."""
    names = {}
    for code in python_blocks("docs/layouts.md"):
        exec(code, names)
    return names


def draw(cell, rng, **options):
    """A layer all of whose parameters are random, and an x and y of it."""
    layer = CELLS[cell](I, H, **options)
    for a in layer.params.values():
        a[...] = rng.standard_normal(a.shape) / 2
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    return layer, x, *layer(x)


def same(layer, params):
    assert params.keys() == layer.params.keys()
    for name, a in layer.params.items():
        assert_array_equal(params[name], a, err_msg=name)


# PyTorch


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_torch(cell, bidirectional, page, rng):
    torch = pytest.importorskip("torch")
    options = {"num_layers": 2, "bidirectional": bidirectional}
    layer, x, y, _ = draw(cell, rng, **options)
    module = getattr(torch.nn, cell)(I, H, **options)
    page["to_torch"](layer, module)
    assert_allclose(module(torch.from_numpy(x))[0].detach().numpy(), y, **CLOSE)

    other = CELLS[cell](I, H, **options)
    page["from_torch"](other, module)
    same(layer, other.params)
    model = torch.nn.ModuleDict({"encoder": module, "head": torch.nn.Linear(H, 1)})
    other.load_params(page["part"](model.state_dict(), "encoder."))


# Keras


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def keras_rnn(x, weights, reset_after):
    """`SimpleRNNCell.call`, step by step; x (B, T, I)."""
    kernel, recurrent, bias = weights
    h, outputs = np.zeros((B, H)), []
    for t in range(T):
        h = np.tanh(x[:, t] @ kernel + bias + h @ recurrent)
        outputs.append(h)
    return np.stack(outputs, axis=1), h


def keras_gru(x, weights, reset_after):
    """`GRUCell.call`: gates z, r, h."""
    kernel, recurrent, bias = weights
    input_bias, recurrent_bias = bias if reset_after else (bias, np.zeros(3 * H))
    h, outputs = np.zeros((B, H)), []
    for t in range(T):
        x_z, x_r, x_h = np.split(x[:, t] @ kernel + input_bias, 3, axis=1)
        if reset_after:
            inner = h @ recurrent + recurrent_bias
            r = sigmoid(x_r + inner[:, H : 2 * H])
            inner_h = r * inner[:, 2 * H :]
        else:
            inner = h @ recurrent[:, : 2 * H]
            r = sigmoid(x_r + inner[:, H : 2 * H])
            inner_h = (r * h) @ recurrent[:, 2 * H :]
        z = sigmoid(x_z + inner[:, :H])
        h = z * h + (1 - z) * np.tanh(x_h + inner_h)
        outputs.append(h)
    return np.stack(outputs, axis=1), h


def keras_lstm(x, weights, reset_after):
    """`LSTMCell.call`: gates i, f, c, o."""
    kernel, recurrent, bias = weights
    h, c, outputs = np.zeros((B, H)), np.zeros((B, H)), []
    for t in range(T):
        z0, z1, z2, z3 = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(z1) * c + sigmoid(z0) * np.tanh(z2)
        h = sigmoid(z3) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h


TRANSCRIBED = {"RNN": keras_rnn, "GRU": keras_gru, "LSTM": keras_lstm}
VARIANTS = [("RNN", {}), ("GRU", {"reset": "after"}), ("GRU", {"reset": "before"}), ("LSTM", {})]


# Keras's own, where it makes an array of a tensor of PyTorch.
of_keras = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="Keras is not installed; its cells are transcribed")


def keras_layer(keras, cell, reset_after, **options):
    if cell == "GRU":
        options["reset_after"] = reset_after
    kind = getattr(keras.layers, "SimpleRNN" if cell == "RNN" else cell)
    return kind(H, return_sequences=True, **options)


@pytest.mark.parametrize(("cell", "options"), VARIANTS, ids=str)
def test_keras_transcribed(cell, options, page, rng):
    layer, x, y, state = draw(cell, rng, **options)
    reset_after = options.get("reset") == "after"
    weights = page["weights_for_keras"](cell, layer.params, reset_after=reset_after)
    found, h = TRANSCRIBED[cell](x.swapaxes(0, 1), weights, reset_after)
    assert_allclose(found.swapaxes(0, 1), y, **CLOSE)
    assert_allclose(h, state[0][0] if cell == "LSTM" else state[0], **CLOSE)

    other = CELLS[cell](I, H, **options)
    other.load_params(page["params_from_keras"](cell, weights))
    assert_allclose(other(x)[0], y, **CLOSE)


@of_keras
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("cell", "options"), VARIANTS, ids=str)
def test_keras(cell, options, bias, page, keras, rng):
    layer, x, y, _ = draw(cell, rng, bias=bias, **options)
    reset_after = options.get("reset") == "after"
    theirs = keras_layer(keras, cell, reset_after, use_bias=bias)
    theirs.build((None, None, I))
    weights = page["weights_for_keras"](cell, layer.params, reset_after=reset_after)
    theirs.set_weights(weights)
    found = keras.ops.convert_to_numpy(theirs(x.swapaxes(0, 1).copy()))
    assert_allclose(found.swapaxes(0, 1), y, **CLOSE)

    other = CELLS[cell](I, H, bias=bias, **options)
    other.load_params(page["params_from_keras"](cell, theirs.get_weights()))
    assert_allclose(other(x)[0], y, **CLOSE)


@of_keras
def test_keras_bidirectional(page, keras, rng):
    theirs = keras.layers.Bidirectional(keras.layers.LSTM(H, return_sequences=True))
    x = rng.standard_normal((B, T, I)).astype(np.float32)
    found = keras.ops.convert_to_numpy(theirs(x))
    layer = page["lstm_from_keras"](theirs, I, H)
    assert_allclose(layer(x)[0], found, **CLOSE)


# ONNX


def onnx_outputs(cell, x, arrays, attributes):
    """Y and Y_h (and Y_c) of a model of one node, as onnxruntime computes them."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    W, R, bias, P = arrays
    given = {"X": x, "W": W, "R": R, "B": bias, "P": P}
    names = ["X", "W", "R", "" if bias is None else "B", "", "", "", "" if P is None else "P"]
    if cell != "LSTM":
        names = names[:6]
    given = {name: a for name, a in given.items() if a is not None}
    outputs = ["Y", "Y_h", "Y_c"] if cell == "LSTM" else ["Y", "Y_h"]
    node = onnx.helper.make_node(cell, names, outputs, hidden_size=H, **attributes)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "one_node",
        [value(name, onnx.TensorProto.FLOAT, a.shape) for name, a in given.items()],
        [value(name, onnx.TensorProto.FLOAT, None) for name in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    model.ir_version = 9
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, given)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("cell", "options", "attributes"),
    [
        ("RNN", {}, {}),
        ("RNN", {"nonlinearity": "relu"}, {"activations": ["Relu"]}),
        ("GRU", {"reset": "after"}, {"linear_before_reset": 1}),
        ("GRU", {"reset": "before"}, {}),
        ("LSTM", {}, {}),
        ("LSTM", {"peephole": "current"}, {}),
        ("LSTM", {"coupled": True}, {"input_forget": 1}),
    ],
    ids=str,
)
def test_onnx(cell, options, attributes, bias, bidirectional, page, rng):
    options = {**options, "bias": bias, "bidirectional": bidirectional}
    layer, x, y, state = draw(cell, rng, **options)
    attributes = dict(attributes)
    if bidirectional:
        attributes["direction"] = "bidirectional"
        if "activations" in attributes:
            attributes["activations"] = 2 * attributes["activations"]
    arrays = page["arrays_for_onnx"](cell, layer.params)
    Y, *last = onnx_outputs(cell, x, arrays, attributes)
    assert_allclose(page["y_from_onnx"](Y), y, **CLOSE)
    for found, part in zip(last, state if cell == "LSTM" else (state,), strict=True):
        assert_allclose(found, part, **CLOSE)
    same(layer, page["params_from_onnx"](cell, *arrays))
