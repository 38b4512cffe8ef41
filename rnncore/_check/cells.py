"""What the functional core reads: a cell's inputs, the gradients from outside, the lengths."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict

import numpy as np

from rnncore._check.ndarrays import array, optional_array, plain, writable
from rnncore._check.options import flag
from rnncore._check.texts import dtype_text, shape_text


class _Expected(TypedDict):
    dtype: np.dtype
    owner: str


def cell_inputs(
    gates: int,
    x: Any,
    w_ih: Any,
    w_hh: Any,
    *,
    biases: Mapping[str, Any],
    states: Mapping[str, Any],
    w_ch: Any = None,
    peephole: str | None = None,
    w_hr: Any = None,
    h_mask: Any = None,
    keeps: Mapping[str, Any] = MappingProxyType({}),
    reverse: Any = False,
    training: Any = True,
) -> None:
    """Check what a forward pass of the functional core reads, by its names there."""
    flag("reverse", reverse)
    flag("training", training)
    x = array("x", x, ("T", "B", "I"))
    expected: _Expected = {"dtype": x.dtype, "owner": "x"}
    if w_hr is None:
        P = H = array("w_hh", w_hh, (f"{gates}H", "H"), **expected).shape[1]
    else:
        P, H = array("w_hr", w_hr, ("P", "H"), **expected).shape
        if P == 0:
            raise ValueError(f"w_hr has shape {shape_text((P, H))}, expected at least 1 row")
    T, B, I = x.shape
    if H == 0 or I == 0:
        raise ValueError(f"x has {I} inputs and w_hh {H} units, expected at least 1 of each")
    array("w_hh", w_hh, (gates * H, P), **expected)
    array("w_ih", w_ih, (gates * H, I), **expected)
    for name, value in biases.items():
        optional_array(name, value, (gates * H,), **expected)
    for name, value in states.items():
        optional_array(name, value, (B, _width(name, P, H)), **expected)
    _peepholes(w_ch, peephole, H, x.dtype)
    optional_array("h_mask", h_mask, (B, P), **expected)
    for name, value in keeps.items():
        optional_array(name, value, (T, B, _width(name, P, H)), **expected)


def cell_output_gradients(
    gates: int,
    x: np.ndarray,
    h: np.ndarray,
    w_ih: Any,
    w_hh: Any,
    dy: Any,
    *,
    dstates: Mapping[str, Any],
    w_ch: Any = None,
    peephole: str | None = None,
    w_hr: Any = None,
    projected: bool = False,
    units: int | None = None,
    flow: Any = None,
) -> None:
    """Check what a backward pass gets beside its trace, against the `x` and `h` of the trace.

    `projected` tells whether the forward pass had a `w_hr`, and `units` is H where `h` is narrower.
    """
    T, B, I = x.shape
    expected: _Expected = {"dtype": x.dtype, "owner": "the trace"}
    P = h.shape[-1]
    H = P if units is None else units
    array("w_ih", w_ih, (gates * H, I), **expected)
    array("w_hh", w_hh, (gates * H, P), **expected)
    optional_array("dy", dy, (T, B, P), **expected)
    for name, value in dstates.items():
        optional_array(name, value, (B, _width(name, P, H)), **expected)
    _peepholes(w_ch, peephole, H, x.dtype)
    if (w_hr is not None) != projected:
        came, wanted = ("None", "the one it had") if w_hr is None else ("given", "None")
        raise ValueError(
            f"w_hr is {came}, expected {wanted}: the forward pass ran "
            f"{'with' if projected else 'without'} a projection"
        )
    optional_array("w_hr", w_hr, (P, H), **expected)
    if flow is not None:
        writable("flow", array("flow", flow, (len(dstates), T, B), dtype=np.dtype(np.float64)))
    some_gradient(dy=dy, **dstates)


def some_gradient(**gradients: Any) -> None:
    """Check that a backward pass gets a gradient from outside: without one it would give zeros.

    >>> some_gradient(dy=None, dstate=(None, None))
    Traceback (most recent call last):
    ValueError: dy is None and dstate is (None, None), expected at least one gradient
    """
    for value in gradients.values():
        parts = value if isinstance(value, tuple | list) else (value,)
        if any(part is not None for part in parts):
            return
    came = [f"{name} is {value}" for name, value in gradients.items()]
    raise ValueError(f"{' and '.join(came)}, expected at least one gradient")


def lengths(value: object, T: int, B: int) -> np.ndarray | None:
    """Check that `value` is None or holds the length of each of B rows, 0 to T, and copy it.

    Returns
    -------
    (B,) array of `numpy.intp`, or None.

    Examples
    --------
    >>> lengths([3, 9], 5, 2)
    Traceback (most recent call last):
    ValueError: lengths[1] is 9, expected 0 to 5, the steps of x
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray) and type(value) is not np.ndarray:
        value = plain("lengths", value)
    try:
        found = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"lengths cannot be read as a numpy array of integers: {error}") from error
    if isinstance(value, tuple | list) and not value:
        found = found.astype(np.intp)  # an empty list has no numbers that could be integers
    if found.dtype.kind not in "iu":
        raise TypeError(f"lengths has dtype {dtype_text(found.dtype)}, expected integers")
    if found.shape != (B,):
        raise ValueError(f"lengths has shape {shape_text(found.shape)}, expected ({B},)")
    wrong = np.flatnonzero((found < 0) | (found > T))
    if wrong.size:
        row = wrong[0]
        raise ValueError(f"lengths[{row}] is {found[row]}, expected 0 to {T}, the steps of x")
    return found.astype(np.intp)


def _width(name: str, P: int, H: int) -> int:
    """How wide a state, its gradient or its mask is: c0, dc and keep_c H, h0, dh and keep_h P."""
    return H if "c" in name else P


def _peepholes(w_ch: Any, peephole: str | None, H: int, dtype: np.dtype) -> None:
    if (w_ch is None) != (peephole is None):
        came, expected = ("None", "an array") if w_ch is None else ("given", "None")
        raise ValueError(
            f"w_ch is {came} and peephole is {peephole!r}, expected w_ch to be {expected}"
        )
    optional_array("w_ch", w_ch, (3 * H,), dtype=dtype)
