"""Losses and the gradient of an embedding: sizes about the widths of registers, any layout."""

import numpy as np
import pytest

from rnncore import Embedding, mse, softmax_cross_entropy
from rnncore._engine.norms import sum_of_squares

FLOATS = [np.float32, np.float64]
CLASSES = [1, 2, 7, 15, 16, 17, 31, 32, 33, 96, 1000, 1023, 1024, 1025, 3000]
WIDER = {np.float32: np.float64, np.float64: np.longdouble}


def softmax_in_numpy(logits, targets):
    """The losses of the rows, their gradient, and how far each logit is below the largest."""
    below = logits.max(axis=-1, keepdims=True) - logits
    exps = np.exp(-below)
    sums = exps.sum(axis=-1, keepdims=True)
    rows = np.arange(len(logits))
    losses = np.log(sums[:, 0]) + below[rows, targets]
    probabilities = exps / sums
    probabilities[rows, targets] -= 1
    return losses, probabilities / len(rows), below


@pytest.mark.parametrize("scale", [0.1, 3, 30])
@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_is_right_to_a_few_roundings(dtype, classes, rows, scale, rng):
    wider = WIDER[dtype]
    if np.finfo(wider).nmant < np.finfo(dtype).nmant + 8:
        pytest.skip("no wider type on this machine")
    logits = (scale * rng.standard_normal((rows, classes))).astype(dtype)
    targets = rng.integers(0, classes, rows)
    loss, dlogits = softmax_cross_entropy(logits, targets)
    losses, expected, below = softmax_in_numpy(logits.astype(wider), targets)
    eps = float(np.finfo(dtype).eps)
    # That a logit is so far below the largest is rounded, and the exponential has the error of it.
    assert loss == pytest.approx(float(losses.mean()), rel=4 * eps, abs=4 * eps)
    allowed = (6 + 0.5 * below) * np.abs(expected) + np.finfo(dtype).tiny / eps
    allowed[np.arange(rows), targets] = (6 + 0.5 * below.max()) / rows
    assert np.all(np.abs(dlogits - expected) <= eps * allowed)
    assert dlogits.dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_no_number_goes_where_it_goes_in_numpy(dtype):
    inf, nan = np.inf, np.nan
    cases = [
        [0, 1, 2], [nan, 1, 2], [0, nan, nan], [inf, 1, 2], [inf, inf, 2], [-inf, 1, 2],
        [-inf, -inf, -inf], [inf, -inf, 0], [nan, -inf, inf], [-inf, -inf, 3], [nan, nan, nan],
        [np.finfo(dtype).max, np.finfo(dtype).min, 0],
    ]  # fmt: skip
    for case in cases:
        for width in (3, 40):
            for target in (0, 1, 2):
                logits = np.resize(np.array(case, dtype), (1, width))
                loss, dlogits = softmax_cross_entropy(logits, np.array([target]))
                with np.errstate(all="ignore"):
                    losses, expected, _ = softmax_in_numpy(logits, np.array([target]))
                np.testing.assert_allclose(loss, losses[0], rtol=1e-6)
                np.testing.assert_allclose(dlogits, expected, rtol=1e-6)


@pytest.mark.parametrize("classes", [5, 33, 1500])
def test_a_row_does_not_see_the_others(classes, rng):
    logits = rng.standard_normal((6, classes)).astype(np.float32)
    targets = rng.integers(0, classes, 6)
    _, dlogits = softmax_cross_entropy(logits, targets)
    order = rng.permutation(6)
    _, of_order = softmax_cross_entropy(logits[order], targets[order])
    np.testing.assert_array_equal(of_order, dlogits[order])
    logits[2] = np.nan
    _, beside_nan = softmax_cross_entropy(logits, targets)
    np.testing.assert_array_equal(np.delete(beside_nan, 2, 0), np.delete(dlogits, 2, 0))


@pytest.mark.parametrize("dtype", FLOATS)
def test_probabilities_below_the_normal_numbers_are_zero(dtype):
    tiny, rows = np.finfo(dtype).tiny, 64
    far = np.linspace(0.9, 1.1, 1000) * np.log(float(tiny))
    logits = np.tile(np.append(far, 0).astype(dtype), (rows, 1))
    _, dlogits = softmax_cross_entropy(logits, np.full(rows, 1000))
    found, exact = dlogits[0, :1000], np.exp(logits[0, :1000].astype(np.longdouble)) / rows
    assert np.all((found == 0) | (found >= tiny))
    np.testing.assert_allclose(found, np.where(exact < tiny, 0, exact), rtol=1e-5)
    assert np.all(np.full(64, tiny) * dtype(0.5) > 0)  # the caller's mode is as it was


def off_its_alignment(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:].view(a.dtype)[...] = a.reshape(-1)
    return raw[1:].view(a.dtype).reshape(a.shape)


def locked(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = [
    np.asfortranarray,
    off_its_alignment,
    lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    locked,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=range(len(LAYOUTS)))
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_layout_changes_a_bit(dtype, layout, rng):
    logits, target = rng.standard_normal((2, 9, 21)).astype(dtype)
    targets = rng.integers(0, 21, (9, 2))
    for found, expected in (
        (
            softmax_cross_entropy(layout(logits), layout(targets)[:, 0]),
            softmax_cross_entropy(logits, targets[:, 0]),
        ),
        (mse(layout(logits), layout(target)), mse(logits, target)),
    ):
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("integer", [np.uint8, np.int16, np.uint64, np.dtype(">i4")])
def test_targets_of_any_integers(integer, rng):
    logits, targets = rng.standard_normal((5, 9)), rng.integers(0, 9, 5)
    expected = softmax_cross_entropy(logits, targets)
    found = softmax_cross_entropy(logits, targets.astype(integer))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("size", [1, 7, 16, 17, 33, 1000, 2047, 2048, 2049, 40_000])
@pytest.mark.parametrize("dtype", FLOATS)
def test_mse_is_the_formula_to_the_bit(dtype, size, rng):
    y, target = rng.standard_normal((2, size)).astype(dtype)
    loss, dy = mse(y, target)
    assert loss == sum_of_squares(y - target) / size
    np.testing.assert_array_equal(dy, (y - target) * dtype(2 / size))
    assert mse(y[::-1], target[::-1])[1][::-1].tolist() == dy.tolist()


@pytest.mark.parametrize("shape", [(3, 1), (4096, 64), (500, 7), (500, 17), (33, 33), (0, 5)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gradient_of_an_embedding_adds_up_in_order_of_position(dtype, shape, rng):
    rows, width = shape
    for ids in (rng.integers(0, 20, rows), np.full(rows, 3), rng.integers(0, 20, rows)[::-1]):
        layer = Embedding(20, width, dtype=dtype, rng=0)
        dy = rng.standard_normal(shape).astype(dtype)
        _, trace = layer.forward(ids)
        expected = np.zeros((20, width), dtype)
        np.add.at(expected, ids, dy)
        np.testing.assert_array_equal(layer.backward(trace, dy).params["weight"], expected)


def test_the_gradient_of_an_embedding_of_any_layout(rng):
    layer = Embedding(6, 5, dtype=np.float32, rng=0)
    ids = rng.integers(0, 6, (7, 4))
    dy = rng.standard_normal((7, 4, 5)).astype(np.float32)
    expected = layer.backward(layer.forward(ids)[1], dy).params["weight"]
    for laid_out in (off_its_alignment(dy), np.asfortranarray(dy), np.repeat(dy, 2, 2)[..., ::2]):
        for same in (ids, np.asfortranarray(ids), ids.astype(np.uint8), off_its_alignment(ids)):
            found = layer.backward(layer.forward(same)[1], laid_out).params["weight"]
            np.testing.assert_array_equal(found, expected)
    dy[2, 1] = np.nan
    found = layer.backward(layer.forward(ids)[1], dy).params["weight"]
    assert np.isnan(found).any(axis=1).tolist() == [k == ids[2, 1] for k in range(6)]
