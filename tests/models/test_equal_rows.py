"""Convolutions of rows of one length, which go another way than those of several lengths."""

import tracemalloc

import numpy as np
import pytest
from parts import PARTS

from rnncore.models import windows
from rnncore.models.conv import Conv1d

CONVS = [name for name in PARTS if name.startswith("Conv1d")]
T, B = 19, 5
LAYOUTS = {
    "contiguous": lambda x: x,
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=2)[::2, :, ::3],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "features first": lambda x: np.ascontiguousarray(x.transpose(2, 1, 0)).transpose(2, 1, 0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [0, 1, 6, T])
@pytest.mark.parametrize("name", CONVS)
def test_rows_of_one_length_are_those_of_several(name, length, dtype, rng):
    """Bit for bit, with one row more that is as long as x or empty."""
    case = PARTS[name]
    part, x = case.part(dtype), case.x(rng, T, B + 1, dtype=dtype)
    x[length:, :B] = np.nan
    other = 0 if length == T else T
    expected = part(x, lengths=[length] * B + [other])[:, :B]
    y, trace = part.forward(np.ascontiguousarray(x[:, :B]), lengths=[length] * B)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(part(x[:length, :B]), y[: part.lengths_after([length])[0]])
    grads = part.backward(trace, np.ones_like(y))
    assert not np.isnan(grads.x).any()
    assert not grads.x[length:].any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CONVS)
def test_blocks_of_any_size_and_any_layout_give_the_same(name, layout, rng, monkeypatch):
    case = PARTS[name]
    part, x = case.part(np.float32), case.x(rng, T, B, dtype=np.float32)
    K, C = part.kernel_size, part.in_channels
    y, trace = part.forward(x)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    grads, laid = part.backward(trace, dy), LAYOUTS[layout](x)
    # A window at a time; two rows, then one; some steps of all rows
    for most in (1, 2 * K * C, 7 * B * K * C):
        monkeypatch.setattr(windows, "_MOST_NUMBERS", most)
        np.testing.assert_array_equal(part(laid), y)
        again, trace = part.forward(laid)
        np.testing.assert_array_equal(again, y)
        others = part.backward(trace, dy)
        np.testing.assert_allclose(others.x, grads.x, rtol=1e-5, atol=1e-5)
        for key, value in grads.params.items():
            np.testing.assert_allclose(others.params[key], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", CONVS)
def test_what_is_no_number_shows_where_it_is_seen_alone(name, value, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)
    y = part(x)
    x[8, 2] = value
    spoilt = part(x)
    seen = np.zeros(y.shape[:2], bool)
    for t in range(len(y)):
        first = t * part.stride - part._before(T)
        seen[t, 2] = 8 in range(first, first + part._kernel.reach, part.dilation)
    np.testing.assert_array_equal(~np.isfinite(spoilt).all(axis=2), seen)
    np.testing.assert_array_equal(spoilt[~seen], y[~seen])


@pytest.mark.parametrize("padding", ["causal", "same"])
def test_windows_that_reach_far_take_no_memory_for_zeros(padding, rng):
    part, x = Conv1d(3, 2, 2, padding=padding, dilation=1 << 22, rng=0), np.ones((4, 5, 3), "f")
    tracemalloc.start()
    try:
        y, trace = part.forward(x)
        dx = part.backward(trace, np.ones_like(y)).x
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    weight, bias = part.params.values()
    seen = weight[:, :, 1] if padding == "causal" else 0 * weight[:, :, 1]
    np.testing.assert_allclose(y, np.broadcast_to(seen.sum(axis=1) + bias, y.shape), rtol=1e-6)
    np.testing.assert_allclose(dx, np.broadcast_to(seen.sum(axis=0), x.shape), rtol=1e-6)
