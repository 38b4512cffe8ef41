"""Layers in JAX: the bits of the layers, and the gradients that JAX finds of the same equations."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

from in_jax import FUNCTIONS, call_of, run_jax, scan_of  # noqa: E402
from problems import (  # noqa: E402
    KINDS,
    STATES,
    assert_same_bits,
    draw,
    everything,
    gaps,
    pack,
    run_layer,
)

import rnncore  # noqa: E402
from rnncore import reference  # noqa: E402

OWN = {name: kind for name, kind in KINDS.items() if kind[0] in FUNCTIONS}
SIZES = {"input_size": 17, "hidden_size": 9}
T, B = 6, 3
LENGTHS = (4, 0, 6)


@pytest.mark.parametrize(
    ("more", "lengths"),
    [
        ({"dtype": "float32"}, None),
        ({"dtype": "float32", "num_layers": 4, "batch_first": True}, LENGTHS),
        ({"dtype": "float64", "bidirectional": True, "bias": False, "batch_first": True}, None),
        ({"dtype": "float64", "num_layers": 3, "bidirectional": True}, LENGTHS),
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", OWN)
def test_the_bits_are_those_of_the_layer(cell, more, lengths, rng):
    name, own = OWN[cell]
    problem = draw(name, SIZES | own | more, T, B, everything(name), rng, lengths=lengths)
    assert_same_bits(run_jax(problem), run_layer(problem))


@pytest.mark.parametrize("cell", FUNCTIONS)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 5, 33, 17), (70, 1, 3, 20), (40, 33, 5, 64)])
def test_the_bits_of_other_sizes(cell, sizes, rng):
    steps, rows, I, H = sizes
    options = {"input_size": I, "hidden_size": H, "dtype": "float32"}
    problem = draw(cell, options, steps, rows, everything(cell), rng)
    assert_same_bits(run_jax(problem), run_layer(problem))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("more", [{}, {"num_layers": 3}, {"bidirectional": True, "num_layers": 2}])
def test_threads_change_no_bit(more, threads, rng):
    options = {"input_size": 90, "hidden_size": 120, "dtype": "float32", **more}
    problem = draw("LSTM", options, 30, 24, everything("LSTM"), rng)
    want = run_layer(problem)
    with rnncore.num_threads(threads):
        assert_same_bits(run_jax(problem), want)


@pytest.mark.parametrize("missing", ["dy", "dh", "dc", "h0", "c0"])
def test_what_is_not_given_is_zero(missing, rng):
    given = [name for name in everything("LSTM") if name != missing]
    problem = draw("LSTM", {**SIZES, "dtype": "float64"}, T, B, given, rng)
    if missing in ("h0", "c0"):
        given = [name for name in given if name not in ("h0", "c0")]
        problem = draw("LSTM", {**SIZES, "dtype": "float64"}, T, B, given, rng)
    assert_same_bits(run_jax(problem), run_layer(problem))


@pytest.mark.parametrize("options", [{"clip": 0.3}, {"activations": ["HardSigmoid", "Softsign"]}])
def test_activations_and_clip(options, rng):
    problem = draw("GRU", {**SIZES, **options, "dtype": "float64"}, T, B, everything("GRU"), rng)
    assert_same_bits(run_jax(problem), run_layer(problem))


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_without_a_batch(cell, rng):
    options = {**SIZES, "num_layers": 2, "dtype": "float64"}
    problem = draw(cell, options, T, None, everything(cell), rng)
    assert_same_bits(run_jax(problem), run_layer(problem))


@pytest.mark.parametrize("shape", [(0, B), (T, 0), (0, 0)])
@pytest.mark.parametrize("cell", FUNCTIONS)
def test_neither_steps_nor_rows(cell, shape, rng):
    options = {**SIZES, "num_layers": 2, "dtype": "float64"}
    problem = draw(cell, options, *shape, everything(cell), rng)
    assert_same_bits(run_jax(problem), run_layer(problem))


@pytest.mark.parametrize(
    ("more", "lengths"), [({}, None), ({"num_layers": 2, "bidirectional": True}, LENGTHS)], ids=str
)
@pytest.mark.parametrize("cell", OWN)
def test_gradients_are_those_that_jax_finds(cell, more, lengths, rng):
    name, own = OWN[cell]
    options = {**SIZES, **own, **more, "dtype": "float64"}
    problem = draw(name, options, T, B, everything(name), rng, lengths=lengths)
    assert max(gaps(run_jax(problem), run_jax(problem, scan_of(problem))).values()) < 1e-10


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_outputs_are_those_of_the_reference(cell, rng):
    given = [f"{s}0" for s in STATES[cell]]
    problem = draw(cell, {**SIZES, "dtype": "float64"}, T, B, given, rng)
    p, inputs = {k.removesuffix("_l0"): v for k, v in problem.params.items()}, problem.inputs
    biases = {"b_ih": p["bias_ih"], "b_hh": p["bias_hh"]}
    if cell != "GRU":
        biases = {"b": p["bias_ih"] + p["bias_hh"]}
    states = {name: inputs[name][0] for name in given}
    forward = getattr(reference, f"{cell.lower()}_forward")
    want = forward(inputs["x"], p["weight_ih"], p["weight_hh"], **biases, **states)
    state = pack([value[None] for value in states.values()])
    y, _ = call_of(problem)(problem.params, inputs["x"], state, None)
    np.testing.assert_allclose(y, want.y, rtol=0, atol=1e-13)
