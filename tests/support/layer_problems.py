"""Layers of every kind and form, with parameters, inputs and gradients that are drawn for them."""

import numpy as np
import pytest
from problems import KINDS, STATES

import rnncore

T, B, I, H = 5, 3, 4, 6

LAYERS = {
    name: (getattr(rnncore, cell), own)
    for name, (cell, own) in KINDS.items()
    if "proj_size" not in own
}
SCAFFOLDS = {
    "one": {},
    "stack": {"num_layers": 3},
    "both": {"bidirectional": True},
    "stack-both": {"num_layers": 2, "bidirectional": True},
    "no-bias": {"num_layers": 2, "bias": False},
}

each_layer = pytest.mark.parametrize("kind", LAYERS)
each_cell = pytest.mark.parametrize("kind", STATES)
each_scaffold = pytest.mark.parametrize("scaffold", SCAFFOLDS)


def make(kind, rng, scaffold="one", dtype=np.float64, **options):
    """A layer with no parameter at zero, of scale 1/sqrt(H)."""
    cell, own = LAYERS[kind]
    layer = cell(I, H, **{**own, **SCAFFOLDS[scaffold], "dtype": dtype, "rng": rng, **options})
    for value in layer.params.values():
        value[...] = rng.standard_normal(value.shape) / np.sqrt(H)
    return layer


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def packed(arrays):
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def draw_state(layer, rng, *rows):
    shape = (layer.num_layers * layer.num_directions, *rows, layer.hidden_size)
    names = STATES[type(layer).__name__]
    return packed([rng.standard_normal(shape).astype(layer.dtype) for _ in names])


def draw(layer, rng, *rows):
    """x, state, dy and dstate of T steps."""
    D = layer.num_directions
    batch_first = layer.batch_first and rows
    axes = (*rows, T) if batch_first else (T, *rows)
    x = rng.standard_normal((*axes, I)).astype(layer.dtype)
    dy = rng.standard_normal((*axes, D * H)).astype(layer.dtype)
    return x, draw_state(layer, rng, *rows), dy, draw_state(layer, rng, *rows)


def assert_equal(got, want):
    """The same bits in everything: outputs, states, gradients, whatever they are nested in."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        got, want = tuple(got.values()), tuple(want.values())
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(got, want, strict=True)
