"""Where arrays lie in memory: which of them are one and the same, and which overlap."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# More than any layout takes that slicing and transposing can make; others count as overlapping.
_MOST_WORK: Any = 1_000_000  # for the stubs of NumPy, which know the two extremes alone


class Place(NamedTuple):
    """What two views have in common exactly when they are the same array."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # 0 where an axis has one element: nobody steps along it
    dtype: np.dtype

    @property
    def bounds(self) -> tuple[int, int]:
        """The first address that belongs to the array, and the one after the last."""
        low = high = self.address
        for n, stride in zip(self.shape, self.strides, strict=True):
            if stride < 0:
                low += (n - 1) * stride
            else:
                high += (n - 1) * stride
        return low, high + self.dtype.itemsize


def place(array: np.ndarray) -> Place:
    """Where `array` lies.

    >>> a = np.zeros((2, 3))
    >>> place(a[:]) == place(a), place(a[:, ::-1]) == place(a), place(a[:1]) == place(a)
    (True, False, False)
    """
    strides = array.strides
    if 1 in array.shape:
        strides = tuple(
            0 if n == 1 else stride for n, stride in zip(array.shape, strides, strict=True)
        )
    address = array.__array_interface__["data"][0]  # a fifth of the time of array.ctypes
    return Place(address, array.shape, strides, array.dtype)


def near(places: Sequence[Place]) -> list[tuple[int, int]]:
    """The positions of all pairs whose bounds overlap, the smaller one first.

    >>> a = np.zeros(8)
    >>> near([place(a[4:]), place(a[::2]), place(a[:2])])
    [(1, 2), (0, 1)]
    """
    bounds = [(*each.bounds, k) for k, each in enumerate(places) if 0 not in each.shape]
    pairs: list[tuple[int, int]] = []
    reaching: list[tuple[int, int]] = []
    for low, high, k in sorted(bounds):
        reaching = [(end, j) for end, j in reaching if end > low]
        pairs += [(min(j, k), max(j, k)) for _, j in reaching]
        reaching.append((high, k))
    return pairs


def first_names(what: str, named: Mapping[str, np.ndarray]) -> dict[str, str]:
    """For every name the first one of the same array, for arrays that are to be changed in place.

    `what` names the argument in messages.

    Raises
    ------
    ValueError, with both names, for arrays that share memory and are not the same.

    Examples
    --------
    >>> a = np.zeros((2, 3))
    >>> first_names("params", {"embed": a, "bias": np.zeros(2), "head": a[:]})
    {'embed': 'embed', 'bias': 'bias', 'head': 'embed'}
    >>> first_names("params", {"all": a, "row": a[0]})
    Traceback (most recent call last):
    ValueError: params['all'] and params['row'] overlap in memory, expected one array or two apart
    """
    first: dict[Place, str] = {}
    found = {name: first.setdefault(place(array), name) for name, array in named.items()}
    names = list(first.values())
    for name in names:
        if _overlaps_itself(named[name]):
            raise ValueError(
                f"{what}[{name!r}] overlaps itself in memory, expected elements that lie apart"
            )
    for one, other in ((names[j], names[k]) for j, k in near(list(first))):
        if _share_memory(named[one], named[other]):
            raise ValueError(
                f"{what}[{one!r}] and {what}[{other!r}] overlap in memory, expected one array "
                "or two apart"
            )
    return found


def _share_memory(one: np.ndarray, other: np.ndarray) -> bool:
    try:
        return np.shares_memory(one, other, max_work=_MOST_WORK)
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements have a byte in common."""
    if array.flags.c_contiguous or array.size < 2:
        return False
    axes = sorted((abs(stride), n) for n, stride in zip(array.shape, array.strides, strict=True))
    reach, nested = array.itemsize, True
    for stride, n in axes:
        if n > 1:
            nested = nested and stride >= reach
            reach += (n - 1) * stride
    if nested or reach < array.nbytes:  # nothing can lie apart in fewer bytes than it has
        return not nested
    addresses = np.zeros((), np.intp)
    for stride, n in axes:
        addresses = np.add.outer(addresses, np.arange(n) * stride)
    return bool(np.diff(np.sort(addresses, axis=None)).min() < array.itemsize)
