"""Activations and the clip of gate sums, as options of layers."""

import numpy as np
import pytest
from own_options import other_functions, own_functions
from problems import (
    KINDS,
    assert_same_bits,
    draw,
    everything,
    gaps,
    load_layer,
    results,
    run_layer,
)

from rnncore import gradcheck
from rnncore._cells.table import CELLS
from rnncore.layers.on_reference import on_reference

I, H = 5, 6
LENGTHS = (4, 0, 7, 2)

# An activation that an option has changed stands where `activations` would.
each_kind = pytest.mark.parametrize(
    "kind",
    [
        name
        for name, (cell, own) in KINDS.items()
        if own_functions(CELLS[cell], **own) == own_functions(CELLS[cell])
    ],
)
each_lengths = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["no lengths", "lengths"])


def with_options(kind, rng, lengths=None, **options):
    cell, own = KINDS[kind]
    options = {"input_size": I, "hidden_size": H, "num_layers": 2, "bidirectional": True,
               "dtype": "float64", **own, **options}  # fmt: skip
    return draw(cell, options, 7, len(LENGTHS), everything(cell), rng, lengths)


def changed(problem, **options):
    return problem._replace(options={**problem.options, **options})


def others(problem):
    return other_functions(CELLS[problem.cell])


@each_lengths
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_kind
def test_the_functions_that_a_cell_has_anyway(kind, dtype, lengths, rng):
    problem = with_options(kind, rng, lengths, dtype=dtype)
    names = [name.lower() for name in own_functions(CELLS[problem.cell])]
    named = run_layer(changed(problem, activations=names))
    assert_same_bits(named, run_layer(problem))


@each_lengths
@each_kind
def test_a_clip_that_is_never_reached(kind, lengths, rng):
    problem = with_options(kind, rng, lengths)
    worst = gaps(run_layer(changed(problem, clip=1e3)), run_layer(problem))
    assert max(worst.values()) < 1e-13, worst


@each_lengths
@pytest.mark.parametrize("other", [False, True], ids=["own", "others"])
@pytest.mark.parametrize("clip", [None, 0.1, 0.7])
@each_kind
def test_the_reference(kind, clip, other, lengths, rng):
    plain = with_options(kind, rng, lengths)
    problem = changed(plain, clip=clip, activations=others(plain) if other else None)
    found, want = run_layer(problem), results(on_reference(load_layer(problem)), problem.inputs)
    worst = gaps(found, want)
    assert max(worst.values()) < 1e-12, worst
    assert np.array_equal(found["y"], run_layer(plain)["y"]) == (clip is None and not other)


@each_kind
def test_gradients(kind, rng):
    problem = with_options(kind, rng)
    layer = load_layer(changed(problem, activations=others(problem), clip=2.0))
    gradcheck(layer, problem.inputs["x"], directions=1)


def test_a_clip_bounds_the_sums(rng):
    """Gates of sums beyond the clip all stand at its bound, so that the sums no longer matter."""
    problem = with_options("GRU", rng, clip=1e-3, num_layers=1)
    large = {**problem.inputs, "x": 1e3 * problem.inputs["x"]}
    larger = {**problem.inputs, "x": 1e6 * problem.inputs["x"]}
    layer = load_layer(problem)
    assert_same_bits({"y": results(layer, large)["y"]}, {"y": results(layer, larger)["y"]})
    assert not results(layer, large)["dweight_ih_l0"].any()


@pytest.mark.parametrize("options", [{}, {"lengths": LENGTHS}])
@each_kind
def test_frozen_layers_and_streams(kind, options, rng):
    problem = with_options(kind, rng, bidirectional=False)
    layer = load_layer(changed(problem, activations=others(problem), clip=0.7))
    x = problem.inputs["x"]
    y, _ = layer(x, **options)
    np.testing.assert_array_equal(layer.forward(x, **options)[0], y)
    np.testing.assert_array_equal(layer.freeze()(x, **options)[0], y)
    stream = layer.freeze().stream(len(LENGTHS))
    for x_t, y_t in zip(x, layer(x)[0], strict=True):
        np.testing.assert_array_equal(stream(x_t), y_t)
