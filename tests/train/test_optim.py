"""SGD and Adam against their formulas, written out, and numbers recorded from PyTorch."""

import numpy as np
import pytest

from rnncore import SGD, Adam, Linear

# Recorded from torch 2.13.0, float64: torch.optim.<name>([p], **options), three steps with
# p.grad = 0.5, -1.5, 2.0 from p = 1.0; the values of p after each.
TORCH = [
    (SGD, {"lr": 0.1}, [0.95, 1.1, 0.9]),
    (SGD, {"lr": 0.1, "momentum": 0.9}, [0.95, 1.055, 0.9494999999999999]),
    (Adam, {"lr": 0.1}, [0.900000002, 0.9494189848877799, 0.9229789628689872]),
    (
        Adam,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.1},
        [0.9800332778702163, 0.9906436248669357, 0.982172719169698],
    ),
]


@pytest.mark.parametrize(("optimizer", "options", "expected"), TORCH)
def test_three_steps_of_torch(optimizer, options, expected):
    params = {"p": np.array([1.0])}
    optimizer = optimizer(params, **options)
    for grad, value in zip((0.5, -1.5, 2.0), expected, strict=True):
        optimizer.step({"p": np.array([grad])})
        assert params["p"][0] == pytest.approx(value, rel=1e-14)


def adam_by_formula(p, grads, lr, beta1, beta2, eps, decay):
    m = v = np.zeros_like(p)
    for t, grad in enumerate(grads, start=1):
        grad = grad + decay * p
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        p = p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return p


def sgd_by_formula(p, grads, lr, momentum):
    v = np.zeros_like(p)
    for grad in grads:
        v = momentum * v + grad
        p = p - lr * v
    return p


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (181, 400), (0, 4)])  # 72400: three chunks
@pytest.mark.parametrize("layout", ["C", "F", "strided", "read-only gradient"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "decay"])
def test_steps_follow_the_formula(name, layout, shape, dtype, rtol, rng):
    def array():
        values = rng.standard_normal(shape).astype(dtype)
        if layout == "F":
            return np.asfortranarray(values)
        if layout == "strided" and shape:
            return np.repeat(values, 2, axis=0)[::2]
        return values

    params = {"p": array()}
    start = params["p"].astype(np.float64)
    grads = [array() for _ in range(4)]
    for grad in grads:
        grad.flags.writeable = layout != "read-only gradient"
    make, formula = {
        "sgd": (lambda: SGD(params, 0.1), lambda *a: sgd_by_formula(*a, 0.1, 0.0)),
        "momentum": (lambda: SGD(params, 0.1, 0.8), lambda *a: sgd_by_formula(*a, 0.1, 0.8)),
        "adam": (lambda: Adam(params), lambda *a: adam_by_formula(*a, 1e-3, 0.9, 0.999, 1e-8, 0)),
        "decay": (
            lambda: Adam(params, 0.01, (0.5, 0.9), 1e-4, 0.3),
            lambda *a: adam_by_formula(*a, 0.01, 0.5, 0.9, 1e-4, 0.3),
        ),
    }[name]
    before = [grad.copy() for grad in grads]
    kept = params["p"]
    optimizer = make()
    for grad in grads:
        optimizer.step({"p": grad})
    expected = formula(start, [grad.astype(np.float64) for grad in grads])
    assert params["p"] is kept
    assert kept.dtype == dtype
    np.testing.assert_allclose(kept, expected, rtol=rtol, atol=rtol)
    for grad, unchanged in zip(grads, before, strict=True):
        np.testing.assert_array_equal(grad, unchanged)


def test_lists_of_dicts_and_a_changed_learning_rate():
    params = [{"w": np.array([1.0])}, {"w": np.array([2.0]), "b": np.array([3.0], np.float32)}]
    optimizer = SGD(params, lr=1.0)
    grads = [{"w": np.array([1.0])}, {"w": np.array([1.0]), "b": np.array([1.0], np.float32)}]
    optimizer.step(grads)
    optimizer.lr = 0.5
    optimizer.step(grads)
    assert [params[0]["w"][0], params[1]["w"][0], params[1]["b"][0]] == [-0.5, 0.5, 1.5]
    assert optimizer.steps == 2


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)])
def test_a_saved_state_goes_on_with_the_same_bits(make, rng):
    grads = [{"w": rng.standard_normal((3, 4))} for _ in range(5)]
    straight = {"w": np.ones((3, 4))}
    optimizer = make(straight)
    for grad in grads:
        optimizer.step(grad)

    resumed = {"w": np.ones((3, 4))}
    first = make(resumed)
    for grad in grads[:2]:
        first.step(grad)
    state = first.state
    first.step(grads[0])  # `state` holds copies: this changes nothing in it
    resumed["w"][...] = 1
    again = make(resumed)
    for grad in grads[:2]:
        again.step(grad)
    second = make(resumed)
    second.load_state(state)
    for grad in grads[2:]:
        second.step(grad)
    np.testing.assert_array_equal(resumed["w"], straight["w"])
    assert second.steps == 5


def test_nan_and_infinity_travel_in_their_own_elements():
    for make in (lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)):
        params = {"w": np.ones(3)}
        make(params).step({"w": np.array([1.0, np.nan, np.inf])})
        assert np.isfinite(params["w"]).tolist() == [True, False, False]


W, B = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ({"w": W}, ValueError, "grads misses 'b'"),
        ({"w": W, "b": B, "c": B}, ValueError, "grads has unknown 'c'"),
        ({"w": W, "c": B}, ValueError, "grads misses 'b' and has unknown 'c'"),
        ({"w": W.T, "b": B}, ValueError, r"grads\['w'\] has shape \(3, 2\), expected \(2, 3\)"),
        ({"w": W, "b": B[:1]}, ValueError, r"grads\['b'\] has shape \(1,\), expected \(2,\)"),
        ({"w": W, "b": B.astype(float)}, TypeError, r"grads\['b'\] has dtype float64, expected fl"),
        ({"w": W, "b": [0.0, 0.0]}, TypeError, r"grads\['b'\] is of type list"),
        ([{"w": W, "b": B}], ValueError, "grads misses 'w', 'b'"),
        (W, TypeError, "grads is of type ndarray"),
    ],
)
@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)])
def test_wrong_gradients_change_nothing(make, grads, error, message):
    params = {"w": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)}
    optimizer = make(params)
    before = optimizer.state
    with pytest.raises(error, match=message):
        optimizer.step(grads)
    assert (params["w"] == 1).all()
    assert (params["b"] == 1).all()
    for name, array in optimizer.state.items():
        np.testing.assert_array_equal(array, before[name])


def off_its_alignment(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def field_of_a_record(a):
    records = np.zeros(a.shape, [("flag", np.int8), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


@pytest.mark.parametrize("layout", [off_its_alignment, field_of_a_record, lambda a: a[::-1]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)])
def test_no_layout_changes_a_bit(make, dtype, layout, rng):
    start, *grads = rng.standard_normal((4, 9, 5)).astype(dtype)
    plain, laid_out = {"p": layout(start).copy()}, {"p": layout(start)}
    optimizers = make(plain), make(laid_out)
    for grad in grads:
        for optimizer in optimizers:
            optimizer.step({"p": layout(grad)})
    np.testing.assert_array_equal(laid_out["p"], plain["p"])


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)])
def test_what_cannot_be_changed_is_refused_by_its_name_when_made_and_at_each_step(make, tmp_path):
    path = tmp_path / "bias.npy"
    np.save(path, np.ones(3, np.float32))
    read_only = np.ones(3, np.float32)
    read_only.flags.writeable = False
    for bias in (read_only, np.load(path, mmap_mode="r"), np.broadcast_to(read_only[:1], 3)):
        layer = Linear(2, 3, rng=0)
        optimizer = make([layer])
        layer.params["bias"] = bias
        before = layer.params["weight"].copy()
        grads = {"weight": np.ones((3, 2), np.float32), "bias": np.ones(3, np.float32)}
        message = r"^params\['0.bias'\] is read-only, expected an array to change in place$"
        for call in (lambda: make([layer]), lambda: optimizer.step([grads])):  # noqa: B023
            with pytest.raises(ValueError, match=message):
                call()
        np.testing.assert_array_equal(layer.params["weight"], before)
        np.testing.assert_array_equal(bias, 1)
        assert optimizer.steps == 0
        assert not any(array.any() for array in optimizer.state.values())


def test_a_mapped_file_that_may_be_written_to_is_stepped(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, np.ones(3))
    mapped = np.load(path, mmap_mode="r+")
    SGD({"p": mapped}, 0.5).step({"p": np.ones(3)})
    mapped.flush()
    np.testing.assert_array_equal(np.load(path), 0.5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: SGD(p, -1.0), ValueError, "lr is -1.0, expected a finite number of at least 0"),
        (lambda p: SGD(p, np.nan), ValueError, "lr is nan"),
        (lambda p: SGD(p, "0.1"), TypeError, "lr is '0.1', expected a number"),
        (lambda p: SGD(p, 0.1, 1.0), ValueError, "momentum is 1.0"),
        (lambda p: Adam(p, betas=0.9), ValueError, "betas is 0.9, expected a pair"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), ValueError, r"betas\[1\] is 1.0"),
        (lambda p: Adam(p, eps=-1e-8), ValueError, "eps is -1e-08"),
        (lambda p: Adam(p, weight_decay=-1), ValueError, "weight_decay is -1"),
        (lambda p: Adam({}), ValueError, "params is empty"),
        (lambda p: Adam({"p": np.zeros(2, int)}), TypeError, r"params\['p'\] has dtype int64"),
        (lambda p: SGD(np.broadcast_to(1.0, 3), 0.1), TypeError, "params is of type ndarray"),
        (lambda p: SGD({"p": np.broadcast_to(1.0, 3)}, 0.1), ValueError, "read-only"),
        (lambda p: Adam(p).load_state({"steps": 0}), ValueError, "state misses 'mean.p'"),
        (
            lambda p: Adam(p).load_state(
                {"steps": 0, "mean.p": np.ones(1), "square.p": np.ones(2)}
            ),
            ValueError,
            r"state\['square.p'\] has shape \(2,\), expected \(1,\)",
        ),
        (lambda p: SGD(p, 0.1).load_state({"steps": -1}), ValueError, "number of steps"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make({"p": np.ones(1)})
