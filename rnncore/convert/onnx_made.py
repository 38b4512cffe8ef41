"""Layers, from what was found of them: nodes upon each other as one layer, names, objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnncore.convert.onnx_cells import CELLS
from rnncore.convert.onnx_values import Made
from rnncore.layers.parameters import LATER
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.conv import Conv1d
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.part import without_values
from rnncore.models.pool import Pool
from rnncore.models.residual import Residual
from rnncore.models.reverse import Reverse

__all__ = ["below", "layers_of", "stacked"]

_PARTS: Mapping[str, Any] = {
    kind.__name__: kind
    for kind in (Activation, BatchNorm, Conv1d, Embedding, LayerNorm, Linear, Pool, Reverse)
}


def stacked(made: Sequence[Made], named: bool) -> list[Made]:
    """Recurrent layers of one size that follow each other, as one of several layers.

    `named`: the nodes have the names that `rnncore.onnx.export` gives: those of one layer begin
    alike, and others stay apart.
    """
    found: list[Made] = []
    for layer in made:
        if layer.inner:
            layer = layer._replace(inner=tuple(stacked(layer.inner, named)))
        below = found[-1] if found else None
        upper = layer.inner[0] if layer.kind == "Bidirectional" else layer
        if below is not None and _fits_upon(below, upper, named):
            k = below.options["num_layers"]
            params = {name.replace("_l0", f"_l{k}"): a for name, a in upper.params.items()}
            whole = below._replace(
                options={**below.options, "num_layers": k + 1}, params={**below.params, **params}
            )
            found[-1] = layer._replace(inner=(whole,)) if upper is not layer else whole
        else:
            found.append(layer)
    return found


def _fits_upon(below: Made, layer: Made, named: bool) -> bool:
    if layer.kind not in CELLS or layer.kind != below.kind:
        return False
    if named and _member(below.name) != _member(layer.name):
        return False
    own, under = dict(layer.options), dict(below.options)
    sizes = [options.pop("input_size") for options in (own, under)]
    under["num_layers"] = 1
    return own == under and sizes[0] == own["hidden_size"] * (2 if own["bidirectional"] else 1)


def layers_of(made: Sequence[Made], batch_first: bool, named: bool) -> dict[str, Any]:
    """The layers by their names: their places, or as the nodes of an export of this package say."""
    names = _names(made) if named else []
    if not all(_is_name(name) for name in names) or len(names) < len(made):
        names = [str(k) for k in range(len(made))]
    return {
        name: _layer(layer, batch_first, named) for name, layer in zip(names, made, strict=True)
    }


def _names(made: Sequence[Made]) -> list[str]:
    """As the nodes say; a layer that was written as several gets a number from its second on."""
    names: list[str] = []
    for layer in made:
        name = stem = _member(layer.name)
        k = 1
        while name in names:
            k += 1
            name = f"{stem}_{k}"
        names.append(name)
    return names


def below(at: str, name: str) -> str:
    """The beginning of the names of a member's nodes; a slash is between models alone.

    >>> below("block", "a/b")
    'block/a%2Fb'
    """
    quoted = name.replace("%", "%25").replace("/", "%2F")
    return f"{at}/{quoted}" if at else quoted


def _member(name: str) -> str:
    """``"rnn"`` of ``"rnn/l0"``."""
    return name.split("/")[0].replace("%2F", "/").replace("%25", "%")


def _is_name(name: str) -> bool:
    return bool(name) and "." not in name and len(name) <= 50


def _layer(made: Made, batch_first: bool, named: bool) -> Any:
    time = {"batch_first": batch_first} if made.timed else {}
    if made.kind == "Residual":
        inner = [made_._replace(name=_inner(made_.name)) for made_ in made.inner]
        return Residual(**_words(layers_of(inner, batch_first, named)))
    if made.kind == "Bidirectional":
        return Bidirectional(_layer(made.inner[0], batch_first, named), **made.options)
    if made.kind in CELLS:
        layer = CELLS[made.kind](**made.options, **time, rng=LATER)
        _check_shapes(made, layer._shapes)
        layer.params = dict(made.params)
        return layer
    part = without_values(_PARTS[made.kind], {**made.options, **time})
    _check_shapes(made, {**part._shapes, **part._buffer_shapes})
    part.params, part.buffers = dict(made.params), dict(made.buffers)
    return part


def _inner(name: str) -> str:
    """``"rnn/l0"`` of ``"block/rnn/l0"``."""
    return name.partition("/")[2]


def _words(layers: Mapping[str, Any]) -> Mapping[str, Any]:
    return layers


def _check_shapes(made: Made, shapes: Mapping[str, tuple[int, ...]]) -> None:
    found: dict[str, np.ndarray] = {**made.params, **made.buffers}
    for name, shape in shapes.items():
        if name not in found or found[name].shape != shape:
            came = found[name].shape if name in found else "none"
            raise ValueError(f"{made.kind} has {name} of shape {came}, expected {shape}")
