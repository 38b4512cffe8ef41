"""Subnormal numbers count as zero inside the compiled core, and only there."""

import numpy as np
import pytest
from cells import CELLS

from rnncore import functional

SHAPE = (4, 3, 5, 17)  # T, B, I, H


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


def a_subnormal_product(dtype):
    """Half of the smallest normal number, in vectors: 0 where subnormal numbers are flushed."""
    return np.full(64, np.finfo(dtype).tiny) * dtype(0.5)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_the_callers_floating_point_mode_is_as_it_was(cell, dtype, rng):
    inputs = cell.draw(SHAPE, dtype, rng)
    output_grads = cell.draw_output_grads(SHAPE, dtype, rng)
    assert np.all(a_subnormal_product(dtype) > 0)
    trace = cell.forward(functional, inputs)
    assert np.all(a_subnormal_product(dtype) > 0)
    cell.forward(functional, inputs, training=False)
    assert np.all(a_subnormal_product(dtype) > 0)
    cell.backward(functional, trace, inputs, output_grads)
    assert np.all(a_subnormal_product(dtype) > 0)


def test_a_decaying_state_and_gradient_reach_zero_without_subnormal_numbers(dtype):
    """h[t+1] = relu(h[t] / 4): both halve twice a step, forward and back."""
    tiny = np.finfo(dtype).tiny
    steps = int(-np.log2(tiny)) // 2 + 20
    one, quarter = np.ones((1, 1), dtype), np.full((1, 1), 0.25, dtype)
    x = np.zeros((steps, 1, 1), dtype)
    trace = functional.rnn_forward(x, one, quarter, h0=one, nonlinearity="relu")
    exact = 0.25 ** np.arange(1.0, steps + 1)
    np.testing.assert_array_equal(trace.y[:, 0, 0], np.where(exact < tiny, 0, exact))

    active = functional.rnn_forward(x + 1, one, quarter, nonlinearity="relu")
    dx = functional.rnn_backward(active, one, quarter, dh=one).x[::-1, 0, 0]
    np.testing.assert_array_equal(dx[1:], np.where(exact < tiny, 0, exact)[:-1])
    assert dx[0] == 1


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_subnormal_inputs_count_as_zero(cell, dtype, rng):
    inputs = cell.draw(SHAPE, dtype, rng)
    inputs["x"][...] = 0
    expected = cell.forward(functional, inputs, training=False).y
    inputs["x"][...] = np.finfo(dtype).smallest_subnormal
    np.testing.assert_array_equal(cell.forward(functional, inputs, training=False).y, expected)
