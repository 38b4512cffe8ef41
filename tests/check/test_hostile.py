"""Inputs as they come: whatever their memory looks like, computed rightly or refused clearly.

Empty inputs, NaN and infinity are in test_properties.py, the inputs of layers in test_layers.py
and test_validated_inputs.py.
"""

import numpy as np
import pytest
from cells import CELLS
from numpy.testing import assert_array_equal

from rnncore import functional

SHAPE = (4, 3, 5, 17)  # T, B, I, H


@pytest.fixture(params=CELLS.values(), ids=CELLS.keys())
def cell(request):
    return request.param


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


# Layouts: each gives an equal array that lies in memory in another way


def backwards(a):
    flipped = np.flip(a).copy()
    return np.flip(flipped)


def with_gaps(a):
    wide = np.full([2 * n for n in a.shape], np.nan, a.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def axes_swapped(a):
    return np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0)


def off_its_alignment(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def field_of_a_record(a):
    records = np.zeros(a.shape, [("flag", np.int8), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


LAYOUTS = [backwards, with_gaps, axes_swapped, off_its_alignment, field_of_a_record]


def everything(cell, inputs, output_grads):
    trace = cell.forward(functional, inputs)
    outputs = cell.forward(functional, inputs, training=False)
    grads = cell.backward(functional, trace, inputs, output_grads)
    return [*outputs, trace.y, *grads.values()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_changes_a_bit(cell, dtype, layout, rng):
    inputs = cell.draw(SHAPE, dtype, rng)
    output_grads = cell.draw_output_grads(SHAPE, dtype, rng)
    expected = everything(cell, inputs, output_grads)

    laid_out = [{name: layout(a) for name, a in d.items()} for d in (inputs, output_grads)]
    assert_array_equal(laid_out[0]["x"], inputs["x"])
    for found, value in zip(everything(cell, *laid_out), expected, strict=True):
        assert_array_equal(found, value)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_broadcast_inputs(cell, dtype, axis, rng):
    """One value seen many times: what ``np.broadcast_to`` gives, with a stride of 0."""
    inputs = cell.draw(SHAPE, dtype, rng)
    output_grads = cell.draw_output_grads(SHAPE, dtype, rng)
    for arrays, name in ((inputs, "x"), (output_grads, "dy")):
        a = arrays[name]
        arrays[name] = np.broadcast_to(a.take([0], axis), a.shape)
    copies = [{name: a.copy() for name, a in d.items()} for d in (inputs, output_grads)]
    expected = everything(cell, *copies)
    for found, value in zip(everything(cell, inputs, output_grads), expected, strict=True):
        assert_array_equal(found, value)


@pytest.mark.parametrize("layout", [*LAYOUTS, lambda a: np.broadcast_to(a[:1], a.shape)])
def test_masks_at_inference(cell, dtype, layout, rng):
    """With masks inference takes the way of training, which wants a copy of x in order."""
    _, B, _, H = SHAPE
    inputs = cell.draw(SHAPE, dtype, rng)
    x = layout(inputs["x"])
    inputs |= {"x": x.copy(), "h_mask": rng.random((B, H)).astype(dtype)}
    expected = cell.forward(functional, inputs, training=False)
    for found, value in zip(
        cell.forward(functional, {**inputs, "x": x}, training=False), expected, strict=True
    ):
        assert_array_equal(found, value)


def test_one_array_in_several_places(cell, dtype, rng):
    """x is the initial state's memory too, dy the outputs, dh the final state: none is written."""
    T, B, _, H = SHAPE
    inputs = cell.draw((T, B, H, H), dtype, rng)
    inputs |= dict.fromkeys(cell.states, inputs["x"][0])
    if inputs["w_ih"].shape == inputs["w_hh"].shape:
        inputs["w_ih"] = inputs["w_hh"]
    trace = cell.forward(functional, inputs)
    output_grads = {"dy": trace.y, **{f"d{part}": trace.h_n for part in cell.kind.parts}}
    copies = [{name: a.copy() for name, a in d.items()} for d in (inputs, output_grads)]
    expected = everything(cell, *copies)
    for found, value in zip(everything(cell, inputs, output_grads), expected, strict=True):
        assert_array_equal(found, value)


# Refusals


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


def of(dtype):
    def convert(a):
        return a.astype(dtype)

    convert.__name__ = np.dtype(dtype).name
    return convert


def as_list(a):
    return a.tolist()


def masked(a):
    return np.ma.masked_array(a)


def scalar(a):
    return float(a.flat[0])


NOT_FLOATS = [byte_swapped, as_list, masked, scalar]
NOT_FLOATS += [of(t) for t in (np.float16, np.longdouble, np.int32, bool, np.complex64, object)]


def refusals(implementation, cell, change, error, skip=(), told=None):
    """Change each argument in turn; each must be refused by its name, or that it is `told` by."""
    rng = np.random.default_rng(0)
    inputs = cell.draw(SHAPE, np.float32, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float32, rng)
    trace = cell.forward(implementation, inputs)
    for name in set(inputs) - set(skip):
        changed = {**inputs, name: change(inputs[name])}
        with pytest.raises(error, match=rf"^{(told or {}).get(name, name)} "):
            cell.forward(implementation, changed)
        if name in cell.weights and cell.weights[name].read_back:
            with pytest.raises(error, match=rf"^{name} "):
                cell.backward(implementation, trace, changed, output_grads)
    for name in output_grads:
        changed = {**output_grads, name: change(output_grads[name])}
        with pytest.raises(error, match=rf"^{name} "):
            cell.backward(implementation, trace, inputs, changed)


@pytest.mark.parametrize("change", NOT_FLOATS)
def test_what_is_no_float_array_is_refused_by_name(implementation, cell, change):
    refusals(implementation, cell, change, TypeError)


def test_the_other_float_dtype_is_refused_by_name(implementation, cell):
    # An x of the other dtype is right by itself, and makes all else wrong.
    refusals(implementation, cell, of(np.float64), TypeError, skip=("x",))


@pytest.mark.parametrize(
    "change", [lambda a: a[None], lambda a: a[..., 0]], ids=["an axis more", "an axis less"]
)
def test_another_number_of_axes_is_refused_by_name(implementation, cell, change):
    refusals(implementation, cell, change, ValueError)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("by", [-1, 1])
def test_another_size_is_refused_by_name(implementation, cell, axis, by):
    def change(a):
        return np.resize(a, [n + by * (k == axis % a.ndim) for k, n in enumerate(a.shape)])

    # Any number of steps is right for x; of inputs, it is w_ih that does not fit. So it is where
    # w_hh is a vector, which may have any number of units.
    told = {"w_hh": "w_ih"} if len(cell.weights["w_hh"].shape) == 1 else None
    refusals(implementation, cell, change, ValueError, skip=("x",), told=told)


@pytest.mark.parametrize(("I", "H"), [(0, 3), (3, 0), (0, 0)])
def test_no_inputs_or_no_units(implementation, cell, I, H):
    T, B, _, _ = SHAPE
    zeros = {name: np.zeros(size) for name, size in cell.shapes(T, B, I, H).items()}
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        cell.forward(implementation, zeros)
