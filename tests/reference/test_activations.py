"""The activation functions of ONNX's list, their derivatives, and clipped sums."""

import re

import numpy as np
import pytest
from cells import ACTIVATIONS, CELLS
from numpy.testing import assert_allclose, assert_array_equal
from own_options import own_functions

from rnncore import reference
from rnncore._cells.activations import FUNCTIONS, Activation, Clamped, resolve, sigmoid

# The first variant of each cell, which has the defaults of its options or their like.
EACH = {cell.kind.prefix: cell for cell in reversed(CELLS.values())}
A = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
# Function with its parameters -> its values at A, from the formulas of ONNX's documentation.
VALUES = {
    "Sigmoid": 1 / (1 + np.exp(-A)),
    "Tanh": (1 - np.exp(-2 * A)) / (1 + np.exp(-2 * A)),
    "Relu": [0, 0, 0, 0.5, 3],
    ("Affine", 2.0, 1.0): [-5, 0, 1, 2, 7],
    "LeakyRelu": [-0.03, -0.005, 0, 0.5, 3],
    ("LeakyRelu", 0.5): [-1.5, -0.25, 0, 0.5, 3],
    "ThresholdedRelu": [0, 0, 0, 0, 3],
    ("ThresholdedRelu", 0.5): [0, 0, 0, 0, 3],  # 0.5 itself is cut off
    ("ThresholdedRelu", -1.0): [0, -0.5, 0, 0.5, 3],
    ("ScaledTanh", 2.0, 0.5): 2 * np.tanh(0.5 * A),
    "HardSigmoid": [0, 0.4, 0.5, 0.6, 1],
    ("HardSigmoid", 1.0): [0, 0, 0.5, 1, 1],
    ("HardSigmoid", 1.0, 0.0): [0, 0, 0, 0.5, 1],
    "Elu": [np.exp(-3) - 1, np.exp(-0.5) - 1, 0, 0.5, 3],
    ("Elu", 2.0): [2 * np.exp(-3) - 2, 2 * np.exp(-0.5) - 2, 0, 0.5, 3],
    "Softsign": [-3 / 4, -1 / 3, 0, 1 / 3, 3 / 4],
    "Softplus": np.log(1 + np.exp(A)),
}


def function(entry):
    (found,) = resolve([entry], ("Tanh",))
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("entry", VALUES, ids=str)
def test_values(entry, dtype):
    y = function(entry)(A.astype(dtype))
    assert y.dtype == dtype
    eps = np.finfo(dtype).eps
    assert_allclose(y, VALUES[entry], rtol=4 * eps, atol=2 * eps)


def test_every_function_is_tested():
    names = {entry if isinstance(entry, str) else entry[0] for entry in VALUES}
    assert names == set(FUNCTIONS)
    assert names == {entry if isinstance(entry, str) else entry[0] for entry in ACTIVATIONS}


@pytest.mark.parametrize("entry", VALUES, ids=str)
def test_the_derivative_is_that_of_the_values(entry):
    f = function(entry)
    a = np.linspace(-4, 4, 400)  # no corner of a function lies on it, nor within a step of it
    step = 1e-5
    slope = (f(a + step) - f(a - step)) / (2 * step)
    y = f(a)
    assert_allclose(f.gradient(np.full_like(a, 3.0), y), 3 * slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("entry", VALUES, ids=str)
def test_nan_passes_and_so_does_its_gradient(entry):
    f = function(entry)
    for g in (f, Clamped(f, 0.3)):
        with np.errstate(invalid="ignore"):  # as the cells do
            y = g(np.array([np.nan]))
        assert np.isnan(y)
        assert g.gradient(np.ones(1), y) != 0


@pytest.mark.parametrize("entry", ["Relu", "LeakyRelu", "Elu", ("HardSigmoid", 1.0)], ids=str)
def test_a_corner_has_the_derivative_to_its_left(entry):
    f = function(entry)
    corner = -0.5 if entry == ("HardSigmoid", 1.0) else 0.0
    y = f(np.array([corner]))
    left = {"Relu": 0, "LeakyRelu": 0.01, "Elu": 1}.get(entry, 0)  # as in PyTorch
    assert f.gradient(np.ones(1), y) == left


def test_what_does_not_come_through_is_zero_even_of_an_infinite_gradient():
    d, y = np.array([np.inf, -np.inf]), np.zeros(2)
    for entry in ("Relu", "ThresholdedRelu", "HardSigmoid"):
        assert_array_equal(function(entry).gradient(d, y), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("entry", VALUES, ids=str)
def test_a_clamped_sum_has_the_value_at_the_bound_and_no_gradient(entry, dtype):
    f = function(entry)
    clip = 0.7
    a = np.array([-np.inf, -9, -0.7, -0.3, 0.3, 0.7, 9, np.inf], dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # as the cells do
        y = Clamped(f, clip)(a)
    low, high = f(np.array([-clip, clip], dtype))
    assert_array_equal(y[:3], low)
    assert_array_equal(y[5:], high)
    assert_array_equal(y[3:5], f(a[3:5]))
    d = Clamped(f, clip).gradient(np.ones_like(y), y)
    assert d.dtype == y.dtype == dtype
    assert_array_equal(d[[0, 1, 2, 5, 6, 7]], 0)
    inside = np.where((y[3:5] == low) | (y[3:5] == high), 0, f.gradient(np.ones(2), y[3:5]))
    assert_allclose(d[3:5], inside, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid(dtype):
    ln3 = np.log(3)
    a = np.array([0, ln3, -ln3, np.inf, -np.inf, np.nan, 1e30, -1e30], dtype)
    s = sigmoid(a)
    assert s.dtype == dtype
    assert_allclose(s, [1 / 2, 3 / 4, 1 / 4, 1, 0, np.nan, 1, 0], rtol=4 * np.finfo(dtype).eps)
    # The tail keeps its digits: sigmoid(-a) -> exp(-a), where 1 - sigmoid(a) would be 0.
    tail = np.array([-40, -60, -80], dtype)
    assert_allclose(sigmoid(tail), np.exp(tail), rtol=4 * np.finfo(dtype).eps)


def test_the_numbers_of_the_functions():
    codes = [Activation(name).code for name in ("Sigmoid", "Tanh", "Relu")]
    assert codes == [0, 1, 2]
    assert sorted(Activation(name).code for name in FUNCTIONS) == list(range(11))


# In the cells


@pytest.mark.parametrize("name", CELLS)
def test_the_cells_own_functions_by_name(implementation, name, rng):
    cell = CELLS[name]
    inputs = cell.draw((5, 3, 4, 2), np.float64, rng)
    output_grads = cell.draw_output_grads((5, 3, 4, 2), np.float64, rng)
    own = own_functions(cell.kind, **cell.options)
    options = {k: v for k, v in cell.options.items() if k not in cell.kind.functions}
    trace = cell.forward(implementation, inputs)
    forward = getattr(implementation, f"{cell.kind.prefix}_forward")
    for names in (own, tuple(map(str.upper, own)), [(n.lower(),) for n in own]):
        named = forward(**inputs, **options, activations=names)
        assert_array_equal(named.y, trace.y)
        expected = cell.backward(implementation, trace, inputs, output_grads)
        for key, grad in cell.backward(implementation, named, inputs, output_grads).items():
            assert_array_equal(grad, expected[key])
    if implementation is reference:
        assert trace.options["activations"] is None
        assert named.options["activations"] == tuple(map(Activation, own))


@pytest.mark.parametrize("name", CELLS)
def test_a_clip_that_no_sum_reaches_changes_nothing(implementation, name, rng):
    cell = CELLS[name]
    inputs = cell.draw((5, 3, 4, 2), np.float64, rng)
    plain = cell.forward(implementation, inputs)
    clipped = cell.forward(implementation, inputs, clip=100.0)
    assert_array_equal(plain.y, clipped.y)
    assert cell.forward(implementation, inputs, clip=0.1).y.any()
    assert not np.array_equal(plain.y, cell.forward(implementation, inputs, clip=0.1).y)


def test_the_function_of_the_memory_reads_no_clamped_sum(implementation):
    """c = 4: h = 1/2 * c, however narrow the clip."""
    zeros = np.zeros((4, 1))
    trace = implementation.lstm_forward(
        np.zeros((1, 1, 1)), zeros, zeros, c0=np.array([[8.0]]),
        activations=["Sigmoid", "Tanh", ("Affine", 1.0, 0.0)], clip=0.25,
    )  # fmt: skip
    assert trace.c_n.item() == 4
    assert trace.h_n.item() == 2


WRONG = [
    ("relu", TypeError, "activations is of type str, expected one entry in the place of each of"),
    (3, TypeError, "activations is of type int, expected one entry in the place of each of"),
    ([], ValueError, "activations has 0 entries, expected one entry in the place of each of"),
    (["sine"], ValueError, "activations[0] is 'sine', expected one of Sigmoid, Tanh, Relu, "),
    ([None], TypeError, "activations[0] is None, expected a name, (name, alpha) or "),
    ([()], TypeError, "activations[0] is (), expected a name, (name, alpha) or "),
    ([("Tanh", 1.0)], ValueError, "activations[0] is ('Tanh', 1.0), expected the name alone"),
    ([("Elu", 1, 1)], ValueError, "activations[0] is ('Elu', 1, 1), expected the name, alpha for"),
    (["Affine"], ValueError, "activations[0] is 'Affine', expected the name, alpha, beta for"),
    ([("elu", "1")], TypeError, "alpha of activations[0] is '1', expected a number"),
    ([("elu", True)], TypeError, "alpha of activations[0] is True, expected a number"),
    ([("elu", np.inf)], ValueError, "alpha of activations[0] is inf, expected a finite number"),
    ([("elu", -1.0)], ValueError, "alpha of activations[0] is -1.0, expected at least 0 for Elu"),
    ([("leakyrelu", -1)], ValueError, "alpha of activations[0] is -1.0, expected at least 0 for"),
    ([("scaledtanh", 0, 1)], ValueError, "alpha of activations[0] is 0.0, expected another number"),
    ([("affine", 1, None)], TypeError, "beta of activations[0] is None, expected a number"),
]


@pytest.mark.parametrize(("given", "error", "message"), WRONG, ids=[w[-1] for w in WRONG])
@pytest.mark.parametrize("kind", EACH)
def test_wrong_activations_are_refused(implementation, kind, given, error, message, rng):
    cell = EACH[kind]
    inputs = cell.draw((5, 3, 4, 2), np.float64, rng)
    if isinstance(given, list) and given:
        given = given + ["Tanh"] * (len(cell.kind.functions) - 1)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        getattr(implementation, f"{kind}_forward")(**inputs, activations=given)


@pytest.mark.parametrize("name", ["rnn-relu", "indrnn-tanh"])
def test_nonlinearity_and_activations_are_one_choice(implementation, name, rng):
    cell = CELLS[name]
    inputs = cell.draw((1, 1, 1, 1), np.float64, rng)
    given = cell.options["nonlinearity"]
    message = f"^activations is given beside nonlinearity '{given}', expected one of them$"
    with pytest.raises(ValueError, match=message):
        cell.forward(implementation, inputs, activations=["Tanh"])


@pytest.mark.parametrize(
    ("clip", "error", "message"),
    [
        (0, ValueError, "clip is 0.0, expected None or a positive number"),
        (-1.5, ValueError, "clip is -1.5, expected None or a positive number"),
        (np.inf, ValueError, "clip is inf, expected a finite number"),
        (float("nan"), ValueError, "clip is nan, expected a finite number"),
        ("1", TypeError, "clip is '1', expected a number"),
        (True, TypeError, "clip is True, expected a number"),
        (1j, TypeError, "clip is 1j, expected a number"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", EACH)
def test_a_wrong_clip_is_refused(implementation, kind, clip, error, message, rng):
    cell = EACH[kind]
    inputs = cell.draw((5, 3, 4, 2), np.float64, rng)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        cell.forward(implementation, inputs, clip=clip)
