"""Parameters and gradients in groups: one dict of arrays, or a list of such dicts, seen as one."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from rnncore import _validate

Groups: TypeAlias = Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]]


def flatten(what: str, groups: Groups) -> dict[str, np.ndarray]:
    """The arrays of `groups` by name: the keys of a dict; for a list of dicts, ``"position.key"``.

    `what` names the argument in messages; what is no float32 or float64 array is refused.
    """
    if isinstance(groups, Mapping):
        named = dict(groups)
    elif isinstance(groups, list | tuple) and all(isinstance(group, Mapping) for group in groups):
        named = {
            f"{k}.{key}": value for k, group in enumerate(groups) for key, value in group.items()
        }
    else:
        raise TypeError(
            f"{what} is of type {type(groups).__name__}, expected a dict or a list of dicts"
        )
    return {
        name: _validate.array(f"{what}[{name!r}]", value, np.shape(value))
        for name, value in named.items()
    }


def flatten_writable(what: str, groups: Groups) -> dict[str, np.ndarray]:
    """`flatten`, for arrays to change in place: a read-only one is refused."""
    named = flatten(what, groups)
    for name, array in named.items():
        if not array.flags.writeable:
            raise ValueError(f"{what}[{name!r}] is read-only, expected an array to change in place")
    return named
