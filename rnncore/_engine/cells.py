"""A cell with its options and sizes, as the compiled core knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rnncore._cells.activations import Activation, resolve
from rnncore._cells.kind import CellKind, sized
from rnncore._cells.results import FloatArray
from rnncore._core import core


class Weights(NamedTuple):
    """Contiguous and aligned; what there is not is None. Their gradients have this form too."""

    w_ih: FloatArray
    w_hh: FloatArray | None
    b_ih: FloatArray | None
    b_hh: FloatArray | None
    vectors: tuple[FloatArray | None, ...]  # some numbers a unit each, in the order of the cell
    w_hr: FloatArray | None


VECTORS = Weights._fields.index("vectors")
PLACES = {name: k for k, name in enumerate(Weights._fields)} | {"vector": VECTORS}


class Entry(NamedTuple):
    """Where a weight goes."""

    name: str | None  # of a parameter, where it has one
    shape: tuple[int, ...]
    place: int


class CoreCell:
    """One layer and direction: its description, its options, and its `core.Shape`.

    Attributes
    ----------
    options : the cell's own, bias, activations, as `CellKind.activations` gives them, and clip
    H, P, widths : units, numbers in an h, numbers in a row of each state
    projects : whether an h is fewer numbers than there are units
    precision : of the weights; None: that of the dtype
    unzoned : for every state that it has no zoneout
    zeros : makes gradients of all weights, to which nothing was added yet, of biases given or not
    """

    __slots__ = (
        "H",
        "P",
        "dtype",
        "kind",
        "options",
        "precision",
        "projects",
        "shape",
        "unzoned",
        "widths",
        "zeros",
    )

    def __init__(
        self,
        kind: CellKind,
        options: Mapping[str, Any],
        I: int,
        H: int,
        P: int,
        dtype: np.dtype,
        precision: str | None = None,
    ) -> None:
        self.kind, self.dtype, self.precision = kind, dtype, precision
        self.options = {name: options[name] for name in _names(kind)}
        cell = _for_core(kind, *self.options.values())
        self.shape = core.Shape(cell, I, H, P, dtype.itemsize, core.PRECISIONS[precision])
        self.H, self.P, self.widths = H, P, kind.widths(H, P)
        self.unzoned = (False,) * len(self.widths)
        entries = [
            Entry(None, sized(weight.shape, {"I": I, "H": H, "P": P}), PLACES[weight.place])
            for weight in kind.weights_with({**options, "bias": True})
        ]
        self.projects = any(entry.place == PLACES["w_hr"] for entry in entries)
        self.zeros = core.WeightPlaces(entries, dtype.itemsize, Weights).zeros

    def at(self, precision: str | None) -> CoreCell:
        """The same cell with weights of this precision; None: those of its dtype."""
        shape = self.shape
        return CoreCell(self.kind, self.options, shape.I, shape.H, shape.P, self.dtype, precision)

    def __reduce__(self) -> tuple[Any, ...]:
        shape = self.shape  # its own form depends on the instruction set
        sizes = shape.I, shape.H, shape.P
        return CoreCell, (self.kind, self.options, *sizes, self.dtype, self.precision)


class CellStack(core.Stack):
    """Cells upon each other, for each layer its directions, as the core knows them all together.

    `axes` are those of `core.Stack`.
    """

    def __init__(self, cells: Sequence[CoreCell], directions: int, axes: str = "TB") -> None:
        self.cells, self.directions = tuple(cells), directions
        self.reverse = tuple([k % directions == 1 for k in range(len(cells))])
        both = [(cell.shape, back) for cell, back in zip(cells, self.reverse, strict=True)]
        layers = [tuple(both[k : k + directions]) for k in range(0, len(both), directions)]
        super().__init__(tuple(layers), axes)

    def at(self, precision: str | None) -> CellStack:
        """The same stack with weights of this precision."""
        cells = [cell.at(precision) for cell in self.cells]
        return CellStack(cells, self.directions, self.axes)

    def __reduce__(self) -> tuple[Any, ...]:
        return CellStack, (self.cells, self.directions, self.axes)


def cell_of(
    kind: CellKind, options: Mapping[str, Any], I: int, H: int, P: int, dtype: np.dtype
) -> CoreCell:
    """One of these options and sizes; they are kept, for a call that comes again."""
    return _made(kind, I, H, P, dtype, *[options[name] for name in _names(kind)])


@lru_cache(maxsize=256)
def _made(kind: CellKind, I: int, H: int, P: int, dtype: np.dtype, *values: Any) -> CoreCell:
    return CoreCell(kind, dict(zip(_names(kind), values, strict=True)), I, H, P, dtype)


def _names(kind: CellKind) -> tuple[str, ...]:
    return (*kind.defaults, "bias", "activations", "clip")


@lru_cache(maxsize=256)
def _for_core(kind: CellKind, *values: Any) -> tuple[int, int, Any, float]:
    """Number, flags, functions and epsilon; functions that are its own are its plain, fast ones."""
    *own_values, _, activations, clip = values
    options = dict(zip(kind.defaults, own_values, strict=True))
    flags = 0
    for option in kind.options:
        if name := option.flag(options[option.name]):
            flags |= core.FLAGS[name]
    own = resolve(None, kind.own_functions(options))
    table = None
    if clip is not None or (activations is not None and activations != own):
        table = _table(activations or own, clip or 0.0)
    return core.KINDS[kind.name], flags, table, options.get("eps", 0.0)


def _table(functions: tuple[Activation, ...], clip: float) -> np.ndarray:
    """A row for each: its number, alpha, beta, and the bound of its sums; a memory has none."""
    bounds = (clip, clip, 0.0)
    rows = [(f.code, f.alpha, f.beta, bound) for f, bound in zip(functions, bounds, strict=False)]
    return np.array(rows, np.float64)
