"""Whose memory it is that layers, their results and their traces hold, and how it lies."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from layer_problems import (
    B,
    I,
    T,
    assert_equal,
    draw,
    draw_state,
    each_cell,
    each_layer,
    each_scaffold,
    make,
    packed,
    parts,
)
from problems import STATES

# Memory: whose it is, and in which order it lies


def strided(a):
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def reversed_in_memory(a):
    return a[::-1].copy()[::-1]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("layout", [strided, reversed_in_memory, read_only, np.asfortranarray])
@pytest.mark.parametrize("scaffold", ["one", "stack-both"])
@each_layer
def test_inputs_may_lie_in_memory_as_they_like(kind, scaffold, layout, rng):
    layer = make(kind, rng, scaffold)
    x, state, dy, dstate = draw(layer, rng, B)
    y, end, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)

    laid = [layout(x), *map(layout, parts(state)), layout(dy), *map(layout, parts(dstate))]
    before = [a.copy() for a in laid]
    n = len(parts(state))
    x, state, dy, dstate = laid[0], packed(laid[1 : 1 + n]), laid[1 + n], packed(laid[2 + n :])
    *got, trace = layer.forward(x, state)
    assert_close(tuple(got), (y, end))
    assert_close(layer(x, state), (y, end))
    assert_close(tuple(layer.backward(trace, dy, dstate)), tuple(grads))
    assert_equal(tuple(laid), tuple(before))


def assert_close(got, want):
    """Equal up to the order of sums: a matrix product may depend on the strides of its inputs."""
    if isinstance(want, dict):
        got, want = tuple(got.values()), tuple(want.values())
    if isinstance(want, tuple):
        for one, other in zip(got, want, strict=True):
            assert_close(one, other)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@each_layer
def test_parameters_may_lie_in_memory_as_they_like(kind, rng):
    layer = make(kind, rng, "stack-both")
    x, state, dy, dstate = draw(layer, rng, B)
    y, end, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)
    layer.params = {
        name: read_only(np.asfortranarray(value)) for name, value in layer.params.items()
    }
    *got, trace = layer.forward(x, state)
    assert_close(tuple(got), (y, end))
    assert_close(tuple(layer.backward(trace, dy, dstate)), tuple(grads))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("rows", [(), (1,), (B,)], ids=["unbatched", "one row", "batch"])
@each_scaffold
@each_cell
def test_results_are_the_callers_own(kind, scaffold, rows, batch_first, rng):
    layer = make(kind, rng, scaffold, batch_first=batch_first)
    x, state, dy, dstate = draw(layer, rng, *rows)
    y, end, trace = layer.forward(x, state)
    before = layer.backward(trace, dy, dstate)
    y_called, end_called = layer(x, state)
    results = [y, *parts(end), y_called, *parts(end_called)]
    for k, result in enumerate(results):
        assert result.flags.writeable
        assert result.flags.c_contiguous
        for other in (x, *parts(state), *layer.params.values(), *results[:k]):
            assert not np.shares_memory(result, other)
    # Whatever becomes of what came in and went out, the trace is as it was.
    for array in (*results, x, *parts(state)):
        array[...] = np.nan
    after = layer.backward(trace, dy, dstate)
    assert_equal(after, before)
    for value in (after.x, *parts(after.state)):
        assert value.flags.writeable
        assert value.flags.c_contiguous
        value[...] = np.nan  # nor do gradients share anything with the trace or with dstate
    assert_equal(layer.backward(trace, dy, dstate), before)


@each_scaffold
@each_cell
def test_a_layer_of_no_steps_does_not_hand_out_its_input(kind, scaffold, rng):
    layer = make(kind, rng, scaffold)
    state = draw_state(layer, rng, B)
    _, end = layer(np.zeros((0, B, I)), state)
    for start, part in zip(parts(state), parts(end), strict=True):
        assert not np.shares_memory(start, part)


@each_layer
def test_a_trace_is_read_only(kind, rng):
    layer = make(kind, rng, "stack-both")
    x, state, _, _ = draw(layer, rng, B)
    *_, trace = layer.forward(x, state)
    with pytest.raises(AttributeError):
        trace.cells = ()
    assert len(trace.cells) == 4
    states = STATES[type(layer).__name__]
    names = ["x", "y", *states, *(f"{s}_n" for s in states)]
    for cell in trace.cells:
        for name in names:
            assert not getattr(cell, name).flags.writeable


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_scaffold
@each_layer
def test_everything_has_the_dtype_of_the_layer(kind, scaffold, dtype, rng):
    layer = make(kind, rng, scaffold, dtype)
    x, state, dy, dstate = draw(layer, rng, B)
    y, end, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)
    arrays = [y, *parts(end), grads.x, *parts(grads.state), *grads.params.values()]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


# Traces and layers


@each_layer
def test_traces_are_independent_and_may_be_used_again(kind, rng):
    layer = make(kind, rng, "stack-both")
    (x1, s1, dy1, ds1), (x2, s2, dy2, ds2) = draw(layer, rng, B), draw(layer, rng, B)
    *_, first = layer.forward(x1, s1)
    want = layer.backward(first, dy1, ds1)
    *_, second = layer.forward(x2, s2)
    layer.backward(second, dy2, ds2)
    assert_equal(layer.backward(first, dy1, ds1), want)


@each_layer
def test_a_trace_belongs_to_no_layer(kind, rng):
    layer = make(kind, rng, "stack")
    x, state, dy, dstate = draw(layer, rng, B)
    *_, trace = layer.forward(x, state)
    twin = type(layer)(**layer.options)
    twin.load_params(layer.params)
    assert_equal(twin.backward(trace, dy, dstate), layer.backward(trace, dy, dstate))


def test_a_trace_tells_what_it_is_of(rng):
    *_, trace = make("GRU", rng).forward(np.zeros((T, B, I)))
    text = repr(trace)
    assert "kind='GRU'" in text
    assert f"shape={(T, B, I)}" in text
    assert "array" not in text


@each_layer
def test_a_layer_is_shared_by_threads(kind, rng):
    layer = make(kind, rng, "stack-both")
    problems = [draw(layer, rng, rows) for rows in (1, 2, 3, 4) * 4]

    def run(problem):
        x, state, dy, dstate = problem
        y, end, trace = layer.forward(x, state)
        return y, end, tuple(layer.backward(trace, dy, dstate))

    want = [run(problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        assert_equal(tuple(pool.map(run, problems)), tuple(want))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@each_layer
def test_a_copy_is_independent(kind, copied, rng):
    layer = make(kind, rng, "stack-both")
    x, state, _, _ = draw(layer, rng, B)
    twin = copied(layer)
    assert twin.options == layer.options
    want = layer(x, state)
    assert_equal(twin(x, state), want)
    for value in twin.params.values():
        value[...] = 0
    assert_equal(layer(x, state), want)
