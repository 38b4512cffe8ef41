"""Wrong arguments of the functions in JAX: what is said, and that it is said before any work."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import rnncore  # noqa: E402
from rnncore.jax import gru, lstm, rnn  # noqa: E402

T, B, I, H = 4, 2, 3, 5
PARAMS = rnncore.GRU(I, H, 2, dtype="float64", rng=0).params
X = np.zeros((T, B, I))


def without(name):
    return {key: value for key, value in PARAMS.items() if key != name}


WRONG = {
    "x-list": (lambda: gru(PARAMS, X.tolist()), TypeError, "x is of type list, expected an array"),
    "x-key": (
        lambda: gru(PARAMS, jax.random.key(0)), TypeError, "x is of type .*, expected an array",
    ),
    "x-half": (
        lambda: gru(PARAMS, X.astype(jnp.bfloat16)), TypeError,
        "x has dtype bfloat16, expected float32 or float64",
    ),
    "x-width": (
        lambda: gru(PARAMS, X[..., :2]), ValueError,
        r"x has shape \(4, 2, 2\), expected \(T, B, 3\) or \(T, 3\)",
    ),
    "x-batch-first": (
        lambda: gru(PARAMS, X[..., :2], batch_first=True), ValueError,
        r"x has shape \(4, 2, 2\), expected \(B, T, 3\) or \(T, 3\)",
    ),
    "x-dtype": (
        lambda: gru(PARAMS, X.astype("f4")), TypeError,
        "weight_ih_l0 has dtype float64, expected float32 as x's",
    ),
    "params-none": (lambda: gru(None, X), TypeError, "params is None, expected Mapping"),
    "params-empty": (
        lambda: gru({}, X), ValueError,
        r"params\['weight_ih_l0'\] is missing, expected \(3\*H, I\)",
    ),
    "params-gates": (
        lambda: rnn({"weight_ih_l0": X[0, 0]}, X), ValueError,
        r"params\['weight_ih_l0'\] has shape \(3,\), expected \(H, I\)",
    ),
    "params-cell": (
        lambda: lstm(PARAMS, X), ValueError,
        r"params\['weight_ih_l0'\] has shape \(15, 3\), expected \(4\*H, I\)",
    ),
    "params-missing": (
        lambda: gru(without("bias_hh_l1"), X), ValueError, "params has missing: bias_hh_l1",
    ),
    "params-unknown": (
        lambda: gru({**PARAMS, "weight_hr_l0": X[0]}, X), ValueError,
        "params has unknown: weight_hr_l0",
    ),
    "params-shape": (
        lambda: gru({**PARAMS, "weight_hh_l1": X[0]}, X), ValueError,
        r"weight_hh_l1 has shape \(2, 3\), expected \(15, 5\)",
    ),
    "params-value": (
        lambda: gru({**PARAMS, "weight_hh_l1": 1}, X), TypeError,
        "weight_hh_l1 is of type int, expected an array",
    ),
    "state-shape": (
        lambda: gru(PARAMS, X, np.zeros((2, 3, H))), ValueError,
        r"state has shape \(2, 3, 5\), expected \(2, 2, 5\)",
    ),
    "state-pair": (
        lambda: gru(PARAMS, X, (X, X)), TypeError, "state is of type tuple, expected an array",
    ),
    "state-dtype": (
        lambda: gru(PARAMS, X, np.zeros((2, B, H), "f4")), TypeError,
        "state has dtype float32, expected float64 as the layer's",
    ),
    "lengths-far": (
        lambda: gru(PARAMS, X, lengths=[1, 9]), ValueError,
        r"lengths\[1\] is 9, expected 0 to 4, the steps of x",
    ),
    "lengths-shape": (
        lambda: gru(PARAMS, X, lengths=jnp.zeros(3, int)), ValueError,
        r"lengths has shape \(3,\), expected \(2,\)",
    ),
    "lengths-dtype": (
        lambda: gru(PARAMS, X, lengths=jnp.zeros(2)), TypeError,
        "lengths has dtype float64, expected integers",
    ),
    "reset": (
        lambda: gru(PARAMS, X, reset="x"), ValueError, "reset is 'x', expected 'after' or 'before'",
    ),
    "flag": (lambda: gru(PARAMS, X, batch_first=1), TypeError, "batch_first is 1, expected True"),
    "clip": (lambda: gru(PARAMS, X, clip=-1.0), ValueError, "clip is -1.0, expected None or a"),
    "activations": (
        lambda: gru(PARAMS, X, activations=["Tanh", {}]), TypeError,
        r"activations\[1\] is {}, expected a name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_said(name, monkeypatch):
    call, kind, text = WRONG[name]
    monkeypatch.setattr(jax.ffi, "ffi_call", None)  # nothing was computed
    with pytest.raises(kind, match=text):
        call()


@pytest.mark.parametrize(
    ("lengths", "shown"),
    [((1, 5), 5), ((-1, 1), -1), ((2**40, 1), 2**31 - 1), ((1, -(2**40)), -(2**31))],
    ids=str,
)
def test_lengths_that_are_known_late(lengths, shown):
    """They make the call fail, and the next one is right."""
    call = jax.jit(lambda lengths: gru(PARAMS, X, lengths=lengths)[0])
    row = next(k for k, length in enumerate(lengths) if not 0 <= length <= T)
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"lengths has {shown} at row {row}, exp"):
        jax.block_until_ready(call(jnp.array(lengths)))
    assert call(jnp.array((1, T))).shape == (T, B, H)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32", "int64", "uint64"])
def test_lengths_of_any_whole_numbers(dtype):
    want = gru(PARAMS, X + 1, lengths=[1, 4])[0]
    np.testing.assert_array_equal(gru(PARAMS, X + 1, lengths=jnp.array([1, 4], dtype))[0], want)
