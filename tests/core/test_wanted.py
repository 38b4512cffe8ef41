"""Gradients that nobody wants are None to the core, which leaves them out; others are exact."""

import numpy as np
import pytest
from cells import CELLS

from rnncore._engine import passes
from rnncore._engine.passes import Arriving
from rnncore.layers.kinds import BY_PREFIX

T, B, I, H, LAYERS = 5, 3, 4, 19, 2
VARIANTS = {name: (cell.kind, cell.options) for name, cell in CELLS.items()}
VARIANTS["lstm-projected"] = CELLS["lstm"].kind, {"proj_size": 6}


def problem(cell, rng):
    """A layer of this variant of a cell, what its pass forward kept, and its weights."""
    kind, options = VARIANTS[cell]
    names = {"bias", "clip", "activations", *kind.defaults}
    own = {name: value for name, value in options.items() if name in names}
    layer = BY_PREFIX[kind.prefix](I, H, LAYERS, bidirectional=True, dtype=np.float64, rng=0, **own)
    weights = layer._plan.read(layer.params)
    _, _, trace = layer.forward(rng.standard_normal((T, B, I)))
    return layer, weights, trace.cells


def backward(layer, weights, kept, dy, unwanted, x_wanted=True, inner_wanted=True):
    """(dx, gradients of weights), those at `unwanted` (cell, field) left out."""
    dweights = []
    for k, cell in enumerate(layer._cells):
        found = cell.zeros()._asdict()
        for name in found:
            if (k, name) in unwanted:
                found[name] = (None,) * len(found[name]) if name == "vectors" else None
        dweights.append(type(weights[0])(**found))
    columns = dy.shape[2]
    dxs = [
        [np.empty((T, B, I)) if x_wanted else None for _ in range(2)],
        [np.empty((T, B, columns)) if inner_wanted else None for _ in range(2)],
    ]
    states = layer._empty_states(B)
    given = Arriving(dy, (None,) * len(states), None)
    layer._stack.backward(
        weights, [kept[0].x, kept[2].x], [None], None, [None] * 4, [one.memory for one in kept],
        given.dy, given.dends, None, dxs, dweights, states,
    )  # fmt: skip
    return passes.sum_of(dxs[0]) if x_wanted else None, dweights


@pytest.mark.parametrize("cell", VARIANTS)
def test_the_others_are_the_same_bits(cell, rng):
    layer, weights, kept = problem(cell, rng)
    dy = rng.standard_normal((T, B, layer._output_shape((T, B, I))[2]))
    dx, whole = backward(layer, weights, kept, dy, set())
    for unwanted in weights[0]._fields:
        left_out = {(0, unwanted), (3, unwanted)}
        for x_wanted in (True, False):
            some_dx, some = backward(layer, weights, kept, dy, left_out, x_wanted)
            assert (some_dx is None) != x_wanted
            if x_wanted:
                np.testing.assert_array_equal(some_dx, dx)
            for k, (a, b) in enumerate(zip(some, whole, strict=True)):
                for name in a._fields:
                    if (k, name) not in left_out:
                        for one, other in zip(arrays(a, name), arrays(b, name), strict=True):
                            np.testing.assert_array_equal(one, other)


def arrays(weights, name):
    found = getattr(weights, name)
    return [each for each in (found if name == "vectors" else (found,)) if each is not None]


def test_what_a_lower_layer_reads_is_always_wanted(rng):
    layer, weights, kept = problem("lstm", rng)
    with pytest.raises(ValueError, match="sizes that do not fit"):
        backward(layer, weights, kept, rng.standard_normal((T, B, 2 * H)), set(), True, False)
