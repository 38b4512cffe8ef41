"""What fit says of data in the wrong form, and of a training that goes on or is over."""

import os
import sys

import numpy as np
import pytest

import rnncore as rc


def model(*more, **options):
    return rc.Sequential(rc.GRU(3, 4, rng=0, **options), *more, rc.Linear(4, 3, rng=0))


SERIES = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
ROWS = [SERIES[k : k + 9] for k in range(12)]


def fit(model, data, **options):
    options = {"loss": "mse", "progress": False, **options}
    return rc.fit(model, data, **options)


@pytest.mark.parametrize("first", [False, True])
def test_a_single_sequence_is_no_batch(first):
    """Its features would be taken for rows, and shuffled."""
    made = model(batch_first=first)
    form = r"\(B, T, F\)" if first else r"\(T, B, F\)"
    message = rf"^X has shape \(49, 3\), expected {form}; a single sequence x is \[x\]"
    with pytest.raises(ValueError, match=message):
        fit(made, (SERIES[:-1], SERIES[1:]))
    with pytest.raises(ValueError, match=message):
        rc.predict(made, SERIES[:-1])
    assert len(fit(made, ([SERIES[:-1]], [SERIES[1:]]))) == 1
    words = rc.Sequential(rc.Embedding(9, 3, rng=0), made)
    with pytest.raises(ValueError, match=rf"^X has shape \(5,\), expected {form[:-5]}"):
        rc.predict(words, np.arange(5))


@pytest.mark.parametrize(
    ("made", "data", "options", "message"),
    [
        (model(), (ROWS, np.arange(12)), {}, "Y has one target a sequence and the model an output"),
        (
            model(rc.Pool("last")),
            (np.stack(ROWS), np.zeros((12, 3), np.float32)),
            {},
            r"Y has 12 targets, expected 9: one for each row of X, which is read as \(T, B, ...\): "
            "layers of batch_first=True read",
        ),
        (model(), (ROWS, ROWS), {"validation": 1}, "validation is 1, expected a share above 0"),
    ],
)
def test_data_in_another_form(made, data, options, message):
    before = {name: value.copy() for name, value in made.params.items()}
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        fit(made, data, **options)
    for name, value in made.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_numbers_that_are_none_are_told_of():
    rows = [row.copy() for row in ROWS]
    rows[3][2, 1] = np.nan
    with pytest.raises(FloatingPointError, match=r"^epoch 1, batch 1, and x has NaN or infinity: "):
        fit(model(), (rows, ROWS))
    with pytest.raises(FloatingPointError, match=r"^epoch 1, batch 1, and target has NaN or inf"):
        fit(model(), (ROWS, rows))


def test_a_training_says_that_it_goes_on_or_is_over(tmp_path, capsys):
    path = tmp_path / "training.npz"

    def said(epochs, **options):
        fit(model(), (ROWS, ROWS), epochs=epochs, checkpoint=path, progress=True, **options)
        return capsys.readouterr().err.splitlines()

    assert [line.split("  ")[0] for line in said(2)] == ["epoch 1/2", "epoch 2/2"]
    first, *others = said(3)
    assert first == "the training of the checkpoint goes on, after epoch 2"
    assert [line.split("  ")[0] for line in others] == ["epoch 3/3"]
    (line,) = said(3)
    assert line == "the training of the checkpoint is over, after epoch 3"
    said(4, callbacks=lambda training: True)
    (line,) = said(9)
    assert line == "the training of the checkpoint ended early, after epoch 4"


def test_the_epoch_that_is_back_is_told(capsys):
    held = (ROWS, [row * 50 for row in ROWS])  # whose loss grows as that of others falls
    data = (ROWS, [-row * 50 for row in ROWS])
    options = {"validation": held, "patience": 2, "epochs": 9, "lr": 0.01, "progress": True}
    history = fit(model(), data, **options)
    *_, line = capsys.readouterr().err.splitlines()
    assert (len(history), history.best_epoch) == (3, 0)
    assert line == "the model is that of epoch 1, with the least val_loss"
    assert repr(history).startswith("History(3 epochs, least val_loss after 1: loss ")
    fit(model(), data, **options | {"validation": data, "epochs": 2})
    assert "the model is" not in capsys.readouterr().err


def test_what_somebody_has_put_in_place_of_stderr_is_written_to(monkeypatch):
    lines = []

    class Tee:
        def write(self, text):
            lines.append(text)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stderr", Tee())
    assert len(fit(model(), (ROWS, ROWS), progress=True)) == 1
    assert "".join(lines).startswith("epoch 1/1")


def test_a_checkpoint_stays_where_it_was_told(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    elsewhere = {"callbacks": lambda training: os.chdir(tmp_path / "other")}
    fit(model(), (ROWS, ROWS), epochs=2, checkpoint="t.npz", **elsewhere)
    assert [path.name for path in tmp_path.glob("**/*.npz")] == ["t.npz"]
    monkeypatch.chdir(tmp_path)
    history = fit(model(), (ROWS, ROWS), epochs=3, checkpoint="t.npz")
    assert len(history) == 3


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_columns_keep_their_order(suffix, tmp_path):
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    options = {"checkpoint": tmp_path / f"t.{suffix}", "metrics": "mae", "validation": 0.5}
    first = fit(model(), (ROWS, ROWS), **options)
    assert [*fit(model(), (ROWS, ROWS), epochs=2, **options)] == [*first]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("listed", [False, True])
def test_numbers_beyond_the_dtype_are_told_of_once(listed):
    rows = [row[:4] * 1e300 for row in map(np.float64, ROWS)]
    made = model(batch_first=True)
    with pytest.raises(FloatingPointError, match=r"^epoch 1, batch 1, and x has NaN or infinity"):
        fit(made, (rows, rows) if listed else (np.stack(rows), np.stack(rows)))
