"""Problems for whole layers: a layer, its parameters, one batch, and the gradients at its outputs.

Inputs and results are dicts of arrays by name, so that a layer, PyTorch and a recorded file are
compared key by key: a result that one of them does not give is a failure too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import rnncore
from rnncore._cells.table import CELLS

STATES = {name: kind.parts for name, kind in CELLS.items()}

# Their layers, and the cells that do a step of them.
LAYERS = [getattr(rnncore, name) for name in CELLS]
STEPS = [getattr(rnncore, f"{name}Cell") for name in CELLS]

# Every cell with its own options: cell, options.
KINDS = {
    "RNN": ("RNN", {}),
    "RNN-relu": ("RNN", {"nonlinearity": "relu"}),
    "GRU": ("GRU", {}),
    "GRU-before": ("GRU", {"reset": "before"}),
    "LSTM": ("LSTM", {}),
    "LSTM-previous": ("LSTM", {"peephole": "previous"}),
    "LSTM-current": ("LSTM", {"peephole": "current"}),
    "LSTM-coupled": ("LSTM", {"coupled": True}),
    "LSTM-projected": ("LSTM", {"proj_size": 3}),
    "LSTM-all": ("LSTM", {"peephole": "current", "coupled": True, "proj_size": 3}),
    "IndRNN": ("IndRNN", {}),
    "IndRNN-tanh": ("IndRNN", {"nonlinearity": "tanh"}),
    "LayerNormLSTM": ("LayerNormLSTM", {}),
    "LayerNormLSTM-eps": ("LayerNormLSTM", {"eps": 0.1}),
}


class Problem(NamedTuple):
    """`inputs` holds x and, where they are given, lengths, h0, c0 (initial states), dy, dh, dc."""

    cell: str
    options: dict  # arguments of the constructor, as JSON can hold them
    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]


def make_layer(cell: str, options: dict):
    return getattr(rnncore, cell)(**{**options, "dtype": np.dtype(options["dtype"])})


def everything(cell: str) -> tuple[str, ...]:
    """The names of all inputs but x and lengths."""
    states = STATES[cell]
    return (*(f"{s}0" for s in states), "dy", *(f"d{s}" for s in states))


def draw(
    cell: str,
    options: dict,
    steps: int,
    batch: int | None,
    given: tuple,
    rng,
    lengths: Sequence[int] | None = None,
) -> Problem:
    """A problem with parameters of scale 1/sqrt(H) and the inputs x, `given` and `lengths`."""
    layer = make_layer(cell, options)
    H = options["hidden_size"]
    P = options.get("proj_size") or H
    D = 2 if options.get("bidirectional") else 1
    rows = () if batch is None else (batch,)
    time_first = (batch, steps) if options.get("batch_first") and rows else (steps, *rows)
    state = (options.get("num_layers", 1) * D, *rows)
    shapes = {"x": (*time_first, options["input_size"]), "dy": (*time_first, D * P)}
    shapes |= dict.fromkeys(("h0", "dh"), (*state, P)) | dict.fromkeys(("c0", "dc"), (*state, H))

    def uniform(shape, bound):
        return rng.uniform(-bound, bound, shape).astype(options["dtype"])

    params = {name: uniform(p.shape, 1 / np.sqrt(H)) for name, p in layer.params.items()}
    inputs = {k: uniform(shapes[k], 1.0) for k in ("x", *given)}
    if lengths is not None:
        inputs["lengths"] = np.array(lengths, np.int64)
    return Problem(cell, options, params, inputs)


def load_layer(problem: Problem):
    layer = make_layer(problem.cell, problem.options)
    layer.load_params(problem.params)
    return layer


def run_layer(problem: Problem) -> dict[str, np.ndarray]:
    """Outputs y, hn, cn and gradients dx, dh0, dc0, d<parameter> of a layer of this package."""
    return results(load_layer(problem), problem.inputs)


def results(layer, inputs: dict[str, np.ndarray], **options) -> dict[str, np.ndarray]:
    """The same of any layer; `options` go to its `forward`."""
    names, given = STATES[type(layer).__name__], inputs.get
    state = pack([given(f"{s}0") for s in names])
    y, last, trace = layer.forward(given("x"), state, lengths=given("lengths"), **options)
    grads = layer.backward(trace, given("dy"), pack([given(f"d{s}") for s in names]))

    found = {"y": y, "dx": grads.x}
    for s, value, gradient in zip(names, unpack(last), unpack(grads.state), strict=True):
        found |= {f"{s}n": value, f"d{s}0": gradient}
    return found | {f"d{name}": gradient for name, gradient in grads.params.items()}


def pack(states: list):
    """The form that a layer takes: one array, or the pair (h, c), or None for nothing at all."""
    if all(s is None for s in states):
        return None
    return states[0] if len(states) == 1 else tuple(states)


def unpack(state) -> tuple:
    return state if isinstance(state, tuple) else (state,)


def assert_same_bits(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert got.keys() == want.keys()
    for name, expected in want.items():
        np.testing.assert_array_equal(got[name], expected, name, strict=True)


def gaps(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest difference of each result, relative to the largest value that it should have."""
    assert got.keys() == want.keys()
    worst = {}
    for name, expected in want.items():
        assert got[name].shape == expected.shape, name
        assert got[name].dtype == expected.dtype, name
        scale = np.abs(expected).max(initial=0)
        gap = np.abs(got[name] - expected).max(initial=0)
        assert np.isfinite(gap), name  # max() of the gaps would not see a NaN
        worst[name] = float(gap / scale) if scale else float(gap)
    return worst
