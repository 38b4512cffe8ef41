"""Masks of Keras as lengths: the same outputs, and what cannot be the same is refused."""

import re

import numpy as np
import pytest
from in_keras import outputs, randomised, three_ways
from numpy.testing import assert_allclose, assert_array_equal

import rnncore as rc
from rnncore.convert.from_keras import from_keras
from rnncore.convert.keras_masks import without_masked

keras = pytest.importorskip("keras", reason="Keras is not installed")
L = keras.layers
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning"),
]
B, T, I, H = 4, 6, 5, 3
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def ids(rng, holes=False):
    """Rows with padding behind them, or with steps that are not there anywhere."""
    x = rng.integers(1, 11, (B, T))
    if holes:
        x[rng.random((B, T)) < 0.4] = 0
        x[:, 2] = 5
    else:
        for row, length in enumerate((6, 2, 4, 1)):
            x[row, length:] = 0
    return x


def embedded(rng, *layers, functional=False):
    if not functional:
        first = [L.Input((None,), dtype="int32"), L.Embedding(11, I, mask_zero=True)]
        return randomised(keras.Sequential([*first, *layers]), rng)
    start = keras.Input((None,), dtype="int32")
    h = L.Embedding(11, I, mask_zero=True)(start)
    for layer in layers:
        h = layer(h)
    return randomised(keras.Model(start, h), rng)


TO_ROWS = {
    "lstm": lambda: [L.LSTM(H)],
    "stack": lambda: [L.GRU(H, return_sequences=True), L.Dropout(0.5), L.SimpleRNN(H), L.Dense(2)],
    "cells": lambda: [L.RNN([L.LSTMCell(H), L.GRUCell(2)])],
    "backwards": lambda: [L.GRU(H, go_backwards=True)],
    "both": lambda: [L.Bidirectional(L.LSTM(H)), L.Dense(2)],
    "both sum": lambda: [L.Bidirectional(L.GRU(H), merge_mode="sum")],
    "both of both": lambda: [
        L.Bidirectional(L.LSTM(H, return_sequences=True), merge_mode="mul"),
        L.LayerNormalization(),
        L.Bidirectional(L.GRU(H), merge_mode="ave"),
    ],
    "mean": lambda: [L.LSTM(H, return_sequences=True), L.GlobalAveragePooling1D(), L.Dense(2)],
    "mean alone": lambda: [L.Dense(3), L.GlobalAveragePooling1D()],
    "max of what is held": lambda: [
        L.LSTM(H, return_sequences=True), L.Dense(3, activation="tanh"), L.GlobalMaxPooling1D()
    ],
    "time": lambda: [L.TimeDistributed(L.Dense(4)), L.BatchNormalization(), L.GRU(H)],
}  # fmt: skip


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("name", TO_ROWS)
def test_one_output_a_row(name, functional, tmp_path, rng):
    model = embedded(rng, *TO_ROWS[name](), functional=functional)
    for x in ids(rng), ids(rng, holes="max" not in name):
        expected = outputs(model, x)
        moved, lengths = without_masked(x)
        for made in three_ways(model, tmp_path):
            assert_allclose(made(moved, lengths=lengths)[0], expected, **CLOSE)


@pytest.mark.parametrize("both", [False, True])
def test_an_output_a_step(both, tmp_path, rng):
    layer = L.LSTM(H, return_sequences=True)
    model = embedded(rng, L.Bidirectional(layer) if both else layer, L.Dense(2))
    x = ids(rng, holes=True)
    expected = outputs(model, x)
    moved, lengths = without_masked(x)
    for made in three_ways(model, tmp_path):
        y, _ = made(moved, lengths=lengths)
        for row, length in enumerate(lengths):
            assert_allclose(y[row, :length], expected[row, x[row] != 0], **CLOSE)
            assert not y[row, length:].any()


@pytest.mark.parametrize("value", [0.0, -1.5])
def test_masking(value, tmp_path, rng):
    layers = L.GRU(H, return_sequences=True), L.Bidirectional(L.LSTM(H)), L.Dense(2)
    model = keras.Sequential([L.Input((None, I)), L.Masking(value), *layers])
    start = keras.Input((None, I))
    h = L.Masking(value)(start)
    for layer in layers:
        h = layer(h)
    randomised(model, rng)
    x = rng.standard_normal((B, T, I)).astype(np.float32)
    x[rng.random((B, T)) < 0.4] = value
    x[0] = 1
    expected = outputs(model, x)
    moved, lengths = without_masked(x, value)
    for theirs in model, keras.Model(start, h):
        for made in three_ways(theirs, tmp_path):
            assert_allclose(made(moved, lengths=lengths)[0], expected, **CLOSE)
            with pytest.raises(ValueError, match=f"with {value:g} in all places, which the model"):
                made(x)


def test_steps_that_keras_would_skip_are_refused(rng):
    made = from_keras(embedded(rng, L.LSTM(H)))
    x = ids(rng)
    told = "x has 11 masked steps within its lengths, the id 0, which the model skips"
    with pytest.raises(ValueError, match=told):
        made(x)
    with pytest.raises(ValueError, match="x has 1 masked steps within its lengths"):
        made(x, lengths=[6, 2, 5, 1])
    assert "UnmaskedEmbedding" in repr(made)
    made(x, lengths=[6, 2, 4, 1])


def test_a_model_with_a_guard_learns_and_lies_in_a_file(tmp_path, rng):
    layers = L.LSTM(H, return_sequences=True), L.Bidirectional(L.GRU(2), merge_mode="mul")
    made = from_keras(embedded(rng, *layers))
    x, lengths = ids(rng), [6, 2, 4, 1]
    y, _, trace = made.forward(x, lengths=lengths)
    grads = made.backward(trace, np.ones_like(y))
    assert grads.x is None
    assert grads.params.keys() == made.params.keys()
    made.save(tmp_path / "m.npz")
    assert_array_equal(rc.load(tmp_path / "m.npz")(x, lengths=lengths)[0], y)
    assert_array_equal(made.freeze()(x, lengths=lengths)[0], y)


def test_without_the_guard_a_model_can_be_streamed(rng):
    model = embedded(rng, L.LSTM(H, return_sequences=True), L.Dense(2))
    made = from_keras(model, guard=False)
    x = rng.integers(1, 11, (1, T))
    stream = made.freeze().stream()
    steps = np.stack([stream(x[:, t]).copy() for t in range(T)], axis=1)
    assert_allclose(steps, outputs(model, x), **CLOSE)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [L.Conv1D(4, 2), L.GRU(H)],
        lambda: [L.Dense(3), L.GlobalMaxPooling1D()],
        lambda: [L.MaxPooling1D(2)],
        lambda: [L.Dense(2)],
    ],
)
def test_a_mask_that_nobody_heeds(layers, tmp_path, rng):
    """Keras drops it before anything is skipped: so the id 0 is like any other."""
    model = embedded(rng, *layers())
    x = ids(rng, holes=True)
    expected = outputs(model, x)
    for made in three_ways(model, tmp_path):
        assert_allclose(made(x)[0], expected, **CLOSE)
        assert "Unmasked" not in repr(made)


REFUSED = {
    "a mask in the middle": (
        lambda: [L.Input((None, I)), L.Dense(3, name="d"), L.Masking(name="m"), L.LSTM(H)],
        "layer 'm' (Masking) masks what layer 'd' gives: here rows have lengths from the start",
    ),
    "a mask that is dropped": (
        lambda: [L.Input((None,)), L.Embedding(11, I, mask_zero=True, name="e"),
                 L.LSTM(H, return_sequences=True), L.Conv1D(3, 2, name="c")],
        "layer 'c' (Conv1D) drops the mask that layer 'e' (Embedding) has made",
    ),
    "zeros that are the largest": (
        lambda: [L.Input((None,)), L.Embedding(11, I, mask_zero=True),
                 L.Bidirectional(L.LSTM(H, return_sequences=True)),
                 L.GlobalMaxPooling1D(name="p")],
        "layer 'p' (GlobalMaxPooling1D) drops the mask that layer",
    ),
    "zeros in the place of steps": (
        lambda: [L.Input((None, I)), L.Masking(-1.0), L.Conv1D(3, 2, name="c")],
        "layer 'c' (Conv1D) drops the mask that layer 'masking",
    ),
    "a mask that is not turned": (
        lambda: [L.Input((None, I)), L.Masking(),
                 L.LSTM(H, return_sequences=True, go_backwards=True, name="b")],
        "layer 'b' (LSTM) goes backwards with a mask, and gives it on as if it did not",
    ),
    "two masks": (
        lambda: [L.Input((None, I)), L.Masking(name="a"), L.Masking(name="b"), L.LSTM(H)],
        "layer 'b' (Masking) makes a mask, and layer 'a' (Masking) has made one before",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_lengths_cannot_say(name):
    layers, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        from_keras(keras.Sequential(layers()))


BY_STEP = {
    "embedding": (True, lambda: [L.Embedding(11, I, mask_zero=True), L.Dense(2)]),
    "relu": (False, lambda: [L.Masking(), L.ReLU()]),
    "time distributed": (False, lambda: [L.Masking(), L.TimeDistributed(L.Dense(2))]),
    "layer norm": (True, lambda: [L.Embedding(11, I), L.LayerNormalization()]),
    "batch norm": (False, lambda: [L.Masking(), L.BatchNormalization()]),
}


@pytest.mark.parametrize("name", BY_STEP)
def test_lengths_of_layers_without_a_layout(name, rng, tmp_path):
    """As many rows as steps, so that no shape tells which is which."""
    of_ids, layers = BY_STEP[name]
    x = rng.integers(1, 11, (B, B)) if of_ids else rng.standard_normal((B, B, I)).astype("f4")
    start = L.Input((None,) if of_ids else (None, I), dtype="int32" if of_ids else None)
    model = randomised(keras.Sequential([start, *layers()]), rng)
    found, lengths = from_keras(model), np.array([1, 4, 0, 2])
    expected = np.array(keras.ops.convert_to_numpy(model(x)))
    expected[np.arange(B) >= lengths[:, np.newaxis]] = 0
    found.save(tmp_path / "m.npz")
    found.freeze().save(tmp_path / "f.npz")
    for one in (found, rc.load(tmp_path / "m.npz"), rc.load(tmp_path / "f.npz")):
        assert_allclose(one(x, lengths=lengths)[0], expected, **CLOSE)
    assert found.batch_first is True


def test_without_masked():
    x, lengths = without_masked(np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])[..., np.newaxis])
    assert_array_equal(x[..., 0], [[1, 0, 0], [2, 3, 0]])
    assert_array_equal(lengths, [1, 2])
    for wrong in [[1, 2]], np.zeros(3), np.zeros((2, 2), bool):
        with pytest.raises(ValueError, match=r"^x has .*, expected integers \(B, T\) or floats"):
            without_masked(wrong)
