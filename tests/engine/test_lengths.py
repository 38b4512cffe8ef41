"""Rows of several lengths in one batch, in any order: each as if it were alone.

The definition is that of a batch of one row, cut at its length; zero lengths are among them.
"""

import numpy as np
import pytest
from cells import CELLS, VARIANTS
from numpy.testing import assert_allclose, assert_array_equal

SHAPE = (6, 5, 4, 3)  # T, B, I, H
LENGTHS = {
    "mixed": [3, 6, 0, 1, 5],
    "falling": [6, 5, 3, 1, 0],
    "rising": [0, 1, 3, 5, 6],
    "equal": [4, 4, 4, 4, 4],
    "none": [0, 0, 0, 0, 0],
    "full": [6, 6, 6, 6, 6],
}
EVERY = CELLS | {name: cell for name, cell in VARIANTS.items() if "lengths" not in cell.drawn}
REVERSE = pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def cell(request):
    return request.param


def draw(cell, rng, dtype=np.float64):
    return cell.draw(SHAPE, dtype, rng), cell.draw_output_grads(SHAPE, dtype, rng)


def alone(arrays, row, length):
    """One row of all that has rows, and its own steps of all that has time."""
    taken = dict(arrays)
    for name, a in arrays.items():
        if name in ("x", "dy", "keep_h", "keep_c"):
            taken[name] = a[:length, row : row + 1]
        elif name in ("h0", "c0", "dh", "dc", "h_mask"):
            taken[name] = a[row : row + 1]
    return taken


@REVERSE
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_every_row_is_as_if_alone(implementation, cell, lengths, reverse, rng):
    inputs, output_grads = draw(cell, rng)
    options = {"reverse": reverse, "lengths": lengths}
    trace = cell.forward(implementation, inputs, **options)
    outputs = cell.forward(implementation, inputs, training=False, **options)
    grads = cell.backward(implementation, trace, inputs, output_grads)
    for name in cell.output_grads.values():
        assert_array_equal(getattr(outputs, name), getattr(trace, name))

    sums = {name: np.zeros_like(a) for name, a in grads.items() if name not in ("x", *cell.states)}
    for row, n in enumerate(lengths):
        own, own_output_grads = alone(inputs, row, n), alone(output_grads, row, n)
        expected = cell.forward(implementation, own, reverse=reverse)
        expected_grads = cell.backward(implementation, expected, own, own_output_grads)

        assert_allclose(trace.y[:n, row], expected.y[:, 0], rtol=1e-13, atol=1e-15)
        assert_array_equal(trace.y[n:, row], 0)
        assert_allclose(grads["x"][:n, row], expected_grads["x"][:, 0], rtol=1e-12, atol=1e-14)
        assert_array_equal(grads["x"][n:, row], 0)
        for state in cell.states:
            name = state[0]
            states, expected_states = getattr(trace, name)[:, row], getattr(expected, name)[:, 0]
            assert_allclose(states[: n + 1], expected_states, rtol=1e-13, atol=1e-15)
            # In computing order a row holds its final state to the end.
            assert_array_equal(states[n:], np.broadcast_to(states[n], states[n:].shape))
            assert_array_equal(getattr(trace, f"{name}_n")[row], states[n])
            assert_allclose(grads[state][row], expected_grads[state][0], rtol=1e-12, atol=1e-14)
        if getattr(trace, "gates", None) is not None:
            assert_array_equal(trace.gates[n:, row], 0)
        for name in sums:
            sums[name] += expected_grads[name]
    for name, expected in sums.items():
        assert_allclose(grads[name], expected, rtol=1e-12, atol=1e-13, err_msg=name)


def test_lengths_of_all_steps_are_no_lengths(implementation, cell, rng):
    inputs, output_grads = draw(cell, rng)
    plain = cell.forward(implementation, inputs)
    full = cell.forward(implementation, inputs, lengths=LENGTHS["full"])
    assert_array_equal(plain.y, full.y)
    assert_array_equal(plain.h, full.h)
    expected = cell.backward(implementation, plain, inputs, output_grads)
    for name, grad in cell.backward(implementation, full, inputs, output_grads).items():
        assert_allclose(grad, expected[name], rtol=1e-12, atol=1e-14)


@REVERSE
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_lies_past_the_end_changes_no_bit(implementation, cell, value, reverse, rng):
    lengths = LENGTHS["mixed"]
    inputs, output_grads = draw(cell, rng)

    def run():
        trace = cell.forward(implementation, inputs, lengths=lengths, reverse=reverse)
        outputs = cell.forward(
            implementation, inputs, lengths=lengths, reverse=reverse, training=False
        )
        grads = cell.backward(implementation, trace, inputs, output_grads)
        kept = {name: getattr(trace, name) for name in ("h", *cell.output_grads.values())}
        return kept | outputs._asdict() | {f"d{name}": grad for name, grad in grads.items()}

    expected = run()
    for arrays in (inputs, output_grads):
        for name in {"x", "dy", "keep_h", "keep_c"} & arrays.keys():
            for row, n in enumerate(lengths):
                arrays[name][n:, row] = value
    for name, array in run().items():
        assert np.isfinite(expected[name]).all()
        assert_array_equal(array, expected[name], err_msg=name)


def test_an_overflow_in_the_last_state_stays_out_of_the_weights(implementation):
    """relu(1e200 * 1e200) at the end of a row is infinite, and no step reads it."""
    one = np.ones((1, 1))
    x = np.array([[1.0, 1.0], [1e200, 1.0], [0.0, 1.0]])[..., np.newaxis]
    forward, backward = implementation.rnn_forward, implementation.rnn_backward
    trace = forward(x, 1e200 * one, 0 * one, nonlinearity="relu", lengths=[2, 3])
    assert_array_equal(trace.h_n[:, 0], [np.inf, 1e200])
    grads = backward(trace, 1e200 * one, 0 * one, dy=np.zeros((3, 2, 1)))
    assert all(np.array_equal(grad, np.zeros_like(grad)) for grad in grads)


@pytest.mark.parametrize(
    "given",
    [tuple, list, *(lambda a, t=t: np.array(a, t) for t in ("i1", "u1", ">i4", "u8", "i8"))],
    ids=["tuple", "list", "int8", "uint8", "big-endian int32", "uint64", "int64"],
)
def test_integers_of_every_kind(implementation, given, rng):
    cell = CELLS["gru-after"]
    inputs, _ = draw(cell, rng)
    expected = cell.forward(implementation, inputs, lengths=np.array(LENGTHS["mixed"]))
    trace = cell.forward(implementation, inputs, lengths=given(LENGTHS["mixed"]))
    assert_array_equal(trace.y, expected.y)
    assert_array_equal(trace.lengths, LENGTHS["mixed"])
    assert trace.lengths.dtype == np.intp


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([6, 6, 6, 6], ValueError, r"lengths has shape \(4,\), expected \(5,\)"),
        (6, ValueError, r"lengths has shape \(\), expected \(5,\)"),
        ([[6], [6, 6]], TypeError, "lengths cannot be read as a numpy array of integers"),
        ([1, 2, -1, 7, 3], ValueError, r"lengths\[2\] is -1, expected 0 to 6, the steps of x"),
        ([1, 2, 3, 7, -1], ValueError, r"lengths\[3\] is 7, expected 0 to 6, the steps of x"),
        (np.array([2**64 - 1] * 5), ValueError, r"lengths\[0\] is 18446744073709551615"),
        ([2.0] * 5, TypeError, "lengths has dtype float64, expected integers"),
        ([True] * 5, TypeError, "lengths has dtype bool, expected integers"),
        (["2"] * 5, TypeError, "lengths has dtype <U1, expected integers"),
        (np.ma.masked_array([1] * 5), TypeError, "lengths is of type MaskedArray"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", CELLS)
def test_wrong_lengths_are_refused(implementation, kind, lengths, error, message, rng):
    inputs, _ = draw(CELLS[kind], rng)
    with pytest.raises(error, match=f"^{message}"):
        CELLS[kind].forward(implementation, inputs, lengths=lengths)
