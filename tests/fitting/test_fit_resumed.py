"""A training that goes on from its checkpoint ends with the bits of one that was never stopped."""

import numpy as np
import pytest
from test_fit import quiet, sequences, tagger

import rnncore as rc


def options(**more):
    return {"epochs": 6, "batch_size": 4, "lr": 0.05, "metrics": "accuracy", **more}


def make(name):
    drop = 0.3
    model = tagger(np.float32, drop=drop)
    if name == "batch norm":
        model = rc.Sequential(*model, rc.BatchNorm(4))
    return model


CASES = {
    "adam": {},
    "batch norm": {"optimizer": "rmsprop"},
    "patience": {"validation": 0.3, "patience": 2, "lr": 0.5},
    "plateau": {"schedule": lambda: rc.OnPlateau(0.05, factor=0.5, patience=0)},
    "one cycle": {"schedule": lambda: rc.OneCycle(0.05, 60), "optimizer": "adamw"},
    "accumulated": {"accumulate": 2, "weight_decay": 0.1},
    "windows": {"window": 3},
}


def given(name):
    own = dict(CASES[name])
    if "schedule" in own:
        own["schedule"] = own["schedule"]()
    return own


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("name", CASES)
def test_resumed_is_uninterrupted(name, suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    data = sequences(np.random.default_rng(5))
    whole = make(name)
    expected = quiet(whole, data, **options(**given(name)))

    path, model = tmp_path / f"training{suffix}", make(name)
    quiet(model, data, **options(**given(name), checkpoint=path) | {"epochs": 2})

    def interrupt(training):
        if training.epoch == 4:
            raise KeyboardInterrupt

    again = make(name)
    with pytest.raises(KeyboardInterrupt):
        quiet(again, data, **options(**given(name), checkpoint=path), callbacks=interrupt)
    again = make(name)
    history = quiet(again, data, **options(**given(name), checkpoint=path))
    for key, value in whole.params.items():
        np.testing.assert_array_equal(again.params[key], value, err_msg=key)
    for key, value in whole.buffers.items():
        np.testing.assert_array_equal(again.buffers[key], value, err_msg=key)
    assert set(history) == set(expected)
    for key in set(history) - {"seconds"}:
        np.testing.assert_array_equal(history[key], expected[key], err_msg=key)
    assert history.stopped == expected.stopped

    # Nothing is left to do.
    done = make(name)
    quiet(done, data, **options(**given(name), checkpoint=path))
    for key, value in whole.params.items():
        np.testing.assert_array_equal(done.params[key], value, err_msg=key)


def test_a_longer_training_goes_on(tmp_path):
    data, path = sequences(np.random.default_rng(5)), tmp_path / "training.npz"
    whole, parts = make("adam"), make("adam")
    quiet(whole, data, **options())
    quiet(parts, data, **options(checkpoint=path) | {"epochs": 3})
    quiet(parts, data, **options(checkpoint=path))
    for key, value in whole.params.items():
        np.testing.assert_array_equal(parts.params[key], value)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    data, path = sequences(np.random.default_rng(5)), tmp_path / "training.npz"
    quiet(make("adam"), data, **options(checkpoint=path))
    for model, more, message in (
        (rc.Sequential(rc.GRU(3, 6), rc.Linear(6, 4)), {}, "is of another model|no checkpoint"),
        (
            make("adam"),
            {"optimizer": "sgd"},
            "no checkpoint of this training: optimizer was 'Adam' and",
        ),
        (make("batch norm"), {}, "is of another model|no checkpoint"),
    ):
        before = {name: value.copy() for name, value in model.params.items()}
        with pytest.raises(ValueError, match=message):
            quiet(model, data, **options(checkpoint=path, **more))
        for name, value in before.items():
            np.testing.assert_array_equal(model.params[name], value)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"training\.npz"):
        quiet(make("adam"), data, **options(checkpoint=path))
