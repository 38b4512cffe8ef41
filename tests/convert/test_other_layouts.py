"""The layouts of TensorFlow 1 and Flax, against their cells as they are written down there."""

import importlib.util

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import rnncore as rc
from rnncore.convert.layouts import blocks_in, hard_sigmoid, reordered
from rnncore.convert.layouts_flax import from_flax, to_flax
from rnncore.convert.layouts_tf1 import from_tf1, to_tf1

T, B, I, H = 7, 3, 5, 4
CELLS = {"RNN": rc.RNN, "GRU": rc.GRU, "LSTM": rc.LSTM}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def draw(cell, rng, **options):
    """A layer all of whose parameters are random, and an x and y of it."""
    layer = CELLS[cell](I, H, **options)
    for a in layer.params.values():
        a[...] = rng.standard_normal(a.shape) / 2
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    return layer, x, *layer(x)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def tf1_cell(cell, x, variables):
    """BasicRNNCell, GRUCell and LSTMCell with peepholes and a projection; x (T, B, I)."""
    P = variables["projection/kernel"].shape[1] if "projection/kernel" in variables else H
    h, c, outputs = np.zeros((B, P)), np.zeros((B, H)), []
    diagonals = [variables.get(f"w_{gate}_diag", 0.0) for gate in "ifo"]
    for x_t in x:
        both = np.concatenate((x_t, h), axis=1)
        if cell == "RNN":
            h = np.tanh(both @ variables["kernel"] + variables["bias"])
        elif cell == "GRU":
            gates = sigmoid(both @ variables["gates/kernel"] + variables["gates/bias"])
            r, u = np.split(gates, 2, axis=1)
            both = np.concatenate((x_t, r * h), axis=1)
            new = np.tanh(both @ variables["candidate/kernel"] + variables["candidate/bias"])
            h = u * h + (1 - u) * new
        else:
            i, j, f, o = np.split(both @ variables["kernel"] + variables["bias"], 4, axis=1)
            w_i, w_f, w_o = diagonals
            c = sigmoid(f + 1.0 + w_f * c) * c + sigmoid(i + w_i * c) * np.tanh(j)
            h = sigmoid(o + w_o * c) * np.tanh(c)
            h = h @ variables.get("projection/kernel", np.eye(H))
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("RNN", {}),
        ("GRU", {"reset": "before"}),
        ("LSTM", {}),
        ("LSTM", {"peephole": "current", "proj_size": 3}),
    ],
    ids=str,
)
def test_tf1(cell, options, rng):
    layer, x, y, _ = draw(cell, rng, **options)
    variables = to_tf1(cell, layer.params)
    assert_allclose(tf1_cell(cell, x, variables), y, **CLOSE)
    other = CELLS[cell](I, H, **options)
    other.load_params(from_tf1(cell, variables, I))
    assert_allclose(other(x)[0], y, **CLOSE)
    assert_allclose(tf1_cell(cell, x, to_tf1(cell, other.params)), y, **CLOSE)


def flax_cell(cell, x, tree):
    """SimpleCell, GRUCell and LSTMCell; x (T, B, I)."""
    h, c, outputs = np.zeros((B, H)), np.zeros((B, H)), []

    def dense(name, a):
        return a @ tree[name]["kernel"] + tree[name].get("bias", 0.0)

    for x_t in x:
        if cell == "RNN":
            h = np.tanh(dense("i", x_t) + dense("h", h))
        elif cell == "GRU":
            r, z = (sigmoid(dense("i" + gate, x_t) + dense("h" + gate, h)) for gate in "rz")
            h = (1 - z) * np.tanh(dense("in", x_t) + r * dense("hn", h)) + z * h
        else:
            i, f, g, o = (dense("i" + gate, x_t) + dense("h" + gate, h) for gate in "ifgo")
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_flax(cell, bias, rng):
    layer, x, y, _ = draw(cell, rng, bias=bias)
    tree = to_flax(cell, layer.params)
    assert_allclose(flax_cell(cell, x, tree), y, **CLOSE)
    other = CELLS[cell](I, H, bias=bias)
    other.load_params(from_flax(cell, tree))
    assert_allclose(other(x)[0], y, **CLOSE)
    if bias:
        return
    in_one = {
        "dense_i": {"kernel": layer.params["weight_ih_l0"].T},
        "dense_h": {"kernel": layer.params["weight_hh_l0"].T},
    }
    for name, a in from_flax(cell, in_one).items():
        assert_array_equal(a, layer.params[name])


if importlib.util.find_spec("flax"):  # which nothing else here needs

    @pytest.mark.parametrize("cell", CELLS)
    def test_flaxs_own(cell, rng):
        from flax import linen

        layer, x, y, _ = draw(cell, rng)
        kind = {"RNN": linen.SimpleCell, "GRU": linen.GRUCell, "LSTM": linen.LSTMCell}[cell]
        theirs = linen.RNN(kind(H), time_major=True)
        variables = {"params": {"cell": to_flax(cell, layer.params)}}
        assert_allclose(np.asarray(theirs.apply(variables, x)), y, **CLOSE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blocks_in("ifgo", "rzn"), "ours is 'rzn', expected the gates of theirs"),
        (
            lambda: reordered(np.zeros(7), "ifgo", "iofg"),
            r"shape \(7,\), expected 4 blocks",
        ),
        (lambda: hard_sigmoid("tf1"), "which has no hard sigmoid"),
        (lambda: hard_sigmoid("caffe"), "library is 'caffe'"),
        (lambda: from_flax("LSTM", {}), "no kernel of 'ii'"),
        (lambda: from_tf1("GRU", {}, 3), "no 'gates/kernel'"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
