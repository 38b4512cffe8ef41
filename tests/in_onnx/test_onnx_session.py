"""Sessions: the node tests of the package onnx, onnxruntime's numbers, and what is refused."""

import threading

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx
from onnx import TensorProto, helper
from onnx_replay import replay

import rnncore as rc
from rnncore.onnx import Session, export

FLOATS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
OPS = ("RNN", "GRU", "LSTM", "Conv", "Gemm", "MatMul", "Scan", "Loop", "If", "Softmax", "Slice",
       "Squeeze", "Unsqueeze", "Transpose", "Reshape", "Gather", "ReduceMean", "LayerNormalization",
       "BatchNormalization", "Flatten", "Cast", "Concat", "Shape", "LogSoftmax")  # fmt: skip


def node_tests():
    from onnx.backend.test.case import node
    from onnx.backend.test.case.node import (  # noqa: F401
        batch_normalization,
        concat,
        conv,
        flatten,
        gather,
        gemm,
        gru,
        if_,
        layernormalization,
        logsoftmax,
        loop,
        lstm,
        matmul,
        reducemean,
        reshape,
        rnn,
        scan,
        shape,
        slice,
        softmax,
        squeeze,
        transpose,
        unsqueeze,
    )  # fmt: skip

    cases = {case.name: case for case in node._NodeTestCases}
    later = {name for name in cases if "scan_sum" in name}  # of opset 8, which is refused
    return {
        name: case
        for name, case in cases.items()
        if name not in later and {n.op_type for n in case.model.graph.node} & set(OPS)
    }


CASES = node_tests()


def test_the_recurrent_ones_are_among_them():
    ops = [case.model.graph.node[0].op_type for case in CASES.values()]
    assert sum(op in ("RNN", "GRU", "LSTM") for op in ops) == 18


@pytest.mark.parametrize("name", CASES)
def test_node(name):
    case = CASES[name]
    names = [port.name for port in case.model.graph.input]
    session = Session(case.model)
    for inputs, outputs in case.data_sets:
        found = session.run(None, dict(zip(names, inputs, strict=True)))
        for got, want in zip(found, outputs, strict=True):
            if not isinstance(want, np.ndarray) or want.dtype.kind in "VO":
                continue
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def tensor(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def graph(nodes, inputs, outputs, constants=None, opset=17, domains=()):
    """A model of nodes; inputs are name -> (kind, shape)."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            onnx.numpy_helper.from_array(np.asarray(a), name)
            for name, a in (constants or {}).items()
        ],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def recurrent(op, rng, *, fixed=True, dtype=np.float32, T=6, B=3, I=5, H=4, **attributes):
    """A recurrent node with all inputs, weights constant or not, and what to feed it."""
    G, D = {"RNN": 1, "GRU": 3, "LSTM": 4}[op], 2 if "bi" in str(attributes) else 1
    shapes = {"X": (T, B, I), "W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H)}
    shapes |= {"initial_h": (D, B, H)} | ({"initial_c": (D, B, H)} if op == "LSTM" else {})
    shapes |= {"P": (D, 3 * H)} if op == "LSTM" else {}
    arrays = {k: rng.uniform(-0.5, 0.5, s).astype(dtype) for k, s in shapes.items()}
    arrays["lens"] = np.array([6, 2, 4], np.int32)
    order = ["X", "W", "R", "B", "lens", "initial_h", "initial_c", "P"]
    names = [name if name in arrays else "" for name in order[: 6 if op != "LSTM" else 8]]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, names, outputs, hidden_size=H, **attributes)
    weights = {k: a for k, a in arrays.items() if k in ("W", "R", "B", "P")} if fixed else {}
    feeds = {k: a for k, a in arrays.items() if k not in weights}
    kinds = {k: (helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for k, a in feeds.items()}
    return graph([node], kinds, outputs, weights), feeds


@pytest.mark.parametrize("fixed", [True, False], ids=["constant", "inputs"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_recurrent_beside_onnxruntime(op, direction, fixed, rng):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, feeds = recurrent(op, rng, fixed=fixed, direction=direction, clip=0.7)
    for got, want in zip(Session(model).run(None, feeds), replay(model, feeds), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_directions_with_functions_of_their_own(rng):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    functions = ["Sigmoid", "Tanh", "HardSigmoid", "LeakyRelu"]
    model, feeds = recurrent(
        "GRU", rng, direction="bidirectional", activations=functions,
        activation_alpha=[0.3, 0.2], activation_beta=[0.4],
    )  # fmt: skip
    for got, want in zip(Session(model).run(None, feeds), replay(model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_layout_1_is_layout_0_turned(op, direction, rng):
    model, feeds = recurrent(op, rng, direction=direction)
    expected = Session(model).run(None, feeds)
    model.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    for port in model.graph.input:
        port.type.tensor_type.ClearField("shape")
    turned = {k: a.swapaxes(0, 1) if a.ndim == 3 else a for k, a in feeds.items()}
    found = Session(model).run(None, turned)
    np.testing.assert_array_equal(found[0], np.moveaxis(expected[0], 2, 0))
    for got, want in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(got, want.swapaxes(0, 1))


def test_float16_is_widened_and_narrowed(rng):
    model, feeds = recurrent("LSTM", rng, dtype=np.float16)
    wide, _ = recurrent("LSTM", rng)
    wide.graph.ClearField("initializer")
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        wide.graph.initializer.append(onnx.numpy_helper.from_array(array, tensor.name))
    floats = {k: a.astype(np.float32) if a.dtype == np.float16 else a for k, a in feeds.items()}
    for got, want in zip(
        Session(model).run(None, feeds), Session(wide).run(None, floats), strict=True
    ):
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, want.astype(np.float16))


@pytest.mark.parametrize("attributes", [
    {}, {"strides": [2], "dilations": [3], "pads": [2, 1]}, {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER", "strides": [2]}, {"group": 2}, {"group": 4},
])  # fmt: skip
def test_conv_over_time(attributes, rng):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    group = attributes.get("group", 1)
    constants = {"W": rng.standard_normal((4, 4 // group, 3)).astype(np.float32)}
    constants["B"] = rng.standard_normal(4).astype(np.float32)
    node = helper.make_node("Conv", ["x", "W", "B"], ["y"], **attributes)
    model = graph([node], {"x": (TensorProto.FLOAT, ["B", 4, "T"])}, ["y"], constants)
    for shape in [(1, 4, 17), (3, 4, 8)]:
        feeds = {"x": rng.standard_normal(shape).astype(np.float32)}
        (got,), (want,) = Session(model).run(None, feeds), replay(model, feeds)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_conv_cuts_what_is_large(rng, monkeypatch):
    from rnncore.onnx import convolution

    constants = {"W": rng.standard_normal((4, 3, 3, 2)).astype(np.float32)}
    node = helper.make_node("Conv", ["x", "W"], ["y"], pads=[1, 0, 1, 1])
    model = graph([node], {"x": (TensorProto.FLOAT, ["B", 3, "h", "w"])}, ["y"], constants)
    x = rng.standard_normal((3, 3, 9, 7)).astype(np.float32)
    (whole,) = Session(model).run(None, {"x": x})
    for most in (1, 2000, 10_000):
        monkeypatch.setattr(convolution, "_MOST_BYTES", most)
        np.testing.assert_array_equal(Session(model).run(None, {"x": x})[0], whole)


def test_gemm_with_factors(rng):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for k, C in enumerate([(7,), (1, 7), (3, 1), ()]):
        constants = {"B": rng.standard_normal((7, 5)).astype(np.float32)}
        constants["C"] = rng.standard_normal(C).astype(np.float32)
        node = helper.make_node(
            "Gemm", ["x", "B", "C"], ["y"], transB=1, transA=k % 2, alpha=0.5, beta=2.0
        )
        x = rng.standard_normal((5, 3) if k % 2 else (3, 5)).astype(np.float32)
        model = graph([node], {"x": (TensorProto.FLOAT, [None, None])}, ["y"], constants)
        (got,), (want,) = Session(model).run(None, {"x": x}), replay(model, {"x": x})
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_what_it_says_of_itself():
    import onnxruntime as ort

    file = export(rc.LSTM(3, 4, rng=0), state=True, lengths=True)
    session = Session(file)
    other = ort.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    for ours, theirs in (
        (session.get_inputs(), other.get_inputs()),
        (session.get_outputs(), other.get_outputs()),
    ):
        assert [port.name for port in ours] == [port.name for port in theirs]
        assert [port.type for port in ours] == [port.type for port in theirs]
    assert session.get_inputs()[0].shape == other.get_inputs()[0].shape
    assert repr(session) == "Session(x, h0, c0, lengths -> y, hn, cn)"


def test_outputs_by_name_and_their_own(rng):
    node = helper.make_node("Identity", ["x"], ["y"])
    other = helper.make_node("Add", ["x", "one"], ["z"])
    model = graph(
        [node, other], {"x": (TensorProto.FLOAT, ["N"])}, ["y", "z"], {"one": np.float32(1)}
    )
    x = np.zeros(3, np.float32)
    z, y, again = Session(model).run(["z", "y", "y"], {"x": x})
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(y, again)
    y += 5
    np.testing.assert_array_equal(x, 0)
    np.testing.assert_array_equal(z, 1)


def test_constants_stay_what_they_are():
    """An output that is a constant can be written to, and the next run gives the same."""
    model = graph([helper.make_node("Identity", ["c"], ["y"])], {}, ["y"], {"c": np.ones(3, "f")})
    session = Session(model)
    (y,) = session.run(None, {})
    y += 1
    np.testing.assert_array_equal(session.run(None, {})[0], 1)


@pytest.mark.parametrize(
    ("names", "feeds", "kind", "message"),
    [
        (None, {}, ValueError, "input_feed has no 'x'"),
        (None, {"x": [1.0]}, TypeError, "x is of type list, expected a numpy array of float32"),
        (None, {"x": np.zeros((5, 2, 3))}, TypeError, "x has dtype float64, expected float32"),
        (None, {"x": np.zeros((5, 3), "f")}, ValueError, r"x has shape \(5, 3\), expected \(T, B"),
        (None, {"x": np.zeros((5, 2, 4), "f")}, ValueError, r"expected \(T, B, 3\)"),
        (None, {"x": np.zeros((5, 2, 3), "f"), "z": 1}, ValueError, "has z, expected x"),
        (["z"], {"x": np.zeros((5, 2, 3), "f")}, ValueError, "output_names has z, expected y"),
        ("y", {"x": np.zeros((5, 2, 3), "f")}, TypeError, "output_names is of type str"),
        (None, 5, TypeError, "input_feed is of type int"),
    ],
)
def test_wrong_inputs(names, feeds, kind, message):
    session = Session(export(rc.GRU(3, 4, rng=0)))
    with pytest.raises(kind, match=message):
        session.run(names, feeds)


def test_a_node_that_fails_is_named():
    node = helper.make_node("Add", ["x", "z"], ["y"], name="both")
    ports = {"x": (TensorProto.FLOAT, ["N"]), "z": (TensorProto.FLOAT, ["M"])}
    session = Session(graph([node], ports, ["y"]))
    with pytest.raises(ValueError, match=r"node 'both' \(Add of x, z\) cannot be run: operands"):
        session.run(None, {"x": np.zeros(2, "f"), "z": np.zeros(3, "f")})


def test_threads_share_a_session(rng):
    layer = rc.LSTM(3, 33, num_layers=2, rng=0)
    session, xs = Session(export(layer)), rng.standard_normal((8, 9, 2, 3)).astype(np.float32)
    found = [None] * len(xs)

    def work(k):
        for _ in range(20):
            (found[k],) = session.run(None, {"x": xs[k]})

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, y in zip(xs, found, strict=True):
        np.testing.assert_array_equal(y, layer(x)[0])


def test_functions_of_the_model(rng):
    """A function with an attribute, which is written out where it is called."""
    body = [helper.make_node("LeakyRelu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    body[0].attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    function = helper.make_function(
        "own", "Bent", ["a"], ["c"], body, [helper.make_opsetid("", 17)], ["slope"]
    )
    nodes = [helper.make_node("Bent", ["x"], ["t"], domain="own", slope=0.5)]
    nodes.append(helper.make_node("Bent", ["t"], ["y"], domain="own", slope=0.25))
    model = graph(nodes, {"x": (TensorProto.FLOAT, ["N"])}, ["y"], domains=["own"])
    model.functions.append(function)
    x = np.array([-4.0, 4.0], np.float32)
    np.testing.assert_array_equal(Session(model).run(None, {"x": x})[0], [-2.0, 1.0])
