"""Nodes that look at places, along time or another axis: steps, pools, convolutions, tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from rnncore.convert.onnx_chain import Call
from rnncore.convert.onnx_shapes import axes_of, ints_of, kept, product_of_sizes
from rnncore.convert.onnx_values import Const, Dims, Flow, Made, MisfitError, Pooled, StateOut

__all__ = ["STEPS", "pooled"]

_END = (1 << 31) - 1  # what exporters write for the end of any axis, or more


def _embedding(call: Call, flow: Flow) -> Flow:
    weight = call.constant(0, "weight")
    if weight.ndim != 2 or call.node.attributes.get("axis", 0) != 0:
        raise MisfitError("it takes no rows of a table")
    if "F" in flow.axes:
        raise MisfitError("it reads ids that another layer made")
    options = {"num_embeddings": len(weight), "embedding_dim": weight.shape[1]}
    made = call.made("Embedding", options, {"weight": weight})
    return call.chain.add(made, flow, axes=(*flow.axes, "F"), width=weight.shape[1])


def _gather(call: Call) -> Any:
    data, indices, axis = call.inputs[0], call.inputs[1], call.node.attributes.get("axis", 0)
    if isinstance(data, Const) and isinstance(indices, Flow):
        return _embedding(call, call.chain.head(indices))
    if not isinstance(data, Flow):
        return _gathered_sizes(call, data, indices)
    where = ints_of(indices, "indices")
    axis = axis % len(data.axes)
    rank = indices.array.ndim if isinstance(indices, Const) else 1
    if rank > 1:
        raise MisfitError(f"its indices have {rank} axes, expected none or one")
    if data.axes[axis] in ("D", "-") and where in ([0], [-1]) and data.directions == 1:
        kept_axes = ("-",) * rank
        return data._replace(axes=data.axes[:axis] + kept_axes + data.axes[axis + 1 :])
    return _one_step(call, axis, where, keep=rank == 1)


def _gathered_sizes(call: Call, data: Any, indices: Any) -> Any:
    if isinstance(data, Dims):
        where = ints_of(indices, "indices")
        scalar = isinstance(indices, Const) and indices.array.ndim == 0
        return Dims(tuple(data.sizes[k] for k in where), scalar)
    if isinstance(data, StateOut) and data.lasts:
        last = data.lasts[ints_of(indices, "indices")[0]]
        if last is None:
            return StateOut()
        axis = last.axes.index("D") if "D" in last.axes else 0
        return StateOut((last._replace(axes=last.axes[:axis] + last.axes[axis + 1 :]),))
    return kept(data)


def _slice(call: Call) -> Any:
    data, a = call.inputs[0], call.node.attributes
    if call.opset < 10:
        starts, ends = list(a.get("starts", [])), list(a.get("ends", []))
        axes, steps = a.get("axes"), [1] * len(starts)
    else:
        if not isinstance(data, Flow) and not isinstance(data, Dims):
            return kept(data)
        starts, ends = ints_of(call.inputs[1], "starts"), ints_of(call.inputs[2], "ends")
        axes = None if call.input(3) is None else ints_of(call.input(3), "axes")
        steps = [1] * len(starts) if call.input(4) is None else ints_of(call.input(4), "steps")
    if isinstance(data, Dims):
        return data._replace(sizes=data.sizes[starts[0] : ends[0] : steps[0]])
    if not isinstance(data, Flow):
        return kept(data)
    axes = list(range(len(starts))) if axes is None else list(axes)
    if len(axes) != 1 or len(starts) != 1:
        raise MisfitError("it cuts more than one axis")
    axis, start, end = axes[0] % len(data.axes), starts[0], ends[0]
    if start == 0 and end >= _END and steps[0] == 1:
        return data
    if data.axes[axis] in ("0", "1") and (start, end, steps[0]) == (-1, -(1 << 63) + 1, -1):
        return _reversed(call, data, axis)
    if start == -1 and steps[0] == 1 and end >= _END:
        return _one_step(call, axis, [-1], keep=True)
    if start == 0 and end == 1 and steps[0] == 1:
        return _one_step(call, axis, [0], keep=True)
    raise MisfitError(f"it takes the places {start} to {end}, expected the first or the last alone")


def _reversed(call: Call, flow: Flow, axis: int) -> Flow:
    flow = call.chain.head(flow)
    call.chain.set_time(flow.axes[axis])
    call.chain.set_blind(call.node)
    return call.chain.add(call.made("Reverse", {}, timed=True), flow)


def _one_step(call: Call, axis: int, where: list[int], *, keep: bool) -> Flow:
    flow = call.chain.head(call.inputs[0])
    kinds = {-1: "last", 0: "first"}
    if len(where) != 1 or where[0] not in kinds:
        raise MisfitError(f"it takes the places {where[:8]}, expected the first or the last alone")
    return pooled(call, flow, axis, kinds[where[0]], keep=keep)


def pooled(
    call: Call, flow: Flow, axis: int, kind: str, *, keep: bool, heeds: bool = False
) -> Flow:
    """A pool over all steps; `heeds`: over a row's own."""
    call.chain.set_time(flow.axes[axis])
    if not heeds and kind != "first":
        call.chain.set_blind(call.node)
    if flow.axes[-1] != "F" and "F" not in flow.axes:
        raise MisfitError("it takes steps of what has no features")
    axes = flow.axes[:axis] + (("-",) if keep else ()) + flow.axes[axis + 1 :]
    return call.chain.add(call.made("Pool", {"kind": kind}, timed=True), flow, axes=axes)


def _reduced(call: Call) -> Any:
    """ReduceMean and ReduceMax over time; with ReduceSum and ReduceProd, over directions."""
    op, flow = call.node.op, call.input(0)
    if op == "ReduceProd" and not isinstance(flow, Flow):
        return product_of_sizes(call)
    fill = flow.fill if isinstance(flow, Flow) else None
    if fill is not None:
        flow = flow._replace(fill=None)
    flow, axes = call.chain.head(flow), axes_of(call, 13)
    keep = bool(call.node.attributes.get("keepdims", 1))
    if axes is None or len(axes) != 1:
        raise MisfitError("it goes over more than one axis")
    axis = axes[0] % len(flow.axes)
    merges = {"ReduceMean": "ave", "ReduceSum": "sum", "ReduceProd": "mul"}
    if flow.axes[axis] == "D" and op in merges and flow.directions == 2:
        return _merged(call, flow, axis, merges[op], keep)
    masked: dict[Any, str] = {("ReduceSum", 0): "mean", ("ReduceMax", -math.inf): "max"}
    own = masked.get((op, fill))
    if own is not None and flow.axes[axis] in ("0", "1") and not keep:
        return Pooled(own, flow, axis)
    if fill not in (None, 0):
        raise MisfitError("it reads what is masked for a maximum over steps, which it is not")
    kinds = {"ReduceMean": "mean", "ReduceMax": "max"}
    if op not in kinds:
        raise MisfitError("it does not put the two directions of a layer together")
    return pooled(call, flow, axis, kinds[op], keep=keep)


def _merged(call: Call, flow: Flow, axis: int, merge: str, keep: bool) -> Flow:
    """The two directions of the last layer as one."""
    chain = call.chain
    layer = chain.made.pop()
    axes = flow.axes[:axis] + (("-",) if keep else ()) + flow.axes[axis + 1 :]
    made = Made("Bidirectional", {"merge": merge}, {}, {}, layer.name, True, (layer,))
    return chain.add(made, flow, axes=axes, directions=1)


# Windows


def _conv(call: Call) -> Flow:
    """Conv over time, of (batch, features, time)."""
    a, chain = call.node.attributes, call.chain
    flow = call.input(0)
    pads = flow.pads if isinstance(flow, Flow) else (0, 0)
    flow = chain.head(flow._replace(pads=(0, 0)) if isinstance(flow, Flow) else flow)
    weight, bias = call.constant(1, "weight"), call.optional(2, "bias")
    if weight.ndim != 3 or len(flow.axes) != 3 or flow.axes[1] != "F":
        raise MisfitError("it does not go over time, of rows, features and steps")
    if a.get("group", 1) != 1:
        raise MisfitError(f"it has group {a['group']}, expected 1")
    _bind(call, flow)
    M, C, K = weight.shape
    if flow.width not in (None, C):
        raise MisfitError(f"it reads {C} features, and {flow.width} come")
    stride, dilation = (a.get("strides") or [1])[0], (a.get("dilations") or [1])[0]
    auto = a.get("auto_pad", "NOTSET")
    padding: Any = "same"
    if auto in ("NOTSET", "VALID", ""):
        before, after = a.get("pads") or (0, 0) if auto != "VALID" else (0, 0)
        padding = (before + pads[0], after + pads[1])
        if padding == (0, 0):
            padding = "valid"
        elif padding == (dilation * (K - 1), 0):
            padding = "causal"
    elif auto != "SAME_UPPER" or pads != (0, 0):
        raise MisfitError(f"it has auto_pad {auto!r}")
    options = {
        "in_channels": C, "out_channels": M, "kernel_size": K, "stride": stride,
        "padding": padding, "dilation": dilation, "bias": bias is not None,
    }  # fmt: skip
    made = call.made("Conv1d", options, {"weight": weight, "bias": bias}, timed=True)
    return chain.add(made, flow, width=M)


def _bind(call: Call, flow: Flow) -> None:
    """Time and batch of (batch, features, time), of which windows go over all steps."""
    call.chain.set_blind(call.node)
    call.chain.set_batch(flow.axes[0])
    call.chain.set_time(flow.axes[2])


def _window(call: Call) -> Flow:
    """MaxPool and AveragePool over time; what is padded with does not count."""
    a, flow = call.node.attributes, call.chain.head(call.input(0))
    kernel = list(a.get("kernel_shape", []))
    if len(kernel) != 1 or len(flow.axes) != 3 or flow.axes[1] != "F":
        raise MisfitError("it does not go over time, of rows, features and steps")
    auto = a.get("auto_pad", "NOTSET")
    same = auto == "SAME_UPPER" and not a.get("count_include_pad", 0)
    plain = auto == "VALID" or (auto == "NOTSET" and not any(a.get("pads") or ()))
    if not (plain or same) or a.get("ceil_mode", 0) or list(a.get("dilations") or [1]) != [1]:
        raise MisfitError("it pads, or spreads its windows, which no layer here does")
    _bind(call, flow)
    kind = "max" if call.node.op == "MaxPool" else "mean"
    options = {"kind": kind, "window": kernel[0], "stride": (a.get("strides") or [1])[0]}
    options["padding"] = "same" if same else "valid"
    return call.chain.add(call.made("Pool", options, timed=True), flow)


def _whole(kind: str) -> Callable[[Call], Flow]:
    def layer(call: Call) -> Flow:
        flow = call.chain.head(call.input(0))
        if len(flow.axes) != 3 or flow.axes[1] != "F":
            raise MisfitError("it does not go over time, of rows, features and steps")
        return pooled(call, flow, 2, kind, keep=True)

    return layer


def _pad(call: Call) -> Flow:
    """Steps of zeros before a convolution."""
    flow = call.chain.head(call.input(0))
    a = call.node.attributes
    pads = list(a["pads"]) if "pads" in a else ints_of(call.input(1), "pads")
    value = call.input(2)
    zero = value is None or (isinstance(value, Const) and not value.array.any())
    n = len(flow.axes)
    if a.get("mode", "constant") != "constant" or not zero or len(pads) != 2 * n:
        raise MisfitError("it does not pad with steps of zeros")
    padded = [k for k in range(n) if pads[k] or pads[n + k]]
    if not padded:
        return flow
    if len(padded) > 1 or flow.axes[padded[0]] not in ("0", "1") or min(pads) < 0:
        raise MisfitError("it does not pad along time alone")
    call.chain.set_time(flow.axes[padded[0]])
    return flow._replace(pads=(pads[padded[0]], pads[n + padded[0]]))


STEPS: Mapping[str, Callable[[Call], Any]] = {
    "AveragePool": _window,
    "Conv": _conv,
    "Gather": _gather,
    "GlobalAveragePool": _whole("mean"),
    "GlobalMaxPool": _whole("max"),
    "MaxPool": _window,
    "Pad": _pad,
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum"), _reduced),
    "Slice": _slice,
}
