"""The LSTM of the exercise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncore import _check, functional, reference
from rnncore._cells.lstm import LSTM
from rnncore.course.checks import checked, lstm_shapes, of_every_step, output_layer, stacked_steps
from rnncore.course.layouts import (
    GATES,
    Arrays,
    LSTMCache,
    LSTMCaches,
    Parameters,
    columns,
    prediction,
    rows,
    stacked,
)
from rnncore.reference.loop import trace_of


def lstm_cell_forward(
    xt: np.ndarray, a_prev: np.ndarray, c_prev: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCache]:
    """One step of the LSTM::

        ft = sigmoid(Wf [a_prev; xt] + bf)        it = sigmoid(Wi [a_prev; xt] + bi)
        ot = sigmoid(Wo [a_prev; xt] + bo)        cct = tanh(Wc [a_prev; xt] + bc)
        c_next = ft * c_prev + it * cct           a_next = ot * tanh(c_next)
        yt_pred = softmax(Wy a_next + by)

    Parameters
    ----------
    xt, a_prev, c_prev : (n_x, m), (n_a, m), (n_a, m) arrays
    parameters : dict with Wf, bf, Wi, bi, Wc, bc, Wo, bo, Wy, by

    Returns
    -------
    a_next, c_next, yt_pred : (n_a, m), (n_a, m), (n_y, m) arrays
    cache : (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters)

    Raises
    ------
    ValueError for a wrong shape or a missing parameter, TypeError for a wrong dtype.

    Examples
    --------
    With parameters of zero every gate is 1/2 and cct is 0, so that the memory halves:

    >>> parameters = {f"W{gate}": np.zeros((1, 2)) for gate in "fico"}
    >>> parameters |= {f"b{gate}": np.zeros((1, 1)) for gate in "ficoy"}
    >>> parameters["Wy"] = np.zeros((1, 1))
    >>> one = np.ones((1, 1))
    >>> a_next, c_next, yt_pred, cache = lstm_cell_forward(one, one, 2 * one, parameters)
    >>> c_next.item(), yt_pred.item()
    (1.0, 1.0)
    """
    xt = _check.array("xt", xt, ("n_x", "m"))
    _, yt_pred, _, caches = _lstm_forward(
        xt[..., np.newaxis], "a_prev", a_prev, "c_prev", c_prev, parameters
    )
    (cache,) = caches
    return cache[0].copy(), cache[1].copy(), yt_pred[..., 0], cache


def lstm_forward(
    x: np.ndarray, a0: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LSTMCaches]:
    """The LSTM over T_x steps, from a memory of zeros; see `lstm_cell_forward`.

    Parameters
    ----------
    x, a0 : (n_x, m, T_x), (n_a, m) arrays
    parameters : dict with Wf, bf, Wi, bi, Wc, bc, Wo, bo, Wy, by

    Returns
    -------
    a, y, c : (n_a, m, T_x), (n_y, m, T_x), (n_a, m, T_x) arrays, in this order
    caches : (list of the cache of every step, x)

    Raises
    ------
    ValueError for a wrong shape or a missing parameter, TypeError for a wrong dtype.
    """
    x = _check.array("x", x, ("n_x", "m", "T_x"))
    a, y, c, caches = _lstm_forward(x, "a0", a0, "c0", None, parameters)
    return a, y, c, (caches, x)


def lstm_cell_backward(da_next: np.ndarray, dc_next: np.ndarray, cache: LSTMCache) -> Arrays:
    """The gradients of one step, from those of a_next and c_next.

    Parameters
    ----------
    da_next, dc_next : (n_a, m) arrays
        What the next step adds to the gradient of c_next, without what comes through a_next: that
        is added here.
    cache : of `lstm_cell_forward`

    Returns
    -------
    dict with dxt, da_prev, dc_prev, dWf, dbf, dWi, dbi, dWc, dbc, dWo, dbo, each shaped as its
    thing.

    Raises
    ------
    ValueError for a wrong shape, TypeError for a wrong dtype or what is no cache.
    """
    da_next = _check.array("da_next", da_next, ("n_a", "m"))
    dx, da_prev, dc_prev, weights = _lstm_backward(
        "da_next", da_next[..., np.newaxis], "dc_next", dc_next, [cache]
    )
    return {"dxt": dx[..., 0], "da_prev": da_prev, "dc_prev": dc_prev, **weights}


def lstm_backward(da: np.ndarray, caches: LSTMCaches) -> Arrays:
    """Backpropagation through all the steps of `lstm_forward`.

    Both gradients are carried from each step to the one before: ``da_prev`` of the activation and
    ``dc_prev`` of the memory, on which the LSTM's long reach rests. Course code in circulation
    forgets that and starts every step from ``dc = 0``, often without ``da_prev`` too: the values
    that an early version of the exercise gives, ``dx[1][2]`` from -0.00173313, are those of such a
    pass. The shapes are right then and the gradients are not, as finite differences tell: no step
    hears of the loss of a later one. With both carried that value is 0.00218254.

    Parameters
    ----------
    da : (n_a, m, T_x) array
        What the loss adds to the gradient of ``a`` at every step, without what comes from the steps
        after: that is added here. `da` may have fewer steps than `caches`; the rest is not used.
    caches : of `lstm_forward`

    Returns
    -------
    dict with dx (n_x, m, T_x), da0 (n_a, m), and dWf, dbf, dWi, dbi, dWc, dbc, dWo, dbo, which are
    sums over the steps.

    Raises
    ------
    ValueError for a wrong shape, TypeError for a wrong dtype or what are no caches.
    """
    da = _check.array("da", da, ("n_a", "m", "T_x"))
    dx, da0, _, weights = _lstm_backward("da", da, "dc", None, of_every_step(caches))
    return {"dx": dx, "da0": da0, **weights}


def _lstm_forward(
    x: np.ndarray,
    a_name: str,
    a0: np.ndarray,
    c_name: str,
    c0: np.ndarray | None,
    parameters: Parameters,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[LSTMCache]]:
    """`lstm_forward` from any memory; the names are what the caller calls a0 and c0."""
    n_x, m, _ = x.shape
    a0 = _check.array(a_name, a0, ("n_a", m), dtype=x.dtype, owner="x")
    c0 = _check.optional_array(c_name, c0, a0.shape, dtype=x.dtype, owner="x")
    n_a = len(a0)
    p = checked(parameters, x.dtype, lstm_shapes(n_x, n_a))
    head = output_layer(parameters, x.dtype, "Wy", n_a)
    c0 = np.zeros_like(a0) if c0 is None else c0
    w_ih, w_hh = stacked(p, n_a)
    b = np.concatenate([p[f"b{gate}"][:, 0] for gate in GATES])
    trace = functional.lstm_forward(rows(x), w_ih, w_hh, b, rows(a0), rows(c0))
    hs, cs = [columns(h) for h in trace.h], [columns(c_t) for c_t in trace.c]
    caches: list[LSTMCache] = []
    for t, gates in enumerate(trace.gates):
        it, ft, cct, ot = (columns(gate) for gate in np.split(gates, 4, axis=-1))
        xt = x[..., t].copy()
        caches.append((hs[t + 1], cs[t + 1], hs[t], cs[t], ft, it, cct, ot, xt, parameters))
    y = prediction(trace.y, *head)
    return columns(trace.y), y, columns(trace.c[1:]), caches


def _lstm_backward(
    a_name: str, da: np.ndarray, c_name: str, dc: np.ndarray | None, caches: Sequence[LSTMCache]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arrays]:
    """Gradients of x, of the initial state and memory, and of the parameters by their names."""
    names = ("a_next", "c_next", "a_prev", "c_prev", "ft", "it", "cct", "ot", "xt", "parameters")
    dc = _check.optional_array(c_name, dc, da.shape[:2], dtype=da.dtype, owner=a_name)
    steps = stacked_steps(a_name, da, caches, names, da.shape[:2])
    n_a, n_x = len(da), steps["xt"].shape[-1]
    p = checked(caches[0][-1], da.dtype, lstm_shapes(n_x, n_a))
    w_ih, w_hh = stacked(p, n_a)
    h = np.concatenate((steps["a_prev"][:1], steps["a_next"]))
    c = np.concatenate((steps["c_prev"][:1], steps["c_next"]))
    gates = np.concatenate([steps[gate] for gate in ("it", "ft", "cct", "ot")], axis=-1)
    trace = trace_of(LSTM, steps["xt"], (h, c), (gates,))
    dc = None if dc is None else rows(dc)
    grads = reference.lstm_backward(trace, w_ih, w_hh, rows(da), dc=dc)
    weights: Arrays = {}
    dws = np.split(np.concatenate((grads.w_hh, grads.w_ih), axis=1), 4)
    for gate, dw, db in zip(GATES, dws, np.split(grads.b, 4), strict=True):
        weights |= {f"dW{gate}": dw.copy(), f"db{gate}": db[:, np.newaxis].copy()}
    return columns(grads.x), columns(grads.h0), columns(grads.c0), weights
