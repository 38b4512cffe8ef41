"""Clipping against numbers worked by hand, and what it refuses."""

import numpy as np
import pytest

from rnncore import clip_grad_norm, clip_grad_value


def test_norm_scales_all_arrays_by_one_factor():
    grads = [
        {"a": np.array([[1.0, 2.0]]), "b": np.array([2.0])},
        {"a": np.array([4.0], np.float32)},
    ]
    assert clip_grad_norm(grads, 2.5) == 5.0  # sqrt(1 + 4 + 4 + 16)
    np.testing.assert_array_equal(grads[0]["a"], [[0.5, 1.0]])
    np.testing.assert_array_equal(grads[0]["b"], [1.0])
    np.testing.assert_array_equal(grads[1]["a"], np.array([2.0], np.float32))


@pytest.mark.parametrize("max_norm", [5.0, 6, np.float32(7), np.inf])
def test_a_short_gradient_keeps_its_bits(max_norm):
    grads = {"a": np.array([3.0, 4.0])}
    norm = clip_grad_norm(grads, max_norm)
    assert norm == 5.0
    assert type(norm) is float
    np.testing.assert_array_equal(grads["a"], [3.0, 4.0])


def test_norm_of_large_float32_arrays_is_summed_in_float64(rng):
    grads = {"a": rng.standard_normal((301, 333)).astype(np.float32)}
    exact = np.linalg.norm(grads["a"].astype(np.float64))
    assert clip_grad_norm(grads, np.inf) == pytest.approx(exact, rel=1e-14)
    assert clip_grad_norm(grads, 1.0) == pytest.approx(exact, rel=1e-14)
    assert np.linalg.norm(grads["a"].astype(np.float64)) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_norm_whose_squares_leave_the_range(unit):
    grads = {"a": np.array([3 * unit, 0.0]), "b": np.array([4 * unit])}
    assert clip_grad_norm(grads, np.inf) == pytest.approx(5 * unit, rel=1e-14)


def test_a_norm_beyond_all_numbers_is_clipped_all_the_same():
    grads = {"a": np.full(4, 1.5e308), "b": np.array([3.0], np.float32)}
    assert clip_grad_norm(grads, 2.0) == np.inf
    np.testing.assert_allclose(grads["a"], 1.0, rtol=1e-15)
    np.testing.assert_array_equal(grads["b"], 0.0)


@pytest.mark.parametrize(("size", "limit"), [(1e38, 1e-10), (3e38, 1.0), (1e-30, 1e-44)])
def test_a_factor_that_float32_does_not_hold_scales_all_the_same(size, limit):
    """Which is where it is below 1e-38: rounded to float32 it would be 0, or have few digits."""
    grads = {"a": np.full((4, 4), size, np.float32)}
    norm = clip_grad_norm(grads, limit)
    assert norm == pytest.approx(4 * size, rel=1e-6)
    smallest = np.finfo(np.float32).smallest_subnormal
    np.testing.assert_allclose(grads["a"], limit / 4, rtol=1e-6, atol=smallest)
    assert grads["a"].all()


def test_sums_that_overflow_together_are_no_error():
    grads = {name: np.full(3, 1e154) for name in "abc"}
    assert clip_grad_norm(grads, 1.0) == pytest.approx(3e154, rel=1e-15)
    np.testing.assert_allclose(grads["b"], 1 / 3, rtol=1e-15)


@pytest.mark.parametrize("limit", [1e-60, 1e300, np.inf])
def test_a_value_that_float32_does_not_hold(limit):
    grads = {"a": np.array([-3e38, 1e-30, np.inf], np.float32)}
    clip_grad_value(grads, limit)
    expected = [-3e38, 1e-30, np.inf] if limit > 1 else [0, 0, 0]
    np.testing.assert_array_equal(grads["a"], np.array(expected, np.float32))


def test_norm_of_nothing_is_zero():
    assert clip_grad_norm({}, 1.0) == 0.0
    assert clip_grad_norm([{"a": np.zeros((0, 3))}, {"b": np.zeros(2)}], 1.0) == 0.0


def test_an_array_under_two_names_is_scaled_once():
    both = np.array([3.0])
    grads = {"bias_ih": both, "bias_hh": both[:]}
    assert clip_grad_norm(grads, 1.0) == pytest.approx(np.sqrt(18), rel=1e-15)
    assert both[0] == pytest.approx(1 / np.sqrt(2), rel=1e-15)


def test_strided_gradients_are_clipped_in_place():
    whole = np.arange(1.0, 13.0).reshape(3, 4)
    norm = clip_grad_norm({"a": whole[:, ::2].T}, 1.0)
    assert norm == pytest.approx(np.sqrt(1 + 9 + 25 + 49 + 81 + 121), rel=1e-15)
    np.testing.assert_allclose(whole[:, 0], np.array([1.0, 5.0, 9.0]) / norm)
    np.testing.assert_array_equal(whole[:, 1], [2.0, 6.0, 10.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_that_is_not_finite_is_reported_and_nothing_changes(bad, dtype):
    grads = [{"good": np.array([30.0], dtype)}, {"bad": np.array([1.0, bad], dtype)}]
    with pytest.raises(FloatingPointError, match=r"^gradient is not finite in '1.bad'$"):
        clip_grad_norm(grads, 1.0)
    assert grads[0]["good"][0] == 30.0
    np.testing.assert_array_equal(grads[1]["bad"], np.array([1.0, bad], dtype))


def test_value_clips_each_element():
    grads = [{"a": np.array([-3.0, 0.5, np.inf, np.nan])}, {"b": np.array([[2.0]], np.float32)}]
    assert clip_grad_value(grads, 1) is None
    np.testing.assert_array_equal(grads[0]["a"], [-1.0, 0.5, 1.0, np.nan])
    np.testing.assert_array_equal(grads[1]["b"], np.array([[1.0]], np.float32))


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
@pytest.mark.parametrize(
    ("grads", "limit", "error", "message"),
    [
        ({"a": np.ones(2)}, 0, ValueError, "is 0, expected a number above 0"),
        ({"a": np.ones(2)}, np.nan, ValueError, "is nan, expected a number above 0"),
        ({"a": np.ones(2)}, "1", TypeError, "is '1', expected a number"),
        ({"a": np.ones(2)}, True, TypeError, "is True, expected a number"),
        (np.ones(2), 1, TypeError, "grads is of type ndarray, expected a dict"),
        ([np.ones(2)], 1, TypeError, r"grads\[0\] is of type ndarray, expected a dict of arrays"),
        ({"a": [1.0]}, 1, TypeError, r"grads\['a'\] is of type list, expected a numpy array"),
        ({"a": np.ones(2, int)}, 1, TypeError, r"grads\['a'\] has dtype int64"),
        (
            {"a": np.ones(2, ">f8")},
            1,
            TypeError,
            r"grads\['a'\] has dtype float64 \(byte-swapped\)",
        ),
        ([{"b": np.broadcast_to(5.0, 2)}], 1, ValueError, r"grads\['0.b'\] is read-only"),
    ],
)
def test_what_is_refused(clip, grads, limit, error, message):
    with pytest.raises(error, match=message):
        clip(grads, limit)
