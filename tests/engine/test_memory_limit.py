"""Long sequences in bounded memory: the same bits, in a trace that keeps to its limit."""

import re

import numpy as np
import pytest
from in_a_process import of_a_process, printed
from problems import KINDS, STATES, assert_same_bits, draw, everything, load_layer, results

import rnncore
from rnncore._engine import passes

# Windows begin where the chunks of the backward pass do, 1024 rows of a batch each.
T, B, I, H = 1100, 4, 3, 5
LENGTHS = {"no lengths": None, "lengths": (1000, 0, 1100, 7), "one row": (0, 0, 1099, 0)}
SCAFFOLDS = {
    "one": {},
    "both": {"bidirectional": True},
    "stack": {"num_layers": 3},
    "stack both": {"num_layers": 2, "bidirectional": True},
}
MASKS = {
    "nothing dropped": {},
    "recurrent": {"recurrent_dropout": 0.3},
    "all dropped": {"dropout": 0.3, "recurrent_dropout": 0.3, "zoneout": 0.3},
}

each_kind = pytest.mark.parametrize("kind", KINDS)
each_lengths = pytest.mark.parametrize("lengths", LENGTHS)


def masked_scaffold(scaffold, masks):
    """Their options; one layer has nothing to drop between layers, and warns."""
    options = {**SCAFFOLDS[scaffold], **MASKS[masks]}
    return options if "num_layers" in options else options | {"dropout": 0.0}


def long_problem(kind, rng, lengths=None, steps=T, **options):
    cell, own = KINDS[kind]
    options = {"input_size": I, "hidden_size": H, "rng": 0, "dtype": "float32", **own, **options}
    return draw(cell, options, steps, B, everything(cell), rng, LENGTHS.get(lengths))


def forward(problem, limit=None):
    """The trace; of a new layer, so that the same is drawn each time."""
    given = problem.inputs
    *_, trace = load_layer(problem).forward(
        given["x"], lengths=given.get("lengths"), memory_limit=limit
    )
    return trace


def least_of(problem) -> int:
    """The bytes that the refusal of an impossible limit names."""
    with pytest.raises(ValueError, match=r"^memory_limit is 1, expected at least \d+ bytes") as got:
        forward(problem, 1)
    return int(re.search(r"at least (\d+) bytes", str(got.value))[1])


# The same bits


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("scaffold", SCAFFOLDS)
@each_lengths
@each_kind
def test_nothing_depends_on_the_limit(kind, lengths, scaffold, masks, rng):
    problem = long_problem(kind, rng, lengths, **masked_scaffold(scaffold, masks))
    want = results(load_layer(problem), problem.inputs)
    full, least = forward(problem).nbytes, least_of(problem)
    assert least < full
    for limit in (least, (least + full) // 2):
        got = results(load_layer(problem), problem.inputs, memory_limit=limit)
        assert_same_bits(got, want)


@each_kind
def test_options_of_the_cell_and_the_batch(kind, rng):
    """With clip and float64, the batch first; and where one sequence is all."""
    problem = long_problem(kind, rng, clip=0.7, dtype="float64", batch_first=True)
    want = results(load_layer(problem), problem.inputs)
    got = results(load_layer(problem), problem.inputs, memory_limit=least_of(problem))
    assert_same_bits(got, want)

    single = {name: problem.inputs[name][0] for name in ("x", "dy")}
    layer = load_layer(problem)
    limit = least_of(problem._replace(inputs=single))
    assert limit < forward(problem._replace(inputs=single)).nbytes
    assert_same_bits(results(layer, single, memory_limit=limit), results(layer, single))


@each_lengths
@each_kind
def test_threads(kind, lengths, rng):
    problem = long_problem(kind, rng, lengths, hidden_size=40, bidirectional=True)
    with rnncore.num_threads(1):
        want = results(load_layer(problem), problem.inputs)
    with rnncore.num_threads(2):
        limit = least_of(problem)
        assert_same_bits(results(load_layer(problem), problem.inputs, memory_limit=limit), want)


def test_a_limited_trace_may_be_used_many_times(rng):
    problem = long_problem("LSTM", rng, "lengths", num_layers=2)
    layer, given = load_layer(problem), problem.inputs
    _, _, trace = layer.forward(
        given["x"], lengths=given["lengths"], memory_limit=least_of(problem)
    )
    first = layer.backward(trace, given["dy"])
    given["x"][...] = np.nan  # it holds nothing of the caller's
    again = layer.backward(trace, given["dy"])
    np.testing.assert_array_equal(again.x, first.x)
    np.testing.assert_array_equal(again.params["weight_hh_l1"], first.params["weight_hh_l1"])


def test_the_gradient_flow(rng):
    problem = long_problem("LSTM", rng, "lengths", bidirectional=True)
    layer, given = load_layer(problem), problem.inputs
    flows = []
    for limit in (None, least_of(problem)):
        _, _, trace = layer.forward(given["x"], lengths=given["lengths"], memory_limit=limit)
        flows.append(np.full((2, 2, T, B), np.nan))
        layer.backward(trace, given["dy"], (given["dh"], given["dc"]), flow=flows[-1])
    np.testing.assert_array_equal(flows[1], flows[0])


# Within the limit


@pytest.mark.parametrize("steps", [0, 1, 5, 300, T])
@pytest.mark.parametrize("scaffold", SCAFFOLDS)
@each_kind
def test_the_least_that_is_named_is_enough_and_one_byte_less_is_not(kind, scaffold, steps, rng):
    """Where few steps are kept whole, that may take less than the states between windows."""
    problem = long_problem(kind, rng, steps=steps, **SCAFFOLDS[scaffold])
    least = least_of(problem)
    assert forward(problem, least).nbytes <= least
    with pytest.raises(ValueError, match=f"expected at least {least} bytes"):
        forward(problem, least - 1)


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("scaffold", SCAFFOLDS)
@each_lengths
@each_kind
def test_the_trace_and_what_is_computed_anew_keep_to_the_limit(
    kind, lengths, scaffold, masks, rng, monkeypatch
):
    problem = long_problem(kind, rng, lengths, **masked_scaffold(scaffold, masks))
    windows = []
    trace_of = passes.trace

    def watched(*arguments, **options):
        windows.append(trace_of(*arguments, **options))
        return windows[-1]

    least, full = least_of(problem), forward(problem).nbytes
    for limit in (least, (least + full) // 2, full):
        windows.clear()
        monkeypatch.setattr(passes, "trace", watched)
        trace = forward(problem, limit)
        monkeypatch.undo()
        held = {id(array) for cell in trace.cells for array in cell.arrays}
        held |= {id(mask) for mask in trace.dropped}
        anew = [
            sum(array.nbytes for array in window.arrays if id(array) not in held)
            for window in windows
        ]
        assert trace.nbytes + (0 if limit >= full else max(anew)) <= limit
    with pytest.raises(
        ValueError, match=f"^memory_limit is {least - 1}, expected at least {least}"
    ):
        forward(problem, least - 1)


@each_kind
def test_a_limit_that_all_fits_in_changes_nothing(kind, rng):
    problem = long_problem(kind, rng, "lengths", num_layers=2)
    trace = forward(problem)
    limited = forward(problem, trace.nbytes)
    assert limited.nbytes == trace.nbytes
    assert {type(cell) for cell in limited.cells} == {type(cell) for cell in trace.cells}


@pytest.mark.parametrize(("steps", "rows"), [(0, B), (0, 0), (T, 0)])
@pytest.mark.parametrize("lengths", [False, True])
@each_kind
def test_nothing_to_do(kind, steps, rows, lengths, rng):
    cell, own = KINDS[kind]
    options = {"input_size": I, "hidden_size": H, "dtype": "float32", **own}
    problem = draw(
        cell, options, steps, rows, everything(cell), rng, [0] * rows if lengths else None
    )
    layer = load_layer(problem)
    got = results(layer, problem.inputs, memory_limit=10**6)
    assert_same_bits(got, results(layer, problem.inputs))


# Measured from outside the process

PEAK = """
import sys

kind, T, B, H, share = sys.argv[1], *map(int, sys.argv[2:])
layer = getattr(rc, kind)(H, H, rng=0)
x = np.ones((T, B, H), np.float32)
dy = np.ones((T, B, H), np.float32)
*_, trace = layer.forward(x[:T // 100])
layer.backward(trace, dy[:T // 100])
limit = x.nbytes + share * trace.nbytes if share else None
del trace
# The imports have left a high-water mark. Filled up to it, all that is taken more raises it.
ballast = np.ones(max(0, status("VmHWM") - status("VmRSS")), np.uint8)
before = status("VmHWM")
y, _, trace = layer.forward(x, memory_limit=limit)
grads = layer.backward(trace, dy)
given = y.nbytes + grads.x.nbytes + sum(array.nbytes for array in grads.params.values())
print(status("VmHWM") - before - given, limit or 0, trace.nbytes)
"""


@of_a_process
@pytest.mark.parametrize("kind", STATES)
def test_the_peak_of_a_process(kind):
    """Of 4000 steps, beside results and gradients: what the limit says, and some scratch."""
    sizes = T, B, H = 4000, 8, 64
    scratch = T * B * H // 4  # bytes, where a trace has four and more for each number of y
    whole, _, traced = printed(PEAK, kind, *sizes, 0)
    assert abs(whole - traced) < scratch
    for share in (5, 10, 25):  # hundredths of the trace, beside x
        taken, limit, held = printed(PEAK, kind, *sizes, share)
        assert held <= limit
        assert taken < limit + scratch
        assert limit + scratch < whole
