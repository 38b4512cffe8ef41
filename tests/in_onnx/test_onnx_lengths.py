"""Files with an input of lengths, read back: their masks and pools are what a model does itself."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper
from onnx_graphs import graph, gru_nodes, node

import rnncore as rc
from rnncore.convert.from_onnx import from_onnx
from rnncore.onnx import Session, export

V = 9
LENGTHS = np.array([4, 7, 1, 0], np.int32)


def tagger(b):
    return rc.Sequential(
        embed=rc.Embedding(V, 5, rng=0),
        rnn=rc.LSTM(5, 4, num_layers=2, bidirectional=True, rng=1, **b),
        norm=rc.LayerNorm(8),
        head=rc.Linear(8, 3, rng=2),
    )


def pooled(kind):
    def make(b):
        return rc.Sequential(
            rc.GRU(3, 4, bidirectional=True, rng=0, **b),
            rc.Linear(8, 5, rng=1),
            rc.Reverse(**b),
            rc.Pool(kind, **b),
            rc.Linear(5, 2, rng=2),
        )

    return make


MODELS = {
    "tagger": tagger,
    "layer": lambda b: rc.Sequential(rc.GRU(3, 4, rng=0, **b)),
    "float64": lambda b: rc.Sequential(rc.GRU(3, 4, rng=0, dtype="float64", **b)),
    "merged": lambda b: rc.Sequential(
        rc.Bidirectional(rc.GRU(3, 4, bidirectional=True, rng=0, **b), merge="sum")
    ),
    "residual": lambda b: rc.Sequential(
        rc.Residual(rc.GRU(3, 3, rng=0, **b), rc.Linear(3, 3, rng=1)), rc.LSTM(3, 2, rng=2, **b)
    ),
    "no recurrence": lambda b: rc.Sequential(
        rc.Embedding(V, 5, rng=0), rc.Pool("mean", **b), rc.Linear(5, 2, rng=1)
    ),
    **{kind: pooled(kind) for kind in ("last", "mean", "max")},
}


def input_of(model, batch_first, rng):
    shape = (4, 7) if batch_first else (7, 4)
    if isinstance(model[0], rc.Embedding):
        return rng.integers(0, V, shape)
    return rng.standard_normal((*shape, 3)).astype(model.dtype)


@pytest.mark.filterwarnings("ignore:model has recurrent layers of float64:UserWarning")
@pytest.mark.parametrize("opset", [14, 18])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_lengths_come_back(name, batch_first, state, opset, rng):
    model = MODELS[name]({"batch_first": batch_first})
    file = export(model, lengths=True, state=state and name != "no recurrence", opset=opset)
    found = from_onnx(file)
    assert [type(part) for part in found] == [type(part) for part in model]
    assert found.batch_first is batch_first
    for a, b in zip(found.params.values(), model.params.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = input_of(model, batch_first, rng)
    y, ends = found(x, lengths=LENGTHS)
    expected, expected_ends = model(x, lengths=LENGTHS)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    assert len(ends) == len(expected_ends)
    if not state:
        again = Session(file).run(None, {"x": x, "lengths": LENGTHS})[0]
        np.testing.assert_allclose(y, again, rtol=1e-5, atol=2e-6)


# By hand


def lengths_in(name="lengths"):
    return helper.make_tensor_value_info(name, TensorProto.INT32, ["B"])


def masked(rng, gru="in W R  lengths", *, time=0, lengths="lengths", other=0.0, **attributes):
    """A GRU whose output is masked by lengths, of nodes as other exporters write them."""
    nodes, constants = gru_nodes(rng, **attributes)
    nodes[0] = helper.make_node("GRU", gru.split(" "), ["Y"], hidden_size=4, **attributes)
    after = [
        node("Shape", "g", "shape", start=time, end=time + 1),
        node("Squeeze", "shape", "T"),
        node("Range", "zero T one0", "places"),
        node("Unsqueeze", "places last", "column"),
        node("Cast", lengths, "long", to=TensorProto.INT64),
        node("Less", "column long", "mask"),
        node("Unsqueeze", "mask last", "mask3"),
        node("Where", "mask3 g other", "y"),
    ]
    constants |= {"zero": np.array(0), "one0": np.array(1), "last": np.array([-1])}
    constants["other"] = np.float32(other)
    return [node("Identity", "x", "in"), *nodes, *after], constants


def test_a_mask_by_hand(rng):
    """Unsqueeze after Less, and the lengths without an axis for the steps."""
    model = graph(*masked(rng), more=[lengths_in()])
    found = from_onnx(model)
    assert [type(part) for part in found] == [rc.GRU]
    x = rng.standard_normal((7, 4, 3)).astype(np.float32)
    expected = Session(model).run(None, {"x": x, "lengths": LENGTHS})[0]
    np.testing.assert_allclose(found(x, lengths=LENGTHS)[0], expected, rtol=1e-5, atol=2e-6)


REFUSED = {
    "a layer that goes on": ({"gru": "in W R"}, "rows end at their lengths for node .* and go on"),
    "other lengths": ({"lengths": "more"}, "reads 'more' as lengths, and a node before it 'length"),
    "steps of the other axis": ({"time": 1}, "mask has other axes than the output"),
    "another number": ({"other": 1.0}, r"\(Where of mask3, g, other\) .* other than the lengths"),
    "for a maximum": ({"other": -np.inf}, "'y' is the output of a layer, expected that of the"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_masks_that_are_refused(name, rng):
    options, message = REFUSED[name]
    model = graph(*masked(rng, **options), more=[lengths_in(), lengths_in("more")])
    with pytest.raises(ValueError, match=message):
        from_onnx(model)


def test_a_mean_of_all_steps_after_a_mask(rng):
    """Its divisor is not the length of the row."""
    nodes, constants = masked(rng)
    nodes[-1].output[0] = "m"
    nodes.append(node("ReduceMean", "m", "y", axes=[0], keepdims=0))
    with pytest.raises(ValueError, match=r"rows end at their lengths .* go on for node"):
        from_onnx(graph(nodes, constants, more=[lengths_in()]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Max", "int_0"), r"\(Max of .*, int_0\) does not fit .* no layer here is made"),
        (("Range", "int_1"), "it counts other than the steps"),
    ],
)
def test_other_numbers(change, message):
    """Of an export: another number in a node that reckons with lengths."""
    op, other = change
    file = export(pooled("mean")({}), lengths=True)
    (changed,) = (n for n in file.graph.node if n.op_type == op)
    changed.input[1 if op == "Max" else 0] = other
    with pytest.raises(ValueError, match=message):
        from_onnx(file)
