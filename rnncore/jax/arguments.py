"""What users hand over, checked: by shapes and dtypes alone, for the numbers may come later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore.jax.calls import Arrays, Spec, layer_of
from rnncore.layers.kinds import BY_PREFIX
from rnncore.layers.options import checked, usual
from rnncore.layers.parameters import suffixes


class Problem(NamedTuple):
    """A call that is right."""

    spec: Spec
    weights: Arrays
    x: Any  # (T, B, I) or (B, T, I)
    starts: Arrays
    lengths: Any  # (B,) int32, or None


def problem_of(
    prefix: str, params: Any, x: Any, state: Any, lengths: Any, options: Mapping[str, Any]
) -> Problem:
    """The call of a function such as `lstm`.

    Raises
    ------
    TypeError, ValueError that names the argument, what came and what was expected.
    """
    kind = BY_PREFIX[prefix]._kind
    _check.instance("params", params, Mapping)
    x_shadow = _shadow("x", x)
    _check.array("x", x_shadow, x_shadow.shape)
    _check_enabled("x", x_shadow.dtype)
    shadows = {name: _shadow(name, value) for name, value in params.items()}
    found = {**usual(kind), **options, **_told(kind, shadows), "dtype": x_shadow.dtype}
    found = checked(kind, found)
    kind.activations(found)  # before they are hashed
    layer = layer_of(spec := Spec(prefix, tuple(found.items()), lengths is not None))
    _check.parameters(shadows, layer._shapes, dtype=layer.dtype, owner="x")
    layer._input(x_shadow)
    if state is not None:
        layer._split("state", _shadows_of("state", state, len(kind.states)), x_shadow.shape)
    weights = tuple(jnp.asarray(params[name]) for name in layer._shapes)
    return Problem(spec, weights, *_arrays(spec, jnp.asarray(x), state, lengths))


def _arrays(spec: Spec, x: Any, state: Any, lengths: Any) -> tuple[Any, Arrays, Any]:
    """x, the initial states and lengths, with an axis for the rows."""
    layer = layer_of(spec)
    alone, rows = x.ndim == 2, 0 if layer.batch_first else 1
    if alone:
        x = jnp.expand_dims(x, rows)
    B, T = x.shape[rows], x.shape[1 - rows]
    if state is None:
        count = len(layer._cells)
        starts = tuple(jnp.zeros((count, B, width), x.dtype) for width in layer._widths)
    else:
        parts = state if isinstance(state, tuple | list) else (state,)
        starts = tuple(jnp.asarray(part)[:, None] if alone else jnp.asarray(part) for part in parts)
    return x, starts, None if lengths is None else _lengths(lengths, T, B)


def _lengths(lengths: Any, T: int, B: int) -> Any:
    """(B,) int32; numbers that are not known yet are looked at by the call."""
    if not isinstance(lengths, jax.Array):
        return jnp.asarray(_check.lengths(lengths, T, B), jnp.int32)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths has dtype {lengths.dtype}, expected integers")
    if lengths.shape != (B,):
        raise ValueError(f"lengths has shape {lengths.shape}, expected ({B},)")
    bounds = np.iinfo(np.int32)  # what is beyond stays wrong
    if lengths.dtype.itemsize >= 4 and lengths.dtype != jnp.int32:
        lengths = jnp.clip(lengths, max(bounds.min, jnp.iinfo(lengths.dtype).min), bounds.max)
    return lengths.astype(jnp.int32)


def _shadow(name: str, value: Any) -> np.ndarray:
    """A NumPy array of the same shape and dtype, and without memory, in place of an array."""
    try:
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)
    except (AttributeError, TypeError):  # no array, or one of keys
        came = "None" if value is None else f"of type {type(value).__name__}"
        if not all(isinstance(size, int) for size in getattr(value, "shape", ())):
            came = f"of shape {value.shape}"
        raise TypeError(f"{name} is {came}, expected an array") from None


def _shadows_of(name: str, state: Any, parts: int) -> Any:
    if parts == 1 or not isinstance(state, tuple | list):
        return _shadow(name, state)
    return tuple(_shadow(f"{name}[{k}]", part) for k, part in enumerate(state))


def _check_enabled(name: str, dtype: np.dtype[Any]) -> None:
    """JAX would make float32 of float64, and say nothing."""
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        raise TypeError(f"{name} has dtype float64, expected float32 without jax_enable_x64")


def _told(kind: CellKind, params: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes and options that the names and shapes of parameters tell.

    Nothing else is checked: names and shapes are compared afterwards.
    """
    first, G = params.get("weight_ih_l0"), len(kind.gates)
    shape: tuple[int, ...] = getattr(first, "shape", ())
    if len(shape) != 2 or shape[0] == 0 or shape[0] % G or shape[1] == 0:
        came = "is missing" if first is None else f"has shape {shape}"
        raise ValueError(
            f"params['weight_ih_l0'] {came}, expected ({f'{G}*H' if G > 1 else 'H'}, I)"
        )
    L = 1
    while f"weight_ih_l{L}" in params:
        L += 1
    found: dict[str, Any] = {
        "input_size": shape[1],
        "hidden_size": shape[0] // G,
        "num_layers": L,
        "bias": "bias_ih_l0" in params,
        "bidirectional": f"weight_ih{[*suffixes(1, 2)][1]}" in params,
    }
    if "proj_size" in kind.defaults:
        rows: tuple[int, ...] = getattr(params.get("weight_hr_l0"), "shape", ())
        found["proj_size"] = rows[0] if rows else 0
    return found
