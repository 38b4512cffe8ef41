"""What the functions of the functional core are given, by the description of their cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from rnncore import _check
from rnncore._cells.kind import CellKind, Weight, sized
from rnncore._cells.results import FloatArray

Arguments = Mapping[str, Any]  # of a function, by their names


class Options(TypedDict, total=False):
    """What every forward function takes by name alone, but for `training`; for type checkers."""

    activations: Sequence[str | tuple[str | float, ...]] | None
    clip: float | None
    lengths: NDArray[np.integer] | Sequence[int] | None
    h_mask: FloatArray | None
    keep_h: FloatArray | None
    reverse: bool


class Inputs(NamedTuple):
    """What a forward pass reads, found to be right."""

    kind: CellKind
    x: FloatArray  # (T, B, I)
    weights: dict[str, FloatArray | None]  # by their arguments
    starts: tuple[FloatArray | None, ...]  # of every state
    options: dict[str, Any]  # of the cell, with `activations` and `clip`
    lengths: NDArray[np.intp] | None
    h_mask: FloatArray | None
    keeps: tuple[FloatArray | None, ...]  # of every state
    reverse: bool
    training: bool
    H: int
    P: int


class Arriving(NamedTuple):
    """What a backward pass reads besides its trace, found to be right."""

    weights: dict[str, FloatArray | None]
    dy: FloatArray | None
    dends: tuple[FloatArray | None, ...]  # of every state
    flow: NDArray[np.float64] | None


def inputs(kind: CellKind, given: Arguments) -> Inputs:
    """Check the arguments of a forward function.

    Raises
    ------
    TypeError, ValueError that names the argument, what came and what was expected.
    """
    options = {o.name: o.check(o.name, given[o.name]) for o in kind.options if o.name in given}
    activations = kind.activations({**options, "activations": given["activations"]})
    clip = _check.clip(given["clip"])
    reverse = _check.flag("reverse", given["reverse"])
    training = _check.flag("training", given["training"])
    x = _check.array("x", given["x"], ("T", "B", "I"))
    T, B, I = x.shape
    H, P = _units(kind, given, x.dtype)
    if H == 0 or I == 0:
        raise ValueError(f"x has {I} inputs and w_hh {H} units, expected at least 1 of each")
    for option in kind.options:  # those that are given by a weight
        if option.name not in options:
            (weight,) = (w for w in kind.weights if w.needs == option.name)
            options[option.name] = 0 if given[weight.argument] is None else P
    sizes = {"I": I, "H": H, "P": P}
    expected: dict[str, Any] = {"dtype": x.dtype, "owner": "x"}
    weights = _weights(kind, given, options, sizes, **expected)
    states = [(f"{s.name}0", f"keep_{s.name}", (B, sizes[s.width])) for s in kind.states]
    optional = _check.optional_array
    starts = tuple([optional(start, given[start], rows, **expected) for start, _, rows in states])
    h_mask = optional("h_mask", given["h_mask"], (B, P), **expected)
    keeps = tuple([optional(keep, given[keep], (T, *rows), **expected) for _, keep, rows in states])
    lengths = _check.lengths(given["lengths"], T, B)
    biases = [w.argument for w in kind.weights if w.needs == "bias" and w.read_back]
    options["bias"] = any(given[name] is not None for name in biases)  # backward, they are the same
    options |= {"activations": activations, "clip": clip}
    return Inputs(
        kind, x, weights, starts, options, lengths, h_mask, keeps, reverse, training, H, P
    )


def _units(kind: CellKind, given: Arguments, dtype: np.dtype) -> tuple[int, int]:
    """H and P, which the weights of the state tell."""
    for weight in kind.weights:
        if weight.place == "w_hr" and given[weight.argument] is not None:
            w_hr = _check.array(
                weight.argument, given[weight.argument], weight.shape, dtype=dtype, owner="x"
            )
            P, H = w_hr.shape
            if P == 0:
                raise ValueError(f"w_hr has shape {(P, H)}, expected at least 1 row")
            return H, P
    weight = min(kind.weights, key=lambda weight: weight.stem != "weight_hh")  # else the first
    shape = tuple([size.replace("P", "H") for size in weight.shape])
    found = _check.array(weight.argument, given[weight.argument], shape, dtype=dtype, owner="x")
    n, size = next(
        (n, size) for n, size in zip(found.shape[::-1], shape[::-1], strict=True) if size[-1] == "H"
    )
    H = n // int(size[:-1] or 1)
    return H, H


def _weights(
    kind: CellKind,
    given: Arguments,
    options: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    dtype: np.dtype,
    owner: str,
) -> dict[str, FloatArray | None]:
    """The weights by their arguments, those of the state first: their shape has told H."""
    found: dict[str, FloatArray | None] = {}
    for weight in sorted(kind.weights, key=lambda weight: weight.stem != "weight_hh"):
        name, value = weight.argument, given.get(weight.argument)
        if weight.needs not in ("", "bias"):
            _there_by_option(weight, value, options)
        shape = sized(weight.shape, sizes)
        check = _check.optional_array if weight.needs else _check.array
        found[name] = check(name, value, shape, dtype=dtype, owner=owner)
    return {weight.argument: found[weight.argument] for weight in kind.weights}


def _there_by_option(weight: Weight, value: Any, options: Mapping[str, Any]) -> None:
    option = options[weight.needs]
    if (value is None) == bool(option):
        name, came = weight.argument, "None" if value is None else "given"
        expected = "an array" if value is None else "None"
        raise ValueError(
            f"{name} is {came} and {weight.needs} is {option!r}, expected {name} to be {expected}"
        )


def arriving(trace: Any, given: Arguments) -> Arriving:
    """Check the arguments of a backward function, against its `trace`.

    Raises
    ------
    TypeError, ValueError that names the argument, what came and what was expected.
    """
    kind, (T, B, I) = trace.kind, trace.x.shape
    sizes = {"I": I, "H": trace.H, "P": trace.P}
    expected = {"dtype": trace.x.dtype, "owner": "the trace"}
    optional = _check.optional_array
    for weight in kind.weights:
        if weight.place == "w_hr" or (weight.needs == "bias" and weight.read_back):
            _as_before(weight.argument, given[weight.argument], trace.options[weight.needs])
    weights = _weights(kind, given, trace.options, sizes, **expected)
    dy = optional("dy", given["dy"], (T, B, trace.P), **expected)
    dstates = {
        f"d{s.name}": optional(f"d{s.name}", given[f"d{s.name}"], (B, sizes[s.width]), **expected)
        for s in kind.states
    }
    flow = given["flow"]
    if flow is not None:
        shape = (len(dstates), T, B)
        _check.writable("flow", _check.array("flow", flow, shape, dtype=np.dtype(np.float64)))
    _check.some_gradient(dy=dy, **dstates)
    return Arriving(weights, dy, tuple(dstates.values()), flow)


def _as_before(name: str, value: Any, had: Any) -> None:
    if (value is not None) != bool(had):
        came, wanted = ("None", "the one it had") if value is None else ("given", "None")
        what = "a projection" if name == "w_hr" else "biases"
        raise ValueError(
            f"{name} is {came}, expected {wanted}: the forward pass ran "
            f"{'with' if had else 'without'} {what}"
        )
