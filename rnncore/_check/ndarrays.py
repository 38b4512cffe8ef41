"""Arrays: their shapes, dtypes and kinds, and the parameters of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from rnncore._check.texts import Size, dtype_text, kind_text, shape_text, some

Kind = TypeVar("Kind")

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(
    name: str,
    value: object,
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
        raise TypeError(f"{name} has dtype {dtype_text(value.dtype)}, expected {expected}{whose}")
    got = value.shape
    for shape in shapes:
        if got == shape or _fits(got, shape):
            return value
    expected = " or ".join(shape_text(shape) for shape in shapes)
    raise ValueError(f"{name} has shape {shape_text(got)}, expected {expected}")


def optional_array(
    name: str,
    value: object,
    *shapes: tuple[Size, ...],
    dtype: np.dtype | None = None,
    owner: str = "",
) -> np.ndarray | None:
    """`array`, where None is let through."""
    return None if value is None else array(name, value, *shapes, dtype=dtype, owner=owner)


def arrays(
    name: str,
    value: object,
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
        raise TypeError(f"{name} is {kind_text(value)}, expected the tuple {expected}")
    if len(value) != len(parts):
        raise ValueError(f"{name} has {len(value)} entries, expected {expected}")
    check = optional_array if gaps else array
    return tuple(
        check(f"{name}[{k}]", part, shape, dtype=dtype, owner=owner)
        for k, (part, shape) in enumerate(zip(value, shapes, strict=True))
    )


def same_names(given: Mapping[Any, Any], expected: Mapping[str, Any]) -> None:
    """Check that `given` has exactly the keys that parameters have."""
    if given.keys() != expected.keys():
        missing = [name for name in expected if name not in given]
        unknown = [str(name) for name in given if name not in expected]
        faults = [
            f"{fault}: {some(names)}"
            for fault, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise ValueError(f"params has {'; '.join(faults)}{_prefix_hint(given, expected)}")


def parameters(
    given: object,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    dtype: np.dtype,
    owner: str = "the layer",
) -> dict[str, np.ndarray]:
    """Check that `given` has exactly the keys, the shapes and the dtype of a layer's parameters.

    What can become an array without loss (a PyTorch tensor in main memory) may stand for one.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"params is {kind_text(given)}, expected a mapping of names to arrays")
    same_names(given, shapes)
    checked = {}
    for name, shape in shapes.items():
        value = given[name]
        # Every call of a layer comes by here: what is right costs no call of `array`.
        if type(value) is not np.ndarray or value.shape != shape or value.dtype != dtype:
            value = array(name, converted(name, value), shape, dtype=dtype, owner=owner)
        checked[name] = value
    return checked


def ids(name: str, value: object, count: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Check that `value` is an array of integers from 0 to ``count - 1``, and of `shape`."""
    if type(value) is not np.ndarray:
        value = plain(name, value, "a numpy array of integers")
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {value.dtype}, expected integers")
    if shape is not None and value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}, expected {shape}")
    if value.size:
        low, high = int(value.min()), int(value.max())
        if low < 0 or high >= count:
            wrong = low if low < 0 else high
            raise ValueError(f"{name} holds {wrong}, expected integers from 0 to {count - 1}")
    return value


def writable(name: str, value: np.ndarray) -> np.ndarray:
    """Check that `value` can be changed in place."""
    if value.flags.writeable:
        return value
    raise ValueError(f"{name} is read-only, expected an array to change in place")


def instance(name: str, value: object, kind: type[Kind]) -> Kind:
    """Check that `value` is a `kind`."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"{name} is {kind_text(value)}, expected {kind.__name__}")


def plain(name: str, value: object, expected: str = "a numpy array") -> np.ndarray:
    """What a mapped file holds, as any array; other subclasses are refused.

    They mean more than their numbers (a mask, a unit), and that would be ignored silently.
    """
    if isinstance(value, np.memmap):
        mapped: np.ndarray = value.view(np.ndarray)
        return mapped
    raise TypeError(f"{name} is {kind_text(value)}, expected {expected}")


def converted(name: str, value: object) -> object:
    """What another library hands over as an array; all else as it is.

    Its numbers by their places: a column of pandas itself would be read by its labels.
    """
    if isinstance(value, np.ndarray) or not hasattr(value, "__array__"):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # whatever the other library raises for what it cannot hand over
        raise TypeError(f"{name} cannot be read as a numpy array: {error}") from error


# The parts of it


def _fits(got: tuple[int, ...], expected: tuple[Size, ...]) -> bool:
    if len(got) != len(expected):
        return False
    for have, want in zip(got, expected, strict=True):
        if have != want and type(want) is not str:
            return False
    return True


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
