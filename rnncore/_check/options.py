"""Options: sizes, flags, words, numbers, dtypes and generators; and the memory there is."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from rnncore._check.ndarrays import FLOATS
from rnncore._check.texts import dtype_text, kind_text, shown

Word = TypeVar("Word", bound=str | None)


def size(name: str, value: Any, *, minimum: int = 1, maximum: int = sys.maxsize) -> int:
    """Check that `value` is an integer from `minimum` to `maximum`; True and False are none."""
    if not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if minimum <= number <= maximum:
                return number
            bound = f"at least {minimum}" if number < minimum else f"at most {maximum}"
            raise ValueError(f"{name} is {shown(number)}, expected an integer of {bound}")
    raise TypeError(f"{name} is {shown(value)}, expected an integer")


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


def flag(name: str, value: object) -> bool:
    """Check that `value` is True or False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise TypeError(f"{name} is {shown(value)}, expected True or False")


def choice(name: str, value: object, allowed: Sequence[Word]) -> Word:
    """Check that `value` is one of the words of `allowed`, or None where that is among them."""
    if (value is None or isinstance(value, str)) and value in allowed:
        return allowed[allowed.index(value)]
    raise ValueError(f"{name} is {value!r}, expected {' or '.join(map(repr, allowed))}")


def fraction(name: str, value: object) -> float:
    """Check that `value` is a number from 0 to 1, without the 1."""
    number = _number(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} is {shown(value)}, expected a number of at least 0 and below 1")
    return number


def share(name: str, value: object) -> float:
    """Check that `value` is a number from 0 to 1."""
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} is {shown(value)}, expected a number from 0 to 1")
    return number


def real(name: str, value: object) -> float:
    """Check that `value` is a finite number."""
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {shown(value)}, expected a finite number")
    return number


def positive(name: str, value: object) -> float:
    """Check that `value` is a number above 0; infinity is one."""
    number = _number(name, value)
    if not number > 0:
        raise ValueError(f"{name} is {shown(value)}, expected a number above 0")
    return number


def normal(name: str, value: object) -> float:
    """Check that `value` is a finite number that float32 has without loss of digits, above 0."""
    number, least = _number(name, value), float(np.finfo(np.float32).tiny)
    if not least <= number < math.inf:
        raise ValueError(
            f"{name} is {shown(value)}, expected a finite number of at least {least:.2e}"
        )
    return number


def not_negative(name: str, value: object) -> float:
    """Check that `value` is a finite number of at least 0."""
    number = _number(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {shown(value)}, expected a finite number of at least 0")
    return number


def _number(name: str, value: object) -> float:
    """`value` as a float; what is beyond all floats counts as infinity."""
    if type(value) is float:
        return value
    kinds = int | float | np.integer | np.floating
    if isinstance(value, bool | np.bool_ | np.timedelta64) or not isinstance(value, kinds):
        raise TypeError(f"{name} is {shown(value)}, expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


def padding(name: str, value: Any, maximum: int = sys.maxsize) -> str | tuple[int, int]:
    """Check that `value` says how a convolution is padded: a word, a number, or one for each side.

    >>> padding("padding", 2), padding("padding", "causal")
    ((2, 2), 'causal')
    """
    words = ("valid", "same", "causal")
    expected = f"{', '.join(map(repr, words))}, an integer or a pair of integers of at least 0"
    if isinstance(value, str):
        if value not in words:
            raise ValueError(f"{name} is {value!r}, expected {expected}")
        return value
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} has {len(pair)} entries, expected {expected}")
    if any(isinstance(n, bool) or not isinstance(n, int | np.integer) for n in pair):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    before, after = (size(name, n, minimum=0, maximum=maximum) for n in pair)
    return before, after


def clip(value: object) -> float | None:
    """Check that `value` is None or a bound for the gate sums, positive and finite."""
    if value is None:
        return None
    bound = real("clip", value)
    if bound <= 0:
        raise ValueError(f"clip is {bound!r}, expected None or a positive number")
    return bound


def float_dtype(name: str, value: Any) -> np.dtype:
    """Check that `value` names float32 or float64, in the byte order of the machine."""
    came = shown(value)
    if value is not None:  # which numpy.dtype takes for float64
        try:
            dtype: np.dtype = np.dtype(value)
        except (TypeError, ValueError, SyntaxError):  # NumPy parses a text as Python
            pass
        else:
            if dtype in FLOATS:
                return dtype
            came = dtype_text(dtype)
    raise TypeError(f"{name} is {came}, expected float32 or float64")


def generator(name: str, value: object) -> np.random.Generator:
    """Check that `value` is None, a seed or a Generator, and return the Generator it stands for."""
    if value is None or isinstance(value, np.random.Generator):
        return np.random.default_rng(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return np.random.default_rng(size(name, value, minimum=0, maximum=2**256))
    raise TypeError(f"{name} is {kind_text(value)}, expected None, an integer or a numpy Generator")
