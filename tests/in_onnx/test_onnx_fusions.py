"""What exporters take apart is put together again, and what is only nearly that is not."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx_graphs import graph, gru_nodes, node
from onnx_replay import replay

from rnncore.convert.from_onnx import from_onnx
from rnncore.onnx import Session


def erf_nodes(factor, half, one):
    nodes = [
        node("Mul", "g factor", "s"), node("Erf", "s", "e"), node("Add", "e unit", "p"),
        node("Mul", "g half", "h"), node("Mul", "h p", "y"),
    ]  # fmt: skip
    return nodes, {
        "factor": np.float32(factor), "half": np.float32(half), "unit": np.float32(one)
    }  # fmt: skip


@pytest.mark.parametrize(
    "numbers", [(0.5**0.5, 0.5, 1), (0.7, 0.5, 1), (0.5**0.5, 0.6, 1), (0.5**0.5, 0.5, 0.9)]
)
def test_what_is_nearly_gelu(numbers, rng):
    """It is Gelu with its own numbers alone; with others a session has what the nodes say."""
    after, own = erf_nodes(*numbers)
    nodes, constants = gru_nodes(rng)
    model = graph([node("Identity", "x", "in"), *nodes, *after], {**constants, **own})
    x = 5 * rng.standard_normal((4, 3, 3)).astype(np.float32)
    if numbers == (0.5**0.5, 0.5, 1):
        found = from_onnx(model)(x)[0]
    else:
        found = Session(model).run(None, {"x": x})[0]
        with pytest.raises(ValueError, match="Erf of s"):
            from_onnx(model)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    np.testing.assert_allclose(found, replay(model, {"x": x})[0], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("form", ["mish", "operator", "turned", "of another", "of another's sum"])
def test_what_is_nearly_mish(form, rng):
    nodes, constants = gru_nodes(rng, H=3)
    after = [node("Softplus", "g", "s"), node("Tanh", "s", "t"), node("Mul", "g t", "y")]
    if form == "operator":
        after = [node("Mish", "g", "y")]
    elif form == "turned":
        after[2] = node("Mul", "t g", "y")
    elif form == "of another":
        after[2] = node("Mul", "s t", "y")
    elif form == "of another's sum":
        after[0] = node("Softplus", "x", "s")
    model = graph([node("Identity", "x", "in"), *nodes, *after], constants, opset=18)
    x = 5 * rng.standard_normal((4, 3, 3)).astype(np.float32)
    (found,) = Session(model).run(None, {"x": x})
    if form in ("mish", "operator", "turned"):
        np.testing.assert_allclose(from_onnx(model)(x)[0], found, rtol=1e-5, atol=2e-6)
    else:
        with pytest.raises(ValueError, match="does not fit a chain"):
            from_onnx(model)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    np.testing.assert_allclose(found, replay(model, {"x": x})[0], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("power", [2, 3])
def test_what_is_nearly_a_layer_norm(power, rng):
    after = [
        node("ReduceMean", "g", "mean", axes=[-1]),
        node("Sub", "g mean", "c"),
        node("Pow", "c power", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v eps", "w"),
        node("Sqrt", "w", "r"),
        node("Div", "c r", "y"),
    ]
    nodes, constants = gru_nodes(rng)
    constants |= {"power": np.float32(power), "eps": np.float32(0.5)}
    model = graph([node("Identity", "x", "in"), *nodes, *after], constants)
    x = rng.standard_normal((4, 3, 3)).astype(np.float32)
    if power == 2:
        found = from_onnx(model)
        assert [type(layer).__name__ for layer in found] == ["GRU", "LayerNorm"]
        np.testing.assert_allclose(
            found(x)[0], Session(model).run(None, {"x": x})[0], rtol=1e-5, atol=2e-6
        )
    else:
        with pytest.raises(ValueError, match=r"\(ReduceMean of g\)|\(Sub of g, mean\)"):
            from_onnx(model)
