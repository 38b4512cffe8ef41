"""The functions of `Activation` as operators of ONNX, and what older versions lack in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from rnncore._cells.row_functions import RowFunction
from rnncore.onnx.export_nodes import Value, Writer

__all__ = ["function_nodes", "layer_norm_nodes"]


def function_nodes(writer: Writer, function: RowFunction, x: Value, at: str) -> Value:
    """The function of a value whose features are the last axis."""
    name, alpha, beta = function
    if name == "identity":
        return x
    if name in _PLAIN:
        return Value(writer.one(_PLAIN[name], x.name, at=at), x.axes)
    if name in _WITH_ALPHA:
        return Value(writer.one(_WITH_ALPHA[name], x.name, at=at, alpha=alpha), x.axes)
    if name in ("softmax", "log_softmax"):
        op = "Softmax" if name == "softmax" else "LogSoftmax"
        return Value(writer.one(op, x.name, at=at, axis=-1), x.axes)
    return Value(_IN_PIECES[name](writer, x.name, alpha, beta, at), x.axes)


_PLAIN = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "softsign": "Softsign",
    "softplus": "Softplus",
    "exponential": "Exp",
    "selu": "Selu",
    "hard_swish": "HardSwish",
}
_WITH_ALPHA = {
    "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu",
    "elu": "Elu",
    "celu": "Celu",
}


def _affine(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    scaled = x if alpha == 1 else w.one("Mul", x, w.number(alpha), at=at)
    return scaled if beta == 0 else w.one("Add", scaled, w.number(beta), at=at)


def _hard_sigmoid(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    return w.one("HardSigmoid", x, at=at, alpha=alpha, beta=beta)


def _scaled_tanh(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    inner = w.one("Tanh", w.one("Mul", x, w.number(beta), at=at), at=at)
    return w.one("Mul", inner, w.number(alpha), at=at)


def _bounded(low: float | None, high: float | None) -> Callable[..., str]:
    def clip(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
        bounds = (alpha if low is None else low, beta if high is None else high)
        return w.one("Clip", x, *map(w.number, bounds), at=at)

    return clip


def _silu(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    return w.one("Mul", x, w.one("Sigmoid", x, at=at), at=at)


def _mish(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    return w.one("Mul", x, w.one("Tanh", w.one("Softplus", x, at=at), at=at), at=at)


def _log_sigmoid(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    return w.one("Neg", w.one("Softplus", w.one("Neg", x, at=at), at=at), at=at)


def _gelu(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    """x * 1/2 * (1 + erf(x / sqrt 2)); an operator from opset 20 on, which onnxruntime lacks."""
    inner = w.one("Erf", w.one("Mul", x, w.number(math.sqrt(0.5)), at=at), at=at)
    half = w.one("Mul", x, w.number(0.5), at=at)
    return w.one("Mul", half, w.one("Add", inner, w.number(1.0), at=at), at=at)


def _gelu_tanh(w: Writer, x: str, alpha: float, beta: float, at: str) -> str:
    cube = w.one(
        "Mul", w.one("Mul", w.one("Mul", x, x, at=at), x, at=at), w.number(0.044715), at=at
    )
    inner = w.one("Mul", w.one("Add", x, cube, at=at), w.number(math.sqrt(2 / math.pi)), at=at)
    one = w.one("Add", w.one("Tanh", inner, at=at), w.number(1.0), at=at)
    return w.one("Mul", w.one("Mul", x, w.number(0.5), at=at), one, at=at)


_IN_PIECES: Mapping[str, Callable[..., str]] = {
    "affine": _affine,
    "hard_sigmoid": _hard_sigmoid,
    "scaled_tanh": _scaled_tanh,
    "relu6": _bounded(0.0, 6.0),
    "hard_tanh": _bounded(None, None),
    "silu": _silu,
    "mish": _mish,
    "log_sigmoid": _log_sigmoid,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}


def layer_norm_nodes(
    writer: Writer,
    x: Value,
    eps: float,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    size: int,
    at: str,
) -> Value:
    """A LayerNormalization, before opset 17 in pieces."""
    if writer.opset >= 17:
        scale = np.ones(size, writer.dtype) if weight is None else weight
        names = [writer.constant(f"{at}.weight", scale)]
        names += [] if bias is None else [writer.constant(f"{at}.bias", bias)]
        name = writer.one("LayerNormalization", x.name, *names, at=at, axis=-1, epsilon=eps)
        return Value(name, x.axes)

    def mean(name: str) -> str:
        return writer.one("ReduceMean", name, at=at, axes=[-1], keepdims=1)

    centred = writer.one("Sub", x.name, mean(x.name), at=at)
    square = writer.one("Mul", centred, centred, at=at)
    variance = writer.one("Add", mean(square), writer.number(eps), at=at)
    name = writer.one("Div", centred, writer.one("Sqrt", variance, at=at), at=at)
    if weight is not None and bias is not None:
        name = writer.one("Mul", name, writer.constant(f"{at}.weight", weight), at=at)
        name = writer.one("Add", name, writer.constant(f"{at}.bias", bias), at=at)
    return Value(name, x.axes)
