"""Training loops: what they compute is what a loop by hand computes."""

import copy
from functools import partial

import numpy as np
import pytest

import rnncore as rc


def tagger(dtype=np.float64, *, batch_first=False, drop=0.0):
    return rc.Sequential(
        rc.GRU(3, 5, dtype=dtype, batch_first=batch_first, rng=0),
        rc.Dropout(drop, rng=1),
        rc.Linear(5, 4, dtype=dtype, rng=2),
    )


def classifier(dtype=np.float64):
    return rc.Sequential(
        rc.LSTM(3, 5, dtype=dtype, rng=0), rc.Pool("last"), rc.Linear(5, 2, dtype=dtype, rng=1)
    )


def sequences(rng, count=20, steps=(2, 9), classes=4):
    X = [rng.standard_normal((T, 3)) for T in rng.integers(*steps, count)]
    return X, [rng.integers(classes, size=len(x)) for x in X]


def quiet(model, data, **options):
    return rc.fit(model, data, progress=False, **{"loss": "cross_entropy", **options})


def padded(X, Y, rows):
    T = max(len(X[k]) for k in rows)
    x, y = np.zeros((T, len(rows), 3)), np.zeros((T, len(rows)), int)
    for b, k in enumerate(rows):
        x[: len(X[k]), b], y[: len(X[k]), b] = X[k], Y[k]
    return x, y, np.array([len(X[k]) for k in rows])


def same(model, other, **close):
    for name, value in model.params.items():
        np.testing.assert_allclose(value, other.params[name], **close, err_msg=name)


def test_one_batch_is_one_step_by_hand(rng):
    X, Y = sequences(rng)
    model, other = tagger(), tagger()
    history = quiet(model, (X, Y), batch_size=20, lr=0.01, clip_norm=0.01)
    x, y, lengths = padded(X, Y, range(20))
    scores, _, trace = other.forward(x, lengths=lengths)
    loss, dy = rc.softmax_cross_entropy(scores, y, lengths=lengths)
    grads = other.backward(trace, dy)
    assert rc.clip_grad_norm(grads, 0.01) > 0.01
    rc.Adam(other, 0.01).step(grads)
    np.testing.assert_allclose(history.loss, [loss], rtol=1e-12)
    same(model, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_arrays_with_lengths_are_lists_of_sequences(batch_first, rng):
    X, Y = sequences(rng)
    x, y, lengths = padded(X, Y, range(20))
    if batch_first:
        x, y = x.swapaxes(0, 1), y.T
    x[(slice(None), lengths.argmin()) if not batch_first else lengths.argmin()][-1] = np.nan
    models = tagger(batch_first=batch_first), tagger(batch_first=batch_first)
    first = quiet(models[0], (X, Y), epochs=3, batch_size=6)
    second = quiet(models[1], (x, y, lengths), epochs=3, batch_size=6)
    np.testing.assert_array_equal(first.loss, second.loss)
    same(*models, rtol=0)


@pytest.mark.parametrize("accumulate", [2, 5])
def test_accumulated_batches_are_one_batch(accumulate, rng):
    X, Y = sequences(rng)
    batches = [padded(X, Y, range(k, k + 20 // accumulate)) for k in range(0, 20, 20 // accumulate)]
    whole = [padded(X, Y, range(20))]
    models = tagger(), tagger()
    first = quiet(models[0], batches, accumulate=accumulate, epochs=2, clip_norm=0.5)
    second = quiet(models[1], whole, epochs=2, clip_norm=0.5)
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-9)
    same(*models, rtol=1e-6, atol=1e-9)


def test_a_last_step_of_fewer_batches(rng):
    X, Y = sequences(rng)
    batches = [padded(X, Y, range(k, k + 4)) for k in range(0, 20, 4)]
    model, other = tagger(), tagger()
    quiet(model, batches, accumulate=3, clip_norm=None, optimizer="sgd", lr=0.1)
    sgd = rc.SGD(other, 0.1)
    for rows in (range(12), range(12, 20)):
        x, y, lengths = padded(X, Y, rows)
        scores, _, trace = other.forward(x, lengths=lengths)
        sgd.step(other.backward(trace, rc.softmax_cross_entropy(scores, y, lengths=lengths)[1]))
    same(model, other, rtol=1e-9, atol=1e-12)


def test_windows_carry_the_state(rng):
    X, Y = sequences(rng, 6, (5, 12))
    x, y, lengths = padded(X, Y, range(6))
    model, other = tagger(), tagger()
    quiet(model, [(x, y, lengths)], window=4, lr=0.01)
    adam, state = rc.Adam(other, 0.01), None
    for start in range(0, len(x), 4):
        own = np.clip(lengths - start, 0, min(4, len(x) - start))
        scores, state, trace = other.forward(x[start : start + 4], state, lengths=own)
        _, dy = rc.softmax_cross_entropy(scores, y[start : start + 4], lengths=own)
        grads = other.backward(trace, dy)
        rc.clip_grad_norm(grads, 1.0)
        adam.step(grads)
    same(model, other, rtol=1e-9, atol=1e-12)


def test_losses_and_metrics_do_not_see_padding(rng):
    X, Y = sequences(rng)
    model = tagger()
    history = quiet(
        model, (X, Y), validation=(X, Y), lr=0.0, batch_size=3, metrics=["accuracy", widest]
    )
    losses, right, steps = 0.0, 0, sum(map(len, X))
    for x, y in zip(X, Y, strict=True):
        scores = model(x)[0]
        losses += len(x) * rc.softmax_cross_entropy(scores, y)[0]
        right += np.count_nonzero(scores.argmax(-1) == y)
    np.testing.assert_allclose(history.loss, losses / steps, rtol=1e-12)
    np.testing.assert_allclose(history.val_loss, losses / steps, rtol=1e-12)
    np.testing.assert_allclose(history.val_accuracy, right / steps)
    assert set(history) == {
        "loss", "accuracy", "widest", "lr", "seconds", "val_loss", "val_accuracy", "val_widest",
    }  # fmt: skip


def widest(y, target):
    assert y.shape == (*target.shape, 4)
    return abs(y).max()


def test_ignored_targets_do_not_count(rng):
    X, Y = sequences(rng, 8)
    Y[0][:] = -1
    Y[1][0] = -1
    ignoring = partial(rc.softmax_cross_entropy, ignore_index=-1)
    history = quiet(tagger(), (X, Y), loss=ignoring, lr=0.0, batch_size=1, metrics="accuracy")
    x, y, lengths = padded(X, Y, range(8))
    expected, _ = ignoring(tagger()(x, lengths=lengths)[0], y, lengths=lengths)
    np.testing.assert_allclose(history.loss, expected, rtol=1e-12)


LOSSES = ("bce", "mse", "mae", "huber")


@pytest.mark.parametrize("loss", LOSSES)
def test_numbers_one_for_each_row(loss, rng):
    model = rc.Sequential(
        rc.GRU(3, 4, dtype=np.float64, rng=0), rc.Pool("mean"), rc.Linear(4, 1, dtype=np.float64)
    )
    X = [rng.standard_normal((T, 3)) for T in rng.integers(2, 7, 10)]
    Y = rng.integers(2, size=10)
    function = {"bce": rc.bce_with_logits, "mse": rc.mse, "mae": rc.mae, "huber": rc.huber}[loss]
    history = quiet(model, (X, Y), loss=loss, lr=0.0, batch_size=4, metrics="accuracy")
    y = rc.predict(model, X)
    np.testing.assert_allclose(history.loss, function(y[:, 0], Y.astype(float))[0], rtol=1e-12)
    np.testing.assert_allclose(history.accuracy, np.mean((y[:, 0] > 0) == Y))


def test_validation_of_a_share_holds_rows_back(rng):
    X, Y = sequences(rng)
    seen = []
    one = rc.Sequential(Watching(seen), *tagger())
    quiet(one, (X, Y), validation=0.25, batch_size=4, epochs=2, lr=0.0)
    trained = [rows for training, rows in seen if training]
    held = [rows for training, rows in seen if not training]
    assert sum(trained) == 2 * 15
    assert sum(held[1:]) == 2 * 5  # the first batch is tried before


class Watching(rc.Dropout):
    """Notes how many rows it saw, and whether in training."""

    def __init__(self, seen):
        super().__init__(0.0)
        self.__dict__["seen"] = seen

    def __call__(self, x, **given):
        self.seen.append((False, x.shape[1]))
        return super().__call__(x, **given)

    def forward(self, x, **given):
        self.seen.append((True, x.shape[1]))
        return super().forward(x, **given)


def test_early_stopping_gives_the_best_parameters_back(rng):
    X, Y = sequences(rng)
    model, kept = tagger(), []

    def note(training):
        kept.append(copy.deepcopy(training.model.params))

    history = quiet(
        model, (X, Y), validation=sequences(rng, 8), lr=0.3, epochs=40, patience=3, callbacks=note
    )
    assert history.stopped
    best = history.best_epoch
    assert len(history) == best + 4 == len(kept) < 40
    assert history.val_loss.argmin() == best
    for name, value in model.params.items():
        np.testing.assert_array_equal(value, kept[best][name])
    assert any((value != kept[-1][name]).any() for name, value in model.params.items())


def test_a_callback_ends_the_training(rng):
    epochs = []

    def stop(training):
        epochs.append(training.epoch)
        return training.epoch == 2

    history = quiet(tagger(), sequences(rng), epochs=9, callbacks=[stop])
    assert epochs == [1, 2]
    assert history.stopped
    assert len(history) == 2


def test_schedules_set_the_rate(rng):
    data = sequences(rng)
    history = quiet(tagger(), data, epochs=3, batch_size=10, schedule=rc.StepDecay(1.0, 2, 0.5))
    assert history.lr.tolist() == [1.0, 0.5, 0.25]
    model, before = tagger(), tagger()
    history = quiet(model, data, epochs=3, lr=0.5, optimizer="sgd", schedule=lambda step: 0.0)
    assert history.lr.tolist() == [0.0] * 3
    same(model, before, rtol=0)
    np.testing.assert_allclose(history.loss, history.loss[0], rtol=1e-12)  # sums in another order


@pytest.mark.parametrize("held", [False, True])
def test_a_plateau_sees_a_loss_after_each_epoch(held, rng):
    data, other = sequences(rng), sequences(rng, 5)
    plateau, seen = rc.OnPlateau(0.5, factor=0.5, patience=0), []
    history = quiet(
        tagger(), data, epochs=9, batch_size=5, lr=7.0, schedule=plateau,
        validation=other if held else None, callbacks=lambda t: seen.append(t.optimizer.lr),
    )  # fmt: skip
    watched = rc.OnPlateau(0.5, factor=0.5, patience=0)
    rates = [watched(loss) for loss in (history.val_loss if held else history.loss)]
    assert seen == rates
    assert history.lr.tolist() == [0.5, *rates[:-1]]
    assert rates[-1] < 0.5


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_optimizers_by_name_or_given(name, rng):
    data = sequences(rng)
    kind = {"adam": rc.Adam, "adamw": rc.AdamW, "rmsprop": rc.RMSprop, "sgd": rc.SGD}[name]
    models = tagger(), tagger()
    quiet(models[0], data, optimizer=name, lr=0.01)
    quiet(models[1], data, optimizer=kind(models[1], lr=0.01))
    same(*models, rtol=0)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_weights_decay_as_they_are_told_or_as_the_optimizer_has_it(name, rng):
    data = sequences(rng)
    kind = {"adam": rc.Adam, "adamw": rc.AdamW, "rmsprop": rc.RMSprop}[name]
    found = {}
    for decay in (None, 0.0, 0.3):
        models = tagger(), tagger()
        own = {} if decay is None else {"weight_decay": decay}
        quiet(models[0], data, optimizer=name, lr=0.01, weight_decay=decay)
        quiet(models[1], data, optimizer=kind(models[1], lr=0.01, **own))
        same(*models, rtol=0)
        found[decay] = models[0].params["2.weight"]
    assert (found[None] != found[0.0]).any() == (name == "adamw")
    assert (found[None] != found[0.3]).any()


class Own:
    """A model of one's own, that has no more than is asked for."""

    def __init__(self):
        self.rnn = rc.GRU(3, 4, dtype=np.float64, rng=0)

    @property
    def params(self):
        return self.rnn.params

    def forward(self, x, lengths=None):
        y, _, trace = self.rnn.forward(x, lengths=lengths)
        return y, trace

    def backward(self, trace, dy):
        return self.rnn.backward(trace, dy).params


def test_a_model_of_ones_own_and_a_layer_alone(rng):
    X, Y = sequences(rng)
    own, layer = Own(), rc.GRU(3, 4, dtype=np.float64, rng=0)
    first = quiet(own, (X, Y), epochs=2, lr=0.01, validation=(X, Y), metrics="accuracy")
    second = quiet(layer, (X, Y), epochs=2, lr=0.01, validation=(X, Y), metrics="accuracy")
    same(own, layer, rtol=0)
    for name in set(first) - {"seconds"}:
        np.testing.assert_array_equal(first[name], second[name])


def test_gradients_that_are_no_numbers_are_told(rng):
    X, Y = sequences(rng)
    X[3][1] = np.nan
    told = r"^epoch 1, batch \d+, and x has NaN or infinity: "
    with pytest.raises(FloatingPointError, match=told):
        quiet(tagger(), (X, Y), batch_size=4)


def test_what_is_shown(capsys, rng):
    rc.fit(tagger(), sequences(rng), loss="cross_entropy", epochs=2, metrics="accuracy")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for word in ("loss ", "accuracy ", "lr ", "rows/s", "s left"):
        assert all(word in line for line in lines)


def test_the_picture_of_a_history(tmp_path, rng):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    data = sequences(rng)
    history = quiet(tagger(), data, epochs=3, validation=data, metrics="accuracy")
    figure = history.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 1000
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
