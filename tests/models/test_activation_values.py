"""Functions of rows: the normal distribution to its last digits, names, and numbers by hand."""

import math

import numpy as np
import pytest
from parts import FUNCTIONS

from rnncore import gradcheck
from rnncore._cells import normal
from rnncore._cells.row_functions import FUNCTIONS as TABLE
from rnncore.models.activation import Activation


def test_the_table_of_the_tests_has_every_function():
    assert {f if isinstance(f, str) else f[0] for f in FUNCTIONS} == TABLE.keys()


def test_erfc_against_the_library_of_c():
    z = np.concatenate((np.linspace(-6, 6, 4801), [0.0, -0.0, 1e-300, 1e-17, -1e-9]))
    expected = np.array([math.erfc(value) for value in z])
    np.testing.assert_allclose(normal.erfc(z), expected, rtol=1.5e-14)
    middle = np.abs(z) < 2
    np.testing.assert_allclose(normal.erfc(z)[middle], expected[middle], rtol=3e-15)
    far = np.array([10.0, 20.0, 26.0, 40.0, np.inf, -40.0, -np.inf])
    expected = [math.erfc(value) for value in far]
    np.testing.assert_allclose(normal.erfc(far), expected, rtol=3e-13)
    assert np.isnan(normal.erfc(np.array([np.nan]))).all()


def test_gelu_to_all_digits_in_its_tail_too():
    x = np.linspace(-8, 8, 4001)
    expected = [value * math.erfc(-value / math.sqrt(2)) / 2 for value in x]
    np.testing.assert_allclose(Activation("gelu")(x), expected, rtol=3e-14)
    single = x.astype(np.float32)
    got = Activation("gelu")(single)
    assert got.dtype == np.float32
    expected = [value * math.erfc(-value / math.sqrt(2)) / 2 for value in single.astype(float)]
    # The rounding of x / sqrt(2) counts x^2 times in the tail.
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    middle = abs(single) < 1
    np.testing.assert_allclose(got[middle], np.array(expected)[middle], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_huge_numbers(name, dtype):
    big = float(np.finfo(dtype).max) / 4
    y = Activation(name)(np.array([[big, 0, -big], [-big, -big, -big], [0, -np.inf, 0]], dtype))
    y = y if name == "softmax" else np.exp(y)
    third = 1 / 3
    np.testing.assert_allclose(y, [[1, 0, 0], [third, third, third], [0.5, 0, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_nan_stays_where_it_is(function, rng):
    x = rng.standard_normal((3, 4))
    x[1, 2] = np.nan
    layer = Activation(function)
    y, trace = layer.forward(x)
    assert np.isnan(y).any(axis=1).tolist() == [False, True, False]
    assert np.isnan(y).sum() == (4 if "softmax" in str(function) else 1)
    assert not np.isnan(layer.backward(trace, np.ones_like(x)).x[[0, 2]]).any()


@pytest.mark.parametrize(
    ("given", "function"),
    [
        ("ReLU", "relu"),
        ("LogSoftmax", "log_softmax"),
        ("HardSigmoid", ("hard_sigmoid", 0.2, 0.5)),
        ("swish", "silu"),
        ("linear", "identity"),
        (("LeakyReLU", 0.5), ("leaky_relu", 0.5)),
        (["hardtanh", -2], ("hard_tanh", -2.0, 1.0)),
        (("Affine", 2, 1), ("affine", 2.0, 1.0)),
    ],
)
def test_names_of_other_libraries(given, function):
    layer = Activation(given)
    assert layer.function == function
    again = Activation(layer.options["function"])
    assert again.function == function
    assert repr(layer) == f"Activation({function!r})"


@pytest.mark.parametrize(
    "function", [("leaky_relu", -0.5), ("elu", -1.5), ("thresholded_relu", -1)]
)
def test_numbers_below_zero_have_their_gradient(function, rng):
    assert max(gradcheck(Activation(function), rng.standard_normal((5, 7))).values()) < 1e-6


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("sine", ValueError, "function is 'sine', expected one of identity, sigmoid"),
        (3, TypeError, r"function is 3, expected a name, \(name, alpha\) or"),
        ((), TypeError, r"function is \(\), expected a name"),
        (
            ("relu", 1.0),
            ValueError,
            r"function is \('relu', 1.0\), expected the name alone for relu",
        ),
        ("affine", ValueError, "function is 'affine', expected the name, alpha, beta for affine"),
        (("elu", "1"), TypeError, "alpha of function is '1', expected a number"),
        (("elu", np.inf), ValueError, "alpha of function is inf, expected a finite number"),
        (("celu", 0), ValueError, r"alpha of function is 0\.0, expected another number for celu"),
        (("hard_tanh", 2.0), ValueError, r"alpha of function is 2\.0, expected at most beta, 1\.0"),
    ],
)
def test_what_is_refused_as_a_function(function, error, message):
    with pytest.raises(error, match=f"^{message}"):
        Activation(function)


LOOPS = ("sigmoid", "tanh", "relu", "silu", "gelu", "gelu_tanh", "mish")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOOPS)
def test_a_number_has_the_same_value_wherever_it_stands(name, dtype, rng):
    layer, x = Activation(name), rng.standard_normal(8191).astype(dtype) * 4
    y = layer(x)
    for start, stop in ((0, 1), (3, 36), (4000, 4200), (5, 8191), (8190, 8191)):
        np.testing.assert_array_equal(layer(x[start:stop]), y[start:stop])
    np.testing.assert_array_equal(layer(x[::-3]), y[::-3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 17, 33])
def test_gelu_where_it_ends(width, dtype):
    big = np.finfo(dtype).max
    for value in (0.0, 14.0, 40.0, 1e30, big, np.inf):
        y = Activation("gelu")(np.full((3, width), value, dtype))
        assert (y == value).all()
    for value in (-40.0, -1e30, -big):
        assert not Activation("gelu")(np.full((3, width), value, dtype)).any()
    for value in (np.nan, -np.inf):  # -inf times 0
        assert np.isnan(Activation("gelu")(np.full((3, width), value, dtype))).all()
    with_nan = np.ones(width, dtype)
    with_nan[width // 2] = np.nan
    assert np.isnan(Activation("gelu")(with_nan)).sum() == 1


def test_gelu_in_float32_to_some_ulps():
    x = np.linspace(-12, 12, 48001, dtype=np.float32)
    expected = np.array([value * math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()])
    error = np.abs(Activation("gelu")(x) / np.where(x == 0, 1, expected) - (x != 0))
    ulp = np.finfo(np.float32).eps
    # exp(-x^2 / 2) has the rounding of x^2 / 2, which counts as often.
    assert (error <= 4 * ulp + np.square(x) / 2 * ulp * (x < 0)).all()
