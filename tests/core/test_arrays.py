"""Arrays that the core works on from end to end: which are taken, and what is checked before."""

import numpy as np
import pytest

from rnncore._common.groups import ParamGrads, flatten
from rnncore._core import core
from rnncore._engine.arrays import gathered, in_place

Arrays = core.Arrays


def array(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    "right",
    [
        array(3),
        array(2, 3, dtype=np.float64),
        array(),
        array(0, 4),
        array(4, 0)[:, ::2],
        array(3, 4)[1:],
        array(3, 4)[1],
        array(4, 1)[:, ::-1],
        array(1, 4)[::-1].T,
        np.asfortranarray(array(5)),
    ],
    ids=range(10),
)
def test_what_lies_from_end_to_end_is_taken(right):
    Arrays([right], True)


RAW = np.zeros(65, np.uint8)
LOCKED = array(3)
LOCKED.flags.writeable = False


@pytest.mark.parametrize(
    "wrong",
    [
        array(3, 4).T,
        array(8)[::2],
        array(8)[::-1],
        RAW[1:].view(np.float32),
        RAW[4:12].view(np.float64) if RAW.ctypes.data % 8 == 0 else RAW[1:9].view(np.float64),
        array(3, dtype=">f4"),
        array(3, dtype=np.float16),
        array(3, dtype=np.int32),
        array(3, dtype=np.complex64),
        np.zeros(3, [("a", np.float32)]),
        np.zeros(3, object),
        np.zeros(3, "M8[s]"),
        np.ma.ones(3, np.float32),
        np.broadcast_to(np.float32(1), 3),
        [1.0],
        bytearray(8),
        memoryview(array(3)),
        None,
        np.float32(1),
    ],
    ids=range(19),
)
def test_what_does_not_is_refused(wrong):
    with pytest.raises((BufferError, TypeError, ValueError)):
        Arrays([array(2), wrong], False)
    assert in_place([array(2), wrong], False) is None


def test_what_cannot_be_changed_is_only_read():
    with pytest.raises(ValueError, match="no array to work on"):
        Arrays([LOCKED], True)
    to_read, other = Arrays([LOCKED], False), Arrays([array(3)], True)
    assert core.squares_of(to_read) == 3
    for call in (
        lambda: core.scale(to_read, 2.0),
        lambda: core.bound(to_read, 0.5),
        lambda: core.sgd(to_read, other, Arrays([], True), 0.0, 1.0),
        lambda: core.sgd(other, other, to_read, 0.5, 1.0),
        lambda: core.adam(to_read, other, other, other, 0, 0.9, 0.9, 1, 1, 1),
        lambda: core.adam(other, other, to_read, other, 0, 0.9, 0.9, 1, 1, 1),
        lambda: core.adam(other, other, other, to_read, 0, 0.9, 0.9, 1, 1, 1),
    ):
        with pytest.raises(ValueError, match="sizes"):
            call()
    np.testing.assert_array_equal(LOCKED, 1)


@pytest.mark.parametrize(
    "other", [[array(3)], [array(3), array(3, dtype=np.float64)], [array(3), array(2, 2)], []]
)
def test_steps_compare_sizes_and_types(other):
    arrays, others = Arrays([array(3), array(4)], True), Arrays(other, True)
    assert not arrays.like(others)
    wrong = [lambda: core.sgd(arrays, others, Arrays([], True), 0.0, 1.0)]
    if other:
        wrong.append(lambda: core.sgd(arrays, arrays, others, 0.5, 1.0))
    for at in range(1, 4):
        of_step = [arrays] * 4
        of_step[at] = others
        wrong.append(lambda of=of_step: core.adam(*of, 0, 0.9, 0.9, 1, 1, 1))
    for call in wrong:
        with pytest.raises(ValueError, match="sizes"):
            call()


def test_losses_compare_sizes_and_read_no_id_that_is_none():
    two, one, ids = array(2, 3), array(4), np.array([0, 2])
    softmax, mse, embedding = core.softmax_cross_entropy, core.mse, core.embedding_backward
    for call in (
        lambda: softmax(two, ids[:1], two),
        lambda: softmax(two, ids, array(2, 4)),
        lambda: softmax(two, ids, array(3, 3)),
        lambda: softmax(two, ids + 1, two),
        lambda: softmax(two, ids - 1, two),
        lambda: softmax(two[:0], ids[:0], two[:0]),
        lambda: mse(one, array(3), one),
        lambda: mse(one, one, array(3)),
        lambda: mse(one[:0], one[:0], one[:0]),
        lambda: embedding(ids[:1], two, array(3, 3)),
        lambda: embedding(ids, two, array(3, 4)),
        lambda: embedding(ids, two, array(2, 3)),
        lambda: embedding(ids - 1, two, array(3, 3)),
    ):
        with pytest.raises(ValueError, match="sizes"):
            call()


BUFFER = np.zeros(64, np.float32)


def drawn(rng):
    begin, size = rng.integers(0, 50), rng.integers(0, 8)
    return BUFFER[begin : begin + size]


def taken(array):
    begin = (array.ctypes.data - BUFFER.ctypes.data) // 4
    return set(range(begin, begin + array.size))


def test_overlaps_are_those_of_the_elements(rng):
    seen = set()
    for _ in range(2000):
        some, others = ([drawn(rng) for _ in range(rng.integers(0, 5))] for _ in range(2))
        apart = len(set().union(*map(taken, some))) == sum(a.size for a in some)
        meets = bool(set().union(*map(taken, some)) & set().union(*map(taken, others)))
        assert Arrays(some, False).apart() == apart
        assert Arrays(some, False).meets(Arrays(others, False)) == meets
        seen.add((apart, meets))
    assert len(seen) == 4


def test_layouts_are_equal_where_arrays_lie_the_same():
    a, b = array(4, 3), array(4, 3)
    layout = Arrays([a, b], False).layout
    assert Arrays([a[:], b], True).layout == layout
    for other in ([b, a], [a], [a, b, a], [a.reshape(3, 4), b], [a.reshape(12), b], [a, b[:3]]):
        assert Arrays(other, False).layout != layout
    flat = a.reshape(-1)
    assert Arrays([flat.view(np.float64)[:2]], True).layout != Arrays([flat[:2]], True).layout


def test_they_hold_their_arrays():
    values = [array(1000)]
    arrays = Arrays(values, True)
    values.clear()
    assert core.squares_of(arrays) == 1000


class Layer:
    def __init__(self, params):
        self.params = params


class Learning(Layer):
    backward = None


W = [array(k + 1) for k in range(4)]
GROUPS = [
    {},
    {"a": W[0], "b": W[1]},
    [{"a": W[0]}, {"a": W[1], "c": W[2]}],
    ({"a": W[0]}, [{"a": W[1]}, [], {"c": W[2]}]),
    Layer({"a": W[0]}),
    [Layer({"a": W[0]}), Layer([{"b": W[1]}, Layer({"c": W[2]})])],
    [Learning({"a": W[0]})],
    [ParamGrads({"a": W[0], "b": W[1]}, {"a": W[2]})],
]


@pytest.mark.parametrize("groups", GROUPS, ids=range(len(GROUPS)))
def test_values_are_gathered_in_the_order_of_their_names(groups):
    names, values = gathered(groups)
    expected = flatten("params", groups)
    assert [id(value) for value in values] == [id(value) for value in expected.values()]
    flat = [key for keys in names if isinstance(keys, tuple) for key in keys]
    assert flat == [name.rpartition(".")[2] for name in expected]


def test_names_are_equal_for_the_same_groups_alone():
    names = [repr(gathered(groups)[0]) for groups in GROUPS]
    assert len({*names}) == len(GROUPS)
    assert names[6] == repr(gathered([{"a": W[0]}])[0])


def test_what_only_names_can_tell_is_not_gathered():
    class Own(dict):
        pass

    endless = []
    endless.append(endless)
    for groups in (Own(a=W[0]), [Own(a=W[0])], W[0], [W[0]], None, "a", Layer(Own()), endless):
        assert gathered(groups) == ([], [])
    assert gathered([Learning({"a": W[0]})], []) == ([], [])


def test_the_parameters_of_gradients_are_gathered_where_they_are_known():
    of = []
    groups = [ParamGrads({"a": W[0], "b": W[1]}, {"b": W[2]}), {"c": W[3]}]
    gathered(groups, of)
    assert len(of) == 1
    assert of[0] is W[2]
