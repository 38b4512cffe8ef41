"""The basic RNN of the exercise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnncore import _check, functional, reference
from rnncore._cells.rnn import RNN
from rnncore.course.checks import checked, of_every_step, output_layer, rnn_shapes, stacked_steps
from rnncore.course.layouts import (
    Arrays,
    Parameters,
    RNNCache,
    RNNCaches,
    columns,
    prediction,
    rows,
)
from rnncore.reference.loop import trace_of


def rnn_cell_forward(
    xt: np.ndarray, a_prev: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, RNNCache]:
    """One step of the basic RNN::

        a_next = tanh(Wax xt + Waa a_prev + ba)        yt_pred = softmax(Wya a_next + by)

    Parameters
    ----------
    xt, a_prev : (n_x, m), (n_a, m) arrays
    parameters : dict with Wax, Waa, Wya, ba, by

    Returns
    -------
    a_next, yt_pred : (n_a, m), (n_y, m) arrays
    cache : (a_next, a_prev, xt, parameters)

    Raises
    ------
    ValueError for a wrong shape or a missing parameter, TypeError for a wrong dtype.

    Examples
    --------
    With parameters of zero all outcomes are as likely:

    >>> shapes = {"Wax": (1, 1), "Waa": (1, 1), "Wya": (4, 1), "ba": (1, 1), "by": (4, 1)}
    >>> parameters = {name: np.zeros(shape) for name, shape in shapes.items()}
    >>> a_next, yt_pred, cache = rnn_cell_forward(np.ones((1, 1)), np.ones((1, 1)), parameters)
    >>> a_next.item(), yt_pred.ravel()
    (0.0, array([0.25, 0.25, 0.25, 0.25]))
    """
    xt = _check.array("xt", xt, ("n_x", "m"))
    _, yt_pred, caches = _rnn_forward(xt[..., np.newaxis], "a_prev", a_prev, parameters)
    (cache,) = caches
    return cache[0].copy(), yt_pred[..., 0], cache


def rnn_forward(
    x: np.ndarray, a0: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, RNNCaches]:
    """The basic RNN over T_x steps; see `rnn_cell_forward`.

    Parameters
    ----------
    x, a0 : (n_x, m, T_x), (n_a, m) arrays
    parameters : dict with Wax, Waa, Wya, ba, by

    Returns
    -------
    a, y_pred : (n_a, m, T_x), (n_y, m, T_x) arrays
    caches : (list of the cache of every step, x)

    Raises
    ------
    ValueError for a wrong shape or a missing parameter, TypeError for a wrong dtype.
    """
    x = _check.array("x", x, ("n_x", "m", "T_x"))
    a, y_pred, caches = _rnn_forward(x, "a0", a0, parameters)
    return a, y_pred, (caches, x)


def rnn_cell_backward(da_next: np.ndarray, cache: RNNCache) -> Arrays:
    """The gradients of one step, from that of a_next.

    Parameters
    ----------
    da_next : (n_a, m) array
    cache : of `rnn_cell_forward`

    Returns
    -------
    dict with dxt, da_prev, dWax, dWaa, dba, each shaped as its thing.

    Raises
    ------
    ValueError for a wrong shape, TypeError for a wrong dtype or what is no cache.

    Examples
    --------
    At a sum of zero the slope of tanh is 1, so each gradient is the other factor:

    >>> two, three, zero = np.full((1, 1), 2.0), np.full((1, 1), 3.0), np.zeros((1, 1))
    >>> parameters = {"Wax": three, "Waa": two, "ba": zero}
    >>> gradients = rnn_cell_backward(np.ones((1, 1)), (zero, -three, two, parameters))
    >>> {name: gradient.item() for name, gradient in gradients.items()}
    {'dxt': 3.0, 'da_prev': 2.0, 'dWax': 2.0, 'dWaa': -3.0, 'dba': 1.0}
    """
    da_next = _check.array("da_next", da_next, ("n_a", "m"))
    dx, da_prev, weights = _rnn_backward("da_next", da_next[..., np.newaxis], [cache])
    return {"dxt": dx[..., 0], "da_prev": da_prev, **weights}


def rnn_backward(da: np.ndarray, caches: RNNCaches) -> Arrays:
    """Backpropagation through all the steps of `rnn_forward`.

    Parameters
    ----------
    da : (n_a, m, T_x) array
        What the loss adds to the gradient of ``a`` at every step, without what comes from the steps
        after: that is added here. `da` may have fewer steps than `caches`; the rest is not used.
    caches : of `rnn_forward`

    Returns
    -------
    dict with dx (n_x, m, T_x), da0 (n_a, m), and dWax, dWaa, dba, which are sums over the steps.

    Raises
    ------
    ValueError for a wrong shape, TypeError for a wrong dtype or what are no caches.
    """
    da = _check.array("da", da, ("n_a", "m", "T_x"))
    dx, da0, weights = _rnn_backward("da", da, of_every_step(caches))
    return {"dx": dx, "da0": da0, **weights}


def _rnn_forward(
    x: np.ndarray, start: str, a0: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray, list[RNNCache]]:
    """`rnn_forward`; `start` is what the caller calls a0."""
    n_x, m, T_x = x.shape
    a0 = _check.array(start, a0, ("n_a", m), dtype=x.dtype, owner="x")
    n_a = len(a0)
    p = checked(parameters, x.dtype, rnn_shapes(n_x, n_a))
    head = output_layer(parameters, x.dtype, "Wya", n_a)
    trace = functional.rnn_forward(rows(x), p["Wax"], p["Waa"], p["ba"][:, 0], rows(a0))
    states = [columns(h) for h in trace.h]
    caches = [(states[t + 1], states[t], x[..., t].copy(), parameters) for t in range(T_x)]
    return columns(trace.y), prediction(trace.y, *head), caches


def _rnn_backward(
    name: str, da: np.ndarray, caches: Sequence[RNNCache]
) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Gradients of x, of the initial state, and of the parameters by their names."""
    steps = stacked_steps(name, da, caches, ("a_next", "a_prev", "xt", "parameters"), da.shape[:2])
    n_a, n_x = len(da), steps["xt"].shape[-1]
    p = checked(caches[0][-1], da.dtype, rnn_shapes(n_x, n_a))
    h = np.concatenate((steps["a_prev"][:1], steps["a_next"]))
    trace = trace_of(RNN, steps["xt"], (h,))
    grads = reference.rnn_backward(trace, p["Wax"], p["Waa"], rows(da))
    weights = {"dWax": grads.w_ih, "dWaa": grads.w_hh, "dba": grads.b[:, np.newaxis]}
    return columns(grads.x), columns(grads.h0), weights
