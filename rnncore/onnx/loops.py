"""If, Loop and Scan: graphs in graphs, which see the values around them.

A Loop or Scan whose body is a recurrent cell runs as a layer (`rnncore.onnx.cell_loops`); any other
runs its body step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.convert.onnx_graph import Graph, Node
from rnncore.convert.onnx_ops import Kernel, evaluator
from rnncore.onnx.cell_loops import as_layer

__all__ = ["controlled"]

_MOST_STEPS = 1 << 22  # of a Loop: more is one that does not end
Make = Callable[..., Any]  # of a Program


def controlled(
    node: Node, opsets: Mapping[str, int], known: Mapping[str, Any], make: Make
) -> tuple[Kernel, list[str]]:
    """What computes a node with graphs in it, and the names that it reads after its own inputs."""
    builders = {"If": _if, "Loop": _loop, "Scan": _scan}
    if node.domain or node.op not in builders:
        if any(graph.captured for graph in node.graphs):
            raise ValueError(
                f"{node} holds a graph that reads values from around it, expected that of"
                f" {', '.join(builders)} alone"
            )
        return evaluator(node, opsets), []
    if node.op == "Scan" and opsets[""] < 9:
        raise ValueError(f"{node} is of opset {opsets['']}, expected 9 or later")
    bodies = {
        name: make(value, opsets, _without(known, value))
        for name, value in node.attributes.items()
        if isinstance(value, Graph)
    }
    more = sorted({name for body in bodies.values() for name in body.captured})
    return builders[node.op](node, bodies, more, known), more


def _without(known: Mapping[str, Any], graph: Graph) -> dict[str, Any]:
    """The constants that a graph reads from around it; its own names hide others."""
    return {name: known[name] for name in graph.captured if name in known}


def _captured(body: Any, more: Sequence[str], given: Sequence[Any]) -> list[Any]:
    values = dict(zip(more, given, strict=True))
    return [values[name] for name in body.captured]


def _if(node: Node, bodies: dict[str, Any], more: list[str], known: Mapping[str, Any]) -> Kernel:
    branches = bodies.get("else_branch"), bodies.get("then_branch")
    if None in branches:
        raise ValueError(f"{node} has no then_branch or no else_branch")

    def run(condition: np.ndarray, *given: Any) -> tuple[Any, ...]:
        if condition.size != 1:
            raise ValueError(f"its condition has shape {condition.shape}, expected one number")
        body = branches[bool(condition.ravel()[0])]
        return tuple(body(*_captured(body, more, given)))  # type: ignore[misc]

    return run


def _loop(node: Node, bodies: dict[str, Any], more: list[str], known: Mapping[str, Any]) -> Kernel:
    body = _body(node, bodies)
    carried, places = len(body.inputs) - 2, len(node.inputs)
    scanned = len(body.outputs) - carried - 1
    if carried != max(places - 2, 0) or scanned < 0:
        raise ValueError(f"{node} has {places} inputs, and a body of {len(body.inputs)} inputs")
    layer = as_layer(node, body, known)

    def run(*inputs: Any) -> tuple[Any, ...]:
        M, condition = (*inputs[:places], None, None)[:2] if places < 2 else inputs[:2]
        states, around = list(inputs[2:places]), inputs[places:]
        steps = None if M is None else max(0, int(np.asarray(M).ravel()[0]))
        if layer is not None:
            found = layer(steps, condition, states, dict(zip(more, around, strict=True)))
            if found is not None:
                return tuple(found)
        captured = _captured(body, more, around)
        rows: list[list[Any]] = [[] for _ in range(scanned)]
        alive = True if condition is None else bool(np.asarray(condition).ravel()[0])
        step, room = 0, _Room()
        while alive and (steps is None or step < steps):
            _check_steps(step)
            found = body(np.array(step, np.int64), np.array(alive), *states, *captured)
            alive, states = bool(np.asarray(found[0]).ravel()[0]), found[1 : 1 + carried]
            for own, row in zip(rows, found[1 + carried :], strict=True):
                own.append(room.taking(row))
            step += 1
        return (*states, *(_stacked(own, node) for own in rows))

    return run


def _scan(node: Node, bodies: dict[str, Any], more: list[str], known: Mapping[str, Any]) -> Kernel:
    body, a = _body(node, bodies), node.attributes
    read, places = a.get("num_scan_inputs", 0), len(node.inputs)
    carried = places - read
    written = len(body.outputs) - carried
    if read < 1 or carried < 0 or written < 0 or len(body.inputs) != places:
        raise ValueError(f"{node} has {places} inputs, and a body of {len(body.inputs)} inputs")

    def each(name: str, count: int) -> list[int]:
        found = list(a.get(name) or [0] * count)
        if len(found) != count:
            raise ValueError(f"{node} has {name} {found}, expected {count} entries")
        return found

    axes, reverses = each("scan_input_axes", read), each("scan_input_directions", read)
    out_axes = each("scan_output_axes", written)
    out_reverses = each("scan_output_directions", written)
    layer = as_layer(node, body, known)

    def run(*inputs: Any) -> tuple[Any, ...]:
        states, around = list(inputs[:carried]), inputs[places:]
        sequences = [
            np.moveaxis(value, axis, 0)[:: -1 if reverse else 1]
            for value, axis, reverse in zip(inputs[carried:places], axes, reverses, strict=True)
        ]
        T = len(sequences[0])
        if any(len(one) != T for one in sequences):
            raise ValueError("its sequences have different numbers of steps")
        found = None
        if layer is not None:
            named = dict(zip(more, around, strict=True))
            named |= dict(zip(body.inputs[carried:], sequences, strict=True))
            found = layer(T, None, states, named)
        if found is None:
            captured, room = _captured(body, more, around), _Room()
            rows: list[list[Any]] = [[] for _ in range(written)]
            for step in range(T):
                values = body(*states, *(one[step] for one in sequences), *captured)
                states = values[:carried]
                for own, row in zip(rows, values[carried:], strict=True):
                    own.append(room.taking(row))
            found = (*states, *(_stacked(own, node) for own in rows))
        outputs = [
            np.moveaxis(value[:: -1 if reverse else 1], 0, axis)
            for value, axis, reverse in zip(found[carried:], out_axes, out_reverses, strict=True)
        ]
        return (*found[:carried], *outputs)

    return run


def _body(node: Node, bodies: dict[str, Any]) -> Any:
    if "body" not in bodies:
        raise ValueError(f"{node} has no body")
    return bodies["body"]


def _stacked(rows: list[Any], node: Node) -> np.ndarray:
    if not rows:
        raise ValueError("it has no steps, and so no telling of what shape its outputs are")
    return np.stack(rows)


def _check_steps(step: int) -> None:
    if step > _MOST_STEPS:
        raise ValueError(f"it goes on after {_MOST_STEPS:,} steps, expected it to end")


class _Room:
    """What a loop may keep of its steps: as much as there is memory."""

    def __init__(self) -> None:
        self._left = _check.memory()

    def taking(self, row: Any) -> Any:
        self._left -= getattr(row, "nbytes", 0)
        if self._left < 0:
            raise ValueError("what it keeps of its steps is more than there is memory")
        return row
