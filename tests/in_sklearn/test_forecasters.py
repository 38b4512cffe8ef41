"""Forecasts of time series: what is read, what is told, and by which rules."""

import csv
import pickle
from array import array
from collections import deque
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

import rnncore as rc
from rnncore.sklearn import Forecaster
from rnncore.sklearn.series import Plan

QUICK = {"hidden_layer_sizes": 6, "max_iter": 3, "random_state": 0}
WAYS = [(s, w, d) for s in ("recursive", "direct") for w in (6, None) for d in (False, True)]


@pytest.fixture
def wave():
    return 50 + 7 * np.sin(np.arange(90) / 2)


def test_what_is_read_and_told_at_every_step():
    y, x = np.arange(6.0)[:, np.newaxis] ** 2, 100.0 + np.arange(6)[:, np.newaxis]
    plan = Plan(2, 2, False)
    # Of y at a step, and of x at the two that follow; then y at these.
    np.testing.assert_array_equal(
        plan.columns(y[:-2], x), [[0, 101, 102], [1, 102, 103], [4, 103, 104], [9, 104, 105]]
    )
    np.testing.assert_array_equal(plan.told(y), [[1, 4], [4, 9], [9, 16], [16, 25]])
    change = plan._replace(difference=True)
    np.testing.assert_array_equal(
        change.columns(y[:-2], x), [[1, 102, 103], [3, 103, 104], [5, 104, 105]]
    )
    np.testing.assert_array_equal(change.told(y), [[3, 8], [5, 12], [7, 16]])
    two = np.c_[y, -y]
    np.testing.assert_array_equal(plan.told(two)[0], [1, -1, 4, -4])
    windows = plan.windows(plan.columns(y[:-2], None))
    np.testing.assert_array_equal(windows, [[[0], [1]], [[1], [4]], [[4], [9]]])


@pytest.mark.parametrize(("strategy", "window", "difference"), WAYS)
def test_forecasts_are_those_of_the_model(strategy, window, difference, wave):
    """Step by step, by hand."""
    y, horizon = np.c_[wave, np.cos(np.arange(90))], 4
    x = np.arange(94.0)[:, np.newaxis] % 5
    found = Forecaster(
        **QUICK, window=window, horizon=horizon, strategy=strategy, difference=difference
    ).fit(y, x[:90])
    ahead = 1 if strategy == "recursive" else horizon
    assert found.n_features_in_ == 2 + ahead
    now = y
    for _ in range(horizon // ahead):
        n = len(now)
        z = np.diff(now, axis=0) if difference else now
        m = len(z)
        after = [x[n - m + h : n + h] for h in range(1, ahead + 1)]
        columns = np.concatenate([z, *after], axis=1)
        out = rc.predict(found.model_, [columns[-window if window else 0 :]])[0]
        after = (out if window else out[-1]).reshape(ahead, 2) + (now[-1] if difference else 0)
        now = np.concatenate([now, after])
    forecast = found.predict(X=x[90:])
    np.testing.assert_allclose(forecast, now[90:], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.predict(X=x, y=y), forecast)
    # As one of several.
    several = found.predict(X=[x, x[:34]], y=[y, y[:30]])
    assert several.shape == (2, 4, 2)
    np.testing.assert_allclose(several[0], forecast, rtol=1e-5)
    if strategy == "recursive":
        longer = found.predict(X=np.arange(90.0, 97)[:, np.newaxis] % 5)
        np.testing.assert_array_equal(longer[:4], forecast)
        assert len(longer) == 7


@pytest.mark.parametrize(("strategy", "window", "difference"), WAYS)
def test_a_series_that_goes_on_as_it_was(strategy, window, difference, wave):
    options = {"hidden_layer_sizes": 16, "random_state": 0, "tol": 1e-3, "learning_rate_init": 0.02}
    found = Forecaster(
        **options, window=window, horizon=3, strategy=strategy, difference=difference, max_iter=200
    ).fit(wave[:70])
    assert found.score(wave[70:]) > 0.95
    assert abs(found.predict() - wave[70:73]).max() < 2
    assert found.predict().shape == (3,)
    true = np.lib.stride_tricks.sliding_window_view(wave[70:], 3)
    told = np.array([found.predict(3, y=wave[: 70 + k]) for k in range(18)])
    assert found.score(wave[70:]) == pytest.approx(r2_score(true.ravel(), told.ravel()), abs=1e-5)


def test_a_trend_is_followed_by_differences():
    y = 3.0 * np.arange(60) + np.sin(np.arange(60))
    options = {"hidden_layer_sizes": 8, "max_iter": 60, "random_state": 0, "window": 8}
    level, change = (
        Forecaster(**options, difference=own, horizon=10).fit(y[:40]).score(y[40:])
        for own in (False, True)
    )
    assert change > 0.9 > level


def test_what_is_known_of_the_future_is_read():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(130)
    y = np.r_[0, 2 * x[1:] + x[:-1]] + 10
    options = {"hidden_layer_sizes": 16, "max_iter": 120, "random_state": 0, "window": 4}
    for strategy in ("recursive", "direct"):
        found = Forecaster(**options, strategy=strategy, horizon=2).fit(y[:100], x[:100])
        assert found.score(y[100:], x[100:]) > 0.8
    assert Forecaster(**options).fit(y[:100]).score(y[100:]) < 0.5


@pytest.mark.parametrize("window", [5, None])
def test_several_series(window, rng):
    phases = rng.uniform(0, 6, 30)
    ys = [
        np.sin(np.arange(n) / 2 + p) for n, p in zip(rng.integers(20, 40, 30), phases, strict=True)
    ]
    options = {"hidden_layer_sizes": 16, "max_iter": 40, "random_state": 0, "window": window}
    found = Forecaster(**options, horizon=2).fit(ys[:20])
    assert found.predict().shape == (20, 2)
    assert found.score(ys[20:]) > 0.8
    of_objects = np.array(ys[:3], object)
    np.testing.assert_array_equal(found.predict(y=of_objects), found.predict(y=ys[:3]))
    np.testing.assert_allclose(found.predict()[:3], found.predict(y=ys[:3]), rtol=1e-5, atol=1e-6)
    assert cross_val_score(Forecaster(**options), ys, cv=2).min() > 0.5
    stopped = Forecaster(**options, early_stopping=True).fit(ys)
    assert len(stopped.validation_scores_) == stopped.n_iter_


def test_the_end_of_a_series_is_held_back(wave):
    """Its last targets are of no consequence to what is learnt, but for what is measured."""
    options = {**QUICK, "window": 6, "early_stopping": True, "validation_fraction": 0.2}
    asked = []
    found = Forecaster(
        **{**options, "batch_size": 10}, schedule=lambda step: asked.append(step) or 0.01
    ).fit(wave)
    assert len(asked) == 3 * 7  # 84 windows, of which the last 17 are held back
    assert found.best_validation_score_ is not None
    # Levels that are at the end alone are new to what was learnt of the beginning.
    jump = wave + 100 * (np.arange(90) >= 74)
    found = Forecaster(**{**options, "max_iter": 20}).fit(jump)
    assert 1 - found.best_validation_score_ > 10 * found.loss_


@pytest.mark.parametrize("window", [6, None])
def test_no_step_is_told_of_a_later_one(window, wave):
    model = Forecaster(**QUICK, window=window, conv=3).fit(wave).model_
    x = np.ones((1, 8, 1), np.float32) * 50
    later = x.copy()
    later[:, 5:] += 9
    steps = [model[name] for name in ("centre", "scale", "conv")]
    for step in steps:
        x, later = (step(own) for own in (x, later))
    np.testing.assert_array_equal(x[:, :5], later[:, :5])
    assert (x[:, 5:] != later[:, 5:]).any()


def test_searches_along_time_and_copies(wave):
    cut = TimeSeriesSplit(3, test_size=10)
    own = Forecaster(**QUICK, horizon=2)
    search = GridSearchCV(own, {"window": [3, 8]}, cv=cut).fit(wave)
    assert search.best_params_["window"] in (3, 8)
    assert len(search.predict(5)) == 5
    known = np.arange(90.0)
    search = GridSearchCV(own, {"difference": [False, True]}, cv=cut).fit(wave, known)
    assert search.best_estimator_.n_features_in_ == 2
    found = pickle.loads(pickle.dumps(own.fit(wave)))
    np.testing.assert_array_equal(found.predict(5), own.predict(5))
    found.set_params(warm_start=True, horizon=5).fit(wave)
    assert found.n_iter_ == 6
    with pytest.raises(ValueError, match="difference is True, and the training that goes on"):
        found.set_params(difference=True).fit(wave)
    # What was fitted stays what it was until the next fit.
    np.testing.assert_array_equal(found.predict(2), found.set_params(window=3).predict(2))


def test_yearly_sunspots_are_told_better_than_by_the_last_year():
    path = Path(__file__).parents[2] / "examples" / "sunspots.csv"
    if not path.is_file():  # where a wheel is tested
        return
    rows = csv.reader(line for line in path.read_text("utf-8").splitlines() if line[0].isdigit())
    y = np.array([float(spots) for _, spots in rows])
    found = Forecaster(hidden_layer_sizes=16, window=22, max_iter=40, random_state=0).fit(y[:229])
    naive = r2_score(y[229:], y[228:-1])
    assert found.score(y[229:]) > naive + 0.1


def test_forms_of_one_series(wave):
    whole = np.round(wave * 100)
    expected = Forecaster(**QUICK, window=6).fit(whole).predict(3)
    column = np.array(whole, object)
    for same in (
        whole.tolist(),
        [*map(np.asarray, whole)],
        [Decimal(one) for one in whole.astype(int).tolist()],
        column,
        deque(whole.tolist()),
        array("d", whole.tolist()),
        memoryview(whole),
    ):
        np.testing.assert_array_equal(Forecaster(**QUICK, window=6).fit(same).predict(3), expected)
    counted = Forecaster(**QUICK, window=6).fit(range(90)).predict(3)
    np.testing.assert_array_equal(
        counted, Forecaster(**QUICK, window=6).fit(np.arange(90)).predict(3)
    )
    table, rows = np.array([whole, whole]).T, np.empty(2, object)
    two = Forecaster(**QUICK, window=6).fit(table).predict(3)
    np.testing.assert_array_equal(
        Forecaster(**QUICK, window=6).fit(table.astype(object)).predict(3), two
    )
    rows[:] = [whole, whole[:50]]
    for one, other in zip(
        Forecaster(**QUICK, window=6).fit(rows).predict(3),
        Forecaster(**QUICK, window=6).fit([*rows]).predict(3),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_what_is_refused(wave):
    found = Forecaster(**QUICK, window=6, horizon=2)
    for given, message in (
        ((None,), "requires y to be passed"),
        ((wave[:6],), "y has 6 steps, expected at least 7"),
        (([wave, wave[:6]],), r"y\[1\] has 6 steps, expected at least 7"),
        ((wave * np.nan,), "y contains NaN"),
        ((np.ones((2, 9, 2, 2)),), "expected"),
        (([wave, np.ones((90, 2))],), r"y\[1\] has shape \(90, 2\), expected columns as of y\[0\]"),
        ((wave, np.ones(89)), r"X has \[89\] steps, expected \[90\]"),
        ((wave, np.full(90, np.inf)), "X contains infinity"),
        ((wave, np.ones((2, 90, 1))), "X holds 2 series, expected 1, as y"),
        ((iter(wave),), "y is of type .*iterator, expected an array or a list"),
        (("wave",), "y is of type str, expected an array or a list"),
        ((5,), "y is of type int, expected an array or a list"),
        ((np.zeros(90, "M8[D]"),), r"y has dtype datetime64\[D\], expected numbers"),
        ((np.ma.masked_array(wave),), "y is of type MaskedArray, expected a numpy array"),
        (([wave, [1.0, [2.0]]],), r"y\[1\] holds lists of several lengths, expected"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            found.fit(*given)
    with pytest.raises(ValueError, match="bidirectional is True, and window None"):
        Forecaster(**QUICK, window=None, bidirectional=True).fit(wave)
    plain = Forecaster(**QUICK, window=6, horizon=2).fit(wave)
    known = Forecaster(**QUICK, window=6, horizon=2, strategy="direct").fit(wave, np.ones((90, 3)))
    for call, message in (
        (lambda: plain.predict(X=np.ones(2)), "X is given, and fit had none"),
        (lambda: plain.predict(0), "horizon is 0, expected an integer of at least 1"),
        (lambda: plain.predict(y=np.ones((9, 2))), "y has 2 columns, expected 1, as fit had"),
        (lambda: plain.predict(y=wave[:5]), "y has 5 steps, expected at least 6"),
        (lambda: plain.score(wave[:1]), "y has too few steps for a forecast of 2"),
        (lambda: known.predict(), "X is None, expected 3 columns, as fit had"),
        (lambda: known.predict(3, X=np.ones((3, 3))), "horizon is 3, expected at most 2"),
        (lambda: known.predict(X=np.ones((2, 2))), "X has 2 columns, expected 3, as fit had"),
        (lambda: known.predict(1, X=np.ones((1, 3))), r"X has \[1\] steps, expected \[2\]"),
        (lambda: known.set_params(warm_start=True).fit(wave), "expected .* as at first"),
        (lambda: known.set_params(horizon=5).score(wave, np.ones((90, 3))), "horizon is 5, expec"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
