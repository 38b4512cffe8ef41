"""Layers of rnncore with given arrays: nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore.layers.parameters import LATER
from rnncore.models.part import without_values


def recurrent(kind: Any, options: Mapping[str, Any], params: Mapping[str, np.ndarray]) -> Any:
    """A recurrent layer or cell of a class, with its own copies of `params`.

    Raises
    ------
    ValueError, TypeError as `load_params` does.
    """
    dtype = next(iter(params.values())).dtype
    layer = kind(**{"dtype": dtype, **options}, rng=LATER)
    layer.params = {name: np.zeros(shape, dtype) for name, shape in shapes_of(layer).items()}
    layer.load_params(params)
    return layer


def shapes_of(layer: Any) -> Mapping[str, tuple[int, ...]]:
    """Of the parameters of a layer or cell."""
    owner = getattr(layer, "_layer", layer)  # a cell has a layer
    shapes: Mapping[str, tuple[int, ...]] = owner._shapes
    return shapes


def part(kind: Any, params: Mapping[str, np.ndarray | None], **options: Any) -> Any:
    """A part of a class with its own copies of `params`, and of buffers by their names."""
    there = {name: value for name, value in params.items() if value is not None}
    if there:
        options["dtype"] = next(iter(there.values())).dtype
    made = without_values(kind, options)
    if there:
        made.params = {name: np.zeros(s, made.dtype) for name, s in made._shapes.items()}
        made.load_params(there)
    return made
