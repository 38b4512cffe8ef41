"""What JAX makes of functions: vmap, checkpoint, scan, cond, jacobians, export; and refusals."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402
from in_jax import FUNCTIONS  # noqa: E402

import rnncore  # noqa: E402
from rnncore.jax import gru, lstm  # noqa: E402

N, T, B, I, H = 4, 5, 2, 3, 4
RAGGED = pytest.mark.parametrize("ragged", [False, True])
BATCH_FIRST = pytest.mark.parametrize("batch_first", [False, True])


def assert_close(got, want):
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def stacked(values):
    return jax.tree.map(lambda *each: jnp.stack(each), *values)


class Case:
    """N batches for an LSTM of two layers and directions with a projection; `loss` weighs y."""

    def __init__(self, rng, ragged, batch_first):
        own = {"num_layers": 2, "bidirectional": True, "proj_size": 3, "dtype": "float64"}
        self.params = rnncore.LSTM(I, H, **own, rng=rng).params
        self.x = rng.standard_normal((N, B, T, I) if batch_first else (N, T, B, I))
        self.lengths = jnp.asarray(rng.integers(0, T + 1, (N, B))) if ragged else None
        self.axes = (None, 0, 0 if ragged else None)
        self.call = lambda p, x, lengths: lstm(p, x, lengths=lengths, batch_first=batch_first)
        self.grad = jax.grad(self.loss, (0, 1))

    def loss(self, params, x, lengths):
        y, (h, c) = self.call(params, x, lengths)
        return (y**2).sum() + (h**3).sum() + jnp.sin(c).sum()

    def one_by_one(self, function, params=None):
        def given(k):
            own = self.params if params is None else jax.tree.map(lambda value: value[k], params)
            return own, self.x[k], None if self.lengths is None else self.lengths[k]

        return stacked([function(*given(k)) for k in range(N)])


@pytest.fixture
def case(rng, ragged, batch_first):
    return Case(rng, ragged, batch_first)


@RAGGED
@BATCH_FIRST
class TestBatches:
    @pytest.mark.parametrize("transform", [jax.jit, lambda function: function])
    def test_over_x(self, case, transform):
        got = transform(jax.vmap(case.call, case.axes))(case.params, case.x, case.lengths)
        assert_close(got, case.one_by_one(case.call))

    def test_over_params(self, case):
        factors = 1 + 0.1 * np.arange(N)
        many = jax.tree.map(lambda p: factors.reshape(N, *[1] * p.ndim) * p, case.params)
        got = jax.jit(jax.vmap(case.grad, (0, *case.axes[1:])))(many, case.x, case.lengths)
        assert_close(got, case.one_by_one(case.grad, many))

    def test_over_params_alone(self, case):
        many = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), case.params)
        x, lengths = case.x[0], None if case.lengths is None else case.lengths[0]
        got = jax.vmap(case.call, (0, None, None))(many, x, lengths)
        each = [jax.tree.map(lambda p, k=k: k * p, case.params) for k in (1, 2)]
        assert_close(got, stacked([case.call(params, x, lengths) for params in each]))

    def test_gradients_of_single_examples(self, case):
        got = jax.jit(jax.vmap(case.grad, case.axes))(case.params, case.x, case.lengths)
        assert_close(got, case.one_by_one(case.grad))

    def test_the_gradient_of_a_sum(self, case):
        def total(params):
            return jax.vmap(case.loss, case.axes)(params, case.x, case.lengths).sum()

        each, _ = case.one_by_one(case.grad)
        assert_close(jax.grad(total)(case.params), jax.tree.map(lambda d: d.sum(0), each))

    def test_within_each_other(self, case):
        twice = jax.vmap(jax.vmap(case.grad, case.axes), case.axes)
        pairs = [a if a is None else a.reshape(2, -1, *a.shape[1:]) for a in (case.x, case.lengths)]
        want = jax.tree.map(lambda d: d.reshape(2, -1, *d.shape[1:]), case.one_by_one(case.grad))
        assert_close(twice(case.params, *pairs), want)

    def test_over_nothing(self, case):
        lengths = None if case.lengths is None else case.lengths[:0]
        y, _ = jax.vmap(case.call, case.axes)(case.params, case.x[:0], lengths)
        assert y.shape == (0, *case.call(case.params, case.x[0], None)[0].shape)
        grads = jax.vmap(case.grad, case.axes)(case.params, case.x[:0], lengths)
        for d, p in zip(jax.tree.leaves(grads), jax.tree.leaves(case.params), strict=False):
            assert d.shape == (0, *p.shape)

    def test_other_axes(self, case):
        x = jnp.moveaxis(case.x, 0, 2)
        call = partial(case.call, case.params, lengths=None)
        got = jax.vmap(lambda x: call(x)[0], in_axes=2, out_axes=1)(x)
        assert_close(got, jnp.stack([call(each)[0] for each in case.x], axis=1))

    def test_a_jacobian(self, case):
        x, lengths = case.x[0], None if case.lengths is None else case.lengths[0]
        found = jax.jacrev(lambda x: case.call(case.params, x, lengths)[0])(x)
        at = (1, 1, 2)
        assert_close(found[at], jax.grad(lambda x: case.call(case.params, x, lengths)[0][at])(x))

    def test_checkpoint(self, case):
        again = jax.grad(jax.checkpoint(case.loss), (0, 1))
        given = case.x[0], None if case.lengths is None else case.lengths[0]
        assert_close(jax.jit(again)(case.params, *given), case.grad(case.params, *given))

    def test_a_condition_under_vmap(self, case):
        """Which makes all that a branch keeps have the axis, also what had none."""

        def loss(params, x, lengths, doubles):
            def of(factor):
                return lambda params: factor * case.loss(params, x, lengths)

            return jax.lax.cond(doubles, of(2.0), of(1.0), params)

        doubles = jnp.arange(N) % 2 == 0
        got = jax.vmap(jax.grad(loss), (*case.axes, 0))(case.params, case.x, case.lengths, doubles)
        each, _ = case.one_by_one(case.grad)
        factor = 1.0 + doubles
        want = jax.tree.map(lambda d: d * factor.reshape(N, *[1] * (d.ndim - 1)), each)
        assert_close(got, want)

    def test_a_scan_over_parts(self, case, batch_first):
        """The state goes from part to part, and its gradient back."""

        def part(carry, x):
            params, state = carry
            lengths = None if case.lengths is None else case.lengths[0]
            y, state = lstm(params, x, state, lengths, batch_first=batch_first)
            return (params, state), y

        def start(params):
            return params, (jnp.zeros((4, B, 3)), jnp.zeros((4, B, H)))

        def scanned(params):
            return (jax.lax.scan(part, start(params), case.x)[1] ** 2).sum()

        def looped(params):
            carry, total = start(params), 0.0
            for x in case.x:
                carry, y = part(carry, x)
                total += (y**2).sum()
            return total

        got, want = jax.jit(jax.grad(scanned))(case.params), jax.grad(looped)(case.params)
        assert_close(got, want)


def plain(rng, dtype="float64"):
    layer = rnncore.GRU(I, H, dtype=dtype, rng=rng)
    return layer, layer.params, rng.standard_normal((T, B, I)).astype(dtype)


def test_one_trace_serves_all_calls_of_a_shape(rng):
    _, params, x = plain(rng)
    traced = []

    @jax.jit
    def call(params, x):
        traced.append(x.shape)
        return gru(params, x)

    for scale in range(3):
        call(params, scale * x)
    call(params, x[:3])
    assert traced == [(T, B, I), (3, B, I)]


def test_parameters_of_a_training_step_may_be_given_away(rng):
    _, params, x = plain(rng)

    @partial(jax.jit, donate_argnums=0)
    def step(params, x):
        loss, grads = jax.value_and_grad(lambda p: (gru(p, x)[0] ** 2).mean())(params)
        return jax.tree.map(lambda p, d: p - 0.1 * d, params, grads), loss

    own, losses = jax.tree.map(jnp.array, params), []
    for _ in range(20):
        own, loss = step(own, x)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    assert losses == sorted(losses, reverse=True)


def test_what_was_exported_is_read_again(rng):
    pytest.importorskip("flatbuffers", reason="JAX writes exported functions with it")
    layer, params, x = plain(rng)
    allowed = [jax.export.DisabledSafetyCheck.custom_call("rnncore.stack.1")]
    written = jax.export.export(jax.jit(gru), disabled_checks=allowed)(params, x).serialize()
    y, _ = jax.export.deserialize(bytearray(written)).call(params, x)
    np.testing.assert_array_equal(y, layer(x)[0])


# What is refused


def loss_of(x):
    return lambda params: (gru(params, x)[0] ** 2).sum()


@pytest.mark.parametrize(
    "second",
    [
        jax.hessian,
        lambda f: jax.jacrev(jax.jacrev(f)),
        lambda f: jax.jit(jax.jacrev(jax.jit(jax.grad(f)))),
        lambda f: jax.jacfwd(jax.grad(f)),
        lambda f: jax.vmap(jax.hessian(f), axis_size=2, in_axes=None),
        lambda f: jax.grad(lambda p: sum(d.sum() for d in jax.grad(jax.checkpoint(f))(p).values())),
    ],
    ids=["hessian", "jacrev", "jit", "jacfwd", "vmap", "checkpoint"],
)
def test_a_second_derivative_is_refused(second, rng):
    _, params, x = plain(rng)
    with pytest.raises(NotImplementedError, match="a second derivative was asked for, expected a"):
        second(loss_of(x))(params)


def test_forward_mode_is_refused(rng):
    _, params, x = plain(rng)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss_of(x), (params,), (params,))


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_float64_is_refused_where_jax_would_make_float32_of_it(cell, rng):
    params = getattr(rnncore, cell)(I, H, dtype="float64", rng=rng).params
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(TypeError, match="x has dtype float64, expected float32 without jax_en"):
        FUNCTIONS[cell](params, np.zeros((T, B, I)))
