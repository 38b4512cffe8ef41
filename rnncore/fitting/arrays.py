"""What data are as arrays, whatever library they come from: by their places, and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore import _check


def array_of(name: str, given: Any) -> Any:
    """`given` as an array, or as it is: a list, or a file that is read row by row.

    Raises
    ------
    TypeError for arrays that mean more than their numbers (a mask, a unit), and for what another
    library does not hand over.
    """
    if isinstance(given, list | tuple):
        for k, one in enumerate(given):
            if isinstance(one, np.ma.MaskedArray):
                _check.plain(f"{name}[{k}]", one)
    if isinstance(given, np.ndarray):
        return given if type(given) is np.ndarray else _check.plain(name, given)
    return given if _is_file(given) else _check.converted(name, given)


def _is_file(given: Any) -> bool:
    """Like a data set of h5py, which is no array: it has their dtypes and none of their algebra."""
    of_numpy = isinstance(getattr(given, "dtype", None), np.dtype) and hasattr(given, "shape")
    return of_numpy and not hasattr(given, "__array_ufunc__")


def numbers_of(name: str, given: Any, *, objects: bool = False) -> np.ndarray:
    """An array of numbers; with `objects` also of what may be some."""
    try:
        found: np.ndarray = np.asarray(array_of(name, given))
    except ValueError:
        raise TypeError(f"{name} holds lists of several lengths, expected numbers") from None
    if not objects or found.dtype != object:
        check_numbers(name, found)
    return found


def check_numbers(name: str, given: Any) -> None:
    """Raise TypeError for an array, or a file like one, of anything else."""
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {given.dtype}, expected numbers")


class Sequences(list[np.ndarray]):
    """Arrays (T_i, ...) that differ in their steps alone, and the dtype that holds them all."""

    dtype: np.dtype[Any]


def sequences_of(name: str, given: Any) -> Sequences:
    """Those of a list, which are not copied."""
    if isinstance(given, np.ndarray):
        given = list(given)
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise TypeError(
            f"{name} is of type {type(given).__name__}, expected an array or a list of sequences"
        )
    found = Sequences(numbers_of(f"{name}[{k}]", sequence) for k, sequence in enumerate(given))
    for k, sequence in enumerate(found):
        if sequence.ndim < 1:
            raise ValueError(f"{name}[{k}] is a single number, expected a sequence")
        if sequence.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"{name}[{k}] has steps of shape {sequence.shape[1:]}, and {name}[0] of"
                f" {found[0].shape[1:]}"
            )
    found.dtype = np.result_type(*{one.dtype for one in found}) if found else np.dtype(float)
    return found
