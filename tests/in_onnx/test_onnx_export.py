"""Layers and models written as ONNX: replayed in onnxruntime, and read back bit for bit."""

import numpy as np
import pytest
from onnx_replay import FUNCTIONS, LAYERS, input_for, models_of, replay

import rnncore as rc
from rnncore.convert.from_onnx import from_onnx
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse
from rnncore.models.sequential import Sequential

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from rnncore.onnx import Session, export

OPTIONS = {
    "": {},
    "bidirectional": {"bidirectional": True},
    "two layers, batch first": {"num_layers": 2, "batch_first": True},
    "two layers of two directions": {"num_layers": 2, "bidirectional": True},
}
SIZES = [(1, 1), (7, 3)]  # T, B
MODELS = ("stack", "two", "tagger", "conv", "merged", "residual", "valid")
# Their functions come back by other names, and with numbers that float32 rounds.
INEXACT = ("lstm activations", "gru activations")


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def assert_same_model(found, model):
    """The same layers with the same bits, whatever they are called."""
    ours, theirs = list(model.params.values()), list(found.params.values())
    ours += list(model.buffers.values())
    theirs += list(found.buffers.values())
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_replayed(name, options, rng):
    layer = LAYERS[name](**OPTIONS[options])
    file = export(layer, state=True)
    for T, B in SIZES:
        x, D = input_for(layer, T, B, rng), layer.num_layers * layer.num_directions
        parts = [
            rng.uniform(-1, 1, (D, B, layer.hidden_size)).astype(np.float32)
            for _ in range(2 if isinstance(layer, rc.LSTM) else 1)
        ]
        y, state = layer(x, tuple(parts) if len(parts) == 2 else parts[0])
        expected = [y, *(state if len(parts) == 2 else [state])]
        feeds = {"x": x, **dict(zip(("h0", "c0"), parts, strict=False))}
        for found in (replay(file, feeds), Session(file).run(None, feeds)):
            for a, b in zip(found, expected, strict=True):
                assert_close(a, b)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back(name, options, rng):
    layer = LAYERS[name](**OPTIONS[options])
    for state in (False, True):
        model = from_onnx(export(layer, state=state))
        (found,) = model
        if name not in INEXACT:
            assert found.options == layer.options
        assert found.params.keys() == layer.params.keys()
        assert_same_model(model, Sequential(layer))


def test_lengths_replayed(rng):
    for name in LAYERS:
        for options in OPTIONS.values():
            layer = LAYERS[name](**options)
            file, lengths = export(layer, lengths=True, state=True), np.array([4, 7, 1], np.int32)
            x = input_for(layer, 7, 3, rng)
            y, state = layer(x, lengths=lengths)
            shape = (layer.num_layers * layer.num_directions, 3, layer.hidden_size)
            feeds = {"x": x, "lengths": lengths, "h0": np.zeros(shape, np.float32)}
            if isinstance(layer, rc.LSTM):
                feeds["c0"] = feeds["h0"]
            for found in (replay(file, feeds), Session(file).run(None, feeds)):
                assert_close(found[0], y)
                assert_close(found[1], state[0] if isinstance(layer, rc.LSTM) else state)


@pytest.mark.parametrize("opset", [14, 17, 21])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_models_replayed(name, batch_first, opset, rng):
    model = models_of(rng, batch_first)[name]
    file = export(model, opset=opset)
    for T, B in [(5, 1), (9, 4)]:
        x = input_for(model, T, B, rng)
        expected = model(x)[0]
        assert_close(replay(file, {"x": x})[0], expected)
        assert_close(Session(file).run(None, {"x": x})[0], expected)
        assert_close(from_onnx(file)(x)[0], expected)


@pytest.mark.parametrize("opset", [14, 17])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_models_come_back(name, batch_first, opset, rng, tmp_path):
    model = models_of(rng, batch_first)[name]
    export(model, tmp_path / "m.onnx", opset=opset)
    found = from_onnx(tmp_path / "m.onnx")
    if name != "valid":  # whose norms without parameters are written with those of no effect
        assert_same_model(found, model)
    assert found.batch_first is batch_first or model.batch_first is None
    if name == "stack":
        assert found.names == ("rnn", "head")
        assert found.params.keys() == model.params.keys()
    if name == "two":  # layers apart stay apart
        assert len(found) == 3


@pytest.mark.parametrize("name", ["last", "first", "mean", "max"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_models_with_lengths(name, batch_first, rng):
    b = {"batch_first": batch_first}
    model = Sequential(
        rc.GRU(3, 4, bidirectional=True, rng=0, **b),
        Linear(8, 5, rng=1),
        Reverse(**b),
        Pool(name, **b),
        Linear(5, 2, rng=2),
    )
    file, lengths = export(model, lengths=True), np.array([4, 7, 1], np.int32)
    x = input_for(model, 7, 3, rng)
    expected = model(x, lengths=lengths)[0]
    feeds = {"x": x, "lengths": lengths}
    assert_close(Session(file).run(None, feeds)[0], expected)
    assert_close(replay(file, feeds)[0], expected)


@pytest.mark.parametrize("batch_first", [False, True])
def test_padding_is_zero(batch_first, rng):
    b = {"batch_first": batch_first}
    model = Sequential(rc.LSTM(3, 4, rng=0, **b), Linear(4, 5, rng=1))
    feeds = {"x": input_for(model, 7, 3, rng), "lengths": np.array([4, 7, 0], np.int32)}
    expected = model(feeds["x"], lengths=feeds["lengths"])[0]
    assert_close(Session(export(model, lengths=True)).run(None, feeds)[0], expected)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_functions(function, rng):
    model = Sequential(rc.RNN(3, 4, rng=0), Activation(function))
    x = 3 * input_for(model, 5, 2, rng)
    for opset in (14, 20):
        file, expected = export(model, opset=opset), model(x)[0]
        assert_close(replay(file, {"x": x})[0], expected)
        assert_close(Session(file).run(None, {"x": x})[0], expected)
    pieces = ("scaled_tanh", "log_sigmoid", "gelu_tanh")
    if (function if isinstance(function, str) else function[0]) not in pieces:
        assert_close(from_onnx(file)(x)[0], expected)


def test_states_of_a_model(rng):
    model = models_of(rng)["two"]
    file = export(model, state=True)
    x = input_for(model, 6, 2, rng)
    states = tuple(rng.uniform(-1, 1, (1, 2, 4)).astype(np.float32) for _ in range(2))
    y, ends = model(x, states)
    found = Session(file).run(None, {"x": x, "0.h0": states[0], "1.h0": states[1]})
    for a, b in zip(found, [y, *ends], strict=True):
        assert_close(a, b)


def test_a_stream_of_single_steps(rng):
    layer = rc.LSTM(3, 4, num_layers=2, rng=0)
    session, x = Session(export(layer, state=True)), input_for(layer, 5, 2, rng)
    h = c = np.zeros((2, 2, 4), np.float32)
    steps = []
    for t in range(5):
        y, h, c = session.run(["y", "hn", "cn"], {"x": x[t : t + 1], "h0": h, "c0": c})
        steps.append(y[0])
    expected, (h_n, c_n) = layer(x)
    np.testing.assert_array_equal(steps, expected)
    np.testing.assert_array_equal(h, h_n)
    np.testing.assert_array_equal(c, c_n)


def test_float64_comes_back(rng):
    layer = rc.GRU(3, 4, dtype=np.float64, rng=0)
    with pytest.warns(UserWarning, match="float64, which onnxruntime does not run"):
        file = export(layer)
    x = input_for(layer, 5, 2, rng, np.float64)
    np.testing.assert_array_equal(Session(file).run(None, {"x": x})[0], layer(x)[0])
    assert_same_model(from_onnx(file), Sequential(layer))


@pytest.mark.parametrize("kind", [rc.RNN, rc.GRU, rc.LSTM])
def test_float64_is_warned_of_where_onnxruntime_fails(kind, rng, tmp_path):
    model = Sequential(Linear(3, 3, dtype=np.float64), kind(3, 4, dtype=np.float64, rng=0))
    with pytest.warns(UserWarning, match="float64, which onnxruntime does not run"):
        model.save(tmp_path / "m.onnx")
    x = input_for(model, 5, 2, rng, np.float64)
    assert_close(Session(tmp_path / "m.onnx").run(None, {"x": x})[0], model(x)[0])
    with pytest.warns(UserWarning, match="float64"):
        file = export(model)
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED|not support|Could not find"):
        replay(file, {"x": x})


def test_float64_without_recurrent_layers_runs(rng):
    model = Sequential(Linear(3, 4, dtype=np.float64, rng=0), Activation("tanh"))
    x = input_for(model, 5, 2, rng, np.float64)
    assert_close(replay(export(model), {"x": x})[0], model(x)[0])


def test_names_come_back(tmp_path, rng):
    inner = {
        "a/b": rc.GRU(4, 4, num_layers=2, rng=0),
        "100%": Linear(4, 4, rng=1),
        "%2F": rc.RNN(4, 4, rng=3),
    }
    model = Sequential(
        **{
            "lstm with blanks": rc.LSTM(3, 4, rng=2),
            "block/1": rc.Residual(**inner),
            "both/l0": rc.Bidirectional(rc.GRU(4, 4, bidirectional=True), "sum"),
            "mish/": Activation("mish"),
            "several": Activation(("scaled_tanh", 1.5, 0.7)),
            "last-step": Pool("last"),
        }
    )
    model.save(tmp_path / "m.onnx")
    found = rc.load(tmp_path / "m.onnx")
    several = ("several", "several_2", "several_3")  # which there is no operator for
    assert found.names == (*model.names[:4], *several, "last-step")
    assert found[1].names == tuple(inner)
    assert found.params.keys() == model.params.keys()
    file = export(model, state=True)
    names = [port.name for port in file.graph.input]
    assert names[1:4] == ["lstm with blanks.h0", "lstm with blanks.c0", "block/1.a/b.h0"]
    x = input_for(model, 5, 2, rng)
    feeds = {p.name: np.zeros([d.dim_value or 2 for d in p.type.tensor_type.shape.dim], np.float32)
             for p in file.graph.input}  # fmt: skip
    assert_close(replay(file, feeds | {"x": x})[0], model(x)[0])


def test_a_frozen_layer_is_the_layer():
    layer = rc.GRU(3, 4, rng=0)
    assert export(layer.freeze()) == export(layer)


class Unknown:
    pass


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: rc.LSTM(3, 4, proj_size=2), {}, "proj_size 2, expected 0"),
        (lambda: rc.LSTM(3, 4, peephole="previous"), {}, "peephole 'previous', expected None or"),
        (lambda: rc.IndRNN(3, 4), {}, "type IndRNN, which ONNX's operators do not have"),
        (lambda: rc.LayerNormLSTM(3, 4), {}, "type LayerNormLSTM, which ONNX's operators"),
        (lambda: rc.GRU(3, 4).freeze("w8a16"), {}, "precision 'w8a16', expected None"),
        (lambda: rc.GRU(3, 4), {"opset": 13}, "opset is 13, expected an integer of at least 14"),
        (lambda: Sequential(Conv1d(3, 4, 2)), {"lengths": True}, "Conv1d and changes lengths"),
        (lambda: rc.GRU(3, 4), {"path": "m.npz"}, "suffix '.npz', expected '.onnx'"),
    ],
)
def test_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        export(make(), **options)


def test_refused_types():
    with pytest.raises(TypeError, match="model is of type Unknown, expected a layer or a model"):
        export(Unknown())
    with pytest.raises(TypeError, match="state is 1, expected True or False"):
        export(rc.GRU(3, 4), state=1)


def test_nothing_is_left_where_a_file_cannot_be_written(tmp_path):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(OSError, match=r"m\.onnx"):
        export(rc.GRU(3, 4), tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_batch_norm_keeps_its_eps():
    (layer, *_) = from_onnx(export(Sequential(BatchNorm(3, eps=1e-3), rc.RNN(3, 4))))
    assert layer.eps == 1e-3
