"""The conversions of docs/layouts.md against the libraries that they are for."""

import io
import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pages import ROOT, python_blocks

import rnncore as rc
from rnncore._cells.activations import FUNCTIONS
from rnncore.convert.layouts import LAYOUTS, hard_sigmoid, table

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


def test_the_table_is_that_of_the_package():
    assert table() in (ROOT / "docs/layouts.md").read_text("utf-8")


def test_the_letters_are_those_of_the_cells():
    for cell, layer in CELLS.items():
        gates = LAYOUTS["rnncore"].gates[cell]
        assert gates == (layer._kind.gates if cell != "RNN" else "h")
        for row in LAYOUTS.values():
            assert sorted(row.gates[cell]) == sorted(gates)
    assert hard_sigmoid("rnncore")[1:] == FUNCTIONS["HardSigmoid"].defaults


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


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
def test_torch_projected(page, rng):
    torch = pytest.importorskip("torch")
    layer, x, y, _ = draw("LSTM", rng, proj_size=2)
    module = torch.nn.LSTM(I, H, proj_size=2)
    page["to_torch"](layer, module)
    assert_allclose(module(torch.from_numpy(x))[0].detach().numpy(), y, **CLOSE)

    other = rc.LSTM(I, H, proj_size=2)
    page["from_torch"](other, module)
    same(layer, other.params)


def test_hard_sigmoid_of_torch(page):
    torch = pytest.importorskip("torch")
    x = np.linspace(-4, 4, 9)
    found = torch.nn.functional.hardsigmoid(torch.from_numpy(x)).numpy()
    _, alpha, beta = page["HARD_SIGMOID"]
    assert_allclose(found, np.clip(alpha * x + beta, 0, 1), rtol=1e-12)


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
    weights = page["to_keras"](cell, layer.params, reset_after=reset_after)
    found, h = TRANSCRIBED[cell](x.swapaxes(0, 1), weights, reset_after)
    assert_allclose(found.swapaxes(0, 1), y, **CLOSE)
    assert_allclose(h, state[0][0] if cell == "LSTM" else state[0], **CLOSE)

    other = CELLS[cell](I, H, **options)
    other.load_params(page["from_keras"](cell, weights))
    assert_allclose(other(x)[0], y, **CLOSE)


@of_keras
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("cell", "options"), VARIANTS, ids=str)
def test_keras(cell, options, bias, page, keras, rng):
    layer, x, y, _ = draw(cell, rng, bias=bias, **options)
    reset_after = options.get("reset") == "after"
    theirs = keras_layer(keras, cell, reset_after, use_bias=bias)
    theirs.build((None, None, I))
    weights = page["to_keras"](cell, layer.params, reset_after=reset_after)
    theirs.set_weights(weights)
    found = keras.ops.convert_to_numpy(theirs(x.swapaxes(0, 1).copy()))
    assert_allclose(found.swapaxes(0, 1), y, **CLOSE)

    other = CELLS[cell](I, H, bias=bias, **options)
    other.load_params(page["from_keras"](cell, theirs.get_weights()))
    assert_allclose(other(x)[0], y, **CLOSE)


@of_keras
def test_keras_bidirectional(page, keras, rng):
    theirs = keras.layers.Bidirectional(keras.layers.LSTM(H, return_sequences=True))
    x = rng.standard_normal((B, T, I)).astype(np.float32)
    found = keras.ops.convert_to_numpy(theirs(x))
    layer = page["lstm_from_keras"](theirs, I, H)
    assert_allclose(layer(x)[0], found, **CLOSE)


@of_keras
@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_keras_hard_sigmoid(cell, page, keras, rng):
    activations = [page["HARD_SIGMOID"], "tanh", "tanh"][: 3 if cell == "LSTM" else 2]
    layer, x, y, _ = draw(cell, rng, activations=activations)
    theirs = keras_layer(keras, cell, True, recurrent_activation="hard_sigmoid")
    theirs.build((None, None, I))
    theirs.set_weights(page["to_keras"](cell, layer.params))
    found = keras.ops.convert_to_numpy(theirs(x.swapaxes(0, 1).copy())).swapaxes(0, 1)
    assert_allclose(found, y, **CLOSE)

    of_onnx = CELLS[cell](I, H, activations=["hardsigmoid", *activations[1:]])
    of_onnx.load_params(layer.params)
    assert np.abs(of_onnx(x)[0] - y).max() > 0.01


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


HARD_TANH_TANH = {"activations": ["HardSigmoid", "Tanh", "Tanh"]}
HARD_SIGMOIDS = [
    ("LSTM", {"activations": ["hardsigmoid", "tanh", "tanh"]}, HARD_TANH_TANH),
    (
        "LSTM",
        {"activations": [("hardsigmoid", 1 / 6), "tanh", "tanh"]},
        {**HARD_TANH_TANH, "activation_alpha": [1 / 6]},
    ),
]


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
        *HARD_SIGMOIDS,
    ],
    ids=str,
)
def test_onnx(cell, options, attributes, bias, bidirectional, page, rng):
    options = {**options, "bias": bias, "bidirectional": bidirectional}
    layer, x, y, state = draw(cell, rng, **options)
    attributes = dict(attributes)
    if bidirectional:
        attributes["direction"] = "bidirectional"
        for name in attributes.keys() & {"activations", "activation_alpha"}:
            attributes[name] = 2 * attributes[name]
    arrays = page["to_onnx"](cell, layer.params)
    Y, *last = onnx_outputs(cell, x, arrays, attributes)
    assert_allclose(page["y_from_onnx"](Y), y, **CLOSE)
    for found, part in zip(last, state if cell == "LSTM" else (state,), strict=True):
        assert_allclose(found, part, **CLOSE)
    same(layer, page["from_onnx"](cell, *arrays))


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.filterwarnings("ignore")  # of the exporter
def test_onnx_as_torch_exports_it(cell, bidirectional, folded, page, rng):
    """A stack whose W, R and B are initialisers, or outputs of Slice, Concat and Unsqueeze."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    options = {"num_layers": 2, "bidirectional": bidirectional}
    layer, x, _, _ = draw(cell, rng, **options)
    module = getattr(torch.nn, cell)(I, H, **options)
    page["to_torch"](layer, module)
    file = io.BytesIO()
    torch.onnx.export(
        module, (torch.from_numpy(x),), file, dynamo=False, do_constant_folding=folded
    )
    model = onnx.load_from_string(file.getvalue())
    nodes = [node for node in model.graph.node if node.op_type == cell]
    initialisers = {a.name for a in model.graph.initializer}
    assert folded == all(set(node.input[1:4]) <= initialisers for node in nodes)

    constants = page["constants_from_onnx"](model)
    params = {}
    for k, node in enumerate(nodes):
        arrays = page["arrays_from_onnx"](constants, node)
        params |= page["from_onnx"](cell, *arrays, layer=f"_l{k}")
    same(layer, params)


@pytest.mark.parametrize("peephole", [None, "current"])
@pytest.mark.parametrize("bias", [False, True])
def test_onnx_computed_before_a_node(bias, peephole, page, rng):
    """W, R, B and P cut from one array by Slice, with a Reshape; X is an input of the model."""
    onnx = pytest.importorskip("onnx")
    layer, *_ = draw("LSTM", rng, bias=bias, peephole=peephole)
    arrays = dict(zip("WRBP", page["to_onnx"]("LSTM", layer.params), strict=True))
    arrays = {name: a for name, a in arrays.items() if a is not None}
    make, of_array = onnx.helper.make_node, onnx.numpy_helper.from_array
    stored = [of_array(np.concatenate([a.ravel() for a in arrays.values()]), "all")]
    nodes, start = [], 0
    for name, a in arrays.items():
        ends = {"start": [start], "stop": [start + a.size], "shape": a.shape}
        stored += [of_array(np.array(value, np.int64), name + end) for end, value in ends.items()]
        nodes.append(make("Slice", ["all", name + "start", name + "stop"], [name + "flat"]))
        nodes.append(make("Reshape", [name + "flat", name + "shape"], [name]))
        start += a.size
    given = [name if name in arrays else "" for name in "WRB"]
    given += ["", "", "", "P"] if peephole else []
    nodes.append(make("LSTM", ["X", *given], ["Y"], hidden_size=H))
    value = onnx.helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    ends = [value("X", float32, (T, B, I))], [value("Y", float32, (T, 1, B, H))]
    graph = onnx.helper.make_graph(nodes, "computed", *ends, stored)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    onnx.checker.check_model(model)

    constants = page["constants_from_onnx"](model)
    assert "Y" not in constants
    found = page["arrays_from_onnx"](constants, nodes[-1])
    same(layer, page["from_onnx"]("LSTM", *found))
