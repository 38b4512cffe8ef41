"""The one place that raises on wrong shapes, dtypes and options.

Every function takes the name of an argument and what came, and returns what to work with, or raises
a `TypeError` or `ValueError` of one form: *name*, what came, what was expected. The accepted path
compares and returns; messages are put together only on failure.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

# A size of an expected shape: a number, or the letter of a size that may be anything.
Size = int | str


# Arrays


def array(
    name: str,
    value: Any,
    *shapes: tuple[Size, ...],
    dtype: np.dtype | None = None,
    owner: str = "",
) -> np.ndarray:
    """Check that `value` is a NumPy array of one of `shapes`, and of `dtype`.

    Parameters
    ----------
    shapes : the shapes to choose from; a letter stands for any size
    dtype : what `value` must have; None: float32 or float64, in the byte order of the machine
    owner : whose dtype that is, for the message

    Returns
    -------
    `value`, as a plain `numpy.ndarray`; strides and flags may be any.

    Raises
    ------
    TypeError for what is no plain array and for another dtype, ValueError for another shape.

    Examples
    --------
    >>> array("x", np.zeros((5, 3, 4)), ("T", "B", 7), ("T", 7))
    Traceback (most recent call last):
    ValueError: x has shape (5, 3, 4), expected (T, B, 7) or (T, 7)
    """
    if type(value) is not np.ndarray:
        value = plain(name, value)
    if value.dtype != dtype if dtype is not None else value.dtype not in FLOATS:
        expected = dtype if dtype is not None else "float32 or float64"
        whose = f" as {owner}'s" if owner else ""
        raise TypeError(f"{name} has dtype {_dtype_text(value.dtype)}, expected {expected}{whose}")
    got = value.shape
    for shape in shapes:
        if got == shape or _fits(got, shape):
            return value
    expected = " or ".join(_shape_text(shape) for shape in shapes)
    raise ValueError(f"{name} has shape {_shape_text(got)}, expected {expected}")


def optional_array(
    name: str,
    value: Any,
    *shapes: tuple[Size, ...],
    dtype: np.dtype | None = None,
    owner: str = "",
) -> np.ndarray | None:
    """`array`, where None is let through."""
    return None if value is None else array(name, value, *shapes, dtype=dtype, owner=owner)


def arrays(
    name: str,
    value: Any,
    parts: Sequence[str],
    shapes: Sequence[tuple[Size, ...]],
    *,
    dtype: np.dtype,
    owner: str = "",
    gaps: bool = False,
) -> tuple[np.ndarray | None, ...]:
    """Check the state of a layer, or its gradient, and return one entry for each of `parts`.

    A state of one part is an array, one of several is a tuple or list of arrays. With `gaps`, some
    of the several may be None.
    """
    if len(parts) == 1:
        return (array(name, value, shapes[0], dtype=dtype, owner=owner),)
    expected = f"({', '.join(parts)})"
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} is {_kind(value)}, expected the tuple {expected}")
    if len(value) != len(parts):
        raise ValueError(f"{name} has {len(value)} entries, expected {expected}")
    check = optional_array if gaps else array
    return tuple(
        check(f"{name}[{k}]", part, shape, dtype=dtype, owner=owner)
        for k, (part, shape) in enumerate(zip(value, shapes, strict=True))
    )


def parameters(
    given: Any,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    dtype: np.dtype,
    owner: str = "the layer",
) -> dict[str, np.ndarray]:
    """Check that `given` has exactly the keys, the shapes and the dtype of a layer's parameters.

    What can become an array without loss (a PyTorch tensor in main memory) may stand for one.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"params is {_kind(given)}, expected a mapping of names to arrays")
    if given.keys() != shapes.keys():
        missing = [name for name in shapes if name not in given]
        unknown = [str(name) for name in given if name not in shapes]
        faults = [
            f"{fault}: {some(names)}"
            for fault, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise ValueError(f"params has {'; '.join(faults)}{_prefix_hint(given, shapes)}")
    checked = {}
    for name, shape in shapes.items():
        value = given[name]
        # Every call of a layer comes by here: what is right costs no call of `array`.
        if type(value) is not np.ndarray or value.shape != shape or value.dtype != dtype:
            value = array(name, _converted(name, value), shape, dtype=dtype, owner=owner)
        checked[name] = value
    return checked


def writable(name: str, value: np.ndarray) -> np.ndarray:
    """Check that `value` can be changed in place."""
    if value.flags.writeable:
        return value
    raise ValueError(f"{name} is read-only, expected an array to change in place")


def instance(name: str, value: Any, kind: type) -> Any:
    """Check that `value` is a `kind`."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"{name} is {_kind(value)}, expected {kind.__name__}")


# The functional core


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
    expected = {"dtype": x.dtype, "owner": "x"}
    if w_hr is None:
        P = H = array("w_hh", w_hh, (f"{gates}H", "H"), **expected).shape[1]
    else:
        P, H = array("w_hr", w_hr, ("P", "H"), **expected).shape
        if P == 0:
            raise ValueError(f"w_hr has shape {_shape_text((P, H))}, expected at least 1 row")
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
    P, expected = h.shape[-1], {"dtype": x.dtype, "owner": "the trace"}
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


def lengths(value: Any, T: int, B: int) -> np.ndarray | None:
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
        raise TypeError(f"lengths has dtype {_dtype_text(found.dtype)}, expected integers")
    if found.shape != (B,):
        raise ValueError(f"lengths has shape {_shape_text(found.shape)}, expected ({B},)")
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


# Options


def size(name: str, value: Any, *, minimum: int = 1, maximum: int = sys.maxsize) -> int:
    """Check that `value` is an integer from `minimum` to `maximum`; True and False are none."""
    if not isinstance(value, bool | np.bool_):
        try:
            value = operator.index(value)
        except TypeError:
            pass
        else:
            if minimum <= value <= maximum:
                return value
            bound = f"at least {minimum}" if value < minimum else f"at most {maximum}"
            raise ValueError(f"{name} is {_shown(value)}, expected an integer of {bound}")
    raise TypeError(f"{name} is {_shown(value)}, expected an integer")


def affordable(sizes: Mapping[str, int], nbytes: int, what: str) -> None:
    """Check that `what`, of these sizes, can be in memory at all; the largest size is named."""
    if nbytes > memory():
        name, value = max(sizes.items(), key=operator.itemgetter(1))
        gib = f"{nbytes >> 30:,} GiB, and there are {memory() >> 30:,}"
        raise ValueError(f"{name} is {value}, expected less: {what} would take {gib}")


@lru_cache(maxsize=1)
def memory() -> int:
    """Bytes of the machine's memory; where it does not tell, more than any has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 47


def flag(name: str, value: Any) -> bool:
    """Check that `value` is True or False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise TypeError(f"{name} is {_shown(value)}, expected True or False")


def choice(name: str, value: Any, allowed: Sequence[str | None]) -> Any:
    """Check that `value` is one of the words of `allowed`, or None where that is among them."""
    if (value is None or isinstance(value, str)) and value in allowed:
        return value
    raise ValueError(f"{name} is {value!r}, expected {' or '.join(map(repr, allowed))}")


def fraction(name: str, value: Any) -> float:
    """Check that `value` is a number from 0 to 1, without the 1."""
    number = _number(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} is {_shown(value)}, expected a number of at least 0 and below 1")
    return number


def real(name: str, value: Any) -> float:
    """Check that `value` is a finite number."""
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {_shown(value)}, expected a finite number")
    return number


def positive(name: str, value: Any) -> float:
    """Check that `value` is a number above 0; infinity is one."""
    number = _number(name, value)
    if not number > 0:
        raise ValueError(f"{name} is {_shown(value)}, expected a number above 0")
    return number


def not_negative(name: str, value: Any) -> float:
    """Check that `value` is a finite number of at least 0."""
    number = _number(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {_shown(value)}, expected a finite number of at least 0")
    return number


def _number(name: str, value: Any) -> float:
    """`value` as a float; what is beyond all floats counts as infinity."""
    kinds = int | float | np.integer | np.floating
    if isinstance(value, bool | np.bool_ | np.timedelta64) or not isinstance(value, kinds):
        raise TypeError(f"{name} is {_shown(value)}, expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


def _shown(value: Any) -> str:
    """For a message: the longest integers cannot even be printed, and others fill pages."""
    if isinstance(value, int) and abs(value) > 10**100:
        return f"an integer of {value.bit_length()} bits"
    return reprlib.repr(value) if not isinstance(value, int | float | np.number) else repr(value)


def clip(value: Any) -> float | None:
    """Check that `value` is None or a bound for the gate sums, positive and finite."""
    if value is None:
        return None
    value = real("clip", value)
    if value <= 0:
        raise ValueError(f"clip is {value!r}, expected None or a positive number")
    return value


def float_dtype(name: str, value: Any) -> np.dtype:
    """Check that `value` names float32 or float64, in the byte order of the machine."""
    shown = _shown(value)
    if value is not None:  # which numpy.dtype takes for float64
        try:
            dtype = np.dtype(value)
        except (TypeError, ValueError, SyntaxError):  # NumPy parses a text as Python
            pass
        else:
            if dtype in FLOATS:
                return dtype
            shown = _dtype_text(dtype)
    raise TypeError(f"{name} is {shown}, expected float32 or float64")


def generator(name: str, value: Any) -> np.random.Generator:
    """Check that `value` is None, a seed or a Generator, and return the Generator it stands for."""
    if value is None or isinstance(value, np.random.Generator):
        return np.random.default_rng(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return np.random.default_rng(size(name, value, minimum=0, maximum=2**256))
    raise TypeError(f"{name} is {_kind(value)}, expected None, an integer or a numpy Generator")


# The parts of it


def plain(name: str, value: Any, expected: str = "a numpy array") -> np.ndarray:
    """What a mapped file holds, as any array; other subclasses are refused.

    They mean more than their numbers (a mask, a unit), and that would be ignored silently.
    """
    if isinstance(value, np.memmap):
        return value.view(np.ndarray)
    raise TypeError(f"{name} is {_kind(value)}, expected {expected}")


def some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are; what no console shows is escaped."""
    shown = [name if name.isprintable() else repr(name)[1:-1] for name in names[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _prefix_hint(given: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What to say where the parameters are there as those of a part of a model: ``rnn.weight``."""
    first = next(iter(shapes), "")
    ends = [str(name) for name in given if str(name).endswith(first) and name != first]
    prefixes = [
        prefix
        for prefix in (name.removesuffix(first) for name in ends)
        if all(
            tuple(getattr(given.get(prefix + name), "shape", ())) == shape
            for name, shape in shapes.items()
        )
    ]
    if not first or not prefixes:
        return ""
    with_it = f"{{k.removeprefix({prefixes[0]!r}): v for k, v in params.items()"
    with_it += f" if k.startswith({prefixes[0]!r})}}"
    found = f"the prefix{'es' if len(prefixes) > 1 else ''} {', '.join(map(repr, prefixes))}"
    return f"; with {found} all are there: {with_it}"


def _converted(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray) or not hasattr(value, "__array__"):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # whatever the other library raises for what it cannot hand over
        raise TypeError(f"{name} cannot be read as a numpy array: {error}") from error


def _fits(got: tuple[int, ...], expected: tuple[Size, ...]) -> bool:
    if len(got) != len(expected):
        return False
    for have, want in zip(got, expected, strict=True):
        if have != want and type(want) is not str:
            return False
    return True


def _shape_text(shape: tuple[Size, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _dtype_text(dtype: np.dtype) -> str:
    return str(dtype) if dtype.isnative else f"{dtype.newbyteorder('=')} (byte-swapped)"


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
