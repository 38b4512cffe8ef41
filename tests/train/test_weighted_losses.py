"""Losses with weights, masks, lengths and smoothing: as PyTorch's and as the twins, and by hand."""

import numpy as np
import pytest

from rnncore.reference import losses as twins
from rnncore.train.losses import bce_with_logits, huber, mae, mse, softmax_cross_entropy

FLOATS = [np.float32, np.float64]
RTOL = {np.float32: 2e-6, np.float64: 1e-13}
ELEMENTS = {
    "mse": (mse, twins.square),
    "mae": (mae, twins.size),
    "huber": (lambda *a, **k: huber(*a, delta=0.7, **k), twins.bent(0.7)),
    "bce_with_logits": (bce_with_logits, twins.surprise),
}


def two(name, rng, shape, dtype=np.float64):
    y, target = rng.standard_normal((2, *shape)).astype(dtype)
    return y, rng.random(shape).astype(dtype) if name == "bce_with_logits" else target


def close(found, expected, dtype=np.float64):
    rtol = RTOL[dtype]
    assert type(found[0]) is float
    assert found[1].dtype == dtype
    assert found[0] == pytest.approx(float(expected[0]), rel=rtol, abs=rtol)
    np.testing.assert_allclose(found[1], expected[1], rtol=10 * rtol, atol=rtol)


# Classes

OPTIONS = {
    "smoothing": {"label_smoothing": 0.3},
    "classes": {"class_weight": True},
    "positions": {"weight": True},
    "classes and smoothing": {"class_weight": True, "label_smoothing": 0.1},
    "all": {"class_weight": True, "label_smoothing": 0.2, "weight": True},
}


def drawn(rng, N, K, dtype, options):
    logits = (3 * rng.standard_normal((N, K))).astype(dtype)
    targets = rng.integers(0, K, N)
    options = dict(options)
    if "class_weight" in options:
        options["class_weight"] = (0.1 + rng.random(K)).astype(dtype)
        options["class_weight"][0] = 0
    if "weight" in options:
        options["weight"] = rng.integers(0, 4, N).astype(dtype)
        options["weight"][:2], targets[:2] = 1, K - 1  # something counts
    return logits, targets, options


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("N", "K"), [(2, 2), (5, 3), (33, 17), (4, 1030)])
@pytest.mark.parametrize("name", OPTIONS)
def test_cross_entropy_is_that_of_the_twin(name, N, K, dtype, rng):
    logits, targets, options = drawn(rng, N, K, dtype, OPTIONS[name])
    targets[-1] = K - 1
    found = softmax_cross_entropy(logits, targets, **options)
    exact = {key: np.asarray(value, np.float64) for key, value in options.items()}
    expected = twins.softmax_cross_entropy(
        logits.astype(np.float64),
        targets,
        exact.get("weight", np.ones(N)),
        exact.get("class_weight", np.ones(K)),
        float(options.get("label_smoothing", 0)),
    )
    close(found, expected, dtype)


@pytest.mark.parametrize("ignored", [None, -100, 2])
@pytest.mark.parametrize("name", ["smoothing", "classes", "classes and smoothing"])
def test_cross_entropy_of_torch(name, ignored, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    logits, targets, options = drawn(rng, 40, 7, np.float64, OPTIONS[name])
    if ignored is not None:
        targets[::3] = ignored
    theirs = torch.tensor(logits, requires_grad=True)
    weight = options.get("class_weight")
    loss = torch.nn.functional.cross_entropy(
        theirs,
        torch.tensor(targets),
        weight=None if weight is None else torch.tensor(weight),
        label_smoothing=options.get("label_smoothing", 0.0),
        ignore_index=-100 if ignored is None else ignored,
    )
    loss.backward()
    found = softmax_cross_entropy(logits, targets, ignore_index=ignored, **options)
    close(found, (loss.item(), theirs.grad.numpy()))


@pytest.mark.parametrize("dtype", FLOATS)
def test_ignored_targets_are_left_out_to_the_bit(dtype, rng):
    logits = rng.standard_normal((6, 5, 9)).astype(dtype)
    targets = rng.integers(0, 9, (6, 5))
    plain = softmax_cross_entropy(logits, targets)
    for same in (
        softmax_cross_entropy(logits, targets, ignore_index=-1),
        softmax_cross_entropy(logits, targets, mask=np.ones((6, 5), bool)),
        softmax_cross_entropy(logits, targets, lengths=[6] * 5),
    ):
        assert same[0] == plain[0]
        np.testing.assert_array_equal(same[1], plain[1])
    counts = rng.random((6, 5)) < 0.6
    some = softmax_cross_entropy(logits[counts], targets[counts])
    hidden = np.where(counts, targets, 255).astype(np.uint8)
    hidden_logits = np.where(counts[..., np.newaxis], logits, np.nan).astype(dtype)
    for found in (
        softmax_cross_entropy(hidden_logits, hidden, ignore_index=255),
        softmax_cross_entropy(hidden_logits, hidden, mask=counts),
        softmax_cross_entropy(hidden_logits, hidden, mask=counts | (hidden < 255)),
    ):
        assert found[0] == some[0]
        np.testing.assert_array_equal(found[1][counts], some[1])
        assert not found[1][~counts].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_weight_of_two_is_a_position_that_is_there_twice(smoothing, rng):
    logits, targets = rng.standard_normal((4, 6)), rng.integers(0, 6, 4)
    twice = [0, 1, 1, 2, 3, 3, 3]
    weight = np.array([1.0, 2.0, 1.0, 3.0])
    found = softmax_cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)
    loss, rows = softmax_cross_entropy(logits[twice], targets[twice], label_smoothing=smoothing)
    expected = np.zeros((4, 6))
    np.add.at(expected, twice, rows)
    close(found, (loss, expected))


def test_classes_that_weigh_nothing_are_not_seen(rng):
    """Neither their logits of -infinity nor, without smoothing, a row that is one of them."""
    logits, targets = rng.standard_normal((4, 3)), np.array([1, 2, 0, 1])
    weight = np.array([0.0, 1.0, 2.0])
    logits[:, 0], logits[2] = -np.inf, np.nan
    loss, dlogits = softmax_cross_entropy(logits, targets, class_weight=weight)
    rest = [0, 1, 3]
    expected = softmax_cross_entropy(logits[rest, 1:], targets[rest] - 1, class_weight=weight[1:])
    assert loss == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(dlogits[rest, 1:], expected[1], rtol=1e-14)
    assert not dlogits[2].any()
    assert not dlogits[:, 0].any()
    logits[2, 1:] = [0, 0]
    logits[2, 0] = -np.inf
    loss, dlogits = softmax_cross_entropy(logits, targets, class_weight=weight, label_smoothing=0.5)
    assert np.isfinite(loss)
    assert np.isfinite(dlogits).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_huge_logits_with_weights(dtype):
    big = float(np.finfo(dtype).max) / 4
    logits = np.array([[big, 0, -big], [-big, -big, -big]], dtype)
    weight = np.ones(2, dtype)
    loss, dlogits = softmax_cross_entropy(logits, np.array([0, 2]), weight=weight)
    assert loss == pytest.approx(np.log(3) / 2, rel=1e-6)
    np.testing.assert_allclose(dlogits, [[0, 0, 0], [1 / 6, 1 / 6, -1 / 3]], rtol=1e-6)


def test_tiny_weights_are_shares_like_any_other():
    logits, targets = np.zeros((2, 2)), np.array([0, 1])
    for tiny in (5e-324, 1e-300, 1e300):
        loss, dlogits = softmax_cross_entropy(logits, targets, weight=np.full(2, tiny))
        assert loss == pytest.approx(np.log(2), rel=1e-14)
        np.testing.assert_allclose(dlogits, [[-0.25, 0.25], [0.25, -0.25]], rtol=1e-14)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 1, 4), (5, 3, 17)])
def test_cross_entropy_by_finite_differences(name, shape, rng):
    *_, K = shape
    N = shape[0] * shape[1]
    logits, targets, options = drawn(rng, N, K, np.float64, OPTIONS[name])
    options = {k: v.reshape(shape[:2]) if k == "weight" else v for k, v in options.items()}
    logits, targets = logits.reshape(shape), targets.reshape(shape[:2])
    targets[0, 0] = K - 1
    lengths = np.arange(shape[1]) + 1 if shape[0] > 1 else None

    def loss(values):
        return softmax_cross_entropy(values, targets, lengths=lengths, **options)

    v = rng.standard_normal(shape)
    slope = (loss(logits + 1e-6 * v)[0] - loss(logits - 1e-6 * v)[0]) / 2e-6
    assert slope == pytest.approx(np.vdot(loss(logits)[1], v), rel=1e-7)


# Elements


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (17,), (5, 3, 33)], ids=str)
@pytest.mark.parametrize("name", ELEMENTS)
def test_losses_of_elements_are_those_of_the_twins(name, shape, dtype, rng):
    function, twin = ELEMENTS[name]
    y, target = two(name, rng, shape, dtype)
    weight = rng.integers(0, 3, shape).astype(dtype)
    weight[(0,) * len(shape)] = 1
    for given in ({}, {"weight": np.asarray(weight)}):
        found = function(y := np.asarray(y), np.asarray(target), **given)
        exact = given.get("weight", np.ones(shape)).astype(np.float64)
        flat = [np.asarray(a, np.float64).reshape(-1) for a in (y, target, exact)]
        loss, dy = twins.mean_of(twin, *flat)
        close(found, (loss, dy.reshape(shape)), dtype)


@pytest.mark.parametrize("name", ELEMENTS)
def test_losses_of_torch(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    function, _ = ELEMENTS[name]
    theirs_of = {
        "mse": torch.nn.functional.mse_loss,
        "mae": torch.nn.functional.l1_loss,
        "huber": lambda *a, **k: torch.nn.functional.huber_loss(*a, delta=0.7, **k),
        "bce_with_logits": torch.nn.functional.binary_cross_entropy_with_logits,
    }[name]
    y, target = two(name, rng, (6, 5, 3))
    weight, counts = rng.random((6, 5, 3)), rng.random((6, 5)) < 0.5
    for ours, of_each in (
        ({}, np.ones((6, 5, 3))),
        ({"weight": weight}, weight),
        ({"mask": counts}, np.ones((6, 5, 3)) * counts[..., np.newaxis]),
        ({"mask": counts, "weight": weight}, weight * counts[..., np.newaxis]),
    ):
        theirs = torch.tensor(y, requires_grad=True)
        each = theirs_of(theirs, torch.tensor(target), reduction="none")
        loss = (each * torch.tensor(of_each)).sum() / of_each.sum()
        loss.backward()
        close(function(y, target, **ours), (loss.item(), theirs.grad.numpy()))


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("shape", [(1, 2, 17), (5, 3, 1), (33,)])
def test_losses_of_elements_by_finite_differences(name, shape, rng):
    function, _ = ELEMENTS[name]
    y, target = two(name, rng, shape)
    given = {"lengths": [1, *[0] * (shape[1] - 1)]} if len(shape) == 3 else {}
    weight = 0.1 + rng.random(shape)

    def loss(values):
        return function(values, target, weight=weight, **given)

    v = rng.standard_normal(shape)
    slope = (loss(y + 1e-7 * v)[0] - loss(y - 1e-7 * v)[0]) / 2e-7
    assert slope == pytest.approx(np.vdot(loss(y)[1], v), rel=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_mean_over_a_mask_has_the_bits_of_what_counts(dtype, rng):
    y, target = two("mse", rng, (6, 5, 3), dtype)
    counts = rng.random((6, 5)) < 0.5
    expected = mse(y[counts], target[counts])
    y[~counts], target[~counts] = np.nan, np.inf
    found = mse(y, target, mask=counts)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1][counts], expected[1])
    assert not found[1][~counts].any()


@pytest.mark.parametrize("name", ELEMENTS)
def test_huge_numbers_and_nan_go_where_they_belong(name):
    function, _ = ELEMENTS[name]
    y, target = np.array([1e38, -1e38, 0, np.nan], np.float32), np.array([1, 0, 1, 0], np.float32)
    loss, dy = function(y, target)
    assert np.isnan(loss)
    assert np.isnan(dy).tolist() == [False, False, False, True]
    loss, dy = function(y, target, weight=np.array([1, 1, 1, 0], np.float32))
    assert np.isfinite(loss)
    assert np.isfinite(dy).all()
    assert dy[3] == 0
    inf = np.array([np.inf, -np.inf])
    loss, dy = function(inf, np.array([0.0, 1.0]))
    assert loss == np.inf or name == "bce_with_logits"
    assert np.isfinite(dy).all() == (name != "mse")


def test_huber_without_a_bend_is_half_the_square(rng):
    y, target = two("mse", rng, (7,))
    loss, dy = mse(y, target)
    found = huber(y, target, delta=np.inf)
    assert found[0] == pytest.approx(loss / 2, rel=1e-14)
    np.testing.assert_allclose(found[1], dy / 2, rtol=1e-14)


def test_the_corners_of_mae_have_no_slope():
    np.testing.assert_array_equal(mae(np.array([1.0, 2.0]), np.array([1.0, 0.0]))[1], [0, 0.5])


@pytest.mark.parametrize("dtype", FLOATS)
def test_whatever_the_numbers_only_the_results_tell(dtype, rng):
    """Not warnings, and not what a caller has set with numpy.seterr."""
    info = np.finfo(dtype)
    values = np.array([0, 1, info.max, -info.max, info.tiny, 1e-30, np.inf, np.nan], dtype)
    y, target = rng.choice(values, (2, 40, 8))
    weight = rng.choice(values[[1, 2, 4, 5]], (40, 8))
    with np.errstate(all="raise"):
        for function in (mse, mae, huber):
            function(y, target, weight=weight)
        bce_with_logits(y, rng.random((40, 8)).astype(dtype), weight=weight)
        for smoothing in (0.0, 0.3):
            softmax_cross_entropy(
                y,
                rng.integers(0, 8, 40),
                weight=weight[:, 0],
                class_weight=weight[0],
                label_smoothing=smoothing,
            )


@pytest.mark.parametrize("name", [*ELEMENTS, "softmax_cross_entropy"])
def test_nothing_that_is_given_is_written_to(name, rng):
    def locked(array):
        array.flags.writeable = False
        return array

    function = softmax_cross_entropy if name not in ELEMENTS else ELEMENTS[name][0]
    y, target = two(name, rng, (4, 3, 5))
    if name not in ELEMENTS:
        target = rng.integers(0, 5, (4, 3))
    given = {"weight": locked(rng.random((4, 3))), "mask": locked(rng.random((4, 3)) < 0.9)}
    first = function(locked(y), locked(target), lengths=locked(np.array([4, 2, 3])), **given)
    again = function(
        np.asfortranarray(y),
        np.asfortranarray(target),
        lengths=[4, 2, 3],
        mask=np.asfortranarray(given["mask"]),
        weight=np.repeat(given["weight"], 2, 1)[:, ::2],
    )
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])
