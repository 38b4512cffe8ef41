"""Layers and directions that run together: no bit depends on how threads share a stack."""

import numpy as np
import pytest

import rnncore
from rnncore._core import core

# What they take of `plan_of_stack`, with two to seven threads: layers a chunk behind each other,
# parts of units, groups of rows; too few steps for layers to follow each other so, one wide step.
SHAPES = [(120, 1, 33, 100), (300, 2, 17, 130), (30, 40, 9, 70), (7, 1, 64, 640), (1, 20, 64, 600)]
STACKS = [(2, False), (5, False), (1, True), (3, True)]
# Wide layers take long: two of them, or two directions, share all that many would.
CASES = [(stack, shape) for stack in STACKS for shape in SHAPES if stack[0] * shape[3] < 1300]
LAYERS = {
    "rnn": (rnncore.RNN, {}),
    "gru": (rnncore.GRU, {}),
    "gru-before": (rnncore.GRU, {"reset": "before", "recurrent_dropout": 0.2}),
    "lstm": (rnncore.LSTM, {}),
    "lstm-projected": (rnncore.LSTM, {"proj_size": 20}),
    "lstm-zoneout": (rnncore.LSTM, {"zoneout": 0.1}),
    "indrnn": (rnncore.IndRNN, {}),
    "layer-norm-lstm": (rnncore.LayerNormLSTM, {}),
}


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def results(name, stack, shape, dropout, lengths, flows, n):
    """All that inference, a forward and a backward pass give, with `n` threads."""
    kind, options = LAYERS[name]
    (layers, both), (T, B, I, H) = stack, shape
    layer = kind(I, H, layers, bidirectional=both, dropout=dropout, rng=3, **options)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((T, B, I), np.float32)
    lengths = rng.integers(0, T + 1, B) if lengths else None
    with rnncore.num_threads(n):
        core.set_thread_limit(n)  # also of more threads than there are cores
        y, state = layer(x, lengths=lengths)
        frozen, _ = layer.freeze()(x, lengths=lengths)
        kept, end, trace = layer.forward(x, lengths=lengths)
        dy = rng.standard_normal(y.shape, np.float32)
        flow = np.empty((len(parts_of(end)), layers * (1 + both), T, B)) if flows else None
        grads = layer.backward(trace, dy, end, flow=flow)
    found = {"y": y, "frozen": frozen, "kept": kept, "dx": grads.x, **grads.params}
    for what, state_ in (("state", state), ("end", end), ("dstart", grads.state)):
        found |= {f"{what} {k}": part for k, part in enumerate(parts_of(state_))}
    return found if flow is None else {**found, "flow": flow}


@pytest.mark.parametrize("lengths", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize(("stack", "shape"), CASES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_the_same_bits_for_any_number_of_threads(name, stack, shape, lengths):
    dropout = 0.3 if lengths and stack[0] > 1 else 0.0
    flows = lengths and stack[0] in (2, 3)
    expected = results(name, stack, shape, dropout, lengths, flows, 1)
    for n in (2, 3, 7):
        for key, value in results(name, stack, shape, dropout, lengths, flows, n).items():
            np.testing.assert_array_equal(value, expected[key], err_msg=f"{key}, {n} threads")


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_dropout_between_layers_is_that_of_the_twin(n, both):
    """The core multiplies as it hands on, and what comes back from the layer above."""
    T, B, I, H = 60, 3, 20, 90
    layer = rnncore.LSTM(I, H, 3, dropout=0.4, bidirectional=both, dtype=np.float64, rng=5)
    x = np.random.default_rng(2).standard_normal((T, B, I))
    with rnncore.num_threads(n):
        core.set_thread_limit(n)
        y, _, trace = layer.forward(x)
        grads = layer.backward(trace, np.cos(y))
    source = x
    states = [np.zeros((B, H))] * 2
    outputs = []
    for k in range(3):
        suffixes = [f"_l{k}", f"_l{k}_reverse"][: 1 + both]
        found = []
        for direction, suffix in enumerate(suffixes):
            w = {key: layer.params[f"{key}{suffix}"] for key in ("weight_ih", "weight_hh")}
            b = layer.params[f"bias_ih{suffix}"] + layer.params[f"bias_hh{suffix}"]
            found.append(
                rnncore.reference.lstm_forward(
                    source, w["weight_ih"], w["weight_hh"], b, *states, reverse=direction == 1
                )
            )
        outputs.append(found)
        source = np.concatenate([each.y for each in found], axis=-1)
        if k < 2:
            assert set(np.unique(trace.dropped[k]).round(9)) == {0.0, round(1 / 0.6, 9)}
            source = source * trace.dropped[k]
    np.testing.assert_allclose(y, source, rtol=1e-12, atol=1e-12)
    arriving = np.cos(y)
    for k in reversed(range(3)):
        back = []
        for direction, one in enumerate(outputs[k]):
            suffix = [f"_l{k}", f"_l{k}_reverse"][direction]
            d = rnncore.reference.lstm_backward(
                one,
                *(layer.params[f"{key}{suffix}"] for key in ("weight_ih", "weight_hh")),
                dy=arriving[..., direction * H : (direction + 1) * H],
            )
            np.testing.assert_allclose(
                grads.params[f"weight_hh{suffix}"], d.w_hh, rtol=1e-9, atol=1e-10
            )
            back.append(d.x)
        arriving = sum(back) * (trace.dropped[k - 1] if k else 1)
    np.testing.assert_allclose(grads.x, arriving, rtol=1e-9, atol=1e-10)
