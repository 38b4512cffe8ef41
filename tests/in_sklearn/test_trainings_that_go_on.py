"""Trainings that go on, from memory, pickles and mapped files; those that fail change nothing."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from sklearn.base import clone

import rnncore as rc
from rnncore.sklearn import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger

KINDS = [SequenceClassifier, SequenceRegressor, SequenceTagger]
QUICK = {"hidden_layer_sizes": 5, "max_iter": 2, "random_state": 0, "dropout": 0.2}


def data(kind, walks):
    X, y = walks
    if kind is SequenceRegressor:
        return X, np.array([x.sum() for x in X])
    return X, [np.where(x[:, 0] > 3, "B", "O") for x in X] if kind is SequenceTagger else y


def part(found, kind, X, y):
    given = (
        {}
        if kind is SequenceRegressor
        else {
            "classes": np.unique(
                np.concatenate([[*row] for row in y]) if kind is SequenceTagger else y
            )
        }
    )
    return found.partial_fit(X, y, **given)


def arrays(found):
    return {name: value.copy() for name, value in found.model_.params.items()}


def same(one, other):
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "joblib", "mapped"])
def test_copies_go_on_with_the_same_bits(kind, way, walks, tmp_path):
    X, y = data(kind, walks)
    found = part(kind(**QUICK), kind, X, y)
    if way in ("joblib", "mapped"):
        joblib.dump(found, tmp_path / "found.joblib")
        mode = "r" if way == "mapped" else None
        other = joblib.load(tmp_path / "found.joblib", mmap_mode=mode)
    else:
        other = copy.deepcopy(found) if way == "deepcopy" else pickle.loads(pickle.dumps(found))
    same(arrays(found), arrays(other))
    for _ in range(2):
        part(found, kind, X, y)
        part(other, kind, X, y)
    same(arrays(found), arrays(other))
    assert other.loss_curve_ == found.loss_curve_
    assert len(other.loss_curve_) == other.n_iter_ == 3
    other.set_params(warm_start=True).fit(X, y)
    assert other.n_iter_ == 5


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_the_whole(kind, walks):
    """Epoch by epoch or all at once: the same order, rates and masks."""
    X, y = data(kind, walks)
    schedule = rc.CosineDecay(0.01, 12)
    whole = kind(**{**QUICK, "max_iter": 4}, schedule=schedule).fit(X, y)
    parts = kind(**QUICK, schedule=schedule)
    for _ in range(4):
        part(parts, kind, X, y)
    same(arrays(whole), arrays(parts))
    twice = kind(**QUICK, schedule=schedule, warm_start=True).fit(X, y).fit(X, y)
    same(arrays(whole), arrays(twice))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_was_taken_stays_as_it_is(kind, walks):
    X, y = data(kind, walks)
    found = part(kind(**QUICK), kind, X, y)
    model, before, y_before = found.model_, arrays(found), rc.predict(found.model_, X[:4])
    part(found, kind, X, y)
    found.set_params(warm_start=True).fit(X, y)
    assert found.model_ is not model
    same(before, model.params)
    for one, other in zip(y_before, rc.predict(model, X[:4]), strict=True):
        np.testing.assert_array_equal(one, other)


BAD = {
    "learning_rate_init": {"learning_rate_init": -1.0},
    "solver": {"solver": "lbfgs"},
    "max_iter": {"max_iter": 0},
    "clip_norm": {"clip_norm": 0.0},
    "schedule": {"schedule": 3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_fails_changes_nothing(kind, walks):
    X, y = data(kind, walks)
    found = kind(**QUICK, warm_start=True).fit(X, y)
    before, state = pickle.dumps(found), dict(found.__dict__)
    wanted = found.predict(X)

    def fails(*given, error=ValueError, **options):
        for warm in (True, False):
            with pytest.raises(error):
                found.set_params(**options, warm_start=warm).fit(*given)
        found.set_params(**kind(**QUICK, warm_start=True).get_params())
        assert found.__dict__ == state
        assert pickle.dumps(found) == before

    wide = [np.ones((len(x), 7)) for x in X]
    for name, options in BAD.items():
        fails(wide, y, **options, error=TypeError if name == "schedule" else ValueError)
    fails(wide, y[:-1])
    fails(wide, None)
    fails(["a text"] * len(X), y[1:])
    fails([*wide[:-1], wide[0] * np.nan], y)
    fails(wide, y, -np.ones(len(X)))
    # Not before the training has begun: gradients that are no numbers.
    with pytest.raises(FloatingPointError, match="epoch 1, batch"):
        found.set_params(schedule=lambda step: 1e300).fit(X, y)
    found.set_params(schedule=None)
    with pytest.raises(ZeroDivisionError):
        found.set_params(schedule=lambda step: 1 // 0, warm_start=False).fit(wide, y)
    found.set_params(schedule=None, warm_start=True)
    assert found.__dict__ == state
    for one, other in zip(wanted, found.predict(X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_options_of_training_may_change(walks):
    X, y = walks
    found = SequenceClassifier(**QUICK, warm_start=True).fit(X, y)
    before = arrays(found)
    found.set_params(learning_rate_init=1e-12).fit(X, y)
    assert max(abs(arrays(found)[name] - before[name]).max() for name in before) < 1e-9
    found.set_params(learning_rate_init=1e-2, batch_size=7, clip_norm=None, alpha=0.1).fit(X, y)
    assert max(abs(arrays(found)[name] - before[name]).max() for name in before) > 1e-3
    found.set_params(alpha=0.0, solver="sgd").fit(X, y)
    assert found.n_iter_ == 8
    found.set_params(max_iter=3, early_stopping=True).fit(X, y)
    assert found.n_iter_ == 11
    assert len(found.validation_scores_) == 3


OTHER = {
    "cell": "lstm", "hidden_layer_sizes": (5, 5), "layers": 2, "bidirectional": True,
    "pooling": "mean", "conv": 3, "embedding": 4, "dropout": 0.3, "scale": False,
    "dtype": "float64",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_other_layers_are_an_error(name, walks):
    X, y = walks
    found = SequenceClassifier(**QUICK, warm_start=True).fit(X, y)
    found.set_params(**{name: OTHER[name]})
    message = f"{name} is .*, and the training that goes on began with "
    for going_on in (found.fit, found.partial_fit):
        with pytest.raises(ValueError, match=message):
            going_on(X, y)
    same_sizes = {**QUICK, "hidden_layer_sizes": (5,)}
    found.set_params(**SequenceClassifier(**same_sizes, warm_start=True).get_params())
    assert found.fit(X, y).n_iter_ == 4


def test_classes_and_numbers_are_those_of_the_first_time(walks):
    X, y = walks
    parts = SequenceClassifier(**QUICK)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        parts.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"y has classes that are not among .*: \['up'\]"):
        parts.partial_fit(X, y, classes=["down", "left"])
    parts.partial_fit(X, y, classes=["up", "sideways", "down", "up"])
    assert parts.predict_proba(X).shape == (90, 3)
    parts.partial_fit(X, y).partial_fit(X, y, classes=["sideways", "down", "up"])
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        parts.partial_fit(X, y, classes=["down", "up"])
    with pytest.raises(ValueError, match="y has classes that are not among"):
        parts.partial_fit(X, np.full(90, "left"))
    numbers = SequenceRegressor(**QUICK).partial_fit(X, np.ones(90))
    for own in (np.ones((90, 2)), np.ones((90, 1))):
        with pytest.raises(ValueError, match=r"y has shape \(90, [12]\), expected \(n,\)"):
            numbers.partial_fit(X, own)
    for kind in KINDS:
        found = kind(**QUICK, early_stopping=True)
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
            part(found, kind, *data(kind, walks))


@pytest.mark.parametrize("kind", [*KINDS, Forecaster])
def test_a_clone_knows_all_options_and_nothing_else(kind):
    found = kind("lstm", (3, 2), max_iter=7, conv=2, schedule=None, epsilon=1e-7)
    other = clone(found)
    assert other.get_params() == found.get_params()
    assert not [name for name in other.__dict__ if name.endswith("_") or name.startswith("_")]
    assert ("pooling" in found.get_params()) == (kind in KINDS[:2])
