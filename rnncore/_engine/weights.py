"""The weights of a cell, each in the place where the compiled core expects it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore._cells.results import FloatArray
from rnncore._core import core
from rnncore._engine.cells import CoreCell
from rnncore._engine.memory import BYTES, contiguous, empty


class Weights(NamedTuple):
    """Contiguous and aligned; what there is not is None."""

    w_ih: FloatArray
    w_hh: FloatArray | None
    b_ih: FloatArray | None
    b_hh: FloatArray | None
    vectors: tuple[FloatArray | None, ...]  # some numbers a unit each, in the order of the cell
    w_hr: FloatArray | None


_VECTORS = Weights._fields.index("vectors")
_PLACES = {name: k for k, name in enumerate(Weights._fields)} | {"vector": _VECTORS}
new = tuple.__new__  # a named tuple's own is in Python: a small call would feel it
Packed = tuple[tuple[tuple[core.Shape, bool, np.ndarray], ...], ...]  # layers of directions


def of_arguments(
    kind: CellKind, named: Mapping[str, FloatArray | None], *, both: bool = False
) -> Weights:
    """The weights that a function of the functional core was given.

    What stands for the sum of two biases goes in the place of the first; as the gradient of `both`
    it goes in the two places.
    """
    found: list[Any] = [None] * len(Weights._fields)
    vectors: list[FloatArray | None] = []
    seen: set[str] = set()
    for weight in kind.weights:
        value = named.get(weight.argument)
        if value is not None:
            value = contiguous(value)
        if weight.argument in seen:
            if value is None or not both:
                continue
            value = value.copy()
        seen.add(weight.argument)
        if weight.place != "vector":
            found[_PLACES[weight.place]] = value
        elif value is not None or weight.needs in ("", "bias"):
            vectors.append(value)
    found[_VECTORS] = tuple(vectors)
    return Weights(*found)


def by_argument(kind: CellKind, weights: Weights) -> dict[str, Any]:
    """Undo `of_arguments`."""
    return {name: values[0] for name, values in all_by_argument(kind, weights).items()}


def all_by_argument(kind: CellKind, weights: Weights) -> dict[str, list[Any]]:
    """The same of weights as a layer has them: lists of what one argument is the sum of."""
    vectors = iter(weights.vectors)
    found: dict[str, list[Any]] = {}
    for weight in kind.weights:
        value = next(vectors, None) if weight.place == "vector" else weights[_PLACES[weight.place]]
        found.setdefault(weight.argument, []).append(value)
    return found


class Entry(NamedTuple):
    """Where a parameter of a layer goes."""

    name: str | None  # None: a bias that is not there, for which its place has to be kept
    shape: tuple[int, ...]
    place: int


class Plan:
    """How the parameters of a layer, by their names, become `Weights` of each cell of its stack."""

    def __init__(
        self,
        kind: CellKind,
        suffixes: Iterable[str],
        shapes: Mapping[str, tuple[int, ...]],
        dtype: np.dtype,
    ) -> None:
        self.shapes, self.dtype = dict(shapes), dtype
        self.entries: list[list[Entry]] = []
        for suffix in suffixes:
            entries = []
            for weight in kind.weights:
                name = weight.stem + suffix
                if name in shapes:
                    entries.append(Entry(name, shapes[name], _PLACES[weight.place]))
                elif weight.place == "vector" and weight.needs == "bias":
                    entries.append(Entry(None, (), _VECTORS))
            self.entries.append(entries)

    def read(self, params: Any) -> list[Weights]:
        """The weights of every cell, as they are now: users may put anything into `params`."""
        cells = []
        if type(params) is not dict or len(params) != len(self.shapes):
            return self.read(self.checked(params))
        for entries in self.entries:
            found: list[Any] = [None] * len(Weights._fields)
            vectors: list[Any] = []
            for name, shape, place in entries:
                value = params.get(name)
                if name is not None:
                    if (
                        type(value) is not np.ndarray
                        or value.shape != shape
                        or value.dtype != self.dtype
                    ):
                        return self.read(self.checked(params))
                    flags = value.flags
                    if not (flags.c_contiguous and flags.aligned):
                        value = np.require(value, requirements=("C", "A"))
                if place == _VECTORS:
                    vectors.append(value)
                else:
                    found[place] = value
            found[_VECTORS] = tuple(vectors)
            cells.append(new(Weights, found))
        return cells

    def checked(self, params: Any) -> dict[str, np.ndarray]:
        """`params`, if it still is what it has to be."""
        return _check.parameters(params, self.shapes, dtype=self.dtype)

    def name(self, cell: int, weights: Weights, into: dict[str, Any]) -> None:
        """Undo `read` for one cell, as for its gradients: put them into a dict by their names."""
        vector = 0
        for name, _, place in self.entries[cell]:
            if place == _VECTORS:
                if name is not None:
                    into[name] = weights.vectors[vector]
                vector += 1
            elif name is not None:
                into[name] = weights[place]


def pack(cell: CoreCell, weights: Weights) -> np.ndarray:
    """The weights of a cell in the order in which its forward pass reads them."""
    packed = empty(cell.shape.packed_size, BYTES)
    core.pack(cell.shape, weights, packed)
    return packed


def no_gradients(cell: CoreCell) -> Weights:
    """Gradients of all weights, to which nothing was added yet; of biases whether or not given."""
    found: list[Any] = [None] * len(Weights._fields)
    vectors = []
    for place, shape in cell.places:
        if place == "vector":
            vectors.append(np.zeros(shape, cell.dtype))
        else:
            found[_PLACES[place]] = np.zeros(shape, cell.dtype)
    found[_VECTORS] = tuple(vectors)
    return new(Weights, found)
