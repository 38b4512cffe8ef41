"""Operators that a call of NumPy or two computes: the evaluator of onnx takes 10 us for each.

What is not here, or not of the kind that is read here, is left to that evaluator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.convert.onnx_graph import Node
from rnncore.convert.onnx_ops import Kernel

__all__ = ["simple"]


def simple(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    """The node as a function of arrays, or None."""
    if node.op in _ELEMENTWISE and opset >= 7:
        return _elementwise(_ELEMENTWISE[node.op])
    build = _BUILDERS.get(node.op)
    return None if build is None else build(node, constants, opset)


# Number by number


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), from the tanh of x/2: no overflow."""
    half = x.dtype.type(0.5)
    y: np.ndarray = np.tanh(x * half)
    y += 1
    y *= half
    return y


def _only_floats(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arrays: Any) -> Any:
        if arrays[0].dtype.kind != "f":
            raise _OtherKindError
        return function(*arrays)

    return checked


class _OtherKindError(TypeError):
    """Of inputs that the evaluator has to take."""


def _same_kind(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arrays: Any) -> Any:
        if any(a.dtype != arrays[0].dtype for a in arrays):
            raise ValueError(f"its inputs have dtypes {', '.join(str(a.dtype) for a in arrays)}")
        return function(*arrays)

    return checked


_ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "Add": _same_kind(np.add),
    "Sub": _same_kind(np.subtract),
    "Mul": _same_kind(np.multiply),
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Tanh": np.tanh,
    "Sigmoid": _only_floats(_sigmoid),
    "Exp": np.exp,
    "Sqrt": np.sqrt,
    "Neg": np.negative,
    "Abs": np.abs,
    "Identity": lambda x: x,
    "Equal": np.equal,
    "Less": np.less,
    "Greater": np.greater,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Where": lambda c, a, b: np.where(c, a, b),
}


def _elementwise(function: Callable[..., Any]) -> Kernel:
    def run(*inputs: np.ndarray) -> tuple[Any]:
        if len(inputs) > 1 and inputs[0].size * inputs[1].size > _LARGE:  # of two long vectors
            sizes = np.broadcast_shapes(*(a.shape for a in inputs))
            _check.affordable({"size": max(sizes)}, math.prod(sizes) * 8, "its output")
        return (function(*inputs),)

    return run


_LARGE = 1 << 28


# Axes


def _axes_of(node: Node, constants: Sequence[Any], opset: int, since: int) -> list[int] | None:
    """The axes: an attribute before that opset, a constant input from then on."""
    if opset < since:
        found = node.attributes.get("axes")
        return None if found is None else list(found)
    if len(constants) > 1 and isinstance(constants[1], np.ndarray):
        return [int(axis) for axis in constants[1].ravel()]
    return None


def _transpose(node: Node, constants: Sequence[Any], opset: int) -> Kernel:
    perm = node.attributes.get("perm")
    return lambda x: (x.transpose(perm),)


def _unsqueeze(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    axes = _axes_of(node, constants, opset, 13)
    if axes is None:
        return None
    return lambda x, *_: (np.expand_dims(x, tuple(axes)),)


def _squeeze(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    axes = _axes_of(node, constants, opset, 13)
    if axes is None:
        return None
    return lambda x, *_: (x.squeeze(tuple(axes)),)


def _reshape(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    if opset < 5 or node.attributes.get("allowzero"):
        return None

    def run(x: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray]:
        sizes = shape.tolist()
        if 0 in sizes:
            sizes = [x.shape[k] if size == 0 else size for k, size in enumerate(sizes)]
        return (x.reshape(sizes),)

    return run


def _flatten(node: Node, constants: Sequence[Any], opset: int) -> Kernel:
    axis = node.attributes.get("axis", 1)

    def run(x: np.ndarray) -> tuple[np.ndarray]:
        at = axis if axis >= 0 else axis + x.ndim
        rows = int(np.prod(x.shape[:at]))
        return (x.reshape(rows, -1 if x.size else int(np.prod(x.shape[at:]))),)

    return run


def _concat(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    axis = node.attributes.get("axis")
    if axis is None:
        return None

    def run(*inputs: np.ndarray) -> tuple[np.ndarray]:
        nbytes = sum([a.nbytes for a in inputs])
        if nbytes > _LARGE:
            _check.affordable({"size": nbytes}, 4 * nbytes, "its output with what it is made of")
        return (np.concatenate(inputs, axis),)

    return run


def _shape(node: Node, constants: Sequence[Any], opset: int) -> Kernel:
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return lambda x: (np.array(x.shape[start:end], np.int64),)


def _gather(node: Node, constants: Sequence[Any], opset: int) -> Kernel:
    axis = node.attributes.get("axis", 0)

    def run(data: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray]:
        return (np.asarray(np.take(data, indices, axis)),)

    return run


def _split(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    axis, n = node.attributes.get("axis", 0), len(node.outputs)
    sizes = node.attributes.get("split")
    if opset >= 13 and len(constants) > 1 and isinstance(constants[1], np.ndarray):
        sizes = constants[1].tolist()
    if sizes is None or len(sizes) != n or min(sizes) < 0:
        return None
    ends = [sum(sizes[: k + 1]) for k in range(n)]
    pieces = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def run(x: np.ndarray, *_: Any) -> tuple[np.ndarray, ...]:
        if x.shape[axis] != ends[-1]:
            raise ValueError(f"its input has {x.shape[axis]} places, expected {ends[-1]}")
        before = (slice(None),) * (axis if axis >= 0 else axis + x.ndim)
        return tuple([x[(*before, piece)] for piece in pieces])

    return run


def _slice(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    if opset < 10:
        return None

    def run(
        x: np.ndarray, starts: Any, ends: Any, axes: Any = None, steps: Any = None
    ) -> tuple[np.ndarray]:
        where = [slice(None)] * x.ndim
        begins, stops = starts.tolist(), ends.tolist()
        own = range(len(begins)) if axes is None else axes.tolist()
        by = [1] * len(begins) if steps is None else steps.tolist()
        for axis, start, stop, step in zip(own, begins, stops, by, strict=True):
            where[axis] = _range(start, stop, step, x.shape[axis])
        return (x[tuple(where)],)

    return run


def _range(start: int, stop: int, step: int, size: int) -> slice:
    """As ONNX counts: places beyond an end are that end."""
    start, stop = (place + size if place < 0 else place for place in (start, stop))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(stop, 0), size), step)
    start, stop = min(max(start, 0), size - 1), min(max(stop, -1), size - 1)
    return slice(start, None if stop < 0 else stop, step)


# Numbers


def _cast(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    types = {1: np.float32, 11: np.float64, 6: np.int32, 7: np.int64, 9: np.bool_}
    dtype = types.get(node.attributes.get("to", 0))
    if dtype is None:
        return None

    def run(x: np.ndarray) -> tuple[np.ndarray]:
        if x.dtype.kind not in "fiub":
            raise _OtherKindError
        return (x.astype(dtype),)

    return run


def _softmax(node: Node, constants: Sequence[Any], opset: int) -> Kernel:
    old = opset < 13  # then all axes from this one on are one
    axis, logarithm = node.attributes.get("axis", 1 if old else -1), node.op == "LogSoftmax"

    def run(x: np.ndarray) -> tuple[np.ndarray]:
        shape = x.shape
        if old:
            at = axis if axis >= 0 else axis + x.ndim
            x = x.reshape(int(np.prod(shape[:at])), -1) if x.size else x
        along = -1 if old else axis
        x = x - x.max(axis=along, keepdims=True, initial=-np.inf)
        e = np.exp(x)
        total = e.sum(axis=along, keepdims=True)
        return ((x - np.log(total) if logarithm else e / total).reshape(shape),)

    return run


def _reduce(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    axes = _axes_of(node, constants, opset, 13 if node.op == "ReduceSum" else 18)
    if not axes:
        return None
    functions: dict[str, Callable[..., Any]]
    functions = {"ReduceMean": np.mean, "ReduceMax": np.max, "ReduceSum": np.sum}
    function = functions[node.op]
    keep = bool(node.attributes.get("keepdims", 1))

    def run(x: np.ndarray, *_: Any) -> tuple[np.ndarray]:
        if x.dtype.kind != "f":
            raise _OtherKindError
        return (np.asarray(function(x, axis=tuple(axes), keepdims=keep)),)

    return run


def _layer_norm(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    axis, eps = node.attributes.get("axis", -1), node.attributes.get("epsilon", 1e-5)
    if len([name for name in node.outputs if name]) > 1:
        return None

    def run(x: np.ndarray, *affine: np.ndarray) -> tuple[np.ndarray]:
        if x.dtype not in (np.float32, np.float64):
            raise _OtherKindError
        axes = tuple(range(axis if axis >= 0 else axis + x.ndim, x.ndim))
        y = x - x.mean(axis=axes, keepdims=True)
        variance = np.square(y).mean(axis=axes, keepdims=True)
        y /= np.sqrt(variance + x.dtype.type(eps))
        if affine:
            y = y * affine[0]
        return (y + affine[1] if len(affine) > 1 and affine[1] is not None else y,)

    return run


def _batch_norm(node: Node, constants: Sequence[Any], opset: int) -> Kernel | None:
    if opset < 9 or node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        return None
    if len(constants) != 5 or any(value is None for value in constants[1:]):
        return None
    scale, bias, mean, variance = (np.asarray(value) for value in constants[1:])
    factor = scale / np.sqrt(variance + variance.dtype.type(node.attributes.get("epsilon", 1e-5)))
    shift = bias - mean * factor

    def run(x: np.ndarray, *_: Any) -> tuple[np.ndarray]:
        own = (-1,) + (1,) * max(x.ndim - 2, 0)
        return (x * factor.reshape(own) + shift.reshape(own),)

    return run


_BUILDERS: Mapping[str, Callable[[Node, Sequence[Any], int], Kernel | None]] = {
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "Flatten": _flatten,
    "Gather": _gather,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
