"""Models: what their layers do one after the other, by hand and by a model."""

import copy
import pickle

import numpy as np
import pytest
from models import MODELS, an_input, same_bits
from numpy.testing import assert_array_equal

import rnncore as rc
from rnncore import gradcheck
from rnncore.models.activation import Activation
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.embedding import Embedding
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.residual import Residual
from rnncore.models.sequential import Sequential

LENGTHS = [5, 0, 2]


def test_a_model_is_its_layers_one_after_the_other(rng):
    embed, rnn, head = Embedding(11, 3, rng=0), rc.LSTM(3, 4, rng=0), Linear(4, 2, rng=0)
    model, x = Sequential(embed=embed, rnn=rnn, head=head), rng.integers(0, 11, (5, 3))
    y, state = rnn(embed(x))
    found, (last,) = model(x)
    assert same_bits(found, head(y))
    assert all(map(same_bits, last, state))
    again, _ = model(x, [state])
    assert same_bits(again, head(rnn(embed(x), state)[0]))
    assert model.names == ("embed", "rnn", "head")
    assert (len(model), model["rnn"], model[2], model.embed) == (3, rnn, head, embed)
    assert [*model] == [embed, rnn, head]
    assert model.params["rnn.weight_hh_l0"] is rnn.params["weight_hh_l0"]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_everything(name, lengths, rng):
    case = MODELS[name]
    model = case.make(np.float64, False)
    errors = gradcheck(model, an_input(case, 5, 3, np.float64, rng), lengths=lengths)
    assert errors.keys() >= model.params.keys()
    assert ("x" in errors) != case.ids


@pytest.mark.parametrize("name", MODELS)
def test_layouts_and_lengths_agree(name, rng):
    case = MODELS[name]
    model, other = case.make(np.float64, False), case.make(np.float64, True)
    x = an_input(case, 5, 3, np.float64, rng)
    y, state = model(x, lengths=LENGTHS)
    turned, ends = other(np.ascontiguousarray(x.swapaxes(0, 1)), lengths=LENGTHS)
    steps = y.ndim == 3
    assert same_bits(turned.swapaxes(0, 1) if steps else turned, y)
    for row, length in enumerate(LENGTHS):
        if not length:
            continue
        alone, last = model(x[:length, [row]])
        assert same_bits(y[:length, row] if steps else y[row], alone[:, 0] if steps else alone[0])
        for a, b in zip(state, last, strict=True):
            for part, one in zip(np.atleast_1d(a), np.atleast_1d(b), strict=True):
                assert same_bits(np.asarray(part)[..., row, :], np.asarray(one)[..., 0, :])
    if steps:
        assert not y[2:, 2].any()
    whole, _ = model(x)
    bare, _ = model(x[:, 1])
    assert same_bits(bare, whole[:, 1] if steps else whole[1])
    assert [a.shape for a in model(x)[1][0]] == [a.shape for a in ends[0]]


def test_a_trace_is_used_again_and_travels(rng):
    case = MODELS["audio"]
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    y, _, trace = model.forward(x, lengths=LENGTHS)
    first = model.backward(trace, y)
    for own in (trace, pickle.loads(pickle.dumps(trace)), copy.deepcopy(trace)):
        again = model.backward(own, y)
        assert same_bits(again.x, first.x)
        for key, value in first.params.items():
            assert same_bits(again.params[key], value), key


def test_only_the_last_state_has_a_gradient(rng):
    case = MODELS["language"]
    model, x = case.make(np.float64, False), an_input(case, 5, 3, np.float64, rng)
    y, state, trace = model.forward(x)
    grads = model.backward(trace, None, [(np.ones_like(state[0][0]), None)])
    same = model.backward(trace, np.zeros_like(y), [(np.ones_like(state[0][0]), None)])
    assert not grads.params["3.weight"].any()
    assert grads.params["0.weight"].any()
    for key, value in same.params.items():
        assert same_bits(grads.params[key], value)


def test_copies_have_arrays_of_their_own(rng):
    case = MODELS["tagger"]
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    y, _ = model(x)
    for own in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same_bits(own(x)[0], y)
        own.params["head.bias"][...] += 1
        assert not same_bits(own(x)[0], y)
    assert same_bits(model(x)[0], y)


def test_load_params_changes_all_or_nothing(rng):
    case = MODELS["tagger"]
    model, other = case.make(np.float32, False), case.make(np.float32, False)
    for value in other.params.values():
        value[...] = rng.standard_normal(value.shape)
    model.load_params(other.params)
    for key, value in other.params.items():
        assert same_bits(model.params[key], value)
    before = copy.deepcopy(model.params)
    wrong = {**case.make(np.float32, False).params, "head.bias": np.zeros(6, np.float32)}
    with pytest.raises(ValueError, match=r"head\.bias has shape \(6,\), expected \(5,\)"):
        model.load_params(wrong)
    for key, value in before.items():
        assert same_bits(model.params[key], value)


def test_the_table_shows_layers_and_sizes():
    model = Sequential(rnn=rc.GRU(3, 4), inner=Residual(Linear(4, 4)), last=Activation("relu"))
    lines = repr(model).splitlines()
    assert lines[0] == "Sequential("
    assert lines[1].split() == ["rnn", "GRU(3,", "4)", "108"]
    assert lines[2].split() == ["inner", "Residual:", "20"]
    assert lines[3].split()[:3] == ["0", "Linear(4,", "4)"]
    assert lines[-1] == "  128 parameters, 512 bytes)"


WRONG = {
    "nothing": (lambda: Sequential(), ValueError, "there are no layers"),
    "no layer": (lambda: Sequential(a=3), TypeError, "layer a is of type int"),
    "a name": (lambda: Sequential(**{"a.b": Pool("last")}), ValueError, "named 'a.b'"),
    "twice": (
        lambda: Sequential(Linear(3, 3), **{"0": Linear(3, 3)}),
        ValueError,
        "two layers are named '0'",
    ),
    "sizes": (
        lambda: Sequential(rnn=rc.GRU(3, 4), head=Linear(5, 2)),
        ValueError,
        "head reads 5 numbers, and rnn gives 4",
    ),
    "dtypes": (
        lambda: Sequential(a=rc.GRU(3, 4), b=Linear(4, 2, dtype=np.float64)),
        ValueError,
        "a computes in float32 and b float64",
    ),
    "layouts": (
        lambda: Sequential(a=rc.GRU(3, 4), b=Pool("last", batch_first=True)),
        ValueError,
        "a has batch_first False and b True",
    ),
    "no steps": (
        lambda: Sequential(a=Pool("last"), b=rc.GRU(3, 4)),
        ValueError,
        "b goes from step to step, and a leaves no steps",
    ),
    "residual": (lambda: Residual(Linear(3, 4)), ValueError, "read 3 numbers and give 4"),
    "one direction": (lambda: Bidirectional(rc.GRU(3, 4)), ValueError, "bidirectional=True"),
    "merge": (
        lambda: Bidirectional(rc.GRU(3, 4, bidirectional=True), "max"),
        ValueError,
        "merge is 'max'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        make()


def test_wrong_calls_are_refused(rng):
    case = MODELS["language"]
    model, x = case.make(np.float32, False), an_input(case, 5, 3, np.float32, rng)
    y, state, trace = model.forward(x)
    calls = [
        (lambda: model(x, state + state), ValueError, "state is 2 entries, expected a tuple of 1"),
        (lambda: model(x[:, 0], lengths=[5]), ValueError, "no batch, expected lengths=None"),
        (lambda: model(x, lengths=[6, 1, 1]), ValueError, "lengths"),
        (lambda: model.backward(trace), ValueError, "dy"),
        (lambda: model.backward(trace, y[:-1]), ValueError, "dy has shape"),
        (lambda: model.backward(y, y), TypeError, "trace is of type ndarray"),
        (lambda: model.forward(x, training=1), TypeError, "training"),
        (lambda: model["head"], KeyError, "there is no layer 'head'"),
        (lambda: model.freeze("w4"), ValueError, "precision is 'w4'"),
    ]
    for call, error, message in calls:
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(AttributeError, match="no attribute 'nams'"):
        model.nams = ()
    other = MODELS["audio"].make(np.float32, False)
    own = other.forward(an_input(MODELS["audio"], 5, 3, np.float32, rng))[2]
    with pytest.raises(ValueError, match="trace is of layers conv"):
        model.backward(own, np.zeros(own.y.shape, np.float32))


def test_a_layout_where_no_layer_has_one(rng):
    model = Sequential(rc.Linear(3, 2, rng=0), rc.Activation("tanh"), batch_first=True)
    x = rng.standard_normal((4, 4, 3)).astype(np.float32)
    y, _, trace = model.forward(x, lengths=[1, 4, 0, 2])
    assert_array_equal((y != 0).any(axis=-1), np.arange(4) < np.array([[1], [4], [0], [2]]))
    assert_array_equal(model.backward(trace, np.ones_like(y)).x.any(axis=-1), y.any(axis=-1))
    like = rc.Sequential(model, rc.GRU(2, 2, batch_first=True))
    assert like.options["layers"][0][2]["batch_first"] is True
    assert "batch_first" not in like.options
    with pytest.raises(ValueError, match="batch_first is True, and that of the layers is False"):
        Sequential(rc.GRU(3, 4), batch_first=True)
    with pytest.raises(TypeError, match="batch_first is"):
        Sequential(rc.Linear(3, 4), batch_first=1)
