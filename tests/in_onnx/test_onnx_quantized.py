"""DynamicQuantizeLSTM: onnxruntime's own numbers, whose inputs are rounded to 8 bits as well."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper
from onnx_replay import replay

from rnncore.onnx import Session, quantized

INPUTS = ["X", "W", "R", "B", "lens", "h0", "c0", "P", "sW", "zW", "sR", "zR"]


def quantised(rng, T, B, I, H, *, D=1, kind=np.int8, columns=False, without=(), y=True, **more):
    """A node with all inputs but those `without`, and what to feed it."""
    low, high = (-40, 41) if kind == np.int8 else (0, 256)
    # Of larger weights with a sign, onnxruntime's sums saturate on some processors.
    arrays = {name: rng.integers(low, high, (D, n, 4 * H)).astype(kind)
              for name, n in (("W", I), ("R", H))}  # fmt: skip
    shape = (D, 4 * H) if columns else (D,)
    for name, zero in (("W", 131), ("R", 120)):
        arrays[f"s{name}"] = rng.uniform(0.004, 0.008, shape).astype(np.float32)
        arrays[f"z{name}"] = np.full(shape, zero if kind == np.uint8 else 0, kind)
    arrays["B"] = rng.uniform(-0.3, 0.3, (D, 8 * H)).astype(np.float32)
    arrays["P"] = rng.uniform(-0.3, 0.3, (D, 3 * H)).astype(np.float32)
    feeds = {"X": rng.standard_normal((T, B, I)).astype(np.float32)}
    feeds["lens"] = rng.integers(1, T + 1, B).astype(np.int32)
    feeds["lens"][rng.integers(B)] = T
    for name in ("h0", "c0"):
        feeds[name] = rng.uniform(-1, 1, (D, B, H)).astype(np.float32)
    feeds = {name: array for name, array in feeds.items() if name not in without}
    names = ["" if name in without else name for name in INPUTS]
    outputs = ["Y" if y else "", "Y_h", "Y_c"]
    direction = more.pop("direction", "forward" if D == 1 else "bidirectional")
    node = helper.make_node("DynamicQuantizeLSTM", names, outputs, domain="com.microsoft",
                            direction=direction, hidden_size=H, **more)  # fmt: skip
    made = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for name, a in feeds.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs if name],
        [numpy_helper.from_array(a, name) for name, a in arrays.items() if name not in without],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8), feeds


STATES = ("lens", "h0", "c0")
CASES = {
    "plain": ((6, 3, 5, 8), {"without": (*STATES, "B", "P")}),
    "one step": ((1, 1, 3, 4), {"without": ("lens",)}),
    "larger": ((9, 4, 33, 65), {"without": STATES}),
    "unsigned": ((7, 2, 17, 33), {"kind": np.uint8, "without": STATES}),
    "by columns": ((7, 3, 5, 17), {"columns": True, "without": ("P", "lens")}),
    "two directions": ((6, 3, 5, 8), {"D": 2, "without": ("lens",)}),
    "reverse": ((6, 3, 5, 8), {"direction": "reverse", "clip": 0.5}),
    "coupled": ((6, 3, 5, 8), {"input_forget": 1, "without": ("lens", "P")}),
    "lengths": ((9, 5, 5, 8), {"D": 2}),
    "functions": ((6, 3, 5, 8), {"activations": ["HardSigmoid", "Softsign", "Relu"]}),
    "sums beyond 24 bits": ((3, 2, 900, 4), {"kind": np.uint8, "without": STATES}),
    "without Y": ((9, 4, 5, 8), {"y": False}),
}


def difference(seed, T, B, I, H, **options):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, feeds = quantised(np.random.default_rng(seed), T, B, I, H, **options)
    found, expected = Session(model).run(None, feeds), replay(model, feeds)
    assert [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in expected]
    pairs = zip(found, expected, strict=True)
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(b))).max()) for a, b in pairs)


@pytest.mark.parametrize("name", CASES)
def test_beside_onnxruntime(name):
    """An h in the middle of two of the 256 steps may go to either: once in many it does."""
    sizes, options = CASES[name]
    found = sorted(difference(seed, *sizes, **options) for seed in range(5))
    assert found[2] < 1e-5
    assert found[-1] < 2e-3


@pytest.mark.parametrize("name", CASES)
def test_a_single_step_beside_onnxruntime(name):
    """From the same h there is nothing that could go to either side."""
    (_, B, I, H), options = CASES[name]
    assert difference(7, 1, B, I, H, **options) < 1e-5


def test_nothing_to_read(rng):
    model, feeds = quantised(rng, 4, 3, 5, 8, without=("lens",))
    for port in model.graph.input:
        port.type.tensor_type.ClearField("shape")
    none = {name: a[:, :0] for name, a in feeds.items()}
    assert [a.shape for a in Session(model).run(None, none)] == [(4, 1, 0, 8), *[(1, 0, 8)] * 2]
    y, h, c = Session(model).run(None, {**feeds, "X": feeds["X"][:0]})
    assert y.shape == (0, 1, 3, 8)
    np.testing.assert_array_equal([h, c], 0)


@pytest.mark.parametrize("X", [np.zeros((4, 3, 6), "f"), np.zeros((4, 3), "f")])
def test_wrong_inputs(X, rng):
    model, feeds = quantised(rng, 4, 3, 5, 8)
    for port in model.graph.input:
        port.type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match=r"X is float32 of shape .*, expected float32 \(T, B, 5\)"):
        Session(model).run(None, {**feeds, "X": X})
    with pytest.raises(ValueError, match=r"initial_c has shape \(1, 2, 8\), expected \(1, 3, 8\)"):
        Session(model).run(None, {**feeds, "c0": feeds["c0"][:, :2]})


def test_numbers_in_the_middle_go_to_the_even_side(rng):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, feeds = quantised(rng, 1, 2, 17, 8, without=(*STATES, "B", "P"))
    feeds["X"] = rng.integers(0, 255, (1, 2, 17)).astype(np.float32) + 0.5
    feeds["X"][0, 0, :2] = 0, 255  # so that a step is 1
    for name in ("sW", "sR"):
        (scale,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
        scale.CopyFrom(numpy_helper.from_array(np.array([1e-5], np.float32), name))
    for got, want in zip(Session(model).run(None, feeds), replay(model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("K", [17, 258, 2000])
def test_sums_are_exact(K, rng):
    weight = rng.integers(-255, 256, (33, K))
    weight[0] = np.where(np.arange(K) < K // 2, 255, -255)
    rows = rng.integers(0, 256, (5, K))
    rows[:, :2] = 0, 255
    rows[0, 2:] = 255
    found = quantized._Product.of(weight.astype(np.float32), np.ones(1, np.float32))(
        rows.astype(np.float32)
    )
    np.testing.assert_array_equal(found, (rows @ weight.T).astype(np.float32))
