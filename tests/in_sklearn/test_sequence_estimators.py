"""Estimators of sequences: what they learn, what scikit-learn does with them, their models."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import rnncore as rc
from rnncore._core import core
from rnncore.sklearn import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger

QUICK = {"hidden_layer_sizes": 12, "max_iter": 25, "random_state": 0}


def test_sequences_of_any_length(walks):
    X, y = walks
    found = SequenceClassifier(**QUICK).fit(X, y)
    assert found.score(X, y) > 0.9
    assert found.classes_.tolist() == ["down", "up"]
    assert found.n_features_in_ == 2
    assert len(found.loss_curve_) == found.n_iter_ <= 25
    assert found.best_loss_ == min(found.loss_curve_)
    assert found.loss_ == found.loss_curve_[-1]
    assert found.validation_scores_ is found.best_validation_score_ is None
    p = found.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(found.predict_log_proba(X)), p)
    np.testing.assert_array_equal(found.classes_[p.argmax(axis=1)], found.predict(X))
    np.testing.assert_array_equal(found.decision_function(X) > 0, found.predict(X) == "up")
    # A row is what it is, whatever is beside it.
    for k in (0, 7):
        np.testing.assert_array_equal(found.predict_proba(X[k : k + 1]), p[k : k + 1])


def test_more_classes_than_two(rng):
    X = [rng.standard_normal((T, 1)) for T in rng.integers(2, 7, 90)]
    y = np.digitize([x[-1, 0] for x in X], [-0.4, 0.4]) * 10
    found = SequenceClassifier(**{**QUICK, "max_iter": 60}).fit(X, y)
    assert found.score(X, y) > 0.85
    scores = found.decision_function(X)
    np.testing.assert_array_equal(found.classes_[scores.argmax(axis=1)], found.predict(X))
    np.testing.assert_allclose(scores, rc.predict(found.model_, X), rtol=1e-4, atol=1e-5)


def test_the_model_within(walks, tmp_path):
    X, y = walks
    found = SequenceClassifier(**QUICK, pooling="last").fit(X, y)
    model, x = found.model_, X[0].astype(np.float32)[np.newaxis]
    stream = model.freeze().stream()
    for t in range(x.shape[1]):
        out = stream(x[:, t])
    np.testing.assert_allclose(out, model(x)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out[0, 1] - out[0, 0], found.decision_function(X[:1])[0], rtol=1e-3)
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
    names = ("centre", "scale", "conv", "relu", "rnn0", "rnn1", "pool", "head")
    assert found.model_.names == names
    assert (found.model_["conv"].kernel_size, found.model_["pool"].kind) == (3, pooling)
    for name, size in (("rnn0", 5), ("rnn1", 4)):
        layer = found.model_[name]
        assert type(layer).__name__.lower() == cell
        assert (layer.hidden_size, layer.num_layers, layer.bidirectional) == (size, 2, True)
    assert found.predict_proba(X).shape == (90, 2)


@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers(outputs, rng):
    X = [rng.standard_normal((T, 2)) for T in rng.integers(2, 12, 120)]
    y = np.array([[1e3 + 50 * x[:, 0].mean(), -x[-1, 1]] for x in X])
    y = y if outputs == 2 else y[:, 0]
    found = SequenceRegressor(hidden_layer_sizes=16, max_iter=80, random_state=0).fit(X, y)
    assert found.score(X, y) > 0.9
    assert found.predict(X).shape == y.shape


def test_searches_with_two_workers(rng):
    """The same bits as with one, also of data that is mapped for them, being large."""
    X = rng.standard_normal((400, 80, 10)).astype(np.float32)
    y = np.array(["down", "up"])[(X[:, -1, 0] > 0).astype(int)]
    assert X.nbytes > 2**20
    quick = SequenceClassifier(hidden_layer_sizes=4, max_iter=1, random_state=0)
    grid = {"cell": ["gru", "rnn"]}
    searches = [GridSearchCV(quick, grid, cv=2, n_jobs=n).fit(X, y) for n in (1, 2)]
    for name in ("mean_test_score", "std_test_score"):
        first, second = (search.cv_results_[name] for search in searches)
        np.testing.assert_array_equal(first, second)
    one, two = (search.best_estimator_.predict_proba(X[:9]) for search in searches)
    np.testing.assert_array_equal(one, two)


def test_pipelines_validation_and_calibration(walks):
    X, y = walks
    quick = SequenceClassifier(**{**QUICK, "max_iter": 4})
    assert is_classifier(quick)
    halves = FunctionTransformer(lambda X: [x / 2 for x in X])
    p = make_pipeline(halves, quick).fit(X, y).predict_proba(X)
    # Nothing else, but that powers of two are rounded alike.
    np.testing.assert_array_equal(p, quick.fit(X, y).predict_proba(X))
    assert len(cross_val_score(make_pipeline(halves, quick), X, y, cv=3)) == 3
    assert cross_val_predict(quick, X, y, cv=3, method="predict_proba").shape == (90, 2)
    search = GridSearchCV(make_pipeline(halves, quick), {"sequenceclassifier__cell": ["rnn"]}, cv=2)
    assert search.fit(X, y).best_params_ == {"sequenceclassifier__cell": "rnn"}
    calibrated = CalibratedClassifierCV(quick, cv=2).fit(X, y, sample_weight=np.ones(90))
    assert calibrated.predict_proba(X).shape == (90, 2)
    numbers = SequenceRegressor(**{**QUICK, "max_iter": 4})
    assert is_regressor(numbers)
    assert cross_val_predict(numbers, X, np.ones((90, 2)), cv=3).shape == (90, 2)


def test_the_same_bits_for_any_number_of_threads():
    # So large that a pass is worth a second thread: 32 rows of 50 steps and 96 units.
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((steps, 2)).cumsum(0) for steps in rng.integers(50, 55, 40)]
    y = ["up" if x[-1, 0] > 0 else "down" for x in X]
    tags = [np.where(x[:, 0] > 3, "B", "O") for x in X]
    options = {"hidden_layer_sizes": 96, "max_iter": 2, "random_state": 0}
    for kind, given, own in (
        (SequenceClassifier, (X, y), {}),
        (SequenceRegressor, (X, np.arange(40.0)), {}),
        (SequenceTagger, (X, tags), {}),
        (Forecaster, ([x[:, 0] for x in X],), {"window": 40}),
    ):
        found = []
        for n in (1, 3):
            with rc.num_threads(n):
                core.set_thread_limit(n)  # also of more threads than there are cores
                found.append(kind(**options, **own).fit(*given).model_.params)
        for name, value in found[0].items():
            np.testing.assert_array_equal(found[1][name], value)


class Small(SequenceClassifier):
    """With fewer options; `Wide` has one more."""

    def __init__(self, max_iter=3):
        super().__init__(hidden_layer_sizes=4, max_iter=max_iter, random_state=0)


class Wide(Forecaster):
    def __init__(self, extra=1, **options):
        super().__init__(**options)
        self.extra = extra


def test_subclasses_with_other_options(walks):
    X, y = walks
    whole = SequenceClassifier(hidden_layer_sizes=4, max_iter=3, random_state=0).fit(X, y)
    own = clone(Small()).fit(X, y)
    np.testing.assert_array_equal(own.predict_proba(X), whole.predict_proba(X))
    assert own.get_params() == {"max_iter": 3}
    with pytest.raises(ValueError, match="max_iter is 0"):
        Small(max_iter=0).fit(X, y)
    series = np.sin(np.arange(60.0))
    made = {"hidden_layer_sizes": 4, "max_iter": 2, "random_state": 0, "window": 5}
    np.testing.assert_array_equal(
        Wide(**made).fit(series).predict(2), Forecaster(**made).fit(series).predict(2)
    )
