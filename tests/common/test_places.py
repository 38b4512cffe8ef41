"""Which arrays are one, and which overlap: against the bytes that each element takes."""

import itertools

import numpy as np
import pytest

from rnncore._common import places
from rnncore._common.places import first_names, near, place

BUFFER = np.zeros(4096, np.uint8)


def bytes_of(array):
    """Every byte of every element; as often as elements have it."""
    start = array.ctypes.data
    for index in np.ndindex(*array.shape):
        at = start + sum(k * stride for k, stride in zip(index, array.strides, strict=True))
        yield from range(at, at + array.itemsize)


def drawn(rng):
    """A view of the buffer of any shape and strides, also such as no slicing makes."""
    axes = rng.integers(1, 4)
    shape, strides = rng.integers(1, 4, axes), rng.integers(-12, 13, axes)
    dtype = rng.choice([np.float32, np.float64])
    return np.ndarray(shape, dtype, BUFFER, 2000 + rng.integers(40), strides)


def refusal(arrays):
    try:
        first_names("params", arrays)
    except ValueError as error:
        return str(error)
    return None


def test_overlaps_are_those_of_the_bytes(rng):
    seen = {"itself": 0, "each other": 0, "apart": 0}
    for _ in range(3000):
        arrays = {"a": drawn(rng), "b": drawn(rng)}
        if place(arrays["a"]) == place(arrays["b"]):
            continue
        taken = {name: list(bytes_of(array)) for name, array in arrays.items()}
        itself = [name for name, each in taken.items() if len(set(each)) < len(each)]
        message = refusal(arrays)
        if itself:
            kind = "itself"
            assert message.startswith(f"params['{itself[0]}'] overlaps itself in memory")
        elif set(taken["a"]) & set(taken["b"]):
            kind = "each other"
            assert message.startswith("params['a'] and params['b'] overlap in memory")
        else:
            kind = "apart"
            assert message is None
        seen[kind] += 1
    assert min(seen.values()) > 50, seen


def test_near_are_all_whose_bounds_overlap(rng):
    for _ in range(200):
        places = [place(drawn(rng)) for _ in range(8)]
        bounds = [each.bounds for each in places]
        expected = {
            (j, k)
            for (j, (low, high)), (k, (low_k, high_k)) in itertools.combinations(
                enumerate(bounds), 2
            )
            if low < high_k and low_k < high
        }
        found = near(places)
        assert set(found) == expected
        assert len(found) == len(expected)


W = np.zeros((3, 4))


@pytest.mark.parametrize(
    "view", [W[:], W.view(), W.reshape(3, 4), W[::-1][::-1], W.T.T], ids=range(5)
)
def test_another_view_of_the_same_elements_is_the_same(view):
    assert first_names("params", {"a": W, "b": np.zeros(3), "c": view}) == {
        "a": "a",
        "b": "b",
        "c": "a",
    }


def test_strides_along_an_axis_of_one_element_tell_nothing():
    row = W[1:2]
    assert row.T.T.strides == row.strides
    other = np.lib.stride_tricks.as_strided(row, strides=(8, 8))
    assert place(other) == place(row)


@pytest.mark.parametrize(
    "view",
    [W[1:], W[::-1], W[:, ::-1], W.reshape(-1), W.reshape(4, 3), W.T, W.view("f4"), W[1, 1:2]],
    ids=range(8),
)
def test_what_shares_memory_otherwise_is_refused_by_both_names(view):
    message = r"^grads\['b'\] and grads\['c'\] overlap in memory, expected one array or two apart$"
    with pytest.raises(ValueError, match=message):
        first_names("grads", {"a": np.zeros(2), "b": W, "c": view})


def test_parts_of_one_buffer_that_lie_apart_are_right():
    parts = {f"column {k}": W[:, k] for k in range(4)}
    whole = np.zeros(12)
    parts |= {"even": whole[::2], "odd": whole[1::2], "none": whole[:0], "also none": whole[:0]}
    assert set(first_names("params", parts)) == set(parts)
    records = np.zeros(5, [("flag", np.int8), ("a", np.float32), ("b", np.float64)])
    first_names("params", {"a": records["a"], "b": records["b"]})


def test_a_layout_that_takes_too_long_to_tell_counts_as_overlapping(monkeypatch):
    """Who has two such arrays hears of it at once, instead of waiting."""
    arrays = {
        "a": np.ndarray((2, 4), np.float32, BUFFER, 0, (24, 144)),
        "b": np.ndarray((4, 3), np.float32, BUFFER, 104, (16, 128)),
    }
    assert refusal(arrays) is None
    monkeypatch.setattr(places, "_MOST_WORK", 1)
    assert refusal(arrays).startswith("params['a'] and params['b'] overlap in memory")


def test_many_arrays_need_no_comparison_of_each_two():
    arrays = [np.zeros(3) for _ in range(20_000)]
    assert near([place(array) for array in arrays]) == []
