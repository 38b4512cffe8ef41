"""A model of ONNX, run to compare with what was made of it: by onnxruntime, else by onnx itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_file import library, read
from rnncore.convert.onnx_graph import Graph, Port, graph_of
from rnncore.convert.recording_inputs import Inputs, NotRecordedError, Run, inputs_of
from rnncore.models.sequential import Sequential

_RECURRENT = ("RNN", "GRU", "LSTM")


class _Ports(NamedTuple):
    """The inputs of a graph: x, the lengths, and states."""

    x: Port
    lengths: Port | None
    states: list[Port]


def run_of(path: str, model: Sequential) -> Run:
    """A file of ONNX.

    Raises
    ------
    NotRecordedError without onnxruntime and the evaluator of onnx, for a model of half precision,
    and for inputs of which it is not known what they are.
    """
    graph, _ = graph_of(read(path))
    _check_precision(graph)
    ports = _ports(graph, model)
    name, session, heeds_lengths = _session(path)
    inputs = _inputs(ports, model, heeds_lengths)

    def call(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        feed = {ports.x.name: x.astype(_dtype(ports.x), copy=False)}
        B = x.shape[inputs.axes.index("B")] if "B" in inputs.axes else 1
        if ports.lengths is not None:
            steps = x.shape[inputs.axes.index("T")]
            ends = np.full(B, steps) if lengths is None else lengths
            feed[ports.lengths.name] = ends.astype(_dtype(ports.lengths))
        for port in ports.states:
            sizes = [size if isinstance(size, int) else B for size in port.shape or []]
            feed[port.name] = np.zeros(sizes, _dtype(port))
        y: np.ndarray = session(graph.outputs[0].name, feed)
        return y

    return Run(name, inputs, call)


def _session(path: str) -> tuple[str, Callable[[str, Any], Any], bool]:
    """What runs the file, as a function of an output's name and inputs; does it heed lengths?"""
    try:
        import onnxruntime
    except ImportError:
        return _evaluator(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a class of its own
        raise NotRecordedError(f"onnxruntime does not load it: {str(error)[:200]}") from error
    name = f"onnxruntime {onnxruntime.__version__}"
    return name, lambda output, feed: session.run([output], feed)[0], True


def _evaluator(path: str) -> tuple[str, Callable[[str, Any], Any], bool]:
    """Its recurrent operators do not heed lengths."""
    onnx = library()
    try:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(path)
    except Exception as error:  # it lacks operators
        raise NotRecordedError(f"the evaluator of onnx: {str(error)[:200]}") from error
    name = f"the evaluator of onnx {onnx.__version__}"
    return name, lambda output, feed: session.run([output], feed)[0], False


# Inputs


def _ports(graph: Graph, model: Sequential) -> _Ports:
    ids = "F" not in inputs_of(model).axes
    whole = [port for port in graph.inputs if _is_whole(port)]
    floats = [port for port in graph.inputs if not _is_whole(port)]
    first = whole if ids else floats
    if not first or first[0].shape is None:
        raise NotRecordedError("it is not known which of its inputs is x")
    x = max(first, key=lambda port: len(port.shape or [])) if ids else first[0]
    others = [port for port in whole if port is not x]
    if len(others) > 1 or any(port.shape is None for port in floats):
        raise NotRecordedError("it has inputs of which it is not known what they are")
    states = [port for port in floats if port is not x]
    return _Ports(x, others[0] if others else None, states)


def _inputs(ports: _Ports, model: Sequential, heeds_lengths: bool) -> Inputs:
    """The axes of x, and which of their sizes the file gives."""
    whole = inputs_of(model)
    shape = ports.x.shape or []
    axes, steps = whole.axes, [axis for axis in whole.axes if axis != "F"]
    if len(shape) == len(axes) - 1:  # without a batch, or without steps
        left = "B" if model.batch_first is None else "T"
        axes = tuple(axis for axis in axes if axis == "F" or axis == left)
        steps = [left]
    if len(shape) != len(axes):
        raise NotRecordedError(f"its x has {len(shape)} axes")
    fixed = {a: n for a, n in zip(axes, shape, strict=True) if a in steps and isinstance(n, int)}
    for port in ports.states:  # (layers, B, H)
        size = port.shape[1] if port.shape and len(port.shape) == 3 else None
        if isinstance(size, int):
            fixed.setdefault("B", size)
    return Inputs(axes, fixed, heeds_lengths and ports.lengths is not None)


def _is_whole(port: Port) -> bool:
    return port.tensor is not None and _dtype(port).kind in "iu"


def _dtype(port: Port) -> np.dtype[Any]:
    if port.tensor is None:
        raise NotRecordedError(f"its input {port.name!r} is no tensor")
    try:
        found: Any = library().helper.tensor_dtype_to_np_dtype(port.tensor.elem_type)
    except KeyError as error:
        raise NotRecordedError(f"its input {port.name!r} has no dtype") from error
    dtype: np.dtype[Any] = np.dtype(found)
    if dtype.kind not in "iuf":
        raise NotRecordedError(f"its input {port.name!r} has dtype {dtype}")
    return dtype


def _check_precision(graph: Graph) -> None:
    """Refuse what computes in half precision: rounding alone makes it differ."""
    arrays = [*graph.constants.values()]
    arrays += [a for node in graph.nodes for a in node.attributes.values()
               if isinstance(a, np.ndarray)]  # fmt: skip
    if any(a.dtype.itemsize == 2 and a.dtype.kind not in "iu" for a in arrays):
        raise NotRecordedError("it computes in half precision, and rounds where float32 does not")
