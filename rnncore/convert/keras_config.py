"""The layers of a model of Keras as its JSON tells them; no word of it is believed.

Read are the forms of Keras 2 and 3, which differ in where a layer keeps its class and in how a
Functional model tells what reads what; see `rnncore.convert.keras_graph` for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnncore.convert import keras_graph

MODELS = ("Sequential", "Functional", "Model")
_DEEPEST = 20  # layers within each other
_MOST_LAYERS = 2_000
_MOST_SIZE = 1 << 40


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """A layer.

    Attributes
    ----------
    kind : the name of its class
    name : its own name
    config : what its class was made with
    inner : the layers within it, in the order of their weights: of a model its layers, without
        inputs; of a Bidirectional both directions; of a TimeDistributed one; of an RNN its cells
    order : of a model, the same layers in the order in which x goes through them
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    inner: tuple[Node, ...] = ()
    order: tuple[Node, ...] = field(default=())

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind})"

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.config.get(key, default)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._wrong(key, "true or false")

    def size(self, key: str, default: int | None = None) -> int:
        """A number of units, steps and so on; also in a list of one."""
        value = self.config.get(key, default)
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if type(value) is int and 0 < value < _MOST_SIZE:
            return value
        raise self._wrong(key, "a size")

    def number(self, key: str, default: float | None = None) -> float:
        value = self.config.get(key, default)
        if type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value):
            return float(value)
        raise self._wrong(key, "a number")

    def word(self, key: str, default: str | None = None) -> str:
        value = self.config.get(key, default)
        if isinstance(value, str):
            return value
        raise self._wrong(key, "a word")

    def _wrong(self, key: str, expected: str) -> ValueError:
        came = f"{key} {shown(self.config[key])}" if key in self.config else f"no {key}"
        return refusal(self, f"has {came}, expected {expected}")


def refusal(node: Node, why: str) -> ValueError:
    """The error of a layer that cannot be made here."""
    return ValueError(f"{node} {why}")


def shown(value: Any) -> str:
    text = (
        repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    )
    return text if len(text) <= 60 else f"{text[:57]}..."


def node_of(told: Any) -> Node:
    """A layer, with all that is within it, of how it is told.

    Raises
    ------
    ValueError for what Keras does not write, and for a class from elsewhere.
    """
    return _Reader().node(told, 0)


class _Reader:
    """Counts the layers that it reads: they may be within each other."""

    def __init__(self) -> None:
        self._count = 0

    def node(self, told: Any, depth: int) -> Node:
        self._count += 1
        if depth > _DEEPEST or self._count > _MOST_LAYERS:
            raise ValueError(
                f"there are more than {_MOST_LAYERS} layers, or {_DEEPEST} within each other"
            )
        kind, config = _class_of(told)
        name = config.get("name", "")
        if not isinstance(name, str):
            raise ValueError(f"a {kind} has the name {shown(name)}")
        node = Node(kind, name[:200], config)
        if kind in MODELS:
            return self._model(node, depth)
        if kind == "Bidirectional":
            forward = config.get("layer")
            inner: tuple[Any, ...] = (forward, config.get("backward_layer") or _turned(forward))
        elif kind == "TimeDistributed":
            inner = (config.get("layer"),)
        elif kind == "RNN":
            inner = (config.get("cell"),)
        else:
            return node
        found = self._all(inner, depth)
        if kind == "RNN" and found[0].kind == "StackedRNNCells":
            cells = found[0].config.get("cells")
            found = self._all(_list(cells, f"{node} has cells"), depth)
        return Node(kind, node.name, config, found)

    def _all(self, told: Sequence[Any], depth: int) -> tuple[Node, ...]:
        return tuple([self.node(layer, depth + 1) for layer in told])

    def _model(self, node: Node, depth: int) -> Node:
        told = _list(node.config.get("layers"), f"{node} has layers")
        if node.kind == "Sequential":
            inner = self._all(told, depth)
            return Node(node.kind, node.name, node.config, inner, inner)
        graph = keras_graph.read(str(node), node.config)
        inner = self._all(graph.layers, depth)
        order = tuple([inner[k] for k in graph.order])
        return Node("Functional", node.name, node.config, inner, order)


def _class_of(told: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(told, Mapping):
        raise ValueError(f"a layer is {shown(told)}, expected its class and config")
    kind, config = told.get("class_name"), told.get("config")
    if not isinstance(kind, str) or len(kind) > 200:
        raise ValueError(f"a layer has the class {shown(kind)}")
    if isinstance(config, list) and kind == "Sequential":  # Keras before 2.2.3
        config = {"layers": config}
    if not isinstance(config, Mapping):
        raise ValueError(f"a {kind} has the config {shown(config)}")
    module, registered = told.get("module"), told.get("registered_name")
    own = isinstance(registered, str) and ">" in registered
    if own or (isinstance(module, str) and module.split(".")[0] not in ("keras", "tf_keras")):
        name = config.get("name", "")
        where = registered if own else f"{module}.{kind}"
        raise ValueError(
            f"layer {shown(name)} ({kind}) is of the class {where}, which is no class of Keras: its"
            " code is not in the file"
        )
    return kind, config


def _turned(forward: Any) -> Any:
    """The second direction, where it is not told: as the first, from the end."""
    _, config = _class_of(forward)
    return {**forward, "config": {**config, "go_backwards": not config.get("go_backwards")}}


def _list(value: Any, what: str) -> list[Any]:
    if isinstance(value, list | tuple) and value:
        return list(value)
    raise ValueError(f"{what} {shown(value)}, expected a list")
