"""Graphs as chains of layers: PyTorch's exporters, graphs by hand, and what is no chain."""

import contextlib
import io
import itertools
import logging
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx
from onnx import TensorProto, helper
from onnx_graphs import graph, gru_nodes, node
from onnx_replay import replay

import rnncore as rc
from rnncore.convert.from_onnx import from_onnx
from rnncore.models.linear import Linear
from rnncore.models.sequential import Sequential
from rnncore.onnx import Session, export

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def exported(module, x, *, dynamo=False, **options):
    """The file that PyTorch writes of a module; the first two axes of x may have any size."""
    torch_, file = torch(), io.BytesIO()
    silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), silence[0], silence[1]:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            if dynamo:
                dim = torch_.export.Dim
                shapes = ({0: dim("a", min=1, max=999), 1: dim("b", min=1, max=999)},)
                program = torch_.onnx.export(
                    module.eval(),
                    (x,),
                    dynamo=True,
                    dynamic_shapes=shapes,
                    verbose=False,
                    **options,
                )
                return program.model_proto
            torch_.onnx.export(
                module.eval(), (x,), file, dynamo=False, input_names=["x"],
                dynamic_axes={"x": {0: "a", 1: "b"}}, **options,
            )  # fmt: skip
        finally:
            logging.disable(logging.NOTSET)
    return onnx.load_from_string(file.getvalue())


def module_of(rnn, after):
    """A recurrent layer, and what is done with its outputs."""
    nn = torch().nn

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = rnn

        def forward(self, x):
            y, state = self.rnn(x)
            h = state[0] if isinstance(state, tuple) else state
            return {
                "all": lambda: y,
                "last": lambda: y[:, -1] if rnn.batch_first else y[-1],
                "h": lambda: h[-1],
                "mean": lambda: y.mean(1 if rnn.batch_first else 0),
                "states": lambda: (y, state),
            }[after]()

    return Module()


def compare(model, module, x, session=True):
    with torch().no_grad():
        expected = module(x)
    expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
    found = [from_onnx(model)(x.numpy())[0]]
    if session:
        found.append(Session(model).run(None, {model.graph.input[0].name: x.numpy()})[0])
    for y in found:
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6)


OF_TORCH = [
    (cell, layers, both, first, bias, after)
    for cell, layers, both, first, (bias, after) in itertools.product(
        ("LSTM", "GRU", "RNN"), (1, 2), (False, True), (False, True),
        ((True, "all"), (False, "all"), (True, "last"), (True, "h"), (True, "mean")),
    )
    if not (both and after == "h") and not (layers == 2 and not bias)
]  # fmt: skip


@pytest.mark.parametrize(("cell", "layers", "both", "first", "bias", "after"), OF_TORCH)
@pytest.mark.parametrize("fold", [True, False], ids=["folded", "not folded"])
def test_the_older_exporter(cell, layers, both, first, bias, after, fold):
    if not fold and (after != "all" or first):
        return  # the constants are the same
    nn = torch().nn
    torch().manual_seed(0)
    rnn = getattr(nn, cell)(3, 4, layers, bidirectional=both, batch_first=first, bias=bias)
    module = module_of(rnn, after)
    model = exported(module, torch().randn(2, 5, 3), do_constant_folding=fold)
    compare(model, module, torch().randn(7, 3, 3))
    layer = from_onnx(model)[0]
    assert layer.num_layers == layers
    assert from_onnx(model).batch_first is first
    for name, value in rnn.state_dict().items():
        np.testing.assert_array_equal(layer.params[name], value.numpy())


@pytest.mark.parametrize(
    ("cell", "layers", "both", "first"),
    [
        ("LSTM", 1, False, False),
        ("LSTM", 2, True, True),
        ("GRU", 1, False, True),
        ("GRU", 2, True, False),
    ],
)
def test_the_newer_exporter(cell, layers, both, first):
    """Its file may name a number of steps, to which a session holds itself; a chain need not."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    torch().manual_seed(0)
    rnn = getattr(torch().nn, cell)(3, 4, layers, bidirectional=both, batch_first=first)
    module = module_of(rnn, "all")
    model = exported(module, torch().randn(2, 5, 3), dynamo=True)
    compare(model, module, torch().randn(7, 3, 3), session=False)
    compare(model, module, torch().randn(2, 5, 3))


def test_whole_modules(rng):
    nn = torch().nn

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(9, 6)
            self.rnn = nn.GRU(6, 4, 2, batch_first=True, bidirectional=True)
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x):
            y = self.norm(self.rnn(self.embed(x))[0])
            return torch().log_softmax(self.head(nn.functional.gelu(y)), -1)

    class Convolutional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv1d(3, 5, 3, padding=1), nn.BatchNorm1d(5)
            self.rnn, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            y = nn.functional.silu(self.norm(self.conv(x.transpose(1, 2))))
            y = nn.functional.max_pool1d(y, 2).transpose(1, 2)
            return torch().sigmoid(self.head(self.rnn(y)[0][:, -1]))

    torch().manual_seed(0)
    for module, make in (
        (Tagger(), lambda a, b: torch().randint(0, 9, (a, b))),
        (Convolutional(), lambda a, b: torch().randn(a, b, 3)),
    ):
        module.eval()
        for opset in (12, 17):
            model = exported(module, make(2, 6), opset_version=opset)
            compare(model, module, make(3, 9))


def test_states_are_inputs_and_outputs():
    nn = torch().nn

    class Streaming(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4, 2)

        def forward(self, x, h, c):
            y, (h, c) = self.rnn(x, (h, c))
            return y, h, c

    module, file = Streaming().eval(), io.BytesIO()
    x, h, c = torch().randn(5, 2, 3), torch().randn(2, 2, 4), torch().randn(2, 2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch().onnx.export(
            module, (x, h, c), file, dynamo=False, input_names=["x", "h", "c"],
            dynamic_axes={"x": {0: "T"}},
        )  # fmt: skip
    model = onnx.load_from_string(file.getvalue())
    x = torch().randn(7, 2, 3)
    with torch().no_grad():
        expected = [a.numpy() for a in module(x, h, c)]
    y, ((hn, cn),) = from_onnx(model)(x.numpy(), ((h.numpy(), c.numpy()),))
    feeds = {"x": x.numpy(), "h": h.numpy(), "c": c.numpy()}
    for found in ([y, hn, cn], Session(model).run(None, feeds)):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


# By hand


@pytest.mark.parametrize(
    ("before", "after", "constants", "kinds"),
    [
        ([node("Sub", "x mean", "c"), node("Div", "c scale", "in")], [node("Relu", "g", "y")],
         {"mean": np.array([1, 2, 3], "f"), "scale": np.float32([2, 3, 4])},
         ["BatchNorm", "BatchNorm", "GRU", "Activation"]),
        ([node("Mul", "x two", "in")], [node("Add", "two g", "y")], {"two": np.float32(2)},
         ["Activation", "GRU", "Activation"]),
        ([node("Identity", "x", "in")], [node("Gather", "g last", "t", axis=0),
          node("Gemm", "t w b", "y", transB=1)],
         {"last": np.array(-1), "w": np.ones((2, 4), "f"), "b": np.zeros((1, 2), "f")},
         ["GRU", "Pool", "Linear"]),
        ([node("Identity", "x", "in")], [node("MatMul", "g w", "t"), node("Softmax", "t", "y")],
         {"w": np.ones((4, 2), "f")}, ["GRU", "Linear", "Activation"]),
        ([node("Identity", "x", "in")], [node("MatMul", "g w", "t"), node("Tanh", "t", "u"),
          node("Add", "u g", "y")],
         {"w": np.ones((4, 4), "f")}, ["GRU", "Residual"]),
        ([node("Cast", "x", "in", to=1)], [node("ReduceMean", "g", "y", axes=[0], keepdims=0)], {},
         ["GRU", "Pool"]),
    ],
)  # fmt: skip
def test_chains_by_hand(before, after, constants, kinds, rng):
    nodes, weights = gru_nodes(rng, linear_before_reset=1)
    model = graph([*before, *nodes, *after], {**weights, **constants})
    found = from_onnx(model)
    assert [type(layer).__name__ for layer in found] == kinds
    for T, B in ((1, 1), (6, 3)):
        x = rng.standard_normal((T, B, 3)).astype(np.float32)
        expected = Session(model).run(None, {"x": x})[0]
        np.testing.assert_allclose(found(x)[0], expected, rtol=1e-5, atol=2e-6)


def test_a_reverse_node(rng):
    nodes, constants = gru_nodes(rng, direction="reverse")
    model = graph([node("Identity", "x", "in"), *nodes, node("Identity", "g", "y")], constants)
    found = from_onnx(model)
    assert [type(layer).__name__ for layer in found] == ["Reverse", "GRU", "Reverse"]
    x = rng.standard_normal((6, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(
        found(x)[0], Session(model).run(None, {"x": x})[0], rtol=1e-5, atol=2e-6
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_weights_are_widened(dtype, rng):
    import ml_dtypes

    narrow = np.dtype(getattr(ml_dtypes, dtype, dtype))
    nodes, constants = gru_nodes(rng)
    for name in ("W", "R"):
        constants[name] = constants[name].astype(narrow)
    kind = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}[dtype]
    model = graph(
        [node("Identity", "x", "in"), *nodes, node("Identity", "g", "y")],
        constants, (kind, ["T", "B", 3]),
    )  # fmt: skip
    (layer,) = from_onnx(model)
    assert layer.dtype == np.float32
    z, r, n = np.split(constants["W"][0].astype(np.float32), 3)
    np.testing.assert_array_equal(layer.params["weight_ih_l0"], np.concatenate((r, z, n)))


REFUSED = {
    "branches": ([node("Neg", "g", "y")], r"\(Neg of g\) does not fit a chain of layers: no layer"),
    "ids of ids": ([node("Gather", "g one", "y", axis=0)], r"\(Gather of g, one\) .* it takes the"),
    "other axis": ([node("Softmax", "g", "y", axis=0)], r"\(Softmax of g\) .* go over the feat"),
    "other weight": ([node("MatMul", "one g", "y")], r"\(MatMul of one, g\) .* weight is no const"),
    "product": ([node("Mul", "g g", "y")], r"\(Mul of g, g\) .* joins two outputs"),
    "order": ([node("Transpose", "g", "y", perm=[1, 0, 2])], "'y' has axes in another order"),
    "clip": ([node("Clip", "g", "y")], r"\(Clip of g\) .* no layer here does"),
    "size": ([node("MatMul", "g w", "y")], r"\(MatMul of g, w\) .* reads 5 features, and 4 come"),
    "reshape": ([node("Reshape", "g shape", "y")], r"\(Reshape of g, shape\) .* axes that no"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_no_chain(name, rng):
    after, message = REFUSED[name]
    nodes, constants = gru_nodes(rng)
    constants |= {"w": np.ones((5, 2), "f"), "shape": np.array([2, -1])}
    model = graph([node("Identity", "x", "in"), *nodes, *after], constants)
    with pytest.raises(ValueError, match=message):
        from_onnx(model)


def test_no_chain_of_inputs(rng):
    nodes, constants = gru_nodes(rng)
    start = [node("Identity", "x", "in"), *nodes]
    more = [helper.make_tensor_value_info("z", F, ["T", "B", 4])]
    with pytest.raises(ValueError, match="has the inputs x, z, expected one of known axes"):
        from_onnx(graph([*start, node("Add", "g z", "y")], constants, more=more))
    with pytest.raises(ValueError, match="input 'x' has 4 axes, expected steps and rows"):
        from_onnx(graph([node("Relu", "x", "y")], {}, (F, ["T", "B", 3, 3])))
    with pytest.raises(ValueError, match="its graph has no layers"):
        from_onnx(graph([node("Identity", "x", "y")], {}))


def test_an_initial_state_that_is_no_zero(rng):
    nodes, constants = gru_nodes(rng)
    nodes[0].input.extend(["", "", "h0"])
    constants["h0"] = np.ones((1, 1, 4), np.float32)
    with pytest.raises(ValueError, match=r"GRU of in, W, R, -, -, h0\) .* neither zero nor an"):
        from_onnx(graph([node("Identity", "x", "in"), *nodes, node("Relu", "g", "y")], constants))


def test_the_error_names_the_first_node(rng):
    model = export(Sequential(rc.GRU(3, 4, rng=0), Linear(4, 2, rng=1)))
    bad = next(n for n in model.graph.node if n.op_type == "MatMul")
    bad.op_type, bad.name = "Hardmax", "here"
    del bad.input[1:]
    with pytest.raises(ValueError, match=r"^the model: node 'here' \(Hardmax of 0/Squeeze_out\)"):
        from_onnx(model)


@pytest.mark.parametrize(
    ("op", "attributes", "fits"),
    [
        ("AveragePool", {"auto_pad": "SAME_UPPER"}, True),
        ("MaxPool", {"auto_pad": "SAME_UPPER"}, True),
        ("AveragePool", {"auto_pad": "VALID", "count_include_pad": 1}, True),
        ("AveragePool", {"auto_pad": "SAME_UPPER", "count_include_pad": 1}, False),
        ("MaxPool", {"auto_pad": "SAME_LOWER"}, False),
        ("MaxPool", {"pads": [1, 1]}, False),
    ],
)
def test_windows_that_pad(op, attributes, fits, rng):
    nodes, constants = gru_nodes(rng)
    after = [
        node("Transpose", "g", "t", perm=[1, 2, 0]),
        node(op, "t", "p", kernel_shape=[4], strides=[2], **attributes),
        node("Transpose", "p", "y", perm=[2, 0, 1]),
    ]
    model = graph([node("Identity", "x", "in"), *nodes, *after], constants)
    if not fits:
        with pytest.raises(ValueError, match="it pads, or spreads its windows"):
            from_onnx(model)
        return
    found = from_onnx(model)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for T in (4, 7, 8):
        x = rng.standard_normal((T, 2, 3)).astype(np.float32)
        np.testing.assert_allclose(found(x)[0], replay(model, {"x": x})[0], rtol=1e-5, atol=1e-6)
