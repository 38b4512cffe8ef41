"""Dropout between layers, on the recurrent input, and zoneout: what is drawn, and its gradients.

What a mask does is read off layers that only copy: relu of the input, or of the state before.
"""

import copy
from itertools import product

import numpy as np
import pytest
from problems import KINDS, assert_same_bits, draw, everything, gaps, load_layer, results

from rnncore import GRU, LSTM, RNN, gradcheck
from rnncore.layers.on_reference import on_reference

DROPPING = {
    "between": {"dropout": 0.4},
    "recurrent": {"recurrent_dropout": 0.3},
    "zoneout": {"zoneout": 0.25},
}
# Each, each two, and all three.
COMBINATIONS = {
    " and ".join(names): {k: v for name in names for k, v in DROPPING[name].items()}
    for chosen in product((True, False), repeat=3)
    if (names := [name for name, here in zip(DROPPING, chosen, strict=True) if here])
}
LENGTHS = {"no lengths": None, "lengths": (4, 0, 6)}

each_kind = pytest.mark.parametrize("kind", KINDS)
each_combination = pytest.mark.parametrize("combination", COMBINATIONS)
each_lengths = pytest.mark.parametrize("lengths", LENGTHS)


def dropping_problem(kind, combination, lengths, rng, **options):
    cell, own = KINDS[kind]
    options = {"input_size": 3, "hidden_size": 4, "num_layers": 2, **own, **options}
    options |= {"dtype": "float64", "rng": 0, **COMBINATIONS[combination]}
    return draw(cell, options, 6, 3, everything(cell), rng, LENGTHS[lengths])


# The gradients are those of the function that the masks make of the layer


@pytest.mark.parametrize("bidirectional", [False, True])
@each_lengths
@each_combination
@each_kind
def test_gradients(kind, combination, lengths, bidirectional, rng):
    problem = dropping_problem(kind, combination, lengths, rng, bidirectional=bidirectional)
    layer, given = load_layer(problem), problem.inputs
    gradcheck(layer, given["x"], lengths=given.get("lengths"), directions=1)


@pytest.mark.parametrize("bidirectional", [False, True])
@each_lengths
@each_combination
@each_kind
def test_the_reference_with_the_same_masks(kind, combination, lengths, bidirectional, rng):
    problem = dropping_problem(kind, combination, lengths, rng, bidirectional=bidirectional)
    layer = load_layer(problem)
    twin = on_reference(copy.deepcopy(layer))
    worst = gaps(results(layer, problem.inputs), results(twin, problem.inputs))
    assert max(worst.values()) < 1e-13, worst


# Off at inference


@each_combination
@each_kind
def test_inference_has_the_bits_of_a_layer_without(kind, combination, rng):
    problem = dropping_problem(kind, combination, "lengths", rng)
    layer, x = load_layer(problem), problem.inputs["x"]
    off = dict.fromkeys(("dropout", "recurrent_dropout", "zoneout"), 0.0)
    plain = load_layer(problem._replace(options={**problem.options, **off}))
    before = copy.deepcopy(layer._rng).random()
    for options in ({}, {"lengths": (4, 0, 6)}):
        want, _ = plain(x, **options)
        np.testing.assert_array_equal(layer(x, **options)[0], want)
        np.testing.assert_array_equal(layer.freeze()(x, **options)[0], want)
        np.testing.assert_array_equal(layer.forward(x, **options, training=False)[0], want)
    stream = layer.freeze().stream(3)
    for x_t, y_t in zip(x, plain(x)[0], strict=True):
        np.testing.assert_array_equal(stream(x_t), y_t)
    assert copy.deepcopy(layer._rng).random() == before  # nothing was drawn


# Reproducible


@each_combination
@each_kind
def test_a_seed_says_what_is_dropped(kind, combination, rng):
    problem = dropping_problem(kind, combination, "no lengths", rng)

    def runs(seed):
        options = {**problem.options, "rng": seed}
        layer = load_layer(problem._replace(options=options))
        return [results(layer, problem.inputs) for _ in range(2)]

    first, second = runs(7)
    again_first, again_second = runs(np.random.default_rng(7))
    assert_same_bits(again_first, first)
    assert_same_bits(again_second, second)
    assert not np.array_equal(first["y"], second["y"])  # drawn anew at every call
    assert not np.array_equal(runs(8)[0]["y"], first["y"])


@each_combination
def test_a_trace_holds_what_was_dropped(combination, rng):
    """Whatever is drawn in between, backward has the masks of its own forward pass."""
    problem = dropping_problem("LSTM", combination, "no lengths", rng)
    layer, given = load_layer(problem), problem.inputs
    _, _, trace = layer.forward(given["x"])
    want = layer.backward(trace, given["dy"])
    layer.forward(given["x"])
    got = layer.backward(trace, given["dy"])
    assert_same_bits({"x": got.x, **got.params}, {"x": want.x, **want.params})


# What is dropped: shares, scales, and where

UNITS = 40
SHARES = (0.1, 0.5, 0.8)


def copying(layers=1, state=0.0, **options):
    """A stack of relu layers: h = x + state * h, of what the masks leave; biases are 0."""
    options = {"nonlinearity": "relu", "bias": False, "dtype": np.float64, "rng": 0, **options}
    layer = RNN(UNITS, UNITS, layers, **options)
    for name, value in layer.params.items():
        value[...] = 0 if "bias" in name else np.eye(UNITS) * (state if "hh" in name else 1)
    return layer


def assert_share(happened: np.ndarray, share: float) -> None:
    """Of n independent draws a share p happens, with the deviation sqrt(p (1 - p) / n).

    By chance five times that is passed in one of 1.7 million tests (the normal distribution).
    """
    deviation = np.sqrt(share * (1 - share) / happened.size)
    assert abs(happened.mean() - share) < 5 * deviation


@pytest.mark.parametrize("share", SHARES)
def test_dropout_between_layers(share):
    y, _, _ = copying(layers=2, dropout=share).forward(np.ones((50, 9, UNITS)))
    assert_share(y == 0, share)
    # What is left is scaled once: it was not dropped from the first input nor the last output.
    np.testing.assert_allclose(y[y != 0], 1 / (1 - share), rtol=1e-15)
    for axis in range(3):  # anew for every step, row and unit
        assert (np.diff(y, axis=axis) != 0).any()
    # In the mean it changes nothing: of y, with the variance share / (1 - share).
    assert abs(y.mean() - 1) < 5 * np.sqrt(share / (1 - share) / y.size)


def test_dropout_leaves_the_last_output_and_the_first_input():
    x = np.ones((5, 3, UNITS))
    with pytest.warns(UserWarning, match="dropout is 0.9 and does nothing"):
        single = copying(dropout=0.9)
    np.testing.assert_array_equal(single.forward(x)[0], single(x)[0])

    # A bias behind the last product shows zeros of the output that are not of its input.
    layer = copying(layers=2, dropout=0.5, bias=True)
    layer.params["bias_ih_l1"][...] = 1
    y, _, _ = layer.forward(x)
    assert set(np.unique(y)) == {1.0, 3.0}


def test_dropout_between_three_layers_is_drawn_twice():
    y, _, _ = copying(layers=3, dropout=0.5).forward(np.ones((50, 9, UNITS)))
    assert set(np.unique(y)) == {0.0, 4.0}
    assert_share(y != 0, 0.25)


@pytest.mark.parametrize("share", SHARES)
def test_recurrent_dropout_is_one_mask_a_sequence(share):
    layer, rows, steps = copying(state=1.0, recurrent_dropout=share), 60, 4
    y, h, _ = layer.forward(np.zeros((steps, rows, UNITS)), np.ones((1, rows, UNITS)))
    assert_share(y[0] == 0, share)
    for t in range(steps):  # what was dropped at the first step, and nothing else
        np.testing.assert_allclose(y[t], y[0] ** (t + 1), rtol=1e-14)
    np.testing.assert_allclose(y[0][y[0] != 0], 1 / (1 - share), rtol=1e-15)
    assert (np.diff(y[0], axis=0) != 0).any()  # every row has its own
    assert abs(y[0].mean() - 1) < 5 * np.sqrt(share / (1 - share) / y[0].size)
    np.testing.assert_array_equal(h[0], y[-1])


def test_recurrent_dropout_of_every_layer_and_direction_is_its_own():
    options = {"nonlinearity": "relu", "bidirectional": True, "recurrent_dropout": 0.5, "rng": 0}
    layer = RNN(UNITS, UNITS, 2, bias=False, dtype=np.float64, **options)
    for name, value in layer.params.items():
        value[...] = np.eye(UNITS) if "hh" in name else 0
    _, h, _ = layer.forward(np.zeros((1, 9, UNITS)), np.ones((4, 9, UNITS)))
    for k, other in ((0, 1), (0, 2), (1, 3), (2, 3)):
        assert not np.array_equal(h[k], h[other])
        assert_share(h[k] == h[other], 0.5)  # no more alike than chance makes them


@pytest.mark.parametrize("share", SHARES)
def test_zoneout_keeps_a_share_of_the_state_as_it_was(share):
    steps, rows = 50, 9
    x = np.broadcast_to(np.arange(1.0, steps + 1)[:, None, None], (steps, rows, UNITS))
    y, _, _ = copying(zoneout=share).forward(x)
    before = np.concatenate((np.zeros((1, rows, UNITS)), y[:-1]))
    kept = y == before
    np.testing.assert_array_equal(y[~kept], x[~kept])  # either, and nothing between
    assert_share(kept, share)
    for axis in range(3):
        assert np.diff(kept, axis=axis).any()


def test_zoneout_of_memory_and_output_are_drawn_apart():
    """One step: i = f = 1 and g = 1 make c = c0 + 1; what stays as it was has c0, and h0."""
    rows, share = 100, 0.5
    layer = LSTM(1, UNITS, zoneout=share, dtype=np.float64, rng=0)
    for value in layer.params.values():
        value[...] = 0
    layer.params["bias_ih_l0"][...] = 100.0
    start = np.full((1, rows, UNITS), 7.0), np.full((1, rows, UNITS), 7.0)
    _, (h, c), _ = layer.forward(np.zeros((1, rows, 1)), start)
    assert set(np.unique(c)) == {7.0, 8.0}
    h_kept, c_kept = h == 7, c == 7
    # h comes of the memory that the step has made, kept or not (Krueger et al. 2017).
    np.testing.assert_allclose(h[~h_kept], np.tanh(8.0), rtol=1e-15)
    assert_share(h_kept, share)
    assert_share(c_kept, share)
    assert_share(h_kept & c_kept, share**2)


def test_masks_are_read_only_and_counted():
    options = {"dropout": 0.5, "recurrent_dropout": 0.5, "zoneout": 0.5}
    T, B, H = 5, 3, 4
    layer, plain = GRU(H, H, 2, **options, rng=0), GRU(H, H, 2, rng=0)
    x = np.ones((T, B, H), np.float32)
    *_, trace = layer.forward(x)
    *_, without = plain.forward(x)
    masks = T * B * H + 2 * (T * B * H + B * H)  # between; for each layer, zoneout and recurrent
    assert trace.nbytes >= without.nbytes + masks * 4
    assert not trace.dropped[0].flags.writeable
