"""Data of other libraries are read by their places; what does not fit is told before any work."""

from functools import partial

import numpy as np
import pytest

import rnncore as rc

ROWS, STEPS = 10, 6
DRAWN = np.random.default_rng(0)
X = DRAWN.standard_normal((ROWS, STEPS, 3))
Y = np.arange(ROWS) % 2


class Labelled:
    """As a column of pandas: an array whose items are found by labels."""

    def __init__(self, values, labels):
        self.values, self.labels = values, list(labels)
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __array_ufunc__(self, *given, **options):
        return NotImplemented

    def __len__(self):
        return len(self.values)

    def __getitem__(self, labels):
        return self.values[[self.labels.index(label) for label in np.atleast_1d(labels)]]


class File:
    """As a data set of h5py: it has shapes and dtypes, and is read by slices and sorted places."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read as a whole")

    def __getitem__(self, places):
        for own in places if isinstance(places, tuple) else (places,):
            assert isinstance(own, slice) or (np.diff(own) > 0).all()
        found = self.values[places]
        self.read = max(self.read, found.size)
        return found


def model(*after, more=()):
    return rc.Sequential(
        rc.GRU(3, 4, batch_first=True, rng=0, dtype=np.float64),
        *more,
        rc.Pool("last", batch_first=True),
        *after,
        rc.Linear(4, 2, rng=0, dtype=np.float64),
    )


def fit(made, *data, **options):
    options = {"loss": "cross_entropy", "progress": False, "batch_size": 4, **options}
    return rc.fit(made, data if len(data) > 1 else data[0], **options)


def objects(rows):
    found = np.empty(len(rows), object)
    for k, row in enumerate(rows):
        found[k] = row
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_targets_are_found_by_their_places(seed):
    labels = np.random.default_rng(seed).permutation(ROWS)
    expected = fit(model(), X, Y).loss
    np.testing.assert_array_equal(fit(model(), X, Labelled(Y, labels)).loss, expected)
    np.testing.assert_array_equal(fit(model(), Labelled(X, labels), Y).loss, expected)
    held = {"validation": (X, Y)}
    other = {"validation": (X, Labelled(Y, labels))}
    for name in ("loss", "val_loss"):
        one, two = (fit(model(), X, Y, **which)[name] for which in (held, other))
        np.testing.assert_array_equal(one, two)
    found = rc.predict(model(), Labelled(X, labels))
    np.testing.assert_array_equal(found, rc.predict(model(), X))


def test_columns_of_sequences_are_lists():
    rows = [X[k, : 2 + k % 5] for k in range(ROWS)]
    expected = fit(model(), rows, Y).loss
    columns = Labelled(objects(rows), range(ROWS)[::-1])
    for given in (objects(rows), columns):
        np.testing.assert_array_equal(fit(model(), given, Y).loss, expected)

    def steps(target):
        return fit(rc.GRU(3, 3, dtype=np.float64, rng=0), rows, target, loss="mse").loss

    np.testing.assert_array_equal(steps(objects(rows)), steps(rows))
    np.testing.assert_array_equal(steps(columns), steps(rows))


def test_files_are_read_batch_by_batch():
    x, y = File(X), File(Y)
    np.testing.assert_array_equal(fit(model(), x, y).loss, fit(model(), X, Y).loss)
    assert x.read == 4 * STEPS * 3
    assert y.read <= ROWS
    np.testing.assert_array_equal(fit(model(), list(X), File(Y)).loss, fit(model(), X, Y).loss)
    made = rc.Sequential(rc.GRU(3, 4, batch_first=True, rng=0), rc.Linear(4, 2, rng=0))
    targets = File(np.repeat(Y[:, np.newaxis], STEPS, 1))
    lengths = np.arange(ROWS) % 4 + 2
    assert len(fit(made, File(X), targets, lengths)) == 1


def of(function, **options):
    return {"loss": lambda y, target: function(y, target), **options}


IGNORING = partial(rc.softmax_cross_entropy, ignore_index=-1)
MASKED = np.ma.masked_array
OTHER = np.r_[Y[:-1], 7]
FIRST = "^epoch 1, batch 1: "
REFUSED = {
    "mask": (MASKED(X), Y, {}, TypeError, "^X is of type MaskedArray, expected a numpy array"),
    "mask of Y": (X, MASKED(Y), {}, TypeError, "^Y is of type MaskedArray"),
    "mask of one": (X, [*Y[:9], MASKED(1)], {}, TypeError, r"^Y\[9\] is of type MaskedArray"),
    "mask in a list": ([MASKED(x) for x in X], Y, {}, TypeError, r"^X\[0\] is of type Masked"),
    "complex": (X + 1j, Y, {}, TypeError, "^X has dtype complex128, expected numbers"),
    "texts": (X.astype(str), Y, {}, TypeError, "^X has dtype <U.*, expected numbers"),
    "ragged": ([[[1.0] * 3, [1.0]]] * ROWS, Y, {}, TypeError, r"^X\[0\] holds lists of several"),
    "features of a share": (
        X[:, :, :2], Y, {"validation": 0.3}, ValueError, "^validation: x has shape",
    ),
    "features": (X[:, :, :2], Y, {}, ValueError, FIRST + r"x has shape \(4, 6, 2\), expected"),
    "no class": (X, OTHER, {}, ValueError, ": (Y|targets) holds 7, expected integers from 0 to 1"),
    "below": (X, OTHER - 1, {"loss": IGNORING}, ValueError, ": (Y|targets) holds 6, expected"),
    "no integers": (X, Y * 1.0, {}, TypeError, FIRST + r"targets has dtype float64, expected int"),
    "axes": (X, np.ones((ROWS, 2), int), {}, ValueError, FIRST + r"targets has shape \(4, 2\)"),
    "loss": (X, Y, of(lambda y, t: 5), TypeError, FIRST + r"what loss gives is of type int, ex"),
    "dy": (X, Y, of(lambda y, t: (5, t)), ValueError, FIRST + r"the dy that loss gives has shape"),
    "no dy": (X, Y, of(lambda y, t: (5, 5)), ValueError, FIRST + r"the dy .* is of type int, exp"),
    "text": (X, Y, of(lambda y, t: ("a", y)), TypeError, FIRST + r"what loss gives is of type str"),
    "metric": (X, Y, {"metrics": len}, TypeError, "takes exactly one"),
    "a word": (X, Y, {"metrics": lambda y, t: "good"}, TypeError, FIRST + r"what metric <lambda> "),
    "nothing": (X, Y * 0 - 1, {"loss": IGNORING}, ValueError, "no position of the data co"),
    "held": (X, Y, {"validation": []}, ValueError, "^validation: no position of it counts"),
    "nothing held": (
        X, Y, {"loss": IGNORING, "validation": (X, Y * 0 - 1)}, ValueError, "^validation: no posi",
    ),
    "other held": (X, Y, {"validation": (X, OTHER)}, ValueError, ": (Y|targets) holds 7"),
    "name": (X, Y, {"checkpoint": "a\0.npz"}, ValueError, "^checkpoint is .*, which no file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_is_changed_by_what_is_refused(name):
    """Neither weights nor what dropout, or the order of rows, is drawn from."""
    x, y, options, error, message = REFUSED[name]
    rng, of_dropout = (np.random.default_rng(seed) for seed in (3, 4))
    dropout = rc.Dropout(0.5, rng=of_dropout)
    made = model(rc.BatchNorm(4, dtype=np.float64), more=[dropout])
    drawn = [one.bit_generator for one in (rng, of_dropout)]
    states = [one.state for one in drawn]
    arrays = {**made.params, **made.buffers}
    before = {key: value.copy() for key, value in arrays.items()}
    with pytest.raises(error, match=message):
        fit(made, x, y, rng=rng, **options)
    assert [one.state for one in drawn] == states
    for key, value in before.items():
        np.testing.assert_array_equal(arrays[key], value)


def test_nothing_is_changed_by_what_a_checkpoint_refuses(tmp_path):
    path, options = tmp_path / "t.npz", {"validation": 0.3, "epochs": 2}
    fit(model(), X, Y, checkpoint=path, **options)
    written = path.read_bytes()
    (tmp_path / "folder.npz").mkdir()
    for place, more in ((path, {"batch_size": 3}), (tmp_path / "folder.npz", {})):
        rng = np.random.default_rng(3)
        state = rng.bit_generator.state
        with pytest.raises((OSError, ValueError)):
            fit(model(), X, Y, checkpoint=place, rng=rng, **{**options, **more})
        assert rng.bit_generator.state == state
    assert path.read_bytes() == written
    # Neither is a file left, or another rate, of what did not come so far as to learn.
    with pytest.raises(ValueError, match=FIRST):
        fit(model(), X[:, :, :2], Y, checkpoint=tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()
    made = model()
    adam = rc.Adam(made, 0.5)
    with pytest.raises(FloatingPointError, match=FIRST[:-2]):
        fit(made, X * np.nan, Y, optimizer=adam, schedule=lambda step: 0.25)
    assert adam.lr == 0.5


def test_models_and_losses_of_ones_own_see_every_batch_once():
    """A model whose generators and buffers nobody can find is called no more often than needed."""

    class Own:
        batch_first, dtype = True, np.dtype(np.float64)

        def __init__(self):
            self.inner = model(rc.BatchNorm(4, dtype=np.float64), more=[rc.Dropout(0.5, rng=1)])
            self.params = self.inner.params

        def __call__(self, text):
            return text.upper()

        def forward(self, x, **given):
            return self.inner.forward(x, **given)

        def backward(self, trace, dy):
            return self.inner.backward(trace, dy)

    seen = []

    def loss(y, target):
        seen.append(len(y))
        return rc.softmax_cross_entropy(y, target)

    own = Own()
    got = fit(own, X, Y, loss=loss, epochs=3)
    expected = fit(Own().inner, X, Y, epochs=3)
    np.testing.assert_array_equal(got.loss, expected.loss)
    assert sorted(seen) == sorted([4, 4, 2] * 3)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("row", range(ROWS))
def test_no_step_is_taken_where_a_target_of_any_row_is_no_class(row, listed):
    y = Y.copy()
    y[row] = 2
    made = model()
    before = {name: value.copy() for name, value in made.params.items()}
    with pytest.raises(ValueError, match=r"(Y|targets) holds 2, expected integers from 0 to 1"):
        fit(made, list(X) if listed else X, list(y) if listed else y)
    by_step = rc.Sequential(made[0], rc.Linear(4, 2, rng=0, dtype=np.float64))
    steps = [np.full(STEPS, one) for one in y]
    with pytest.raises(ValueError, match=r"(Y|targets) holds 2, expected integers from 0 to 1"):
        fit(by_step, list(X) if listed else X, steps if listed else np.stack(steps))
    for name, value in before.items():
        np.testing.assert_array_equal(made.params[name], value)


def test_padding_may_hold_any_target():
    y = np.zeros((ROWS, STEPS), int)
    y[:, 4:] = -1
    made = rc.Sequential(rc.GRU(3, 2, batch_first=True, rng=0), rc.Linear(2, 2, rng=0))
    lengths = np.full(ROWS, 4)
    lengths[9] = 3
    y[9, 3] = 9
    assert len(fit(made, X, y, lengths)) == 1
    y[9, 2] = 9
    with pytest.raises(ValueError, match=r"(Y|targets) holds 9, expected integers from 0 to 1"):
        fit(made, X, y, lengths)


def test_validation_by_the_same_arrays_is_no_share_of_them(tmp_path):
    path = tmp_path / "t.npz"
    first = fit(model(), X, Y, validation=(X, Y), checkpoint=path)
    again = fit(model(), X, Y, validation=(X, Y), checkpoint=path, epochs=2)
    assert (len(first), len(again)) == (1, 2)


def test_fewer_epochs_than_are_done(tmp_path):
    path = tmp_path / "t.npz"
    fit(model(), X, Y, checkpoint=path, epochs=3)
    with pytest.raises(ValueError, match="it has done 3 epochs, and epochs is 2; another needs"):
        fit(model(), X, Y, checkpoint=path, epochs=2)


# BatchNorm wants two positions: no row is left alone


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (9, {"batch_size": 4}),
        (5, {"batch_size": 4}),
        (9, {"ordered": True, "batch_size": 9}),
        (7, {"ordered": 3, "batch_size": 7}),
        (13, {"ordered": 2, "batch_size": 5, "accumulate": 2}),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_no_row_is_alone_with_batch_norm(rows, options, listed, rng):
    x = rng.standard_normal((rows, STEPS, 3))
    given = [row[: 2 + k % 4] for k, row in enumerate(x)] if listed else x
    seen = []

    class Counted(rc.BatchNorm):
        def forward(self, x, **given):
            seen.append(len(x))
            return super().forward(x, **given)

    fit(model(Counted(4, dtype=np.float64)), given, np.arange(rows) % 2, epochs=3, **options)
    assert min(seen) >= 2
    assert sum(seen) == 3 * rows
    seen.clear()
    plain = rc.GRU(3, 4, batch_first=True, dtype=np.float64, rng=0)
    history = fit(plain, given, given, loss=partial(_first, seen=seen), **options)
    assert len(history) == 1
    assert min(seen) == 1  # others are cut as they were told


def _first(y, target, *, seen, lengths=None, batch_first=False):
    seen.append(len(y))
    return rc.mse(y, y * 0.5, lengths=lengths, batch_first=batch_first)


def test_a_row_that_is_alone_is_told_of():
    made = model(rc.BatchNorm(4, dtype=np.float64))
    with pytest.raises(ValueError, match=FIRST + r"x has 1 positions, expected"):
        fit(made, X[:1], Y[:1])


@pytest.mark.parametrize("listed", [False, True])
def test_no_window_has_a_single_position(listed, rng):
    steps = [4, 7, 4, 10, 1] if listed else [7] * 2
    rows = [rng.standard_normal((T, 3)) for T in steps]
    data = rows if listed else np.stack(rows, 1)

    def made():
        parts = (rc.GRU(3, 4, rng=0), rc.BatchNorm(4), rc.Linear(4, 3, rng=0))
        return rc.Sequential(*parts)

    for size in (2, 3, 5):  # of batches, and so how many rows end together
        history = fit(made(), data, data, loss="mse", window=3, epochs=4, batch_size=size)
        assert np.isfinite(history.loss).all()
    if listed:
        for options in ({"window": 1}, {"window": 3, "ordered": 2}):
            with pytest.raises(ValueError, match=r"^window is given, rows have different lengths"):
                fit(made(), data, data, loss="mse", **options)
