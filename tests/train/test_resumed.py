"""Training that goes on from files is training that was never stopped, bit for bit."""

import io
import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from steps import STEPS, made

import rnncore as rc
from rnncore.train.generators import rng_state, set_rng_state
from rnncore.train.losses import mse
from rnncore.train.optim import SGD, Adam, AdamW, RMSprop
from rnncore.train.plateau import OnPlateau
from rnncore.train.schedules import CosineDecay, WarmUp

T, B, I, H = 7, 3, 5, 17
DROPS = {"dropout": 0.3, "recurrent_dropout": 0.2, "zoneout": 0.1}
LENGTHS = [7, 2, 5]


def batch(step):
    rng = np.random.default_rng(100 + step)
    return [rng.standard_normal((T, B, n)).astype(np.float32) for n in (I, H)]


def train(layer, optimizer, plateau, steps):
    losses, schedule = [], WarmUp(CosineDecay(0.05, 20), 3)
    for _ in range(steps):
        x, target = batch(optimizer.steps)
        optimizer.lr = schedule(optimizer.steps) * plateau.rate
        y, _, trace = layer.forward(x, lengths=LENGTHS)
        loss, dy = mse(y, target, lengths=LENGTHS)
        grads = layer.backward(trace, dy)
        rc.clip_grad_norm(grads, 0.5)
        optimizer.step(grads)
        plateau(loss)
        losses.append(loss)
    return losses


def new(name, seed):
    layer = rc.LSTM(I, H, 2, **DROPS, rng=seed)
    return layer, made(name, layer), OnPlateau(1.0, 0.5, patience=1)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("name", STEPS)
def test_an_lstm_with_dropout_goes_on_from_files(name, suffix, tmp_path):
    if suffix == "safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    straight = new(name, 1)
    losses = train(*straight, 9)

    layer, optimizer, plateau = new(name, 1)
    first = train(layer, optimizer, plateau, 4)
    layer.save(tmp_path / f"layer.{suffix}")
    optimizer.save(tmp_path / f"optimizer.{suffix}")
    told = json.dumps({"rng": rng_state(layer), "plateau": plateau.state_dict()}, allow_nan=False)
    (tmp_path / "rest.json").write_text(told)

    layer = rc.load(tmp_path / f"layer.{suffix}")
    kind, _ = STEPS[name]
    kinds = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW, "RMSprop": RMSprop}
    optimizer, plateau = kinds[kind](layer, 0.7), OnPlateau(3.0)  # with other options
    optimizer.load_state_dict(rc.load(tmp_path / f"optimizer.{suffix}"))
    rest = json.loads((tmp_path / "rest.json").read_text())
    plateau.load_state_dict(rest["plateau"])
    set_rng_state(layer, rest["rng"])
    assert optimizer.options.keys() == straight[1].options.keys()
    assert first + train(layer, optimizer, plateau, 5) == losses
    for key, array in straight[0].params.items():
        np.testing.assert_array_equal(layer.params[key], array)
    for key, array in straight[1].state.items():
        np.testing.assert_array_equal(optimizer.state[key], array)
    assert optimizer.options == straight[1].options
    assert plateau.state_dict() == straight[2].state_dict()


def test_without_the_generator_it_would_not(tmp_path):
    layers = [rc.LSTM(I, H, 2, **DROPS, rng=1) for _ in range(2)]
    x, _ = batch(0)
    layers[0].save(tmp_path / "layer.npz")
    again = rc.load(tmp_path / "layer.npz")
    assert (again.forward(x)[0] != layers[1].forward(x)[0]).any()


IN_A_NEW_PROCESS = """
import json, sys
import numpy as np
import rnncore as rc
from rnncore.train.generators import rng_state, set_rng_state
from rnncore.train.optim import Adam

def step(layer, optimizer):
    x = np.ones((4, 2, 3), np.float32) * optimizer.steps
    y, _, trace = layer.forward(x)
    optimizer.step(layer.backward(trace, y))

def digest(layer, optimizer):
    print([float(a.astype(np.float64).sum()).hex() for a in layer.params.values()])

if sys.argv[1] == "straight":
    layer = rc.GRU(3, 5, 2, dropout=0.4, rng=0)
    optimizer = Adam(layer)
    for _ in range(4):
        step(layer, optimizer)
    digest(layer, optimizer)
elif sys.argv[1] == "first":
    layer = rc.GRU(3, 5, 2, dropout=0.4, rng=0)
    optimizer = Adam(layer)
    for _ in range(2):
        step(layer, optimizer)
    layer.save("layer.npz")
    optimizer.save("optimizer.npz")
    json.dump(rng_state(layer), open("rng.json", "w"))
else:
    layer = rc.load("layer.npz")
    optimizer = Adam(layer)
    optimizer.load_state_dict(rc.load("optimizer.npz"))
    set_rng_state(layer, json.load(open("rng.json")))
    for _ in range(2):
        step(layer, optimizer)
    digest(layer, optimizer)
"""


def test_another_process_goes_on(tmp_path):
    code = textwrap.dedent(IN_A_NEW_PROCESS)

    def run(part):
        folder = Path(rc.__file__).parents[1]
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"]
        done = subprocess.run(
            [*command, part], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    straight = run("straight")
    run("first")
    assert run("rest") == straight != ""


# The state of an optimiser


@pytest.mark.parametrize("name", STEPS)
def test_a_state_is_of_plain_things(name):
    params = {"w": np.ones(3), "b": np.ones(2, np.float32)}
    optimizer = made(name, params)
    optimizer.step({"w": np.ones(3), "b": np.ones(2, np.float32)})
    state = optimizer.state_dict()
    slots = state.pop("slots")
    assert json.loads(json.dumps(state)) == state
    assert state["steps"] == 1
    assert state["options"]["lr"] == STEPS[name][1]["lr"]
    assert {type(array) for array in slots.values()} <= {np.ndarray}
    before = {key: array.copy() for key, array in slots.items()}
    optimizer.step({"w": np.ones(3), "b": np.ones(2, np.float32)})
    for key, array in slots.items():
        np.testing.assert_array_equal(array, before[key])
    assert type(optimizer).__name__ in repr(optimizer)
    assert eval(repr(optimizer).replace("(", "(params, ", 1)).options == optimizer.options


@pytest.mark.parametrize("name", STEPS)
def test_a_pickled_optimizer_goes_on(name, rng):
    params, optimizer = {"w": np.ones(33)}, None
    optimizer = made(name, params)
    grads = [{"w": rng.standard_normal(33)} for _ in range(4)]
    for grad in grads[:2]:
        optimizer.step(grad)
    again, same = pickle.loads(pickle.dumps((optimizer, params)))
    for grad in grads[2:]:
        optimizer.step(grad)
        again.step(grad)
    np.testing.assert_array_equal(same["w"], params["w"])


def test_a_state_in_memory_and_under_tied_names():
    w = np.ones(4)
    params = [{"a": w}, {"b": w, "c": np.ones(2)}]
    optimizer = Adam(params)
    optimizer.step([{"a": w}, {"b": w, "c": np.ones(2)}])
    file = io.BytesIO()
    optimizer.save(file)
    file.seek(0)
    state = rc.load(file)
    assert list(state["slots"]) == ["mean.0.a", "mean.1.c", "square.0.a", "square.1.c"]
    again = Adam(params)
    again.load_state_dict(state)
    np.testing.assert_array_equal(again.state["mean.0.a"], optimizer.state["mean.0.a"])


RIGHT = Adam({"w": np.ones(2)}).state_dict()


def changed(**parts):
    return {**RIGHT, **parts}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (3, TypeError, "state is of type int, expected Mapping"),
        ({}, ValueError, "state misses 'optimizer', 'options', 'steps', 'slots'"),
        (changed(more=1), ValueError, "state has unknown 'more'"),
        (changed(optimizer="SGD"), ValueError, "state is of 'SGD', expected 'Adam'"),
        (changed(options=1), TypeError, "state['options'] is of type int, expected Mapping"),
        (changed(options={"lr": 1}), ValueError, "state['options'] misses 'betas', 'eps', 'weig"),
        (
            changed(options={**RIGHT["options"], "lr": -1}),
            ValueError,
            "lr is -1, expected a finite number of at least 0",
        ),
        (
            changed(options={**RIGHT["options"], "betas": [0.9]}),
            ValueError,
            "betas is [0.9], expected a pair of numbers",
        ),
        (changed(slots=[1]), TypeError, "state['slots'] is of type list, expected Mapping"),
        (changed(slots={}), ValueError, "state misses 'mean.w', 'square.w'"),
        (changed(steps=-1), ValueError, "state['steps'] is array(-1), expected a whole number"),
        (changed(steps=1.5), ValueError, "state['steps'] is array(1.5), expected a whole number"),
        (
            changed(slots={**RIGHT["slots"], "mean.w": np.ones(3)}),
            ValueError,
            "state['mean.w'] has shape (3,), expected (2,)",
        ),
        (
            changed(slots={**RIGHT["slots"], "mean.w": np.ones(2, np.float32)}),
            TypeError,
            "state['mean.w'] has dtype float32, expected float64",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, error, message):
    params = {"w": np.ones(2)}
    optimizer = Adam(params, 0.3, (0.5, 0.6))
    optimizer.step({"w": np.ones(2)})
    before = optimizer.state_dict()
    with pytest.raises(error) as caught:
        optimizer.load_state_dict(state)
    assert str(caught.value).startswith(message)
    after = optimizer.state_dict()
    for key, array in before.pop("slots").items():
        np.testing.assert_array_equal(after["slots"][key], array)
    del after["slots"]
    assert after == before
