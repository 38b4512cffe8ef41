"""softmax and sigmoid: exact, without overflow, for every axis and layout."""

import numpy as np
import pytest

from rnncore.train.functions import sigmoid, softmax

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_softmax_along_any_axis(axis, dtype, rng):
    x = (5 * rng.standard_normal((3, 17, 4))).astype(dtype)
    before = x.copy()
    y = softmax(x, axis)
    exps = np.exp(x.astype(np.longdouble))
    np.testing.assert_allclose(
        y, exps / exps.sum(axis, keepdims=True), rtol=20 * np.finfo(dtype).eps
    )
    assert y.dtype == dtype
    np.testing.assert_array_equal(softmax(np.asfortranarray(x), axis), y)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", FLOATS)
def test_no_overflow(dtype):
    big = np.finfo(dtype).max
    x = np.array([[big, -big], [-big, -big], [-np.inf, 3]], dtype)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(softmax(x), [[1, 0], [0.5, 0.5], [0, 1]])
        np.testing.assert_array_equal(
            sigmoid(np.array([big, -big, np.inf, -np.inf, 0], dtype)), [1, 0, 1, 0, 0.5]
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_no_number_stays_in_its_sum(dtype):
    x = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf], [1, 1]], dtype)
    assert np.isnan(softmax(x)).any(axis=1).tolist() == [True, True, True, False]
    assert np.isnan(sigmoid(np.array([np.nan, 1], dtype))).tolist() == [True, False]


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_to_a_few_roundings(dtype, rng):
    x = np.linspace(-80, 80, 1001).astype(dtype)
    expected = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    np.testing.assert_allclose(sigmoid(x), expected, rtol=4 * np.finfo(dtype).eps)
    for shape in ((), (1,), (0, 3), (2, 3)):
        y = sigmoid(np.zeros(shape, dtype))
        assert type(y) is np.ndarray
        assert (y.shape, y.dtype) == (shape, dtype)


def test_empty_arrays():
    assert softmax(np.zeros((0, 3))).shape == (0, 3)
    assert softmax(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: softmax(np.array(1.0)), ValueError, r"^x has shape \(\), expected at least one a"),
        (lambda: softmax(np.zeros(3), 1), ValueError, "^axis is 1, expected an integer of at most"),
        (
            lambda: softmax(np.zeros(3), -2),
            ValueError,
            "^axis is -2, expected an integer of at lea",
        ),
        (lambda: softmax(np.zeros(3), None), TypeError, "^axis is None, expected an integer"),
        (lambda: softmax(np.zeros(3, int)), TypeError, "^x has dtype int64, expected float32 or"),
        (lambda: softmax([1.0]), TypeError, "^x is of type list, expected a numpy array"),
        (lambda: sigmoid(1.0), TypeError, "^x is of type float, expected a numpy array"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
