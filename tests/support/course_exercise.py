"""The course exercise, transcribed: its parameters, and its steps with examples as columns."""

import numpy as np


def rnn_parameters(n_x, n_a, n_y):
    return {"Wax": (n_a, n_x), "Waa": (n_a, n_a), "Wya": (n_y, n_a), "ba": (n_a, 1), "by": (n_y, 1)}


def lstm_parameters(n_x, n_a, n_y):
    shapes = {f"W{gate}": (n_a, n_a + n_x) for gate in "fico"}
    return shapes | {f"b{gate}": (n_a, 1) for gate in "fico"} | {"Wy": (n_y, n_a), "by": (n_y, 1)}


PARAMETERS = {"rnn": rnn_parameters, "lstm": lstm_parameters}


def draw(cell, shape, rng, dtype=np.float64):
    """x, a0 and the parameters, of scale 1/sqrt(n_a)."""
    n_x, m, T_x, n_a, n_y = shape
    shapes = PARAMETERS[cell](n_x, n_a, n_y)
    parameters = {
        name: (rng.standard_normal(size) / np.sqrt(n_a)).astype(dtype)
        for name, size in shapes.items()
    }
    x = rng.standard_normal((n_x, m, T_x)).astype(dtype)
    return x, rng.standard_normal((n_a, m)).astype(dtype), parameters


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def transcribed_rnn_step(xt, a_prev, p):
    a_next = np.tanh(p["Wax"] @ xt + p["Waa"] @ a_prev + p["ba"])
    return a_next, softmax(p["Wya"] @ a_next + p["by"]), (a_next, a_prev, xt, p)


def transcribed_lstm_step(xt, a_prev, c_prev, p):
    concat = np.concatenate((a_prev, xt))
    ft, it, ot = (sigmoid(p[f"W{gate}"] @ concat + p[f"b{gate}"]) for gate in "fio")
    cct = np.tanh(p["Wc"] @ concat + p["bc"])
    c_next = ft * c_prev + it * cct
    a_next = ot * np.tanh(c_next)
    y = softmax(p["Wy"] @ a_next + p["by"])
    return a_next, c_next, y, (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, p)


def transcribed(cell, x, a0, p):
    """a, y, c (None for the RNN) and the list of caches, step by step with columns."""
    a, c, steps = a0, np.zeros_like(a0), []
    for t in range(x.shape[2]):
        if cell == "rnn":
            a, y, cache = transcribed_rnn_step(x[:, :, t], a, p)
            steps.append((a, y, None, cache))
        else:
            a, c, y, cache = transcribed_lstm_step(x[:, :, t], a, c, p)
            steps.append((a, y, c, cache))
    a, y, c, caches = zip(*steps, strict=True)
    return np.stack(a, -1), np.stack(y, -1), None if cell == "rnn" else np.stack(c, -1), caches
