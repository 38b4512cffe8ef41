"""The options that all recurrent layers have, and how a layer is written down by its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore._check.texts import shown

if TYPE_CHECKING:
    from typing import TypeAlias, TypedDict

    from numpy.typing import DTypeLike

    BiasInit: TypeAlias = str | tuple[str, int] | None

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


_LONGEST = 100  # steps: T_max where none is told


def _bias_init(name: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str) and value == "chrono":
        return "chrono", _LONGEST
    if isinstance(value, list | tuple) and len(value) == 2 and str(value[0]) == "chrono":
        return "chrono", _check.size(f"{name}[1]", value[1], minimum=2)
    raise ValueError(f"{name} is {shown(value)}, expected None, 'chrono' or ('chrono', T_max)")


# Those of layers whose gates keep a memory.
GATED: Mapping[str, Common] = {"bias_init": Common(None, _bias_init)}


def usual(kind: CellKind) -> dict[str, Any]:
    """What a layer has by default."""
    gated = GATED if kind.keeping else {}
    others = {name: option.default for name, option in {**gated, **COMMON}.items()}
    return {"num_layers": 1, **kind.defaults, **others}


def checked(kind: CellKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a layer, in the order in which it is written down.

    Raises
    ------
    TypeError, ValueError that names the first that is wrong.
    """
    own = {option.name: option.check(option.name, given[option.name]) for option in kind.options}
    sizes = {name: check(name, given[name]) for name, check in SIZES.items()}
    others = {**(GATED if kind.keeping else {}), **COMMON}
    common = {name: option.check(name, given[name]) for name, option in others.items()}
    if common.get("bias_init") is not None and not common["bias"]:
        raise ValueError(f"bias_init is {common['bias_init']} and bias is False, expected True")
    return {**sizes, **own, **common}


def signature(kind: CellKind, name: str, options: tuple[tuple[str, Any], ...]) -> str:
    """The call that makes such a layer, without what it has by default.

    >>> from rnncore._cells.table import CELLS
    >>> options = ("input_size", 3), ("hidden_size", 4), ("num_layers", 1), ("reset", "before")
    >>> signature(CELLS["GRU"], "GRU", options)
    "GRU(3, 4, reset='before')"
    """
    by_default = usual(kind)
    sizes = [str(value) for _, value in options[:2]]
    others = [
        f"{name}={value.name if isinstance(value, np.dtype) else repr(value)}"
        for name, value in options[2:]
        if value != by_default[name]
    ]
    return f"{name}({', '.join(sizes + others)})"
