"""Estimators of sequences: forms of data, what scikit-learn does with them, their models."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import rnncore as rc
from rnncore.sklearn import SequenceClassifier, SequenceRegressor, SequenceTagger

QUICK = {"hidden_layer_sizes": 12, "max_iter": 25, "random_state": 0}


@pytest.fixture
def walks(rng):
    """Sequences of two features, of very different size, and whether the first ends above 0."""
    X = [
        np.array([3.0, 1e4]) + np.array([1.0, 50.0]) * rng.standard_normal((T, 2))
        for T in rng.integers(2, 12, 90)
    ]
    return X, np.array(["down", "up"])[[int(x[-1, 0] > 3) for x in X]]


def test_sequences_of_any_length(walks):
    X, y = walks
    found = SequenceClassifier(**QUICK).fit(X, y)
    assert found.score(X, y) > 0.9
    assert found.classes_.tolist() == ["down", "up"]
    assert found.n_features_in_ == 2
    assert len(found.loss_curve_) == found.n_iter_ <= 25
    p = found.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(found.classes_[p.argmax(axis=1)], found.predict(X))
    np.testing.assert_array_equal(found.decision_function(X) > 0, found.predict(X) == "up")
    # A row is what it is, whatever is beside it.
    for k in (0, 7):
        np.testing.assert_array_equal(found.predict_proba(X[k : k + 1]), p[k : k + 1])


def test_forms_of_the_same_data(rng):
    x, y = rng.standard_normal((40, 7)), rng.integers(2, size=40)
    of_objects = np.empty(40, object)
    of_objects[:] = [row[:, np.newaxis] for row in x]
    forms = {
        "(n, T)": x,
        "(n, T, 1)": x[:, :, np.newaxis],
        "list of (T,)": list(x),
        "list of (T, 1)": list(x[:, :, np.newaxis]),
        "list of lists": x.tolist(),
        "objects": of_objects,
    }
    first = None
    for name, X in forms.items():
        p = SequenceClassifier(**{**QUICK, "max_iter": 3}).fit(X, y).predict_proba(X)
        first = p if first is None else first
        np.testing.assert_array_equal(p, first, err_msg=name)


def test_features_are_scaled_within(walks):
    X, y = walks
    found = SequenceClassifier(**QUICK).fit(X, y)
    plain = SequenceClassifier(**QUICK, scale=False).fit(X, y)
    assert found.loss_ < 0.5 * plain.loss_
    scaled = found.model_["scale"](X[0][np.newaxis].astype(np.float32))
    np.testing.assert_allclose(scaled[0].std(), np.std(scaled[0]))
    steps = np.concatenate(X)
    np.testing.assert_allclose(
        scaled[0], (X[0] - steps.mean(axis=0)) / steps.std(axis=0), rtol=1e-3, atol=1e-3
    )


def test_the_model_within(walks, tmp_path):
    X, y = walks
    found = SequenceClassifier(**QUICK, pooling="last").fit(X, y)
    model, x = found.model_, X[0].astype(np.float32)[np.newaxis]
    stream = model.freeze().stream()
    for t in range(x.shape[1]):
        out = stream(x[:, t])
    np.testing.assert_allclose(out, model(x)[0], rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.npz")
    again = rc.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(rc.predict(again, X[:9]), rc.predict(model, X[:9]))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "first", "mean", "max"])
def test_layers_by_options(cell, pooling, walks):
    X, y = walks
    found = SequenceClassifier(
        cell, (5, 4), layers=2, bidirectional=True, pooling=pooling, conv=3, dropout=0.2,
        max_iter=2, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert found.model_.names == ("scale", "conv", "relu", "rnn0", "rnn1", "pool", "head")
    assert found.model_["rnn1"].num_layers == 2
    assert found.model_["rnn0"].bidirectional
    assert found.predict_proba(X).shape == (90, 2)


def test_searches_pipelines_and_calibration(walks):
    X, y = walks
    quick = SequenceClassifier(**{**QUICK, "max_iter": 4})
    grid = {"hidden_layer_sizes": [4, 8], "cell": ["gru", "rnn"]}
    searches = [GridSearchCV(quick, grid, cv=2, n_jobs=n).fit(X, y) for n in (1, 2)]
    for name in ("mean_test_score", "std_test_score"):
        first, second = (search.cv_results_[name] for search in searches)
        np.testing.assert_array_equal(first, second)
    one, two = (search.best_estimator_.predict_proba(X) for search in searches)
    np.testing.assert_array_equal(one, two)
    assert len(cross_val_score(make_pipeline(quick), X, y, cv=3)) == 3
    calibrated = CalibratedClassifierCV(quick, cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (90, 2)


def test_the_same_bits_for_any_number_of_threads(walks):
    X, y = walks
    found = []
    for n in (1, 3):
        with rc.num_threads(n):
            found.append(SequenceClassifier(**{**QUICK, "max_iter": 5}).fit(X, y))
    np.testing.assert_array_equal(*[each.predict_proba(X) for each in found])


def test_copies(walks):
    X, y = walks
    found = SequenceClassifier(**QUICK).fit(X, y)
    for again in (pickle.loads(pickle.dumps(found)), clone(found).fit(X, y)):
        np.testing.assert_array_equal(again.predict_proba(X), found.predict_proba(X))


def test_weights_of_rows_and_classes(walks):
    X, y = walks
    options = {**QUICK, "max_iter": 40}
    rare = np.where(y == "up", 1.0, 0.01)
    lean = SequenceClassifier(**options).fit(X, y, sample_weight=rare)
    wise = SequenceClassifier(**options, class_weight={"up": 0.01, "down": 1.0}).fit(X, y)
    assert np.mean(lean.predict(X) == "up") > np.mean(y == "up") > np.mean(wise.predict(X) == "up")
    some = np.arange(90) < 30  # many batches have no weight at all
    part = SequenceClassifier(**options, batch_size=4).fit(X, y, sample_weight=some)
    assert part.score(X[:30], y[:30]) > 0.9
    with pytest.raises(ValueError, match="at least one non-zero"):
        SequenceClassifier(**options).fit(X, y, sample_weight=np.zeros(90))


def test_going_on(walks):
    X, y = walks
    warm = SequenceClassifier(**{**QUICK, "max_iter": 3}, warm_start=True).fit(X, y)
    first = warm.loss_
    warm.fit(X, y)
    assert warm.loss_ < first
    assert warm.n_iter_ == 6
    parts = SequenceClassifier(**QUICK)
    with pytest.raises(ValueError, match="classes must be passed"):
        parts.partial_fit(X, y)
    for _ in range(6):
        parts.partial_fit(X, y, classes=["down", "sideways", "up"])
    assert parts.n_iter_ == 6
    assert parts.predict_proba(X).shape == (90, 3)
    with pytest.raises(ValueError, match="y has classes that are not among"):
        parts.partial_fit(X, np.full(90, "left"))


def test_early_stopping(walks):
    X, y = walks
    found = SequenceClassifier(
        hidden_layer_sizes=12, max_iter=300, random_state=0, early_stopping=True,
        n_iter_no_change=3, learning_rate_init=0.02,
    ).fit(X, y)  # fmt: skip
    assert found.n_iter_ < 300
    assert len(found.validation_scores_) == found.n_iter_
    assert found.score(X, y) > 0.85


def test_words(rng):
    good, bad = ["fine", "great", "lovely"], ["awful", "poor", "dull"]
    kinds = rng.integers(2, size=80)
    texts = [
        " ".join(["the", "film", "is", *rng.permutation((bad, good)[k])[: rng.integers(1, 4)]])
        for k in kinds
    ]
    found = SequenceClassifier(**QUICK, embedding=6).fit(texts, kinds)
    assert found.score(texts, kinds) > 0.95
    assert found.predict(["the film is lovely", "an awful mess"]).tolist() == [1, 0]
    lists = [text.split() for text in texts]
    again = SequenceClassifier(**QUICK, embedding=6).fit(lists, kinds)
    np.testing.assert_array_equal(again.predict_proba(lists), found.predict_proba(texts))


@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers(outputs, rng):
    X = [rng.standard_normal((T, 2)) for T in rng.integers(2, 12, 120)]
    y = np.array([[1e3 + 50 * x[:, 0].mean(), -x[-1, 1]] for x in X])
    y = y if outputs == 2 else y[:, 0]
    found = SequenceRegressor(hidden_layer_sizes=16, max_iter=80, random_state=0).fit(X, y)
    assert found.score(X, y) > 0.9
    assert found.predict(X).shape == y.shape


def test_tags(rng):
    X = [rng.standard_normal((T, 2)) for T in rng.integers(2, 12, 80)]
    y = [np.where(np.cumsum(x[:, 0]) > 0, "B", "O").tolist() for x in X]
    found = SequenceTagger(hidden_layer_sizes=16, max_iter=60, random_state=0).fit(X, y)
    assert found.score(X, y) > 0.9
    tags = found.predict(X)
    assert [len(own) for own in tags] == [len(x) for x in X]
    assert found.predict_proba(X)[3].shape == (len(X[3]), 2)
    assert cross_val_score(found, X, y, cv=2).min() > 0.7
    with pytest.raises(ValueError, match=r"y\[0\] has 1 classes and X\[0\]"):
        found.fit(X, [own[:1] if k == 0 else own for k, own in enumerate(y)])


REFUSED = {
    "NaN": (lambda X: [*X[:-1], X[-1] * np.nan], "NaN or infinity, in X"),
    "other features": (lambda X: [*X[:-1], X[-1][:, :1]], "expected one step or more of as many"),
    "no steps": (lambda X: [*X[:-1], X[-1][:0]], "expected one step or more"),
    "no numbers": (lambda X: [*X[:-1], np.array([["a", "b"]])], "is no sequence of numbers"),
    "other count": (lambda X: X[:-1], "inconsistent numbers of samples"),
    "four axes": (lambda X: np.ones((90, 2, 2, 2)), "Found array with dim 4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_is_refused(name, walks):
    X, y = walks
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        SequenceClassifier(**QUICK).fit(make(X), y)
    found = SequenceClassifier(**{**QUICK, "max_iter": 1}).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but SequenceClassifier is expecting 2"):
        found.predict([np.ones((4, 3))])
