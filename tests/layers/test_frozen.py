"""Frozen layers and streams: the bits of the layer, in whatever pieces the steps come."""

import gc
import sys
import tracemalloc

import numpy as np
import pytest
from problems import KINDS

import rnncore

LAYERS = {name: kind for name, kind in KINDS.items() if "proj_size" not in kind[1]} | {
    "LSTM-current-3": ("LSTM", {"peephole": "current", "num_layers": 3}),
    "GRU-before-2": ("GRU", {"reset": "before", "num_layers": 2}),
    "RNN-relu-no-bias": ("RNN", {"nonlinearity": "relu", "bias": False}),
    "LayerNormLSTM-no-bias-2": ("LayerNormLSTM", {"bias": False, "num_layers": 2}),
}
SIZES = [(1, 5, 17), (3, 33, 16), (7, 1, 1), (13, 15, 33)]  # B, I, H
T = 6


def make(name, dtype, I, H, **options):
    kind, own = LAYERS[name]
    return getattr(rnncore, kind)(I, H, dtype=dtype, rng=1, **own, **options)


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def assert_same_bits(got, expected):
    for a, b in zip(as_tuple(got), as_tuple(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_frozen_and_stream_give_the_bits_of_the_layer(name, sizes, dtype, rng):
    B, I, H = sizes
    layer = make(name, dtype, I, H)
    x = rng.standard_normal((T, B, I)).astype(dtype)
    y, state = layer(x)
    frozen = layer.freeze()
    assert_same_bits(frozen(x)[0], y)
    assert_same_bits(frozen(x)[1], state)
    stream = frozen.stream(batch_size=B)
    np.testing.assert_array_equal([stream(x_t).copy() for x_t in x], y)
    assert_same_bits(stream.state, state)
    # And on from there, in one go and step by step
    y_next, _ = layer(x, state)
    stream.reset(state)
    np.testing.assert_array_equal([stream(x_t).copy() for x_t in x], y_next)
    stream.reset()
    np.testing.assert_array_equal(stream(x[0]), y[0])


def test_both_directions_are_frozen(rng):
    layer = make("GRU", np.float32, 5, 9, bidirectional=True, batch_first=True)
    x = rng.standard_normal((3, T, 5), np.float32)
    assert_same_bits(layer.freeze()(x)[0], layer(x)[0])
    with pytest.raises(ValueError, match="bidirectional is True, expected one direction"):
        layer.freeze().stream()


def test_frozen_is_a_copy_that_does_not_change(rng):
    layer = make("LSTM", np.float32, 3, 4)
    x = rng.standard_normal((T, 2, 3), np.float32)
    frozen, before = layer.freeze(), layer(x)[0]
    for value in layer.params.values():
        value += 1
    np.testing.assert_array_equal(frozen(x)[0], before)
    with pytest.raises(AttributeError, match="does not change"):
        frozen.hidden_size = 5
    assert repr(frozen) == f"{layer!r}.freeze()"


def test_out_and_the_array_that_the_next_call_overwrites(rng):
    stream = make("GRU", np.float32, 3, 4).freeze().stream(2)
    x = rng.standard_normal((2, 2, 3), np.float32)
    first = stream(x[0])
    kept, out = first.copy(), np.empty((2, 4), np.float32)
    assert stream(x[1], out=out) is out
    np.testing.assert_array_equal(first, kept)
    assert stream(x[1]) is first


@pytest.mark.parametrize("layout", ["fortran", "every other row", "read-only"])
def test_any_layout_of_a_step(layout, rng):
    stream = make("LSTM", np.float32, 5, 7).freeze().stream(4)
    x = rng.standard_normal((8, 5), np.float32)
    given = {
        "fortran": np.asfortranarray(x[::2]),
        "every other row": x[::2],
        "read-only": x[::2].copy(),
    }[layout]
    given.flags.writeable = False
    y = stream(given).copy()
    stream.reset()
    np.testing.assert_array_equal(stream(np.ascontiguousarray(x[::2])), y)


def misaligned(a):
    """`a` one byte away from where an element may start."""
    raw = np.zeros(a.nbytes + 1, np.uint8)
    moved = raw[1:].view(a.dtype).reshape(a.shape)
    moved[...] = a
    assert moved.flags.c_contiguous
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 5, 7), (4, 5, 7)], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_a_misaligned_step(name, sizes, dtype, rng):
    B, I, H = sizes
    stream = make(name, dtype, I, H).freeze().stream(B)
    x = rng.standard_normal((B, I)).astype(dtype)
    y = stream(x).copy()
    stream.reset()
    np.testing.assert_array_equal(stream(misaligned(x)), y)


def test_a_misaligned_out_is_told_as_that():
    stream = make("GRU", np.float32, 3, 4).freeze().stream()
    with pytest.raises(ValueError, match=r"^out is misaligned, or"):
        stream(np.ones((1, 3), np.float32), out=misaligned(np.zeros((1, 4), np.float32)))


@pytest.mark.parametrize("B", [1, 4])
@pytest.mark.parametrize("H", [1, 7])
def test_out_may_be_rows_of_a_larger_array(B, H, rng):
    stream = make("LSTM", np.float32, 3, H).freeze().stream(B)
    x = rng.standard_normal((B, 3), np.float32)
    y = stream(x).copy()
    stream.reset()
    room = np.full((B + 2, H + 5), 9, np.float32)
    assert stream(x, out=room[1:-1, 2 : 2 + H]).base is room
    np.testing.assert_array_equal(room[1:-1, 2 : 2 + H], y)
    room[1:-1, 2 : 2 + H] = 9
    assert (room == 9).all()


@pytest.mark.parametrize(
    ("x", "out", "error", "message"),
    [
        (np.zeros((1, 2), "f4"), None, ValueError, r"x has shape \(1, 2\), expected \(1, 3\)"),
        (np.zeros(3, "f4"), None, ValueError, r"x has shape \(3,\), expected \(1, 3\)"),
        (np.zeros((1, 3)), None, TypeError, "x has dtype float64, expected float32"),
        (np.zeros((1, 3), ">f4"), None, TypeError, r"float32 \(byte-swapped\)"),
        ([[0.0, 0.0, 0.0]], None, TypeError, "x is of type list"),
        (np.zeros((1, 3), "f4"), np.zeros((1, 3), "f4"), ValueError, "out has shape"),
        (np.zeros((1, 3), "f4"), np.zeros((1, 4)), TypeError, "out has dtype float64"),
        (np.zeros((1, 3), "f4"), np.zeros((1, 8), "f4")[:, ::2], ValueError, "rows are not cont"),
        (np.zeros((1, 3), "f4"), 5, TypeError, "out is of type int"),
    ],
)
def test_a_step_that_is_refused_changes_nothing(x, out, error, message, rng):
    stream = make("LSTM", np.float32, 3, 4).freeze().stream()
    stream(rng.standard_normal((1, 3), np.float32))
    before = stream.state
    with pytest.raises(error, match=message):
        stream(x, out=out)
    assert_same_bits(stream.state, before)


def test_a_read_only_out_is_refused():
    stream = make("RNN-relu-no-bias", np.float32, 3, 4).freeze().stream()
    out = np.zeros((1, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        stream(np.ones((1, 3), np.float32), out=out)


@pytest.mark.parametrize("state", [np.zeros((1, 1, 5), "f4"), np.zeros((1, 1, 4))], ids=str)
def test_reset_refuses_a_wrong_state(state):
    stream = make("GRU", np.float32, 3, 4).freeze().stream()
    with pytest.raises((ValueError, TypeError), match="state has"):
        stream.reset(state)


def test_a_step_allocates_nothing(rng):
    stream = make("LSTM", np.float32, 256, 256).freeze().stream()
    x = rng.standard_normal((1, 256), np.float32)
    stream(x)
    gc.collect()
    tracemalloc.start()
    try:
        blocks, (size, _) = sys.getallocatedblocks(), tracemalloc.get_traced_memory()
        for _ in range(1000):
            stream(x)
        after, (_, peak) = sys.getallocatedblocks(), tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # tracemalloc sees NumPy's arrays too: one of a step would be 1024 bytes and more. What it sees
    # here are the numbers that the loop counts with.
    assert peak - size < 1024
    assert after - blocks < 5
