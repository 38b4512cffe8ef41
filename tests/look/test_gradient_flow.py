"""The norms against PyTorch's autograd with retained gradients; the gates against the trace."""

import sys

import numpy as np
import pytest
from problems import KINDS, STATES, make_layer

import rnncore
from rnncore import gradient_flow
from rnncore._cells.table import CELLS

SIZES = {"input_size": 5, "hidden_size": 7}
LAYERS = [(cell, own) for cell, own in KINDS.values() if "proj_size" not in own]
STACKS = [
    {},
    {"bidirectional": True},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]


def layer_with_drawn_parameters(cell, options, rng, dtype="float64"):
    layer = make_layer(cell, {**SIZES, **options, "dtype": dtype})
    scale = 1 / np.sqrt(layer.hidden_size)
    for value in layer.params.values():
        value[...] = scale * rng.standard_normal(value.shape)
    return layer


def loss_on_the_last_step(layer, y):
    """The default of `gradient_flow`, written out: each direction's own end, with norm 1."""
    dy = np.zeros_like(y)
    time_first = dy.swapaxes(0, 1) if layer.batch_first else dy
    H = layer.hidden_size
    value = 1 / np.sqrt(time_first.shape[1] * H)
    time_first[-1, :, :H] = value
    if layer.bidirectional:
        time_first[0, :, H:] = value
    return dy


def retained_norms(layer, x, dy):
    """dL/dh and dL/dc of every layer and direction, (L*D, T), from autograd."""
    torch = pytest.importorskip("torch")
    from torch_oracle import STEPS

    kind = type(layer).__name__
    step = STEPS[kind]
    params = {name: torch.from_numpy(value) for name, value in layer.params.items()}
    x, dy = (np.swapaxes(a, 0, 1) if layer.batch_first else a for a in (x, dy))
    below, kept = torch.from_numpy(x.copy()), []
    for k in range(layer.num_layers):
        outputs = []
        for direction in ("", "_reverse")[: layer.num_directions]:
            end = f"_l{k}{direction}"
            w = {n.removesuffix(end): v for n, v in params.items() if n.endswith(end)}
            zeros = torch.zeros(x.shape[1], layer.hidden_size, dtype=below.dtype)
            state = tuple(zeros.clone().requires_grad_() for _ in STATES[kind])
            states = [None] * len(x)
            for t in reversed(range(len(x))) if direction else range(len(x)):
                state = step(below[t], state, w, layer.options)
                for part in state:
                    part.retain_grad()
                states[t] = state
            kept.append(states)
            outputs.append(torch.stack([state[0] for state in states]))
        below = torch.cat(outputs, dim=-1)
    (below * torch.from_numpy(dy.copy())).sum().backward()

    def norm(part):
        return 0.0 if part.grad is None else part.grad.norm().item()

    return [
        np.array([[norm(state[part]) for state in states] for states in kept])
        for part in range(len(STATES[kind]))
    ]


@pytest.mark.parametrize("given", [False, True], ids=["last step", "dy"])
@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize(("cell", "options"), LAYERS, ids=str)
def test_norms_are_those_of_autograd(cell, options, stack, given, rng):
    layer = layer_with_drawn_parameters(cell, {**options, **stack}, rng)
    x = rng.standard_normal((4, 6, 5))  # four steps of six rows, or six of four
    y, _ = layer(x)
    dy = rng.standard_normal(y.shape) if given else None
    flow = gradient_flow(layer, x, dy)
    want = retained_norms(layer, x, dy if given else loss_on_the_last_step(layer, y))
    for part, norms in zip(STATES[cell], want, strict=True):
        np.testing.assert_allclose(getattr(flow, f"d{part}"), norms, rtol=1e-10, atol=0)
    assert (flow.dc is None) == ("c" not in STATES[cell])


@pytest.mark.parametrize("cell", STATES)
def test_float32_agrees_with_float64(cell, rng):
    wide = layer_with_drawn_parameters(cell, {"num_layers": 2}, rng)
    narrow = make_layer(cell, {**wide.options, "dtype": "float32"})
    narrow.load_params({name: value.astype(np.float32) for name, value in wide.params.items()})
    x = rng.standard_normal((9, 3, 5)).astype(np.float32)
    got, want = gradient_flow(narrow, x), gradient_flow(wide, x.astype(np.float64))
    assert got.dh.dtype == np.float64
    np.testing.assert_allclose(got.dh, want.dh, rtol=1e-4)
    for name, mean in want.gate_mean.items():
        np.testing.assert_allclose(got.gate_mean[name], mean, rtol=1e-5)


@pytest.mark.parametrize("cell", STATES)
def test_the_last_step_of_each_direction_has_norm_1(cell, rng):
    layer = layer_with_drawn_parameters(cell, {"num_layers": 2, "bidirectional": True}, rng)
    flow = gradient_flow(layer, rng.standard_normal((6, 3, 5)))
    assert flow.names == ("layer 0", "layer 0, reverse", "layer 1", "layer 1, reverse")
    np.testing.assert_array_equal(flow.distance, [[5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]] * 2)
    np.testing.assert_allclose(flow.dh[2:][flow.distance[2:] == 0], 1, rtol=1e-12)


def test_a_sequence_without_a_batch_is_a_batch_of_one(rng):
    layer = layer_with_drawn_parameters("LSTM", {}, rng)
    x = rng.standard_normal((6, 5))
    one, batch = gradient_flow(layer, x), gradient_flow(layer, x[:, np.newaxis])
    np.testing.assert_array_equal(one.dh, batch.dh)
    np.testing.assert_array_equal(one.dc, batch.dc)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", STATES)
def test_gates_are_measured_in_time_order(cell, reverse, rng):
    """A bias of the gate that grows with an input: its value at each step is known."""
    gates = set(CELLS[cell].gates) & set("rzifo")  # no candidate, and no sum of a cell without
    layer = make_layer(cell, {**SIZES, "bidirectional": True, "dtype": "float64"})
    for value in layer.params.values():
        value[...] = 0
    end = "_l0_reverse" if reverse else "_l0"
    x = np.zeros((3, 2, 5))
    x[:, :, 0] = np.array([[-4, -4], [0, 0], [1, 4]])
    blocks = len(layer._kind.gates)
    for k, gate in enumerate(layer._kind.gates):
        if gate in gates:
            rows = np.split(layer.params[f"weight_ih{end}"], blocks)[k]
            rows[:, 0] = k + 1
    sums = x @ layer.params[f"weight_ih{end}"].T
    if f"norm_ih_weight{end}" in layer.params:
        layer.params[f"norm_ih_weight{end}"][...] = 1
        sums -= sums.mean(axis=-1, keepdims=True)
        sums /= np.sqrt(np.square(sums).mean(axis=-1, keepdims=True) + layer.eps)
    flow = gradient_flow(layer, x)
    assert set(flow.gate_mean) == set(flow.gate_low) == set(flow.gate_high) == gates
    row = int(reverse)
    for k, gate in enumerate(layer._kind.gates):
        if gate in gates:
            values = 1 / (1 + np.exp(-np.split(sums, blocks, axis=-1)[k][:, :, 0]))
            np.testing.assert_allclose(flow.gate_mean[gate][row], values.mean(axis=1))
            np.testing.assert_array_equal(flow.gate_low[gate][row], (values < 0.1).mean(axis=1))
            np.testing.assert_array_equal(flow.gate_high[gate][row], (values > 0.9).mean(axis=1))
            np.testing.assert_array_equal(flow.gate_mean[gate][1 - row], 0.5)


def test_the_result_cannot_be_changed(rng):
    flow = gradient_flow(rnncore.GRU(5, 7), np.zeros((3, 2, 5), np.float32))
    with pytest.raises(ValueError, match="read-only"):
        flow.dh[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        flow.gate_mean["z"][...] = 0
    with pytest.raises(TypeError):
        flow.gate_mean["z"] = None
    with pytest.raises(AttributeError):
        flow.dh = None


def test_nothing_that_comes_in_is_changed(rng):
    layer = layer_with_drawn_parameters("LSTM", {}, rng)
    x, dy = rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((4, 3, 7))
    before = [x.copy(), dy.copy(), {k: v.copy() for k, v in layer.params.items()}]
    gradient_flow(layer, x[0], dy)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, before[1])
    for name, value in layer.params.items():
        np.testing.assert_array_equal(value, before[2][name])


def test_plot_draws_every_norm_on_a_log_scale(rng):
    from matplotlib.figure import Figure

    layer = layer_with_drawn_parameters("LSTM", {"bidirectional": True}, rng)
    flow = gradient_flow(layer, rng.standard_normal((6, 3, 5)))
    ax = Figure().add_subplot()
    assert flow.plot(ax) is ax
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    drawn = {line.get_label(): line.get_xydata() for line in ax.get_lines()}
    assert len(drawn) == 4
    for k, name in enumerate(flow.names):
        for symbol, norms in (("h", flow.dh), ("c", flow.dc)):
            x, y = drawn[f"|dL/d{symbol}|, {name}"].T
            np.testing.assert_array_equal(x, range(6))
            np.testing.assert_array_equal(y, norms[k][np.argsort(flow.distance[k])])


def test_plot_makes_a_figure_of_its_own():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    ax = gradient_flow(rnncore.RNN(5, 7), np.ones((3, 2, 5), np.float32)).plot()
    assert len(ax.get_lines()) == 1
    pyplot.close(ax.figure)


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    flow = gradient_flow(rnncore.RNN(5, 7), np.ones((3, 2, 5), np.float32))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"^plot needs matplotlib: pip install matplotlib$"):
        flow.plot()


@pytest.mark.parametrize(
    ("layer", "x", "dy", "message"),
    [
        (rnncore.Linear(5, 7), np.zeros((3, 2, 5), np.float32), None, "layer is of type Linear"),
        (rnncore.GRU(5, 7), np.zeros((3, 2, 5)), None, "x has dtype float64, expected float32"),
        (rnncore.GRU(5, 7), np.zeros((3, 2, 4), np.float32), None, r"x has shape \(3, 2, 4\)"),
        (rnncore.GRU(5, 7), np.zeros((0, 2, 5), np.float32), None, "at least one step"),
        (rnncore.GRU(5, 7), np.zeros((3, 0, 5), np.float32), None, "at least one step"),
        (
            rnncore.GRU(5, 7),
            np.zeros((3, 2, 5), np.float32),
            np.zeros((3, 2, 5), np.float32),
            r"dy has shape \(3, 2, 5\), expected \(3, 2, 7\)",
        ),
    ],
)
def test_bad_arguments_are_named(layer, x, dy, message):
    with pytest.raises((ValueError, TypeError), match=message):
        gradient_flow(layer, x, dy)
