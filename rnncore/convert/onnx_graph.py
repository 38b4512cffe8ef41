"""A graph of ONNX as this package reads it: nodes in an order in which they can be computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_file import OnnxFile, array_of, library
from rnncore.convert.onnx_schema import check_node

__all__ = ["Graph", "Node", "Port", "graph_of", "normal_domain"]

_MOST_NODES = 50_000  # after functions were written out
_DEEPEST = 24  # graphs in graphs; the reader of protobuf takes some 30


class Port(NamedTuple):
    """An input or an output of a graph: its name and its type, a TypeProto."""

    name: str
    type: Any

    @property
    def tensor(self) -> Any | None:
        return self.type.tensor_type if self.type.HasField("tensor_type") else None

    @property
    def shape(self) -> list[int | str | None] | None:
        """Sizes, names of sizes, None for any size; None where nothing is said."""
        if self.tensor is None or not self.tensor.HasField("shape"):
            return None
        return [
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
            for dim in self.tensor.shape.dim
        ]


class Node(NamedTuple):
    """An operator with its attributes; those that are graphs are `Graph` here."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: Any = None

    @property
    def graphs(self) -> Iterator[Graph]:
        return (value for value in self.attributes.values() if isinstance(value, Graph))

    @property
    def reads(self) -> set[str]:
        """All names that it depends on, those that the graphs within read from around it too."""
        found = {name for name in self.inputs if name}
        return found.union(*(graph.captured for graph in self.graphs))

    def __str__(self) -> str:
        op = self.op if self.domain == "" else f"{self.domain}.{self.op}"
        name = f" {self.name!r}" if self.name else ""
        return f"node{name} ({op} of {', '.join(n or '-' for n in self.inputs) or 'nothing'})"[:400]


class Graph(NamedTuple):
    """What a GraphProto holds; `captured` are the names of values from around it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    captured: frozenset[str] = frozenset()


def graph_of(file: OnnxFile) -> tuple[Graph, dict[str, int]]:
    """The graph of a model, and the versions of the operators by their domains.

    Raises
    ------
    ValueError, which names the file and what is wrong with it: a name that nothing makes or that
    two make, nodes that wait for each other, graphs too deep in each other, a damaged tensor.
    """
    try:
        model = _without_functions(file)
        opsets = {normal_domain(opset.domain): int(opset.version) for opset in model.opset_import}
        opsets.setdefault("", 1)
        if (count := _count(model.graph.node)) > _MOST_NODES:
            raise ValueError(f"it has {count:,} nodes, expected at most {_MOST_NODES:,}")
        graph = _graph(model.graph, file.folder, frozenset(), opsets[""], 0)
    except ValueError as error:
        if str(error).startswith(file.name):
            raise
        raise ValueError(f"{file.name}: {error}") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{file.name} is damaged: it has names that are no text") from error
    if not graph.outputs:
        raise ValueError(f"{file.name} has a graph without outputs")
    return graph, opsets


def normal_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _count(nodes: Any) -> int:
    """How many there are, with those of the graphs within."""
    total = len(nodes)
    for node in nodes:
        total += sum(_count(a.g.node) for a in node.attribute if a.HasField("g"))
    return total


def _graph(
    proto: Any, folder: Path | None, around: frozenset[str], opset: int, depth: int
) -> Graph:
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} graphs lie in each other")
    if len(proto.sparse_initializer):
        raise ValueError("it has sparse tensors (sparse_initializer), expected dense ones")
    constants = {}
    for tensor in proto.initializer:
        if not tensor.name or tensor.name in constants:
            raise ValueError(f"two tensors have the name {tensor.name!r}, or one has none")
        constants[tensor.name] = array_of(tensor, folder)
    # Old files list what they hold among the inputs too.
    inputs = tuple(Port(port.name, port.type) for port in proto.input)
    inputs = tuple(port for port in inputs if port.name not in constants)
    made = [port.name for port in inputs] + list(constants)
    made += [name for node in proto.node for name in node.output if name]
    if not all(isinstance(name, str) for name in made):  # protobuf gives bytes for no UTF-8
        raise TypeError
    twice = [name for name, count in Counter(made).items() if count > 1]
    if twice:
        raise ValueError(f"the value {twice[0]!r} is made more than once")
    known = around.union(made)
    nodes = [_node(node, folder, known, opset, depth) for node in proto.node]
    outputs = tuple(Port(port.name, port.type) for port in proto.output)
    wanted = {name for node in nodes for name in node.reads} | {port.name for port in outputs}
    for name in sorted(wanted - known):
        reader = next((node for node in nodes if name in node.reads), "an output")
        raise ValueError(f"nothing makes the value {name!r}, which is read by {reader}")
    captured = frozenset(wanted.difference(made))
    return Graph(inputs, outputs, tuple(_in_order(nodes)), constants, captured)


def _node(proto: Any, folder: Path | None, around: frozenset[str], opset: int, depth: int) -> Node:
    attributes = {}
    if normal_domain(proto.domain) == "":
        check_node(proto, opset)
    for attribute in proto.attribute:
        if attribute.ref_attr_name:
            raise ValueError(f"node {proto.name!r} ({proto.op_type}) reads a function's attribute")
        attributes[attribute.name] = _value(attribute, folder, around, opset, depth)
    return Node(
        proto.op_type,
        normal_domain(proto.domain),
        proto.name,
        tuple(proto.input),
        tuple(proto.output),
        attributes,
        proto,
    )


def _value(
    attribute: Any, folder: Path | None, around: frozenset[str], opset: int, depth: int
) -> Any:
    kinds = library().AttributeProto
    kind = attribute.type
    if kind == kinds.GRAPH:
        return _graph(attribute.g, folder, around, opset, depth + 1)
    if kind == kinds.TENSOR:
        return array_of(attribute.t, folder)
    if kind == kinds.FLOAT:
        return float(attribute.f)
    if kind == kinds.INT:
        return int(attribute.i)
    if kind == kinds.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == kinds.FLOATS:
        return [float(value) for value in attribute.floats]
    if kind == kinds.INTS:
        return [int(value) for value in attribute.ints]
    if kind == kinds.STRINGS:
        return [text.decode("utf-8", "replace") for text in attribute.strings]
    return attribute  # sparse tensors, types, lists of graphs: nobody here reads them


def _in_order(nodes: list[Node]) -> list[Node]:
    """Each after those whose outputs it reads; those that can be keep their order."""
    maker = {name: k for k, node in enumerate(nodes) for name in node.outputs if name}
    waits = [{maker[name] for name in node.reads if name in maker} for node in nodes]
    if all(max(own, default=-1) < k for k, own in enumerate(waits)):
        return nodes
    readers: list[list[int]] = [[] for _ in nodes]
    for k, own in enumerate(waits):
        for maker_of_one in own:
            readers[maker_of_one].append(k)
    left = [len(own) for own in waits]
    ready = [k for k, count in enumerate(left) if not count]
    for k in ready:  # grows on the way
        for reader in readers[k]:
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    if len(ready) < len(nodes):
        stuck = next(node for node, count in zip(nodes, left, strict=True) if count)
        raise ValueError(f"{stuck} waits for its own outputs: nodes form a circle")
    return [nodes[k] for k in ready]


# Functions of the model


def _without_functions(file: OnnxFile) -> Any:
    """The model with the functions that it defines written out where they are called."""
    model = file.model
    if not model.functions:
        return model
    functions = {(normal_domain(f.domain), f.name): f for f in model.functions}
    counts: dict[tuple[str, str], int] = {}
    total = _written_out(file.name, model.graph.node, functions, counts, ())
    if total > _MOST_NODES:
        raise ValueError(f"{file.name} has {total:,} nodes once its functions are written out")
    library()
    from onnx import inliner

    try:
        inlined = inliner.inline_local_functions(model)
    except Exception as error:  # whatever the library raises
        raise ValueError(f"{file.name} has functions that cannot be read: {error}") from error
    return inlined


def _written_out(
    name: str,
    nodes: Any,
    functions: Mapping[Any, Any],
    counts: dict[Any, int],
    path: tuple[Any, ...],
) -> int:
    """How many nodes there will be; functions that call themselves are refused."""
    total = 0
    for node in nodes:
        key = normal_domain(node.domain), node.op_type
        total += 1
        for attribute in node.attribute:
            if attribute.HasField("g"):
                total += _written_out(name, attribute.g.node, functions, counts, path)
        if key not in functions:
            continue
        if key in path or len(path) > _DEEPEST:
            raise ValueError(f"{name} has functions that call each other in a circle or too deep")
        if key not in counts:
            own = functions[key].node
            counts[key] = _written_out(name, own, functions, counts, (*path, key))
        total += counts[key]
    return total
