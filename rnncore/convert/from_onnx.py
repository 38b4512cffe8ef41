"""A model of ONNX that is a chain of layers, as those layers."""

from __future__ import annotations

from typing import Any

from rnncore._check import some
from rnncore.convert.onnx_chain import Call, Chain
from rnncore.convert.onnx_constants import folded
from rnncore.convert.onnx_file import OnnxFile, read
from rnncore.convert.onnx_fusions import DOMAIN, fused
from rnncore.convert.onnx_graph import Graph, Node, Port, graph_of
from rnncore.convert.onnx_layers import LAYERS
from rnncore.convert.onnx_made import layers_of, stacked
from rnncore.convert.onnx_values import (
    Const,
    Flow,
    LengthsIn,
    MisfitError,
    StateIn,
    StateOut,
    unknown,
)  # fmt: skip
from rnncore.models.sequential import Sequential

__all__ = ["from_onnx"]


def from_onnx(path: Any) -> Sequential:
    """A model of ONNX whose graph is a chain of layers, as a `Sequential` of those.

    Constants are folded first; what exporters write around recurrent nodes (transposes, shapes,
    initial states of zeros, the last step by Gather or Slice, normalisations taken apart) is read
    as what it stands for. Inputs that are initial states or lengths become the model's own, and
    recurrent nodes of one size upon each other one layer of several.

    Parameters
    ----------
    path : path, bytes or onnx.ModelProto

    Returns
    -------
    Sequential; `batch_first` where the input of the graph is. Its y is the graph's first output.

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be read; ValueError for what is no
    model of ONNX or is damaged, and for a graph that is no such chain: it names the first node that
    does not fit, its operator and inputs, and why; ImportError where onnx is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import rnncore.onnx
    >>> from rnncore.layers import GRU
    >>> layer, x = GRU(3, 4, num_layers=2, rng=0), np.ones((5, 2, 3), np.float32)
    >>> model = from_onnx(rnncore.onnx.export(layer))
    >>> np.array_equal(model(x)[0], layer(x)[0])
    True
    """
    file = read(path)
    graph, opsets = graph_of(file)
    graph = fused(folded(graph, opsets, {}), {})
    found = _Reading(file, graph, opsets[""])
    return found.model()


class _Reading:
    """A graph on its way to a chain."""

    def __init__(self, file: OnnxFile, graph: Graph, opset: int) -> None:
        self._file, self._graph = file, graph
        self._values: dict[str, Any] = {}
        port = self._main_input()
        declared = {
            str(k): size for k, size in enumerate(port.shape or []) if isinstance(size, int)
        }
        rank, ids = len(port.shape or []), _is_ids(port)
        axes = tuple(str(k) for k in range(rank if ids else rank - 1)) + (() if ids else ("F",))
        if not 1 <= rank <= 3 or len(axes) - (0 if ids else 1) > 2:
            raise self._error(
                f"input {port.name!r} has {rank} axes, expected steps and rows, of ids or features"
            )
        width = None if ids else declared.get(str(rank - 1))
        self._chain = Chain(declared, width, opset)
        self._values[port.name] = Flow(0, axes, width)
        for other in graph.inputs:
            if other.name != port.name:
                self._values[other.name] = self._other_input(other)
        self._first_axes = axes

    def model(self) -> Sequential:
        """The layers, once every node was read."""
        needed = self._needed()
        for node in needed:
            self._read(node)
        self._check_outputs()
        chain = self._chain
        if not chain.made:
            raise self._error("its graph has no layers")
        named = self._file.model.producer_name == "rnncore"
        made = stacked(chain.made, named)
        batch_first = chain.time == "1"
        try:
            layers = layers_of(made, batch_first, named)
            return Sequential(**layers)
        except (TypeError, ValueError) as error:
            raise self._error(f"its layers do not fit together: {error}") from error

    def _main_input(self) -> Port:
        """The input that goes down the chain: the one that no recurrent node has as its state."""
        side = set()
        for node in self._graph.nodes:
            if node.op in ("RNN", "GRU", "LSTM"):
                side |= set(node.inputs[4:7])
        reach = {name for name in side if name}
        for node in reversed(self._graph.nodes):
            if reach & set(node.outputs) and node.op not in ("RNN", "GRU", "LSTM"):
                reach |= {name for name in node.inputs[:1] if name}
        firsts = {n.inputs[0] for n in self._graph.nodes if n.inputs and n.op not in _SHAPE_ONLY}
        found = [
            port
            for port in self._graph.inputs
            if port.tensor is not None and (port.name not in reach or port.name in firsts - reach)
        ]
        rows = [port for port in found if len(port.shape or "..") > 1 or not _is_ids(port)]
        found = rows or found  # without lengths that no recurrent node reads
        if len(found) != 1 or found[0].shape is None:
            names = some([port.name for port in found or self._graph.inputs]) or "none"
            raise self._error(
                f"it has the inputs {names}, expected one of known axes beside states and lengths"
            )
        return found[0]

    def _other_input(self, port: Port) -> Any:
        rank = None if port.shape is None else len(port.shape)
        return LengthsIn(port.name) if _is_ids(port) and rank == 1 else StateIn(port.name)

    def _needed(self) -> list[Node]:
        """The nodes that the outputs depend on."""
        wanted = {port.name for port in self._graph.outputs}
        found: list[Node] = []
        for node in reversed(self._graph.nodes):
            if wanted & set(node.outputs):
                found.append(node)
                wanted |= node.reads
        return found[::-1]

    def _read(self, node: Node) -> None:
        layer = LAYERS.get(node.op) if node.domain in ("", DOMAIN) else None
        try:
            if layer is None:
                raise MisfitError("no layer here is made of this operator")
            inputs = [self._value(name) for name in node.inputs]
            found = layer(Call(node, inputs, self._chain))
        except (MisfitError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            text = str(error) if isinstance(error, ValueError) else "its inputs are not of its kind"
            raise self._error(
                f"{node} does not fit a chain of layers: {text}; rnncore.onnx.Session runs any"
                " graph"
            ) from error
        values = found if isinstance(found, tuple) and type(found) is tuple else (found,)
        self._values.update(zip(node.outputs, values, strict=False))

    def _value(self, name: str) -> Any:
        if not name:
            return None
        if name in self._graph.constants:
            return Const(self._graph.constants[name])
        return self._values.get(name)

    def _check_outputs(self) -> None:
        first, *others = self._graph.outputs
        y = self._values.get(first.name)
        if isinstance(y, StateOut) and y.last is not None:
            y = self._chain.head(y)
        altered = isinstance(y, Flow) and (y.fill not in (None, 0) or y.pads != (0, 0))
        if not isinstance(y, Flow) or y.step != len(self._chain.made) or altered:
            raise self._error(
                f"its output {first.name!r} is {unknown(y)}, expected that of the last layer"
            )
        kept = [axis for axis in self._first_axes if axis != "F" and axis in y.axes]
        expected = (*kept, "F")
        if y.axes != expected:
            raise self._error(
                f"its output {first.name!r} has axes in another order than the input, or more"
            )
        for port in others:
            if not isinstance(self._values.get(port.name), StateOut):
                raise self._error(f"its output {port.name!r} is no final state of a layer")

    def _error(self, text: str) -> ValueError:
        return ValueError(f"{self._file.name}: {text}"[:2000])


_SHAPE_ONLY = ("Shape",)


def _is_ids(port: Port) -> bool:
    """Whether an input holds integers."""
    return port.tensor is not None and port.tensor.elem_type in (2, 3, 4, 5, 6, 7, 12, 13)
