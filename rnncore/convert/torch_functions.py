"""What PyTorch's operators that norm, or are a function, are as layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rnncore.convert import flow, made
from rnncore.convert.flow import Refusal, Value
from rnncore.convert.torch_modules import other_softplus
from rnncore.convert.torch_node import Call
from rnncore.convert.torch_ops import activation, reads
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.layer_norm import LayerNorm


@reads("layer_norm")
def layer_norm(call: Call) -> Value:
    size, eps = call.args[1], call.arg(4, "eps", 1e-5)
    if len(size) != 1:
        raise Refusal(f"it normalises the last {len(size)} axes, expected 1")
    weight, bias = (
        call.array(call.arg(2, "weight"), "weight"),
        call.array(call.arg(3, "bias"), "bias"),
    )
    if (weight is None) != (bias is None):
        there = weight if weight is not None else bias
        assert there is not None
        weight = np.ones_like(there) if weight is None else weight
        bias = np.zeros_like(there) if bias is None else bias
    x = call.x.channels(-1)

    def make(batch_first: bool) -> Any:
        if weight is None:
            return LayerNorm(size[0], eps=eps, affine=False, dtype=call.source.dtype)
        return made.part(
            LayerNorm, {"weight": weight, "bias": bias}, own=True, size=size[0], eps=eps
        )

    return x.then(call.layer(), make, x.entries)


@reads("_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "native_batch_norm")
def batch_norm(call: Call) -> tuple[Value | None, ...]:
    if call.op != "_native_batch_norm_legit_no_training":
        raise Refusal("it has no running mean and variance, and takes those of what comes in")
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: call.array(call.arg(k + 1, name), name) for k, name in enumerate(names)}
    mean = arrays["running_mean"]
    assert mean is not None
    size, affine, eps = len(mean), arrays["weight"] is not None, call.arg(6, "eps")
    momentum = call.arg(5, "momentum") or 0.0
    x = call.x.channels(1)

    def make(batch_first: bool) -> Any:
        return made.part(
            BatchNorm, arrays, own=True, size=size, eps=eps, momentum=momentum, affine=affine
        )

    return x.then(call.layer("batch_norm"), make, x.entries), None, None


_PLAIN = {
    "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "silu": "silu", "mish": "mish",
    "selu": "selu", "relu6": "relu6", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_swish",
    "softsign": "softsign", "log_sigmoid": "log_sigmoid", "exp": "exponential",
}  # fmt: skip


def _function(call: Call) -> Any:
    """What `Activation` calls the operator's function; Refusal where it has none."""
    op = call.op
    if op == "hardsigmoid":
        return ("hard_sigmoid", 1 / 6, 0.5)
    if op in _PLAIN:
        return _PLAIN[op]
    if op == "gelu":
        return "gelu" if call.options.get("approximate", "none") == "none" else "gelu_tanh"
    if op == "leaky_relu":
        return ("leaky_relu", float(call.arg(1, "negative_slope", 0.01)))
    if op in ("elu", "celu"):
        if op == "elu" and (call.arg(2, "scale", 1) != 1 or call.arg(3, "input_scale", 1) != 1):
            raise Refusal("it is scaled")
        return (op, float(call.arg(1, "alpha", 1.0)))
    if op == "softplus":
        if told := other_softplus(call.arg(1, "beta", 1), call.arg(2, "threshold", 20)):
            raise Refusal(f"it has {told}")
        return "softplus"
    if op in ("hardtanh", "clamp"):
        low, high = call.arg(1, "min_val"), call.arg(2, "max_val")
        if op == "hardtanh":
            low, high = (-1 if low is None else low), (1 if high is None else high)
        if low == 0 and high is None:
            return "relu"
        if not all(isinstance(end, int | float) for end in (low, high)):
            raise Refusal("it has one bound, expected two numbers")
        return "relu6" if (low, high) == (0, 6) else ("hard_tanh", float(low), float(high))
    if op == "threshold" and call.arg(2, "value") == 0:
        return ("thresholded_relu", float(call.arg(1, "threshold")))
    raise Refusal("no function of rnncore's Activation is like it")


@reads(*_PLAIN, "gelu", "leaky_relu", "elu", "celu", "softplus", "hardtanh", "threshold", "clamp")
def function(call: Call) -> Value:
    return call.x.then(call.layer(), activation(_function(call)), call.x.entries, flow.POINTWISE)


@reads("softmax", "log_softmax", "_softmax", "_log_softmax", "softmin")
def softmax(call: Call) -> Value:
    if call.op == "softmin":
        raise Refusal("no function of rnncore's Activation is like it")
    x = call.x.channels(call.arg(1, "dim"))
    return x.then(call.layer(), activation(call.op.lstrip("_")), x.entries)


@reads("prelu")
def prelu(call: Call) -> Value:
    weight = call.array(call.args[1], "weight")
    if weight is None or weight.size != 1 or not math.isfinite(weight.item()):
        raise Refusal("it has a slope for each feature, expected one")
    made_of = activation(("leaky_relu", float(weight.item())))
    return call.x.then(call.layer(), made_of, call.x.entries)
