"""Steps of optimisers: the bits of their formulas in NumPy, for every layout and machine."""

import copy
import itertools
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnncore as rc
from rnncore import _core
from rnncore.train import clipping, optim

FLOATS = [np.float32, np.float64]
SIZES = [0, 1, 7, 15, 16, 17, 31, 33, 1000, 40_001]  # about the widths of registers
STEPS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "adam": ("Adam", {"lr": 0.05}),
    "decay": ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-4, "weight_decay": 0.1}),
}


def made(name, params):
    kind, options = STEPS[name]
    return getattr(rc, kind)(params, **options)


def in_numpy(name, p, grads):
    """The parameter and what is kept of it after all steps, every operation rounded by itself."""
    kind, options = STEPS[name]
    if kind == "SGD":
        kept = np.zeros_like(p)
        for g in grads:
            v = kept = kept * options.get("momentum", 0.0) + g
            p = p - v * options["lr"]
        return p, [kept] if "momentum" in options else []
    (beta1, beta2), eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        if "weight_decay" in options:
            g = g + p * options["weight_decay"]
        m = m + (g - m) * (1 - beta1)
        v = v * beta2 + g * g * (1 - beta2)
        root = np.sqrt(v) * (1 / math.sqrt(1 - beta2**t)) + eps
        p = p - m / root * (options["lr"] / (1 - beta1**t))
    return p, [m, v]


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


# What was checked once is not checked by name again: but whatever may have changed is seen


@pytest.fixture
def by_name_is_over(monkeypatch):
    """Call it, and nothing is checked by its name any more."""

    def refuse(*_):
        raise AssertionError("looked at by name")

    def forbid():
        monkeypatch.setattr(optim._Optimizer, "_step_by_name", refuse)
        monkeypatch.setattr(clipping, "_clip_norm_by_name", refuse)
        monkeypatch.setattr(clipping, "_clip_value_by_name", refuse)

    return forbid


def a_model():
    return [rc.Embedding(5, 3, rng=0), rc.LSTM(3, 4, rng=1), rc.Linear(4, 5, rng=2)]


def gradients_of(model, rng):
    embedding, lstm, head = model
    ids = rng.integers(0, 5, (6, 2))
    x, embedding_trace = embedding.forward(ids)
    y, _, trace = lstm.forward(x)
    logits, head_trace = head.forward(y)
    _, dlogits = rc.softmax_cross_entropy(logits, np.roll(ids, -1))
    of_head = head.backward(head_trace, dlogits)
    of_lstm = lstm.backward(trace, of_head.x)
    return [embedding.backward(embedding_trace, of_lstm.x), of_lstm, of_head]


@pytest.mark.parametrize("name", STEPS)
def test_a_training_loop_is_checked_by_name_once(name, by_name_is_over, rng):
    model = a_model()
    optimizer = made(name, model)
    optimizer.step(gradients_of(model, rng))
    by_name_is_over()
    for _ in range(2):
        grads = gradients_of(model, rng)
        assert rc.clip_grad_norm(grads, 0.01) > 0.01
        assert rc.clip_grad_norm(grads, 1) == pytest.approx(0.01, rel=1e-6)
        rc.clip_grad_value(grads, 0.001)
        optimizer.step(grads)
    assert optimizer.steps == 3


@pytest.mark.parametrize("name", STEPS)
def test_tied_weights_are_checked_by_name_once(name, by_name_is_over, rng):
    w, other, *drawn = rng.standard_normal((8, 3, 5)).astype(np.float32)
    tied, one = {"a": w.copy(), "o": other.copy()}, {"w": w.copy(), "o": other.copy()}
    tied["b"] = tied["a"][:]
    of_tied, of_one = made(name, tied), made(name, one)
    for k in range(2):
        a, o, b = drawn[3 * k : 3 * k + 3]
        of_one.step({"w": a + b, "o": o})
        of_tied.step({"a": a, "o": o, "b": b})
        by_name_is_over()
    np.testing.assert_array_equal(tied["a"], one["w"])
    np.testing.assert_array_equal(tied["o"], one["o"])


@pytest.mark.parametrize("name", STEPS)
def test_it_does_not_matter_whether_arrays_are_known(name, rng):
    """Arrays that are replaced by equal ones before every step are checked by name every time."""
    start, *drawn = rng.standard_normal((6, 3, 7))
    known, new = {"a": start.copy(), "b": start[0].copy()}, {}
    new = copy.deepcopy(known)
    of_known, of_new = made(name, known), made(name, new)
    for grad in drawn:
        grads = {"a": grad, "b": grad[1]}
        of_known.step(grads)
        new.update({key: np.asfortranarray(array.copy()) for key, array in new.items()})
        of_new.step(grads)
    for key in known:
        np.testing.assert_array_equal(new[key], known[key])


def tie(params):
    params["b"] = params["a"]


def overlap(params):
    params["b"] = params["a"].reshape(-1)[4:8].reshape(2, 2)


def shape(params):
    params["b"].resize(4, refcheck=False)


def swap_shapes(params):
    params["a"], params["b"] = params["b"], params["a"]


def lock(params):
    params["b"].flags.writeable = False


def widen(params):
    params["b"] = params["b"].astype(np.float64)


def remove(params):
    del params["b"]


def add(params):
    params["c"] = np.zeros(2, np.float32)


def to_list(params):
    params["b"] = params["b"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tie, r"^params\['b'\] is the array of params\['a'\], expected an array of its own"),
        (overlap, r"^params\['a'\] and params\['b'\] overlap in memory"),
        (shape, r"^params\['b'\] has shape \(4,\), expected \(2, 2\)"),
        (swap_shapes, r"^params\['a'\] has shape \(2, 2\), expected \(3, 4\)"),
        (lock, r"^params\['b'\] is read-only"),
        (widen, r"^params\['b'\] has dtype float64, expected float32"),
        (remove, r"^params misses 'b'"),
        (add, r"^params has unknown 'c'"),
        (to_list, r"^params\['b'\] is of type list"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("name", STEPS)
def test_what_changes_between_steps_is_seen(name, change, message):
    params = {"a": np.ones((3, 4), np.float32), "b": np.ones((2, 2), np.float32)}
    if change is tie:
        params["a"] = np.ones((2, 2), np.float32)
    grads = {key: np.ones_like(array) for key, array in params.items()}
    optimizer = made(name, params)
    optimizer.step(grads)
    optimizer.step(grads)
    change(params)
    arrays = {key: np.array(array) for key, array in params.items()}
    before = optimizer.state
    for _ in range(2):
        with pytest.raises((TypeError, ValueError), match=message):
            optimizer.step(grads)
    for key, array in params.items():
        np.testing.assert_array_equal(array, arrays[key])
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"a": np.ones((4, 3), np.float32)}, r"^grads\['a'\] has shape \(4, 3\), expected \(3, 4"),
        ({"a": np.ones((3, 4))}, r"^grads\['a'\] has dtype float64, expected float32"),
        ({"a": np.ones((3, 4), ">f4")}, r"^grads\['a'\] has dtype float32 \(byte-swapped\)"),
        ({"b": np.ones((3, 4), np.float32)}, r"^grads misses 'a' and has unknown 'b'"),
        ({"a": np.ma.ones((3, 4))}, r"^grads\['a'\] is of type MaskedArray"),
        ({"a": bytearray(48)}, r"^grads\['a'\] is of type bytearray"),
        (rc.Linear(4, 3), r"^grads is of type Linear, expected what its backward returned"),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("name", STEPS)
def test_wrong_gradients_at_a_later_step_change_nothing(name, grads, message):
    params = {"a": np.ones((3, 4), np.float32)}
    optimizer = made(name, params)
    optimizer.step({"a": np.ones((3, 4), np.float32)})
    before, state = params["a"].copy(), optimizer.state
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.step(grads)
    np.testing.assert_array_equal(params["a"], before)
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, state[key])


@pytest.mark.parametrize("name", STEPS)
def test_gradients_in_the_memory_of_parameters_are_read_before_it_is_written_to(name, rng):
    memory = rng.standard_normal(300)
    params = {"a": memory[:100], "b": memory[100:200]}
    apart = {key: array.copy() for key, array in params.items()}
    of_views, of_copies = made(name, params), made(name, apart)
    for grads in (
        {"a": memory[200:], "b": memory[200:]},
        {"a": params["b"], "b": params["a"]},
        {"a": memory[50:150], "b": memory[1:101]},
        {"a": params["a"], "b": memory[:200:2]},
    ):
        copies = copy.deepcopy(grads)
        of_views.step(grads)
        of_copies.step(copies)
        for key, array in params.items():
            np.testing.assert_array_equal(array, apart[key])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize("name", STEPS)
def test_a_copy_steps_arrays_of_its_own(name, again, rng):
    params, *drawn = ({"p": p} for p in rng.standard_normal((4, 20)))
    optimizer = made(name, params)
    optimizer.step(drawn[0])
    other = again(optimizer)
    kept, state = params["p"].copy(), optimizer.state
    other.step(drawn[1])
    np.testing.assert_array_equal(params["p"], kept)
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, state[key])
    optimizer.step(drawn[1])
    for key, array in optimizer.state.items():
        np.testing.assert_array_equal(array, other.state[key])
    np.testing.assert_array_equal(other._params["p"], params["p"])


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
