"""The function that XLA calls, called as XLA does: with C structures, right and damaged ones."""

import ctypes as c

import numpy as np
import pytest
from xla_frames import INITIALIZE, Call, Frame, Head, Metadata, MetadataQuery, handler

import rnncore
from rnncore._core import core

T, B, I, H = 5, 3, 4, 7
DAMAGED = ("arguments of other types or sizes than rnncore.jax gives", 3)
OTHER_SIZES = ("XLA's foreign function interface has structures of other sizes", 12)


@pytest.fixture
def layer():
    return rnncore.LSTM(I, H, rng=0)


@pytest.fixture
def arrays(layer, rng):
    x = rng.standard_normal((T, B, I), np.float32)
    starts = [np.zeros((1, B, H), np.float32) for _ in range(2)]
    lengths = np.array([2, 5, 0], np.int32)
    y = np.full((T, B, H), np.nan, np.float32)
    ends = [np.full((1, B, H), np.nan, np.float32) for _ in range(2)]
    return [x, *starts, lengths, *layer.params.values()], [y, *ends]


@pytest.fixture
def call(layer, arrays):
    asked = np.frombuffer(core.asked(0, layer._stack, True, True), np.int64)
    return Call(*arrays, asked, [0.0])


def test_a_call_computes_what_the_layer_computes(call, layer, arrays):
    assert call.run() is None
    (x, _, _, lengths, *_), (y, h, end) = arrays
    want, state = layer(x, lengths=lengths)
    for got, expected in zip((y, h, end), (want, *state), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_other_stages_do_nothing(call, arrays):
    call.stage = INITIALIZE
    assert call.run() is None
    assert np.isnan(arrays[1][0]).all()


@pytest.mark.parametrize("minor", [1, 3])
def test_a_query_is_answered(minor):
    metadata = Metadata()
    metadata.version.major = 9
    query = MetadataQuery(c.sizeof(MetadataQuery), 1, None, c.pointer(metadata))
    frame = Frame(Head(Frame.future.offset, c.addressof(query)))
    assert handler(minor)(c.byref(frame)) is None
    assert (metadata.version.major, metadata.version.minor) == (0, minor)


def test_another_major_version_is_refused(call):
    call.api.version.major = 1
    assert call.run() == ("XLA's foreign function interface has another major version", 12)


@pytest.mark.parametrize("part", ["head", "arguments", "results", "attributes"])
@pytest.mark.parametrize("more", [-8, 8])
def test_structures_of_other_sizes_are_refused(call, part, more, arrays):
    frame = call.frame()
    (frame.head if part == "head" else getattr(frame, part).head).size += more
    if (part, more) == ("head", 8):  # what follows is not read
        assert call.run(frame) is None
    else:
        assert call.run(frame) == OTHER_SIZES
        assert np.isnan(arrays[1][0]).all()


def test_every_buffer_is_looked_at(call):
    for buffers in (call.arguments, call.results):
        for k, right in enumerate(buffers):
            wrong = call.buffer(np.zeros((T, B, I), np.float64))
            for damaged in ([*buffers[:k], *buffers[k + 1 :]], [*buffers[:k], wrong, *buffers[k:]]):
                kept, buffers[:] = list(buffers), damaged
                assert call.run() == DAMAGED
                buffers[:] = kept
            for field, value in (("type", 5), ("axes", right.axes - 1)):
                kept = getattr(right, field)
                setattr(right, field, value)
                assert call.run() == DAMAGED
                setattr(right, field, kept)
            right.head.size -= 8
            assert call.run() == DAMAGED
            right.head.size += 8
    assert call.run() is None


def test_every_attribute_is_looked_at(call):
    whole = dict(call.attributes)
    for damaged in (
        {},
        {"a": whole["a"]},
        {"r": whole["r"]},
        whole | {"a": whole["a"][:-1].copy()},
        whole | {"a": whole["a"].astype("f8")},
        whole | {"r": np.zeros(2)},
        whole | {"r": np.array([0, 99.0, 0, 0, 0])},
        whole | {"r": np.zeros(1 + 4 * 4)},
    ):
        call.attributes = damaged
        assert call.run() == DAMAGED
    call.attributes = whole
    assert call.run() is None


def test_numbers_that_say_something_else_are_refused(call):
    """Whatever is asked: done, where it fits the arrays, or refused."""
    own, done = call.attributes["a"], []
    for k, right in enumerate(own.copy()):
        for value in (-1, 0, 1, 2, 3, 5, 7, 8, 64, 2**20, 2**31, -(2**40), 2**62):
            own[k] = value
            said = call.run()
            assert said in (None, DAMAGED) or said[0].startswith("lengths has")
            if said is None and value != right:
                done.append((k, value))
        own[k] = right
    assert call.run() is None
    # Only what does not concern sizes: options of the cell, and flags, for which any value is true.
    assert {k for k, _ in done} <= {2, 5, 6, 7}


@pytest.mark.parametrize("length", [-1, T + 1, -(2**31)])
def test_wrong_lengths_are_told(call, length, arrays):
    arrays[0][3][1] = length
    assert call.run() == (f"lengths has {length} at row 1, expected 0 to {T}", 3)
