"""Nodes that are layers: what each adds to the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore.convert.onnx_cells import params_of, short, spec_of
from rnncore.convert.onnx_chain import Call
from rnncore.convert.onnx_lengths import LENGTHS, reckoned
from rnncore.convert.onnx_shapes import SHAPES, times
from rnncore.convert.onnx_steps import STEPS
from rnncore.convert.onnx_values import (
    Const,
    Filled,
    Flow,
    LengthsIn,
    Made,
    MisfitError,
    Size,
    StateIn,
    StateOut,
)  # fmt: skip

__all__ = ["LAYERS"]


# Recurrent nodes


def _recurrent(call: Call) -> tuple[Any, ...]:
    chain, node = call.chain, call.node
    spec, flow = spec_of(node), chain.head(call.input(0))
    if len(set(spec.activations)) > 1:
        raise MisfitError("its directions have different activations")
    if len(flow.axes) != 3 or flow.axes[-1] != "F":
        raise MisfitError("it does not read steps, rows and features")
    time, batch = flow.axes[1::-1] if spec.batch_first else flow.axes[:2]
    chain.set_time(time)
    chain.set_batch(batch)
    _check_starts(call)
    weights = [call.optional(k, what) for k, what in ((1, "W"), (2, "R"), (3, "B"), (7, "P"))]
    params, I, H = params_of(node, spec, weights)
    D = len(spec.reverses)
    options = {
        "input_size": I, "hidden_size": H, "num_layers": 1, **_own_options(spec),
        "bias": weights[2] is not None, "clip": spec.options["clip"], "bidirectional": D == 2,
    }  # fmt: skip
    if spec.op == "LSTM":
        options["peephole"] = "current" if weights[3] is not None else None
    made = call.made(spec.op, options, params, timed=True)
    reverse = Made("Reverse", {}, {}, {}, "", True)
    parts = [reverse, made, reverse] if spec.reverses == (True,) else [made]
    for part in parts:
        chain.add(part, flow)
    axes = (batch, time, "D", "F") if spec.batch_first else (time, "D", batch, "F")
    y = Flow(len(chain.made), axes, H, D)
    last = None
    if spec.reverses == (False,):
        last = Flow(y.step, (batch, "D", "F") if spec.batch_first else ("D", batch, "F"), H)
    return y, StateOut((last,) * D), StateOut((None,) * D)


def _own_options(spec: Any) -> dict[str, Any]:
    found = {name: value for name, value in spec.options.items() if name != "clip"}
    functions: Any = spec.activations[0]
    if spec.op == "RNN" and functions in (("Tanh",), ("Relu",)):
        return {**found, "nonlinearity": functions[0].lower(), "activations": None}
    usual = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
    return {**found, "activations": None if functions == usual[spec.op] else functions}


def _check_starts(call: Call) -> None:
    """Lengths and initial states: inputs of the model, or what stands for none."""
    lengths = call.input(4)
    full = isinstance(lengths, Filled) and isinstance(lengths.value, Size)
    if not (lengths is None or full or isinstance(lengths, LengthsIn)):
        raise MisfitError("its sequence_lens is no input of the model")
    if isinstance(lengths, LengthsIn):
        call.chain.set_lengths(lengths.name)
    else:
        call.chain.set_blind(call.node)
    for k in (5, 6) if call.node.op == "LSTM" else (5,):
        start = call.input(k)
        zero = isinstance(start, Filled) and start.value == 0
        zero = zero or (isinstance(start, Const) and not start.array.any())
        if not (start is None or zero or isinstance(start, StateIn)):
            raise MisfitError("it starts from a state that is neither zero nor an input")


# Rows of features


def _linear(call: Call) -> Flow:
    W, b = call.constant(1, "weight"), call.optional(2, "bias")
    flow = call.chain.rows(call.input(0))
    if W.ndim != 2:
        raise MisfitError(f"its weight has {W.ndim} axes, expected 2")
    if b is not None and b.ndim > len(flow.axes):
        raise MisfitError(f"its bias has {b.ndim} axes, and {len(flow.axes)} come")
    return _linear_of(call, flow, np.ascontiguousarray(W.T), None if b is None else b.ravel())


def _gemm(call: Call) -> Flow:
    a = call.node.attributes
    W, b = call.constant(1, "weight"), call.optional(2, "bias")
    flow = call.chain.rows(call.input(0))
    if W.ndim != 2 or a.get("transA", 0) or len(flow.axes) != 2:
        raise MisfitError("it is no product of rows and a weight")
    w = np.ascontiguousarray(W if a.get("transB", 0) else W.T)
    if a.get("alpha", 1.0) != 1:
        w = w * w.dtype.type(a["alpha"])
    if b is not None:
        b = np.ascontiguousarray(np.broadcast_to(b, (1, len(w)))[0]) if b.size > 0 else b
        if a.get("beta", 1.0) != 1:
            b = b * b.dtype.type(a["beta"])
    return _linear_of(call, flow, w, b)


def _linear_of(call: Call, flow: Flow, w: np.ndarray, b: np.ndarray | None) -> Flow:
    N, K = w.shape
    options = {"in_features": K, "out_features": N, "bias": b is not None}
    _check_width(flow, K)
    made = call.made("Linear", options, {"weight": w, "bias": b})
    return call.chain.add(made, flow, width=N)


def _check_width(flow: Flow, K: int) -> None:
    if flow.width not in (None, K):
        raise MisfitError(f"it reads {K} features, and {flow.width} come")


def _layer_norm(call: Call) -> Flow:
    flow = call.chain.rows(call.input(0))
    axis = call.node.attributes.get("axis", -1)
    weight, bias = call.optional(1, "scale"), call.optional(2, "bias")
    if axis not in (-1, len(flow.axes) - 1) or (weight is not None and weight.ndim != 1):
        raise MisfitError("it does not go over the features alone")
    size = flow.width if weight is None else len(weight)
    if size is None:
        raise MisfitError("nothing says how many features it has")
    _check_width(flow, size)
    eps = short(call.node.attributes.get("epsilon", 1e-5))
    if weight is not None and bias is None:
        bias = np.zeros_like(weight)
    options = {"size": size, "eps": eps, "affine": weight is not None}
    made = call.made("LayerNorm", options, {"weight": weight, "bias": bias})
    return call.chain.add(made, flow, width=size)


def _batch_norm(call: Call) -> Flow:
    flow = call.chain.head(call.input(0))
    if call.node.attributes.get("training_mode", 0):
        raise MisfitError("it is in training mode")
    if len(flow.axes) < 2 or flow.axes[1] != "F":
        raise MisfitError("its features are not its second axis")
    names = ("scale", "bias", "mean", "variance")
    weight, bias, mean, var = (call.constant(k + 1, name) for k, name in enumerate(names))
    eps = short(call.node.attributes.get("epsilon", 1e-5))
    return _normalized(call, flow, (weight, bias, mean, var), eps)


def _normalized(call: Call, flow: Flow, arrays: tuple[np.ndarray, ...], eps: float) -> Flow:
    weight, bias, mean, var = arrays
    size = len(weight)
    if any(a.shape != (size,) for a in arrays):
        raise MisfitError("its parameters have different sizes")
    _check_width(flow, size)
    made = call.made(
        "BatchNorm",
        {"size": size, "eps": eps},
        {"weight": weight, "bias": bias},
        buffers={"running_mean": mean, "running_var": var},
    )
    return call.chain.add(made, flow, width=size)


# Numbers


def _activation(call: Call, function: Any, k: int = 0) -> Flow:
    flow = call.chain.head(call.input(k))
    return call.chain.add(call.made("Activation", {"function": function}), flow)


def _plain(name: str) -> Callable[[Call], Flow]:
    return lambda call: _activation(call, name)


def _with_alpha(name: str, *attributes: tuple[str, float]) -> Callable[[Call], Flow]:
    def layer(call: Call) -> Flow:
        given = [short(call.node.attributes.get(k, default)) for k, default in attributes]
        return _activation(call, (name, *given))

    return layer


def _selu(call: Call) -> Flow:
    a = call.node.attributes
    for name, usual in (("alpha", 1.6732632), ("gamma", 1.0507010)):
        if not math.isclose(a.get(name, usual), usual, rel_tol=1e-6):
            raise MisfitError(f"its {name} is not that of the function's paper")
    return _activation(call, "selu")


def _clip(call: Call) -> Flow:
    a = call.node.attributes
    low = a.get("min") if call.opset < 11 else call.optional(1, "min")
    high = a.get("max") if call.opset < 11 else call.optional(2, "max")
    bounds = tuple(None if v is None else float(np.ravel(v)[0]) for v in (low, high))
    names = {(0.0, 6.0): "relu6", (-1.0, 1.0): "hard_tanh", (0.0, None): "relu"}
    if bounds not in names:
        raise MisfitError(f"it keeps numbers within {bounds}, which no layer here does")
    return _activation(call, names[bounds])


def _softmax(call: Call) -> Flow:
    flow = call.chain.rows(call.input(0))
    axis = call.node.attributes.get("axis", 1 if call.opset < 13 else -1)
    if axis not in (-1, len(flow.axes) - 1):
        raise MisfitError("it does not go over the features")
    names = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
    return _activation(call, names[call.node.op])


def _gelu(call: Call) -> Flow:
    tanh = call.node.attributes.get("approximate", "none") == "tanh"
    return _activation(call, "gelu_tanh" if tanh else "gelu")


def _arithmetic(call: Call) -> Any:
    """Add, Sub, Mul and Div: of sizes, of a layer's output and a constant, of two outputs."""
    op, flows = call.node.op, [v for v in call.inputs if isinstance(v, Flow)]
    if not flows and op == "Mul":
        return times(call)
    found = None if flows else reckoned(call)
    if found is not None:
        return found
    if not flows:
        raise MisfitError("it reckons with what no layer made")
    if len(flows) == 2:
        return _residual(call, flows)
    first = isinstance(call.inputs[0], Flow)
    c = call.constant(1 if first else 0, "constant")
    if op == "Div" and not first:
        raise MisfitError("it divides a constant by the output of a layer")
    if c.ndim > len(flows[0].axes):
        raise MisfitError(f"it gives {c.ndim} axes, and {len(flows[0].axes)} come")
    one = c.dtype.type(1)
    scale = {"Mul": c, "Div": one / c}.get(op, one if first or op == "Add" else -one)
    shift = {"Add": c, "Sub": -c if first else c}.get(op, c.dtype.type(0))
    if c.size == 1:
        numbers = [float(np.ravel(a)[0]) for a in (scale, shift)]
        return _activation(call, ("affine", *numbers), 0 if first else 1)
    flow = call.chain.head(flows[0])
    if c.shape != (1,) * (c.ndim - 1) + c.shape[-1:] or not flow.axes or flow.axes[-1] != "F":
        raise MisfitError(f"it reads a constant of shape {c.shape}, expected one for each feature")
    size = c.shape[-1]
    vectors = (np.ascontiguousarray(np.broadcast_to(a.ravel(), size)) for a in (scale, shift))
    zero, ones = np.zeros(size, c.dtype), np.ones(size, c.dtype)
    eps = float(np.finfo(np.float32).tiny)  # so that the variance of 1 stays just that
    return _normalized(call, flow, (*vectors, zero, ones), eps)


def _residual(call: Call, flows: list[Flow]) -> Flow:
    """x + what the layers since x make of it."""
    chain = call.chain
    before, head = sorted(flows, key=lambda flow: flow.step)
    chain.head(head)
    if call.node.op != "Add" or before.step == head.step:
        raise MisfitError("it joins two outputs, expected an Add of what layers read and give")
    if before.axes != head.axes or before.width not in (None, head.width):
        raise MisfitError("it adds outputs of different shapes")
    inner = tuple(chain.made[before.step :])
    del chain.made[before.step :]
    return chain.add(Made("Residual", {}, {}, {}, call.node.name, False, inner), head)


LAYERS: Mapping[str, Callable[[Call], Any]] = {
    **SHAPES,
    **STEPS,
    **LENGTHS,
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "MatMul": _linear,
    "Linear": _linear,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Clip": _clip,
    "Gelu": _gelu,
    "Selu": _selu,
    "Relu": _plain("relu"),
    "Tanh": _plain("tanh"),
    "Sigmoid": _plain("sigmoid"),
    "Silu": _plain("silu"),
    "Mish": _plain("mish"),
    "HardSwish": _plain("hard_swish"),
    "Softplus": _plain("softplus"),
    "Softsign": _plain("softsign"),
    "Exp": _plain("exponential"),
    "Elu": _with_alpha("elu", ("alpha", 1.0)),
    "Celu": _with_alpha("celu", ("alpha", 1.0)),
    "LeakyRelu": _with_alpha("leaky_relu", ("alpha", 0.01)),
    "ThresholdedRelu": _with_alpha("thresholded_relu", ("alpha", 1.0)),
    "HardSigmoid": _with_alpha("hard_sigmoid", ("alpha", 0.2), ("beta", 0.5)),
}
