"""Layers: stacks, directions and the shapes of users around the functional core.

That the cells are right is tested elsewhere; here, that layers put them together rightly.
"""

import copy

import numpy as np
import pytest
from gradients import directional_error
from layer_problems import (
    LAYERS,
    B,
    H,
    I,
    T,
    assert_equal,
    draw,
    draw_state,
    each_cell,
    each_layer,
    each_scaffold,
    make,
    packed,
    parts,
)
from problems import KINDS

from rnncore import functional
from rnncore._cells.table import CELLS
from rnncore.layers import GRU, LSTM, RNN

# Against the functional core, put together by hand


@each_layer
def test_one_layer_is_the_functional_core(kind, rng):
    layer = make(kind, rng)
    cell, (_, options) = CELLS[KINDS[kind][0]], LAYERS[kind]
    x, state, dy, dstate = draw(layer, rng, B)
    start, dend = ([part[0] for part in parts(s)] for s in (state, dstate))
    own = cell.weights_with(layer.options)
    weights = {}
    for weight in own:  # of two biases with one argument it is the sum
        value = layer.params[f"{weight.stem}_l0"]
        weights[weight.argument] = weights.get(weight.argument, 0) + value
    read = {weight.argument: weights[weight.argument] for weight in own if weight.read_back}
    forward, backward = (
        getattr(functional, f"{cell.prefix}_{way}") for way in ("forward", "backward")
    )
    starts = {f"{s}0": part for s, part in zip(cell.parts, start, strict=True)}
    ends = {f"d{s}": part for s, part in zip(cell.parts, dend, strict=True)}
    want = forward(x, **weights, **starts, **options)
    dwant = backward(want, **read, dy=dy, **ends)

    y, end, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)
    assert_equal(y, want.y)
    for k, letter in enumerate(cell.parts):
        assert_equal(parts(end)[k], getattr(want, f"{letter}_n")[None])
        assert_equal(parts(grads.state)[k], getattr(dwant, f"{letter}0")[None])
    assert_equal(grads.x, dwant.x)
    assert_equal(grads.params, {f"{w.stem}_l0": getattr(dwant, w.argument) for w in own})


@pytest.mark.parametrize("bias", [True, False])
def test_a_stack_of_gru_in_both_directions_is_the_functional_core(rng, bias):
    layer = make("GRU-before", rng, "stack-both", bias=bias)
    x, h0, dy, dh = draw(layer, rng, B)
    p = layer.params
    names = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    weights = [(p[f"weight_ih{n}"], p[f"weight_hh{n}"]) for n in names]
    biases = [(p.get(f"bias_ih{n}"), p.get(f"bias_hh{n}")) for n in names]

    def run(k, x):
        return functional.gru_forward(
            x, *weights[k], *biases[k], h0[k], reset="before", reverse=k % 2 == 1
        )

    t0, t1 = run(0, x), run(1, x)
    between = np.concatenate((t0.y, t1.y), axis=2)
    t2, t3 = run(2, between), run(3, between)
    g2 = functional.gru_backward(t2, *weights[2], dy[:, :, :H], dh[2])
    g3 = functional.gru_backward(t3, *weights[3], dy[:, :, H:], dh[3])
    dbetween = g2.x + g3.x
    g0 = functional.gru_backward(t0, *weights[0], dbetween[:, :, :H], dh[0])
    g1 = functional.gru_backward(t1, *weights[1], dbetween[:, :, H:], dh[1])

    y, h_n, trace = layer.forward(x, h0)
    grads = layer.backward(trace, dy, dh)
    assert_equal(y, np.concatenate((t2.y, t3.y), axis=2))
    assert_equal(h_n, np.stack((t0.h_n, t1.h_n, t2.h_n, t3.h_n)))
    assert_equal(grads.x, g0.x + g1.x)
    assert_equal(grads.state, np.stack((g0.h0, g1.h0, g2.h0, g3.h0)))
    assert list(grads.params) == list(p)
    for name, g in zip(names, (g0, g1, g2, g3), strict=True):
        assert_equal(grads.params[f"weight_ih{name}"], g.w_ih)
        assert_equal(grads.params[f"weight_hh{name}"], g.w_hh)
        if bias:
            assert_equal(grads.params[f"bias_ih{name}"], g.b_ih)
            assert_equal(grads.params[f"bias_hh{name}"], g.b_hh)


@each_scaffold
@each_layer
def test_every_gradient_is_the_slope_of_the_loss(kind, scaffold, rng):
    layer = make(kind, rng, scaffold)
    x, state, dy, dstate = draw(layer, rng, B)
    *_, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)

    starts = {f"state{k}": part for k, part in enumerate(parts(state))}
    inputs = {"x": x, **starts, **layer.params}
    dstarts = dict(zip(starts, parts(grads.state), strict=True))
    gradients = {"x": grads.x, **dstarts, **grads.params}
    moved = copy.deepcopy(layer)

    def loss(at):
        moved.load_params({name: at[name] for name in layer.params})
        y, end = moved(at["x"], packed([at[name] for name in starts]))
        ends = zip(parts(end), parts(dstate), strict=True)
        return np.vdot(dy, y) + sum(np.vdot(d, part) for part, d in ends)

    for name in inputs:
        assert gradients[name].shape == inputs[name].shape
        assert directional_error(loss, gradients, inputs, name, rng) < 1e-6, name


# Properties that hold for every layer


@each_scaffold
@each_layer
def test_a_call_gives_what_forward_gives(kind, scaffold, rng):
    layer = make(kind, rng, scaffold, np.float32)
    x, state, _, _ = draw(layer, rng, B)
    y, end, _ = layer.forward(x, state)
    assert_equal(layer(x, state), (y, end))
    assert_equal(layer.forward(x, state, training=False)[:2], (y, end))


@each_scaffold
@each_layer
def test_the_initial_state_is_zero_by_default(kind, scaffold, rng):
    layer = make(kind, rng, scaffold)
    x, state, dy, dstate = draw(layer, rng, B)
    zeros = packed([np.zeros_like(part) for part in parts(state)])
    *got, trace = layer.forward(x)
    *want, trace_of_zeros = layer.forward(x, zeros)
    assert_equal(tuple(got), tuple(want))
    assert_equal(layer.backward(trace, dy, dstate), layer.backward(trace_of_zeros, dy, dstate))


@each_layer
def test_cutting_time_in_two_changes_nothing(kind, rng):
    layer = make(kind, rng, "stack")
    x, state, _, _ = draw(layer, rng, B)
    y, end = layer(x, state)
    y_head, between = layer(x[:2], state)
    y_tail, end_tail = layer(x[2:], between)
    np.testing.assert_allclose(np.concatenate((y_head, y_tail)), y, rtol=1e-12, atol=1e-14)
    for got, want in zip(parts(end_tail), parts(end), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@each_scaffold
@each_cell
def test_batch_first_is_the_same_with_axes_swapped(kind, scaffold, rng):
    layer = make(kind, rng, scaffold)
    x, state, dy, dstate = draw(layer, rng, B)
    y, end, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)

    cell, options = type(layer), {**layer.options, "batch_first": True}
    swapped = cell(**options)
    swapped.load_params(layer.params)
    y_swapped, end_swapped, trace = swapped.forward(x.swapaxes(0, 1), state)
    grads_swapped = swapped.backward(trace, dy.swapaxes(0, 1), dstate)
    assert_equal(y_swapped, y.swapaxes(0, 1))
    assert_equal(end_swapped, end)
    assert_equal(grads_swapped.x, grads.x.swapaxes(0, 1))
    assert_equal(grads_swapped[1:], grads[1:])


@pytest.mark.parametrize("batch_first", [False, True])
@each_scaffold
@each_cell
def test_one_sequence_is_a_batch_of_one(kind, scaffold, batch_first, rng):
    layer = make(kind, rng, scaffold, batch_first=batch_first)
    x, state, dy, dstate = draw(layer, rng)
    rows = 0 if batch_first else 1

    def batch(state):
        return packed([part[:, None] for part in parts(state)])

    y, end, trace = layer.forward(x, state)
    assert y.shape == dy.shape
    assert_equal(layer(x, state), (y, end))
    grads = layer.backward(trace, dy, dstate)
    want_y, want_end, trace = layer.forward(np.expand_dims(x, rows), batch(state))
    want = layer.backward(trace, np.expand_dims(dy, rows), batch(dstate))
    assert_equal((y, batch(end)), (want_y.squeeze(rows), want_end))
    assert_equal((grads.x, batch(grads.state)), (want.x.squeeze(rows), want.state))
    assert_equal(grads.params, want.params)


@each_cell
def test_missing_gradients_are_zeros(kind, rng):
    layer = make(kind, rng, "stack-both")
    x, state, dy, dstate = draw(layer, rng, B)
    *_, trace = layer.forward(x, state)
    zero_y = np.zeros_like(dy)
    zero_state = packed([np.zeros_like(part) for part in parts(dstate)])
    assert_equal(layer.backward(trace, dy), layer.backward(trace, dy, zero_state))
    only_state = layer.backward(trace, dstate=dstate)
    assert_equal(only_state, layer.backward(trace, zero_y, dstate))
    assert any(value.any() for value in only_state.params.values())


@pytest.mark.parametrize("kind", [name for name, kind in CELLS.items() if len(kind.parts) == 2])
def test_either_part_of_a_dstate_may_be_missing(kind, rng):
    layer = make(kind, rng, "stack")
    x, state, dy, (dh, dc) = draw(layer, rng, B)
    *_, trace = layer.forward(x, state)
    zeros = np.zeros_like(dh)
    assert_equal(layer.backward(trace, dy, (dh, None)), layer.backward(trace, dy, (dh, zeros)))
    assert_equal(layer.backward(trace, dy, (None, dc)), layer.backward(trace, dy, [zeros, dc]))


@each_cell
def test_both_biases_have_their_own_gradient(kind, rng):
    """Clipping one in place must not scale the other."""
    layer = make(kind, rng, "both")
    x, state, dy, dstate = draw(layer, rng, B)
    *_, trace = layer.forward(x, state)
    grads = list(layer.backward(trace, dy, dstate).params.values())
    for k, value in enumerate(grads):
        assert value.flags.writeable
        for other in grads[:k]:
            assert not np.shares_memory(value, other)


@pytest.mark.parametrize(("steps", "rows"), [(0, B), (T, 0), (0, 0)])
@each_scaffold
@each_cell
def test_nothing_to_do(kind, scaffold, steps, rows, rng):
    layer = make(kind, rng, scaffold)
    width = layer.num_directions * H
    state = draw_state(layer, rng, rows)
    y, end, trace = layer.forward(np.zeros((steps, rows, I)), state)
    assert y.shape == (steps, rows, width)
    if steps == 0:
        assert_equal(end, state)
    assert_equal(layer(np.zeros((steps, rows, I)), state), (y, end))
    dstate = draw_state(layer, rng, rows)
    grads = layer.backward(trace, y, dstate)
    assert grads.x.shape == (steps, rows, I)
    if steps == 0:
        assert_equal(grads.state, dstate)
    for name, value in layer.params.items():
        assert_equal(grads.params[name], np.zeros_like(value))


@pytest.mark.parametrize("scaffold", ["stack", "stack-both"])
@each_layer
def test_nan_stays_in_its_row(kind, scaffold, rng):
    layer = make(kind, rng, scaffold)
    x, state, dy, dstate = draw(layer, rng, B)
    hurt = x.copy()
    hurt[2, 1, 0] = np.nan
    y, end, trace = layer.forward(x, state)
    y_hurt, end_hurt, trace_hurt = layer.forward(hurt, state)
    grads = layer.backward(trace, dy, dstate)
    grads_hurt = layer.backward(trace_hurt, dy, dstate)
    assert np.isnan(y_hurt[2:, 1]).any()
    others = [0, 2]
    assert_equal(y_hurt[:, others], y[:, others])
    assert_equal(grads_hurt.x[:, others], grads.x[:, others])
    for got, want in zip(parts(end_hurt), parts(end), strict=True):
        assert_equal(got[:, others], want[:, others])


# Parameters


@each_layer
def test_load_params_copies_in(kind, rng):
    source, layer = make(kind, rng, "stack-both"), make(kind, rng, "stack-both")
    held = dict(layer.params)
    layer.load_params(source.params)
    assert_equal(layer.params, source.params)
    for name, value in layer.params.items():
        assert value is held[name]  # an optimiser that holds the array goes on with it
        assert not np.shares_memory(value, source.params[name])


def test_load_params_from_its_own_arrays(rng):
    """The two biases change places: each is read before it is written."""
    layer = make("GRU", rng)
    ih, hh = layer.params["bias_ih_l0"], layer.params["bias_hh_l0"]
    want = hh.copy(), ih.copy()
    layer.load_params({**layer.params, "bias_ih_l0": hh, "bias_hh_l0": ih})
    assert_equal((ih, hh), want)


def test_load_params_takes_what_can_become_an_array(rng):
    class Tensor:
        """As PyTorch's in main memory."""

        def __init__(self, value):
            self.value = value

        def __array__(self, dtype=None, copy=None):
            return self.value

    source, layer = make("LSTM", rng), make("LSTM", rng)
    layer.load_params({name: Tensor(value) for name, value in source.params.items()})
    assert_equal(layer.params, source.params)


def test_parameters_are_updated_in_place(rng):
    layer = make("RNN", rng, nonlinearity="relu")
    for value in layer.params.values():
        value[...] = 0
    layer.params["bias_ih_l0"] += 1
    layer.params["bias_hh_l0"] += 2
    y, _ = layer(np.zeros((1, 1, I)))
    assert_equal(y, np.full((1, 1, H), 3.0))


# What a layer says of itself


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (RNN(3, 4), "RNN(3, 4)"),
        (GRU(3, 4), "GRU(3, 4)"),
        (LSTM(3, 4), "LSTM(3, 4)"),
        (RNN(3, 4, 2, nonlinearity="relu"), "RNN(3, 4, num_layers=2, nonlinearity='relu')"),
        (GRU(3, 4, reset="before", bias=False), "GRU(3, 4, reset='before', bias=False)"),
        (
            LSTM(3, 4, peephole="current", coupled=True, batch_first=True, bidirectional=True),
            "LSTM(3, 4, peephole='current', coupled=True, batch_first=True, bidirectional=True)",
        ),
        (LSTM(3, 4, dtype=np.float64, rng=3), "LSTM(3, 4, dtype=float64)"),
    ],
)
def test_repr(layer, text):
    assert repr(layer) == text


@each_scaffold
@each_layer
def test_options_make_a_layer_like_it(kind, scaffold, rng):
    layer = make(kind, rng, scaffold, np.float32)
    twin = type(layer)(**layer.options)
    assert twin.options == layer.options
    assert repr(twin) == repr(layer)
    assert twin.params.keys() == layer.params.keys()


def test_options_are_handed_out_as_a_copy(rng):
    layer = make("GRU", rng)
    layer.options["reset"] = "before"
    assert layer.options["reset"] == "after"


def test_unequal_values_for_parameters_that_are_one_array_are_refused():
    layer = GRU(3, 4, rng=0)
    layer.params["bias_hh_l0"] = layer.params["bias_ih_l0"]
    given = {name: value.copy() for name, value in layer.params.items()}
    layer.load_params(given)
    given["bias_hh_l0"] = given["bias_hh_l0"] + 1
    before = {name: value.copy() for name, value in layer.params.items()}
    with pytest.raises(ValueError, match="bias_hh_l0 and bias_ih_l0 are one array here"):
        layer.load_params(given)
    for name, value in before.items():
        np.testing.assert_array_equal(layer.params[name], value)
