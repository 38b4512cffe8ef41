"""The parts that models of Keras need: ends of both directions, and the guard of masks."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import rnncore as rc
from rnncore.models.ends import Ends
from rnncore.models.sequential import Sequential
from rnncore.models.unmasked import Unmasked, UnmaskedEmbedding

MERGES = {
    "concat": lambda a, b: np.concatenate((a, b), axis=-1),
    "sum": np.add,
    "mul": np.multiply,
    "ave": lambda a, b: (a + b) / 2,
}
LENGTHS = [None, (6, 3, 0, 1), (6, 6, 6, 6)]
T, B = 6, 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("merge", MERGES)
def test_ends_are_the_final_states(merge, lengths, dtype, rng):
    layer = rc.LSTM(3, 5, bidirectional=True, dtype=dtype, rng=rng)
    x = rng.standard_normal((T, B, 3)).astype(dtype)
    y, (h, _) = layer(x, lengths=lengths)
    found = Ends(10, merge)(y, lengths=lengths)
    assert found.dtype == dtype
    assert_array_equal(found, MERGES[merge](*h).astype(dtype))
    turned = Ends(10, merge, batch_first=True)(y.swapaxes(0, 1), lengths=lengths)
    assert_array_equal(turned, found)
    if lengths is None:
        assert_array_equal(Ends(10, merge)(y[:, 0]), found[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("size", [2, 34])
@pytest.mark.parametrize("merge", MERGES)
def test_gradients_of_ends(merge, size, lengths, batch_first, rng):
    part = Ends(size, merge, batch_first=batch_first)
    for steps in T, 1:
        x = rng.standard_normal((B, steps, size) if batch_first else (steps, B, size))
        own = None if lengths is None else np.minimum(lengths, steps)
        assert max(rc.gradcheck(part, x, lengths=own).values()) < 1e-6


@pytest.mark.parametrize("merge", MERGES)
def test_padding_of_ends_is_not_read(merge, rng):
    x = rng.standard_normal((T, B, 4))
    x[3:, 1], x[:, 2] = np.nan, np.nan
    part = Ends(4, merge)
    y, trace = part.forward(x, lengths=LENGTHS[1])
    assert np.isfinite(y).all()
    assert not y[2].any()
    dx = part.backward(trace, np.ones_like(y)).x
    assert not dx[3:, 1].any()
    assert not dx[:, 2].any()
    for again in pickle.loads(pickle.dumps(trace)), copy.deepcopy(trace):
        assert_array_equal(part.backward(again, np.ones_like(y)).x, dx)


def test_ends_in_a_model(tmp_path, rng):
    layer = rc.GRU(3, 4, bidirectional=True, rng=rng)
    model = Sequential(rnn=layer, ends=Ends(8, "sum"), head=rc.Linear(4, 2, rng=rng))
    x = rng.standard_normal((T, B, 3)).astype(np.float32)
    y, _ = model(x, lengths=LENGTHS[1])
    model.save(tmp_path / "m.npz")
    assert_array_equal(rc.load(tmp_path / "m.npz")(x, lengths=LENGTHS[1])[0], y)
    with pytest.raises(ValueError, match="head reads 8 numbers, and ends gives 4"):
        Sequential(rnn=layer, ends=Ends(8, "sum"), head=rc.Linear(8, 2))
    with pytest.raises(ValueError, match="goes from step to step"):
        Sequential(rnn=layer, ends=Ends(8, "sum"), again=rc.GRU(4, 2))


def test_wrong_ends():
    for size, error in ((3, ValueError), (0, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match=r"^size is "):
            Ends(size)
    with pytest.raises(ValueError, match=r"^merge is 'max', expected 'concat'"):
        Ends(4, "max")
    with pytest.raises(ValueError, match=r"^x has shape \(2, 3, 6\), expected \(T, B, 4\)"):
        Ends(4)(np.zeros((2, 3, 6)))


IDS = np.array([[3, 1, 0], [2, 0, 5]])
ROWS = np.array([[[1.0, 2.0], [0.0, 1.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0], [0.0, 7.0]]])


def embedding(**options):
    return UnmaskedEmbedding(6, 2, dtype=np.float64, rng=0, **options)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("part", "x"), [(embedding(), IDS), (Unmasked(), ROWS)], ids=str)
def test_steps_that_are_there_go_on(part, x, batch_first):
    expected = part.params["weight"][IDS] if x is IDS else x
    given = x if batch_first else np.ascontiguousarray(x.swapaxes(0, 1))
    y = part(given, lengths=[2, 1], batch_first=batch_first)
    y = y if batch_first else y.swapaxes(0, 1)
    assert y.dtype == np.float64
    assert_array_equal(y[0, :2], expected[0, :2])
    assert_array_equal(y[1, :1], expected[1, :1])
    assert not y[0, 2].any()
    assert not y[1, 1:].any()
    for lengths in [3, 1], [2, 2], None:
        with pytest.raises(ValueError, match=r"^x has \d masked steps within its lengths, "):
            part(given, lengths=lengths, batch_first=batch_first)


def test_gradients_of_guards(rng):
    x = rng.standard_normal((T, B, 3))
    assert rc.gradcheck(Unmasked(), x, lengths=LENGTHS[1])["x"] < 1e-6
    x = rng.integers(1, 6, (T, B))
    assert rc.gradcheck(embedding(), x, lengths=LENGTHS[1])["weight"] < 1e-6


def test_guards_in_a_file(tmp_path):
    for part, x in (embedding(masked=5), IDS[:, :1]), (Unmasked(0.5), ROWS):
        part.save(tmp_path / "part.npz")
        again = rc.load(tmp_path / "part.npz")
        assert repr(again) == repr(part)
        assert again.options == part.options
        assert_array_equal(again(x), part(x))
    assert repr(part) == "Unmasked(0.5)"


def test_wrong_guards():
    for masked in -1, 1.0, True:
        with pytest.raises((TypeError, ValueError), match=r"^masked is "):
            embedding(masked=masked)
    with pytest.raises(ValueError, match=r"^masked is nan, expected a finite number"):
        Unmasked(float("nan"))
