"""Every option of a training does what it says: beside one by hand, or beside MLPClassifier."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.neural_network import MLPClassifier

import rnncore as rc
from rnncore.sklearn import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger
from rnncore.sklearn.building import body_of
from rnncore.sklearn.stopping import held_back

OPTIONS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.3},
    "rmsprop": {"solver": "rmsprop"},
    "adamw": {"solver": "adamw", "alpha": 0.2},
    "alpha": {"alpha": 0.2},
    "learning_rate_init": {"learning_rate_init": 0.05},
    "beta_1": {"beta_1": 0.1},
    "beta_2": {"beta_2": 0.3},
    "epsilon": {"epsilon": 0.1},
    "clip_norm": {"solver": "sgd", "clip_norm": 0.05},
    "no clip_norm": {"solver": "sgd", "clip_norm": None},
    "schedule": {"schedule": lambda step: 0.02 / (1 + step)},
    "OnPlateau": {"schedule": rc.OnPlateau(0.03, factor=0.1, patience=0, threshold=0.5)},
}


def by_hand(estimator, x, labels, epochs):
    """The parameters after as many steps, each with all rows."""
    seed = np.random.RandomState(estimator.random_state).randint(2**31 - 1)
    rng = np.random.default_rng(seed)
    body = body_of(estimator, x.shape[2], labels.max() + 1, rng, tokens=None)
    kinds = {"adam": rc.Adam, "adamw": rc.AdamW, "sgd": rc.SGD, "rmsprop": rc.RMSprop}
    optimizer = kinds[estimator.solver](body, estimator.learning_rate_init)
    if issubclass(type(optimizer), rc.Adam):
        optimizer = type(optimizer)(
            body, estimator.learning_rate_init, betas=(estimator.beta_1, estimator.beta_2),
            eps=estimator.epsilon, weight_decay=estimator.alpha,
        )  # fmt: skip
    plateau, schedule = rc.OnPlateau(0.03, factor=0.1, patience=0, threshold=0.5), None
    if estimator.schedule is not None and not isinstance(estimator.schedule, rc.OnPlateau):
        schedule = estimator.schedule
    for epoch in range(epochs):
        if schedule is not None:
            optimizer.lr = schedule(epoch)
        elif estimator.schedule is not None:
            optimizer.lr = plateau.rate
        y, *_, trace = body.forward(x)
        loss, dy = rc.softmax_cross_entropy(y, labels)
        grads = body.backward(trace, dy).params
        if estimator.clip_norm is not None:
            rc.clip_grad_norm(grads, estimator.clip_norm)
        optimizer.step(grads)
        plateau(loss)
    return body.params


@pytest.mark.parametrize("name", OPTIONS)
def test_a_training_by_hand(name, rng):
    x, labels = rng.standard_normal((30, 5, 2)) * 3, rng.integers(3, size=30)
    given = {"clip_norm": None, **OPTIONS[name]}
    found = SequenceClassifier(
        hidden_layer_sizes=7, batch_size=30, scale=False, dtype="float64", random_state=4,
        max_iter=4, **given,
    ).fit(x, labels)  # fmt: skip
    wanted = by_hand(found, x, labels, 4)
    assert found.model_.params.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found.model_.params[key], value, rtol=1e-7, atol=1e-9)


def test_the_schedule_that_is_given_stays_as_it_is(walks):
    X, y = walks
    schedule = rc.OnPlateau(0.03, patience=0, threshold=0.9)
    before = schedule.state_dict()
    found = SequenceClassifier(hidden_layer_sizes=4, schedule=schedule, max_iter=4, random_state=0)
    first = found.fit(X, y).loss_curve_
    assert schedule.state_dict() == before
    assert found.fit(X, y).loss_curve_ == first
    # Parts go on with it: the rate falls at every epoch.
    parts = SequenceClassifier(hidden_layer_sizes=4, schedule=schedule, random_state=0)
    for _ in range(4):
        parts.partial_fit(X, y, classes=["down", "up"])
    assert parts.loss_curve_ == first


@pytest.fixture
def steps():
    """A schedule, and a list of what it was asked."""
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.001

    return schedule, asked


def test_batch_size(walks, steps):
    schedule, asked = steps
    SequenceClassifier(hidden_layer_sizes=4, batch_size=20, max_iter=2, schedule=schedule).fit(
        *walks
    )
    assert asked == list(range(2 * 5))  # of 90 rows


def test_validation_fraction(walks, steps):
    schedule, asked = steps
    found = SequenceClassifier(
        hidden_layer_sizes=4, batch_size=10, max_iter=2, schedule=schedule, early_stopping=True,
        validation_fraction=0.25,
    ).fit(*walks)  # fmt: skip
    assert len(asked) == 2 * 7  # 22 of 90 rows are held back
    rows = round(found.best_validation_score_ * 22)
    assert found.best_validation_score_ == pytest.approx(rows / 22)


def test_of_every_class_a_share_is_held_back(rng):
    strata = rng.permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    for seed in range(20):
        held = held_back(100, 0.2, strata, np.random.default_rng(seed))
        counts = np.bincount(strata[held], minlength=3)
        assert abs(counts - [12, 6, 2]).max() <= 1
    one = SequenceRegressor(hidden_layer_sizes=4, early_stopping=True)
    with pytest.raises(ValueError, match="early_stopping is True, and would hold back all 1 rows"):
        one.fit([[1.0]], [1.0])
    series = Forecaster(hidden_layer_sizes=4, early_stopping=True, window=3)
    with pytest.raises(ValueError, match="early_stopping is True, and would hold back all 1 rows"):
        series.fit(np.arange(4.0))


@pytest.mark.parametrize(("tol", "wait"), [(10.0, 3), (10.0, 1), (0.05, 2)])
def test_tol_and_n_iter_no_change(tol, wait, walks, recwarn):
    X, y = walks
    options = {"hidden_layer_sizes": 4, "max_iter": 60, "tol": tol, "n_iter_no_change": wait}
    found = SequenceClassifier(**options, random_state=0).fit(X, y)
    assert not recwarn
    best, worse = np.inf, 0
    for epoch, loss in enumerate(found.loss_curve_, 1):
        worse = worse + 1 if loss > best - tol else 0
        best = min(best, loss)
        assert (worse > wait) == (epoch == found.n_iter_)
    if tol > 1:
        peer = MLPClassifier(**options).fit(np.stack([x[-1] for x in X]), y)
        assert found.n_iter_ == peer.n_iter_


def test_a_training_that_ends_too_early_warns(walks):
    found = SequenceClassifier(hidden_layer_sizes=4, max_iter=2)
    with pytest.warns(UserWarning, match=r"Maximum iterations \(2\) reached and .* converged yet"):
        found.fit(*walks)


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor, SequenceTagger])
def test_the_best_weights_come_back(kind, rng):
    X = rng.standard_normal((60, 4, 3))
    y = {
        SequenceClassifier: rng.integers(2, size=60),  # which nobody can know
        SequenceRegressor: rng.standard_normal((60, 2)),
        SequenceTagger: rng.integers(2, size=(60, 4)),
    }[kind]
    options = {
        "hidden_layer_sizes": 8, "random_state": 1, "tol": 0.0, "n_iter_no_change": 6,
        "early_stopping": True, "learning_rate_init": 0.05, "batch_size": 8,
    }  # fmt: skip
    found = kind(**options, max_iter=300).fit(X, y)
    best = found.n_iter_ - 7
    assert 0 < best < 293
    assert len(found.validation_scores_) == found.n_iter_
    assert found.best_validation_score_ == found.validation_scores_[best - 1]
    assert found.best_loss_ is None
    there = kind(**options).set_params(max_iter=best).fit(X, y)
    beyond = kind(**options).set_params(max_iter=best, early_stopping=False).fit(X, y)
    np.testing.assert_array_equal(found.predict(X[:3]), there.predict(X[:3]))
    params = [one.model_.params for one in (found, there, beyond)]
    for name, value in params[0].items():
        np.testing.assert_array_equal(value, params[1][name])
    assert any((value != params[2][name]).any() for name, value in params[0].items())


def test_verbose_and_random_state(walks, capsys):
    X, y = walks
    options = {"hidden_layer_sizes": 4, "max_iter": 2}
    found = [
        SequenceClassifier(**options, random_state=seed, verbose=seed).fit(X, y).loss_
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    assert capsys.readouterr().err.count("epoch ") == 2


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_is_of_training_alone(layers, walks):
    X, y = walks
    options = {"hidden_layer_sizes": (6, 5), "layers": layers, "max_iter": 2, "random_state": 0}
    found = SequenceClassifier(**options, dropout=0.4).fit(X, y)
    plain = SequenceClassifier(**options).fit(X, y)
    # Between layers of the same size, and before the head.
    assert found.model_["rnn0"].dropout == (0.4 if layers == 2 else 0)
    if layers == 1:
        assert found.loss_ != plain.loss_
    np.testing.assert_array_equal(found.predict_proba(X), found.predict_proba(X))
    assert "dropout" not in found.model_.names
