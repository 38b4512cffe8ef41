"""Layers from named parameters alone: their names and sizes say what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore._check.texts import shape_text
from rnncore.convert import made
from rnncore.convert.named_groups import Arrays, groups
from rnncore.convert.orders import IDS, Edge, orders_of
from rnncore.layers import cells, kinds
from rnncore.models import members
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.sequential import Sequential

_GATES = {1: "RNN", 3: "GRU", 4: "LSTM"}
_CELLS = (cells.RNNCell, cells.GRUCell, cells.LSTMCell)
_MOST_TO_ORDER = 30  # layers, of which another order is looked for
_LAYER_NORM = re.compile(r"norm|(^|_)ln(\d|_|$)")
_OTHER_NORM = re.compile(r"group|instance|batch|(^|_)(rms|[gb]n(\d|_|$))")
_SUFFIX = re.compile(r"_l(\d+)(_reverse)?$")


def of_state_dict(state_dict: Mapping[str, Any], owner: str, batch_first: bool) -> Any:
    """A layer, or a Sequential of layers in the order of the mapping.

    Where that order is no chain, as in files that are sorted by name, it is the one order in which
    every layer reads as many features as the one before gives.

    Parameters
    ----------
    state_dict : names to arrays or tensors
    owner : what it is, for messages
    batch_first : of the layers

    Raises
    ------
    ValueError that says what is ambiguous or does not fit; TypeError for what is no floats.
    """
    found = groups(state_dict, owner)
    _check_dtypes(found, owner)
    pending = [
        _Pending(prefix, _kind(prefix, arrays, owner), arrays) for prefix, arrays in found.items()
    ]
    try:
        return _chained(pending, owner, batch_first)
    except _NoChainError:
        order = _other_order(pending, owner)
        if order is None:
            raise
    return _chained(order, owner, batch_first)


class _Pending(NamedTuple):
    """A layer to be made: what stands before its names, what it seems to be, its arrays."""

    prefix: str
    kind: str
    arrays: Arrays


class _NoChainError(ValueError):
    """Of layers in an order in which they do not follow each other; another may do."""


def _chained(pending: Sequence[_Pending], owner: str, batch_first: bool) -> Any:
    """The layers in this order."""
    layers: dict[str, Any] = {}
    width: int | None = None
    for k, (prefix, kind, arrays) in enumerate(pending):
        if kind == "matrix":
            following = pending[k + 1] if k + 1 < len(pending) else None
            kind = _matrix(prefix, arrays, k == 0, following, owner)
        layer = _made(prefix, kind, arrays, owner, batch_first)
        if isinstance(layer, _CELLS) and len(pending) > 1:
            raise ValueError(
                f"{owner} has the cell {prefix!r} among other layers, and does not tell what goes"
                " from step to step: give its parameters alone"
            )
        _check_follows(layers, layer, prefix, width, owner)
        layers[_name(prefix, layers)] = layer
        width = members.width_given(layer, members.width_taken(layer))
    if len(layers) == 1:
        return next(iter(layers.values()))
    return Sequential(batch_first=batch_first or None, **layers)


def _other_order(pending: Sequence[_Pending], owner: str) -> list[_Pending] | None:
    """The one order in which widths chain; None where there is none, or too much to look at.

    What has vectors of ids is first. Where no name says so, any matrix without a bias may be that.
    """
    if len(pending) > _MOST_TO_ORDER:
        return None
    edges: list[Edge] = []
    for prefix, kind, arrays in pending:
        layer = _made(prefix, "linear" if kind == "matrix" else kind, arrays, owner, False)
        taken = members.width_taken(layer)
        given = members.width_given(layer, taken)
        if isinstance(layer, _CELLS) or taken is None or given is None:
            return None
        edges.append((taken, given))
    matrices = [k for k, one in enumerate(pending) if one.kind == "matrix"]
    named = [k for k in matrices if _is_embedding(pending[k].prefix)]
    found: dict[tuple[int, ...], None] = {}
    firsts: list[int | None] = [*named] or [None, *matrices]
    for first in firsts:
        own = list(edges)
        if first is not None:
            own[first] = (IDS, pending[first].arrays["weight"].shape[1])
        found |= dict.fromkeys(orders_of(own, 2))
    if len(found) > 1:
        names = [", ".join(pending[k].prefix.rstrip(".") or "layer" for k in o) for o in found]
        raise ValueError(
            f"{owner} has its layers in an order that is no chain, and is ambiguous, since more"
            f" than one other is: ({names[0][:500]}) or ({names[1][:500]}); give a mapping in the"
            " order of the layers"
        )
    order = next(iter(found), None)
    return None if order is None else [pending[k] for k in order]


def _check_dtypes(found: Mapping[str, Arrays], owner: str) -> None:
    first: tuple[str, np.dtype[Any]] | None = None
    for prefix, arrays in found.items():
        for name, a in arrays.items():
            if first is None:
                first = prefix + name, a.dtype
            elif a.dtype != first[1]:
                raise TypeError(
                    f"{owner} has {prefix + name!r} of dtype {a.dtype} and {first[0]!r} of"
                    f" {first[1]}, expected one"
                )


def _name(prefix: str, taken: Mapping[str, Any]) -> str:
    parts = [part for part in prefix.split(".") if part] or ["layer"]
    name = parts[-1][:40]
    if name in taken:
        name = "_".join(parts)[-40:]
    while name in taken or name == "batch_first":
        name += "_"
    return name


def _kind(prefix: str, arrays: Arrays, owner: str) -> str:
    """What has parameters of these names."""
    names = set(arrays)
    if any(name.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")) for name in names):
        return "recurrent"
    weight = arrays.get("weight")
    if "running_mean" in names:
        return "batch norm"
    if weight is None:
        raise ValueError(f"{owner} has {_told(prefix, arrays)}, which is no layer that is known")
    if weight.ndim == 3:
        raise ValueError(
            f"{owner} has {_told(prefix, arrays)}: a convolution, whose stride and padding no"
            " state_dict tells; give the module itself"
        )
    if weight.ndim == 2:
        return "linear" if "bias" in names else "matrix"
    if weight.ndim == 1 and "bias" in names and len(weight) > 1:
        named = [part for part in prefix.lower().split(".") if part.strip("0123456789")]
        if not named or _OTHER_NORM.search(named[-1]) or not _LAYER_NORM.search(named[-1]):
            raise ValueError(
                f"{owner} has {_told(prefix, arrays)}: ambiguous, since a LayerNorm, a GroupNorm"
                " and others have such parameters, and no name as 'norm' or 'ln' says which; give"
                " the module itself"
            )
        return "layer norm"
    raise ValueError(f"{owner} has {_told(prefix, arrays)}, which is no layer that is known")


def _told(prefix: str, arrays: Arrays) -> str:
    shapes = [f"{prefix + name!r} {shape_text(a.shape)}" for name, a in arrays.items()]
    return ", ".join(shapes[:6])


def _matrix(
    prefix: str, arrays: Arrays, first: bool, following: _Pending | None, owner: str
) -> str:
    """Whether a matrix without a bias is a linear map or the vectors of ids."""
    rows, columns = arrays["weight"].shape
    if not first:
        return "linear"
    if _is_embedding(prefix):
        return "embedding"
    wanted = None if following is None else _taken(following.kind, following.arrays)
    if wanted == columns != rows:
        return "embedding"
    if wanted == rows != columns:
        return "linear"
    raise _NoChainError(
        f"{owner} has {_told(prefix, arrays)}: ambiguous, an Embedding of {rows} ids or a Linear of"
        f" {columns} features without bias"
    )


def _is_embedding(prefix: str) -> bool:
    """Whether a name says that something holds vectors of ids."""
    return re.search(r"(?<!un)embed|(^|\.|_)emb(\.|_|$)", prefix.lower()) is not None


def _taken(kind: str, arrays: Arrays) -> int | None:
    """How many features something reads."""
    if kind == "recurrent":
        first = arrays.get("weight_ih_l0", arrays.get("weight_ih"))
        return None if first is None or first.ndim != 2 else first.shape[1]
    weight = arrays.get("weight", arrays.get("running_mean"))
    return None if weight is None else weight.shape[-1]


def _made(prefix: str, kind: str, arrays: Arrays, owner: str, batch_first: bool) -> Any:
    try:
        if kind == "recurrent":
            return _recurrent(arrays, batch_first)
        if kind == "batch norm":
            size, affine = len(arrays["running_mean"]), "weight" in arrays
            return made.part(BatchNorm, arrays, own=True, size=size, affine=affine)
        weight = arrays["weight"]
        if kind == "layer norm":
            return made.part(LayerNorm, arrays, own=True, size=len(weight))
        if kind == "embedding":
            V, D = weight.shape
            sizes = {"num_embeddings": V, "embedding_dim": D}
            return made.part(Embedding, arrays, own=True, **sizes)
        out, features = weight.shape
        sizes = {"in_features": features, "out_features": out}
        return made.part(Linear, arrays, own=True, **sizes, bias="bias" in arrays)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{owner} has {_told(prefix, arrays)}, which is no {kind} layer: {error}"
        ) from error


def _recurrent(arrays: Arrays, batch_first: bool) -> Any:
    """A layer, or a cell where the names have no number of a layer."""
    suffixes = {name: _SUFFIX.search(name) for name in arrays}
    numbered = [match for match in suffixes.values() if match is not None]
    is_cell = not numbered
    if numbered and len(numbered) != len(arrays):
        raise ValueError("some names have the number of a layer, and others not")
    end = "" if is_cell else "_l0"
    missing = [name for name in ("weight_ih" + end, "weight_hh" + end) if name not in arrays]
    if missing:
        raise ValueError(f"{missing[0]!r} is missing")
    w_ih, w_hh = arrays["weight_ih" + end], arrays["weight_hh" + end]
    if w_ih.ndim != 2 or w_hh.ndim != 2 or not w_hh.shape[1]:
        raise ValueError(f"weights have {w_ih.ndim} and {w_hh.ndim} axes, expected 2")
    projection, rows = arrays.get("weight_hr" + end), len(w_hh)
    hidden = w_hh.shape[1] if projection is None else projection.shape[-1]
    gates = 0 if not hidden or rows % hidden else rows // hidden
    kind = _GATES.get(gates)
    if kind is None or (projection is not None and kind != "LSTM"):
        raise ValueError(
            f"weight_hh has {rows} rows of {hidden} hidden units, expected 1, 3 or 4 times as many"
        )
    options: dict[str, Any] = {
        "input_size": w_ih.shape[1], "hidden_size": hidden, "bias": "bias_ih" + end in arrays,
    }  # fmt: skip
    if projection is not None:
        options["proj_size"] = len(projection)
    if "weight_ch" + end in arrays:
        raise ValueError("it has peepholes, of which there are two kinds")
    if is_cell:
        return made.recurrent(getattr(cells, kind + "Cell"), options, arrays, own=True)
    options["num_layers"] = 1 + max(int(match[1][:9]) for match in numbered)
    options["bidirectional"] = any(match[2] for match in numbered)
    options["batch_first"] = batch_first
    if options["num_layers"] > len(arrays):
        raise ValueError(f"it has {len(arrays)} parameters for {options['num_layers']} layers")
    return made.recurrent(getattr(kinds, kind), options, arrays, own=True)


def _check_follows(
    layers: Mapping[str, Any], layer: Any, prefix: str, width: int | None, owner: str
) -> None:
    """Refuse what does not read what the layer before gives, and what hides something between."""
    if not layers:
        return
    name, last = list(layers.items())[-1]
    wants = members.width_taken(layer)
    if isinstance(layer, Embedding):
        raise _NoChainError(
            f"{owner} has the embedding {prefix!r} after {name!r}, expected it first"
        )
    if wants != width:
        raise _NoChainError(
            f"{owner} has {prefix!r} after {name!r}, which reads {wants} features where that gives"
            f" {width}: no chain; take the parameters of one layer alone"
        )
    if isinstance(last, Linear) and isinstance(layer, Linear):
        raise ValueError(
            f"{owner} has {prefix!r} right after {name!r}: ambiguous, since what is between two"
            " Linear has no parameters; give the module itself"
        )
