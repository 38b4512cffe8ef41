"""What estimators take as X: sequences of numbers or of tokens, in any of their usual forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array


class Numbers(NamedTuple):
    """Sequences of features.

    Attributes
    ----------
    rows : arrays (T_i, F)
    features : F
    """

    rows: list[np.ndarray]
    features: int


def numbers_of(X: Any, dtype: np.dtype[Any]) -> Numbers:
    """Sequences of features: a list or object array of (T_i, F) or (T_i,), (n, T, F) or (n, T).

    Raises
    ------
    TypeError, ValueError, as scikit-learn words them, for what is no such data, for NaN and
    infinity, and where there are no rows or no features.
    """
    rows = listed(X)
    if rows is not None and _ragged(rows):
        return _each(rows, dtype)
    found = check_array(X, dtype=dtype, allow_nd=True, input_name="X")
    if found.ndim > 3:
        raise ValueError(f"Found array with dim {found.ndim}, expected (n, T, F) or (n, T)")
    if found.ndim == 2:
        found = found[:, :, np.newaxis]
    if not found.shape[1] or not found.shape[2]:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={found.shape}) while a minimum of 1 is required."
        )
    return Numbers(list(found), found.shape[2])


def listed(X: Any) -> list[Any] | None:
    """The rows of a list or an array of objects; None for an array of numbers."""
    if isinstance(X, np.ndarray):
        return list(X) if X.dtype == object and X.ndim == 1 else None
    if isinstance(X, Sequence) and not isinstance(X, str | bytes):
        return list(X)
    return None


def _ragged(rows: list[Any]) -> bool:
    shapes = {np.shape(row) if isinstance(row, np.ndarray) else (len(row),) for row in rows
              if hasattr(row, "__len__")}  # fmt: skip
    return len(shapes) > 1 or any(np.ndim(row) == 2 for row in rows[:1])


def _each(rows: list[Any], dtype: np.dtype[Any]) -> Numbers:
    found: list[np.ndarray] = []
    for k, row in enumerate(rows):
        a = np.asarray(row)
        a = a[:, np.newaxis] if a.ndim == 1 else a
        if a.dtype.kind not in "fiub" or a.ndim != 2:
            raise ValueError(f"X[{k}] is no sequence of numbers (T, F)")
        if not len(a) or not a.shape[1] or (found and a.shape[1] != found[0].shape[1]):
            raise ValueError(
                f"X[{k}] has shape {a.shape}, expected one step or more of as many features as X[0]"
            )
        if not np.isfinite(a).all():
            raise ValueError(f"Input X contains NaN or infinity, in X[{k}].")
        found.append(a.astype(dtype, copy=False))
    return Numbers(found, found[0].shape[1])


# Tokens


def are_tokens(X: Any) -> bool:
    """Whether rows are texts, or lists of texts."""
    rows = listed(X)
    if not rows:
        return False
    first = rows[0]
    return isinstance(first, str) or (
        isinstance(first, list | tuple) and bool(first) and isinstance(first[0], str)
    )


def tokens_of(X: Any) -> list[list[Any]]:
    """The tokens of every row; of a text its words."""
    rows = listed(X)
    if not rows:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    found = [row.split() if isinstance(row, str) else list(row) for row in rows]
    empty = [k for k, row in enumerate(found) if not row]
    if empty:
        raise ValueError(f"X[{empty[0]}] has no tokens, expected at least one")
    return found
