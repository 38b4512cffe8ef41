"""The layout of TensorFlow 1: kernels for x and h at once, (I + H, blocks), x first.

Sources: tf.compat.v1.nn.rnn_cell.BasicRNNCell, GRUCell, BasicLSTMCell and LSTMCell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore.convert.layouts import LAYOUTS, Arrays, to_ours, to_theirs

_DIAGONALS = tuple(f"w_{gate}_diag" for gate in LAYOUTS["tf1"].peepholes)


def from_tf1(
    cell: str,
    variables: Mapping[str, Any],
    input_size: int,
    suffix: str = "_l0",
    *,
    forget_bias: float = LAYOUTS["tf1"].forget_bias,
) -> Arrays:
    """Parameters of one layer and direction, from those of a cell of TensorFlow 1.

    Parameters
    ----------
    cell : "RNN", "GRU" or "LSTM"
    variables : by their names within the cell
        ``kernel`` (I + H, GH) and ``bias`` (GH,); of a GRU ``gates/kernel`` (I + H, 2H),
        ``gates/bias``, ``candidate/kernel`` (I + H, H) and ``candidate/bias``; of an LSTM with
        peepholes ``w_i_diag``, ``w_f_diag``, ``w_o_diag`` (H,), of one with a projection
        ``projection/kernel`` (H, P)
    input_size : I
    suffix : the end of the names
    forget_bias : of an LSTM, which TensorFlow adds at each step and keeps in no variable

    Returns
    -------
    dict of new arrays: of a GRU those for ``reset="before"``, with peepholes those for
    ``peephole="current"``. ``bias_hh`` is 0.

    Raises
    ------
    ValueError for a variable that is missing.
    """
    names = ("gates", "candidate") if cell == "GRU" else ("",)
    kernels = [np.asarray(_variable(variables, name, "kernel")) for name in names]
    biases = [np.asarray(_variable(variables, name, "bias")) for name in names]
    kernel, bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
    # W and U of the blocks, as if a GRU's were one kernel: they are side by side in both.
    params = {
        "weight_ih": to_ours(kernel[:input_size], "tf1", cell),
        "weight_hh": to_ours(kernel[input_size:], "tf1", cell),
        "bias_ih": to_ours(bias, "tf1", cell),
    }
    params["bias_hh"] = np.zeros_like(params["bias_ih"])
    if cell == "LSTM":
        forget = LAYOUTS["rnncore"].gates["LSTM"].index("f")
        np.split(params["bias_ih"], 4)[forget][...] += forget_bias
    if _DIAGONALS[0] in variables:
        diagonals = [np.asarray(variables[name]) for name in _DIAGONALS]
        params["weight_ch"] = np.concatenate(diagonals)
    if "projection/kernel" in variables:
        params["weight_hr"] = np.ascontiguousarray(np.asarray(variables["projection/kernel"]).T)
    return {name + suffix: a for name, a in params.items()}


def to_tf1(
    cell: str,
    params: Mapping[str, np.ndarray],
    suffix: str = "_l0",
    *,
    forget_bias: float = LAYOUTS["tf1"].forget_bias,
) -> Arrays:
    """The variables of a cell of TensorFlow 1: the inverse of `from_tf1`."""
    kernel = np.concatenate(
        [to_theirs(params[name + suffix], "tf1", cell) for name in ("weight_ih", "weight_hh")]
    )
    own = np.zeros(kernel.shape[1], kernel.dtype)
    if "bias_ih" + suffix in params:
        own = own + params["bias_ih" + suffix] + params["bias_hh" + suffix]
    if cell == "LSTM":
        np.split(own, 4)[LAYOUTS["rnncore"].gates["LSTM"].index("f")][...] -= forget_bias
    bias = to_theirs(own, "tf1", cell)
    if cell == "GRU":
        two = 2 * len(bias) // 3
        return {
            "gates/kernel": kernel[:, :two].copy(), "gates/bias": bias[:two].copy(),
            "candidate/kernel": kernel[:, two:].copy(), "candidate/bias": bias[two:].copy(),
        }  # fmt: skip
    found = {"kernel": kernel, "bias": bias}
    if "weight_ch" + suffix in params:
        found |= dict(zip(_DIAGONALS, np.split(params["weight_ch" + suffix], 3), strict=True))
    if "weight_hr" + suffix in params:
        found["projection/kernel"] = np.ascontiguousarray(params["weight_hr" + suffix].T)
    return found


def _variable(variables: Mapping[str, Any], within: str, name: str) -> Any:
    full = f"{within}/{name}" if within else name
    if full not in variables:
        raise ValueError(f"variables has no {full!r}, only {', '.join(variables)}")
    return variables[full]
