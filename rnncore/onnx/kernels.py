"""For every node what computes it: a kernel of this package, or the evaluator of onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.convert.onnx_constants import output_bytes
from rnncore.convert.onnx_fusions import DOMAIN
from rnncore.convert.onnx_graph import Node
from rnncore.convert.onnx_ops import Kernel, evaluator
from rnncore.models.activation import Activation
from rnncore.models.layer_norm import LayerNorm
from rnncore.onnx.convolution import conv
from rnncore.onnx.products import gemm, linear
from rnncore.onnx.quantized import quantized_lstm
from rnncore.onnx.recurrent import recurrent
from rnncore.onnx.simple import simple

__all__ = ["kernel_of"]


def kernel_of(node: Node, constants: Sequence[Any], opsets: Mapping[str, int]) -> Kernel:
    """What computes a node without graphs in it, `constants` those of its inputs that are known.

    Raises
    ------
    ValueError, which names the node, for an operator that there is not, and for attributes and
    constants that cannot be.
    """
    if node.domain == DOMAIN:
        return _of_fused(node, constants)
    if node.domain == "com.microsoft" and node.op == "DynamicQuantizeLSTM":
        return quantized_lstm(node, constants)  # type: ignore[no-any-return]
    if node.domain == "":
        if node.op in ("RNN", "GRU", "LSTM"):
            return recurrent(node, constants, [bool(name) for name in node.inputs])
        found = _product(node, constants)
        if found is not None:
            return found
        own = _layer_norm(node, constants) or simple(node, constants, opsets[""])
        if own is not None:
            return _or(own, node, opsets)
    return _bounded(node, evaluator(node, opsets))


def _of_fused(node: Node, constants: Sequence[Any]) -> Kernel:
    if node.op == "Linear":
        found = linear(node, constants)
    elif node.op in ("Gelu", "Silu", "Mish"):
        return _activation(node.op)
    else:
        found = _layer_norm(node, constants) or simple(node, constants, 17)
    assert found is not None
    return found


def _layer_norm(node: Node, constants: Sequence[Any]) -> Kernel | None:
    """A LayerNormalization over the last axis with constant parameters, as the layer; or None."""
    if node.op != "LayerNormalization" or node.attributes.get("axis", -1) != -1:
        return None
    eps, arrays = node.attributes.get("epsilon", 1e-5), list(constants[1:])
    if len(node.outputs) > 1 or not arrays or any(a is None or a.ndim != 1 for a in arrays):
        return None
    weight = arrays[0]
    bias = arrays[1] if len(arrays) > 1 else np.zeros_like(weight)
    if weight.dtype not in (np.float32, np.float64) or not weight.size or eps < 1e-30:
        return None
    layer = LayerNorm(len(weight), eps=eps, dtype=weight.dtype)
    layer.load_params({"weight": weight, "bias": bias})

    def run(x: np.ndarray, *_: Any) -> tuple[np.ndarray]:
        return (layer(x),)

    return run


def _activation(name: str) -> Kernel:
    layer = Activation(name)

    def run(x: np.ndarray) -> tuple[np.ndarray]:
        narrow = x.dtype not in (np.float32, np.float64)
        y = layer(x.astype(np.float32) if narrow else x)
        return (y.astype(x.dtype) if narrow else y,)

    return run


def _product(node: Node, constants: Sequence[Any]) -> Kernel | None:
    makers = {"MatMul": linear, "Gemm": gemm, "Conv": conv}
    if node.op not in makers or len(constants) < 2:
        return None
    return makers[node.op](node, constants)


def _or(own: Kernel, node: Node, opsets: Mapping[str, int]) -> Kernel:
    """`own`, and where that refuses the kind of its inputs the evaluator."""
    other: list[Kernel] = []

    def run(*inputs: Any) -> tuple[Any, ...]:
        try:
            return own(*inputs)
        except TypeError:
            if not other:
                other.append(_bounded(node, evaluator(node, opsets)))
            return other[0](*inputs)

    return run


def _bounded(node: Node, run: Kernel) -> Kernel:
    """`run`, refused where what it makes could not be in memory."""

    def bounded(*inputs: Any) -> tuple[Any, ...]:
        arrays = [value for value in inputs if isinstance(value, np.ndarray)]
        if len(arrays) == sum(value is not None for value in inputs):
            nbytes = output_bytes(node, inputs)
            if nbytes > _check.memory():
                raise ValueError(f"it would take {nbytes >> 30:,} GiB")
        return run(*inputs)

    return bounded
