"""The one table of gate orders and layouts, and the functions that turn arrays by it.

Gates are written with the letters of `layer.params`: i f g o of the LSTM, r z n of the GRU, in the
order of the row blocks. Sources: the classes named in `LAYOUTS`; of ONNX the operators RNN, GRU and
LSTM, versions 7 and 14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """How a library keeps the parameters of a recurrent layer: a row of the table.

    Attributes
    ----------
    what : the classes or operators that keep them so
    gates : by the cell, the letters of rnncore in the order of that library's blocks
    letters : the same blocks as that library calls them
    transposed : whether a weight is (inputs, blocks), as x multiplies it from the left
    biases : "two" of a cell, "sum" for one that is their sum, "joined" for one after the other
    peepholes : the gates of the peepholes, in their order; "" where there are none
    reset : where a GRU applies its reset gate unless it says otherwise
    hard_sigmoid : alpha and beta of ``clip(alpha * x + beta, 0, 1)``; None where it has none
    forget_bias : what is added to the sum of the forget gate at each step, and is in no array
    """

    what: str
    gates: Mapping[str, str]
    letters: Mapping[str, str]
    transposed: bool
    biases: str
    peepholes: str = ""
    reset: str = "after"
    hard_sigmoid: tuple[float, float] | None = None
    forget_bias: float = 0.0


_OURS = Layout(
    "RNN, GRU, LSTM",
    {"RNN": "h", "GRU": "rzn", "LSTM": "ifgo"},
    {"RNN": "h", "GRU": "r z n", "LSTM": "i f g o"},
    transposed=False,
    biases="two",
    peepholes="ifo",
    hard_sigmoid=(0.2, 0.5),
)
_KERAS = Layout(
    "keras.layers.SimpleRNN, GRU, LSTM, version 3",
    {"RNN": "h", "GRU": "zrn", "LSTM": "ifgo"},
    {"RNN": "h", "GRU": "z r h", "LSTM": "i f c o"},
    transposed=True,
    biases="sum",
    hard_sigmoid=(1 / 6, 0.5),
)

LAYOUTS: Mapping[str, Layout] = {
    "rnncore": _OURS,
    "torch": _OURS._replace(
        what="torch.nn.RNN, GRU, LSTM and their cells", peepholes="", hard_sigmoid=(1 / 6, 0.5)
    ),
    "keras": _KERAS,
    "keras2": _KERAS._replace(
        what="keras.layers.SimpleRNN, GRU, LSTM, version 2", hard_sigmoid=(0.2, 0.5)
    ),
    "onnx": Layout(
        "RNN, GRU, LSTM",
        {"RNN": "h", "GRU": "zrn", "LSTM": "iofg"},
        {"RNN": "h", "GRU": "z r h", "LSTM": "i o f c"},
        transposed=False,
        biases="joined",
        peepholes="iof",
        reset="before",
        hard_sigmoid=(0.2, 0.5),
    ),
    "tf1": Layout(
        "tf.compat.v1.nn.rnn_cell.BasicRNNCell, GRUCell, LSTMCell",
        {"RNN": "h", "GRU": "rzn", "LSTM": "igfo"},
        {"RNN": "h", "GRU": "r u, c", "LSTM": "i j f o"},
        transposed=True,
        biases="sum",
        peepholes="ifo",
        reset="before",
        forget_bias=1.0,
    ),
    "flax": Layout(
        "flax.linen.SimpleCell, GRUCell, LSTMCell",
        {"RNN": "h", "GRU": "rzn", "LSTM": "ifgo"},
        {"RNN": "i, h", "GRU": "ir iz in, hr hz hn", "LSTM": "ii if ig io, hi hf hg ho"},
        transposed=True,
        biases="sum",
        hard_sigmoid=(1 / 6, 0.5),
    ),
}

CELLS = ("RNN", "GRU", "LSTM")


def hard_sigmoid(library: str) -> tuple[str, float, float]:
    """The hard sigmoid of a library, as an entry of a layer's `activations`.

    >>> hard_sigmoid("onnx")
    ('hardsigmoid', 0.2, 0.5)
    """
    found = LAYOUTS[_check.choice("library", library, tuple(LAYOUTS))].hard_sigmoid
    if found is None:
        raise ValueError(f"library is {library!r}, which has no hard sigmoid")
    return ("hardsigmoid", *found)


def table() -> str:
    """The rows of `LAYOUTS`, as the page on layouts has them."""
    lines = ["| | LSTM | GRU | weights | biases | hard sigmoid |", "|---|---|---|---|---|---|"]
    for name, row in LAYOUTS.items():
        alpha = {0.2: "0.2", 1 / 6: "1/6"}[row.hard_sigmoid[0]] if row.hard_sigmoid else ""
        weights = "(inputs, blocks)" if row.transposed else "(blocks, inputs)"
        cells = f"{row.letters['LSTM']} | {row.letters['GRU']}"
        lines.append(f"| `{name}` | {cells} | {weights} | {row.biases} | {alpha} |")
    return "\n".join(lines)


# Blocks


def blocks_in(theirs: str, ours: str) -> tuple[int, ...]:
    """Which block of `theirs` comes to each place of `ours`, both orders of the same gates.

    >>> blocks_in("iofg", "ifgo"), blocks_in("ifgo", "iofg")
    ((0, 2, 3, 1), (0, 3, 1, 2))
    """
    if sorted(theirs) != sorted(ours):
        raise ValueError(f"ours is {ours!r}, expected the gates of theirs, {theirs!r}")
    return tuple(theirs.index(gate) for gate in ours)


def reordered(a: np.ndarray, theirs: str, ours: str, axis: int = 0) -> np.ndarray:
    """The blocks of `a` along an axis, which are gates in one order, in another; a new array.

    >>> reordered(np.array([1, 2, 3, 4, 5, 6]), "zrn", "rzn")
    array([3, 4, 1, 2, 5, 6])
    """
    a = np.asarray(a)
    if a.ndim <= axis or a.shape[axis] % len(theirs):
        raise ValueError(
            f"an array of the gates {theirs!r} has shape {a.shape}, expected"
            f" {len(theirs)} blocks of one size along axis {axis}"
        )
    blocks = np.split(a, len(theirs), axis)
    return np.concatenate([blocks[k] for k in blocks_in(theirs, ours)], axis)


def to_ours(a: np.ndarray, library: str, cell: str) -> np.ndarray:
    """A weight, or a bias (GH,), of a library in the layout of `layer.params`; a new array."""
    layout, own = LAYOUTS[library], LAYOUTS["rnncore"]
    a = np.asarray(a)
    turned = a.T if layout.transposed and a.ndim == 2 else a
    return reordered(turned, layout.gates[cell], own.gates[cell])


def to_theirs(a: np.ndarray, library: str, cell: str) -> np.ndarray:
    """A weight, or a bias (GH,), of `layer.params` in the layout of a library; a new array."""
    layout, own = LAYOUTS[library], LAYOUTS["rnncore"]
    found = reordered(a, own.gates[cell], layout.gates[cell])
    return np.ascontiguousarray(found.T) if layout.transposed and found.ndim == 2 else found


# PyTorch


def part(state_dict: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What belongs to one module of a larger one, by its own names.

    >>> part({"rnn.bias_ih_l0": 1, "head.bias": 2}, "rnn.")
    {'bias_ih_l0': 1}
    """
    return {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }


# Keras


def from_keras(cell: str, weights: Sequence[np.ndarray], suffix: str = "_l0") -> Arrays:
    """Parameters of one layer and direction, from those of a SimpleRNN, GRU or LSTM of Keras.

    Parameters
    ----------
    cell : "RNN", "GRU" or "LSTM"
    weights : kernel (I, GH), recurrent_kernel (H, GH), and where there is one the bias, (GH,) or of
        a GRU with reset "after" (2, GH): what ``layer.get_weights()`` gives
    suffix : the end of the names

    Returns
    -------
    dict of new arrays. One bias becomes ``bias_ih``, and ``bias_hh`` is 0.
    """
    kernel, recurrent_kernel, *bias = weights
    params = {"weight_ih": kernel, "weight_hh": recurrent_kernel}
    if bias:
        b = np.asarray(bias[0])
        params["bias_ih"], params["bias_hh"] = b if b.ndim == 2 else (b, np.zeros_like(b))
    return {name + suffix: to_ours(a, "keras", cell) for name, a in params.items()}


def to_keras(
    cell: str, params: Mapping[str, np.ndarray], suffix: str = "_l0", reset_after: bool = True
) -> list[np.ndarray]:
    """What ``layer.set_weights`` of Keras takes: the inverse of `from_keras`.

    The two biases become one, their sum, but of a GRU with reset "after".
    """
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    there = [name + suffix for name in names if name + suffix in params]
    found = [to_theirs(params[name], "keras", cell) for name in there]
    if len(found) == 4:
        two = cell == "GRU" and reset_after
        found[2:] = [np.stack(found[2:]) if two else found[2] + found[3]]
    return found


def from_keras_bidirectional(
    cell: str, weights: Sequence[np.ndarray], layer: str = "_l0"
) -> Arrays:
    """As `from_keras`, of a Bidirectional: the weights of one direction after the other's."""
    half = len(weights) // 2
    return {
        **from_keras(cell, weights[:half], layer),
        **from_keras(cell, weights[half:], layer + "_reverse"),
    }


# ONNX


def from_onnx(
    cell: str,
    W: np.ndarray,
    R: np.ndarray,
    B: np.ndarray | None = None,
    P: np.ndarray | None = None,
    layer: str = "_l0",
) -> Arrays:
    """Parameters of one layer, both directions where the node has two, from a node's inputs.

    Parameters
    ----------
    cell : "RNN", "GRU" or "LSTM"
    W, R, B, P : (D, GH, I), (D, GH, H), (D, 2GH), (D, 3H) arrays; None where the node has none
    layer : the end of the names, before that of the direction
    """
    params: Arrays = {}
    for d, suffix in enumerate(("", "_reverse")[: len(W)]):
        ours = {"weight_ih": W[d], "weight_hh": R[d]}
        if B is not None:
            ours["bias_ih"], ours["bias_hh"] = np.split(np.asarray(B[d]), 2)
        params |= {name + layer + suffix: to_ours(a, "onnx", cell) for name, a in ours.items()}
        if P is not None:
            theirs, own = LAYOUTS["onnx"].peepholes, LAYOUTS["rnncore"].peepholes
            params["weight_ch" + layer + suffix] = reordered(P[d], theirs, own)
    return params


def to_onnx(
    cell: str, params: Mapping[str, np.ndarray], layer: str = "_l0"
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """W, R, B and P for one node; B and P are None where the layer has none."""
    suffixes = [layer + s for s in ("", "_reverse") if "weight_ih" + layer + s in params]

    def stacked(stem: str) -> np.ndarray:
        return np.stack([to_theirs(params[stem + s], "onnx", cell) for s in suffixes])

    B = P = None
    if "bias_ih" + layer in params:
        B = np.concatenate((stacked("bias_ih"), stacked("bias_hh")), axis=1)
    if "weight_ch" + layer in params:
        own, theirs = LAYOUTS["rnncore"].peepholes, LAYOUTS["onnx"].peepholes
        P = np.stack([reordered(params["weight_ch" + s], own, theirs) for s in suffixes])
    return stacked("weight_ih"), stacked("weight_hh"), B, P


def y_from_onnx(Y: np.ndarray) -> np.ndarray:
    """The `y` of a layer (T, B, DH) from the `Y` of a node (T, D, B, H)."""
    T, D, B, H = Y.shape
    return Y.swapaxes(1, 2).reshape(T, B, D * H)


def y_to_onnx(y: np.ndarray, directions: int) -> np.ndarray:
    """The `Y` of a node (T, D, B, H) from the `y` of a layer (T, B, DH)."""
    T, B, width = y.shape
    return y.reshape(T, B, directions, width // directions).swapaxes(1, 2)
