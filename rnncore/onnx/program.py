"""A graph made ready to run: constants folded, every node a kernel, values in numbered places."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_constants import folded
from rnncore.convert.onnx_fusions import fused
from rnncore.convert.onnx_graph import Graph, Node
from rnncore.convert.onnx_ops import Kernel
from rnncore.onnx.kernels import kernel_of
from rnncore.onnx.loops import controlled

__all__ = ["Program"]


class _Step(NamedTuple):
    """A node: its kernel, the places of its inputs and outputs, and those to be emptied after."""

    run: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    spent: tuple[int, ...]
    node: Node


class Program:
    """A graph as a function of its inputs and of what it reads from around it.

    Attributes
    ----------
    inputs : the names of the graph's inputs
    captured : the names that it reads from around it and that are no constants there
    outputs : the names of its outputs
    """

    def __init__(
        self, graph: Graph, opsets: Mapping[str, int], around: Mapping[str, Any] | None = None
    ) -> None:
        around = around or {}
        graph = fused(folded(graph, opsets, around), around)
        self.graph, self._opsets = graph, opsets
        self._known: Mapping[str, Any] = ChainMap(dict(graph.constants), dict(around))
        self.inputs = tuple(port.name for port in graph.inputs)
        self.outputs = tuple(port.name for port in graph.outputs)
        reads = set(self.outputs).union(*(node.reads for node in graph.nodes))
        made = {name for node in graph.nodes for name in node.outputs} | set(self.inputs)
        self.captured = tuple(sorted(reads - made - self._known.keys()))
        self._places = {"": 0}
        for name in (*self.inputs, *self.captured):
            self._place(name)
        self._steps = [self._step(node) for node in graph.nodes]
        self._results = [self._place(name) for name in self.outputs]
        self._memory: list[Any] = [None] * len(self._places)
        for name, place in self._places.items():
            value = self._memory[place] = self._known.get(name) if name else None
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self._steps = self._with_ends()

    def __call__(self, *values: Any) -> list[Any]:
        """The outputs, from the inputs and what is captured, in this order."""
        memory = self._memory.copy()
        memory[1 : 1 + len(values)] = values
        for run, inputs, outputs, spent, node in self._steps:
            try:
                found = run(*[memory[place] for place in inputs])
            except MemoryError:
                raise
            except Exception as error:  # whatever NumPy, or the package onnx, raises
                if isinstance(error, _NodeError):
                    raise
                reason = (str(error) or type(error).__name__)[:500]
                raise _NodeError(f"{node} cannot be run: {reason}") from error
            for place, value in zip(outputs, found, strict=False):
                memory[place] = value
            for place in spent:
                memory[place] = None
        return [memory[place] for place in self._results]

    def _place(self, name: str) -> int:
        return self._places.setdefault(name, len(self._places))

    def _step(self, node: Node) -> _Step:
        names = list(node.inputs)
        if any(True for _ in node.graphs):
            run, more = controlled(node, self._opsets, self._known, Program)
            names += more
        else:
            constants = [self._known.get(name) if name else None for name in node.inputs]
            try:
                run = kernel_of(node, constants, self._opsets)
            except (TypeError, AttributeError, IndexError, KeyError) as error:
                raise ValueError(f"{node} has attributes or constants that do not fit") from error
        inputs = tuple(self._place(name) for name in names)
        # What nobody wants gets a place of its own, which is emptied at once.
        outputs = tuple(self._place(name) if name else self._place("\0") for name in node.outputs)
        return _Step(run, inputs, outputs, (), node)

    def _with_ends(self) -> list[_Step]:
        """The steps with the places of which nobody reads afterwards."""
        kept = {*self._results, 0}
        steps: list[_Step] = []
        for step in reversed(self._steps):
            spent = tuple({*step.inputs, *step.outputs} - kept)
            kept.update(spent)
            steps.append(step._replace(spent=spent))
        return steps[::-1]


class _NodeError(ValueError):
    """Of a node that could not be run; those of graphs around it need not say so again."""
