"""Layers of rnncore with given arrays: nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore.layers.parameters import LATER
from rnncore.models.part import without_values

_MOST_NUMBERS = 1 << 24  # of a weight that has zeros between groups


def recurrent(
    kind: Any, options: Mapping[str, Any], params: Mapping[str, np.ndarray], *, own: bool = False
) -> Any:
    """A recurrent layer or cell of a class, with its own copies of `params`, or with `own` them.

    Raises
    ------
    ValueError, TypeError as `load_params` does.
    """
    dtype = next(iter(params.values())).dtype
    layer = kind(**{"dtype": dtype, **options}, rng=LATER)
    layer.params = {name: np.zeros(shape, dtype) for name, shape in shapes_of(layer).items()}
    layer.load_params(params)
    return _taken(layer, params) if own else layer


def _taken(layer: Any, params: Mapping[str, np.ndarray]) -> Any:
    """A layer with arrays themselves in place of its copies: what is tied stays so."""
    fit = {n: a for n, a in params.items() if a.flags.c_contiguous and a.flags.writeable}
    layer.params = {name: fit.get(name, copy) for name, copy in layer.params.items()}
    return layer


def ungrouped(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weight (out, in / groups, K) of a convolution of groups for all channels, (out, in, K).

    It is 0 between groups, so that memory and time are `groups` times what they need to be.

    Raises
    ------
    ValueError for a number of groups that does not fit, or makes it very large.
    """
    if groups == 1:
        return weight
    out, each, K = weight.shape
    if out % groups or out * each * groups * K > _MOST_NUMBERS:
        raise ValueError(f"has groups {groups}, which do not fit a weight of shape {weight.shape}")
    whole = np.zeros((out, each * groups, K), weight.dtype)
    for group in range(groups):
        own = slice(group * out // groups, (group + 1) * out // groups)
        whole[own, group * each : (group + 1) * each] = weight[own]
    return whole


def shapes_of(layer: Any) -> Mapping[str, tuple[int, ...]]:
    """Of the parameters of a layer or cell."""
    owner = getattr(layer, "_layer", layer)  # a cell has a layer
    shapes: Mapping[str, tuple[int, ...]] = owner._shapes
    return shapes


def part(
    kind: Any, params: Mapping[str, np.ndarray | None], *, own: object = False, **options: Any
) -> Any:
    """A part with its own copies of `params`, or with `own` them, and of buffers by their names."""
    there = {name: value for name, value in params.items() if value is not None}
    if there:
        options["dtype"] = next(iter(there.values())).dtype
    made = without_values(kind, options)
    if there:
        made.params = {name: np.zeros(s, made.dtype) for name, s in made._shapes.items()}
        made.load_params(there)
    return _taken(made, there) if own else made
