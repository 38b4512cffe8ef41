"""Rows of different lengths: each as if it were alone, whatever stands in its padding.

PyTorch's packed sequences are the oracle, where it has the cell: they know no length of 0. So every
row is compared with itself too, alone and unpadded.
"""

import numpy as np
import pytest
from problems import (
    KINDS,
    STATES,
    Problem,
    assert_same_bits,
    draw,
    everything,
    gaps,
    load_layer,
    pack,
    results,
    run_layer,
)

import rnncore

try:
    from torch_oracle import run_torch
except ImportError:
    run_torch = None

# torch says once that its fast path has no projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

T, I, H = 7, 5, 6
BOUND = {"float32": 1e-5, "float64": 1e-13}
LENGTHS = {
    "any order": (3, 7, 1, 5, 7, 2),
    "rising": (1, 2, 3, 4),
    "falling": (6, 4, 4, 1),
    "all T": (T, T, T),
    "all alike": (4, 4, 4),
    "one row": (5,),
    "all of one step": (1, 1, 1),
    "zeros among others": (0, 7, 3, 0, 1),
    "longest last": (0, 0, 6),
    "all zero": (0, 0, 0),
}
SCAFFOLDS = {
    f"{layers} layer{'s' * (layers > 1)}{' both ways' * both}": {
        "num_layers": layers,
        "bidirectional": both,
    }
    for layers in (1, 2, 3)
    for both in (False, True)
}

# What has the rows as its axis 1; all else is of the parameters.
OF_ROWS = {"x", "y", "dx", "dy"} | {f"{s}0" for s in ("h", "c", "dh", "dc")}
OF_ROWS |= {"dh", "dc", "hn", "cn"}

each_kind = pytest.mark.parametrize("kind", KINDS)
each_scaffold = pytest.mark.parametrize("scaffold", SCAFFOLDS)
each_lengths = pytest.mark.parametrize("lengths", LENGTHS)
with_and_without_state = pytest.mark.parametrize("initial", [False, True], ids=["zeros", "state"])


def ragged_problem(
    kind, lengths, rng, scaffold="2 layers both ways", initial=True, dtype="float64", **options
) -> Problem:
    cell, own = KINDS[kind]
    given = [name for name in everything(cell) if initial or not name.endswith("0")]
    sizes = {"input_size": I, "hidden_size": H}
    options = {**sizes, **own, **SCAFFOLDS[scaffold], "dtype": dtype, **options}
    return draw(cell, options, T, len(lengths), given, rng, lengths)


def alone(problem: Problem, row: int) -> dict[str, np.ndarray]:
    """The inputs of one row, without its padding."""
    n = problem.inputs["lengths"][row]
    inputs = {k: v[:, [row]] for k, v in problem.inputs.items() if k != "lengths"}
    return {k: v[:n] if k in ("x", "dy") else v for k, v in inputs.items()}


# Against PyTorch

# What torch.nn has not is written out step by step there, and takes long.
IN_TORCH = {"RNN", "RNN-relu", "GRU", "LSTM", "LSTM-projected"}
PACKED = [
    (kind, scaffold)
    for kind in KINDS
    for scaffold, options in SCAFFOLDS.items()
    if kind in IN_TORCH or options["num_layers"] < 3
]


@pytest.mark.skipif(run_torch is None, reason="PyTorch is not installed")
@with_and_without_state
@pytest.mark.parametrize("lengths", [name for name in LENGTHS if 0 not in LENGTHS[name]])
@pytest.mark.parametrize(("kind", "scaffold"), PACKED)
def test_packed_sequences_of_torch(kind, lengths, scaffold, initial, rng):
    problem = ragged_problem(kind, LENGTHS[lengths], rng, scaffold, initial)
    worst = gaps(run_layer(problem), run_torch(problem))
    assert max(worst.values()) < BOUND["float64"], worst


@pytest.mark.skipif(run_torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("seed", range(8))
@each_kind
def test_random_lengths_beside_torch_in_float32(kind, seed):
    rng = np.random.default_rng(seed)
    cell, own = KINDS[kind]
    T, B, H = (int(rng.integers(low, high)) for low, high in ((1, 40), (1, 20), (4, 40)))
    options = {"input_size": 9, "hidden_size": H, "num_layers": 2, "dtype": "float32", **own}
    options["bidirectional"] = bool(seed % 2)
    lengths = rng.integers(1, T + 1, B)
    problem = draw(cell, options, T, B, everything(cell), rng, lengths)
    worst = gaps(run_layer(problem), run_torch(problem))
    assert max(worst.values()) < BOUND["float32"], worst


# Against the rows by themselves


@each_lengths
@each_scaffold
@each_kind
def test_a_row_has_the_bits_it_has_alone(kind, scaffold, lengths, rng):
    problem = ragged_problem(kind, LENGTHS[lengths], rng, scaffold)
    layer, found = load_layer(problem), run_layer(problem)
    sums = {}
    for row, n in enumerate(LENGTHS[lengths]):
        for name, want in results(layer, alone(problem, row)).items():
            if name not in OF_ROWS:
                sums[name] = sums.get(name, 0) + want
                continue
            got = found[name][:, [row]]
            if name in ("y", "dx"):
                assert not got[n:].any(), name  # past the end
                got = got[:n]
            np.testing.assert_array_equal(got, want, name)
    # The rows' gradients of parameters add up, to rounding: a sum has another order.
    worst = gaps({name: found[name] for name in sums}, sums)
    assert max(worst.values()) < BOUND["float64"], worst


@each_scaffold
@each_kind
def test_no_row_has_a_step(kind, scaffold, rng):
    """The final state is the initial one, and their gradients likewise."""
    for steps, lengths in ((T, (0, 0)), (0, (0, 0)), (T, ())):
        cell, own = KINDS[kind]
        options = {"input_size": I, "hidden_size": H, **own, **SCAFFOLDS[scaffold]}
        options["dtype"] = "float64"
        problem = draw(cell, options, steps, len(lengths), everything(cell), rng, lengths)
        found, given = run_layer(problem), problem.inputs
        for s in STATES[cell]:
            np.testing.assert_array_equal(found[f"{s}n"], given[f"{s}0"])
            np.testing.assert_array_equal(found[f"d{s}0"], given[f"d{s}"])
        for name in found.keys() - OF_ROWS:
            assert not found[name].any(), name
        assert not found["y"].any()
        assert not found["dx"].any()


# What must not matter


@each_lengths
@each_kind
def test_what_stands_in_the_padding(kind, lengths, rng):
    problem = ragged_problem(kind, LENGTHS[lengths], rng)
    layer, marked = load_layer(problem), dict(problem.inputs)
    for name in ("x", "dy"):
        marked[name] = marked[name].copy()
        for row, n in enumerate(LENGTHS[lengths]):
            marked[name][n:, row] = np.nan
    want = results(layer, problem.inputs)
    assert_same_bits(results(layer, marked), want)
    state = pack([marked[f"{s}0"] for s in STATES[problem.cell]])
    for call in (layer, layer.freeze()):
        y, _ = call(marked["x"], state, lengths=marked["lengths"])
        np.testing.assert_array_equal(y, want["y"])


@each_lengths
@each_scaffold
@each_kind
def test_the_batch_first(kind, scaffold, lengths, rng):
    problem = ragged_problem(kind, LENGTHS[lengths], rng, scaffold)
    want = run_layer(problem)
    inputs = {k: v.swapaxes(0, 1) if k in ("x", "dy") else v for k, v in problem.inputs.items()}
    options = {**problem.options, "batch_first": True}
    got = run_layer(problem._replace(options=options, inputs=inputs))
    assert_same_bits(got | {name: got[name].swapaxes(0, 1) for name in ("y", "dx")}, want)


@each_scaffold
@each_kind
def test_lengths_of_all_steps_are_no_lengths(kind, scaffold, rng):
    problem = ragged_problem(kind, LENGTHS["all T"], rng, scaffold, dtype="float32")
    padded = {name: value for name, value in problem.inputs.items() if name != "lengths"}
    layer = load_layer(problem)
    assert_same_bits(results(layer, problem.inputs), results(layer, padded))


@each_lengths
@each_scaffold
@each_kind
def test_calls_and_frozen_layers_give_the_bits_of_training(kind, scaffold, lengths, rng):
    problem = ragged_problem(kind, LENGTHS[lengths], rng, scaffold, dtype="float32")
    layer, names, given = load_layer(problem), STATES[problem.cell], problem.inputs
    found = results(layer, given)
    want = found["y"], *(found[f"{s}n"] for s in names)
    state = pack([given[f"{s}0"] for s in names])
    for call in (layer, layer.freeze()):
        y, last = call(given["x"], state, lengths=given["lengths"])
        got = y, *(last if isinstance(last, tuple) else (last,))
        for value, expected in zip(got, want, strict=True):
            np.testing.assert_array_equal(value, expected, strict=True)


@pytest.mark.parametrize("form", [list, tuple, np.int8, np.uint64, "strided", "read-only"])
def test_lengths_of_any_integers(form, rng):
    problem = ragged_problem("GRU", LENGTHS["any order"], rng)
    want, layer = run_layer(problem), load_layer(problem)
    lengths = problem.inputs["lengths"]
    if form == "strided":
        lengths = np.repeat(lengths, 2)[::2]
    elif form == "read-only":
        lengths.flags.writeable = False
    else:
        lengths = form(lengths.tolist()) if form in (list, tuple) else lengths.astype(form)
    assert_same_bits(results(layer, {**problem.inputs, "lengths": lengths}), want)


def test_a_trace_keeps_lengths_of_its_own(rng):
    problem = ragged_problem("GRU", LENGTHS["any order"], rng)
    layer, given = load_layer(problem), problem.inputs
    _, _, trace = layer.forward(given["x"], given["h0"], lengths=given["lengths"])
    want = layer.backward(trace, given["dy"], given["dh"])
    given["lengths"][...] = 0
    got = layer.backward(trace, given["dy"], given["dh"])
    np.testing.assert_array_equal(got.x, want.x)
    np.testing.assert_array_equal(got.state, want.state)


# Large enough for a team of threads: many rows, and one row whose units are shared.
@pytest.mark.parametrize(
    ("lengths", "H"),
    [((120, 0, 44, 160, 8, 160, 100), 100), ((0, 240, 28), 150), ((240,), 260)],
    ids=str,
)
@each_kind
def test_threads(kind, lengths, H, rng):
    cell, own = KINDS[kind]
    options = {"input_size": 17, "hidden_size": H, "num_layers": 2, "bidirectional": True}
    options |= {**own, "dtype": "float32"}
    if "proj_size" in own:
        options["proj_size"] = H // 2
    problem = draw(cell, options, max(lengths), len(lengths), everything(cell), rng, lengths)
    layer = load_layer(problem)
    with rnncore.num_threads(1):
        want = results(layer, problem.inputs)
    with rnncore.num_threads(2):
        assert_same_bits(results(layer, problem.inputs), want)
