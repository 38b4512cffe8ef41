"""What comes in: the parameters of the exercise, and the caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from rnncore import _check
from rnncore.course.layouts import GATES, Arrays, Parameters

Cache = TypeVar("Cache")


def rnn_shapes(n_x: int, n_a: int) -> dict[str, tuple[int, int]]:
    return {"Wax": (n_a, n_x), "Waa": (n_a, n_a), "ba": (n_a, 1)}


def lstm_shapes(n_x: int, n_a: int) -> dict[str, tuple[int, int]]:
    shapes = {f"W{gate}": (n_a, n_a + n_x) for gate in GATES}
    return shapes | {f"b{gate}": (n_a, 1) for gate in GATES}


def output_layer(
    parameters: Parameters, dtype: np.dtype, name: str, n_a: int
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the outputs, which are called `name`, and their bias."""
    w = checked(parameters, dtype, {name: ("n_y", n_a)})[name]
    return w, checked(parameters, dtype, {"by": (len(w), 1)})["by"]


def checked(
    parameters: Parameters,
    dtype: np.dtype | None,
    shapes: Mapping[str, tuple[_check.Size, ...]],
) -> Arrays:
    """Those of `parameters` that `shapes` names; there may be more."""
    _check.instance("parameters", parameters, Mapping)
    missing = [name for name in shapes if name not in parameters]
    if missing:
        raise ValueError(f"parameters has missing: {', '.join(missing)}")
    return {
        name: _check.array(f"parameters[{name!r}]", parameters[name], shape, dtype=dtype)
        for name, shape in shapes.items()
    }


def of_every_step(caches: tuple[list[Cache], np.ndarray]) -> list[Cache]:
    if not isinstance(caches, tuple | list) or len(caches) != 2:
        raise TypeError("caches is no pair, expected (list of the cache of every step, x)")
    _check.instance("caches[0]", caches[0], list)
    return caches[0]


def stacked_steps(
    name: str,
    da: np.ndarray,
    caches: Sequence[Sequence[Any]],
    names: tuple[str, ...],
    state: tuple[int, int],
) -> Arrays:
    """The arrays of as many caches as `da` has steps, stacked by name, (T_x, m, n)."""
    T_x = da.shape[-1]
    if not 1 <= T_x <= len(caches):
        raise ValueError(f"{name} has {T_x} steps, expected 1 to {len(caches)} as the caches have")
    stacked: dict[str, list[np.ndarray]] = {key: [] for key in names[:-1]}
    for cache in caches[:T_x]:
        if not isinstance(cache, tuple | list) or len(cache) != len(names):
            raise TypeError(f"cache is not what is expected, ({', '.join(names)})")
        for key, value in zip(names[:-1], cache[:-1], strict=True):
            shape = ("n_x", state[1]) if key == "xt" else state
            value = _check.array(f"{key} of the cache", value, shape, dtype=da.dtype, owner=name)
            stacked[key].append(value.T)
    return {key: np.stack(values) for key, values in stacked.items()}
