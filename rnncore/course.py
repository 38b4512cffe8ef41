"""The functions of a well-known course exercise, to check an own solution against.

Names, arguments, shapes, dictionaries and caches are those of "Building your Recurrent Neural
Network - Step by Step" and of "Dinosaurus Island" in the Deep Learning Specialization; the code is
this package's own. Sizes: n_x inputs, n_a hidden units, n_y outputs, m examples, T_x steps.
Examples are columns, time is the last axis, and a matrix of the LSTM acts on ``[a_prev; xt]``::

    RNN     Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1), Wya (n_y, n_a), by (n_y, 1)
    LSTM    Wf, Wi, Wc, Wo (n_a, n_a + n_x), bf, bi, bc, bo (n_a, 1), Wy (n_y, n_a), by (n_y, 1)

The forward functions call the compiled core. The backward functions need nothing but the numbers in
a cache, from which they make the trace that `rnncore.reference` reads: so they take the caches of
your own forward functions too, and yours take these. All arrays of a call are float64, or all are
float32. New arrays come back, but for the x and the parameters in a cache.

docs/equations.md has the notation beside that of the code, and derives the gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from rnncore import _check, functional, reference
from rnncore._cells.results import LSTMTrace, RNNTrace
from rnncore._common.quiet import quiet
from rnncore.train.clipping import clip_grad_value

__all__ = [
    "clip",
    "lstm_backward",
    "lstm_cell_backward",
    "lstm_cell_forward",
    "lstm_forward",
    "rnn_backward",
    "rnn_cell_backward",
    "rnn_cell_forward",
    "rnn_forward",
    "sample",
]

Arrays: TypeAlias = dict[str, np.ndarray]
Cache: TypeAlias = tuple[Any, ...]
Caches: TypeAlias = tuple[list[Cache], np.ndarray]

_GATES = "ifco"  # the exercise's letters, in the order i, f, g, o of the row blocks
_MOST_CHARACTERS = 50  # after which `sample` ends a name


# RNN


def rnn_cell_forward(
    xt: np.ndarray, a_prev: np.ndarray, parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, Cache]:
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
    x: np.ndarray, a0: np.ndarray, parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, Caches]:
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


def rnn_cell_backward(da_next: np.ndarray, cache: Cache) -> Arrays:
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


def rnn_backward(da: np.ndarray, caches: Caches) -> Arrays:
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
    dx, da0, weights = _rnn_backward("da", da, _of_every_step(caches))
    return {"dx": dx, "da0": da0, **weights}


def _rnn_forward(
    x: np.ndarray, start: str, a0: np.ndarray, parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[Cache]]:
    """`rnn_forward`; `start` is what the caller calls a0."""
    n_x, m, T_x = x.shape
    a0 = _check.array(start, a0, ("n_a", m), dtype=x.dtype, owner="x")
    n_a = len(a0)
    p = _checked(parameters, x.dtype, _rnn_shapes(n_x, n_a))
    head = _head(parameters, x.dtype, "Wya", n_a)
    trace = functional.rnn_forward(_rows(x), p["Wax"], p["Waa"], p["ba"][:, 0], _rows(a0))
    states = [_columns(h) for h in trace.h]
    caches = [(states[t + 1], states[t], x[..., t].copy(), parameters) for t in range(T_x)]
    return _columns(trace.y), _prediction(trace.y, *head), caches


def _rnn_backward(
    name: str, da: np.ndarray, caches: Sequence[Cache]
) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Gradients of x, of the initial state, and of the parameters by their names."""
    steps = _steps(name, da, caches, ("a_next", "a_prev", "xt", "parameters"), da.shape[:2])
    n_a, n_x = len(da), steps["xt"].shape[-1]
    p = _checked(caches[0][-1], da.dtype, _rnn_shapes(n_x, n_a))
    h = np.concatenate((steps["a_prev"][:1], steps["a_next"]))
    trace = RNNTrace(x=steps["xt"], h=h, nonlinearity="tanh", reverse=False)
    grads = reference.rnn_backward(trace, p["Wax"], p["Waa"], _rows(da))
    weights = {"dWax": grads.w_ih, "dWaa": grads.w_hh, "dba": grads.b[:, np.newaxis]}
    return _columns(grads.x), _columns(grads.h0), weights


# LSTM


def lstm_cell_forward(
    xt: np.ndarray, a_prev: np.ndarray, c_prev: np.ndarray, parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Cache]:
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
    x: np.ndarray, a0: np.ndarray, parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Caches]:
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


def lstm_cell_backward(da_next: np.ndarray, dc_next: np.ndarray, cache: Cache) -> Arrays:
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


def lstm_backward(da: np.ndarray, caches: Caches) -> Arrays:
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
    dx, da0, _, weights = _lstm_backward("da", da, "dc", None, _of_every_step(caches))
    return {"dx": dx, "da0": da0, **weights}


def _lstm_forward(
    x: np.ndarray,
    a_name: str,
    a0: np.ndarray,
    c_name: str,
    c0: np.ndarray | None,
    parameters: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Cache]]:
    """`lstm_forward` from any memory; the names are what the caller calls a0 and c0."""
    n_x, m, _ = x.shape
    a0 = _check.array(a_name, a0, ("n_a", m), dtype=x.dtype, owner="x")
    c0 = _check.optional_array(c_name, c0, a0.shape, dtype=x.dtype, owner="x")
    n_a = len(a0)
    p = _checked(parameters, x.dtype, _lstm_shapes(n_x, n_a))
    head = _head(parameters, x.dtype, "Wy", n_a)
    c0 = np.zeros_like(a0) if c0 is None else c0
    w_ih, w_hh = _stacked(p, n_a)
    b = np.concatenate([p[f"b{gate}"][:, 0] for gate in _GATES])
    trace = functional.lstm_forward(_rows(x), w_ih, w_hh, b, _rows(a0), _rows(c0))
    hs, cs = [_columns(h) for h in trace.h], [_columns(c_t) for c_t in trace.c]
    caches = []
    for t, gates in enumerate(trace.gates):
        it, ft, cct, ot = (_columns(gate) for gate in np.split(gates, 4, axis=-1))
        xt = x[..., t].copy()
        caches.append((hs[t + 1], cs[t + 1], hs[t], cs[t], ft, it, cct, ot, xt, parameters))
    y = _prediction(trace.y, *head)
    return _columns(trace.y), y, _columns(trace.c[1:]), caches


def _lstm_backward(
    a_name: str, da: np.ndarray, c_name: str, dc: np.ndarray | None, caches: Sequence[Cache]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arrays]:
    """Gradients of x, of the initial state and memory, and of the parameters by their names."""
    names = ("a_next", "c_next", "a_prev", "c_prev", "ft", "it", "cct", "ot", "xt", "parameters")
    dc = _check.optional_array(c_name, dc, da.shape[:2], dtype=da.dtype, owner=a_name)
    steps = _steps(a_name, da, caches, names, da.shape[:2])
    n_a, n_x = len(da), steps["xt"].shape[-1]
    p = _checked(caches[0][-1], da.dtype, _lstm_shapes(n_x, n_a))
    w_ih, w_hh = _stacked(p, n_a)
    trace = LSTMTrace(
        x=steps["xt"],
        h=np.concatenate((steps["a_prev"][:1], steps["a_next"])),
        c=np.concatenate((steps["c_prev"][:1], steps["c_next"])),
        gates=np.concatenate([steps[gate] for gate in ("it", "ft", "cct", "ot")], axis=-1),
        peephole=None,
        coupled=False,
        reverse=False,
    )
    dc = None if dc is None else _rows(dc)
    grads = reference.lstm_backward(trace, w_ih, w_hh, _rows(da), dc=dc)
    weights = {}
    dws = np.split(np.concatenate((grads.w_hh, grads.w_ih), axis=1), 4)
    for gate, dw, db in zip(_GATES, dws, np.split(grads.b, 4), strict=True):
        weights |= {f"dW{gate}": dw.copy(), f"db{gate}": db[:, np.newaxis].copy()}
    return _columns(grads.x), _columns(grads.h0), _columns(grads.c0), weights


# Dinosaurus Island


def clip(gradients: Mapping[str, np.ndarray], maxValue: float) -> Arrays:
    """Clip every element of the gradients to ``[-maxValue, maxValue]``.

    Parameters
    ----------
    gradients : dict of arrays, such as dWaa, dWax, dWya, db, dby
    maxValue : float
        Above 0.

    Returns
    -------
    dict with the same keys; the arrays are new ones.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described above.

    Examples
    --------
    >>> clip({"db": np.array([[-30.0], [4.0]])}, 10)
    {'db': array([[-10.],
           [  4.]])}
    """
    _check.instance("gradients", gradients, Mapping)
    clipped = {name: np.array(gradient) for name, gradient in gradients.items()}
    clip_grad_value(clipped, maxValue)
    return clipped


@quiet
def sample(
    parameters: Mapping[str, np.ndarray], char_to_ix: Mapping[str, int], seed: int
) -> list[int]:
    """Draw the characters of a name from an RNN that was trained to predict the next one.

    The first input and state are zeros; each character drawn is the next input. A name ends with
    the character ``"\\n"``, which is added after 50 others. Draw k is that of NumPy's legacy
    generator with the seed ``seed + 2 * k``: the exercise seeds before every draw, so that equal
    parameters give equal names. The global generator is left alone.

    Parameters
    ----------
    parameters : dict with Wax, Waa, Wya, by and the bias of the state, as `b` or `ba`
        n_x and n_y are the number of characters.
    char_to_ix : dict of the index of every character, with ``"\\n"`` among them
    seed : int

    Returns
    -------
    list of int: the indices drawn, the last one that of ``"\\n"``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    Where the bias of the outputs leaves no other choice, the name is empty:

    >>> parameters = {"Wax": np.zeros((3, 2)), "Waa": np.zeros((3, 3)), "b": np.zeros((3, 1))}
    >>> parameters |= {"Wya": np.zeros((2, 3)), "by": np.array([[1000.0], [0.0]])}
    >>> sample(parameters, {"\\n": 0, "a": 1}, seed=0)
    [0]
    """
    seed = _check.size("seed", seed, minimum=0)
    _check.instance("char_to_ix", char_to_ix, Mapping)
    if "\n" not in char_to_ix:
        raise ValueError(r"char_to_ix has no '\n', expected the character that ends a name")
    _check.instance("parameters", parameters, Mapping)
    parameters = dict(parameters)
    if "b" in parameters:
        parameters["ba"] = parameters["b"]
    by = _checked(parameters, None, {"by": ("n_y", 1)})["by"]
    n_a = len(_checked(parameters, by.dtype, {"ba": ("n_a", 1)})["ba"])
    end = char_to_ix["\n"]
    xt, a = np.zeros((len(by), 1), by.dtype), np.zeros((n_a, 1), by.dtype)
    indices: list[int] = []
    while len(indices) < _MOST_CHARACTERS and end not in indices[-1:]:
        a, y, _ = rnn_cell_forward(xt, a, parameters)
        draws = np.random.RandomState(seed + 2 * len(indices))
        indices.append(int(draws.choice(len(y), p=y[:, 0])))
        xt[...] = 0
        xt[indices[-1]] = 1
    return indices if indices[-1] == end else [*indices, end]


# Between the exercise's layouts and the package's


def _rows(a: np.ndarray) -> np.ndarray:
    """(n, m) or (n, m, T) as (m, n) or (T, m, n): time first, examples as rows."""
    return a.T.copy()


def _columns(a: np.ndarray) -> np.ndarray:
    """Undo `_rows`."""
    return np.array(a.T, order="C")


def _stacked(p: Arrays, n_a: int) -> tuple[np.ndarray, np.ndarray]:
    """w_ih and w_hh of the matrices that act on ``[a_prev; xt]``."""
    w = np.concatenate([p[f"W{gate}"] for gate in _GATES])
    return w[:, n_a:].copy(), w[:, :n_a].copy()


@quiet
def _prediction(y: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """softmax(w a + b) over the outputs, (n_y, m, T_x), for the states y (T_x, m, n_a)."""
    z = _columns(y @ w.T + b[:, 0])
    # less the largest, so that no exponential overflows
    e = np.exp(z - z.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


# What comes in


def _rnn_shapes(n_x: int, n_a: int) -> dict[str, tuple[int, int]]:
    return {"Wax": (n_a, n_x), "Waa": (n_a, n_a), "ba": (n_a, 1)}


def _lstm_shapes(n_x: int, n_a: int) -> dict[str, tuple[int, int]]:
    shapes = {f"W{gate}": (n_a, n_a + n_x) for gate in _GATES}
    return shapes | {f"b{gate}": (n_a, 1) for gate in _GATES}


def _head(parameters: Any, dtype: np.dtype, name: str, n_a: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the outputs, which are called `name`, and their bias."""
    w = _checked(parameters, dtype, {name: ("n_y", n_a)})[name]
    return w, _checked(parameters, dtype, {"by": (len(w), 1)})["by"]


def _checked(
    parameters: Any,
    dtype: np.dtype | None,
    shapes: Mapping[str, tuple[_check.Size, ...]],
) -> Arrays:
    """Those of `parameters` that `shapes` names; there may be more."""
    _check.instance("parameters", parameters, Mapping)
    missing = [name for name in shapes if name not in parameters]
    if missing:
        raise ValueError(f"parameters has missing: {', '.join(missing)}")
    return {
        name: _check.array(f"parameters[{name!r}]", parameters[name], shape, dtype=dtype)
        for name, shape in shapes.items()
    }


def _of_every_step(caches: Any) -> list[Cache]:
    if not isinstance(caches, tuple | list) or len(caches) != 2:
        raise TypeError("caches is no pair, expected (list of the cache of every step, x)")
    return _check.instance("caches[0]", caches[0], list)


def _steps(
    name: str,
    da: np.ndarray,
    caches: Sequence[Any],
    names: tuple[str, ...],
    state: tuple[int, int],
) -> Arrays:
    """The arrays of as many caches as `da` has steps, stacked by name, (T_x, m, n)."""
    T_x = da.shape[-1]
    if not 1 <= T_x <= len(caches):
        raise ValueError(f"{name} has {T_x} steps, expected 1 to {len(caches)} as the caches have")
    stacked: dict[str, list[np.ndarray]] = {key: [] for key in names[:-1]}
    for cache in caches[:T_x]:
        if not isinstance(cache, tuple | list) or len(cache) != len(names):
            raise TypeError(f"cache is not what is expected, ({', '.join(names)})")
        for key, value in zip(names[:-1], cache[:-1], strict=True):
            shape = ("n_x", state[1]) if key == "xt" else state
            value = _check.array(f"{key} of the cache", value, shape, dtype=da.dtype, owner=name)
            stacked[key].append(value.T)
    return {key: np.stack(values) for key, values in stacked.items()}
