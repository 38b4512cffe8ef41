"""What of a wrong mask, projection or flow is said: the argument, what came, what was expected.

Lengths are in test_lengths.py, activations and clip in test_activations.py.
"""

import re

import numpy as np
import pytest


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
