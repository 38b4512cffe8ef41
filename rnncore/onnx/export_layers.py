"""Layers as nodes: what each kind of layer of a model writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore._cells.activations import FUNCTIONS, resolve
from rnncore.convert import layouts
from rnncore.convert.onnx_made import below
from rnncore.layers import GRU, LSTM, RNN
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.chain import Chain
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.residual import Residual
from rnncore.models.reverse import Reverse
from rnncore.onnx.export_functions import function_nodes, layer_norm_nodes
from rnncore.onnx.export_nodes import Value, Writer

__all__ = ["layer_nodes"]


def layer_nodes(writer: Writer, layer: Any, x: Value, at: str) -> Value:
    """The nodes of a layer, and what it gives.

    Raises
    ------
    ValueError for a layer, or an option of one, that ONNX's operators do not have.
    """
    for kind, write in _KINDS.items():
        if isinstance(layer, kind):
            return write(writer, layer, x, at)
    raise ValueError(
        f"layer {at} is of type {type(layer).__name__}, which ONNX's operators do not have:"
        f" expected {', '.join(kind.__name__ for kind in _KINDS)}"
    )


# Recurrent layers


def _recurrent(writer: Writer, layer: Any, x: Value, at: str) -> Value:
    return _with_directions(writer, layer, x, at, None)


def _with_directions(writer: Writer, layer: Any, x: Value, at: str, merge: str | None) -> Value:
    """A node for each layer of the stack; the last one's directions side by side, or merged."""
    _check_options(layer, at)
    first = x.axes[0]
    x = writer.turned(x, "TBC", at)
    L, D = layer.num_layers, layer.num_directions
    starts = _starts(writer, layer, at)
    ends: list[list[str]] = [[] for _ in layer._widths]
    for k in range(L):
        W, R, B, P = _weights(writer, layer, at, k)
        inputs = [x.name, W, R, B, writer.lengths or "", *(own[k] for own in starts), P]
        while not inputs[-1]:
            inputs.pop()
        kind = type(layer).__name__
        outputs = [writer.name(f"{at}/{name}_{k}") for name in ("Y", "Y_h", "Y_c")]
        found = writer.node(
            kind, inputs, outputs[: 1 + len(ends)], at=f"{at}/l{k}", **_attributes(layer)
        )
        for own, name in zip(ends, found[1:], strict=True):
            own.append(name)
        x = _side_by_side(writer, found[0], D, layer.hidden_size, at, merge if k == L - 1 else None)
    writer.state_outputs[at] = [
        own[0] if L == 1 else writer.one("Concat", *own, at=at, axis=0) for own in ends
    ]
    return writer.turned(x, "BTC", at) if first == "B" else x


def _check_options(layer: Any, at: str) -> None:
    wrong = {"proj_size": 0, "peephole": (None, "current")}
    for name, allowed in wrong.items():
        value = getattr(layer, name, None)
        if value is None or value == allowed or (isinstance(allowed, tuple) and value in allowed):
            continue
        expected = "0" if name == "proj_size" else "None or 'current'"
        raise ValueError(
            f"layer {at} has {name} {value!r}, expected {expected}: ONNX's LSTM has nothing else"
        )


def _weights(writer: Writer, layer: Any, at: str, k: int) -> list[str]:
    """W, R, B and P; "" for what there is not."""
    kind = type(layer).__name__
    arrays = layouts.to_onnx(kind, layer.params, f"_l{k}")
    W, R, B, P = (
        "" if array is None else writer.constant(f"{at}.{name}_l{k}", array)
        for name, array in zip("WRBP", arrays, strict=True)
    )
    return [W, R, B, P]


def _starts(writer: Writer, layer: Any, at: str) -> list[list[str]]:
    """For each state the names of the initial ones of all layers."""
    L, D = layer.num_layers, layer.num_directions
    given = writer.state_inputs.get(at)
    if given is None:
        return [[""] * L for _ in layer._widths]
    if L == 1:
        return [[name] for name in given]
    return [writer.node("Split", [name, writer.ints(*[D] * L)], L, at=at, axis=0) for name in given]


def _attributes(layer: Any) -> dict[str, Any]:
    D = layer.num_directions
    found: dict[str, Any] = {"hidden_size": layer.hidden_size}
    found["direction"] = "bidirectional" if D == 2 else "forward"
    if layer.clip is not None:
        found["clip"] = layer.clip
    if isinstance(layer, GRU):
        found["linear_before_reset"] = int(layer.reset == "after")
    if isinstance(layer, LSTM) and layer.coupled:
        found["input_forget"] = 1
    functions = resolve(layer.activations, layer._kind.own_functions(layer.options))
    if layer.activations is not None or (isinstance(layer, RNN) and layer.nonlinearity == "relu"):
        found["activations"] = [function.name for function in functions] * D
        takes = {what: [] for what in ("alpha", "beta")}  # type: ignore[var-annotated]
        for function in functions * D:
            for what in FUNCTIONS[function.name].takes:
                takes[what].append(getattr(function, what))
        found |= {f"activation_{what}": values for what, values in takes.items() if values}
    return found


def _side_by_side(writer: Writer, Y: str, D: int, H: int, at: str, merge: str | None) -> Value:
    """y (T, B, DH) of Y (T, D, B, H)."""
    if D == 1:
        return Value(writer.squeezed(Y, 1, at), "TBC")
    if merge not in (None, "concat"):
        ops = {"sum": "ReduceSum", "ave": "ReduceMean", "mul": "ReduceProd"}
        assert merge is not None
        return writer.reduced(ops[merge], Value(Y, "TDBC"), "D", at)
    turned = writer.one("Transpose", Y, at=at, perm=[0, 2, 1, 3])
    return Value(writer.one("Reshape", turned, writer.ints(0, 0, D * H), at=at), "TBC")


def _bidirectional(writer: Writer, layer: Bidirectional, x: Value, at: str) -> Value:
    return _with_directions(writer, layer.layer, x, at, layer.merge)


# Rows of features


def _embedding(writer: Writer, layer: Embedding, x: Value, at: str) -> Value:
    weight = writer.constant(f"{at}.weight", layer.params["weight"])
    return Value(writer.one("Gather", weight, x.name, at=at, axis=0), x.axes + "C")


def _linear(writer: Writer, layer: Linear, x: Value, at: str) -> Value:
    weight = writer.constant(f"{at}.weight", np.ascontiguousarray(layer.params["weight"].T))
    name = writer.one("MatMul", x.name, weight, at=at)
    if layer.bias:
        name = writer.one("Add", name, writer.constant(f"{at}.bias", layer.params["bias"]), at=at)
    return Value(name, x.axes)


def _activation(writer: Writer, layer: Activation, x: Value, at: str) -> Value:
    return function_nodes(writer, layer._function, x, at)


def _dropout(writer: Writer, layer: Dropout, x: Value, at: str) -> Value:
    return x


def _layer_norm(writer: Writer, layer: LayerNorm, x: Value, at: str) -> Value:
    weight, bias = layer.params.get("weight"), layer.params.get("bias")
    return layer_norm_nodes(writer, x, layer.eps, weight, bias, layer.size, at)


def _batch_norm(writer: Writer, layer: BatchNorm, x: Value, at: str) -> Value:
    """The operator has its features second: of (T, B, C) the rows take part as its places."""
    arrays = {**layer.params, **layer.buffers}
    arrays.setdefault("weight", np.ones(layer.size, writer.dtype))
    arrays.setdefault("bias", np.zeros(layer.size, writer.dtype))
    order = ("weight", "bias", "running_mean", "running_var")
    names = [writer.constant(f"{at}.{name}", arrays[name]) for name in order]
    axes = x.axes
    if len(axes) == 3:
        x = writer.turned(x, axes[0] + "C" + axes[1], at)
    name = writer.one("BatchNormalization", x.name, *names, at=at, epsilon=layer.eps)
    return writer.turned(Value(name, x.axes), axes, at)


# Steps


def _conv(writer: Writer, layer: Conv1d, x: Value, at: str) -> Value:
    _no_lengths(writer, layer, at)
    axes, reach = x.axes, layer.dilation * (layer.kernel_size - 1)
    padding: Any = layer.padding
    attributes: dict[str, Any] = {
        "strides": [layer.stride],
        "dilations": [layer.dilation],
        "kernel_shape": [layer.kernel_size],
    }
    if padding == "same":
        attributes["auto_pad"] = "SAME_UPPER"
    else:
        pads = (
            {"valid": (0, 0), "causal": (reach, 0)}.get(padding)
            if isinstance(padding, str)
            else ((padding, padding) if isinstance(padding, int) else tuple(padding))
        )
        attributes["pads"] = list(pads or ())
    names = [writer.constant(f"{at}.{name}", array) for name, array in layer.params.items()]
    x = writer.turned(x, "BCT", at)
    name = writer.one("Conv", x.name, *names, at=at, **attributes)
    return writer.turned(Value(name, "BCT"), axes, at)


def _no_lengths(writer: Writer, layer: Any, at: str) -> None:
    if writer.lengths is not None:
        raise ValueError(
            f"layer {at} is of type {type(layer).__name__} and changes lengths, expected"
            " lengths=False to export it"
        )


def _pool(writer: Writer, layer: Pool, x: Value, at: str) -> Value:
    if layer.window is not None:
        _no_lengths(writer, layer, at)
        op = "MaxPool" if layer.kind == "max" else "AveragePool"
        window, axes = layer.window, x.axes
        x = writer.turned(x, "BCT", at)
        how: dict[str, Any] = {"kernel_shape": [window], "strides": [layer.stride or window]}
        if layer.padding == "same":
            how["auto_pad"] = "SAME_UPPER"
        name = writer.one(op, x.name, at=at, **how)
        return writer.turned(Value(name, "BCT"), axes, at)
    if writer.lengths is not None and layer.kind != "first":
        return _pool_of_rows(writer, layer.kind, x, at)
    if layer.kind in ("last", "first"):
        place = np.array(-1 if layer.kind == "last" else 0, np.int64)
        index = writer.constant(f"{at}.place", place)
        name = writer.one("Gather", x.name, index, at=at, axis=x.axes.index("T"))
        return Value(name, x.axes.replace("T", ""))
    return writer.reduced("ReduceMean" if layer.kind == "mean" else "ReduceMax", x, "T", at)


def _pool_of_rows(writer: Writer, kind: str, x: Value, at: str) -> Value:
    """Of every row's own steps; a row without any gives 0."""
    assert writer.lengths is not None
    lengths = writer.one("Cast", writer.lengths, at=at, to=7)
    one, zero = (writer.constant(f"int_{k}", np.array(k, np.int64)) for k in (1, 0))
    if kind == "mean":
        total = writer.reduced("ReduceSum", writer.masked(x, at), "T", at)
        some = writer.one("Max", lengths, one, at=at)
        count = writer.one("Cast", some, at=at, to=11 if writer.dtype == np.float64 else 1)
        count = writer.one("Unsqueeze", count, writer.ints(1), at=at)
        return Value(writer.one("Div", total.name, count, at=at), "BC")
    if kind == "max":
        y = writer.reduced("ReduceMax", writer.masked(x, at, -np.inf), "T", at).name
    else:
        x = writer.turned(x, "BTC", at)
        places = writer.one("Max", writer.one("Sub", lengths, one, at=at), zero, at=at)
        places = writer.one("Unsqueeze", places, writer.ints(1), at=at)
        y = writer.one("GatherND", x.name, places, at=at, batch_dims=1)
    there = writer.one("Greater", lengths, zero, at=at)
    there = writer.one("Unsqueeze", there, writer.ints(1), at=at)
    return Value(writer.one("Where", there, y, writer.number(0.0), at=at), "BC")


def _reverse(writer: Writer, layer: Reverse, x: Value, at: str) -> Value:
    time = x.axes.index("T")
    if writer.lengths is not None:
        lengths = writer.one("Cast", writer.lengths, at=at, to=7)
        name = writer.one(
            "ReverseSequence", x.name, lengths, at=at, time_axis=time, batch_axis=1 - time
        )
        return Value(name, x.axes)
    first = -(1 << 63) + 1  # before any place
    names = [writer.ints(number) for number in (-1, first, time, -1)]
    return Value(writer.one("Slice", x.name, *names, at=at), x.axes)


# Layers of layers


def _residual(writer: Writer, layer: Residual, x: Value, at: str) -> Value:
    y = _chain(writer, layer, x, at)
    return Value(writer.one("Add", x.name, writer.turned(y, x.axes, at).name, at=at), x.axes)


def _chain(writer: Writer, layer: Chain, x: Value, at: str) -> Value:
    for name, member in zip(layer.names, layer, strict=True):
        x = layer_nodes(writer, member, x, below(at, name))
    return x


_KINDS: Mapping[Any, Callable[[Writer, Any, Value, str], Value]] = {
    **dict.fromkeys((RNN, GRU, LSTM), _recurrent),
    Bidirectional: _bidirectional,
    Embedding: _embedding,
    Linear: _linear,
    Activation: _activation,
    Dropout: _dropout,
    LayerNorm: _layer_norm,
    BatchNorm: _batch_norm,
    Conv1d: _conv,
    Pool: _pool,
    Reverse: _reverse,
    Residual: _residual,
    Chain: _chain,
}
