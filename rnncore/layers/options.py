"""The options that all recurrent layers have, and how a layer is written down by its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind

if TYPE_CHECKING:
    from typing import TypedDict

    from numpy.typing import DTypeLike

    class StepOptions(TypedDict, total=False):
        """Those that say something of a single step."""

        bias: bool
        recurrent_dropout: float
        zoneout: float
        activations: Sequence[str | tuple[Any, ...]] | None
        clip: float | None
        dtype: DTypeLike
        rng: int | np.random.Generator | None

    class CommonOptions(StepOptions, total=False):
        batch_first: bool
        dropout: float
        bidirectional: bool


_MOST_LAYERS = 10_000  # more are a mistake, whose names alone would take minutes

SIZES: Mapping[str, Callable[[str, Any], int]] = {
    "input_size": _check.size,
    "hidden_size": _check.size,
    "num_layers": partial(_check.size, maximum=_MOST_LAYERS),
}


def _plain_entries(name: str, activations: Any) -> Any:
    """Tuples, whatever lists it came in, as from JSON: so two equal ones compare equal."""
    if not isinstance(activations, list | tuple):
        return activations
    return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in activations)


class Common(NamedTuple):
    """An option that every layer has."""

    default: Any
    check: Callable[[str, Any], Any]


COMMON: Mapping[str, Common] = {
    "bias": Common(True, _check.flag),
    "batch_first": Common(False, _check.flag),
    "dropout": Common(0.0, _check.fraction),
    "recurrent_dropout": Common(0.0, _check.fraction),
    "zoneout": Common(0.0, _check.fraction),
    "activations": Common(None, _plain_entries),  # which the cell's kind checks
    "clip": Common(None, lambda name, value: _check.clip(value)),
    "bidirectional": Common(False, _check.flag),
    "dtype": Common(np.dtype(np.float32), _check.float_dtype),
}


def checked(kind: CellKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a layer, in the order in which it is written down.

    Raises
    ------
    TypeError, ValueError that names the first that is wrong.
    """
    own = {option.name: option.check(option.name, given[option.name]) for option in kind.options}
    sizes = {name: check(name, given[name]) for name, check in SIZES.items()}
    common = {name: option.check(name, given[name]) for name, option in COMMON.items()}
    return {**sizes, **own, **common}


def signature(kind: CellKind, name: str, options: tuple[tuple[str, Any], ...]) -> str:
    """The call that makes such a layer, without what it has by default.

    >>> from rnncore._cells.table import CELLS
    >>> options = ("input_size", 3), ("hidden_size", 4), ("num_layers", 1), ("reset", "before")
    >>> signature(CELLS["GRU"], "GRU", options)
    "GRU(3, 4, reset='before')"
    """
    usual = {"num_layers": 1, **kind.defaults}
    usual |= {name: option.default for name, option in COMMON.items()}
    sizes = [str(value) for _, value in options[:2]]
    others = [
        f"{name}={value.name if isinstance(value, np.dtype) else repr(value)}"
        for name, value in options[2:]
        if value != usual[name]
    ]
    return f"{name}({', '.join(sizes + others)})"
