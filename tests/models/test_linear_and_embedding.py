"""Embedding and Linear against numbers worked by hand and finite differences."""

import copy
import pickle

import numpy as np
import pytest

from rnncore import Embedding, Linear, gradcheck

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
        trace.kept[0][...] = 0

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
            copied.kept[0][...] = 0
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


def test_a_seed_decides_the_parameters():
    for make in (lambda rng: Linear(4, 3, rng=rng), lambda rng: Embedding(4, 3, rng=rng)):
        same, again, other = make(5), make(np.random.default_rng(5)), make(6)
        for name, value in same.params.items():
            np.testing.assert_array_equal(value, again.params[name])
            assert (value != other.params[name]).any()
    assert max(np.abs(value).max() for value in Linear(16, 50, rng=0).params.values()) <= 0.25


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
            r"trace is of Linear\(in_features=3, .*, expected one of Linear\(4, 2\)$",
        ),
        (
            lambda: Linear(3, 2).backward(Embedding(3, 2).forward(IDS)[1], X),
            ValueError,
            r"trace is of Embedding\(num_embeddings=3, .*, expected one of Linear\(3, 2\)$",
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
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
