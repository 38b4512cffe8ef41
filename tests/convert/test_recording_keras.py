"""Files of Keras run by Keras, to compare what was made of them; hostile ones are not handed on."""

import json
import zipfile

import numpy as np
import pytest
from in_keras import from_keras, randomised

from rnncore.convert.recording import recorded_of

keras = pytest.importorskip("keras", reason="Keras is not installed")
L = keras.layers
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning"),
]


@pytest.fixture
def saved(rng, tmp_path):
    """Writes a model of these layers; gives the path."""

    def save(*layers, suffix=".keras"):
        model = randomised(keras.Sequential(layers), rng)
        model.save(tmp_path / f"m{suffix}")
        return tmp_path / f"m{suffix}"

    return save


def changed(path, change):
    """Write a .keras anew, with another config."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_with_a_mask(suffix, saved):
    path = saved(
        L.Input((None,)),
        L.Embedding(9, 4, mask_zero=True),
        L.Bidirectional(L.LSTM(5, return_sequences=True)),
        L.Dense(2),
        suffix=suffix,
    )
    model = from_keras(path)
    found = recorded_of(path, model)
    assert found.source == f"m{suffix}, run by Keras {keras.__version__} on torch"
    wide, short, ragged = found.cases
    assert wide.x.shape == (3, 17)
    assert short.x.shape == (1, 1)
    assert not ragged.x[0, ragged.lengths[0] :].any()
    assert ragged.x[0, : ragged.lengths[0]].all()
    assert not ragged.y[0, ragged.lengths[0] :].any()
    assert found.check(model) < 1e-5
    model.params[f"{model.names[-1]}.bias"][...] += 0.1
    with pytest.raises(ValueError, match="off by"):
        found.check(model)


def test_steps_that_are_masked_by_a_number(saved):
    path = saved(L.Input((None, 3)), L.Masking(0.25), L.GRU(4), L.Dense(1, activation="sigmoid"))
    model = from_keras(path)
    found = recorded_of(path, model)
    assert (found.cases[2].x[0, found.cases[2].lengths[0] :] == 0.25).all()
    assert found.check(model) < 1e-5


def test_states_that_keras_keeps_are_dropped_between_inputs(saved):
    path = saved(L.Input(batch_shape=(2, None, 3)), L.GRU(4, stateful=True, return_sequences=True))
    model = from_keras(path)
    found = recorded_of(path, model)
    assert [case.x.shape for case in found.cases] == [(2, 17, 3), (2, 1, 3)]
    assert found.check(model) < 1e-5


def test_half_precision_is_not_compared(saved):
    path = saved(L.Input((None, 3)), L.GRU(4, dtype="mixed_float16"))
    found = recorded_of(path, from_keras(path))
    assert found.cases == ()
    assert "half precision" in found.source


HOSTILE = [
    {"module": "os", "class_name": "system", "config": "true"},
    {"module": "builtins", "class_name": "function", "config": "eval"},
    {"module": "keras.layers", "class_name": "Lambda", "config": {}},
    {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
    {"module": "keras.utils", "class_name": "get_file", "config": {}},
    {"module": "keras.initializers", "class_name": "os", "config": {}},
]


@pytest.mark.parametrize("what", HOSTILE, ids=lambda what: what["class_name"])
def test_a_file_that_names_what_keras_would_look_for_is_not_handed_to_it(what, saved, monkeypatch):
    path = saved(L.Input((None, 3)), L.GRU(4), L.Dense(1))

    def change(config):
        config["config"]["layers"][1]["config"]["kernel_initializer"] = [{"deep": what}]

    changed(path, change)
    monkeypatch.setattr(keras.models, "load_model", lambda *args, **options: 1 / 0)
    found = recorded_of(path, from_keras(path))
    assert found.cases == ()
    assert f"it names {what['module']}.{what['class_name']}, for which" in found.source


def test_a_file_that_keras_cannot_load(saved):
    path = saved(L.Input((None, 3)), L.GRU(4), L.Dense(1))

    def change(config):
        config["config"]["layers"][1]["config"]["time_major"] = False

    changed(path, change)
    found = recorded_of(path, from_keras(path))
    assert found.cases == ()
    assert f"nothing was recorded: Keras {keras.__version__} cannot load it: " in found.source
    assert len(found.source) < 500


def test_weights_with_their_config(saved, tmp_path, rng):
    model = randomised(keras.Sequential([L.Input((None, 3)), L.GRU(4)]), rng)
    path, config = tmp_path / "m.weights.h5", model.to_json()
    model.save_weights(path)
    made = from_keras(path, config=config)
    found = recorded_of(path, made, config)
    x = np.ones((2, 5, 3), np.float32)
    assert np.allclose(made(x)[0], keras.ops.convert_to_numpy(model(x)), atol=1e-5)
    assert found.check(made) < 1e-5
    assert len(found.cases) == 2
