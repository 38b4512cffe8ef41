"""RNNCell, GRUCell and so on: a step of the layer, for loops that users write themselves."""

import copy
import pickle
import re

import numpy as np
import pytest
from problems import KINDS, STATES, STEPS, draw, everything, load_layer, pack, unpack

import rnncore
from rnncore import GRUCell, LSTMCell

T, B, I, H = 6, 3, 5, 7
CELLS = dict(zip(STATES, STEPS, strict=True))

each_kind = pytest.mark.parametrize("kind", KINDS)
each_cell = pytest.mark.parametrize("kind", CELLS)
each_batch = pytest.mark.parametrize("batch", [None, 1, B])


def make(kind, batch, generator, dtype="float64", **options):
    """A problem for a layer, that layer, and a cell with its options and parameters."""
    cell, own = KINDS[kind]
    options = {**own, **options, "dtype": dtype}
    sizes = {"input_size": I, "hidden_size": H}
    problem = draw(cell, {**sizes, **options}, T, batch, everything(cell), generator)
    one = CELLS[cell](I, H, **options)
    one.load_params({name.removesuffix("_l0"): a for name, a in problem.params.items()})
    return problem, load_layer(problem), one


def state_of(problem, form):
    """`form` is "{}0" for the initial state, "d{}" for its gradient at the end; of one layer."""
    return pack([problem.inputs[form.format(s)][0] for s in STATES[problem.cell]])


def of_layer(state):
    return pack([part[None] for part in unpack(state)])


def assert_equal(got, want):
    for one, other in zip(unpack(got), unpack(want), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def assert_close(got, want):
    for one, other in zip(unpack(got), unpack(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_batch
@each_kind
def test_a_loop_gives_the_bits_of_the_layer(kind, batch, dtype, rng):
    problem, layer, cell = make(kind, batch, rng, dtype)
    x, state = problem.inputs["x"], state_of(problem, "{}0")
    y, end = layer(x, of_layer(state))
    kept = state
    for x_t, y_t in zip(x, y, strict=True):
        state = cell(x_t, state)
        kept, _ = cell.forward(x_t, kept)
        assert_equal(kept, state)
        np.testing.assert_array_equal(unpack(state)[0], y_t, strict=True)
    assert_equal(of_layer(state), end)


@each_batch
@each_kind
def test_a_loop_back_gives_the_gradients_of_the_layer(kind, batch, rng):
    problem, layer, cell = make(kind, batch, rng)
    given, state = problem.inputs, state_of(problem, "{}0")
    _, _, whole = layer.forward(given["x"], of_layer(state))
    dstate = state_of(problem, "d{}")
    want = layer.backward(whole, given["dy"], of_layer(dstate))

    traces = []
    for x_t in given["x"]:
        state, trace = cell.forward(x_t, state)
        traces.append(trace)
    dparams = {name: np.zeros_like(value) for name, value in cell.params.items()}
    for t in reversed(range(T)):
        dh, *dc = unpack(dstate)
        grads = cell.backward(traces[t], pack([dh + given["dy"][t], *dc]))
        np.testing.assert_allclose(grads.x, want.x[t], rtol=1e-12, atol=1e-13)
        dstate = grads.state
        for name, gradient in grads.params.items():
            dparams[name] += gradient
    assert_close(of_layer(dstate), want.state)
    assert dparams.keys() == cell.params.keys()
    for name, gradient in dparams.items():
        np.testing.assert_allclose(gradient, want.params[f"{name}_l0"], rtol=1e-11, atol=1e-12)


@each_cell
def test_states_are_zeros_by_default(kind, rng):
    problem, _, cell = make(kind, B, rng)
    x = problem.inputs["x"][0]
    zeros = pack([np.zeros((B, H)) for _ in STATES[kind]])
    assert_equal(cell(x), cell(x, zeros))


@each_cell
def test_a_backward_step_without_any_gradient_is_refused(kind, rng):
    problem, _, cell = make(kind, B, rng)
    _, trace = cell.forward(problem.inputs["x"][0])
    parts = [None] * len(STATES[problem.cell])
    nothing = [None] if len(parts) == 1 else [None, tuple(parts), parts]
    for dstate in nothing:
        message = f"dstate is {dstate}, expected at least one gradient"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            cell.backward(trace, dstate)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if len(STATES[KINDS[kind][0]]) == 2])
def test_a_part_of_the_gradient_may_be_missing(kind, rng):
    problem, _, cell = make(kind, B, rng)
    dh, dc = state_of(problem, "d{}")
    _, trace = cell.forward(problem.inputs["x"][0])
    no_dh, no_dc = np.zeros_like(dh), np.zeros_like(dc)
    for gap, full in (((dh, None), (dh, no_dc)), ((None, dc), (no_dh, dc))):
        got, want = cell.backward(trace, gap), cell.backward(trace, full)
        np.testing.assert_array_equal(got.x, want.x)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "RNN-relu", "GRU", "LSTM"])
def test_cells_of_torch(kind, bias, rng):
    """Its state_dict is taken as it is; one step, and the gradients of that."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    problem, _, cell = make(kind, B, rng, bias=bias)
    module = getattr(torch.nn, f"{problem.cell}Cell")(
        I, H, bias=bias, dtype=torch.float64, **KINDS[kind][1]
    )
    cell.load_params(module.state_dict())

    x, dstate = problem.inputs["x"][0], state_of(problem, "d{}")
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *unpack(state_of(problem, "{}0")))]
    end = unpack(module(leaves[0], pack(leaves[1:])))
    arriving = [torch.tensor(d) for d in unpack(dstate)]
    named = dict(module.named_parameters())
    want = torch.autograd.grad(end, [*leaves, *named.values()], arriving)

    state, trace = cell.forward(x, state_of(problem, "{}0"))
    assert_close(state, tuple(part.detach().numpy() for part in end))
    grads = cell.backward(trace, dstate)
    got = (grads.x, *unpack(grads.state), *(grads.params[name] for name in named))
    assert_close(got, tuple(gradient.numpy() for gradient in want))


@each_kind
def test_recurrent_dropout_and_zoneout(kind, rng):
    """What is drawn at a step is in its trace: the gradient is the slope of what it computed."""
    problem, _, cell = make(kind, B, rng, recurrent_dropout=0.3, zoneout=0.3, rng=0)
    x, state, dstate = problem.inputs["x"][0], state_of(problem, "{}0"), state_of(problem, "d{}")
    drawn = copy.deepcopy(cell)  # every copy of it draws the same
    _, trace = copy.deepcopy(drawn).forward(x, state)
    grads = cell.backward(trace, dstate)

    def loss(*at):
        end, _ = copy.deepcopy(drawn).forward(at[0], pack(at[1:]))
        return sum(np.vdot(d, part) for d, part in zip(unpack(dstate), unpack(end), strict=True))

    at = (x, *unpack(state))
    for k, gradient in enumerate((grads.x, *unpack(grads.state))):
        v = rng.standard_normal(at[k].shape) * 1e-5
        ahead, behind = (loss(*at[:k], at[k] + sign * v, *at[k + 1 :]) for sign in (1, -1))
        np.testing.assert_allclose((ahead - behind) / 2, np.vdot(gradient, v), rtol=1e-7)
    off = CELLS[problem.cell](**{**problem.options, "recurrent_dropout": 0.0, "zoneout": 0.0})
    off.load_params(cell.params)
    assert_equal(cell(x, state), off(x, state))


@each_kind
def test_copies(kind, rng):
    problem, _, cell = make(kind, B, rng)
    x = problem.inputs["x"][0]
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert repr(twin) == repr(cell)
        assert_equal(twin(x), cell(x))
        twin.params["weight_ih"][...] = 0
        assert cell.params["weight_ih"].any()


def test_options_and_text():
    cell = LSTMCell(3, 4, peephole="current", dtype=np.float64)
    assert repr(cell) == "LSTMCell(3, 4, peephole='current', dtype=float64)"
    assert (cell.input_size, cell.hidden_size, cell.peephole) == (3, 4, "current")
    assert cell.dtype == np.float64
    assert list(cell.params) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch"]
    for name in ("bidirectional", "reset", "freeze"):
        with pytest.raises(AttributeError, match=f"'LSTMCell' object has no attribute '{name}'"):
            getattr(cell, name)


def test_a_layer_and_a_cell_do_not_share_traces():
    """A trace of many steps has gradients that a cell has no place for."""
    x = np.zeros((5, 2, 3), np.float32)
    *_, trace = rnncore.GRU(3, 4).forward(x)
    with pytest.raises(ValueError, match=r"^trace is of GRU\(3, 4\), expected one of GRUCell"):
        GRUCell(3, 4).backward(trace, None)
    _, trace = GRUCell(3, 4).forward(x[0])
    with pytest.raises(ValueError, match=r"^trace is of GRUCell\(3, 4\), expected one of GRU\(3"):
        rnncore.GRU(3, 4).backward(trace)


def test_what_is_no_trace():
    for dstate in (None, np.zeros((2, 4), np.float32)):
        with pytest.raises(TypeError, match=r"^trace is of type ndarray, expected Trace$"):
            GRUCell(3, 4).backward(np.zeros((1, 2, 3), np.float32), dstate)
