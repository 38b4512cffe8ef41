"""Batches: every row once, rows of like length together, and nothing read that is not needed."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

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
        self.a, self.shape, self.dtype, self.read = a, a.shape, a.dtype, []

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


LARGE = """
import resource
import sys

import numpy as np
import rnncore as rc

path, shape, limit = "x.bin", (250, 2000, 100), 120_000_000
with open(path, "wb") as file:
    file.truncate(4 * np.prod(shape))  # 200 MB, of which nothing is written but the last row
X = np.memmap(path, np.float32, "r+", shape=shape)
X[:, -1] = 1
Y = np.linspace(0, 1, 2000, dtype=np.float32)[:, np.newaxis]


def batches():
    for k in range(0, 2000, 40):
        yield X[:, k : k + 40], Y[k : k + 40]


model = rc.Sequential(rc.GRU(100, 2, rng=0), rc.Pool("last"), rc.Linear(2, 1, rng=0))
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (taken + limit, resource.RLIM_INFINITY))
assert 4 * np.prod(shape) > limit
data = (X, Y) if sys.argv[1] == "mapped" else batches()
history = rc.fit(model, data, loss="mse", lr=0.0, batch_size=40, progress=False)
try:
    np.array(X)
except MemoryError:
    print(history.loss[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("form", ["mapped", "batches"])
def test_a_file_larger_than_memory(form, tmp_path):
    """All of its rows are trained with by a process that may not have as much memory."""
    package = str(Path(rc.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", LARGE, form], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": package}, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = rc.Sequential(rc.GRU(100, 2, rng=0), rc.Pool("last"), rc.Linear(2, 1, rng=0))
    x = np.zeros((250, 2, 100), np.float32)
    x[:, 1] = 1
    nothing, last = model(x)[0][:, 0]
    Y = np.linspace(0, 1, 2000)
    expected = (((Y[:-1] - nothing) ** 2).sum() + (Y[-1] - last) ** 2) / 2000
    np.testing.assert_allclose(float(done.stdout), expected, rtol=1e-5)


def test_lists_are_not_cast_all_at_once(rng):
    """A list of float64 for a model of float32: copies of a batch, not of everything."""
    X = [rng.standard_normal((100, 50)) for _ in range(100)]
    Y = [rng.standard_normal((100, 2)) for _ in range(100)]
    model = rc.GRU(50, 2, rng=0)
    size = sum(x.nbytes for x in X)
    assert size == 4_000_000
    for call in (
        lambda: rc.fit(model, (X, Y), loss="mse", batch_size=2, progress=False),
        lambda: rc.predict(model, X, batch_size=2),
    ):
        call()
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 0.2 * size


MIXED = {
    "of two dtypes": (np.float32, np.float64),
    "halves": (np.float16, np.float16),
    "integers among numbers": (np.int64, np.float64),
}


@pytest.mark.parametrize("name", MIXED)
def test_lists_are_cast_as_arrays_are(name, rng):
    X = [
        (9 * rng.standard_normal((T, 3))).astype(kind)
        for T, kind in zip((4, 6), MIXED[name], strict=True)
    ]
    Y = [rng.standard_normal(T) for T in (4, 6)]
    models = [rc.Sequential(rc.GRU(3, 4, rng=0), rc.Linear(4, 1, rng=1)) for _ in range(2)]
    cast = [x.astype(np.float64).astype(np.float32) for x in X]
    losses = [
        rc.fit(model, (rows, Y), loss="mse", epochs=3, progress=False).loss
        for model, rows in zip(models, (X, cast), strict=True)
    ]
    np.testing.assert_array_equal(*losses)
    for got, own in zip(rc.predict(models[0], X), rc.predict(models[1], cast), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, own)


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
    "numbers": (lambda: [5], ValueError, "batch 0 of data is no tuple"),
    "no pairs": (lambda: [np.ones((3, 2, 1))], ValueError, "batch 0 of data is no tuple"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be(name, tmp_path):
    make, error, message = DATA[name]
    model = (
        rc.Sequential(rc.GRU(1, 2), rc.Pool("last"))
        if name != "steps without targets"
        else (rc.GRU(1, 2))
    )
    with pytest.raises(error, match=message):
        rc.fit(model, make(), loss="mse", progress=False)
    with pytest.raises(error, match=message):  # which looks at data for itself
        rc.fit(model, make(), loss="mse", progress=False, checkpoint=tmp_path / "a.npz")


OPTIONS = {
    "loss": ({"loss": "hinge"}, ValueError, "loss is 'hinge'"),
    "a loss of a number": ({"loss": 3}, TypeError, "loss is of type int"),
    "epochs": ({"epochs": 0}, ValueError, "epochs is 0"),
    "optimizer": ({"optimizer": "lion"}, ValueError, "optimizer is 'lion'"),
    "decay": ({"optimizer": "sgd", "weight_decay": 0.1}, ValueError, "weight_decay is 0.1"),
    "decay of nothing": ({"weight_decay": -1}, ValueError, "weight_decay is -1"),
    "blocks": ({"ordered": 0}, ValueError, "ordered is 0"),
    "ordered": ({"ordered": "yes"}, TypeError, "ordered is 'yes'"),
    "comm": ({"comm": 5}, TypeError, "comm is of type int, which has no Get_rank"),
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


class Half:
    params: dict[str, np.ndarray]

    def forward(self, x):
        return x


NO_MODELS = {
    "a number": (lambda: 3, "model is of type int, which has no forward"),
    "a list": (lambda: [rc.GRU(1, 2)], "model is of type list, which has no forward"),
    "a cell": (lambda: rc.GRUCell(1, 2), "model is of type GRUCell, which takes one step"),
    "another cell": (lambda: rc.LayerNormLSTMCell(1, 2), "model is of type LayerNormLSTMCell, w"),
    "a class": (lambda: rc.GRU, "model is the class GRU, expected a layer or model made of it"),
    "frozen": (lambda: rc.GRU(1, 2).freeze(), "model is frozen, and cannot be trained"),
    "a frozen model": (lambda: rc.Sequential(rc.GRU(1, 2)).freeze(), "model is frozen, and cannot"),
    "nothing to train": (lambda: rc.Dropout(0.1), "model has no parameters, expected some"),
    "a half": (Half, "model is of type Half, which has no backward"),
    "an optimizer": (lambda: rc.SGD(rc.GRU(1, 2), 0.1), "model is of type SGD, which has no"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_no_model(name):
    make, message = NO_MODELS[name]
    data = np.ones((3, 4, 1), np.float32), np.zeros((3, 4, 2), np.float32)
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        rc.fit(make(), data, loss="mse", progress=False)
    if "cell" in name or name == "a class":
        with pytest.raises(TypeError, match=f"^{message}"):
            rc.predict(make(), data[0])
