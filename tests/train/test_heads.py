"""Embedding, Linear and the losses against numbers worked by hand and finite differences."""

import copy
import pickle

import numpy as np
import pytest

from rnncore import Embedding, Linear, gradcheck, mse, softmax_cross_entropy

FLOATS = [np.float32, np.float64]
LEADING = [(), (4,), (3, 4), (2, 3, 4), (0, 3)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_an_affine_map(leading, bias, dtype, rng):
    layer = Linear(5, 2, bias=bias, dtype=dtype, rng=rng)
    assert list(layer.params) == (["weight", "bias"] if bias else ["weight"])
    x = rng.standard_normal((*leading, 5)).astype(dtype)
    y, trace = layer.forward(x)
    expected = np.einsum("...i,oi->...o", x, layer.params["weight"])
    expected = expected + layer.params.get("bias", 0)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(x), y)

    dy = rng.standard_normal(y.shape).astype(dtype)
    grads = layer.backward(trace, dy)
    assert grads.params.keys() == layer.params.keys()
    rows, drows = x.reshape(-1, 5), dy.reshape(-1, 2)
    np.testing.assert_allclose(grads.x, dy @ layer.params["weight"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        grads.params["weight"], np.einsum("no,ni->oi", drows, rows), rtol=1e-5, atol=1e-6
    )
    if bias:
        np.testing.assert_allclose(grads.params["bias"], drows.sum(0), rtol=1e-5, atol=1e-6)
    for name, gradient in grads.params.items():
        assert gradient.dtype == dtype
        assert gradient.shape == layer.params[name].shape


def test_a_trace_is_the_callers_to_reuse(rng):
    layer = Linear(3, 2, rng=rng)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    y, trace = layer.forward(x)
    first = layer.backward(trace, y)
    x[...] = 0
    again = layer.backward(trace, y)
    np.testing.assert_array_equal(first.params["weight"], again.params["weight"])
    with pytest.raises(ValueError, match="read-only"):
        trace.x[...] = 0

    layer = Embedding(5, 2, rng=rng)
    ids = np.array([0, 3])
    y, trace = layer.forward(ids)
    ids[...] = 1
    assert layer.backward(trace, y).params["weight"][[0, 3]].any(axis=1).all()


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda trace: pickle.loads(pickle.dumps(trace))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_trace_that_was_copied_is_read_only_too(again, rng):
    for layer, x in (
        (Linear(3, 2, rng=rng), rng.standard_normal((4, 3)).astype(np.float32)),
        (Embedding(5, 2, rng=rng), np.array([0, 3])),
    ):
        y, trace = layer.forward(x)
        copied = again(trace)
        assert type(copied) is type(trace)
        with pytest.raises(ValueError, match="read-only"):
            copied.x[...] = 0
        np.testing.assert_array_equal(
            layer.backward(copied, y).params["weight"], layer.backward(trace, y).params["weight"]
        )


@pytest.mark.parametrize(
    "prepare",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1].copy()[::-1]],
)
def test_layouts_do_not_matter(prepare, rng):
    layer = Linear(5, 2, dtype=np.float64, rng=rng)
    x, dy = rng.standard_normal((4, 5)), rng.standard_normal((4, 2))
    x.flags.writeable = dy.flags.writeable = False
    expected = layer.backward(layer.forward(x)[1], dy)
    got = layer.backward(layer.forward(prepare(x))[1], prepare(dy))
    np.testing.assert_allclose(layer(prepare(x)), layer(x), rtol=1e-14)
    np.testing.assert_allclose(got.x, expected.x, rtol=1e-14)
    np.testing.assert_allclose(got.params["weight"], expected.params["weight"], rtol=1e-13)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("integer", [np.uint8, np.int64, np.dtype(">i2")])
@pytest.mark.parametrize("leading", LEADING, ids=str)
def test_embedding_looks_up_and_sums(leading, integer, dtype, rng):
    layer = Embedding(6, 3, dtype=dtype, rng=rng)
    ids = rng.integers(0, 6, leading).astype(integer)
    y, trace = layer.forward(ids)
    assert y.shape == (*leading, 3)
    assert y.dtype == dtype
    assert not np.shares_memory(y, layer.params["weight"])
    dy = rng.standard_normal(y.shape).astype(dtype)
    dweight = np.zeros((6, 3), dtype)
    for position in np.ndindex(*leading):
        np.testing.assert_array_equal(y[position], layer.params["weight"][ids[position]])
        dweight[ids[position]] += dy[position]
    grads = layer.backward(trace, dy)
    assert grads.x is None
    assert grads.params["weight"].dtype == dtype
    np.testing.assert_allclose(grads.params["weight"], dweight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 4), (2, 3, 5)])
def test_gradients_by_finite_differences(shape, rng):
    x = rng.standard_normal((*shape, 5))
    assert gradcheck(Linear(5, 3, dtype=np.float64, rng=1), x).keys() == {"x", "weight", "bias"}
    ids = rng.integers(0, 7, shape)
    assert gradcheck(Embedding(7, 3, dtype=np.float64, rng=1), ids).keys() == {"weight"}

    logits = rng.standard_normal((*shape, 4))
    target, targets = rng.standard_normal(logits.shape), rng.integers(0, 4, shape)
    for loss, fixed in ((softmax_cross_entropy, targets), (mse, target)):
        _, gradient = loss(logits, fixed)
        v = rng.standard_normal(logits.shape)
        slope = (loss(logits + 1e-6 * v, fixed)[0] - loss(logits - 1e-6 * v, fixed)[0]) / 2e-6
        assert slope == pytest.approx(np.vdot(gradient, v), rel=1e-7)


def test_a_seed_decides_the_parameters():
    for make in (lambda rng: Linear(4, 3, rng=rng), lambda rng: Embedding(4, 3, rng=rng)):
        same, again, other = make(5), make(np.random.default_rng(5)), make(6)
        for name, value in same.params.items():
            np.testing.assert_array_equal(value, again.params[name])
            assert (value != other.params[name]).any()
    assert max(np.abs(value).max() for value in Linear(16, 50, rng=0).params.values()) <= 0.25


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
    layer = Linear(1, 1, dtype=dtype)
    layer.load_params({"weight": np.array([[4]], dtype), "bias": np.array([0], dtype)})
    y, trace = layer.forward(big)
    assert np.isinf(y).all()
    assert np.isinf(layer.backward(trace, big).params["weight"]).all()
    ids = np.array([0, 0])
    layer = Embedding(1, 1, dtype=dtype)
    assert np.isinf(layer.backward(layer.forward(ids)[1], big).params["weight"]).all()
    assert mse(big, -big)[0] == np.inf
    assert np.isnan(softmax_cross_entropy(y, ids)[0])


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
        (lambda: Linear(0, 3), ValueError, "in_features is 0"),
        (lambda: Linear(3, 2.0), TypeError, "out_features is 2.0"),
        (lambda: Linear(3, 2, bias=1), TypeError, "bias is 1"),
        (lambda: Linear(3, 2, dtype=np.float16), TypeError, "dtype is float16"),
        (lambda: Linear(3, 2, rng="0"), TypeError, "rng is of type str"),
        (lambda: Linear(4, 2)(X), ValueError, r"x has shape \(2, 3\), expected \(2, 4\)"),
        (lambda: Linear(4, 2)(X[0, 0]), TypeError, "x is of type float32"),
        (lambda: Linear(3, 2)(X.astype(float)), TypeError, "x has dtype float64, expected float32"),
        (lambda: Linear(3, 2)(X.tolist()), TypeError, "x is of type list"),
        (
            lambda: Linear(3, 2).backward(Linear(3, 2).forward(X)[1], X),
            ValueError,
            r"dy has shape \(2, 3\), expected \(2, 2\)",
        ),
        (
            lambda: Linear(4, 2).backward(Linear(3, 2).forward(X)[1], X[:, :2]),
            ValueError,
            r"trace.x has shape \(2, 3\), expected \(2, 4\)",
        ),
        (
            lambda: Linear(3, 2).backward(Embedding(3, 2).forward(IDS)[1], X),
            TypeError,
            "trace is of type EmbeddingTrace, expected LinearTrace",
        ),
        (lambda: Linear(3, 2).load_params({}), ValueError, "missing: weight, bias"),
        (lambda: Embedding(2, 3).load_params({"weight": X.T}), ValueError, "weight has shape"),
        (lambda: Embedding(1, 3)(IDS), ValueError, "x holds 1, expected integers from 0 to 0"),
        (lambda: Embedding(2, 3)(IDS - 1), ValueError, "x holds -1, expected integers from 0"),
        (lambda: Embedding(2, 3)(IDS * 1.0), TypeError, "x has dtype float64, expected integers"),
        (lambda: Embedding(2, 3)(IDS > 0), TypeError, "x has dtype bool, expected integers"),
        (lambda: Embedding(2, 3)([0, 1]), TypeError, "x is of type list"),
        (
            lambda: Embedding(2, 4).backward(Embedding(2, 4).forward(IDS)[1], X),
            ValueError,
            r"dy has shape \(2, 3\), expected \(2, 4\)",
        ),
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
