"""What is easily got wrong: models that change steps, weights, files, and what is refused."""

import sys
from functools import partial

import numpy as np
import pytest
from test_fit import Own, quiet, same, sequences, tagger

import rnncore as rc

F64 = np.float64


def conv(kind):
    first = {
        "valid": lambda: rc.Conv1d(3, 4, 3, dtype=F64, rng=0),
        "stride": lambda: rc.Conv1d(3, 4, 2, stride=2, padding="same", dtype=F64, rng=0),
        "pool": lambda: rc.Sequential(rc.Linear(3, 4, dtype=F64, rng=0), rc.Pool("max", 2)),
    }[kind]
    return rc.Sequential(first(), rc.GRU(4, 4, dtype=F64, rng=1))


@pytest.mark.parametrize("kind", ["valid", "stride", "pool"])
def test_models_with_fewer_steps(kind, rng):
    model = conv(kind)
    X = [rng.standard_normal((T, 3)) for T in (9, 8, 5, 9, 4)]
    whole = [model(x[:, np.newaxis])[0][:, 0] for x in X]
    for got, expected in zip(rc.predict(model, X, batch_size=3), whole, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
    x, lengths = np.zeros((9, 5, 3)), np.array([9, 8, 5, 9, 4])
    for k, own in enumerate(X):
        x[: len(own), k] = own
    together = model(x, lengths=lengths)[0]
    got = rc.predict(model, x, batch_size=2, lengths=lengths)
    np.testing.assert_allclose(got, together, rtol=1e-12, atol=1e-14)

    Y = [rng.integers(4, size=len(y)) for y in whole]
    history = quiet(model, (X, Y), lr=0.0, batch_size=2)
    losses = [rc.softmax_cross_entropy(y, t)[0] * len(t) for y, t in zip(whole, Y, strict=True)]
    np.testing.assert_allclose(history.loss, sum(losses) / sum(map(len, Y)), rtol=1e-10)
    with pytest.raises(ValueError, match=r"Y\[0\] has 9 steps and X\[0\] 9, expected"):
        quiet(model, (X, [np.zeros(len(own), int) for own in X]))


def test_models_of_ones_own_predict_and_read_batches(rng):
    own, layer = Own(), rc.GRU(3, 4, dtype=F64, rng=0)
    X, _ = sequences(rng, 5)
    for got, x in zip(rc.predict(own, X), X, strict=True):
        np.testing.assert_allclose(got, layer(x)[0], rtol=1e-12)
    x, y, n = rng.standard_normal((6, 3, 3)), rng.integers(4, size=(6, 3)), [6, 2, 4]
    histories = [quiet(Own(), data, lr=0.0) for data in ([(x, y, n)], (x, y, n))]
    expected, _ = rc.softmax_cross_entropy(layer(x)[0], y, lengths=n)
    for history in histories:
        np.testing.assert_allclose(history.loss, expected, rtol=1e-12)


def test_weights_of_classes_over_batches(rng):
    X, Y = sequences(rng, 12)
    weighted = partial(rc.softmax_cross_entropy, class_weight=np.array([0.1, 1.0, 5.0, 10.0]))
    models = tagger(), tagger()
    histories = [
        quiet(model, (X, Y), loss=weighted, batch_size=size, accumulate=12 // size, clip_norm=None)
        for model, size in zip(models, (12, 4), strict=True)
    ]
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-10)
    same(*models, rtol=1e-6, atol=1e-9)


def test_a_callback_may_compare_numbers(rng):
    history = quiet(
        tagger(), sequences(rng), epochs=5, callbacks=lambda t: t.history.loss[-1] < 100
    )
    assert len(history) == 1


def test_tuples_of_sequences_are_lists_of_them(rng):
    X, Y = sequences(rng, 2)
    models = tagger(), tagger()
    quiet(models[0], (tuple(X), tuple(Y)))
    quiet(models[1], (X, Y))
    same(*models, rtol=0)


def test_integers_are_numbers_for_a_model_of_numbers(rng):
    X = [rng.integers(5, size=(T, 3)) for T in (3, 5)]
    Y = [rng.integers(4, size=len(x)) for x in X]
    models = tagger(), tagger()
    quiet(models[0], (X, Y))
    quiet(models[1], ([x.astype(F64) for x in X], Y))
    same(*models, rtol=0)


def test_the_first_epoch_is_begun_again(tmp_path):
    data, path = sequences(np.random.default_rng(5)), tmp_path / "training.npz"
    expected, model = tagger(drop=0.2), tagger(drop=0.2)
    quiet(expected, data, epochs=2, batch_size=4)
    calls = []

    def loss(y, target, **given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return rc.softmax_cross_entropy(y, target, **given)

    with pytest.raises(KeyboardInterrupt):
        quiet(model, data, epochs=2, batch_size=4, loss=loss, checkpoint=path)
    quiet(model, data, epochs=2, batch_size=4, loss=loss, checkpoint=path)
    same(model, expected, rtol=0)


def test_what_was_held_back_stays_so(tmp_path):
    data, path, rng = sequences(np.random.default_rng(5)), tmp_path / "t.npz", np.random.default_rng
    expected, model, generator = tagger(), tagger(), rng(3)
    whole = quiet(expected, data, epochs=4, validation=0.3, rng=rng(3))
    quiet(model, data, epochs=2, validation=0.3, rng=generator, checkpoint=path)
    parts = quiet(model, data, epochs=4, validation=0.3, rng=generator, checkpoint=path)
    np.testing.assert_array_equal(parts.val_loss, whole.val_loss)
    same(model, expected, rtol=0)


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    data, path = sequences(np.random.default_rng(5)), tmp_path / "training.npz"
    quiet(tagger(), data, checkpoint=path, rng=np.random.Generator(np.random.MT19937(0)))
    other = rc.Sequential(rc.GRU(3, 6, dtype=F64), rc.Linear(6, 4, dtype=F64))
    for model, options, message in (
        (other, {}, "model differs"),
        (tagger(), {"metrics": "accuracy"}, "metrics was "),
        (tagger(), {"schedule": rc.OnPlateau(0.1)}, "schedule was None"),
        (tagger(), {}, r"lr was 0\.001 and is 0\.01"),
    ):
        before = {name: value.copy() for name, value in model.params.items()}
        own = rc.Adam(model, 0.01)
        with pytest.raises(ValueError, match=rf"training\.npz is .*{message}"):
            quiet(model, data, epochs=2, optimizer=own, checkpoint=path, **options)
        assert (own.lr, own.steps) == (0.01, 0)
        for name, value in before.items():
            np.testing.assert_array_equal(model.params[name], value)


@pytest.mark.parametrize("err", [None, "closed"])
def test_nobody_looks_on(err, monkeypatch, tmp_path, rng):
    file = None
    if err:
        file = open(tmp_path / "err", "w")  # noqa: SIM115
        file.close()
    monkeypatch.setattr(sys, "stderr", file)
    assert len(rc.fit(tagger(), sequences(rng), loss="cross_entropy")) == 1


def test_a_reader_that_has_gone(monkeypatch, rng):
    class Broken:
        closed = False

        def isatty(self):
            return False

        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    assert len(rc.fit(tagger(), sequences(rng), loss="cross_entropy", epochs=2)) == 2


def stateless(*parts):
    return rc.Sequential(*parts, rc.GRU(3, 4, dtype=F64, rng=0))


REFUSED = {
    "windows of what is reversed": (
        lambda: stateless(rc.Reverse()), {"window": 3}, ValueError, "window is given, and layer 0",
    ),
    "windows of a convolution": (
        lambda: stateless(rc.Conv1d(3, 3, 3, padding="causal", dtype=F64)),
        {"window": 3}, ValueError, "window is given, and layer 0",
    ),
    "windows and accumulate": (tagger, {"window": 3, "accumulate": 2}, ValueError, "accumulate is"),
    "another's optimizer": (
        tagger, {"optimizer": rc.SGD(tagger(), 0.1)}, ValueError, "optimizer is of other",
    ),
    "two metrics of one name": (
        tagger, {"metrics": [lambda y, t: 1.0, lambda y, t: 2.0]}, ValueError, "metrics has",
    ),
    "a metric of the history's": (
        tagger, {"metrics": [type("stopped", (), {"__call__": len})()]}, ValueError, "metrics has",
    ),
    "no list of metrics": (tagger, {"metrics": 5}, TypeError, "metrics is of type int"),
    "no list of callbacks": (tagger, {"callbacks": 5}, TypeError, "callbacks is of type int"),
    "a suffix": (tagger, {"checkpoint": "x.ckpt"}, ValueError, "checkpoint is 'x.ckpt'"),
    "no folder": (tagger, {"checkpoint": "/no/x.npz"}, ValueError, "there is no folder '/no'"),
    "no path": (tagger, {"checkpoint": 5}, TypeError, "checkpoint is of type int"),
    "a class of schedules": (tagger, {"schedule": rc.OneCycle}, TypeError, "schedule is of type"),
    "no rate": (tagger, {"schedule": lambda step: None}, TypeError, "what schedule gives is None"),
    "a loss without lengths": (
        tagger, {"loss": lambda y, t: (0.0, y)}, TypeError, "loss takes no lengths=",
    ),
    "validation of other features": (
        tagger, {"validation": (np.ones((3, 2, 2)), np.zeros((3, 2), int))}, ValueError,
        "validation: ",
    ),
    "a metric that does not fit": (
        tagger, {"metrics": "mse"}, ValueError, "epoch 1, batch 1: mse reads outputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_changed(name, rng):
    make, options, error, message = REFUSED[name]
    model, (X, Y) = make(), sequences(rng)
    before = {key: value.copy() for key, value in model.params.items()}
    with pytest.raises(error, match=message):
        quiet(model, (X, Y), batch_size=6, **options)
    for key, value in before.items():
        np.testing.assert_array_equal(model.params[key], value)
