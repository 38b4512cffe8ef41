"""What graphs reckon from lengths: masks of steps, and pools over a row's own steps.

A model with lengths does of itself what these nodes are for, so they come to nothing, or to one
layer, where every layer over time reads the lengths: a graph in which one does not goes on with
numbers from past a row's end, which the model would not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore.convert.onnx_chain import Call
from rnncore.convert.onnx_steps import pooled
from rnncore.convert.onnx_values import Const, Dims, Flow, LengthsIn, MisfitError, OfLengths, Pooled

__all__ = ["LENGTHS", "reckoned"]

# By operator, what the first input is and the number that is the second: what the output is.
_WITH_NUMBER = {
    ("Max", "length", 1): "count",
    ("Sub", "length", 1): "place",
    ("Max", "place", 0): "last",
    ("Greater", "length", 0): "any",
}


def reckoned(call: Call) -> Any:
    """What arithmetic on lengths gives; None where it is on something else."""
    a, b = call.input(0), call.input(1)
    if isinstance(a, Pooled):
        if call.node.op == "Div" and a.kind == "mean" and _of_rows(b, "count"):
            return _finished(call, a, b.name)
        raise MisfitError("it reads a sum of a row's steps, expected a division by their number")
    if isinstance(a, LengthsIn) and a.axes is not None:
        a = OfLengths(a.name, "length", a.axes)
    number = _number(b)
    if not isinstance(a, OfLengths) or number is None:
        return None
    what = _WITH_NUMBER.get((call.node.op, a.what, int(number)))
    return None if what is None or number != int(number) else a._replace(what=what)


def _compared(call: Call) -> Any:
    """Max and Greater."""
    found = reckoned(call)
    if found is None:
        raise MisfitError("no layer here is made of this operator")
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, Const) and value.array.size == 1 and value.array.dtype.kind in "iuf":
        number = float(value.array.ravel()[0])
        return number if abs(number) < 1e9 or number == -np.inf else None
    return None


def _of_rows(value: Any, what: str) -> bool:
    """Whether it is this, as (B, 1)."""
    return isinstance(value, OfLengths) and value.what == what and value.axes == ("B", "-")


def _range(call: Call) -> Any:
    """0, 1, ... up to the steps of the input."""
    start, limit, delta = call.inputs
    steps = limit.sizes[0] if isinstance(limit, Dims) and len(limit.sizes) == 1 else None
    if (_number(start), _number(delta)) != (0, 1) or steps is None or steps.factor != 1:
        raise MisfitError("it counts other than the steps of the input")
    if len(steps.axes) != 1:
        raise MisfitError("it counts other than the steps of the input")
    return OfLengths("", "steps", steps.axes)


def _less(call: Call) -> Any:
    """Which steps are within the lengths: of (T, 1, 1) and (B, 1), in whatever order."""
    steps, lengths = call.inputs
    of_steps = isinstance(steps, OfLengths) and isinstance(lengths, LengthsIn)
    if not of_steps or steps.what != "steps" or lengths.axes is None:
        raise MisfitError("it compares other than places of steps with lengths")
    n = max(len(steps.axes), len(lengths.axes))
    pairs = zip(*(("-",) * (n - len(v.axes)) + v.axes for v in (steps, lengths)), strict=True)
    axes = []
    for a, b in pairs:
        if "-" not in (a, b):
            raise MisfitError("it compares places of steps with lengths along one axis")
        axes.append(b if a == "-" else a)
    return OfLengths(lengths.name, "within", tuple(axes))


def _where(call: Call) -> Any:
    condition, value, other = call.inputs
    number = _number(other)
    if isinstance(value, Pooled) and value.kind != "mean" and _of_rows(condition, "any"):
        if number == 0:
            return _finished(call, value, condition.name)
    elif isinstance(condition, OfLengths) and condition.what == "within" and number in (0, -np.inf):
        flow = call.chain.head(value)
        _check_mask(call, condition, flow)
        call.chain.set_lengths(condition.name, call.node)
        return flow._replace(fill=number)
    raise MisfitError("it chooses by other than the lengths of the rows")


def _check_mask(call: Call, mask: OfLengths, flow: Flow) -> None:
    """Whether its steps and rows are those of the output of a layer."""
    axes = ("-",) * (len(flow.axes) - len(mask.axes)) + mask.axes
    steps = [axis for axis in axes if axis in ("0", "1")]
    rows = {"0": "1", "1": "0"}
    fits = len(axes) == len(flow.axes) and len(steps) == 1 and axes.count("B") == 1
    for axis, own in zip(axes, flow.axes, strict=False):
        expected = {"-": own, "B": rows[steps[0]] if steps else ""}.get(axis, axis)
        fits = fits and own == expected
    if not fits:
        raise MisfitError("its mask has other axes than the output of the layer")
    call.chain.set_time(steps[0])


def _finished(call: Call, found: Pooled, lengths: str) -> Flow:
    """A pool over a row's own steps, once all nodes that it is written as have been read."""
    call.chain.set_lengths(lengths, call.node)
    flow = found.flow._replace(fill=None)
    return pooled(call, call.chain.head(flow), found.axis, found.kind, keep=False, heeds=True)


def _gather_nd(call: Call) -> Pooled:
    """A row's last step, of (B, T, C)."""
    flow, places = call.chain.head(call.input(0)), call.input(1)
    if call.node.attributes.get("batch_dims", 0) != 1 or not _of_rows(places, "last"):
        raise MisfitError("it takes other steps than the last of each row")
    if len(flow.axes) != 3 or flow.axes[2] != "F":
        raise MisfitError("it does not go over time, of rows, steps and features")
    return Pooled("last", flow, 1)


def _reverse_sequence(call: Call) -> Flow:
    flow, lengths = call.chain.head(call.input(0)), call.input(1)
    a = call.node.attributes
    time, batch = a.get("time_axis", 0), a.get("batch_axis", 1)
    if not isinstance(lengths, LengthsIn) or {time, batch} != {0, 1} or len(flow.axes) < 2:
        raise MisfitError("it does not turn each row's steps around by the lengths")
    call.chain.set_time(flow.axes[time])
    call.chain.set_batch(flow.axes[batch])
    call.chain.set_lengths(lengths.name, call.node)
    return call.chain.add(call.made("Reverse", {}, timed=True), flow)


LENGTHS: Mapping[str, Callable[[Call], Any]] = {
    "GatherND": _gather_nd,
    "Greater": _compared,
    "Less": _less,
    "Max": _compared,
    "Range": _range,
    "ReverseSequence": _reverse_sequence,
    "Where": _where,
}
