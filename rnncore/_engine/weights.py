"""The weights of a cell, each in the place where the compiled core expects it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore._cells.results import FloatArray
from rnncore._core import core
from rnncore._engine.cells import PLACES, VECTORS, CoreCell, Entry, Weights
from rnncore._engine.memory import contiguous
from rnncore.reference.precision import Quantized, from_bfloat16, quantize, to_bfloat16


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
            found[PLACES[weight.place]] = value
        elif value is not None or weight.needs in ("", "bias"):
            vectors.append(value)
    found[VECTORS] = tuple(vectors)
    return Weights(*found)


def by_argument(kind: CellKind, weights: Weights) -> dict[str, Any]:
    """Undo `of_arguments`."""
    return {name: values[0] for name, values in all_by_argument(kind, weights).items()}


def all_by_argument(kind: CellKind, weights: Weights) -> dict[str, list[Any]]:
    """The same of weights as a layer has them: lists of what one argument is the sum of."""
    vectors = iter(weights.vectors)
    found: dict[str, list[Any]] = {}
    for weight in kind.weights:
        value = next(vectors, None) if weight.place == "vector" else weights[PLACES[weight.place]]
        found.setdefault(weight.argument, []).append(value)
    return found


class Plan:
    """How the parameters of a layer, by their names, become `Weights` of each cell of its stack."""

    def __init__(
        self,
        kind: CellKind,
        suffixes: Iterable[str],
        shapes: Mapping[str, tuple[int, ...]],
        dtype: np.dtype,
    ) -> None:
        self.kind, self.suffixes, self.shapes, self.dtype = kind, tuple(suffixes), shapes, dtype
        self._places = []
        for suffix in self.suffixes:
            entries = []
            for weight in kind.weights:
                name = weight.stem + suffix
                if name in shapes:
                    entries.append(Entry(name, shapes[name], PLACES[weight.place]))
                elif weight.place == "vector" and weight.needs == "bias":
                    entries.append(Entry(None, (), VECTORS))  # its place has to be kept
            self._places.append(core.WeightPlaces(entries, dtype.itemsize, Weights, contiguous))

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.kind, self.suffixes, self.shapes, self.dtype)

    def read(self, params: Any) -> list[Weights]:
        """The weights of every cell, as they are now: users may put anything into `params`."""
        found = core.read_weights(self._places, params, len(self.shapes))
        return self.read(self.checked(params)) if found is None else found

    def checked(self, params: Any) -> dict[str, np.ndarray]:
        """`params`, if it still is what it has to be."""
        return _check.parameters(params, self.shapes, dtype=self.dtype)

    def narrow(self, cells: Sequence[Weights], arrays: Mapping[str, Any]) -> list[Weights]:
        """`cells` with the matrices that `arrays` has, as `narrowed` gives them."""
        found = []
        for suffix, cell in zip(self.suffixes, cells, strict=True):
            matrices: dict[str, Any] = {}
            for weight in self.kind.weights:
                name = weight.stem + suffix
                if weight.place != "vector" and name + SCALE in arrays:
                    scale = contiguous(arrays[name + SCALE])
                    matrices[weight.place] = contiguous(arrays[name]).view(np.uint8), scale
                elif name in arrays and arrays[name].dtype == np.uint16:
                    matrices[weight.place] = contiguous(arrays[name])
            found.append(Weights(**(cell._asdict() | matrices)))
        return found

    def named(self, cells: Sequence[Weights]) -> dict[str, np.ndarray]:
        """Undo `read`, as for gradients: by the names, in the order of `shapes`."""
        found: dict[str, Any] = dict.fromkeys(self.shapes)
        core.name_weights(self._places, cells, found)
        return found


def pack(cell: CoreCell, weights: Weights) -> np.ndarray:
    """The weights of a cell in the order in which its forward pass reads them."""
    packed = core.empty(cell.shape.packed_size, 1)
    core.pack(cell.shape, weights, packed)
    return packed


# Below float32 every matrix is int8, with a scale for each row beside it, or has the bits of
# bfloat16; biases and all else that has one axis stay as they are.

SCALE = "_scale"


def narrowed(params: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """What the parameters of a layer become, by their names, read-only."""
    found: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if value.ndim == 1:
            found[name] = value
        elif precision == "bfloat16":
            found[name] = to_bfloat16(value)
        else:
            found[name], found[name + SCALE] = quantize(value)
    for value in found.values():
        value.flags.writeable = False
    return found


def widened(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], precision: str
) -> dict[str, np.ndarray]:
    """The parameters of the layer that `narrowed` would leave as they are."""
    found = {}
    for name, shape in shapes.items():
        found[name] = arrays[name]
        if len(shape) == 2 and precision == "bfloat16":
            found[name] = from_bfloat16(arrays[name])
        elif len(shape) == 2:
            found[name] = Quantized(arrays[name], arrays[name + SCALE]).widened()
    return found


def stored_arrays(
    shapes: Mapping[str, tuple[int, ...]], precision: str | None, dtype: np.dtype
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shapes and dtypes of what `narrowed` gives."""
    found = {name: (shape, np.dtype(dtype)) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if precision is not None and len(shape) == 2:
            bits = precision == "bfloat16"
            found[name] = shape, np.dtype(np.uint16 if bits else np.int8)
            if not bits:
                found[name + SCALE] = shape[:1], np.dtype(np.float32)
    return found
