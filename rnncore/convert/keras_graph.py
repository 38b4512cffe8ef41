"""The order of the layers of a Functional model of Keras, if they are a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# What computes a mask, beside the chain; Keras 3 tells it as it does layers.
_OF_MASKS = ("NotEqual", "Any", "Squeeze", "ExpandDims", "LogicalAnd", "Cast")
_DEEPEST = 20


class Graph(NamedTuple):
    """The layers of a model.

    Attributes
    ----------
    layers : as they are told, without what computes masks
    order : their places in `layers`, in the order in which x goes through them
    """

    layers: list[Mapping[str, Any]]
    order: list[int]


class Taken(NamedTuple):
    """What a layer reads: output `k` of a layer."""

    name: str
    k: int


def read(model: str, config: Mapping[str, Any]) -> Graph:
    """The chain of the layers of a Functional model.

    Parameters
    ----------
    model : how messages call it
    config : of it

    Raises
    ------
    ValueError that names the first layer that does not stand in a chain.
    """
    told = {_name_of(model, layer): layer for layer in config["layers"]}
    if len(told) != len(config["layers"]):
        raise ValueError(f"{model} has two layers of one name")
    ends = {key: list(_ends(config.get(key))) for key in ("input_layers", "output_layers")}
    for at in ends["output_layers"][1:]:
        if at.k:
            raise ValueError(
                f"{model} has {len(ends['output_layers'])} outputs, expected one: it also gives"
                f" output {at.k} of layer {at.name!r}; final states are beside y here anyhow, so a"
                " model of y alone will do"
            )
    for key, found in ends.items():
        if len(found) != 1 or found[0].name not in told:
            raise ValueError(f"{model} has {len(found)} {key.split('_')[0]}s, expected one")
    (start,), (at,) = ends["input_layers"], ends["output_layers"]
    order: dict[str, None] = {}
    while True:
        if at.k:
            raise ValueError(
                f"{model} reads output {at.k} of layer {at.name!r}, expected its first: final"
                " states go on to the next call, and nowhere else"
            )
        if at.name in order:
            raise ValueError(f"{model} goes in a circle, at layer {at.name!r}")
        order[at.name] = None
        if at.name == start.name:
            break
        at = _source(model, told, at.name)
    for name, layer in told.items():
        if name not in order and layer.get("class_name") not in _OF_MASKS:
            kind = str(layer.get("class_name"))[:60]
            raise ValueError(
                f"layer {name!r} ({kind}) stands beside the chain from input to output"
            )
    names = [name for name in told if name in order]
    places = {name: k for k, name in enumerate(names)}
    return Graph([told[name] for name in names], [places[name] for name in reversed(order)])


def _source(model: str, told: Mapping[str, Any], name: str) -> Taken:
    """What a layer of a chain reads."""
    layer = told[name]
    kind = str(layer.get("class_name"))[:60]
    place, calls = f"layer {name!r} ({kind})", layer.get("inbound_nodes")
    if not isinstance(calls, list | tuple) or len(calls) != 1:
        count = len(calls) if isinstance(calls, list | tuple) else 0
        raise ValueError(f"{place} is called {count} times in {model}, expected once")
    args, kwargs = _call(calls[0])
    taken = list(_tensors(args))
    if len(taken) != 1:
        raise ValueError(f"{place} has {len(taken)} inputs, expected one: branches do not fit")
    for key, value in kwargs.items():
        masks = key == "mask" and all(
            told.get(found.name, {}).get("class_name") in _OF_MASKS for found in _tensors(value)
        )
        if value not in (None, False) and not masks:
            raise ValueError(f"{place} is called with {key[:60]}=, which does not fit in a chain")
    if taken[0].name not in told:
        raise ValueError(f"{place} reads layer {taken[0].name[:60]!r}, which there is not")
    return taken[0]


def _call(told: Any) -> tuple[Any, Mapping[str, Any]]:
    """The arguments of a call of a layer: as Keras 3 tells them, or as Keras 2 does."""
    if isinstance(told, Mapping):
        kwargs = told.get("kwargs")
        return told.get("args"), kwargs if isinstance(kwargs, Mapping) else {}
    kwargs = {}
    if isinstance(told, list | tuple):
        for entry in told:
            if (
                isinstance(entry, list | tuple)
                and len(entry) == 4
                and isinstance(entry[3], Mapping)
            ):
                kwargs.update(entry[3])
    return told, kwargs


def _tensors(told: Any, depth: int = 0) -> Iterator[Taken]:
    """All outputs of layers in an argument."""
    if depth > _DEEPEST:
        raise ValueError("a call has arguments within arguments without end")
    if isinstance(told, Mapping):
        config = told.get("config")
        if told.get("class_name") == "__keras_tensor__" and isinstance(config, Mapping):
            yield from _ends(config.get("keras_history"))
    elif isinstance(told, list | tuple):
        if _is_end(told):
            yield Taken(told[0], told[2])
        else:
            for entry in told:
                yield from _tensors(entry, depth + 1)


def _ends(told: Any) -> Iterator[Taken]:
    """Triples of a layer's name, its call and which of its outputs, in a list or alone."""
    if isinstance(told, Mapping):  # of names
        told = list(told.values())
    if _is_end(told):
        yield Taken(told[0], told[2])
    elif isinstance(told, list | tuple):
        for entry in told:
            if _is_end(entry):
                yield Taken(entry[0], entry[2])
            elif isinstance(entry, list | tuple) and any(map(_is_end, entry)):
                yield from _ends(entry)


def _is_end(told: Any) -> bool:
    return (
        isinstance(told, list | tuple)
        and len(told) in (3, 4)
        and isinstance(told[0], str)
        and type(told[1]) is int
        and type(told[2]) is int
    )


def _name_of(model: str, layer: Any) -> str:
    config = layer.get("config") if isinstance(layer, Mapping) else None
    if not isinstance(config, Mapping):
        raise ValueError(f"{model} has a layer without a config")
    name = layer.get("name", config.get("name"))
    if not isinstance(name, str):
        raise ValueError(f"{model} has a layer without a name")
    return name
