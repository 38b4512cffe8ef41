"""Batches: every row once, rows of like length together, and nothing read that is not needed."""

import numpy as np
import pytest

import rnncore as rc
from rnncore.fitting.batches import Rows
from rnncore.fitting.layout import Layout


def rows_of(rng, count=1000, **layout):
    X = [np.full((T, 1), k) for k, T in enumerate(rng.integers(1, 100, count))]
    return X, Rows(X, np.arange(count), None, Layout(**{**LAYOUT, **layout}))


LAYOUT = {"batch_first": False, "per_step": False, "dtype": None}


def test_every_row_comes_once_with_its_target(rng):
    X, rows = rows_of(rng)
    places = rows.places(32, np.random.default_rng(0))
    assert sorted(np.concatenate(places)) == list(range(1000))
    steps = 0
    for own in places:
        batch = rows.batch(own)
        np.testing.assert_array_equal(batch.target, own)
        np.testing.assert_array_equal(batch.x[0, :, 0], own)
        steps += batch.x.shape[0] * batch.x.shape[1]
        for k, row in enumerate(own):
            T = len(X[row])
            assert batch.lengths is None or batch.lengths[k] == T
            assert not batch.x[T:, k].any()
    assert steps < 1.15 * sum(map(len, X))  # so little is padded


def test_orders_are_random_and_told_by_the_generator(rng):
    _, rows = rows_of(rng)
    draw = np.random.default_rng
    first, again, other = (rows.places(32, draw(k)) for k in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(first, other, strict=True))
    lengths = [rows.lengths[own].mean() for own in first]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.6  # short and long mixed


class Counting:
    """An array that notes what is read of it."""

    def __init__(self, a):
        self.a, self.shape, self.read = a, a.shape, []

    def __getitem__(self, key):
        self.read.append(key)
        return self.a[key]


@pytest.mark.parametrize("batch_first", [False, True])
def test_arrays_are_read_row_by_row(batch_first, rng):
    a = rng.standard_normal((7, 20, 2))
    a = a.swapaxes(0, 1) if batch_first else a
    lengths = rng.integers(1, 8, 20)
    X = Counting(a)
    rows = Rows(X, np.arange(20), lengths, Layout(batch_first, per_step=False, dtype=None))
    batch = rows.batch(np.array([5, 2, 9]))
    steps = lengths[[5, 2, 9]].max()
    expected = a[[5, 2, 9], :steps] if batch_first else a[:steps, [5, 2, 9]]
    np.testing.assert_array_equal(batch.x, expected)
    assert len(X.read) == 1


def test_a_file_larger_than_memory_is_read_in_parts(tmp_path):
    """The process may take less than the file has."""
    resource = pytest.importorskip("resource", reason="limits are POSIX")
    path, shape = tmp_path / "x.bin", (2000, 250, 400)  # 800 MB, of which nothing is written
    with open(path, "wb") as file:
        file.truncate(4 * np.prod(shape))
    X = np.memmap(path, np.float32, "r", shape=shape)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[5]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (taken + 300_000_000, limits[1]))
    try:
        model = rc.Sequential(rc.GRU(400, 4, batch_first=True), rc.Pool("last", batch_first=True))
        data = X[:60], np.zeros((60, 4), np.float32)
        history = rc.fit(model, data, loss="mse", batch_size=20, progress=False)
        with pytest.raises(MemoryError):
            np.array(X)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    assert history.loss.shape == (1,)


DATA = {
    "other count": (
        lambda: ([np.ones((3, 1))] * 3, np.zeros(2)),
        ValueError,
        "Y has 2 targets, expected 3",
    ),
    "steps without targets": (
        lambda: ([np.ones((3, 1))] * 2, [np.zeros(3), np.zeros(2)]),
        ValueError,
        r"Y\[1\] has 2 steps and X\[1\] 3",
    ),
    "other widths": (
        lambda: ([np.ones((3, 1)), np.ones((3, 2))], np.zeros(2)),
        ValueError,
        r"X\[1\] has steps of shape \(2,\), and X\[0\] of \(1,\)",
    ),
    "no rows": (lambda: ([], []), ValueError, "X has no rows"),
    "text": (lambda: ("abc", [1, 2, 3]), TypeError, "X is of type str"),
    "lengths of lists": (
        lambda: ([np.ones((3, 1))] * 2, np.zeros(2), [3, 3]),
        ValueError,
        "lengths are given beside a list",
    ),
    "a number": (lambda: 5, TypeError, "data is of type int"),
    "no pairs": (lambda: [np.ones((3, 2, 1))], ValueError, "batch 0 of data is no tuple"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be(name):
    make, error, message = DATA[name]
    model = (
        rc.Sequential(rc.GRU(1, 2), rc.Pool("last"))
        if name != "steps without targets"
        else (rc.GRU(1, 2))
    )
    with pytest.raises(error, match=message):
        rc.fit(model, make(), loss="mse", progress=False)


OPTIONS = {
    "loss": ({"loss": "hinge"}, ValueError, "loss is 'hinge'"),
    "a loss of a number": ({"loss": 3}, TypeError, "loss is of type int"),
    "epochs": ({"epochs": 0}, ValueError, "epochs is 0"),
    "optimizer": ({"optimizer": "lion"}, ValueError, "optimizer is 'lion'"),
    "decay": ({"optimizer": "sgd", "weight_decay": 0.1}, ValueError, "weight_decay is 0.1"),
    "patience": ({"patience": 3}, ValueError, "patience is given without validation"),
    "metrics": ({"metrics": ["f1"]}, ValueError, "metrics is 'f1'"),
    "schedule": ({"schedule": 0.1}, TypeError, "schedule is of type float"),
    "callbacks": ({"callbacks": [1]}, TypeError, "callbacks has a int"),
    "window": ({"window": 5}, ValueError, "window is given, and the model has no output"),
    "validation": ({"validation": 1.5}, ValueError, "validation is 1.5"),
    "once": ({"epochs": 2}, ValueError, "gives its batches once"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_cannot_be(name):
    options, error, message = OPTIONS[name]
    data = np.ones((3, 4, 1), np.float32), np.zeros((4, 2), np.float32)
    model = rc.Sequential(rc.GRU(1, 2, rng=0), rc.Pool("last"))
    before = {key: value.copy() for key, value in model.params.items()}
    with pytest.raises(error, match=message):
        rc.fit(
            model, iter([data]) if name == "once" else data,
            **{"loss": "mse", "progress": False, **options},
        )  # fmt: skip
    for key, value in before.items():
        np.testing.assert_array_equal(model.params[key], value)


def test_no_model():
    with pytest.raises(TypeError, match="model is of type int, which has no forward"):
        rc.fit(3, [], loss="mse")
