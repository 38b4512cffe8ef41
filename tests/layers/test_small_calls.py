"""Calls of small work: what is handed to the core at once gives what a closer look gives.

A single row of a single step reads the weights where the user has them; all else packs them. A call
keeps nothing of them, so that it never computes with weights that are others by now.
"""

import copy
import pickle
import sys
import threading

import numpy as np
import pytest
from layer_problems import LAYERS, SCAFFOLDS, assert_equal, draw, each_layer, each_scaffold, make
from problems import KINDS, STATES

import rnncore

each_kind = pytest.mark.parametrize("kind", KINDS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# I, H: below, at and above registers of every width, and what is no multiple of anything
SIZES = [(1, 1), (3, 5), (16, 16), (17, 33), (40, 64), (64, 20), (5, 130)]


def layer_of(kind, rng, *sizes, **options):
    """With parameters that are all of them no constants."""
    cell, own = KINDS[kind]
    if "proj_size" in own:
        own = {**own, "proj_size": (sizes[1] + 1) // 2}
    if own.get("proj_size") == sizes[1]:
        own = {name: value for name, value in own.items() if name != "proj_size"}
    layer = getattr(rnncore, cell)(*sizes, **{**own, **options}, rng=rng)
    for value in layer.params.values():
        value[...] = rng.standard_normal(value.shape) / np.sqrt(sizes[1])
    return layer


def state_of(layer, rng, *rows):
    """For as many axes of rows; the first axis runs over layers and directions."""
    parts = []
    for width in layer._widths:
        shape = (layer.num_layers * layer.num_directions, *rows, width)
        parts.append(rng.standard_normal(shape).astype(layer.dtype))
    return tuple(parts) if len(parts) > 1 else parts[0]


def only(state, row):
    return tuple(only(part, row) for part in state) if isinstance(state, tuple) else state[:, row]


def bits(*arrays):
    """Bytes: of what is compared by value, NaN is unlike itself and -0.0 like 0.0."""
    found = []
    for value in arrays:
        if isinstance(value, dict):
            found += bits(*value.values())
        elif isinstance(value, tuple):
            found += bits(*value)
        else:
            found.append((value.shape, value.tobytes()))
    return found


# The weights where they lie, and packed


@each_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@each_kind
def test_a_single_row_has_the_bits_that_it_has_in_a_batch(kind, sizes, dtype, rng):
    layer = layer_of(kind, rng, *sizes, dtype=dtype)
    x = rng.standard_normal((1, 2, sizes[0])).astype(dtype)
    state, dstate = state_of(layer, rng, 2), state_of(layer, rng, 2)
    dy = rng.standard_normal((1, 2, layer._widths[0])).astype(dtype)
    dy[:, 1] = 0  # so that the gradients of the parameters are those of the first row
    for part in dstate if isinstance(dstate, tuple) else (dstate,):
        part[:, 1] = 0
    y, final, trace = layer.forward(x, state)
    grads = layer.backward(trace, dy, dstate)

    one, start, end = x[:, :1], only(state, [0]), only(dstate, [0])
    assert bits(layer(one, start)) == bits((y[:, :1], only(final, [0])))
    assert bits(layer.freeze()(one, start)) == bits((y[:, :1], only(final, [0])))
    y_one, final_one, trace_one = layer.forward(one, start)
    assert bits(y_one, final_one) == bits(y[:, :1], only(final, [0]))
    grads_one = layer.backward(trace_one, dy[:, :1], end)
    assert bits(grads_one.x, grads_one.state) == bits(grads.x[:, :1], only(grads.state, [0]))
    assert_equal(grads_one.params, grads.params)


@each_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@each_kind
def test_infinity_and_nan_pass_through_a_single_row(kind, sizes, dtype, rng):
    layer = layer_of(kind, rng, *sizes, dtype=dtype)
    for name, value in ((n, v) for n in layer.params for v in (np.nan, np.inf, -0.0)):
        array = layer.params[name]
        before, at = array.copy(), tuple(int(rng.integers(size)) for size in array.shape)
        array[at] = value
        x = rng.standard_normal((1, 2, sizes[0])).astype(dtype)
        y, final = layer(x)
        assert_equal(layer(x[:, :1]), (y[:, :1], only(final, [0])))
        array[...] = before


# Weights that change between calls


def fresh(layer):
    """The same layer, which has never been called."""
    return pickle.loads(pickle.dumps(layer))


def results(layer, x, dy):
    """Of all that reads the weights."""
    called = layer(x)
    y, final, trace = layer.forward(x)
    grads = layer.backward(trace, dy)
    return bits(called, y, final, grads.x, grads.state, grads.params)


def flip_a_bit(array):
    array.reshape(-1).view(np.uint8)[-1] ^= 1  # of a number's exponent, or its sign


CHANGES = {
    "one bit": flip_a_bit,
    "nan": lambda array: array.reshape(-1).__setitem__(-1, np.nan),
    "another nan": lambda array: array.reshape(-1).view(np.uint32).__setitem__(-1, 0x7FC12345),
    "zero": lambda array: array.reshape(-1).__setitem__(0, 0.0),
    "minus zero": lambda array: array.reshape(-1).__setitem__(0, -0.0),
    "all": lambda array: array.__imul__(-2),
}


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("change", CHANGES)
@each_kind
def test_a_change_in_place_is_seen_by_the_next_call(kind, change, B, rng):
    layer = layer_of(kind, rng, 6, 7)
    for array in layer.params.values():
        array[...] = np.abs(array)  # a relu that is 0 would not tell of a change
    x = rng.random((1, B, 6), np.float32)
    dy = rng.standard_normal((1, B, layer._widths[0])).astype(np.float32)
    before = results(layer, x, dy)
    for array in layer.params.values():
        CHANGES[change](array)
        after = results(layer, x, dy)
        assert after == results(fresh(layer), x, dy)
    assert after != before  # or the change would be none


REPLACED = {
    "copy": lambda value: value.copy(),
    "fortran": np.asfortranarray,
    "reversed": lambda value: value[::-1].copy()[::-1],
    "every other": lambda value: np.repeat(value, 2, axis=-1)[..., ::2],
    "misaligned": lambda value: (
        np.frombuffer(b"\0" + value.tobytes(), np.uint8)[1:].view(value.dtype).reshape(value.shape)
    ),
    "read-only": lambda value: np.broadcast_to(value, value.shape),
}


@pytest.mark.parametrize("form", REPLACED)
@each_kind
def test_an_array_may_be_replaced(kind, form, rng):
    layer = layer_of(kind, rng, 6, 7)
    x = rng.standard_normal((1, 1, 6)).astype(np.float32)
    dy = rng.standard_normal((1, 1, layer._widths[0])).astype(np.float32)
    for name, value in layer.params.items():
        results(layer, x, dy)
        layer.params[name] = REPLACED[form](value * 3)
        twin = fresh(layer)
        twin.params[name] = value * 3
        assert results(layer, x, dy) == results(twin, x, dy)


def test_loaded_parameters_are_seen_by_the_next_call(rng):
    layer, other = layer_of("LSTM", rng, 6, 7), layer_of("LSTM", rng, 6, 7)
    x = rng.standard_normal((1, 1, 6)).astype(np.float32)
    assert bits(layer(x)) != bits(other(x))
    layer.load_params(other.params)
    assert bits(layer(x)) == bits(other(x))
    layer.params = {name: -value for name, value in other.params.items()}
    assert bits(layer(x)) != bits(other(x))


@each_kind
def test_a_cell_sees_a_change_too(kind, rng):
    cell, own = KINDS[kind]
    step = getattr(rnncore, f"{cell}Cell")(6, 7, rng=rng, **own)
    for value in step.params.values():
        value[...] = rng.random(value.shape) / 3  # a relu that is 0 would not tell of a change
    x = rng.random((1, 6), np.float32)
    state = step(x)
    for name in step.params:
        before = bits(step(x, state))
        step.params[name] *= np.float32(1.5)
        after = bits(step(x, state))
        assert after == bits(fresh(step)(x, state)) != before


def test_threads_share_a_layer_whose_weights_are_replaced(rng):
    layer = layer_of("LSTM", rng, 20, 33)
    x = rng.standard_normal((1, 1, 20)).astype(np.float32)
    ones = [layer.params["weight_hh_l0"], layer.params["weight_hh_l0"] * -1]
    state = state_of(layer, rng, 1)
    allowed = []
    for one in ones:
        layer.params["weight_hh_l0"] = one
        allowed.append(bits(layer(x, state)))
    done, found = threading.Event(), set()

    def replace():
        while not done.is_set():
            for one in ones:
                layer.params["weight_hh_l0"] = one

    def call():
        for _ in range(500):
            found.add(str(bits(layer(x, state))))

    threads = [threading.Thread(target=call) for _ in range(3)]
    replacing = threading.Thread(target=replace)
    replacing.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    replacing.join()
    assert found <= {str(each) for each in allowed}


@each_layer
def test_a_call_leaves_nothing_behind(kind, rng):
    layer = make(kind, rng, "stack-both")
    x, state, dy, dstate = draw(layer, rng, 1)
    before, attributes = pickle.dumps(layer), set(vars(layer))
    *_, trace = layer.forward(x, state)
    layer.backward(trace, dy, dstate)
    layer(x, state)
    layer.freeze()(x)
    assert pickle.dumps(layer) == before
    assert set(vars(layer)) == attributes
    assert set(vars(copy.deepcopy(layer))) == attributes


# The closer look


def closer(layer, x, state, dy, dstate, T, B):
    """The results by the ways that look closer: of lengths, and of `flow`."""
    y, final, trace = layer.forward(x, state, lengths=[T] * B)
    flow = np.zeros((len(layer._widths), layer.num_layers * layer.num_directions, T, B))
    return y, final, layer.backward(trace, dy, dstate, flow=flow)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("B", [1, 3])
@each_scaffold
@each_layer
def test_what_is_handed_over_at_once_gives_the_same(kind, scaffold, B, batch_first, rng):
    layer = make(kind, rng, scaffold, batch_first=batch_first)
    x, state, dy, dstate = draw(layer, rng, B)
    T = dy.shape[1 if batch_first else 0]
    y, final, grads = closer(layer, x, state, dy, dstate, T, B)
    got_y, got_final, trace = layer.forward(x, state)
    assert_equal((got_y, got_final), (y, final))
    assert_equal(tuple(layer.backward(trace, dy, dstate)), tuple(grads))
    assert_equal(layer(x, state), (y, final))
    for result in (got_y, *(got_final if isinstance(got_final, tuple) else (got_final,))):
        assert result.flags.writeable
        assert result.flags.c_contiguous


FORMS = {
    "rows apart": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "steps backwards": lambda a: a[::-1].copy()[::-1],
    "last axis apart": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "fortran": np.asfortranarray,
    "misaligned": lambda a: (
        np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    ),
}


@pytest.mark.parametrize("form", FORMS)
@each_layer
def test_arrays_may_lie_anyhow(kind, form, rng):
    layer = make(kind, rng, "stack-both")
    given = draw(layer, rng, 3)
    want_y, want_final, trace = layer.forward(*given[:2])
    want = layer.backward(trace, *given[2:])

    def formed(value):
        if isinstance(value, tuple):
            return tuple(formed(part) for part in value)
        return FORMS[form](value)

    x, state, dy, dstate = map(formed, given)
    y, final, trace = layer.forward(x, state)
    assert_equal((y, final), (want_y, want_final))
    assert_equal(layer(x, state), (want_y, want_final))
    assert_equal(layer.freeze()(x, state), (want_y, want_final))
    assert_equal(tuple(layer.backward(trace, dy, dstate)), tuple(want))


WRONG = {
    "a step more": lambda a: np.concatenate([a, a[:1]]),
    "a row more": lambda a: np.concatenate([a, a[:, :1]], axis=1),
    "a column more": lambda a: np.concatenate([a, a[..., :1]], axis=-1),
    "another type": lambda a: a.astype(np.float16),
    "bytes swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "an axis more": lambda a: a[np.newaxis],
    "a list": lambda a: a.tolist(),
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (name, wrong)
        for name in ("x", "state", "dy", "dstate")
        for wrong in WRONG
        if (name, wrong) != ("x", "a step more")  # which is as right
    ],
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_is_wrong_is_told_as_ever(kind, name, wrong, rng):
    """By the checks of Python: the core only tells that it does not take it."""
    layer = make(kind, rng)
    given = dict(zip(("x", "state", "dy", "dstate"), draw(layer, rng, 3), strict=True))
    *_, trace = layer.forward(given["x"], given["state"])
    value = given[name]
    if isinstance(value, tuple):
        given[name] = (value[0], WRONG[wrong](value[1]))
    else:
        given[name] = WRONG[wrong](value)
    told = "state" if (name, wrong) == ("x", "a row more") else name
    refused = pytest.raises((TypeError, ValueError), match=rf"^({told})\b.* expected")
    if name in ("dy", "dstate"):
        with refused:
            layer.backward(trace, given["dy"], given["dstate"])
        return
    with refused:
        layer.forward(given["x"], given["state"])
    with refused:
        layer(given["x"], given["state"])


# What Python does of a call


def calls(run):
    """How many functions of Python a call of `run` calls."""
    count = 0

    def tell(frame, event, arg):
        nonlocal count
        count += event == "call"

    run()
    sys.setprofile(tell)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count - 1  # itself


@pytest.mark.parametrize("kind", STATES)
def test_python_does_little_more_than_hand_over(kind, rng):
    layer = make(kind, rng, dtype=np.float32)
    x, state, dy, dstate = draw(layer, rng, 1)
    x, dy = x[:1], dy[:1]
    cell = getattr(rnncore, f"{kind}Cell")(x.shape[-1], layer.hidden_size)
    frozen, step = layer.freeze(), cell(x[0])
    *_, trace = layer.forward(x)
    assert calls(lambda: layer(x, state)) <= 4
    assert calls(lambda: frozen(x, state)) <= 3
    assert calls(lambda: cell(x[0], step)) <= 4
    assert calls(lambda: layer.forward(x, state)) <= 8
    assert calls(lambda: layer.backward(trace, dy, dstate)) <= 12


def test_every_scaffold_is_in_the_tests_above():
    assert {"stack-both", "one"} <= SCAFFOLDS.keys()
    assert LAYERS.keys() <= KINDS.keys()
