"""An operator of ONNX as a function of arrays: by the evaluator that the package onnx has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore.convert.onnx_file import library
from rnncore.convert.onnx_graph import Node

__all__ = ["Kernel", "evaluator"]

Kernel = Callable[..., tuple[Any, ...]]  # of the node's inputs, None for those that it leaves out


def evaluator(node: Node, opsets: Mapping[str, int]) -> Kernel:
    """What computes a node without graphs in it, by its operator's definition.

    Raises
    ------
    ValueError for an operator that there is not, and for attributes that it does not have.
    """
    library()
    from onnx.reference.op_run import OpFunctionContextDependant

    op = _op(node, opsets, None)
    if type(op) is not OpFunctionContextDependant:
        return _with_arrays(op.run)
    by_types: dict[Any, Any] = {}  # it is one function for float32, another for float16

    def run(*inputs: Any) -> Any:
        types = tuple((value.dtype, value.ndim) if value is not None else None for value in inputs)
        if types not in by_types:
            by_types[types] = _op(node, opsets, inputs)
        return by_types[types].run(*inputs)

    return _with_arrays(run)


def _op(node: Node, opsets: Mapping[str, int], inputs: Any) -> Any:
    """The evaluator's own object for a node; of the types of `inputs`, where those are known.

    By a graph of one node: an evaluator of a node alone would take the newest version of its
    operator, whatever the model says.
    """
    onnx = library()
    from onnx.reference import ReferenceEvaluator

    ports = {}
    for name, value in zip(node.inputs, inputs or (), strict=False):
        if name and value is not None:
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            ports[name] = onnx.helper.make_tensor_value_info(name, kind, [None] * value.ndim)
    graph = onnx.GraphProto(
        node=[node.proto],
        input=list(ports.values()),
        output=[onnx.ValueInfoProto(name=name) for name in node.outputs if name],
    )
    try:
        (op,) = ReferenceEvaluator(graph, opsets=dict(opsets)).rt_nodes_
    except Exception as error:  # the package raises errors of many kinds, some of its own
        raise ValueError(
            f"{node} cannot be run: the package onnx has no such operator in its evaluator"
            f" ({(str(error) or type(error).__name__)[:200]})"
        ) from error
    return op


def _with_arrays(run: Kernel) -> Kernel:
    """`run`, with outputs that are arrays: the evaluator has numbers in some places."""

    def kernel(*inputs: Any) -> tuple[Any, ...]:
        return tuple(
            np.asarray(value) if isinstance(value, np.generic) else value for value in run(*inputs)
        )

    return kernel
