"""What PyTorch's recurrent operators are as layers, and what is made of their final states."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore.convert import made
from rnncore.convert.flow import Axis, Refusal, Source, Value
from rnncore.convert.torch_node import Call, Final, Given, Half, Recurrence, flowing, settles
from rnncore.convert.torch_ops import product, reads
from rnncore.layers.kinds import BY_PREFIX
from rnncore.layers.parameters import LATER, suffixes
from rnncore.models.ends import Ends
from rnncore.models.pool import Pool

_LAYERS = {kind.__name__: kind for kind in BY_PREFIX.values()}


@reads("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> tuple[Any, ...]:
    if len(call.args) != 9:
        raise Refusal("it reads a packed sequence: rnncore's layers take lengths= instead")
    x, hx, weights, bias, L, dropout, training, both, batch_first = call.args
    if training and dropout:
        raise Refusal("it drops numbers at inference too (training=True)")
    kind = call.op[:3].upper() if call.op != "lstm" else "LSTM"
    own: dict[str, Any] = {"nonlinearity": call.op[4:]} if kind == "RNN" else {}
    arrays = [call.array(weight, "weight") for weight in weights]
    each = len(arrays) // (L * (2 if both else 1))
    if each == 2 + 2 * bias + 1:
        last = arrays[each - 1]
        assert last is not None
        own["proj_size"] = len(last)
    first, second = arrays[:2]
    assert first is not None
    assert second is not None
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    options = {
        "input_size": first.shape[1], "hidden_size": len(second) // gates, "num_layers": L,
        "bias": bias, "dropout": dropout, "bidirectional": both, **own,
    }  # fmt: skip
    states = list(hx) if isinstance(hx, list | tuple) else [hx]
    return _outputs(call, kind, options, arrays, flowing(x, call.source), states, batch_first)


@reads("infer")
def of_rnncore(call: Call) -> tuple[Any, ...]:
    """An operator of rnncore.torch, whose first argument tells all options."""
    spec, x, lengths, states, weights = call.args
    if lengths is not None:
        raise Refusal("it reads lengths: a model of rnncore takes them when it is called")
    kind, options = json.loads(spec)
    if kind not in _LAYERS:
        raise Refusal("it is one step of a cell, expected a layer")
    options.pop("dtype")
    batch_first = options.pop("batch_first")
    arrays = [call.array(weight, "weight") for weight in weights]
    return _outputs(call, kind, options, arrays, flowing(x, call.source), states, batch_first)


def _outputs(
    call: Call,
    kind: str,
    options: dict[str, Any],
    arrays: Sequence[np.ndarray | None],
    x: Value,
    states: Sequence[Any],
    batch_first: bool,
) -> tuple[Any, ...]:
    """y and the final states of a layer that reads x."""
    names = _names(kind, options)
    if len(names) != len(arrays):
        raise Refusal(f"it has {len(arrays)} parameters, expected {len(names)}")
    params = {name: a for name, a in zip(names, arrays, strict=True) if a is not None}
    x = x.channels(-1)
    roles = ("T",) if len(x.entries) == 2 else ("B", "T") if batch_first else ("T", "B")
    for dim, role in enumerate(roles):
        if role == "B" and not x.entries[dim]:
            continue  # PyTorch puts it around what has no batch
        x = x.known(dim, role, f"axis {dim} of what it reads")

    def plain(first: bool) -> Any:
        return made.recurrent(_LAYERS[kind], {**options, "batch_first": first}, params, own=True)

    L, D = options["num_layers"], 2 if options["bidirectional"] else 1
    P = options.get("proj_size") or options["hidden_size"]
    about = Recurrence(L, D, _initial(call, states), plain, Axis(D, "C"), Axis(P, "C"))
    features = Axis(D * P, "C")
    y = x.then(call.layer("rnn"), plain, (*x.entries[:-1], (features,)), about, (about,))
    layers, directions = Axis(L), Axis(D)
    rows = [e for e, role in zip(x.entries, roles, strict=False) if role == "B"]
    found: list[Any] = [y]
    for part in range(2 if kind in ("LSTM", "LayerNormLSTM") else 1):
        H = Axis(P if part == 0 else options["hidden_size"])
        found.append(Final(y, part, layers, directions, ((layers, directions), *rows, (H,))))
    return tuple(found)


def _names(kind: str, options: dict[str, Any]) -> list[str]:
    layer = _LAYERS[kind](**options, rng=LATER)
    D = 2 if options["bidirectional"] else 1
    ends = list(suffixes(options["num_layers"], D))
    shapes = list(made.shapes_of(layer))
    return sorted(shapes, key=lambda name: next(k for k, e in enumerate(ends) if _ends(name, e)))


def _ends(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and "_l" not in name.removesuffix(suffix)


def _initial(call: Call, states: Sequence[Any]) -> tuple[Given, ...] | None:
    """None for zeros, else the inputs of the graph that are the initial state."""
    if not states:
        return None
    if all(isinstance(state, Given) and state.whole for state in states):
        return tuple(states)
    for state in states:
        if isinstance(state, Given):
            raise Refusal("its initial state is no input of the module as it is")
        a = call.array(state, "initial state")
        if a is not None and a.any():
            raise Refusal("its initial state is not 0, and no input of the module")
    return None


# What final states and single directions are


def final_value(final: Final, source: Source) -> Value:
    """What a model gives in place of final states: outputs at the ends of the rows."""
    about, y = final.y.link.about, final.y
    if final.part:
        raise Refusal("it reads the memory c of a layer, expected its outputs or h")
    at = {id(axis): index for axis, index in final.at}
    if about.L > 1 and at.get(id(final.layers)) != about.L - 1:
        raise Refusal("it reads the final states of more layers than the last")
    rows = tuple([e for e in y.entries[:-1] if not (len(e) == 1 and e[0].role == "T")])
    C = y.entries[-1]
    units = final.entries[-1][-1]
    if about.D == 1:
        found = _pooled(y, "last", (*rows, C), source)
        return found.moved(_with(final, {units: C[0]}, (final.layers, final.directions)))
    ends = _pooled(y, "ends", (*rows, C), source)
    which = at.get(id(final.directions))
    if which is None:
        own = tuple([axis for axis in final.entries[-1] if axis is not final.layers])
        if own != (final.directions, units):
            raise Refusal("it reads the final states of both directions, not side by side")
        entries = (*_with(final, {}, (final.layers,))[:-1], C)
        return ends.moved(entries)
    one = _direction(ends, which, source)
    return one.moved(_with(final, {units: one.entries[-1][0]}, (final.layers, final.directions)))


def _with(final: Final, other: dict[Axis, Axis], without: Sequence[Axis]) -> tuple[Any, ...]:
    """The axes of final states, some of them as others, some left out that have size 1 by now."""
    return tuple(
        [tuple([other.get(a, a) for a in entry if a not in without]) for entry in final.entries]
    )


def _pooled(y: Value, kind: str, entries: tuple[Any, ...], source: Source) -> Value:
    def make(batch_first: bool) -> Any:
        if kind == "ends":
            return Ends(y.entries[-1][0].size, batch_first=batch_first)
        return Pool(kind, batch_first=batch_first)

    return y.then(source.name("ends" if kind == "ends" else "last"), make, entries)


def _direction(value: Value, which: int, source: Source) -> Value:
    """The numbers of one direction, of both side by side."""
    half = value.single(-1).size // 2
    keep = np.zeros((half, 2 * half), source.dtype)
    keep[np.arange(half), np.arange(half) + which * half] = 1
    return product(value, source.name("direction"), keep, None)


@settles
def settled(value: Any, source: Source) -> Value:
    if isinstance(value, Final):
        return final_value(value, source)
    assert isinstance(value, Half)
    whole = (*value.entries[:-1], value.y.entries[-1])
    y = value.y
    y = _pooled(y, value.step, whole, source) if value.step else y.moved(whole)
    return _direction(y, value.which, source)


@reads("cat", "concat", "concatenate", "hstack")
def join(call: Call) -> Value:
    """Both directions side by side."""
    pieces, dim = call.args[0], call.arg(1, "dim", 0)
    if len(pieces) == 2 and all(isinstance(piece, Final) for piece in pieces):
        first, second = pieces
        places = [{id(a): k for a, k in piece.at} for piece in pieces]
        own = [place.get(id(first.directions)) for place in places]
        layers = [place.get(id(first.layers), 0) for place in places]
        fits = first.y.link is second.y.link and first.entries == second.entries and first.part == 0
        fits = fits and layers == [first.y.link.about.L - 1] * 2 and first.part == second.part
        if fits and own == [0, 1] and dim in (-1, len(first.entries) - 1):
            rows, C = first.entries[:-1], first.y.entries[-1]
            return _pooled(first.y, "ends", (*rows, C), call.source)
    if len(pieces) == 2 and all(isinstance(piece, Half) for piece in pieces):
        first, second = pieces
        fits = first.y.link is second.y.link and first.entries == second.entries
        if fits and (first.which, second.which) == (0, 1) and dim in (-1, len(first.entries) - 1):
            entries = (*first.entries[:-1], first.y.entries[-1])
            if (first.step, second.step) == ("last", "first"):
                return _pooled(first.y, "ends", entries, call.source)
            if first.step == second.step:
                y = first.y.moved(entries)
                return _pooled(first.y, first.step, entries, call.source) if first.step else y
    if len(pieces) == 1:
        return flowing(pieces[0], call.source)
    raise Refusal("it joins arrays that are not the two directions' ends, in their order")
