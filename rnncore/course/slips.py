"""Classic mistakes: the functions of the exercise in NumPy, each with any of its slips made.

What a slip gives is compared with what a learner's function gives, so that a mistake is named only
where its numbers are there. Without a slip these are the right functions once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncore.course.layouts import Arrays, Parameters

Slips = frozenset[str]  # keys of `SLIPS`
Step = Callable[..., Any]


class Slip(NamedTuple):
    name: str  # what the mistake is called
    text: str  # where it is


WRONG_SLOPE = "wrong derivative"
SLOPE, ONE_MINUS, GATES = "derivative forgotten", "(1 - gate) forgotten", "gates mixed up"
TRANSPOSED, STATE, CARRY = "transposed weight", "wrong state", "not handed on"

_OF_HEAD = {
    "softmax": Slip("softmax", "yt_pred is the sum before the softmax"),
    "axis": Slip("softmax", "the softmax divides by the sum over all examples, not over axis=0"),
    "y_prev": Slip(STATE, "yt_pred is made of a_prev, not of a_next"),
    "by": Slip("bias forgotten", "by is not added"),
}
_OF_RNN = {
    "rnn_cell_forward": {
        "tanh": Slip("activation forgotten", "a_next has no tanh"),
        "Waa": Slip(TRANSPOSED, "Waa.T stands where Waa belongs"),
        "Wax": Slip(TRANSPOSED, "Wax.T stands where Wax belongs"),
        "ba": Slip("bias forgotten", "ba is not added"),
        **_OF_HEAD,
    },
    "rnn_cell_backward": {
        "tanh": Slip(SLOPE, "that of tanh, 1 - a_next**2"),
        "tanh2": Slip("tanh taken twice", "1 - np.tanh(a_next)**2; a_next is a tanh already"),
        "square": Slip(WRONG_SLOPE, "1 - a_next for 1 - a_next**2: the square is missing"),
        "sigmoid": Slip(WRONG_SLOPE, "a_next * (1 - a_next), which is that of a sigmoid"),
        "plus": Slip(WRONG_SLOPE, "1 + a_next**2 for 1 - a_next**2"),
        "prev": Slip(WRONG_SLOPE, "1 - a_prev**2 for 1 - a_next**2"),
        "Waa": Slip(TRANSPOSED, "Waa stands where Waa.T belongs"),
        "Wax": Slip(TRANSPOSED, "Wax stands where Wax.T belongs"),
        "a_next": Slip("a_next for a_prev", "dWaa is made of a_next"),
    },
}
_PAIRS = {
    "if": "update and forget gate",
    "io": "update and output gate",
    "fo": "forget and output gate",
}
_WORDS = {"i": "it", "f": "ft", "o": "ot", "c": "cct"}
_READ = {f"gate {pair}": Slip(GATES, f"{_PAIRS[pair]} are exchanged") for pair in _PAIRS}
_OF_LSTM = {
    "lstm_cell_forward": {
        **_READ,
        "tanh": Slip("activation forgotten", "a_next is ot * c_next, without tanh"),
        "cct": Slip("wrong activation", "cct has a sigmoid where tanh belongs"),
        "order": Slip("wrong order", "[xt; a_prev] stands where [a_prev; xt] belongs"),
        "b": Slip("bias forgotten", "the biases of the gates are not added"),
        **_OF_HEAD,
    },
    "lstm_cell_backward": {
        "tanh": Slip(SLOPE, "that of tanh at the memory, 1 - np.tanh(c_next)**2"),
        "tanh2": Slip("tanh forgotten", "1 - c_next**2; c_next is no tanh yet"),
        "slope c": Slip(SLOPE, "that of tanh at the candidate, 1 - cct**2"),
        "square": Slip(WRONG_SLOPE, "1 - np.tanh(c_next): the square is missing"),
        "square c": Slip(WRONG_SLOPE, "1 - cct for 1 - cct**2: the square is missing"),
        "sigmoid c": Slip(WRONG_SLOPE, "cct * (1 - cct), which is that of a sigmoid"),
        "cct2": Slip("tanh taken twice", "1 - np.tanh(cct)**2; cct is a tanh already"),
        "1-ifo": Slip(ONE_MINUS, "in the derivatives of all gates"),
        "slope ifo": Slip(SLOPE, "those of the sigmoids, gate * (1 - gate)"),
        **{f"1-{k}": Slip(ONE_MINUS, f"at {_WORDS[k]}") for k in "ifo"},
        **{f"slope {k}": Slip(SLOPE, f"{_WORDS[k]} * (1 - {_WORDS[k]})") for k in "ifo"},
        "dc": Slip("dc_next forgotten", "of the memory, only what comes by a_next is counted"),
        "da": Slip("da_next left out of dc", "of the memory, only dc_next is counted"),
        **_READ,
        "factor if": Slip(GATES, "cct and c_prev are exchanged in dit and dft"),
        **{f"W {p}": Slip(GATES, f"W{p[0]} and W{p[1]} are exchanged") for p in _PAIRS},
        **{f"no {k}": Slip("gate left out", f"W{k} has no part in it") for k in "ifco"},
        "a_next": Slip("a_next for a_prev", "the dW are made of a_next"),
        "c_next": Slip("c_next for c_prev", "dft is made of c_next"),
        "c_prev": Slip("c_prev for c_next", "tanh(c_prev) stands where tanh(c_next) belongs"),
        "order": Slip("wrong order", "[xt; a_prev] stands where [a_prev; xt] belongs"),
        "columns": Slip("wrong order", "W[:, n_x:] for a, W[:, :n_x] for x; a_prev comes first"),
        "Wa": Slip(TRANSPOSED, "W[:, :n_a] is not transposed"),
        "Wx": Slip(TRANSPOSED, "W[:, n_a:] is not transposed"),
        "ft": Slip("gate forgotten", "dc_prev is not multiplied by ft"),
    },
}
_ORDER = "wrong order of time"
_FORWARD = {
    "carry a": Slip(CARRY, "every step starts from a0: a_next of the step before is not read"),
    "back": Slip(_ORDER, "the steps are gone through from the last to the first"),
}
_BACKWARD = {
    "carry a": Slip("da_next forgotten", "da_prev of the step after is not added to da"),
    "back": Slip(_ORDER, "the steps are gone through from the first to the last"),
    "last": Slip("not summed over time", "it is that of the last step alone"),
    "first": Slip("overwritten", "each step overwrites it, with = where += belongs"),
}
_MEMORY = Slip(CARRY, "every step starts from a memory of zeros: c_next is not handed on")
SLIPS: dict[str, dict[str, Slip]] = {
    **_OF_RNN,
    **_OF_LSTM,
    "rnn_forward": _OF_RNN["rnn_cell_forward"] | _FORWARD,
    "rnn_backward": _OF_RNN["rnn_cell_backward"] | _BACKWARD,
    "lstm_forward": _OF_LSTM["lstm_cell_forward"] | _FORWARD | {"carry c": _MEMORY},
    "lstm_backward": _OF_LSTM["lstm_cell_backward"] | _BACKWARD,
}


def _weight(p: Parameters, name: str, slips: Slips) -> np.ndarray:
    return p[name].T if name in slips else p[name]


def _sigmoid(z: np.ndarray) -> np.ndarray:
    one: np.ndarray = 1 / (1 + np.exp(-z))
    return one


def _head(a: np.ndarray, a_prev: np.ndarray, p: Parameters, slips: Slips) -> np.ndarray:
    w = p["Wya"] if "Wya" in p else p["Wy"]
    z: np.ndarray = w @ (a_prev if "y_prev" in slips else a) + p["by"] * ("by" not in slips)
    if "softmax" in slips:
        return z
    e = np.exp(z)
    y: np.ndarray = e / (e.sum() if "axis" in slips else e.sum(axis=0, keepdims=True))
    return y


def _rnn_forward(xt: np.ndarray, a_prev: np.ndarray, p: Parameters, slips: Slips) -> Any:
    z = _weight(p, "Wax", slips) @ xt + _weight(p, "Waa", slips) @ a_prev
    z = z + p["ba"] * ("ba" not in slips)
    a_next = z if "tanh" in slips else np.tanh(z)
    return a_next, _head(a_next, a_prev, p, slips), (a_next, a_prev, xt, p)


def _rnn_backward(da: np.ndarray, cache: Any, slips: Slips) -> Arrays:
    a_next, a_prev, xt, p = cache
    slopes = {
        "tanh": np.ones_like(a_next),
        "tanh2": 1 - np.tanh(a_next) ** 2,
        "square": 1 - a_next,
        "sigmoid": a_next * (1 - a_next),
        "plus": 1 + a_next**2,
        "prev": 1 - a_prev**2,
    }
    dpre = da * next((slopes[key] for key in slopes if key in slips), 1 - a_next**2)
    return {
        "dxt": _weight(p, "Wax", slips).T @ dpre,
        "da_prev": _weight(p, "Waa", slips).T @ dpre,
        "dWax": dpre @ xt.T,
        "dWaa": dpre @ (a_next if "a_next" in slips else a_prev).T,
        "dba": dpre.sum(axis=1, keepdims=True),
    }


def _exchanged(by_gate: Arrays, place: str, slips: Slips) -> Arrays:
    for pair in _PAIRS:
        if f"{place} {pair}" in slips:
            a, b = pair[0], pair[1]
            by_gate = by_gate | {a: by_gate[b], b: by_gate[a]}
    return by_gate


def _lstm_forward(
    xt: np.ndarray, a_prev: np.ndarray, c_prev: np.ndarray, p: Parameters, slips: Slips
) -> Any:
    concat = np.concatenate((xt, a_prev) if "order" in slips else (a_prev, xt))
    z = {k: p[f"W{k}"] @ concat + p[f"b{k}"] * ("b" not in slips) for k in "ifco"}
    gates = _exchanged({k: _sigmoid(z[k]) for k in "ifo"}, "gate", slips)
    i, f, o = gates.values()
    cct = _sigmoid(z["c"]) if "cct" in slips else np.tanh(z["c"])
    c_next = f * c_prev + i * cct
    a_next = o * (c_next if "tanh" in slips else np.tanh(c_next))
    cache = a_next, c_next, a_prev, c_prev, f, i, cct, o, xt, p
    return a_next, c_next, _head(a_next, a_prev, p, slips), cache


def _lstm_sums(da: np.ndarray, dc: np.ndarray, cache: Any, slips: Slips) -> tuple[Arrays, Any]:
    """The gradients of the gates' sums, and dc_prev."""
    _, c_next, _, c_prev, f, i, cct, o, *_ = cache
    i, f, o = _exchanged({"i": i, "f": f, "o": o}, "gate", slips).values()
    t = np.tanh(c_prev if "c_prev" in slips else c_next)
    slope = 1.0 if "tanh" in slips else 1 - (c_next if "tanh2" in slips else t) ** 2
    slope = 1 - t if "square" in slips else slope
    k = dc * ("dc" not in slips) + da * o * slope * ("da" not in slips)
    old = c_next if "c_next" in slips else c_prev
    made = _exchanged({"i": k * cct, "f": k * old, "o": da * t}, "factor", slips)
    sums = {}
    for gate, value in {"i": i, "f": f, "o": o}.items():
        one_minus = 1.0 if slips & {f"1-{gate}", "1-ifo"} else 1 - value
        bare = slips & {f"slope {gate}", "slope ifo"}
        sums[gate] = made[gate] * (1.0 if bare else value * one_minus)
    candidate = np.tanh(cct) if "cct2" in slips else cct
    slopes = {"slope c": np.ones_like(cct), "square c": 1 - cct, "sigmoid c": cct * (1 - cct)}
    own = next((slopes[key] for key in slopes if key in slips), 1 - candidate**2)
    sums["c"] = k * i * own
    return sums, k if "ft" in slips else k * f


def _lstm_backward(da: np.ndarray, dc: np.ndarray, cache: Any, slips: Slips) -> Arrays:
    sums, dc_prev = _lstm_sums(da, dc, cache, slips)
    a_next, a_prev, xt, p = cache[0], cache[2], cache[8], cache[9]
    n_x, n_a = len(xt), len(da)
    weights = _exchanged({k: p[f"W{k}"] for k in "ifco"}, "W", slips)
    from_a, from_x = slice(n_a), slice(n_a, None)
    if "columns" in slips:
        from_a, from_x = slice(n_x, None), slice(n_x)
    a = a_next if "a_next" in slips else a_prev
    concat = np.concatenate((xt, a) if "order" in slips else (a, xt))
    da_prev, dxt = np.zeros_like(da), np.zeros_like(xt)
    for k in "ifco":
        if f"no {k}" not in slips:
            w_a, w_x = weights[k][:, from_a], weights[k][:, from_x]
            da_prev += (w_a if "Wa" in slips else w_a.T) @ sums[k]
            dxt += (w_x if "Wx" in slips else w_x.T) @ sums[k]
    grads = {"dxt": dxt, "da_prev": da_prev, "dc_prev": dc_prev}
    for k, dpre in sums.items():
        grads |= {f"dW{k}": dpre @ concat.T, f"db{k}": dpre.sum(axis=1, keepdims=True)}
    return grads


def _steps_forward(step: Step, x: np.ndarray, a0: np.ndarray, p: Parameters, slips: Slips) -> Any:
    T = x.shape[-1]
    start = (a0, np.zeros_like(a0)) if step is _lstm_forward else (a0,)
    state: tuple[np.ndarray, ...] = start
    made: list[Any] = [()] * T
    for t in reversed(range(T)) if "back" in slips else range(T):
        made[t] = step(x[..., t], *state, p, slips)
        state = tuple(
            old if f"carry {name}" in slips else new
            for name, old, new in zip("ac", start, made[t], strict=False)
        )
    *outputs, caches = zip(*made, strict=True)
    a, *c, y = (np.stack(output, axis=-1) for output in outputs)
    return a, y, *c, (list(caches), x)


def _steps_backward(step: Step, da: np.ndarray, caches: Any, slips: Slips) -> Arrays:
    T = da.shape[-1]
    names = ("da_prev", "dc_prev") if step is _lstm_backward else ("da_prev",)
    carried = [np.zeros_like(da[..., 0]) for _ in names]
    steps: list[Arrays] = [{}] * T
    for t in range(T) if "back" in slips else reversed(range(T)):
        da_t = da[..., t] + carried[0] * ("carry a" not in slips)
        steps[t] = step(da_t, *carried[1:], caches[0][t], slips)
        carried = [steps[t][name] for name in names]
    kept = steps[-1:] if "last" in slips else steps[:1] if "first" in slips else steps
    sums = {k: np.sum([g[k] for g in kept], axis=0) for k in steps[0] if k[1] in "Wb"}
    dx = np.stack([g["dxt"] for g in steps], axis=-1)
    return {"dx": dx, "da0": carried[0], **sums}


_STEPS: dict[str, Step] = {
    "rnn_cell_forward": _rnn_forward,
    "rnn_cell_backward": _rnn_backward,
    "lstm_cell_forward": _lstm_forward,
    "lstm_cell_backward": _lstm_backward,
}


def slipped(of: str, args: tuple[Any, ...], slips: Slips) -> Any:
    """What the function `of` gives, with these slips."""
    if of in _STEPS:
        return _STEPS[of](*args, slips)
    steps: Step = _steps_forward if of.endswith("forward") else _steps_backward
    return steps(_STEPS[of.replace("_", "_cell_")], *args, slips)
