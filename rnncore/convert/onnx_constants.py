"""What depends on no input of a model, computed ahead: weights often are pieces of others.

Only operators that give no more than can be told in advance are computed, since a small file can
ask for any memory; all others stay nodes.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rnncore.convert.onnx_graph import Graph, Node
from rnncore.convert.onnx_ops import evaluator

__all__ = ["folded", "output_bytes"]

_MOST_BYTES = 1 << 28  # of what is made of constants, for each file
_MOST_AT_ONCE = 1 << 27


def folded(graph: Graph, opsets: Mapping[str, int], around: Mapping[str, Any]) -> Graph:
    """A graph with its constant nodes among the constants; graphs within stay as they are.

    `around` are the constants of the graphs that it lies in.
    """
    constants = dict(graph.constants)
    known: Mapping[str, Any] = ChainMap(constants, dict(around)) if around else constants
    left, room = [], _MOST_BYTES + sum(array.nbytes for array in constants.values())
    for node in graph.nodes:
        found = _constant(node, opsets, known)
        size = sum(_nbytes(value) for value in found or ())
        if found is None or size > room:
            left.append(node)
            continue
        room -= size
        constants.update((name, v) for name, v in zip(node.outputs, found, strict=False) if name)
    return graph._replace(nodes=tuple(left), constants=constants)


def _nbytes(value: Any) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else 0


def _constant(
    node: Node, opsets: Mapping[str, int], constants: Mapping[str, Any]
) -> Sequence[Any] | None:
    """The outputs of a node of constants; None where it is none, or is not to be computed."""
    if node.domain or any(name not in constants for name in node.inputs if name):
        return None
    inputs = [constants[name] if name else None for name in node.inputs]
    if node.op == "Constant":
        return _of_attribute(node, opsets)
    if node.op not in _SIZES or not all(_is_array(value) for value in inputs if value is not None):
        return None
    try:
        if output_bytes(node, inputs) > _MOST_AT_ONCE:
            return None
        with np.errstate(all="ignore"):
            found = evaluator(node, opsets)(*inputs)
    except MemoryError:
        raise
    except Exception:  # whatever is wrong with it is told where the node is run
        return None
    return found if all(map(_is_array, found)) else None


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiubcV"


def _of_attribute(node: Node, opsets: Mapping[str, int]) -> Sequence[Any] | None:
    if isinstance(node.attributes.get("value"), np.ndarray):
        return [node.attributes["value"]]
    kinds = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    for name, dtype in kinds.items():
        if name in node.attributes:
            return [np.array(node.attributes[name], dtype)]
    return None


# How large outputs get, before they are made


def output_bytes(node: Node, inputs: Sequence[Any]) -> int:
    """A bound for the bytes of the outputs of an operator of the table; 0 for any other."""
    size = _SIZES.get(node.op)
    if size is None or not inputs:
        return 0
    itemsize = max((value.dtype.itemsize for value in inputs if _is_array(value)), default=8)
    return size(node, inputs) * max(itemsize, 8)


def _all(node: Node, inputs: Sequence[Any]) -> int:
    """Of those that give at most as many numbers as they read."""
    return sum(value.size for value in inputs if value is not None)


def _broadcast(node: Node, inputs: Sequence[Any]) -> int:
    return math.prod(np.broadcast_shapes(*(np.shape(v) for v in inputs if v is not None)))


def _gathered(node: Node, inputs: Sequence[Any]) -> int:
    data, indices = inputs[:2]
    axis = node.attributes.get("axis", 0)
    return int(math.prod(data.shape) // max(data.shape[axis], 1) * indices.size)


def _filled(node: Node, inputs: Sequence[Any]) -> int:
    return math.prod(map(int, inputs[0].ravel()))


def _expanded(node: Node, inputs: Sequence[Any]) -> int:
    return math.prod(np.broadcast_shapes(inputs[0].shape, tuple(map(int, inputs[1].ravel()))))


def _tiled(node: Node, inputs: Sequence[Any]) -> int:
    return int(inputs[0].size) * math.prod(map(int, inputs[1].ravel()))


def _ranged(node: Node, inputs: Sequence[Any]) -> int:
    start, limit, step = (float(np.ravel(value)[0]) for value in inputs[:3])
    return max(0, math.ceil((limit - start) / step)) if step else 0


def _padded(node: Node, inputs: Sequence[Any]) -> int:
    pads: list[int] = node.attributes.get("pads") or []
    if len(inputs) > 1:
        pads = inputs[1].ravel().tolist()
    shape, half = inputs[0].shape, len(pads) // 2
    if half != len(shape):  # of some axes alone
        return int(inputs[0].size) * math.prod(1 + abs(int(pad)) for pad in pads)
    return math.prod(
        max(0, size + int(low) + int(high))
        for size, low, high in zip(shape, pads[:half], pads[half:], strict=True)
    )


def _one_hot(node: Node, inputs: Sequence[Any]) -> int:
    count: int = inputs[0].size * abs(int(np.ravel(inputs[1])[0]))
    return count


def _resized(node: Node, inputs: Sequence[Any]) -> int:
    given = [value for value in inputs[1:] if value is not None and value.size == inputs[0].ndim]
    if not given:
        return 0
    sizes = given[-1].ravel()
    if sizes.dtype.kind == "f":  # as many times as large
        return math.ceil(float(inputs[0].size) * math.prod(map(float, sizes)))
    return math.prod(map(int, sizes))


def _product(node: Node, inputs: Sequence[Any]) -> int:
    a, b = inputs[0].shape, inputs[1].shape
    return math.prod(a[:-1] or (1,)) * math.prod(b[-1:] or (1,)) * math.prod(b[:-2] or (1,))


_KEEPING = (
    "Abs", "Cast", "Ceil", "Concat", "DequantizeLinear", "Exp", "Flatten", "Floor", "Identity",
    "Log", "Neg", "Not", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "Reciprocal", "Reshape", "ScatterND", "Shape", "Sigmoid", "Size", "Slice", "Split", "Sqrt",
    "Squeeze", "Tanh", "Transpose", "Unsqueeze",
)  # fmt: skip
_BROADCASTING = (
    "Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mod", "Mul", "Or", "Pow", "Sub",
    "Where",
)  # fmt: skip
_SIZES: Mapping[str, Callable[[Node, Sequence[Any]], int]] = {
    **dict.fromkeys(_KEEPING, _all),
    **dict.fromkeys(_BROADCASTING, _broadcast),
    "Gather": _gathered,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Tile": _tiled,
    "Range": _ranged,
    "Pad": _padded,
    "MatMul": _product,
    "OneHot": _one_hot,
    "Resize": _resized,
}
