"""What holds for every cell, whoever computes it: the NumPy reference or the compiled core."""

import importlib

import numpy as np
import pytest
from cells import CELLS, VARIANTS, arrays_of
from numpy.testing import assert_allclose, assert_array_equal
from own_options import own_functions

from rnncore._cells.arguments import inputs
from rnncore._cells.kind import CellKind, State, Weight

SHAPE = (6, 3, 4, 5)  # T, B, I, H
DTYPES = [np.float32, np.float64]

COUPLED = [cell for cell in CELLS.values() if cell.options.get("coupled")]


PAIRS = [(module, name) for name in CELLS | VARIANTS for module in ("reference", "functional")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    return request.param


@pytest.fixture
def implementation(pair):
    return importlib.import_module(f"rnncore.{pair[0]}")


@pytest.fixture
def cell(pair):
    return (CELLS | VARIANTS)[pair[1]]


def take_rows(arrays, keep):
    """The batch rows `keep` of each (T, B, ...) and (B, ...) array."""
    return {name: a[:, keep] if a.ndim == 3 else a[keep] for name, a in arrays.items()}


def take_time(arrays, steps):
    """`arrays` with a part of the time, a slice, of those that have one."""
    timed = {
        name: a[steps] for name, a in arrays.items() if name in ("x", "dy", "keep_h", "keep_c")
    }
    return arrays | timed


def split(cell, arrays):
    """What belongs to single rows (x, states, masks), and what all rows share (the parameters)."""
    own = {name: a for name, a in arrays.items() if name in ("x", *cell.states, *cell.drawn)}
    return own, {name: a for name, a in arrays.items() if name not in own}


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
def test_shapes_and_order_of_the_trace(implementation, cell, reverse, rng):
    T, B, _, H = SHAPE
    inputs = cell.draw(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs, reverse=reverse)
    assert_array_equal(trace.x, inputs["x"])
    assert trace.y.shape == (T, B, cell.width("h", H))
    if "lengths" not in cell.drawn:
        assert_array_equal(trace.y, trace.h[:0:-1] if reverse else trace.h[1:])
    for name in cell.states:
        states = getattr(trace, name[0])
        assert states.shape == (T + 1, B, cell.width(name, H))
        assert_array_equal(states[0], inputs[name])
        assert_array_equal(states[-1], getattr(trace, f"{name[0]}_n"))
    if len(cell.kind.gates) > 1:
        blocks = 3 if cell.options.get("reset") == "before" else 4
        assert trace.gates.shape == (T, B, blocks * H)


def test_a_gradient_has_the_shape_of_its_input(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    grads = cell.backward(
        implementation, trace, inputs, cell.draw_output_grads(SHAPE, np.float64, rng)
    )
    assert {n: g.shape for n, g in grads.items()} == {n: inputs[n].shape for n in cell.inputs}


@pytest.mark.parametrize("given", ["everything", "the least"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_dtype_throughout(implementation, cell, dtype, given, rng):
    inputs = cell.draw(SHAPE, dtype, rng)
    output_grads = cell.draw_output_grads(SHAPE, dtype, rng)
    if given == "the least":
        output_grads = {"dy": output_grads["dy"]}
        for name in (*cell.biases, *cell.states):
            del inputs[name]
    trace = cell.forward(implementation, inputs)
    outputs = cell.forward(implementation, inputs, training=False)
    grads = cell.backward(implementation, trace, inputs, output_grads)
    for found in (arrays_of(trace), arrays_of(outputs), grads):
        found.pop("lengths", None)
        assert {name: a.dtype for name, a in found.items()} == dict.fromkeys(found, dtype)


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
def test_inference_gives_the_same_and_keeps_nothing(implementation, cell, reverse, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs, reverse=reverse)
    outputs = cell.forward(implementation, inputs, reverse=reverse, training=False)
    assert set(arrays_of(outputs)) == set(cell.output_grads.values())
    for name, array in arrays_of(outputs).items():
        assert_array_equal(array, getattr(trace, name))
        assert array.flags.writeable
        assert array.flags.c_contiguous
    with pytest.raises(ValueError, match="training=False"):
        cell.backward(implementation, outputs, inputs, {})


def test_backward_without_any_gradient_is_refused(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    nothing = " and ".join(f"{name} is None" for name in cell.output_grads)
    with pytest.raises(ValueError, match=f"^{nothing}, expected at least one gradient$"):
        cell.backward(implementation, trace, inputs, {})


def test_inputs_are_not_written_to(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    given = {**inputs, **output_grads}
    before = {name: array.copy() for name, array in given.items()}
    trace = cell.forward(implementation, inputs)
    grads = cell.backward(implementation, trace, inputs, output_grads)
    for name, array in given.items():
        assert_array_equal(array, before[name])
        assert array.flags.writeable, f"{name} was made read-only"
        for result in (*arrays_of(trace).values(), *grads.values()):
            assert not np.shares_memory(array, result), name


def strided(a):
    return np.repeat(a, 2, axis=-1)[..., ::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("layout", [np.asfortranarray, strided, read_only])
def test_memory_layout_of_the_inputs_does_not_matter(implementation, cell, layout, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    grads = cell.backward(implementation, trace, inputs, output_grads)

    inputs, output_grads = ({n: layout(a) for n, a in d.items()} for d in (inputs, output_grads))
    other = cell.forward(implementation, inputs)
    assert_allclose(other.y, trace.y, rtol=0, atol=1e-14)
    for name, grad in cell.backward(implementation, other, inputs, output_grads).items():
        assert_allclose(grad, grads[name], rtol=1e-12, atol=1e-13)


# In a batch of several lengths the other direction is no flip of all.
OF_ONE_LENGTH = [pair for pair in PAIRS if "lengths" not in (CELLS | VARIANTS)[pair[1]].drawn]


@pytest.mark.parametrize("pair", OF_ONE_LENGTH, ids="-".join, indirect=True)
def test_reverse_is_the_flipped_sequence(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs, reverse=True)
    grads = cell.backward(implementation, trace, inputs, output_grads)

    flipped = take_time(inputs, slice(None, None, -1))
    flipped_trace = cell.forward(implementation, flipped)
    flipped_grads = cell.backward(
        implementation, flipped_trace, flipped, take_time(output_grads, slice(None, None, -1))
    )
    flipped_grads["x"] = flipped_grads["x"][::-1]
    assert_array_equal(trace.y, flipped_trace.y[::-1])
    assert_array_equal(trace.h_n, flipped_trace.h_n)
    for name in grads:
        assert_allclose(grads[name], flipped_grads[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cut", [0, 1, 4, 6])
def test_cutting_time_in_two_changes_nothing(implementation, cell, cut, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    whole = cell.forward(implementation, inputs)
    grads = cell.backward(implementation, whole, inputs, output_grads)

    early, late = take_time(inputs, slice(None, cut)), take_time(inputs, slice(cut, None))
    if "lengths" in inputs:
        early["lengths"] = np.minimum(inputs["lengths"], cut)
        late["lengths"] = inputs["lengths"] - early["lengths"]
    first = cell.forward(implementation, early)
    state = {name: getattr(first, f"{name[0]}_n") for name in cell.states}
    late |= state
    second = cell.forward(implementation, late)
    assert_array_equal(np.concatenate((first.y, second.y)), whole.y)
    for name in cell.states:
        assert_array_equal(getattr(second, f"{name[0]}_n"), getattr(whole, f"{name[0]}_n"))

    late_grads = cell.backward(
        implementation, second, late, take_time(output_grads, slice(cut, None))
    )
    carried = {f"d{name[0]}": late_grads[name] for name in cell.states}
    early_grads = cell.backward(
        implementation, first, early, {"dy": output_grads["dy"][:cut], **carried}
    )
    for name, grad in grads.items():
        if name == "x":
            parts = np.concatenate((early_grads["x"], late_grads["x"]))
        elif name in cell.states:
            parts = early_grads[name]
        else:
            parts = early_grads[name] + late_grads[name]
        assert_allclose(parts, grad, rtol=1e-12, atol=1e-14)


def test_batch_rows_do_not_mix(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    grads = cell.backward(implementation, trace, inputs, output_grads)
    own, shared = split(cell, inputs)
    own_grads, shared_grads = split(cell, grads)
    sums = {name: np.zeros_like(grad) for name, grad in shared_grads.items()}
    for row in range(SHAPE[1]):
        keep = slice(row, row + 1)
        alone = take_rows(own, keep) | shared
        trace_alone = cell.forward(implementation, alone)
        assert_allclose(trace_alone.y, trace.y[:, keep], rtol=1e-12, atol=1e-14)
        grads_alone = cell.backward(
            implementation, trace_alone, alone, take_rows(output_grads, keep)
        )
        for name, grad in take_rows(own_grads, keep).items():
            assert_allclose(grads_alone[name], grad, rtol=1e-12, atol=1e-14)
        for name in sums:
            sums[name] += grads_alone[name]
    for name, grad in shared_grads.items():
        assert_allclose(sums[name], grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_row(implementation, cell, value, rng):
    bad_step, bad_row, others = 2, 1, [0, 2]
    inputs = cell.draw(SHAPE, np.float64, rng)
    if "lengths" in inputs:
        inputs["lengths"][bad_row] = SHAPE[0]
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    grads = cell.backward(implementation, trace, inputs, output_grads)

    inputs["x"][bad_step, bad_row, 0] = value
    bad_trace = cell.forward(implementation, inputs)
    bad_grads = cell.backward(implementation, bad_trace, inputs, output_grads)
    assert_array_equal(bad_trace.y[:, others], trace.y[:, others])
    assert_array_equal(bad_grads["x"][:, others], grads["x"][:, others])
    for name in cell.states:
        assert_array_equal(bad_grads[name][others], grads[name][others])
    assert_array_equal(bad_trace.y[:bad_step, bad_row], trace.y[:bad_step, bad_row])
    if np.isnan(value):
        assert np.isnan(bad_trace.y[bad_step:, bad_row]).all()
        assert np.isnan(bad_grads["w_hh"]).any()


@pytest.mark.parametrize("reverse", [False, True], ids=["ahead", "reverse"])
def test_without_steps_the_state_passes_through(implementation, cell, reverse, rng):
    shape = (0, *SHAPE[1:])
    inputs = cell.draw(shape, np.float64, rng)
    output_grads = cell.draw_output_grads(shape, np.float64, rng)
    for training in (True, False):
        result = cell.forward(implementation, inputs, reverse=reverse, training=training)
        assert result.y.shape == (0, SHAPE[1], cell.width("h", SHAPE[3]))
        for name in cell.states:
            assert_array_equal(getattr(result, f"{name[0]}_n"), inputs[name])
    trace = cell.forward(implementation, inputs, reverse=reverse)
    for name, grad in cell.backward(implementation, trace, inputs, output_grads).items():
        assert grad.shape == inputs[name].shape
        expected = output_grads[f"d{name[0]}"] if name in cell.states else 0
        assert_array_equal(grad, np.broadcast_to(expected, grad.shape))
        assert not any(np.shares_memory(grad, given) for given in output_grads.values())


def test_without_rows_the_gradients_of_the_parameters_are_zero(implementation, cell, rng):
    shape = (SHAPE[0], 0, *SHAPE[2:])
    inputs = cell.draw(shape, np.float64, rng)
    output_grads = cell.draw_output_grads(shape, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    assert trace.y.shape == (SHAPE[0], 0, cell.width("h", SHAPE[3]))
    for name, grad in cell.backward(implementation, trace, inputs, output_grads).items():
        assert_array_equal(grad, np.zeros(inputs[name].shape))


def test_what_is_missing_counts_as_zeros(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    optional = {*cell.biases, *cell.states}
    given = {name: array for name, array in inputs.items() if name not in optional}
    zeros = {name: np.zeros_like(array) for name, array in inputs.items() if name in optional}
    trace = cell.forward(implementation, given)
    same = cell.forward(implementation, given | zeros)
    assert_array_equal(trace.y, same.y)

    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    grads = cell.backward(implementation, trace, given, output_grads)
    assert set(grads) == set(cell.inputs)  # of what was missing too
    for name, grad in cell.backward(implementation, same, given | zeros, output_grads).items():
        assert_array_equal(grads[name], grad)
    none = {name: np.zeros_like(array) for name, array in output_grads.items()}
    for arrives, array in output_grads.items():
        with_zeros = cell.backward(implementation, trace, given, none | {arrives: array})
        for name, grad in cell.backward(implementation, trace, given, {arrives: array}).items():
            assert_array_equal(grad, with_zeros[name])


def test_gradients_are_linear_in_the_output_gradients(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    together = cell.backward(implementation, trace, inputs, output_grads)
    apart = [
        cell.backward(implementation, trace, inputs, {name: array})
        for name, array in output_grads.items()
    ]
    for name, grad in together.items():
        assert_allclose(sum(part[name] for part in apart), grad, rtol=1e-12, atol=1e-13)


def test_sums_of_any_size_saturate_without_a_warning(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float32, rng)
    inputs["x"] *= 1e30
    trace = cell.forward(implementation, inputs)
    # A relu and its like may overflow, but in silence.
    own = own_functions(cell.kind, **cell.options)
    if "Relu" not in own and "activations" not in cell.options:
        assert np.isfinite(trace.y).all()
        if not cell.projection:
            assert np.abs(trace.y).max() <= np.abs(inputs["h0"]).max() + 1


@pytest.mark.parametrize("cell", COUPLED, ids=lambda cell: str(cell.options))
@pytest.mark.parametrize("module", ["reference", "functional"])
def test_a_coupled_forget_gate_takes_no_part(module, cell, rng):
    implementation = importlib.import_module(f"rnncore.{module}")
    H = SHAPE[-1]
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    i, f = trace.gates[..., :H], trace.gates[..., H : 2 * H]
    assert_array_equal(f, 1 - i)
    grads = cell.backward(implementation, trace, inputs, output_grads)
    for name in ("w_ih", "w_hh", "b", "w_ch"):
        if name in grads:
            assert_array_equal(grads[name][H : 2 * H], 0)
            assert np.all(grads[name][:H] != 0)
            inputs[name][H : 2 * H] += 1
    assert_array_equal(cell.forward(implementation, inputs).y, trace.y)


def test_a_cell_without_recurrent_weights_is_described_too(rng):
    """The units are then told by the weights of the input."""
    kind = CellKind(
        name="Leak",
        prefix="leak",
        gates="zh",
        states=(State("h", "H"),),
        weights=(Weight("weight_ih", "w_ih", ("2H", "I"), "w_ih", "glorot"),),
        options=(),
        functions=("Sigmoid", "Tanh"),
        grads=dict,
    )
    given = dict.fromkeys(("activations", "clip", "h0", "keep_h", "h_mask", "lengths"))
    given |= {"x": np.zeros((5, 3, 4)), "reverse": False, "training": True}
    found = inputs(kind, {**given, "w_ih": np.zeros((14, 4))})
    assert (found.H, found.P) == (7, 7)
    with pytest.raises(ValueError, match=r"^w_ih has shape \(15, 4\), expected \(14, 4\)$"):
        inputs(kind, {**given, "w_ih": np.zeros((15, 4))})
