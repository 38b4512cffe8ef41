"""A step at a time through whole models gives the bits of all steps at once."""

import copy
import pickle

import numpy as np
import pytest
from models import MODELS, an_input, same_bits

import rnncore as rc
from rnncore.models.activation import Activation
from rnncore.models.conv import Conv1d
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.residual import Residual
from rnncore.models.reverse import Reverse
from rnncore.models.sequential import Sequential

STREAMING = [name for name, case in MODELS.items() if case.streams]


def run(stream, x):
    return np.array([stream(x_t).copy() for x_t in x])


@pytest.mark.parametrize("precision", [None, "bfloat16", "w8a8"])
@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("name", STREAMING)
def test_steps_are_the_sequence(name, B, precision, rng):
    case = MODELS[name]
    fast = case.make(np.float32, False).freeze(precision)
    x = an_input(case, 7, B, np.float32, rng)
    y, state = fast(x)
    stream = fast.stream(B)
    steps = run(stream, x)
    assert same_bits(steps if y.ndim == 3 else steps[-1], y)
    for a, b in zip(stream.state, state, strict=True):
        for part, one in zip(a, b, strict=True):
            assert same_bits(part, one)
    if y.ndim == 2:  # every step is as if it were the last
        for t in range(1, 7):
            assert same_bits(steps[t - 1], fast(x[:t])[0])


@pytest.mark.parametrize("name", STREAMING)
def test_float64_and_threads(name, rng):
    case = MODELS[name]
    fast, x = case.make(np.float64, False).freeze(), an_input(case, 5, 2, np.float64, rng)
    y, _ = fast(x)
    with rc.num_threads(2):
        steps = run(fast.stream(2), x)
    assert same_bits(steps if y.ndim == 3 else steps[-1], y)


@pytest.mark.parametrize("kind", ["last", "first", "mean", "max"])
def test_pools_of_the_steps_so_far(kind, rng):
    fast = Sequential(rc.GRU(3, 5, rng=0), Pool(kind)).freeze()
    x = rng.standard_normal((6, 2, 3)).astype(np.float32)
    for t, y in enumerate(run(fast.stream(2), x)):
        assert same_bits(y, fast(x[: t + 1])[0]), t


FUNCTIONS = [
    "identity", "sigmoid", "tanh", "relu", "gelu", "gelu_tanh", "silu", "mish", "elu", "selu",
    "relu6", "hard_tanh", "hard_swish", "log_sigmoid", "exponential", "softplus", "softsign",
    "hard_sigmoid", "softmax", "log_softmax", ("leaky_relu", 0.3), ("celu", 0.7),
    ("scaled_tanh", 0.5, 2.0), ("thresholded_relu", 0.4), ("affine", 2.0, -1.0),
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_every_function_streams(function, rng):
    fast = Sequential(Linear(3, 19, rng=0), Activation(function)).freeze()
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    assert same_bits(run(fast.stream(2), x), fast(x)[0])


@pytest.mark.parametrize("name", STREAMING)
def test_copies_and_pickles_go_on_by_themselves(name, rng):
    case = MODELS[name]
    fast, x = case.make(np.float32, False).freeze(), an_input(case, 8, 2, np.float32, rng)
    stream = fast.stream(2)
    run(stream, x[:3])
    others = [stream.copy(), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    expected = run(stream, x[3:])
    for other in others:
        assert same_bits(run(other, x[3:]), expected)
    stream.reset()
    assert same_bits(run(stream, x[:3]), run(fast.stream(2), x[:3]))


@pytest.mark.parametrize("name", STREAMING)
def test_some_rows_begin_anew(name, rng):
    case = MODELS[name]
    fast, x = case.make(np.float32, False).freeze(), an_input(case, 8, 3, np.float32, rng)
    stream, other = fast.stream(3), fast.stream(3)
    run(stream, x[:3])
    run(other, x[:3])
    stream.reset(rows=[0, 2])
    found, going_on, fresh = run(stream, x[3:]), run(other, x[3:]), run(fast.stream(3), x[3:])
    assert same_bits(found[:, 1], going_on[:, 1])
    assert same_bits(found[:, [0, 2]], fresh[:, [0, 2]])


def test_a_layers_stream_resets_rows(rng):
    fast = rc.LSTM(3, 5, 2, rng=0).freeze()
    x = rng.standard_normal((8, 3, 3)).astype(np.float32)
    stream = fast.stream(3)
    run(stream, x[:3])
    kept, given = stream.state, rng.standard_normal((2, 2, 1, 5)).astype(np.float32)
    stream.reset(tuple(given), rows=[1])
    for part, before, new in zip(stream.state, kept, given, strict=True):
        assert same_bits(part[:, [0, 2]], before[:, [0, 2]])
        assert same_bits(part[:, [1]], new)
    for wrong, message in (([3], "rows"), ([0.5], "rows"), ([-1], "rows")):
        with pytest.raises((TypeError, ValueError), match=message):
            stream.reset(rows=wrong)


def test_an_array_of_ones_own_is_written_to(rng):
    fast = MODELS["language"].make(np.float32, False).freeze()
    stream, out = fast.stream(2), np.empty((2, 11), np.float32)
    ids = np.array([3, 4])
    assert stream(ids, out=out) is out
    assert same_bits(out, fast.stream(2)(ids))
    assert same_bits(fast.stream(2)(np.array([3, 4], np.int32)), out)
    first = fast.stream(2).__call__
    for wrong, message in (
        (np.array([3, 11]), "x"),
        (np.array([3.0, 1.0]), "x"),
        (np.array([3]), "x"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            first(wrong)
    with pytest.raises(ValueError, match="out has shape"):
        stream(ids, out=np.empty((2, 10), np.float32))
    with pytest.raises(ValueError, match="out is not contiguous"):
        stream(ids, out=np.empty((2, 22), np.float32)[:, ::2])


@pytest.mark.parametrize(
    "layers",
    [
        [Conv1d(3, 4, 3)],
        [Conv1d(3, 4, 3, padding="same")],
        [Conv1d(3, 4, 3, padding="causal", stride=2)],
        [rc.GRU(3, 4), Reverse()],
        [rc.GRU(3, 4, bidirectional=True)],
        [rc.GRU(3, 4), Pool("max", 2)],
        [Residual(Linear(3, 3), Reverse())],
    ],
    ids=str,
)
def test_what_needs_steps_to_come_is_named(layers):
    with pytest.raises(ValueError, match=r"does not go step by step|has two directions"):
        Sequential(*layers).freeze().stream()


def test_a_function_may_stand_first(rng):
    x = rng.standard_normal((4, 2, 5)).astype(np.float32)
    fast = Sequential(
        Activation("tanh"), Residual(Activation("relu")), rc.GRU(5, 3, rng=0)
    ).freeze()
    assert same_bits(run(fast.stream(2), x), fast(x)[0])
    with pytest.raises(ValueError, match="reads any number of inputs"):
        Sequential(Activation("tanh")).freeze().stream()
