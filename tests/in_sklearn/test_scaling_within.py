"""Features and targets of any size: what is trained, what predicts, and the model within."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.preprocessing import StandardScaler

import rnncore as rc
from rnncore.sklearn import SequenceClassifier, SequenceRegressor
from rnncore.sklearn.scaling import scaling_of

QUICK = {"hidden_layer_sizes": 6, "max_iter": 4, "random_state": 0}
FEATURES = {"small": (0.0, 1e-20), "large": (0.0, 1e20), "far": (1e6, 1.0), "farther": (-3e8, 50.0)}


@pytest.fixture
def plain(rng):
    return [rng.standard_normal((T, 2)) for T in rng.integers(2, 9, 60)], rng.integers(2, size=60)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_of_any_size(name, dtype, plain):
    """As if somebody had scaled them before; and `model_` is no other, for what it can read."""
    mean, deviation = FEATURES[name]
    X = [(mean + deviation * x).astype(np.float32).astype(np.float64) for x in plain[0]]
    before = StandardScaler().fit(np.concatenate(X))
    scaled = [before.transform(x) for x in X]
    y = plain[1]
    found = SequenceClassifier(**QUICK, dtype=dtype).fit(X, y)
    by_hand = SequenceClassifier(**QUICK, dtype=dtype, scale=False).fit(scaled, y)
    exact = 2e-5 if dtype == "float32" else 1e-7
    scores = found.decision_function(X)
    np.testing.assert_allclose(scores, by_hand.decision_function(scaled), atol=exact)
    y_model = rc.predict(found.model_, X)
    np.testing.assert_allclose(y_model[:, 1] - y_model[:, 0], scores, atol=exact)
    # What it does to features, apart from what follows.
    x = np.concatenate(X)[np.newaxis].astype(dtype)
    own = found.model_["scale"](found.model_["centre"](x))[0]
    np.testing.assert_allclose(own, np.concatenate(scaled), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FEATURES)
def test_the_model_of_it_frozen_streamed_and_saved(name, plain, tmp_path):
    mean, deviation = FEATURES[name]
    X = [mean + deviation * x for x in plain[0]]
    model = SequenceClassifier(**QUICK).fit(X, plain[1]).model_
    x = X[0].astype(np.float32)[np.newaxis]
    wanted = model(x)[0]
    assert np.isfinite(wanted).all()
    stream = model.freeze().stream()
    for t in range(x.shape[1]):
        out = stream(x[:, t])
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(rc.load(tmp_path / "model.npz")(x)[0], wanted)


@pytest.mark.parametrize("name", FEATURES)
def test_the_model_of_it_in_onnx(name, plain, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    import rnncore.onnx

    mean, deviation = FEATURES[name]
    X = [mean + deviation * x for x in plain[0]]
    model = SequenceClassifier(**QUICK).fit(X, plain[1]).model_
    rnncore.onnx.export(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    x = X[0].astype(np.float32)[np.newaxis]
    (found,) = session.run(None, {session.get_inputs()[0].name: x})[:1]
    np.testing.assert_allclose(found, model(x)[0], rtol=1e-4, atol=1e-5)


def test_features_beyond_float32_are_read_in_float64(plain):
    """A deviation of 1e-3 beside 1e6, of which float32 has nothing."""
    X, y = plain
    far = [1e6 + 1e-3 * x for x in X]
    p = [SequenceClassifier(**QUICK).fit(own, y).predict_proba(own) for own in (X, far)]
    np.testing.assert_allclose(*p, atol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 1.0, -7.3e8, 1e-30, 0.1])
def test_features_that_do_not_change(constant, plain):
    X, y = plain
    steady = [np.c_[x, np.full(len(x), constant)] for x in X]
    found = SequenceClassifier(**QUICK).fit(steady, y)
    assert found.model_["scale"].params["weight"][2] == 1
    x = steady[0].astype(np.float32)[np.newaxis]
    own = found.model_["scale"](found.model_["centre"](x))
    assert abs(own[..., 2]).max() <= abs(constant) * 1e-7


def test_what_vanishes_in_dtype_is_as_if_it_did_not_change(plain):
    X, y = plain
    found = SequenceClassifier(**QUICK).fit([1e-42 * x for x in X], y)
    np.testing.assert_array_equal(found.model_["scale"].params["weight"], 1)
    exact = SequenceClassifier(**QUICK, dtype="float64").fit([1e-42 * x for x in X], y)
    assert exact.model_["scale"].params["weight"].min() > 1e41


def test_means_and_deviations_are_those_of_standard_scaler(rng):
    rows = [rng.standard_normal((T, 3)) * [1e-9, 1, 1e5] + [1, 0, 1e9] for T in (4, 1, 7, 70_000)]
    rows[0][:, 0] += 1e-12  # well above rounding
    weights = np.array([3.0, 0.5, 1.0, 0.1])
    found = scaling_of(rows, weights, np.float32)
    each = np.repeat(weights, [len(row) for row in rows])
    steps = np.concatenate(rows).astype(np.longdouble)
    mean = np.average(steps, axis=0, weights=each)
    deviation = np.sqrt(np.average((steps - mean) ** 2, axis=0, weights=each))
    np.testing.assert_allclose(found.mean, mean.astype(np.float64), rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(found.deviation, deviation.astype(np.float64), rtol=1e-7)
    peer = StandardScaler().fit(np.concatenate(rows), sample_weight=each)
    np.testing.assert_allclose(found.deviation, peer.scale_, rtol=1e-6)
    whole = np.concatenate(found.scaled(rows, np.float64))
    np.testing.assert_allclose(whole, (steps - mean) / deviation, rtol=1e-6, atol=1e-6)


def test_what_dtype_cannot_hold_is_refused(plain):
    X, y = plain
    for own in ([1e100 * x for x in X], 1e100 * np.ones((60, 3))):
        with pytest.raises(ValueError, match="contains a value too large for dtype"):
            SequenceClassifier(**QUICK).fit(own, y)
    found = SequenceClassifier(**QUICK, dtype="float64").fit([1e200 * x for x in X], y)
    p = SequenceClassifier(**QUICK, dtype="float64").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found.predict_proba([1e200 * x for x in X]), p, rtol=1e-6)


@pytest.mark.parametrize(("mean", "deviation"), [(1e8, 1e-3), (0.0, 1e160), (0.0, 1e-160)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_targets_of_any_size(mean, deviation, outputs, plain, rng):
    X, y = plain[0], rng.standard_normal((60, outputs))
    y = y[:, 0] if outputs == 1 else y
    wanted = SequenceRegressor(**QUICK).fit(X, y).predict(X)
    found = SequenceRegressor(**QUICK).fit(X, mean + deviation * y).predict(X)
    # The targets have lost digits beside a large mean; predictions have lost no more.
    close = max(1e-4, 1e-15 * mean / deviation * 1e2)
    np.testing.assert_allclose((found - mean) / deviation, wanted, atol=close)


def test_the_last_layer_of_the_model_gives_numbers_as_they_are(plain, rng):
    X, y = plain[0], 300 + 7 * rng.standard_normal((60, 2))
    found = SequenceRegressor(**QUICK).fit(X, y)
    np.testing.assert_allclose(rc.predict(found.model_, X), found.predict(X), rtol=1e-5)
