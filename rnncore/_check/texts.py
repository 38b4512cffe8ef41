"""How messages show what came and what was expected."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import numpy as np

# A size of an expected shape: a number, or the letter of a size that may be anything.
Size = int | str


def shape_text(shape: tuple[Size, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def dtype_text(dtype: np.dtype) -> str:
    return str(dtype) if dtype.isnative else f"{dtype.newbyteorder('=')} (byte-swapped)"


def kind_text(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def shown(value: object) -> str:
    """For a message: the longest integers cannot even be printed, and others fill pages."""
    if isinstance(value, int) and abs(value) > 10**100:
        return f"an integer of {value.bit_length()} bits"
    return reprlib.repr(value) if not isinstance(value, int | float | np.number) else repr(value)


def some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are; what no console shows is escaped."""
    first = [name if name.isprintable() else repr(name)[1:-1] for name in names[:12]]
    return ", ".join(first) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
