"""Parameters and gradients in groups: dicts of arrays, and what has such a dict, seen as one."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np

from rnncore import _check


class ParamGrads(dict[str, np.ndarray]):
    """The gradients that `backward` gives, by name; it knows the parameter that each is of.

    So clipping can tell which gradients belong to one tied parameter. Copies know it too; what
    comes out of a pickle, or of a comprehension, is a plain dict.

    Examples
    --------
    >>> weight, dweight = np.zeros(2), np.ones(2)
    >>> grads = ParamGrads({"weight": dweight}, {"weight": weight})
    >>> grads, grads.of["weight"] is weight
    ({'weight': array([1., 1.])}, True)
    """

    __slots__ = ("of",)

    def __init__(
        self,
        grads: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]] = (),
        of: Mapping[str, np.ndarray] = MappingProxyType({}),
    ):
        dict.__init__(self, grads)
        self.of = of

    def copy(self) -> "ParamGrads":
        return ParamGrads(self, self.of)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> "ParamGrads":
        return ParamGrads(copy.deepcopy(dict(self), memo), self.of)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class _HasParams(Protocol):
    @property
    def params(self) -> Mapping[str, np.ndarray]: ...


Group: TypeAlias = Mapping[str, np.ndarray] | _HasParams
Groups: TypeAlias = Group | Sequence[Group]


def flatten(what: str, groups: Groups) -> dict[str, np.ndarray]:
    """The arrays of `groups` by name: the keys of a dict; in a list, ``"position.key"``.

    A layer, or anything else that has `params`, stands for those. `what` names the argument in
    messages; what is no float32 or float64 array is refused.
    """
    return {
        name: _check.array(f"{what}[{name!r}]", value, np.shape(value))
        for name, value, _ in _members(what, groups)
    }


def flatten_writable(what: str, groups: Groups) -> dict[str, np.ndarray]:
    """`flatten`, for arrays to change in place: a read-only one is refused."""
    named = flatten(what, groups)
    for name, array in named.items():
        _check.writable(f"{what}[{name!r}]", array)
    return named


def known_parameters(what: str, groups: Groups) -> dict[str, np.ndarray]:
    """By the names of `flatten`, the parameters whose gradients `groups` are, where it is known."""
    return {name: of for name, _, of in _members(what, groups) if isinstance(of, np.ndarray)}


def added(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Their sum in their dtype, from the first to the last; one alone is not copied."""
    if len(arrays) == 1:
        return arrays[0]
    total = arrays[0].copy()
    for array in arrays[1:]:
        np.add(total, array, out=total)
    return total


def _members(what: str, groups: Any) -> Iterator[tuple[str, Any, Any]]:
    """Names, arrays, and of a gradient the parameter that it is of, or None."""
    if what.startswith("grads") and hasattr(groups, "backward"):
        raise TypeError(
            f"{what} is of type {type(groups).__name__}, expected what its backward returned"
        )
    if not isinstance(groups, Mapping):
        groups = getattr(groups, "params", groups)
    if isinstance(groups, list | tuple):
        for k, group in enumerate(groups):
            for name, value, of in _members(f"{what}[{k}]", group):
                yield f"{k}.{name}", value, of
        return
    if not isinstance(groups, Mapping):
        raise TypeError(
            f"{what} is of type {type(groups).__name__}, expected a dict of arrays, what has one as"
            " params, or a list of these"
        )
    of = groups.of if isinstance(groups, ParamGrads) else {}
    for name, value in groups.items():
        yield name, value, of.get(name)
