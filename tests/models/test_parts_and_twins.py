"""The layers of models beside their twins in `rnncore.reference`: values and gradients."""

import numpy as np
import pytest
from parts import LENGTHS, PARTS, B, T

from rnncore import GRU, reference
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.bidirectional import MERGES, Bidirectional
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.reverse import Reverse

TOLERANCE = {np.float32: {"rtol": 2e-4, "atol": 2e-5}, np.float64: {"rtol": 1e-10, "atol": 1e-12}}


def named(case, *grads):
    dx, *others = grads
    names = ("weight", "bias")
    return dx, {n: g for n, g in zip(names, others, strict=False) if g is not None}


def activation(case, part, x, lengths, dy):
    y, trace = reference.activation_forward(x, part.function)
    return y, lambda dy: named(case, reference.activation_backward(trace, dy))


def layer_norm(case, part, x, lengths, dy):
    y, trace = reference.layer_norm_forward(x, *part.params.values(), eps=part.eps)
    return y, lambda dy: named(case, *reference.layer_norm_backward(trace, dy))


def batch_norm(case, part, x, lengths, dy):
    before = case.part(x.dtype)
    y, moved, trace = reference.batch_norm_forward(
        x,
        *before.buffers.values(),
        *part.params.values(),
        lengths=lengths,
        eps=part.eps,
        momentum=part.momentum,
    )
    for value, expected in zip(part.buffers.values(), moved, strict=True):
        np.testing.assert_allclose(value, expected, **TOLERANCE[x.dtype.type])
    return y, lambda dy: named(case, *reference.batch_norm_backward(trace, dy))


def conv1d(case, part, x, lengths, dy):
    options = {name: getattr(part, name) for name in ("stride", "padding", "dilation")}
    y, trace = reference.conv1d_forward(x, *part.params.values(), lengths=lengths, **options)
    return y, lambda dy: named(case, *reference.conv1d_backward(trace, dy))


def pool(case, part, x, lengths, dy):
    options = {name: getattr(part, name) for name in ("stride", "padding")}
    y, trace = reference.pool_forward(x, part.kind, part.window, lengths=lengths, **options)
    return y, lambda dy: named(case, reference.pool_backward(trace, dy))


def linear(case, part, x, lengths, dy):
    y, trace = reference.linear_forward(x, *part.params.values())
    return y, lambda dy: named(case, *reference.linear_backward(trace, dy))


def embedding(case, part, x, lengths, dy):
    y, trace = reference.embedding_forward(x, part.params["weight"])
    return y, lambda dy: (None, {"weight": reference.embedding_backward(trace, dy)})


def reverse(case, part, x, lengths, dy):
    y = reference.reverse_forward(x, lengths)
    return y, lambda dy: (reference.reverse_forward(dy, lengths), {})


TWINS = {
    Linear: linear,
    Embedding: embedding,
    Reverse: reverse,
    Activation: activation,
    LayerNorm: layer_norm,
    BatchNorm: batch_norm,
    Conv1d: conv1d,
    Pool: pool,
}
TAKE_NO_LENGTHS = (Activation, LayerNorm, Linear, Embedding)  # the twins
NAMES = [name for name, case in PARTS.items() if case.kind in TWINS]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lengths", [None, *LENGTHS], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_layer_and_its_twin(name, lengths, dtype, rng):
    case, close = PARTS[name], TOLERANCE[dtype]
    part, x = case.part(dtype), case.x(rng, T, B, dtype=dtype)
    y, trace = part.forward(x, lengths=lengths)
    dy = rng.standard_normal(y.shape).astype(dtype)
    within = np.ones((T, B, 1), bool)
    whole = case.kind in TAKE_NO_LENGTHS
    if whole and lengths is not None:
        within = np.arange(T)[:, None, None] < np.array(lengths)[:, None]
    expected, back = TWINS[case.kind](case, part, x, lengths, dy)
    assert expected.dtype == y.dtype
    np.testing.assert_allclose(y, np.where(within, expected, 0) if whole else expected, **close)
    dx, params = back(np.where(within, dy, 0).astype(dtype) if whole else dy)
    grads = part.backward(trace, dy)
    if dx is None:
        assert grads.x is None
    else:
        np.testing.assert_allclose(grads.x, np.where(within, dx, 0) if whole else dx, **close)
    assert params.keys() == grads.params.keys()
    for key, value in params.items():
        np.testing.assert_allclose(grads.params[key], value, **close)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("BatchNorm")])
def test_batch_norm_at_inference(name, rng):
    case = PARTS[name]
    part, x, lengths = case.part(), case.x(rng, T, B), LENGTHS[0]
    arrays = (*part.buffers.values(), *part.params.values())
    y, moved, trace = reference.batch_norm_forward(
        x, *arrays, lengths=lengths, eps=part.eps, training=False
    )
    np.testing.assert_allclose(part(x, lengths=lengths), y, rtol=1e-12, atol=1e-14)
    assert trace is None
    for value, same in zip(part.buffers.values(), moved, strict=True):
        np.testing.assert_array_equal(value, same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_and_its_twin(dtype, rng):
    part, x = Dropout(0.3, rng=0), rng.standard_normal((T, B, 5)).astype(dtype)
    y, trace = part.forward(x)
    mask = part.backward(trace, np.ones_like(x)).x
    np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.7], rtol=1e-6)
    np.testing.assert_array_equal(y, reference.dropout_forward(x, mask))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lengths", [None, *LENGTHS], ids=str)
@pytest.mark.parametrize("merge", MERGES)
def test_both_directions_and_their_twin(merge, lengths, dtype, rng):
    close = TOLERANCE[dtype]
    layer = GRU(3, 5, bidirectional=True, dtype=dtype, rng=rng)
    whole, x = Bidirectional(layer, merge), rng.standard_normal((T, B, 3)).astype(dtype)
    y, state, trace = whole.forward(x, lengths=lengths)
    both, final, inner = layer.forward(x, lengths=lengths)
    expected, kept = reference.merge_forward(both, merge)
    np.testing.assert_allclose(y, expected, **close)
    np.testing.assert_array_equal(state[0], final)
    np.testing.assert_array_equal(whole(x, lengths=lengths)[0], y)
    dy = rng.standard_normal(y.shape).astype(dtype)
    grads, own = (
        whole.backward(trace, dy),
        layer.backward(inner, reference.merge_backward(kept, dy)),
    )
    np.testing.assert_allclose(grads.x, own.x, **close)
    assert grads.params.keys() == own.params.keys()
    for name, value in own.params.items():
        np.testing.assert_allclose(grads.params[name], value, **close)
