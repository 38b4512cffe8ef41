"""Classes of every step."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from rnncore.sklearn import SequenceTagger


@pytest.fixture
def tagged(rng):
    X = [rng.standard_normal((T, 2)) for T in rng.integers(2, 12, 80)]
    return X, [np.where(np.cumsum(x[:, 0]) > 0, "B", "O").tolist() for x in X]


def test_tags(tagged):
    X, y = tagged
    found = SequenceTagger(hidden_layer_sizes=16, max_iter=60, random_state=0).fit(X, y)
    assert found.score(X, y) > 0.9
    assert cross_val_score(found, X, y, cv=2).min() > 0.7
    tags, p = found.predict(X), found.predict_proba(X)
    logs, scores = found.predict_log_proba(X), found.decision_function(X)
    for k, x in enumerate(X):
        assert p[k].shape == (len(x), 2)
        np.testing.assert_allclose(p[k].sum(axis=1), 1)
        np.testing.assert_allclose(np.exp(logs[k]), p[k])
        np.testing.assert_array_equal(tags[k], found.classes_[p[k].argmax(axis=1)])
        np.testing.assert_array_equal(scores[k] > 0, tags[k] == "O")
    y[70:] = [["B"] * len(x) for x in X[70:]]  # of which many are wrong
    right = np.concatenate([a == b for a, b in zip(tags, y, strict=True)])
    assert found.score(X, y) == pytest.approx(right.mean())
    weights = np.arange(80)
    of_step = np.repeat(weights, [len(x) for x in X])
    assert found.score(X, y, weights) == pytest.approx(np.average(right, weights=of_step))
    assert found.score(X, y, weights) < found.score(X, y) - 0.02
    # A step is told of what the layers have read so far.
    np.testing.assert_array_equal(found.predict_proba([X[0][:1]])[0], p[0][:1])


def test_three_classes_and_tags_of_numbers(rng):
    X = rng.integers(0, 3, (40, 6))
    found = SequenceTagger(hidden_layer_sizes=8, max_iter=25, random_state=0, embedding=4)
    found.fit(X, 10 * X)
    assert found.classes_.tolist() == [0, 10, 20]
    assert found.score(X, 10 * X) > 0.9
    assert found.decision_function(X)[0].shape == (6, 3)
    parts = SequenceTagger(hidden_layer_sizes=8, random_state=0)
    parts.partial_fit(X, 10 * X, classes=[0, 10, 20, 30])
    assert parts.predict_proba(X)[0].shape == (6, 4)


def test_log_probabilities_are_finite_where_probabilities_are_not(rng):
    X, y = [[-1.0], [1.0]], [["a"], ["b"]]
    found = SequenceTagger(
        hidden_layer_sizes=4, random_state=0, solver="sgd", learning_rate_init=1e4, clip_norm=None,
        scale=False, max_iter=3,
    ).fit(X, y)  # fmt: skip
    logs = np.concatenate(found.predict_log_proba(X))
    assert np.isfinite(logs).all()
    assert (np.concatenate(found.predict_proba(X)) == 0).any()


@pytest.mark.parametrize("score", [False, True])
def test_tags_that_are_refused(score, tagged):
    X, y = tagged
    found = SequenceTagger(hidden_layer_sizes=3, max_iter=1)
    with pytest.raises(NotFittedError):
        found.score(X, y)
    call = found.fit(X, y).score if score else found.fit
    for wrong, message in (
        (None, "requires y to be passed"),
        (y[:-1], "inconsistent numbers of samples"),
        (3, "inconsistent numbers of samples"),
        ([own[:1] if k == 0 else own for k, own in enumerate(y)], r"y\[0\] has 1 classes and X\[0"),
        ([["B"] * len(x) for x in X[:-1]] + ["B" * len(X[-1])], r"y\[79\] is no list of classes"),
        ([1] * 80, r"y\[0\] is no list of classes"),
        ([[[one] for one in own] for own in y], r"y\[0\] is no list of classes"),
        ([own if k else [1] * len(own) for k, own in enumerate(y)], "texts alone or numbers alone"),
    ):
        with pytest.raises(ValueError, match=message):
            call(X, wrong)
