"""Which arrays belong to which layer, in each of the places where Keras keeps them.

A file .weights.h5 of Keras 3 has a group for each layer, named by the classes in order; a legacy
file .h5 has for each layer of the model a list of names, those of training first; a model in memory
has its layers. Sources: `keras.src.saving.saving_lib` and `legacy_h5_format` of Keras 3.15,
`keras.src.saving` of Keras 2.12 to 2.15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rnncore.convert import keras_cudnn, widened
from rnncore.convert.hdf5 import Array, Group
from rnncore.convert.keras_config import MODELS, Node, refusal

Weights = Callable[[Node], list[np.ndarray]]  # of a layer without layers within it
RECURRENT = ("LSTM", "GRU", "SimpleRNN", *keras_cudnn.PLAIN)
CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}
_LAYERS = ("layers", "_layer_checkpoint_dependencies")  # the second of Keras 2.12 and 2.13


def counts(node: Node) -> tuple[int, int]:
    """How many arrays a layer has: those of training, and others."""
    kind = CELLS.get(node.kind, node.kind)
    if kind in RECURRENT:
        return 2 + node.flag("use_bias", True), 0
    if kind in ("Dense", "Conv1D"):
        return 1 + node.flag("use_bias", True), 0
    if kind in ("BatchNormalization", "LayerNormalization"):
        moving = 2 if kind == "BatchNormalization" else 0
        return node.flag("scale", True) + node.flag("center", True), moving
    return int(kind == "Embedding"), 0


def leaves(node: Node) -> Iterator[Node]:
    """The layers without layers within them, in the order of their weights."""
    if not node.inner:
        yield node
    for inner in node.inner:
        yield from leaves(inner)


def snake_case(name: str) -> str:
    """How Keras writes the name of a class: an underscore before each word, letters small.

    >>> snake_case("LayerNormalization"), snake_case("ReLU"), snake_case("GlobalMaxPooling1D")
    ('layer_normalization', 're_lu', 'global_max_pooling1d')
    """
    words = re.sub(r"(?<=.)([A-Z][a-z]+)", r"_\1", re.sub(r"\W+", "", name))
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", words).lower()


# Files of Keras 3, and .keras of Keras 2


def of_groups(root: Group, model: Node) -> Weights:
    """The arrays of a file .weights.h5."""
    paths: dict[Node, str] = {}
    _find(root, model, "", paths)

    def read(node: Node) -> list[np.ndarray]:
        wanted, path = sum(counts(node)), paths[node]
        group = root.group(f"{path}/vars")
        names = [] if group is None else sorted(group.members, key=lambda name: (len(name), name))
        if names != [str(k) for k in range(wanted)]:
            raise refusal(node, f"has {len(names)} arrays at {path}/vars, expected {wanted}")
        assert group is not None or not names
        return [_floats(node, group and group.find(name)) for name in names]

    return read


def _find(root: Group, node: Node, path: str, paths: dict[Node, str]) -> None:
    """The paths of the groups of a layer and of those within it."""
    if node.kind in MODELS:
        own = [name for name in _LAYERS if root.group(f"{path}/{name}") is not None]
        _find_all(root, node.inner, f"{path}/{own[0] if own else _LAYERS[0]}", paths)
    elif node.kind == "Bidirectional":
        for inner, name in zip(node.inner, ("forward_layer", "backward_layer"), strict=True):
            _find(root, inner, f"{path}/{name}", paths)
    elif node.kind == "TimeDistributed":
        _find(root, node.inner[0], f"{path}/layer", paths)
    elif node.kind == "RNN":
        if root.group(f"{path}/cell/cells") is not None:
            _find_all(root, node.inner, f"{path}/cell/cells", paths)
        else:
            for cell in node.inner:
                paths[cell] = f"{path}/cell"
    else:
        paths[node] = f"{path}/cell" if node.kind in RECURRENT else path


def _find_all(root: Group, nodes: Sequence[Node], path: str, paths: dict[Node, str]) -> None:
    """Of the layers of a list: they are numbered within their class.

    The list of Keras 2.13 has a layer with weights twice, the second time without its arrays, so
    that a number is left out.
    """
    weighted = [any(sum(counts(leaf)) for leaf in leaves(node)) for node in nodes]
    names = _numbered(nodes, [1] * len(nodes))
    there = [root.group(f"{path}/{name}") is not None for name in names]
    if path.endswith(_LAYERS[1]) and any(w and not t for w, t in zip(weighted, there, strict=True)):
        names = _numbered(nodes, [1 + w for w in weighted])
    for node, name in zip(nodes, names, strict=True):
        _find(root, node, f"{path}/{name}", paths)


def _numbered(nodes: Sequence[Node], takes: Sequence[int]) -> list[str]:
    """The names of groups, of layers that take so many numbers each."""
    used: dict[str, int] = {}
    names = []
    for node, count in zip(nodes, takes, strict=True):
        stem = snake_case(node.kind)
        k = used.get(stem, 0)
        names.append(f"{stem}_{k}" if k else stem)
        used[stem] = k + count
    return names


# Legacy files


def of_names(root: Group, model: Node) -> Weights:
    """The arrays of a legacy file, from the group that has one for each layer of the model."""
    found: dict[Node, list[Array | Group | None]] = {}
    for layer in model.inner:
        stored = _named(root, layer)
        own = [leaf for leaf in leaves(layer) if sum(counts(leaf))]
        wanted = sum(sum(counts(leaf)) for leaf in own)
        if len(stored) != wanted:
            raise refusal(layer, f"has {len(stored)} arrays, expected {wanted}")
        trained = {leaf: 0 if _is_fixed(layer, leaf) else counts(leaf)[0] for leaf in own}
        first, second = 0, sum(trained.values())
        for leaf in own:  # what is trained of all of them comes first
            end, last = first + trained[leaf], second + sum(counts(leaf)) - trained[leaf]
            found[leaf] = stored[first:end] + stored[second:last]
            first, second = end, last
    return lambda node: [_floats(node, array) for array in found.get(node, [])]


def _named(root: Group, layer: Node) -> list[Array | Group | None]:
    group = root.group(layer.name)
    if group is None:
        return []
    names = texts(group, "weight_names")
    return [group.find(name) for name in names]


def texts(group: Group, key: str) -> list[str]:
    """A list of texts, which Keras cuts in pieces ``key0``, ``key1`` where it is long."""
    if key in group.attributes:
        found = group.attributes[key]
        return list(found) if isinstance(found, list) else []
    pieces, names = iter(group.attributes.get(f"{key}{k}") for k in range(10_000)), []
    for piece in pieces:
        if not isinstance(piece, list):
            break
        names += piece
    return names


def _is_fixed(layer: Node, leaf: Node) -> bool:
    """Whether nothing of `leaf` is trained; of a layer alone the order is the same."""
    return not layer.flag("trainable", True) or not leaf.flag("trainable", True)


# Models in memory


def of_live(model: Any, tree: Node) -> Weights:
    """The arrays of the layers of a model of Keras in memory."""
    owners: dict[Node, Any] = {}
    _match(tree, model, owners)

    def read(node: Node) -> list[np.ndarray]:
        arrays = [_native(node, array) for array in owners[node].get_weights()]
        if len(arrays) != sum(counts(node)):
            raise refusal(node, f"has {len(arrays)} arrays, expected {sum(counts(node))}")
        return arrays

    return read


def _match(node: Node, layer: Any, owners: dict[Node, Any]) -> None:
    owners[node] = layer
    if node.kind in MODELS:
        by_name = {inner.name: inner for inner in layer.layers}
        for inner in node.inner:
            if inner.name in by_name:  # which has no input of a Sequential
                _match(inner, by_name[inner.name], owners)
    elif node.kind == "Bidirectional":
        _match(node.inner[0], layer.forward_layer, owners)
        _match(node.inner[1], layer.backward_layer, owners)
    elif node.kind == "TimeDistributed":
        _match(node.inner[0], layer.layer, owners)
    elif node.kind == "RNN":
        cells = getattr(layer.cell, "cells", [layer.cell])
        for inner, cell in zip(node.inner, cells, strict=True):
            _match(inner, cell, owners)


# Numbers


def _floats(node: Node, array: Array | Group | None) -> np.ndarray:
    if not isinstance(array, Array):
        raise refusal(node, "has an array that is not in the file")
    try:
        found = array.read()
        if array.kind.bfloat16:
            return widened.of_bfloat16(found.astype(np.uint16))
    except ValueError as error:
        raise refusal(node, f"cannot be read: {error}") from error
    return _native(node, found)


def _native(node: Node, array: Any) -> np.ndarray:
    try:
        return widened.floats("an array", array)
    except TypeError as error:
        raise refusal(node, f"has {error}") from error
