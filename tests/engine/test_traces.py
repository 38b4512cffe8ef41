"""Traces: read-only, whoever computes them, also as copies; each is for its own cell and family."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from cells import CELLS, VARIANTS, arrays_of
from numpy.testing import assert_array_equal

from rnncore import functional, reference

SHAPE = (6, 3, 4, 5)  # T, B, I, H


@pytest.fixture(params=CELLS | VARIANTS)
def cell(request):
    return (CELLS | VARIANTS)[request.param]


def test_a_trace_is_read_only(implementation, cell, rng):
    trace = cell.forward(implementation, cell.draw(SHAPE, np.float64, rng))
    for name, array in arrays_of(trace).items():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
            setattr(trace, name, array)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda trace: pickle.loads(pickle.dumps(trace))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_trace_that_was_copied_is_read_only_too(implementation, cell, again, rng):
    inputs = cell.draw(SHAPE, np.float32, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float32, rng)
    trace = cell.forward(implementation, inputs)
    copied = again(trace)
    for name, array in arrays_of(copied).items():
        if name != "memory":  # whose padding says nothing, and is zeros in a copy
            assert_array_equal(array, getattr(trace, name))
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    first = cell.backward(implementation, trace, inputs, output_grads)
    for name, array in cell.backward(implementation, copied, inputs, output_grads).items():
        assert_array_equal(array, first[name])


def test_a_trace_may_be_used_twice_and_outlives_changes_to_its_inputs(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    output_grads = cell.draw_output_grads(SHAPE, np.float64, rng)
    trace = cell.forward(implementation, inputs)
    first = cell.backward(implementation, trace, inputs, output_grads)
    for name in ("x", *cell.states, *cell.drawn):
        inputs[name][...] = 7
    second = cell.backward(implementation, trace, inputs, output_grads)
    for name in first:
        assert_array_equal(first[name], second[name])
        assert not np.shares_memory(first[name], second[name])


def test_a_trace_of_the_other_family_is_refused(implementation, cell, rng):
    """Their classes have the same names, but not the same arrays."""
    inputs = cell.draw(SHAPE, np.float64, rng)
    other = functional if implementation is reference else reference
    kind = f"{cell.kind.name}Trace"
    expected = f"expected {kind} of {implementation.__name__}"
    trace = cell.forward(other, inputs)
    with pytest.raises(
        TypeError, match=f"^trace is of type {kind} of {other.__name__}, {expected}$"
    ):
        cell.backward(implementation, trace, inputs, {})


def test_a_trace_of_another_cell_is_refused(implementation, cell, rng):
    inputs = cell.draw(SHAPE, np.float64, rng)
    for other in CELLS.values():
        if other.kind is cell.kind:
            continue
        trace = other.forward(implementation, other.draw(SHAPE, np.float64, rng))
        with pytest.raises(
            TypeError,
            match=f"^trace is of type {trace.kind.name}Trace, expected {cell.kind.name}Trace$",
        ):
            cell.backward(implementation, trace, inputs, {})
