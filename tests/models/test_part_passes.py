"""What every layer of a model promises of its passes: lengths, layouts, rows, padding, traces."""

import copy
import pickle

import numpy as np
import pytest
from parts import BY_ROW, LENGTHS, OVER_TIME, PARTS, B, T

from rnncore.models import windows
from rnncore.models.pool import Pool

FLOATS = [np.float32, np.float64]
RANDOM = ("Dropout",)  # in training
OF_BATCHES = tuple(name for name in PARTS if name.startswith("BatchNorm"))  # likewise
OF_ROWS = [name for name in PARTS if name not in RANDOM + OF_BATCHES]


def inside(a, batch_first):
    return a.swapaxes(0, 1) if batch_first else a


def past(lengths, steps):
    return np.arange(steps)[:, np.newaxis] >= np.asarray(lengths)


def spoilt(case, x, lengths, value=np.nan):
    """x with nonsense past the lengths."""
    x = x.copy()
    x[past(lengths, len(x))] = -99 if case.of_ids else value
    return x


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", OF_ROWS)
def test_lengths_are_a_loop_over_rows(name, lengths, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)
    y, trace = part.forward(spoilt(case, x, lengths), lengths=lengths)
    np.testing.assert_array_equal(part(x, lengths=lengths), y)
    dy = rng.standard_normal(y.shape)
    after, spoilt_dy = part.lengths_after(lengths), dy.copy()
    if after is not None:
        assert after.tolist() == [len(part(x[:n, :1])) for n in lengths]
        spoilt_dy[past(after, len(y))] = np.nan
    grads = part.backward(trace, spoilt_dy)
    params = {key: np.zeros_like(value) for key, value in part.params.items()}
    for b, n in enumerate(lengths):
        row, row_trace = part.forward(x[:n, b : b + 1])
        y_row, dy_row = (y[b : b + 1], dy[b : b + 1]) if after is None else (y[:, b:], dy[:, b:])
        if after is not None:
            assert not y_row[after[b] :, :1].any()
            y_row, dy_row = y_row[: after[b], :1], dy_row[: after[b], :1]
        np.testing.assert_array_equal(row, y_row)
        of_row = part.backward(row_trace, np.ascontiguousarray(dy_row))
        if not case.of_ids:
            np.testing.assert_allclose(grads.x[:n, b : b + 1], of_row.x, rtol=1e-12, atol=1e-14)
            assert not grads.x[n:, b].any()
        for key, value in of_row.params.items():
            params[key] += value
    assert grads.params.keys() == part.params.keys()
    for key, value in params.items():
        np.testing.assert_allclose(grads.params[key], value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", PARTS)
def test_padding_is_not_seen(name, training, rng):
    """Neither its numbers nor a NaN in it, not even in buffers."""
    case, lengths = PARTS[name], LENGTHS[0]
    x, results = case.x(rng, T, B), []
    for value in (np.nan, 7.0):
        part = case.part()
        y, trace = part.forward(spoilt(case, x, lengths, value), lengths=lengths, training=training)
        results.append([y, *part.buffers.values()])
        if training:
            dy = np.ones_like(y)
            after = part.lengths_after(lengths)
            if after is not None:
                dy[past(after, len(y))] = value
            grads = part.backward(trace, dy)
            results[-1] += [*grads.params.values()] + ([] if grads.x is None else [grads.x])
        results[-1].append(part(spoilt(case, x, lengths, value), lengths=lengths))
    for one, other in zip(*results, strict=True):
        assert not np.isnan(one).any()
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("lengths", [None, LENGTHS[0]], ids=str)
@pytest.mark.parametrize("name", [name for name in PARTS if name not in RANDOM])
def test_the_batch_may_come_first(name, lengths, rng):
    case = PARTS[name]
    part, turned, x = case.part(), case.part(batch_first=True), case.x(rng, T, B)
    layout = case.layout(True)
    y, trace = part.forward(x, lengths=lengths)
    x_turned = np.ascontiguousarray(x.swapaxes(0, 1))
    y_turned, trace_turned = turned.forward(x_turned, lengths=lengths, **layout)
    ends = y.ndim == 2 and case.over_time
    expected = y if ends else y.swapaxes(0, 1)
    np.testing.assert_allclose(y_turned, expected, rtol=1e-12, atol=1e-13)
    called = turned(x_turned, lengths=lengths, **layout)
    np.testing.assert_allclose(called.shape, y_turned.shape)
    dy = rng.standard_normal(y.shape)
    dy_turned = dy if ends else np.ascontiguousarray(dy.swapaxes(0, 1))
    grads, others = part.backward(trace, dy), turned.backward(trace_turned, dy_turned)
    if not case.of_ids:
        np.testing.assert_allclose(others.x, grads.x.swapaxes(0, 1), rtol=1e-10, atol=1e-12)
    for key, value in grads.params.items():
        np.testing.assert_allclose(others.params[key], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PARTS)
def test_one_sequence_needs_no_batch(name, rng):
    case = PARTS[name]
    x = case.x(rng, T)
    alone, batch = case.part(), case.part()
    y, trace = alone.forward(x)
    y_batch, batch_trace = batch.forward(x[:, np.newaxis])
    ends = case.over_time and y.ndim == 1
    axis = 0 if ends else 1
    np.testing.assert_array_equal(y, y_batch.squeeze(axis))
    np.testing.assert_array_equal(alone(x), batch(x[:, np.newaxis]).squeeze(axis))
    grads = alone.backward(trace, y)
    others = batch.backward(batch_trace, y_batch)
    if not case.of_ids:
        np.testing.assert_array_equal(grads.x, others.x[:, 0])
    for key, value in grads.params.items():
        np.testing.assert_array_equal(value, others.params[key])
    leading = "(T, B)" if case.of_ids else "(T, B, "
    with pytest.raises(ValueError, match="where there are lengths") as error:
        alone(x, lengths=[T])
    assert leading in str(error.value)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PARTS)
def test_a_row_is_computed_from_itself_alone(name, dtype, rng):
    """Bit for bit: in a batch of 1, of 4, of 67, and one step at a time."""
    case = PARTS[name]
    part, x = case.part(dtype), case.x(rng, 19, 67, dtype=dtype)
    y = part(x)
    assert y.dtype == dtype
    ends = case.over_time and y.ndim == 2
    for rows in (slice(0, 1), slice(2, 6), slice(66, 67)):
        few = part(np.ascontiguousarray(x[:, rows]))
        np.testing.assert_array_equal(few, y[rows] if ends else y[:, rows])
    if not case.over_time:
        for t in (0, 7, 18):
            np.testing.assert_array_equal(part(x[t, 3:4])[0], y[t, 3])
            np.testing.assert_array_equal(part(x[t]), y[t])


@pytest.mark.parametrize("name", PARTS)
def test_at_inference_forward_is_a_call_and_the_trace_is_empty(name, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)
    before = {key: value.copy() for key, value in part.buffers.items()}
    y, trace = part.forward(x, training=False)
    np.testing.assert_array_equal(y, part(x))
    for key, value in before.items():
        np.testing.assert_array_equal(part.buffers[key], value)
    assert trace.kept is None
    with pytest.raises(ValueError, match=r"^trace was made with training=False, expected"):
        part.backward(trace, y)
    if name not in RANDOM + OF_BATCHES:
        np.testing.assert_array_equal(part.forward(x)[0], y)


@pytest.mark.parametrize("name", PARTS)
def test_what_comes_in_is_read_only_and_what_goes_out_is_the_callers(name, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)
    x.flags.writeable = False
    y, trace = part.forward(x)
    dy = y.copy()
    dy.flags.writeable = False
    grads = part.backward(trace, dy)
    found = [y, part(x), *grads.params.values()] + ([] if grads.x is None else [grads.x])
    held = [x, dy, *part.params.values(), *(a for a in trace.kept if a is not None)]
    for array in found:
        assert array.flags.writeable
        assert not any(np.shares_memory(array, other) for other in held)


@pytest.mark.parametrize(
    "again",
    [
        lambda trace: trace,
        copy.copy,
        copy.deepcopy,
        lambda trace: pickle.loads(pickle.dumps(trace)),
    ],
    ids=["itself", "copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("lengths", [None, LENGTHS[0]], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_a_trace_is_read_only_of_no_layer_and_used_often(name, lengths, again, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, T, B)
    y, trace = part.forward(x, lengths=lengths)
    first = part.backward(trace, y)
    x[...] = 0  # the caller's
    copied = again(trace)
    for array in (*copied.kept, *([] if lengths is None else [copied.lengths])):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    second = case.part().backward(copied, y)
    for key, value in first.params.items():
        np.testing.assert_array_equal(second.params[key], value)
    if not case.of_ids:
        np.testing.assert_array_equal(second.x, first.x)


@pytest.mark.parametrize("prepare", [np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2]])
@pytest.mark.parametrize("name", PARTS)
def test_how_arrays_lie_in_memory_does_not_matter(name, prepare, rng):
    case = PARTS[name]
    one, other, x = case.part(), case.part(), case.x(rng, T, B)
    (y, trace), (y_other, trace_other) = one.forward(x), other.forward(prepare(x))
    np.testing.assert_array_equal(y_other, y)
    np.testing.assert_array_equal(other(prepare(x)), one(x))
    grads, others = one.backward(trace, y), other.backward(trace_other, prepare(y))
    if not case.of_ids:
        np.testing.assert_array_equal(others.x, grads.x)
    for key, value in grads.params.items():
        np.testing.assert_array_equal(others.params[key], value)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_nothing_is_worked_on_too(name, shape, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, *shape)
    y = part(x)
    assert y.shape[-2 if case.over_time and y.ndim == 2 else 1] == shape[1]
    assert y.any() == (name == "Conv1d padded unevenly" and shape[1] > 0)  # the bias, of padding
    if name in OF_BATCHES:
        with pytest.raises(ValueError, match=r"^x has 0 positions, expected at least 2"):
            part.forward(x)
        return
    y, trace = part.forward(x, lengths=[0] * shape[1])
    grads = part.backward(trace, y)
    assert case.of_ids or grads.x.shape == x.shape
    assert not any(value.any() for key, value in grads.params.items() if key == "weight")


@pytest.mark.parametrize("name", BY_ROW)
def test_any_leading_dimensions(name, rng):
    case = PARTS[name]
    part, x = case.part(), case.x(rng, 2, 3, 2, 3)
    y = part(x)
    assert y.shape[:4] == (2, 3, 2, 3)
    np.testing.assert_array_equal(part(x[1]), y[1])
    np.testing.assert_array_equal(part(np.asarray(x[1, 2, 0, 1])), y[1, 2, 0, 1])
    with_lengths = part(x, lengths=[2, 0, 1])
    np.testing.assert_array_equal(with_lengths[:, 0], y[:, 0])
    assert not with_lengths[:, 1].any()
    np.testing.assert_array_equal(with_lengths[0, 2], y[0, 2])
    assert not with_lengths[1, 2].any()


@pytest.mark.parametrize("name", OVER_TIME)
def test_the_layout_is_told(name):
    assert PARTS[name].part().batch_first is False
    assert PARTS[name].part(batch_first=True).batch_first is True


@pytest.mark.parametrize("name", OVER_TIME)
def test_few_windows_at_a_time_give_the_same(name, monkeypatch, rng):
    case = PARTS[name]
    part, x, results = case.part(), case.x(rng, T, B), []
    for most in (windows._MOST_NUMBERS, 1):
        monkeypatch.setattr(windows, "_MOST_NUMBERS", most)
        y, trace = part.forward(x, lengths=LENGTHS[0])
        grads = part.backward(trace, y)
        results.append([y, grads.x, *grads.params.values()])
    for whole, in_parts in zip(*results, strict=True):
        np.testing.assert_allclose(in_parts, whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_windows_at_the_ends_of_a_row():
    x = np.array([[1.0, -np.inf], [4.0, -np.inf], [2.0, 7.0], [np.nan, np.nan]])[:, np.newaxis]
    layer = Pool("max", 3, stride=1, padding="same")
    y, trace = layer.forward(x, lengths=[3])
    np.testing.assert_array_equal(y[:, 0], [[4, -np.inf], [4, 7], [4, 7], [0, 0]])
    dx = layer.backward(trace, np.ones_like(y)).x
    np.testing.assert_array_equal(dx[:, 0], [[0, 1], [3, 0], [0, 2], [0, 0]])
    mean = Pool("mean", 2, stride=2, padding="same")
    np.testing.assert_array_equal(mean(x[:3, :, :1])[:, 0, 0], [2.5, 2])
    np.testing.assert_array_equal(mean.lengths_after([0, 1, 2, 5]), [0, 1, 1, 3])
    assert repr(mean) == "Pool('mean', 2, stride=2, padding='same')"
    with pytest.raises(ValueError, match="padding is 'same', expected 'valid' without a window"):
        Pool("mean", padding="same")
