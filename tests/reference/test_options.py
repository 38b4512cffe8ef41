"""Masks, projections and flows: which are refused, in which words, and what a flow may look like.

Lengths are in test_lengths.py, activations and clip in test_activations.py.
"""

import re

import numpy as np
import pytest

import rnncore


def wrong_options():
    cell = np.zeros((5, 3, 1)), np.zeros((8, 1)), np.zeros((8, 2))
    yield cell, {"h_mask": np.ones((3, 1))}, "h_mask has shape (3, 1), expected (3, 2)"
    yield cell, {"keep_h": np.ones((3, 2))}, "keep_h has shape (3, 2), expected (5, 3, 2)"
    yield cell, {"keep_c": np.ones((4, 3, 2))}, "keep_c has shape (4, 3, 2), expected (5, 3, 2)"
    yield cell, {"w_hr": np.ones((3, 2))}, "w_hh has shape (8, 2), expected (8, 3)"
    yield cell, {"w_hr": np.ones((2, 3))}, "w_hh has shape (8, 2), expected (12, 2)"
    yield cell, {"w_hr": np.ones((0, 2))}, "w_hr has shape (0, 2), expected at least 1 row"
    yield cell, {"w_hr": np.ones(2)}, "w_hr has shape (2,), expected (P, H)"


@pytest.mark.parametrize(
    ("cell", "options", "message"), [*wrong_options()], ids=lambda v: str(v)[:60]
)
def test_wrong_options_are_refused(implementation, cell, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        implementation.lstm_forward(*cell, **options)


@pytest.mark.parametrize(
    ("flow", "error", "message"),
    [
        (np.zeros((1, 5, 3)), ValueError, "flow has shape (1, 5, 3), expected (2, 5, 3)"),
        (np.zeros((2, 5, 3), "f4"), TypeError, "flow has dtype float32, expected float64"),
        ([0.0], TypeError, "flow is of type list, expected a numpy array"),
        (
            np.broadcast_to(0.0, (2, 5, 3)),
            ValueError,
            "flow is read-only, expected an array to change in place",
        ),
    ],
    ids=["shape", "dtype", "list", "read-only"],
)
def test_a_wrong_flow_is_refused(implementation, flow, error, message):
    weights = np.zeros((8, 1)), np.zeros((8, 2))
    trace = implementation.lstm_forward(np.zeros((5, 3, 1)), *weights)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        implementation.lstm_backward(trace, *weights, flow=flow)


def off_its_alignment(shape):
    raw = np.zeros(8 * np.prod(shape) + 1, np.uint8)
    return raw[1:].view(np.float64).reshape(shape)


FLOWS = {
    "off its alignment": off_its_alignment,
    "field of 9 bytes": lambda shape: np.zeros(shape, [("flag", "i1"), ("value", "f8")])["value"],
    "field of 12 bytes": lambda shape: np.zeros(shape, [("value", "f8"), ("n", "i4")])["value"],
    "backwards": lambda shape: np.flip(np.zeros(shape)),
    "every other": lambda shape: np.zeros((*shape, 2))[..., 0],
}


@pytest.mark.parametrize("layout", FLOWS)
@pytest.mark.parametrize("lengths", [None, [5, 0, 2]])
def test_a_flow_of_any_layout_is_filled(implementation, layout, lengths, rng):
    weights = rng.standard_normal((8, 1)), rng.standard_normal((8, 2))
    x, dy = rng.standard_normal((5, 3, 1)), rng.standard_normal((5, 3, 2))
    trace = implementation.lstm_forward(x, *weights, lengths=lengths)
    expected, flow = np.zeros((2, 5, 3)), FLOWS[layout]((2, 5, 3))
    implementation.lstm_backward(trace, *weights, dy, flow=expected)
    assert expected.any()
    flow[...] = np.nan
    implementation.lstm_backward(trace, *weights, dy, flow=flow)
    np.testing.assert_array_equal(flow, expected)


@pytest.mark.parametrize("layout", FLOWS)
@pytest.mark.parametrize("in_windows", [False, True])
def test_a_flow_of_any_layout_is_filled_by_a_layer(layout, in_windows, rng):
    layer = rnncore.GRU(2, 3, 2, bidirectional=True, rng=0)
    x = rng.standard_normal((1100, 4, 2)).astype(np.float32)
    y, _, trace = layer.forward(x, memory_limit=least_limit(layer, x) if in_windows else None)
    expected, flow = np.zeros((1, 4, 1100, 4)), FLOWS[layout]((1, 4, 1100, 4))
    layer.backward(trace, y, flow=expected)
    flow[...] = np.nan
    layer.backward(trace, y, flow=flow)
    np.testing.assert_array_equal(flow, expected)


def least_limit(layer, x):
    with pytest.raises(ValueError, match="memory_limit is 1") as told:
        layer.forward(x, memory_limit=1)
    return int(re.search(r"at least (\d+)", str(told.value)).group(1))


def test_only_what_is_read_only_is_told_to_be(implementation):
    weights = np.zeros((8, 1)), np.zeros((8, 2))
    trace = implementation.lstm_forward(np.zeros((5, 3, 1)), *weights)
    flow = off_its_alignment((2, 5, 3))
    implementation.lstm_backward(trace, *weights, dh=np.zeros((3, 2)), flow=flow)
    flow.flags.writeable = False
    with pytest.raises(ValueError, match=r"^flow is read-only, expected an array to change in"):
        implementation.lstm_backward(trace, *weights, dh=np.zeros((3, 2)), flow=flow)


def test_the_projection_of_the_forward_pass_is_asked_for(implementation):
    weights, w_hr = (np.zeros((8, 1)), np.zeros((8, 2))), np.zeros((2, 2))
    x = np.zeros((5, 3, 1))
    trace = implementation.lstm_forward(x, *weights)
    with pytest.raises(
        ValueError, match=r"^w_hr is given, expected None: .* without a projection$"
    ):
        implementation.lstm_backward(trace, *weights, w_hr=w_hr)
    trace = implementation.lstm_forward(x, *weights, w_hr=w_hr)
    with pytest.raises(ValueError, match=r"^w_hr is None, expected .* with a projection$"):
        implementation.lstm_backward(trace, *weights)


@pytest.mark.parametrize("biased", [True, False])
def test_the_bias_of_the_forward_pass_is_asked_for(implementation, biased):
    x, ones = np.ones((5, 3, 1)), np.ones
    weights = ones((8, 1)), ones((8, 2)), ones(8), ones(8), ones(2)
    biases = (ones(8), ones(8), ones(2)) if biased else ()
    trace = implementation.layer_norm_lstm_forward(x, *weights, *biases)
    backward = implementation.layer_norm_lstm_backward
    backward(trace, *weights, ones(2) if biased else None, ones((5, 3, 2)))
    came = "b_c is None, expected the one it had: the forward pass ran with biases"
    if not biased:
        came = "b_c is given, expected None: the forward pass ran without biases"
    with pytest.raises(ValueError, match=f"^{came}$"):
        backward(trace, *weights, None if biased else ones(2), ones((5, 3, 2)))


@pytest.mark.parametrize("eps", [np.inf, np.nan, 0.0, -1.0, 1e-39])
def test_an_epsilon_that_is_none(implementation, eps):
    ones = np.ones
    weights = ones((8, 1)), ones((8, 2)), ones(8), ones(8), ones(2)
    with pytest.raises(ValueError, match=r"^eps is .*, expected a finite number of at least 1.18e"):
        implementation.layer_norm_lstm_forward(ones((5, 3, 1)), *weights, eps=eps)
