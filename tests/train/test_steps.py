"""Steps of optimisers: the bits of their formulas in NumPy, for every layout and machine."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from steps import STEPS, made

import rnncore as rc
from rnncore import _core
from rnncore.train import optim

FLOATS = [np.float32, np.float64]
SIZES = [0, 1, 7, 15, 16, 17, 31, 33, 1000, 40_001]  # about the widths of registers


def in_numpy(name, p, grads):
    """The parameter and what is kept of it after all steps, every operation rounded by itself."""
    kind, options = STEPS[name]
    lr, eps = options["lr"], options.get("eps", 1e-8)
    if kind == "SGD":
        kept = np.zeros_like(p)
        for g in grads:
            v = kept = kept * options.get("momentum", 0.0) + g
            p = p - v * lr
        return p, [kept] if "momentum" in options else []
    if kind == "RMSprop":
        return rmsprop_in_numpy(p, grads, **options)
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    decay = options.get("weight_decay", 0.01 if kind == "AdamW" else 0.0)
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        if decay and kind == "AdamW":
            p = p - p * (lr * decay)
        elif decay:
            g = g + p * decay
        m = m + (g - m) * (1 - beta1)
        v = v * beta2 + g * g * (1 - beta2)
        root = np.sqrt(v) * (1 / math.sqrt(1 - beta2**t)) + eps
        p = p - m / root * (lr / (1 - beta1**t))
    return p, [m, v]


def rmsprop_in_numpy(
    p, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False
):
    m = s = v = np.zeros_like(p)
    for g in grads:
        if weight_decay:
            g = g + p * weight_decay
        s = s * alpha + g * g * (1 - alpha)
        m = m + (g - m) * (1 - alpha)
        step = g / (np.sqrt(np.maximum(s - m * m, 0) if centered else s) + eps)
        v = v * momentum + step
        p = p - (v if momentum else step) * lr
    return p, [s, *([m] if centered else []), *([v] if momentum else [])]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPS)
def test_every_bit_is_that_of_the_formula_in_numpy(name, dtype, size, rng):
    p, *grads = rng.standard_normal((5, size)).astype(dtype)
    params = {"p": p.copy()}
    optimizer = made(name, params)
    for grad in grads:
        optimizer.step({"p": grad})
    expected, kept = in_numpy(name, p, grads)
    np.testing.assert_array_equal(params["p"], expected)
    found = [array for slot, array in optimizer.state.items() if slot != "steps"]
    for array, wanted in zip(found, kept, strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPS)
def test_infinity_nan_and_the_ends_of_the_range_are_those_of_the_formula(name, dtype):
    info = np.finfo(dtype)
    values = np.array([0, -0.0, 1, np.inf, -np.inf, np.nan, info.max, info.min, 1e-30], dtype)
    p, g = (a.ravel() for a in np.meshgrid(values, values))
    params = {"p": p.copy()}
    made(name, params).step({"p": g})
    with np.errstate(all="ignore"):
        expected, _ = in_numpy(name, p, [g])
    np.testing.assert_array_equal(params["p"], expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STEPS)
def test_no_cut_changes_a_bit(name, dtype, rng):
    """The elements of one array, and the same as arrays of their own that begin anywhere."""
    whole, *grads = rng.standard_normal((4, 250)).astype(dtype)
    cuts = np.cumsum([0, 1, 6, 15, 16, 17, 31, 33, 64, 67])
    apart = whole.copy()
    optimizer = made(name, {"p": whole})
    parts = {f"{k}": apart[a:b] for k, (a, b) in enumerate(itertools.pairwise(cuts))}
    of_parts = made(name, parts)
    for grad in grads:
        optimizer.step({"p": grad})
        of_parts.step({f"{k}": grad[a:b] for k, (a, b) in enumerate(itertools.pairwise(cuts))})
    np.testing.assert_array_equal(apart, whole)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("name", STEPS)
def test_torch_takes_the_same_steps(name, dtype, rtol, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    kind, options = STEPS[name]
    shapes = [(3, 17), (40,), ()]
    params = {str(k): np.array(rng.standard_normal(s), dtype) for k, s in enumerate(shapes)}
    theirs = [torch.nn.Parameter(torch.tensor(p)) for p in params.values()]
    optimizer, their_optimizer = made(name, params), getattr(torch.optim, kind)(theirs, **options)
    for _ in range(6):
        grads = {str(k): np.array(rng.standard_normal(s), dtype) for k, s in enumerate(shapes)}
        for parameter, grad in zip(theirs, grads.values(), strict=True):
            parameter.grad = torch.tensor(grad)
        optimizer.step(grads)
        their_optimizer.step()
    for p, parameter in zip(params.values(), theirs, strict=True):
        np.testing.assert_allclose(p, parameter.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_kept_of_a_gradient_that_stopped_is_never_subnormal(dtype):
    """A mean that halves ends below the normal numbers, which are slow, if it is let."""
    tiny = np.finfo(dtype).tiny
    params = {"p": np.ones(17, dtype)}
    optimizer = rc.Adam(params, betas=(0.5, 0.5))
    zeros, grad = {"p": np.zeros(17, dtype)}, {"p": np.ones(17, dtype)}
    for t in range(1, int(-np.log2(tiny)) + 10):
        optimizer.step(grad if t == 1 else zeros)
        mean, square = optimizer.state["mean.p"], optimizer.state["square.p"]
        np.testing.assert_array_equal(mean, max(0.5**t, tiny))
        np.testing.assert_array_equal(square, 0.5**t if 0.5**t >= tiny else 0)
    assert np.all(np.full(64, tiny) * dtype(0.5) > 0)  # the caller's mode is as it was
    params = {"p": np.full(17, tiny)}
    rc.SGD(params, 1.0).step({"p": np.full(17, 0.75 * tiny, dtype)})  # is 0
    np.testing.assert_array_equal(params["p"], tiny)
    assert np.all(np.full(64, tiny) * dtype(0.5) > 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_variance_that_rounding_takes_below_zero_is_zero(dtype):
    """Gradients that are all alike have none, whatever is left of the difference of two means."""
    params = {"p": np.zeros(301, dtype)}
    grad = {"p": np.linspace(0.1, 3, 301).astype(dtype)}
    optimizer = optim.RMSprop(params, 0.1, alpha=0.3, centered=True)
    for _ in range(60):
        optimizer.step(grad)
    mean, square = optimizer.state["mean.p"], optimizer.state["square.p"]
    assert (square - mean * mean).min() < 0
    assert np.isfinite(params["p"]).all()


# Instruction sets


def printed(isa, *arguments):
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "support" / "same_bits.py", *arguments],
        cwd=Path(rc.__file__).parents[1],
        env={
            **os.environ,
            "RNNCORE_ISA": isa,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_instruction_set_has_the_same_bits():
    all_ = {printed(isa) for isa in _core.available()}
    assert len(all_) == 1
    lines = all_.pop().split()
    assert len(lines) == len(set(lines)) == 22


def test_losses_of_a_softmax_have_the_same_bits_where_there_is_a_fused_multiply_add():
    """Their exponentials are made of such."""
    fused = {isa for isa in _core.available() if isa in ("x86_64_v3", "x86_64_v4")}
    all_ = {printed(isa, "softmax") for isa in fused or _core.available()}
    assert len(all_) == 1
    assert len(set(all_.pop().split())) == 16
