"""The losses against numbers worked by hand and finite differences."""

import numpy as np
import pytest

from rnncore import mse, softmax_cross_entropy

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 4), (2, 3, 5)])
def test_gradients_by_finite_differences(shape, rng):
    logits = rng.standard_normal((*shape, 4))
    target, targets = rng.standard_normal(logits.shape), rng.integers(0, 4, shape)
    for loss, fixed in ((softmax_cross_entropy, targets), (mse, target)):
        _, gradient = loss(logits, fixed)
        v = rng.standard_normal(logits.shape)
        slope = (loss(logits + 1e-6 * v, fixed)[0] - loss(logits - 1e-6 * v, fixed)[0]) / 2e-6
        assert slope == pytest.approx(np.vdot(gradient, v), rel=1e-7)


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_of_known_probabilities(dtype):
    logits = np.log(np.array([[[0.5, 0.25, 0.25]], [[0.125, 0.125, 0.75]]], dtype))
    loss, dlogits = softmax_cross_entropy(logits + dtype(3), np.array([[0], [1]]))
    assert type(loss) is float
    assert loss == pytest.approx((np.log(2) + np.log(8)) / 2, rel=1e-6)
    assert dlogits.dtype == dtype
    expected = [[[-0.25, 0.125, 0.125]], [[0.0625, -0.4375, 0.375]]]
    np.testing.assert_allclose(dlogits, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_of_huge_logits(dtype):
    big = float(np.finfo(dtype).max) / 4
    logits = np.array([[big, 0, -big], [-big, -big, -big]], dtype)
    loss, dlogits = softmax_cross_entropy(logits, np.array([0, 2]))
    assert loss == pytest.approx(np.log(3) / 2, rel=1e-6)
    expected = [[0, 0, 0], [1 / 6, 1 / 6, -1 / 3]]
    np.testing.assert_allclose(dlogits, expected, rtol=1e-6)
    loss, dlogits = softmax_cross_entropy(np.array([[0, -np.inf, 0]], dtype), np.array([0]))
    assert loss == pytest.approx(np.log(2), rel=1e-6)
    np.testing.assert_allclose(dlogits, [[-0.5, 0, 0.5]], rtol=1e-6)


def test_nan_stays_in_its_position(rng):
    logits = rng.standard_normal((3, 4))
    logits[1, 2] = np.nan
    loss, dlogits = softmax_cross_entropy(logits, np.array([0, 1, 2]))
    assert np.isnan(loss)
    assert np.isnan(dlogits).any(axis=1).tolist() == [False, True, False]
    loss, dy = mse(logits, np.zeros((3, 4)))
    assert np.isnan(loss)
    assert np.isnan(dy).sum() == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_an_overflow_is_seen_in_the_result_and_not_as_a_warning(dtype):
    big = np.full((2, 1), np.finfo(dtype).max, dtype)
    assert mse(big, -big)[0] == np.inf
    assert np.isnan(softmax_cross_entropy(np.full((2, 1), np.inf, dtype), np.array([0, 0]))[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_mse_by_hand(dtype):
    loss, dy = mse(np.array([[1, 2], [3, 4]], dtype), np.array([[1, 0], [0, 0]], dtype))
    assert loss == (0 + 4 + 9 + 16) / 4
    assert dy.dtype == dtype
    np.testing.assert_array_equal(dy, [[0, 1], [1.5, 2]])


X, IDS = np.zeros((2, 3), np.float32), np.array([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: softmax_cross_entropy(X, IDS[:1]), ValueError, r"targets has shape \(1,\)"),
        (lambda: softmax_cross_entropy(X, IDS + 2), ValueError, "targets holds 3, expected integ"),
        (lambda: softmax_cross_entropy(X, X[:, 0]), TypeError, "targets has dtype float32"),
        (lambda: softmax_cross_entropy(X[:0], IDS[:0]), ValueError, "at least one position"),
        (lambda: softmax_cross_entropy(X.astype(int), IDS), TypeError, "logits has dtype int64"),
        (lambda: mse(X, X[0]), ValueError, r"target has shape \(3,\), expected \(2, 3\)"),
        (lambda: mse(X, X.astype(float)), TypeError, "target has dtype float64, expected float32"),
        (lambda: mse(X[:0], X[:0]), ValueError, "at least one element"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
