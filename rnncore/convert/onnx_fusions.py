"""Operators that exporters take apart, put together again: one node for what is one layer.

They get the domain "rnncore": Linear is a MatMul with the Add after it, Gelu, Silu and Mish what
their definitions say, LayerNormalization the chain of means and differences that it was before
opset 17.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore.convert.onnx_graph import Graph, Node

__all__ = ["DOMAIN", "fused"]

DOMAIN = "rnncore"


class _Finder:
    """What makes a value, who reads it, and what it is where it is constant."""

    def __init__(self, graph: Graph, around: Mapping[str, np.ndarray]) -> None:
        self._around, self.constants = around, graph.constants
        self.maker = {name: node for node in graph.nodes for name in node.outputs if name}
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        for node in graph.nodes:
            self.uses.update(node.reads.difference(node.inputs))
        self.kept = {port.name for port in graph.outputs}

    def constant(self, name: str) -> np.ndarray | None:
        found = self.constants.get(name)
        return self._around.get(name) if found is None else found

    def number(self, name: str) -> float | None:
        """A constant of one number."""
        found = self.constant(name)
        if isinstance(found, np.ndarray) and found.size == 1 and found.dtype.kind in "fiu":
            return float(found.ravel()[0])
        return None

    def made_by(self, name: str, *ops: str) -> Node | None:
        node = self.maker.get(name)
        return node if node is not None and node.domain == "" and node.op in ops else None

    def inner(self, name: str, uses: int = 1) -> bool:
        """Whether nobody but the nodes of a pattern sees a value."""
        return self.uses[name] <= uses and name not in self.kept

    def with_constant(self, node: Node) -> tuple[str, str] | None:
        """The two inputs of a node, the constant one last; None where not just one is."""
        if len(node.inputs) != 2:
            return None
        a, b = node.inputs
        for first, second in ((a, b), (b, a)):
            if self.constant(second) is not None and self.constant(first) is None:
                return first, second
        return None


def fused(graph: Graph, around: Mapping[str, np.ndarray]) -> Graph:
    """The graph with those nodes in place of what they stand for."""
    for patterns in (_PATTERNS, _UPON_THEM):
        graph = _fused_by(graph, around, patterns)
    return graph


def _fused_by(graph: Graph, around: Mapping[str, np.ndarray], patterns: Mapping[str, Any]) -> Graph:
    finder = _Finder(graph, around)
    last, gone = {}, set()
    for node in graph.nodes:
        for pattern in patterns.get(node.op, ()) if node.domain == "" else ():
            found = pattern(finder, node)
            if found is None:
                continue
            new, inner = found
            if all(name not in gone for part in inner for name in part.outputs):
                last[id(node)] = new
                gone |= {name for part in inner for name in part.outputs}
                break
    nodes = [
        last.get(id(node), node)
        for node in graph.nodes
        if id(node) in last or not any(name in gone for name in node.outputs)
    ]
    return graph._replace(nodes=tuple(nodes))


_Found = tuple[Node, list[Node]] | None  # the new node, and the nodes before the last that go


def _new(op: str, node: Node, *inputs: str, **attributes: Any) -> Node:
    return Node(op, DOMAIN, node.name, inputs, node.outputs, attributes)


def _linear(finder: _Finder, node: Node) -> _Found:
    """Add(MatMul(x, W), b) with constants W of two axes and b of one."""
    pair = finder.with_constant(node)
    product = finder.made_by(pair[0], "MatMul") if pair else None
    if pair is None or product is None or not finder.inner(pair[0]):
        return None
    W, b = finder.constant(product.inputs[1]), finder.constant(pair[1])
    if W is None or b is None or W.ndim != 2 or b.size != W.shape[1] or b.dtype != W.dtype:
        return None
    if b.shape != (1,) * (b.ndim - 1) + (W.shape[1],) or b.ndim > 2:
        return None
    return _new("Linear", node, product.inputs[0], product.inputs[1], pair[1]), [product]


def _gelu(finder: _Finder, node: Node) -> _Found:
    """x/2 * (1 + erf(x / sqrt 2)), with the factor 1/2 at the start or the end."""
    if len(node.inputs) != 2:
        return None
    for halved, rest in (node.inputs, node.inputs[::-1]):
        found = _gelu_of(finder, halved, rest)
        if found is not None:
            x, parts = found
            return _new("Gelu", node, x), parts
    return None


def _gelu_of(finder: _Finder, one: str, other: str) -> tuple[str, list[Node]] | None:
    if finder.number(other) is not None:  # (x * (1 + erf)) * 0.5
        outer = finder.made_by(one, "Mul")
        if outer is None or finder.number(other) != 0.5 or not finder.inner(one):
            return None
        for x, rest in (outer.inputs, outer.inputs[::-1]):
            found = _one_and_erf(finder, rest)
            if found is not None and found[0] == x:
                return x, [outer, *found[1]]
        return None
    half = finder.made_by(one, "Mul", "Div")  # (x * 0.5) * (1 + erf)
    pair = finder.with_constant(half) if half is not None else None
    if half is None or pair is None or not finder.inner(one):
        return None
    if finder.number(pair[1]) != {"Mul": 0.5, "Div": 2.0}[half.op]:
        return None
    found = _one_and_erf(finder, other)
    if found is None or found[0] != pair[0] or (half.op == "Div" and half.inputs[0] != pair[0]):
        return None
    return pair[0], [half, *found[1]]


def _one_and_erf(finder: _Finder, name: str) -> tuple[str, list[Node]] | None:
    plus = finder.made_by(name, "Add")
    pair = finder.with_constant(plus) if plus is not None else None
    if plus is None or pair is None or finder.number(pair[1]) != 1 or not finder.inner(name):
        return None
    erf = finder.made_by(pair[0], "Erf")
    if erf is None or not finder.inner(pair[0]) or not finder.inner(erf.inputs[0]):
        return None
    scaled = finder.made_by(erf.inputs[0], "Div", "Mul")
    inner = finder.with_constant(scaled) if scaled is not None else None
    if scaled is None or inner is None:
        return None
    factor = finder.number(inner[1]) or 0.0
    if scaled.op == "Div" and scaled.inputs[0] == inner[0] and factor:
        factor = 1 / factor
    elif scaled.op == "Div":
        return None
    if not math.isclose(factor, math.sqrt(0.5), rel_tol=1e-6):
        return None
    return inner[0], [plus, erf, scaled]


def _silu(finder: _Finder, node: Node) -> _Found:
    """x * sigmoid(x)."""
    if len(node.inputs) != 2:
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        sigmoid = finder.made_by(other, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] == x and finder.inner(other):
            return _new("Silu", node, x), [sigmoid]
    return None


def _mish(finder: _Finder, node: Node) -> _Found:
    """x * tanh(softplus(x))."""
    if len(node.inputs) != 2:
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        tanh = finder.made_by(other, "Tanh")
        softplus = finder.made_by(tanh.inputs[0], "Softplus") if tanh is not None else None
        if tanh is None or softplus is None or softplus.inputs[0] != x:
            continue
        if finder.inner(other) and finder.inner(tanh.inputs[0]):
            return _new("Mish", node, x), [tanh, softplus]
    return None


def _layer_norm(finder: _Finder, node: Node) -> _Found:
    """(x - mean) / sqrt(mean((x - mean)**2) + eps), over the last axis."""
    if len(node.inputs) != 2:
        return None
    difference, root = node.inputs
    minus, sqrt = finder.made_by(difference, "Sub"), finder.made_by(root, "Sqrt")
    plus = finder.made_by(sqrt.inputs[0], "Add") if sqrt is not None else None
    pair = finder.with_constant(plus) if plus is not None else None
    if minus is None or sqrt is None or plus is None or pair is None:
        return None
    variance, eps = finder.made_by(pair[0], "ReduceMean"), finder.number(pair[1])
    mean = finder.made_by(minus.inputs[1], "ReduceMean")
    if variance is None or mean is None or eps is None or eps < 0:
        return None
    x = minus.inputs[0]
    if mean.inputs[0] != x or not all(_over_the_last(finder, m) for m in (variance, mean)):
        return None
    square = finder.made_by(variance.inputs[0], "Pow", "Mul")
    if square is None or square.inputs[0] != difference:
        return None
    if square.op == "Pow" and finder.number(square.inputs[1]) != 2:
        return None
    if square.op == "Mul" and square.inputs[1] != difference:
        return None
    inner = [minus, sqrt, plus, variance, mean, square]
    uses = {difference: 3 if square.op == "Mul" else 2}
    if not all(finder.inner(part.outputs[0], uses.get(part.outputs[0], 1)) for part in inner):
        return None
    return _new("LayerNormalization", node, x, epsilon=eps, axis=-1), inner


def _scaled_norm(finder: _Finder, node: Node) -> _Found:
    """Add(Mul(norm, weight), bias), of a LayerNormalization that had none."""
    pair = finder.with_constant(node)
    times = finder.made_by(pair[0], "Mul") if pair else None
    inner = finder.with_constant(times) if times is not None else None
    if pair is None or times is None or inner is None:
        return None
    norm = finder.maker.get(inner[0])
    if norm is None or (norm.domain, norm.op) != (DOMAIN, "LayerNormalization"):
        return None
    weight, bias = finder.constant(inner[1]), finder.constant(pair[1])
    if weight is None or bias is None or weight.ndim != 1 or weight.shape != bias.shape:
        return None
    if len(norm.inputs) > 1 or not all(map(finder.inner, (pair[0], inner[0]))):
        return None
    new = _new("LayerNormalization", node, norm.inputs[0], inner[1], pair[1], **norm.attributes)
    return new, [times, norm]


def _over_the_last(finder: _Finder, node: Node) -> bool:
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1:
        found = finder.constant(node.inputs[1])
        axes = None if found is None else found.ravel().tolist()
    return axes == [-1] and node.attributes.get("keepdims", 1) == 1


_PATTERNS: Mapping[str, tuple[Callable[[_Finder, Node], _Found], ...]] = {
    "Add": (_linear,),
    "Mul": (_gelu, _silu, _mish),
    "Div": (_layer_norm,),
}
_UPON_THEM: Mapping[str, tuple[Callable[[_Finder, Node], _Found], ...]] = {"Add": (_scaled_norm,)}
