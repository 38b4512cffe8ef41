"""Inputs, states, gradients and traces that are refused, and in which words."""

import numpy as np
import pytest
from refusals import f32, refused

from rnncore.layers import GRU, LSTM, RNN

T, B, I, H = 5, 3, 4, 2


# Inputs


X = [
    (f32(T, B, I + 1), ValueError, "x has shape (5, 3, 5), expected (T, B, 4) or (T, 4)"),
    (f32(T, I + 1), ValueError, "x has shape (5, 5), expected (T, B, 4) or (T, 4)"),
    (f32(I), ValueError, "x has shape (4,), expected (T, B, 4) or (T, 4)"),
    (np.float32(1), TypeError, "x is of type float32, expected a numpy array"),
    (f32(1, T, B, I), ValueError, "x has shape (1, 5, 3, 4), expected (T, B, 4) or (T, 4)"),
    (
        np.zeros((T, B, I)),
        TypeError,
        "x has dtype float64, expected float32 as the layer's",
    ),
    (
        np.zeros((T, B, I), np.int32),
        TypeError,
        "x has dtype int32, expected float32 as the layer's",
    ),
    (
        np.zeros((T, B, I), object),
        TypeError,
        "x has dtype object, expected float32 as the layer's",
    ),
    (
        f32(T, B, I).astype(np.dtype(np.float32).newbyteorder()),
        TypeError,
        "x has dtype float32 (byte-swapped), expected float32 as the layer's",
    ),
    ([[0.0] * I], TypeError, "x is of type list, expected a numpy array"),
    (None, TypeError, "x is None, expected a numpy array"),
    (
        np.ma.masked_array(f32(T, B, I)),
        TypeError,
        "x is of type MaskedArray, expected a numpy array",
    ),
]


@pytest.mark.parametrize(("x", "error", "message"), X, ids=[message for *_, message in X])
@pytest.mark.parametrize("method", ["__call__", "forward"])
@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_x(cell, method, x, error, message):
    refused(error, message, lambda: getattr(cell(I, H), method)(x))


def test_x_with_the_batch_first():
    message = "x has shape (5, 3, 5), expected (B, T, 4) or (T, 4)"
    refused(ValueError, message, lambda: GRU(I, H, batch_first=True)(f32(T, B, I + 1)))


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([T] * (B + 1), ValueError, f"lengths has shape ({B + 1},), expected ({B},)"),
        (
            [T] * (B - 1) + [T + 1],
            ValueError,
            f"lengths[{B - 1}] is {T + 1}, expected 0 to {T}, the steps of x",
        ),
        ([-1] * B, ValueError, f"lengths[0] is -1, expected 0 to {T}, the steps of x"),
        ([1.0] * B, TypeError, "lengths has dtype float64, expected integers"),
    ],
    ids=str,
)
def test_lengths(lengths, error, message):
    refused(error, message, lambda: GRU(I, H)(f32(T, B, I), lengths=lengths))
    refused(error, message, lambda: GRU(I, H).forward(f32(T, B, I), lengths=lengths))
    refused(error, message, lambda: GRU(I, H).freeze()(f32(T, B, I), lengths=lengths))


def test_training_is_a_flag():
    message = "training is 1, expected True or False"
    refused(TypeError, message, lambda: GRU(I, H).forward(f32(T, B, I), training=1))


STATE = [
    (GRU, f32(2, B, H), ValueError, "state has shape (2, 3, 2), expected (1, 3, 2)"),
    (GRU, f32(B, H), ValueError, "state has shape (3, 2), expected (1, 3, 2)"),
    (
        RNN,
        np.zeros((1, B, H)),
        TypeError,
        "state has dtype float64, expected float32 as the layer's",
    ),
    (RNN, (f32(1, B, H),), TypeError, "state is of type tuple, expected a numpy array"),
    (LSTM, f32(2, 1, B, H), TypeError, "state is of type ndarray, expected the tuple (h, c)"),
    (LSTM, (f32(1, B, H),), ValueError, "state has 1 entries, expected (h, c)"),
    (LSTM, [f32(1, B, H)] * 3, ValueError, "state has 3 entries, expected (h, c)"),
    (
        LSTM,
        (f32(1, B, H), f32(1, H)),
        ValueError,
        "state[1] has shape (1, 2), expected (1, 3, 2)",
    ),
    (
        LSTM,
        (f32(1, B, H), np.zeros((1, B, H))),
        TypeError,
        "state[1] has dtype float64, expected float32 as the layer's",
    ),
]


@pytest.mark.parametrize(("cell", "state", "error", "message"), STATE, ids=[s[-1] for s in STATE])
def test_state_and_its_gradient(cell, state, error, message):
    layer = cell(I, H)
    *_, trace = layer.forward(f32(T, B, I))
    refused(error, message, lambda: layer(f32(T, B, I), state))
    refused(error, message, lambda: layer.forward(f32(T, B, I), state))
    refused(error, f"d{message}", lambda: layer.backward(trace, None, state))


def test_a_part_of_a_state_may_be_missing_only_in_its_gradient():
    layer = LSTM(I, H)
    y, (h, c), trace = layer.forward(f32(T, B, I))
    layer.backward(trace, y, (h, None))
    layer.backward(trace, y, (None, c))
    message = "state[1] is None, expected a numpy array"
    refused(TypeError, message, lambda: layer(f32(T, B, I), (h, None)))


def test_state_without_a_batch():
    message = "state has shape (1, 1, 2), expected (1, 2)"
    refused(ValueError, message, lambda: RNN(I, H)(f32(T, I), f32(1, 1, H)))


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (f32(T, B, H), ValueError, "dy has shape (5, 3, 2), expected (5, 3, 4)"),
        (f32(1, B, 2 * H), ValueError, "dy has shape (1, 3, 4), expected (5, 3, 4)"),
        (1.0, TypeError, "dy is of type float, expected a numpy array"),
        (
            np.zeros((T, B, 2 * H)),
            TypeError,
            "dy has dtype float64, expected float32 as the layer's",
        ),
    ],
)
def test_dy(dy, error, message):
    layer = GRU(I, H, bidirectional=True)
    *_, trace = layer.forward(f32(T, B, I))
    refused(error, message, lambda: layer.backward(trace, dy))


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_backward_without_any_gradient(cell):
    """It would be zeros, and who calls it so has forgotten something."""
    layer = cell(I, H)
    *_, trace = layer.forward(f32(T, B, I))
    flow = np.ones((2 if cell is LSTM else 1, 1, T, B))
    for dstate in [None, (None, None), [None, None]] if cell is LSTM else [None]:
        message = f"dy is None and dstate is {dstate}, expected at least one gradient"
        for more in ({}, {"flow": flow}):
            refused(ValueError, message, lambda: layer.backward(trace, None, dstate, **more))  # noqa: B023
    assert (flow == 1).all()


# Traces


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (RNN(I, H), "RNN(4, 2)"),
        (GRU(I, H + 1), "GRU(4, 3)"),
        (GRU(I, H, 2), "GRU(4, 2, num_layers=2)"),
        (GRU(I, H, reset="before"), "GRU(4, 2, reset='before')"),
        (GRU(I, H, bidirectional=True), "GRU(4, 2, bidirectional=True)"),
        (GRU(I, H, batch_first=True), "GRU(4, 2, batch_first=True)"),
    ],
    ids=str,
)
def test_trace_of_another_layer(other, text):
    *_, trace = other.forward(f32(T, B, I))
    message = f"trace is of {text}, expected one of GRU(4, 2)"
    refused(ValueError, message, lambda: GRU(I, H).backward(trace))


def test_trace_of_another_dtype():
    *_, trace = GRU(I, H, dtype=np.float64).forward(np.zeros((T, B, I)))
    message = "trace is of GRU(4, 2, dtype=float64), expected one of GRU(4, 2)"
    refused(ValueError, message, lambda: GRU(I, H).backward(trace))


def test_trace_without_training():
    layer = GRU(I, H)
    *_, trace = layer.forward(f32(T, B, I), training=False)
    message = "trace was made with training=False, expected training=True"
    refused(ValueError, message, lambda: layer.backward(trace))


def test_what_is_no_trace():
    message = "trace is of type ndarray, expected Trace"
    refused(TypeError, message, lambda: GRU(I, H).backward(f32(T, B, H)))
