"""Sums and largest numbers of steps and of windows: bits, layouts of memory, NaN and infinity."""

import numpy as np
import pytest

from rnncore.models import pooled
from rnncore.models.pool import Pool

T, FLOATS = 41, [np.float32, np.float64]
LAYOUTS = {
    "contiguous": lambda x: x,
    "batch first": lambda x: np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1),
    "features first": lambda x: np.ascontiguousarray(x.transpose(2, 1, 0)).transpose(2, 1, 0),
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "part of a row": lambda x: np.concatenate((x, x), axis=2)[..., : x.shape[2]],
    "at odd bytes": lambda x: at_odd_bytes(x),
    "one step": lambda x: np.broadcast_to(x[3], x.shape),
    "one row": lambda x: np.broadcast_to(x[:, :1], x.shape),
}


def at_odd_bytes(x):
    room = np.zeros(x.nbytes + 1, np.uint8)
    odd = room[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    return odd


def sums(x, lengths):
    """One step after the other."""
    y = np.zeros(x.shape[1:], x.dtype)
    for b, length in enumerate(lengths):
        total = x[0, b].copy()
        for t in range(1, length):
            total = total + x[t, b]
        y[b] = total if length else 0
    return y


def same_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [1, 2, 17, 33])
@pytest.mark.parametrize("B", [1, 2, 9])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_go_from_step_to_step_wherever_x_lies(layout, B, width, dtype, rng):
    x = LAYOUTS[layout](rng.standard_normal((T, B, width)).astype(dtype))
    x.flags.writeable = False
    for lengths in (None, np.full(B, 30), rng.integers(0, T + 1, B), np.zeros(B, np.intp)):
        own = np.full(B, T) if lengths is None else lengths
        expected = sums(x, own) / np.maximum(own, 1)[:, np.newaxis].astype(dtype)
        same_bits(Pool("mean")(x, lengths=lengths), expected)
        largest = [x[:n, b].max(axis=0) if n else np.zeros(width, dtype) for b, n in enumerate(own)]
        same_bits(Pool("max")(x, lengths=lengths), np.array(largest))


@pytest.mark.parametrize("width", [1, 3])
def test_a_mean_of_nothing_but_minus_zero_is_minus_zero(width):
    zeros = np.full((5, 2, width), -0.0, np.float32)
    for y in (Pool("mean")(zeros), Pool("mean", 2)(zeros), Pool("mean")(zeros, lengths=[1, 4])):
        assert np.signbit(y).all()


@pytest.mark.parametrize("width", [1, 3, 17, 33])
@pytest.mark.parametrize("window", [None, 2, 5])
def test_the_largest_of_zeros_is_zero(window, width, rng):
    zeros = np.where(rng.random((9, 4, width)) < 0.5, -0.0, 0.0).astype(np.float32)
    part = Pool("max", window)
    for y in (part(zeros), part.forward(zeros)[0], part(zeros, lengths=[9, 1, 5, 0])):
        same_bits(y, np.zeros_like(y))


def windows(x, kind, window, stride, lengths):
    """Window by window, and where the largest are."""
    steps = max(0, (len(x) - window) // stride + 1)
    y, at = (np.zeros((steps, *x.shape[1:]), dtype) for dtype in (x.dtype, np.intp))
    for b, length in enumerate(lengths):
        for t in range(max(0, (length - window) // stride + 1)):
            own = x[t * stride : t * stride + window, b]
            if kind == "max":
                y[t, b], at[t, b] = own.max(axis=0), own.argmax(axis=0)
            else:
                y[t, b] = sums(own[:, np.newaxis], [window])[0] / x.dtype.type(window)
    return y, at


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [1, 17, 33])
@pytest.mark.parametrize(
    ("window", "stride"), [(1, 1), (2, 2), (5, 1), (3, 5), (33, 2), (T, 1), (T + 1, 1)]
)
@pytest.mark.parametrize("layout", ["contiguous", "batch first", "backwards", "at odd bytes"])
@pytest.mark.parametrize("at_once", [pooled._AT_ONCE, 40])
def test_windows(at_once, layout, window, stride, width, dtype, rng, monkeypatch):
    monkeypatch.setattr(pooled, "_AT_ONCE", at_once)
    x = rng.standard_normal((T, 3, width)).astype(dtype)
    x[4, 0], x[9, 1, 0], x[12, 2], x[20, 0, 0] = np.nan, np.inf, -np.inf, np.nan
    x = LAYOUTS[layout](np.round(x, 1) + 0)  # some are as large as others, and -0 is 0
    for lengths in (None, [T, 7, 0], [33, 33, 33]):
        own = [T] * 3 if lengths is None else lengths
        for kind in ("mean", "max"):
            part = Pool(kind, window, stride=stride)
            y, at = windows(x, kind, window, stride, own)
            same_bits(part(x, lengths=lengths), y)
            trained, trace = part.forward(x, lengths=lengths)
            same_bits(trained, y)
            if kind == "max":
                np.testing.assert_array_equal(trace.kept[0], at)


def test_the_gradient_of_a_window_past_its_row_is_not_read():
    part, x = Pool("max", 2, stride=1), np.arange(8.0).reshape(4, 2, 1)
    _, trace = part.forward(x, lengths=[4, 2])
    dy = np.ones((3, 2, 1))
    dy[1:, 1] = np.nan
    assert part.backward(trace, dy).x[..., 0].tolist() == [[0, 0], [1, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize("kind", ["first", "last"])
def test_an_end_is_the_callers_own(kind):
    x = np.ones((3, 2, 1))
    Pool(kind)(x)[...] = 5
    assert (x == 1).all()
