"""What estimators take as X: sequences of numbers or of tokens, in any of their usual forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from rnncore import _check
from rnncore.fitting.arrays import array_of, check_numbers


class Numbers(NamedTuple):
    """Sequences of features, arrays (T_i, F); `kind` says so."""

    rows: list[np.ndarray]
    features: int
    kind: str = "numbers"


class Tokens(NamedTuple):
    """Sequences of tokens, of one `kind`: "texts" or "integers"."""

    rows: list[list[Any]]
    kind: str
    features: int = 1


def sequences_of(X: Any, dtype: np.dtype[Any], *, ids: bool) -> Numbers | Tokens:
    """Sequences in one of their forms, the first that X can be.

    Tokens: texts, whose words they are, or rows of texts; with `ids` rows of integers too.
    Numbers: a list or an array of objects of (T_i, F) or (T_i,); (n, T, F) or (n, T).

    Raises
    ------
    TypeError, ValueError, as scikit-learn words them, for what is no such data, for NaN, infinity
    and what is beyond `dtype`, and where there are no rows, no steps or no features.
    """
    if isinstance(X, str | bytes | Iterator):
        raise TypeError(f"X is {_check.kind_text(X)}, expected a list or an array of sequences")
    X = array_of("X", X)
    rows = _listed(X)
    if rows is not None and not rows:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    if rows and _is_text(rows[0]):
        return Tokens(_words(rows), "texts")
    if ids:
        return Tokens(_integers(X), "integers")
    if rows is not None and _ragged(rows):
        return _each(rows, dtype)
    array = check_array(X if rows is None else rows, dtype="numeric", allow_nd=True, input_name="X")
    check_numbers("X", array)
    if array.ndim > 3:
        raise ValueError(f"Found array with dim {array.ndim}, expected (n, T, F) or (n, T)")
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if not array.shape[1] or not array.shape[2]:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    _check_range("X", array, dtype)
    return Numbers(list(array), array.shape[2])


def _listed(X: Any) -> list[Any] | None:
    """The rows of a list, or of an array of texts or other objects; None for numbers."""
    if isinstance(X, np.ndarray):
        texts = X.dtype.kind == "U" or (X.dtype == object and X.ndim == 2 and _all_text(X[:1].flat))
        return list(X) if texts or (X.dtype == object and X.ndim == 1) else None
    if isinstance(X, Sequence) and not isinstance(X, str | bytes):
        return list(X)
    return None


# Numbers


def _ragged(rows: list[Any]) -> bool:
    shapes = {np.shape(row) if isinstance(row, np.ndarray) else (len(row),) for row in rows
              if hasattr(row, "__len__")}  # fmt: skip
    return len(shapes) > 1 or any(_nested(row) for row in rows[:1])


def _nested(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.ndim == 2
    return isinstance(row, list | tuple) and len(row) > 0 and hasattr(row[0], "__len__")


def _each(rows: list[Any], dtype: np.dtype[Any]) -> Numbers:
    found: list[np.ndarray] = []
    for k, row in enumerate(rows):
        try:
            a = np.asarray(array_of(f"X[{k}]", row))
        except ValueError:  # lists within it, of several lengths
            a = np.empty(0, object)
        a = a[:, np.newaxis] if a.ndim == 1 else a
        if a.dtype.kind not in "fiub" or a.ndim != 2:
            raise ValueError(f"X[{k}] is no sequence of numbers (T, F)")
        if not len(a) or not a.shape[1] or (found and a.shape[1] != found[0].shape[1]):
            raise ValueError(
                f"X[{k}] has shape {a.shape}, expected one step or more of as many features as X[0]"
            )
        if not np.isfinite(a).all():
            raise ValueError(f"Input X contains NaN or infinity, in X[{k}].")
        _check_range(f"X[{k}]", a, dtype)
        found.append(a)
    return Numbers(found, found[0].shape[1])


def _check_range(name: str, a: np.ndarray, dtype: np.dtype[Any]) -> None:
    most = float(np.finfo(dtype).max)
    if a.dtype.kind == "f" and a.dtype != dtype and (a.max() > most or a.min() < -most):
        raise ValueError(f"Input {name} contains a value too large for {dtype!r}.")


# Tokens


def _all_text(tokens: Any) -> bool:
    return all(isinstance(token, str) for token in tokens)


def _is_text(row: Any) -> bool:
    """A text, or some; by the first token."""
    if isinstance(row, str):
        return True
    return isinstance(row, list | tuple | np.ndarray) and len(row) > 0 and isinstance(row[0], str)


def _words(rows: list[Any]) -> list[list[Any]]:
    whole, found = isinstance(rows[0], str), []
    for k, row in enumerate(rows):
        if whole and isinstance(row, str):
            tokens = row.split()
        elif not whole and isinstance(row, list | tuple | np.ndarray) and _all_text(row):
            tokens = [str(token) for token in row]
        else:
            raise ValueError(
                f"X[{k}] is {'no text' if whole else 'no list of texts'}, and X[0] is one"
            )
        if not tokens:
            raise ValueError(f"X[{k}] has no tokens, expected at least one")
        found.append(tokens)
    return found


def _integers(X: Any) -> list[list[Any]]:
    """Rows (T_i,) of integers, or (n, T)."""
    rows = list(X) if isinstance(X, np.ndarray) and X.ndim else _listed(X)
    if rows is None or not rows:
        raise ValueError("embedding is given: X is expected to be (n, T) integers, or rows of them")
    found: list[list[Any]] = []
    for k, row in enumerate(rows):
        a = np.asarray(row) if hasattr(row, "__len__") and len(row) else np.empty(0)
        if a.ndim != 1 or a.dtype.kind not in "iu":
            raise ValueError(
                f"embedding is given, and X[{k}] is no sequence (T,) of tokens: texts or integers"
            )
        found.append(a.tolist())
    return found
