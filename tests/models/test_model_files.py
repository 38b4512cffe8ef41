"""Models and frozen models, saved and loaded."""

import io
import json

import numpy as np
import pytest
from models import MODELS, an_input, same_bits

import rnncore as rc
from rnncore.layers import storage
from rnncore.models.recorded import Case, Recorded
from rnncore.models.sequential import Sequential


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back(name, suffix, tmp_path, rng):
    case = MODELS[name]
    model, x = case.make(np.float32, True), an_input(case, 3, 5, np.float32, rng)
    for value in (*model.params.values(), *model.buffers.values()):
        value[...] = rng.uniform(0.1, 1, value.shape)
    model.save(tmp_path / f"model{suffix}")
    found = rc.load(tmp_path / f"model{suffix}")
    assert type(found) is Sequential
    assert repr(found) == repr(model)
    assert same_bits(found(x)[0], model(x)[0])
    assert found.buffers.keys() == model.buffers.keys()
    with np.load(tmp_path / "model.npz") if suffix == ".npz" else io.BytesIO() as arrays:
        if suffix == ".npz":
            assert {*arrays} == {*model.params, *model.buffers, "rnncore"}


@pytest.mark.parametrize("precision", [None, "bfloat16", "w8a16", "w8a8"])
@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_model_comes_back(name, precision, tmp_path, rng):
    case = MODELS[name]
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    fast = model.freeze(precision)
    fast.save(tmp_path / "fast.npz")
    found = rc.load(tmp_path / "fast.npz")
    assert found.precision == precision
    assert found.nbytes == fast.nbytes
    assert same_bits(found(x)[0], fast(x)[0])
    if precision is None:
        assert same_bits(fast(x)[0], model(x)[0])
    else:
        assert 0 < fast.compare(x).largest < 0.1
        with pytest.raises(ValueError, match="compare before saving"):
            found.compare(x)


def test_a_frozen_model_does_not_change(rng):
    case = MODELS["audio"]
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    fast = model.freeze()
    y = fast(x)[0]
    for value in (*model.params.values(), *model.buffers.values()):
        value[...] = 7
    assert same_bits(fast(x)[0], y)
    for value in fast.model["head"].params.values():
        assert not value.flags.writeable


def stored(options, arrays, kind="Sequential"):
    file = io.BytesIO()
    storage.save_arrays(file, kind, options, arrays)
    file.seek(0)
    return file


GRU = ["rnn", "GRU", {"input_size": 2, "hidden_size": 3}]
DEEP = ["Sequential", {"layers": [["a", "Activation", {"function": "relu"}]]}]
for _ in range(30):
    DEEP = ["Sequential", {"layers": [["a", *DEEP]]}]
REFUSED = {
    "no layers": {"layers": []},
    "no list": {"layers": 3},
    "more": {"layers": [GRU], "and": 1},
    "a word": {"layers": ["GRU"]},
    "unknown": {"layers": [["a", "Nothing", {}]]},
    "twice": {"layers": [GRU, GRU]},
    "an option": {"layers": [["a", "Linear", {"in_features": "x", "out_features": 2}]]},
    "huge": {"layers": [["a", "Linear", {"in_features": 10**9, "out_features": 10**9}]]},
    "deep": {"layers": [["a", *DEEP]]},
    "merge": {"layers": [["a", "Bidirectional", {"layer": ["GRU", {}], "merge": 1}]]},
    "a layer that is none": {"layers": [["a", "Frozen", {}]]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_tells_nonsense_is_refused(name):
    json.dumps(REFUSED[name])
    with pytest.raises(ValueError, match="holds no model"):
        rc.load(stored(REFUSED[name], {"rnn.x": np.zeros(3, np.float32)}))


def test_arrays_have_to_be_those_of_the_layers():
    with pytest.raises(ValueError, match=r"rnn\.weight_ih_l0"):
        rc.load(stored({"layers": [GRU]}, {"rnn.x": np.zeros(3, np.float32)}))


def with_record(model, x, lengths, y):
    case = Case(x, None if lengths is None else np.array(lengths), y)
    model.recorded = Recorded("a framework 1.0", (case,))
    return model


def write_record(path, y):
    """Put another output into a file."""
    kind, options, arrays = storage.load_arrays(path)
    storage.save_arrays(path, kind, options, {**arrays, "recorded.0.y": y})


@pytest.mark.parametrize("lengths", [None, [5, 0, 2]], ids=["whole", "lengths"])
def test_what_was_recorded_is_computed_again(lengths, tmp_path, rng):
    case, path = MODELS["audio"], tmp_path / "model.npz"
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    y, _ = model(x, lengths=lengths)
    with_record(model, x, lengths, y).save(path)
    found = rc.load(path)
    assert found.recorded.source == "a framework 1.0"
    assert same_bits(found.recorded.cases[0].x, x)
    assert found.recorded.check(found) == 0
    fast = found.freeze()
    fast.save(path)
    assert same_bits(rc.load(path)(x, lengths=lengths)[0], y)

    with_record(model, x, lengths, y).save(path)
    y = y.copy()
    y[1 if lengths is None else 2] *= 1.01
    write_record(path, y)
    with pytest.raises(ValueError, match=r"outputs are off by .* a framework 1\.0 gave"):
        rc.load(path)
    assert same_bits(rc.load(path, verify=False)(x)[0], model(x)[0])
    write_record(path, y[:2])
    with pytest.raises(ValueError, match=r"y has shape \(3, 2\)"):
        rc.load(path)


@pytest.mark.parametrize(
    "told",
    [3, {}, {"source": 1, "cases": []}, {"source": "a", "cases": [["z"]]},
     {"source": "a", "cases": [["x", "y"]]}],
    ids=str,
)  # fmt: skip
def test_nonsense_about_records_is_refused(told, rng):
    model = MODELS["audio"].make(np.float32, False)
    with pytest.raises(ValueError, match=r"holds no|recorded\.0"):
        rc.load(stored({**model.options, "recorded": told}, {**model.params, **model.buffers}))


def test_what_was_recorded_goes_where_the_model_was_trained_on(tmp_path, rng):
    case, path = MODELS["audio"], tmp_path / "model.npz"
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    with_record(model, x, None, model(x)[0]).save(path)
    found = rc.load(path)
    y, _, trace = found.forward(x)
    rc.SGD(found, 0.1).step(found.backward(trace, y))
    found.save(path)
    again = rc.load(path)
    assert again.recorded is None
    assert same_bits(again(x)[0], found(x)[0])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_one_array_is_one_again(suffix, tmp_path, rng):
    path = tmp_path / f"model{suffix}"
    layer = rc.Linear(4, 4, rng=0)
    model = rc.Sequential(a=layer, rnn=rc.GRU(4, 4, 2, rng=0), b=layer)
    model["rnn"].params["weight_hh_l1"] = model["rnn"].params["weight_ih_l0"]
    model.save(path)
    found, x = rc.load(path), rng.standard_normal((3, 2, 4)).astype(np.float32)
    for own in (model, found):
        y, _, trace = own.forward(x)
        rc.Adam(own, 0.1).step(own.backward(trace, y))
    assert found.params["b.weight"] is found.params["a.weight"]
    assert found.params["rnn.weight_hh_l1"] is found.params["rnn.weight_ih_l0"]
    for key, value in model.params.items():
        assert same_bits(found.params[key], value), key


@pytest.mark.parametrize(
    "ties", [3, {"a": "b"}, {"a.weight": "b.weight"}, {"b.weight": 3}, {"b.bias": "a.weight"}],
    ids=str,
)  # fmt: skip
def test_nonsense_about_ties_is_refused(ties):
    model = rc.Sequential(a=rc.Linear(4, 4, rng=0), b=rc.Linear(4, 4, rng=1))
    with pytest.raises(ValueError, match="holds no model"):
        rc.load(stored({**model.options, "ties": ties}, model.params))


def test_a_part_writes_onnx_too(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    layer, x = rc.Linear(5, 4, rng=0), np.ones((2, 3, 5), np.float32)
    layer.save(tmp_path / "layer.onnx")
    np.testing.assert_allclose(rc.load(tmp_path / "layer.onnx")(x)[0], layer(x), rtol=1e-6)
