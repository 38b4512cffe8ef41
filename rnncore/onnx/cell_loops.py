"""Loops whose bodies are recurrent cells, run as layers: as converters write custom cells.

What is read: a Scan, or a Loop that takes step t of a sequence by Gather, of which one state or two
are those of an RNN, GRU or LSTM (`rnncore.onnx.cell_forms` says which), and all others counters. A
Loop has to take all steps of its sequence; else the body runs step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_graph import Node
from rnncore.onnx.cell_forms import Form, cell_of, counted

__all__ = ["as_layer"]

Run = Callable[[int | None, Any, list[Any], Mapping[str, Any]], "tuple[Any, ...] | None"]


class _Source(NamedTuple):
    """Where x comes from: the name of the sequence, and that of its step in the body."""

    sequence: str
    step: str


def as_layer(node: Node, body: Any, known: Mapping[str, Any]) -> Run | None:
    """A node whose body is a cell, as a function; None for any other body.

    The function takes the number of steps there are at most, the condition at the start, the
    initial states, and by their names what the body reads from around it and of a Scan the
    sequences. It gives the node's outputs, or None where the body has to run after all.
    """
    graph, scan = body.graph, node.op == "Scan"
    constants = {**known, **graph.constants}
    states = body.inputs[: len(body.inputs) - node.attributes["num_scan_inputs"]] if scan else ()
    states = states if scan else body.inputs[2:]
    source = _scanned(body, states) if scan else _gathered(graph, body, constants)
    if source is None:
        return None
    ends = dict(zip(states, body.outputs[0 if scan else 1 :], strict=False))
    form = cell_of(graph, source.step, ends, constants)
    if form is None:
        return None
    counters = {name: counted(graph, name, ends[name], constants) for name in states}
    for name in form.states:
        counters.pop(name)
    rows = body.outputs[len(states) + (0 if scan else 1) :]
    if any(step is None for step in counters.values()) or not set(rows) <= form.outputs.keys():
        return None
    limit = None if scan else _limit(graph, body, counters, constants)
    if not scan and limit is None:
        return None
    return _Runner(form, source, states, counters, rows, limit)


def _scanned(body: Any, states: Sequence[str]) -> _Source | None:
    """Of a Scan: its one sequence."""
    sequences = body.inputs[len(states) :]
    return _Source(sequences[0], sequences[0]) if len(sequences) == 1 else None


def _gathered(graph: Any, body: Any, constants: Mapping[str, Any]) -> _Source | None:
    """Of a Loop: what it takes the steps of, by its own count or by a state that counts."""
    ends = dict(zip(body.inputs[2:], body.outputs[1:], strict=False))
    for node in graph.nodes:
        if node.op != "Gather" or node.attributes.get("axis", 0) != 0 or node.domain:
            continue
        sequence, index = node.inputs
        counts = index == body.inputs[0]
        if index in ends:
            counts = counted(graph, index, ends[index], constants) == 1
        if counts and sequence in body.captured:
            return _Source(sequence, node.outputs[0])
    return None


class _Limit(NamedTuple):
    """When a Loop ends: before its count, or a counter, comes to a bound, or never by itself."""

    counter: str | None
    bound: str | None


def _limit(
    graph: Any, body: Any, counters: Mapping[str, Any], constants: Mapping[str, Any]
) -> list[_Limit] | None:
    """What the condition for another step compares; None for another condition."""
    maker = {name: node for node in graph.nodes for name in node.outputs}
    ends = dict(zip(body.outputs[1:], body.inputs[2:], strict=False))

    def read(name: str) -> list[_Limit] | None:
        if name == body.inputs[1] or (name in constants and bool(np.all(constants[name]))):
            return []
        node = maker.get(name)
        if node is None:
            return None
        if node.op in ("Identity", "Cast", "Squeeze"):
            return read(node.inputs[0])
        if node.op == "And":
            a, b = map(read, node.inputs)
            return None if a is None or b is None else a + b
        bounds = node.op == "Less" and (
            node.inputs[1] in body.captured or node.inputs[1] in constants
        )
        if bounds and ends.get(node.inputs[0]) in counters:
            return [_Limit(ends[node.inputs[0]], node.inputs[1])]
        return None

    try:
        return read(body.outputs[0])
    except RecursionError:
        return None


class _Runner:
    """A cell over all steps of its sequence."""

    def __init__(
        self,
        form: Form,
        source: _Source,
        states: Sequence[str],
        counters: Mapping[str, Any],
        rows: Sequence[str],
        limits: list[_Limit] | None,
    ) -> None:
        self._form, self._source, self._states = form, source, states
        self._counters, self._rows, self._limits = counters, rows, limits
        self._frozen = form.layer.freeze()

    def __call__(
        self, most: int | None, condition: Any, states: list[Any], given: Mapping[str, Any]
    ) -> tuple[Any, ...] | None:
        form, named = self._form, dict(zip(self._states, states, strict=True))
        x = given[self._source.sequence]
        starts = [named[name] for name in form.states]
        if x.ndim != 3 or any(s.ndim != 2 or s.dtype != x.dtype for s in starts):
            return None
        if x.dtype != form.layer.dtype or not len(x):
            return None
        alive = condition is None or bool(np.all(condition))
        if not alive or self._steps(most, named, given) != len(x):
            return None
        state: Any = tuple(s[np.newaxis] for s in starts)
        y, ends = self._frozen(x, state if len(state) == 2 else state[0])
        last = dict(
            zip(form.states, [e[0] for e in (ends if len(state) == 2 else (ends,))], strict=True)
        )
        for name, step in self._counters.items():
            start = np.asarray(named[name])
            last[name] = np.asarray(start + start.dtype.type(step * len(x)))
        outputs = [last[name] for name in self._states]
        return (*outputs, *(y for _ in self._rows))

    def _steps(
        self, most: int | None, named: Mapping[str, Any], given: Mapping[str, Any]
    ) -> int | None:
        """How many steps the loop takes; None where that cannot be told."""
        found = most
        for limit in self._limits or ():
            assert limit.counter is not None
            assert limit.bound is not None
            bound = given.get(limit.bound, self._form.constants.get(limit.bound))
            step, start = self._counters[limit.counter], named[limit.counter]
            if bound is None or step != 1:
                return None
            # The condition is looked at after a step, which there is in any case.
            own = max(1, int(np.ravel(bound)[0]) - int(np.ravel(start)[0]))
            found = own if found is None else min(found, own)
        return found
