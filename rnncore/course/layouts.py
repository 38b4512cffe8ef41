"""Between the exercise's layouts and the package's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from rnncore._common.quiet import quiet

Arrays: TypeAlias = dict[str, np.ndarray]
Parameters: TypeAlias = Mapping[str, np.ndarray]

# What a step forward keeps: its arrays in the order of the exercise, and the parameters
RNNCache: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, Parameters]
LSTMCache: TypeAlias = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray,
    np.ndarray, np.ndarray, np.ndarray, np.ndarray, Parameters,
]  # fmt: skip
# And all steps, with x
RNNCaches: TypeAlias = tuple[list[RNNCache], np.ndarray]
LSTMCaches: TypeAlias = tuple[list[LSTMCache], np.ndarray]

GATES = "ifco"  # the exercise's letters, in the order i, f, g, o of the row blocks


def rows(a: np.ndarray) -> np.ndarray:
    """(n, m) or (n, m, T) as (m, n) or (T, m, n): time first, examples as rows."""
    return a.T.copy()


def columns(a: np.ndarray) -> np.ndarray:
    """Undo `rows`."""
    return np.array(a.T, order="C")


def stacked(p: Arrays, n_a: int) -> tuple[np.ndarray, np.ndarray]:
    """w_ih and w_hh of the matrices that act on ``[a_prev; xt]``."""
    w = np.concatenate([p[f"W{gate}"] for gate in GATES])
    return w[:, n_a:].copy(), w[:, :n_a].copy()


@quiet
def prediction(y: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """softmax(w a + b) over the outputs, (n_y, m, T_x), for the states y (T_x, m, n_a)."""
    z = columns(y @ w.T + b[:, 0])
    # less the largest, so that no exponential overflows
    e: np.ndarray = np.exp(z - z.max(axis=0, keepdims=True))
    e /= e.sum(axis=0, keepdims=True)
    return e
