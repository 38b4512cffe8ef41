"""Arrays that the compiled core works on from end to end: what clipping and optimisers do to them.

NumPy would take several passes over memory, and a temporary array for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnncore._common.groups import Groups, ParamGrads
from rnncore._core import core
from rnncore._engine.memory import contiguous

__all__ = [
    "Arrays",
    "adam",
    "bound",
    "each_alone",
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


def each_alone(
    update: Callable[..., None],
    params: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    *slots: Sequence[np.ndarray],
) -> None:
    """Call `update` for one parameter after the other, wherever their elements lie."""
    for param, grad, *kept in zip(params, grads, *slots, strict=True):
        flat = contiguous(param)
        update(
            Arrays([flat], True),
            Arrays([contiguous(grad)], False),
            *(Arrays([slot], True) for slot in kept),
        )
        if flat is not param:
            param[...] = flat
