"""Arrays that the compiled core works on from end to end: what clipping and optimisers do to them.

NumPy would take several passes over memory, and a temporary array for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore._common.groups import Groups, ParamGrads
from rnncore._core import core
from rnncore._engine.memory import contiguous

__all__ = [
    "Arrays",
    "adam",
    "bound",
    "copied_in",
    "copied_out",
    "gathered",
    "in_place",
    "scale",
    "sgd",
    "squares_of",
]

Arrays = core.Arrays
adam, sgd = core.adam, core.sgd
bound, scale, squares_of = core.bound, core.scale, core.squares_of


def gathered(groups: Groups, of: list[np.ndarray] | None = None) -> tuple[list[Any], list[Any]]:
    """The names and the values of `groups` as they stand there, in the order of `flatten`.

    Thirty times as fast as that, and for what was checked before: two lists of names are equal
    where `flatten` gives the same names in the same order. Both lists are empty where only
    `flatten` knows what to do with a group. With `of` these are gradients, and the parameters that
    are known are appended to it.

    >>> gathered([{"a": 1}, {"b": 2, "c": 3}])
    ([2, ('a',), ('b', 'c')], [1, 2, 3])
    """
    return core.gather(groups, of, ParamGrads)


def in_place(arrays: list[np.ndarray], writable: bool) -> core.Arrays | None:
    """`arrays` for the core, or None where one of them does not lie as it is to."""
    try:
        return Arrays(arrays, writable)
    except (BufferError, TypeError, ValueError):
        return None


def copied_in(arrays: Sequence[np.ndarray], writable: bool) -> tuple[core.Arrays, list[np.ndarray]]:
    """`arrays` for the core wherever their elements lie, and what it gets: copies of some."""
    flat = [contiguous(array) for array in arrays]
    return Arrays(flat, writable), flat


def copied_out(flat: Sequence[np.ndarray], arrays: Sequence[np.ndarray]) -> None:
    """What the core has written to copies goes to where it belongs."""
    for copy, array in zip(flat, arrays, strict=True):
        if copy is not array:
            array[...] = copy
