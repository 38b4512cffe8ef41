"""DynamicQuantizeLSTM of onnxruntime: an LSTM with weights in 8 bits, which become floats here.

onnxruntime rounds x and h to 8 bits too, at every step; results differ by what that loses. Source:
its documentation of the contributed operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore.convert.onnx_cells import spec_of
from rnncore.convert.onnx_graph import Node
from rnncore.onnx.recurrent import RecurrentNode

__all__ = ["quantized_lstm"]


def quantized_lstm(node: Node, constants: Sequence[Any]) -> Any:
    """The node as a function of its inputs; all its weights have to be constant.

    W and R are (D, I, 4H) and (D, H, 4H), their scales and zero points (D,) or (D, 4H).
    """
    own = [*constants, *[None] * (12 - len(constants))]
    given = {name: own[k] for k, name in enumerate(_INPUTS) if k < len(node.inputs)}
    for k, name in enumerate(_INPUTS):
        there = k < len(node.inputs) and node.inputs[k]
        if there and given[name] is None and name not in ("X", *_PER_CALL):
            raise ValueError(f"{node} has {name} that depends on inputs, expected a constant")
    W, R = (_widened(node, given, name) for name in ("W", "R"))
    weights = (W, R, given.get("B"), given.get("P"))
    lstm = RecurrentNode(node, weights, spec_of(node._replace(op="LSTM")))

    def run(X: Any, *inputs: Any) -> tuple[np.ndarray, ...]:
        lens, h, c = ([*inputs, *[None] * 6])[3:6]
        return lstm(X, sequence_lens=lens, initial_h=h, initial_c=c)

    return run


_INPUTS = (
    "X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P",
    "W_scale", "W_zero_point", "R_scale", "R_zero_point",
)  # fmt: skip
_PER_CALL = ("sequence_lens", "initial_h", "initial_c")


def _widened(node: Node, given: dict[str, Any], name: str) -> np.ndarray:
    """(value - zero point) * scale, (D, 4H, inputs)."""
    q, scale, zero = given.get(name), given.get(f"{name}_scale"), given.get(f"{name}_zero_point")
    if q is None or scale is None or zero is None or q.ndim != 3 or q.dtype.itemsize != 1:
        raise ValueError(f"{node} has no {name} of 8 bits with three axes, scale and zero point")
    D, _, columns = q.shape
    for what, array in (("scale", scale), ("zero point", zero)):
        if array.shape not in ((D,), (D, columns), ()):
            raise ValueError(
                f"{node} has a {what} of {name} of shape {array.shape}, expected ({D},) or"
                f" ({D}, {columns})"
            )
    scale, zero = (a.reshape(a.shape[0] if a.ndim else 1, 1, -1) for a in (scale, zero))
    wide = (q.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)
    return np.ascontiguousarray(wide.swapaxes(1, 2))
