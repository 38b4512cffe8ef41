"""Graphs that are nearly chains are no chains, but run by sessions; nodes that cannot be."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx_graphs import graph, gru_nodes, node

from rnncore.convert.from_onnx import from_onnx
from rnncore.onnx import Session

LINEAR = node("MatMul", "x w", "a")
CONSTANTS = {"w": np.linspace(-3, 3, 9, dtype=np.float32).reshape(3, 3)}
MISFITS = {
    "cast to integers": (
        [node("Cast", "a", "b", to=TensorProto.INT64), node("Cast", "b", "y", to=1)],
        {},
    ),
    "cast to bool": (
        [node("Cast", "a", "b", to=TensorProto.BOOL), node("Cast", "b", "y", to=1)],
        {},
    ),
    "cast to half": (
        [node("Cast", "a", "b", to=TensorProto.FLOAT16), node("Cast", "b", "y", to=1)],
        {},
    ),
    "Selu of another gamma": ([node("Selu", "a", "y", gamma=2.0)], {}),
    "padded at the end": ([node("Pad", "a p", "y")], {"p": np.array([1, 0, 0, 0, 0, 0])}),
    "as often as there are features": ([node("Tile", "a p", "y")], {"p": np.array([1, 1, 3])}),
    "tiled, then the largest": (
        [node("Tile", "a p", "b"), node("ReduceMax", "b", "y", axes=[0], keepdims=0)],
        {"p": np.array([1, 1, 3])},
    ),
    "times a constant of more axes": ([node("Mul", "a p", "y")], {"p": np.full((1, 1, 1, 1), 2.0)}),
    "plus a constant of more axes": (
        [node("Relu", "a", "b"), node("Add", "b p", "y")],
        {"p": np.ones((1, 1, 1, 3))},
    ),
    "a bias of more axes": ([node("Add", "a p", "y")], {"p": np.ones((1, 1, 1, 3))}),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_is_no_chain_is_run_by_a_session(name, rng):
    nodes, more = MISFITS[name]
    constants = {
        key: a.astype(np.float32) if a.dtype == np.float64 else a for key, a in more.items()
    }
    model = graph([LINEAR, *nodes], {**CONSTANTS, **constants}, opset=14)
    with pytest.raises(ValueError, match=r"does not fit a chain|axes in another order|its output"):
        from_onnx(model)
    x = 3 * rng.standard_normal((4, 2, 3)).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    (y,) = Session(model).run(None, {"x": x})
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", [True, False])
def test_the_one_direction_is_taken_with_or_without_its_axis(keep, rng):
    nodes, constants = gru_nodes(rng)
    taken = [node("Identity", "x", "in"), nodes[0], node("Gather", "Y at", "y", axis=1)]
    constants["at"] = np.array([0]) if keep else np.array(0)
    model = graph(taken, constants)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    (y,) = Session(model).run(None, {"x": x})
    if keep:
        assert y.shape == (4, 1, 2, 4)
        with pytest.raises(ValueError, match="axes in another order than the input, or more"):
            from_onnx(model)
    else:
        np.testing.assert_array_equal(from_onnx(model)(x)[0], y)


@pytest.mark.parametrize("to", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_casts_that_lose_nothing_are_left_out(to, rng):
    model = graph(
        [LINEAR, node("Cast", "a", "b", to=to), node("Cast", "b", "y", to=1)], CONSTANTS, opset=14
    )
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    (y,) = Session(model).run(None, {"x": x})
    np.testing.assert_allclose(from_onnx(model)(x)[0], y, rtol=1e-6)


IMPOSSIBLE = {
    "one input": ([node("MatMul", "x", "a"), node("Add", "a w", "y")], "has 1 inputs, expected"),
    "a list of directions": (
        [node("LSTM", "x w w", "y", direction=[1, 2], hidden_size=3)],
        "has direction of type INTS, expected STRING",
    ),
    "numbered activations": (
        [node("GRU", "x w w", "y", activations=[1, 2], hidden_size=3)],
        "has activations of type INTS, expected STRINGS",
    ),
    "one alpha": (
        [node("RNN", "x w w", "y", activation_alpha=3, hidden_size=3)],
        "has activation_alpha of type INT, expected FLOATS",
    ),
    "one axis": (
        [node("ReduceMean", "x", "y", axes=5)],
        "has axes of type INT, expected INTS",
    ),
    "a clip of text": (
        [node("RNN", "x w w", "y", clip="a", hidden_size=3)],
        "has clip of type STRING, expected FLOAT",
    ),
    "a negative clip": (
        [node("RNN", "x v v", "y", clip=-1.0, hidden_size=3)],
        r"\(RNN of x, v, v\).* has clip -1.0, expected a positive number",
    ),
}


@pytest.mark.parametrize("read", [Session, from_onnx])
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_nodes_that_cannot_be_are_named(name, read):
    nodes, message = IMPOSSIBLE[name]
    more = {"v": np.ones((1, 3, 3), np.float32)}
    with pytest.raises(ValueError, match=message):
        read(graph(nodes, {**CONSTANTS, **more}, opset=14))


def test_too_many_nodes_are_refused():
    nodes = [node("Neg", f"x{k}" if k else "x", f"x{k + 1}") for k in range(50_001)]
    for read in (Session, from_onnx):
        with pytest.raises(ValueError, match="has 50,001 nodes, expected at most 50,000"):
            read(graph(nodes, {}))


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        (
            [node("Cast", "x", "i", to=7), node("OneHot", "i depth values", "y")],
            {"depth": np.array(1 << 38), "values": np.array([0, 1], np.float32)},
        ),
        (
            [node("Resize", "x none scales", "y", mode="nearest")],
            {"none": np.zeros(0, np.float32), "scales": np.array([1, 1e6, 1e6], np.float32)},
        ),
    ],
    ids=["OneHot", "Resize"],
)
def test_what_would_take_all_memory_is_refused(nodes, constants):
    session = Session(graph(nodes, constants))
    with pytest.raises(ValueError, match=r"it would take [\d,]+ GiB"):
        session.run(None, {"x": np.ones((4, 2, 3), np.float32)})
