"""Weights of rows and classes: beside the mean of all, not of a batch."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from rnncore.sklearn import SequenceClassifier, SequenceRegressor, SequenceTagger

KINDS = [SequenceClassifier, SequenceRegressor, SequenceTagger]
QUICK = {"hidden_layer_sizes": 5, "max_iter": 3, "random_state": 0, "dtype": "float64"}


def data(kind, rng, n=24):
    X = [rng.standard_normal((T, 2)) for T in rng.integers(2, 6, n)]
    if kind is SequenceTagger:
        return X, [rng.integers(3, size=len(x)) for x in X]
    return X, rng.integers(3, size=n) if kind is SequenceClassifier else rng.standard_normal(n)


def some(own, at):
    return own[at] if isinstance(own, np.ndarray) else [own[k] for k in at]


def same(one, other, **close):
    for name, value in one.model_.params.items():
        np.testing.assert_allclose(other.model_.params[name], value, **(close or {"rtol": 0}))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_two_are_none(kind, rng):
    X, y = data(kind, rng)
    same(kind(**QUICK).fit(X, y), kind(**QUICK).fit(X, y, np.full(24, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_zero_is_a_row_left_out(kind, rng):
    X, y = data(kind, rng)
    X[5] = X[5] * 1e3  # neither features nor targets are measured there
    weights = np.ones(24)
    weights[[5, 11]] = 0
    at = np.flatnonzero(weights)
    same(kind(**QUICK).fit(some(X, at), some(y, at)), kind(**QUICK).fit(X, y, weights))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_weights_are_repetition(kind, rng):
    X, y = data(kind, rng)
    weights = rng.integers(1, 4, 24)
    at = np.repeat(np.arange(24), weights)
    whole = {**QUICK, "batch_size": 100}
    repeated = kind(**whole).fit(some(X, at), some(y, at))
    weighted = kind(**whole).fit(X, y, weights)
    same(repeated, weighted, rtol=1e-9, atol=1e-12)
    assert weighted.loss_ == pytest.approx(repeated.loss_)
    # In small batches too, as far as drawing them allows.
    small = {**QUICK, "batch_size": 1, "max_iter": 1, "solver": "sgd", "clip_norm": None}
    small |= {"learning_rate_init": 1e-6, "scale": False}
    begun = kind(**small | {"learning_rate_init": 1e-300}).fit(X, y, weights).model_.params
    steps = [
        {k: v - begun[k] for k, v in one.model_.params.items()}
        for one in (kind(**small).fit(some(X, at), some(y, at)), kind(**small).fit(X, y, weights))
    ]
    counts = [len(x) for x in X] if kind is SequenceTagger else None
    mean = np.average(weights, weights=counts)
    for name, step in steps[0].items():
        # So many more steps, of which each counts as the mean.
        size = abs(step).max() / mean
        np.testing.assert_allclose(steps[1][name], step / mean, rtol=0, atol=1e-3 * size + 1e-18)


def test_a_batch_that_weighs_little_moves_little(rng):
    """One row a batch: with a share of the batch it would be one without weights."""
    X, y = data(SequenceClassifier, rng)
    options = {
        **QUICK, "batch_size": 1, "solver": "sgd", "clip_norm": None, "max_iter": 10,
        "learning_rate_init": 0.01,
    }  # fmt: skip
    heavy = np.arange(24) < 12
    found = SequenceClassifier(**options).fit(X, y, np.where(heavy, 1.0, 1e-9))
    # The mean weight is a half.
    double = {**options, "learning_rate_init": 0.02}
    there = SequenceClassifier(**double).fit(some(X, range(12)), y[:12])
    p, q = (one.predict_proba(X) for one in (found, there))
    r = SequenceClassifier(**options).fit(X, y).predict_proba(X)
    assert 2 * abs(p - q).max() < abs(p - r).max()


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_of_as_many_rows_as_outputs(outputs, batch_size, rng):
    X, y = rng.standard_normal((6, 4)), rng.standard_normal((6, outputs))
    weights = rng.uniform(1, 2, 6)
    found = SequenceRegressor(**QUICK, batch_size=batch_size).fit(X, y, weights)
    assert found.predict(X).shape == (6, outputs)


def test_of_each_row_its_own_weight_for_all_numbers(rng):
    """As many rows as numbers: the weight is the row's."""
    X, y = rng.standard_normal((2, 4)), np.array([[0.0, 9.0], [1.0, -9.0]])
    options = {**QUICK, "max_iter": 200, "learning_rate_init": 0.02, "batch_size": 2}
    found = SequenceRegressor(**options).fit(X, y, [1.0, 1e-6])
    error = abs(found.predict(X) - y)
    assert error[0].max() < 0.1 < error[1].min()


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceTagger])
def test_class_weights_are_weights_of_rows(kind, rng):
    X, y = data(kind, rng)
    of_class = {0: 0.25, 1: 1.0, 2: 3.0}
    whole = {**QUICK, "batch_size": 100, "scale": False}
    found = kind(**whole, class_weight=of_class).fit(X, y)
    if kind is SequenceClassifier:
        same(kind(**whole).fit(X, y, [of_class[k] for k in y]), found, rtol=1e-9, atol=1e-12)
        counts = np.bincount(y)
    else:
        counts = np.bincount(np.concatenate(y))
    balanced = dict(enumerate(counts.sum() / (3 * counts)))
    same(
        kind(**whole, class_weight=balanced).fit(X, y),
        kind(**whole, class_weight="balanced").fit(X, y),
        rtol=1e-9, atol=1e-12,
    )  # fmt: skip
    plain = kind(**whole).fit(X, y)
    assert (
        abs(plain.model_["head"].params["bias"] - found.model_["head"].params["bias"]).max() > 1e-3
    )


def test_weights_that_are_refused(rng):
    X, y = data(SequenceClassifier, rng)
    found = SequenceClassifier(**QUICK)
    for weights, message in (
        (np.zeros(24), "at least one non-zero"),
        (-np.ones(24), "[Nn]egative values"),
        (np.ones(23), "sample_weight.shape"),
        (np.full(24, np.nan), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            found.fit(X, y, weights)
    with pytest.raises(ValueError, match=r"class_weight\[1\] is -1"):
        found.set_params(class_weight={1: -1}).fit(X, y)
    with pytest.raises(ValueError, match="leave no row a weight above 0"):
        found.set_params(class_weight={0: 0, 1: 0, 2: 0}).fit(X, y)
    assert not hasattr(found, "classes_")
