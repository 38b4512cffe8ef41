"""What a training has to be told again to go on from its checkpoint, and what may be told anew."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from test_fit import quiet, sequences, tagger

import rnncore as rc
from rnncore.fitting import told


def first_loss(y, target, **given):
    return rc.softmax_cross_entropy(y, target, **given)


def second_loss(y, target, **given):
    return rc.softmax_cross_entropy(y, target, **given)


def widest(y, target):
    return abs(y).max()


DATA = sequences(np.random.default_rng(5))
BASE = {"batch_size": 4, "lr": 0.05, "validation": 0.3, "patience": 9, "rng": 3}
smoothed = partial(rc.softmax_cross_entropy, label_smoothing=0.1)

# What is told at first beside BASE, what is told then, and what the refusal says.
DIFFERENT = {
    "lr": ({}, {"lr": 0.01}, "lr was 0.05 and is 0.01"),
    "batch_size": ({}, {"batch_size": 5}, "batch_size was 4 and is 5"),
    "accumulate": ({}, {"accumulate": 2}, "accumulate was 1 and is 2"),
    "clip_norm": ({}, {"clip_norm": None}, "clip_norm was 1.0 and is None"),
    "patience": ({}, {"patience": 3}, "patience was 9 and is 3"),
    "window": ({}, {"window": 3}, "window was None and is 3"),
    "ordered": ({}, {"ordered": True}, "ordered was 0 and is 8"),
    "validation": ({}, {"validation": 0.2}, "validation was 0.3 and is 0.2"),
    "loss": ({}, {"loss": first_loss}, "loss was 'cross_entropy' and is 'first_loss'"),
    "functions of losses": (
        {"loss": first_loss}, {"loss": second_loss}, "loss was 'first_loss' and is 'second_loss'",
    ),
    "what a loss is bound to": (
        {"loss": smoothed}, {"loss": partial(smoothed, label_smoothing=0.2)}, "loss was ",
    ),
    "metrics": ({"metrics": "accuracy"}, {"metrics": widest}, "metrics was ['accuracy'] and is"),
    "optimizer": ({}, {"optimizer": "rmsprop"}, "optimizer was 'Adam' and is 'RMSprop'"),
    "weight_decay": ({}, {"weight_decay": 0.1}, "weight_decay was 0.0 and is 0.1"),
    "schedule": (
        {"schedule": rc.StepDecay(0.1, 5)}, {"schedule": rc.StepDecay(0.1, 6)}, "schedule was ",
    ),
    "no schedule": ({"schedule": rc.StepDecay(0.1, 5)}, {}, "schedule was "),
    "a plateau": (
        {"schedule": rc.OnPlateau(0.1, patience=1)}, {"schedule": rc.OnPlateau(0.1, patience=2)},
        "schedule was ",
    ),
    "rng": ({}, {"rng": 4}, "rng was 3 and is 4"),
}  # fmt: skip


def model_of(lr=0.05, dropout=0.0):
    model = tagger(drop=dropout)
    return model, rc.Adam(model, lr)


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_refused_by_name(name, tmp_path):
    at_first, then, message = DIFFERENT[name]
    path = tmp_path / "training.npz"
    quiet(tagger(), DATA, **{**BASE, **at_first}, checkpoint=path)
    content, model = path.read_bytes(), tagger()
    before = {key: value.copy() for key, value in model.params.items()}
    with pytest.raises(ValueError, match=r"is no checkpoint of this training: ") as refusal:
        quiet(
            model, DATA, **{**BASE, **at_first, "schedule": None, **then}, epochs=2, checkpoint=path
        )
    assert message in str(refusal.value)
    assert path.read_bytes() == content
    for key, value in before.items():
        np.testing.assert_array_equal(model.params[key], value)


def changed(rows, where):
    """The sequences with one number that is another."""
    found = [row.copy() for row in rows]
    found[where].flat[0] += 1
    return found


X, Y = DATA
OTHER_DATA = {
    "a number": ((changed(X, 0), Y), {}),
    "a target": ((X, [*Y[:-1], (Y[-1] + 1) % 4]), {}),
    "fewer rows": ((X[:-1], Y[:-1]), {}),
    "a longer row": ((X, Y), {"validation": (changed(X, -1), Y)}),
}


@pytest.mark.parametrize("name", OTHER_DATA)
def test_other_data_is_refused(name, tmp_path):
    data, more = OTHER_DATA[name]
    path = tmp_path / "training.npz"
    quiet(tagger(), DATA, validation=DATA if more else None, checkpoint=path)
    of = "validation" if more else "data"
    with pytest.raises(ValueError, match=f"training: {of} differs from what it was"):
        quiet(
            tagger(),
            data,
            epochs=2,
            checkpoint=path,
            **({"validation": DATA} | more if more else {}),
        )


def test_batches_in_a_list_are_compared_and_others_are_not(tmp_path):
    batches = [
        (np.ones((3, 2, 3)), np.ones((3, 2), int)),
        (np.zeros((3, 2, 3)), np.ones((3, 2), int)),
    ]

    class Anew:
        def __iter__(self):
            return iter(batches)

    for data, refused in ((batches, True), (Anew(), False)):
        path = tmp_path / f"{refused}.npz"
        quiet(tagger(), data, checkpoint=path)
        if refused:
            other = [batches[0], (batches[1][0] + 1, batches[1][1])]
            with pytest.raises(ValueError, match="data differs from what it was"):
                quiet(tagger(), other, epochs=2, checkpoint=path)
        assert len(quiet(tagger(), data, epochs=2, checkpoint=path)) == 2


def test_options_of_layers_are_compared(tmp_path):
    path = tmp_path / "training.npz"
    quiet(tagger(), DATA, checkpoint=path)
    with pytest.raises(ValueError, match="training: model differs from what it was"):
        quiet(tagger(drop=0.1), DATA, epochs=2, checkpoint=path)


def test_what_may_be_told_anew(tmp_path):
    path, seen = tmp_path / "training.npz", []
    model, adam = model_of()

    def slower(training):
        training.optimizer.lr /= 2

    quiet(model, DATA, **BASE, optimizer=adam, checkpoint=path, callbacks=slower)
    for again in (model_of(), (model, adam), model_of(0.025)):  # as at first, or as it is now
        own, optimizer = again
        file = tmp_path / "copy.npz"
        file.write_bytes(path.read_bytes())
        options = {**BASE, "optimizer": optimizer, "rng": np.random.default_rng(8)}
        history = quiet(own, DATA, **options, epochs=3, checkpoint=file, callbacks=seen.append)
        assert history.lr.tolist() == [0.05, 0.025, 0.025]
    assert len(seen) == 6
    with pytest.raises(ValueError, match=r"lr was 0\.05 and is 0\.3"):
        quiet(model, DATA, **BASE, optimizer=rc.Adam(model, 0.3), epochs=3, checkpoint=path)


def test_a_rate_that_a_schedule_gives_is_not_compared(tmp_path):
    path, options = tmp_path / "training.npz", {"schedule": rc.StepDecay(0.1, 5)}
    quiet(tagger(), DATA, lr=0.5, checkpoint=path, **options)
    assert len(quiet(tagger(), DATA, lr=0.6, epochs=2, checkpoint=path, **options)) == 2


def test_nothing_is_read_of_the_data_where_nobody_asks(monkeypatch):
    monkeypatch.setattr(told, "mark_of", None)
    assert len(quiet(tagger(), DATA)) == 1


INTERRUPTED = """
import sys
from pathlib import Path

import numpy as np
sys.path.insert(0, sys.argv[1])
from test_fit import quiet, sequences, tagger

def note(training):
    print(training.epoch, flush=True)

options = {"epochs": int(sys.argv[3]), "batch_size": 4, "lr": 0.05, "callbacks": note}
model = tagger(np.float32, drop=0.3)
quiet(model, sequences(np.random.default_rng(5), 60), **options, checkpoint=Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_real_interrupt(tmp_path):
    """Ctrl-C somewhere in an epoch: the file has a whole one, and the bits are those of no stop."""
    path, here = tmp_path / "training.npz", str(Path(__file__).parent)
    package = str(Path(rc.__file__).parents[1])
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, here, str(path), "100000"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": package},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in running.stdout:
        if int(line) == 3:
            running.send_signal(signal.SIGINT)
            break
    _, err = running.communicate(timeout=60)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert running.returncode in (1, -signal.SIGINT)
    data = sequences(np.random.default_rng(5), 60)
    done = int(np.load(path)["history/loss"].size)
    assert done >= 2  # the file follows the line
    options = {"epochs": done + 3, "batch_size": 4, "lr": 0.05}
    expected, resumed = tagger(np.float32, drop=0.3), tagger(np.float32, drop=0.3)
    whole = quiet(expected, data, **options)
    np.testing.assert_array_equal(np.load(path)["history/loss"], whole.loss[:done])
    history = quiet(resumed, data, **options, checkpoint=path)
    np.testing.assert_array_equal(history.loss, whole.loss)
    for name, value in expected.params.items():
        np.testing.assert_array_equal(resumed.params[name], value)
