"""Files of models: what their layers are, in order, and the arrays of all of them by flat names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._common.places import first_names
from rnncore._engine.weights import stored_arrays
from rnncore.layers import storage
from rnncore.layers.frozen import Frozen, check_scales, checked_precision, frozen_of
from rnncore.layers.parameters import LATER
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.models import recorded
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.chain import Chain
from rnncore.models.members import Composite, has_time, leaves
from rnncore.models.part import without_values
from rnncore.models.residual import Residual

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_MISSING = np.zeros(())
_DEEPEST = 20  # models within each other
_NESTED: dict[str, Callable[..., Chain]] = {"Residual": Residual}


def nests(kind: type[Chain]) -> type[Chain]:
    """Let files hold models of this class within models: a decorator."""
    _NESTED[kind.__name__] = kind
    return kind


# What a model is, as JSON has it


def options_of(model: Chain) -> dict[str, Any]:
    """The names, classes and options of its layers, and the layout where none of them has it."""
    told: dict[str, Any] = {"layers": [[name, *_told(m)] for name, m in model._members.items()]}
    if model.batch_first is not None and not any(map(has_time, model)):
        told["batch_first"] = model.batch_first
    return told


def _told(member: Any) -> tuple[str, dict[str, Any]]:
    kind = type(member).__name__
    if isinstance(member, Chain):
        return kind, options_of(member)
    if isinstance(member, Bidirectional):
        return kind, {"layer": list(_told(member.layer)), "merge": member.merge}
    own = member._layer if isinstance(member, Frozen) else member
    storage.check_kind(own)
    return type(own).__name__, own.options


def made(kind: type[Any], options: Mapping[str, Any], depth: int = 0) -> Any:
    """A model of layers without values, of what `options_of` has told."""
    if depth > _DEEPEST:
        raise ValueError(f"there are more than {_DEEPEST} models within each other")
    layout = {key: options[key] for key in ("batch_first",) if key in options}
    _expect(options, {"layers", *layout})
    found: dict[str, Any] = {}
    for entry in _list_of(options["layers"]):
        name, member, own = _list_of(entry, 3)
        if not isinstance(name, str) or name in found:
            raise ValueError(f"a layer is named {str(name)[:50]!r}")
        found[name] = _member(member, own, depth)
    return kind(**found, **layout)


def _member(kind: Any, options: Any, depth: int) -> Any:
    if not isinstance(kind, str) or not isinstance(options, Mapping):
        raise ValueError("a layer has no class, or no options")
    if kind in _NESTED:
        return made(_NESTED[kind], options, depth + 1)  # type: ignore[arg-type]
    if kind == "Bidirectional":
        _expect(options, {"layer", "merge"})
        return Bidirectional(_layer_of(options, depth), options["merge"])
    found = storage.kind_of(kind)
    if isinstance(found, type) and issubclass(found, RecurrentLayer):
        return found(**options, rng=LATER)
    return without_values(found, options)


def _layer_of(options: Mapping[str, Any], depth: int) -> Any:
    kind, own = _list_of(options["layer"], 2)
    return _member(kind, own, depth + 1)


def _expect(options: Mapping[str, Any], names: set[str]) -> None:
    if set(options) != names:
        raise ValueError(f"its options are {', '.join(map(str, options))[:100]}")


def _list_of(value: Any, count: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise ValueError("its layers are no lists of a name, a class and options")
    return value


# Its arrays


def save(
    model: Chain, path: storage.Place, kind: str | None = None, more: Mapping[str, Any] = _NOTHING
) -> None:
    """Write a model of layers, or of frozen ones, with what `more` there is to say."""
    kept = model.recorded
    if not more.get("precision"):  # what narrow weights give is not what was recorded
        kept = recorded.still_given(model)
    arrays = recorded.arrays_of(kept)
    options = {**options_of(model), **recorded.told(kept), **_ties(model), **more}
    for prefix, leaf in leaves(model):
        own = leaf._arrays if isinstance(leaf, Frozen) else {**leaf.params, **_buffers(leaf)}
        arrays.update({prefix + name: value for name, value in own.items()})
    storage.save_arrays(path, kind or type(model).__name__, options, arrays)


def _ties(model: Chain) -> dict[str, Any]:
    """Which parameters are the array that another one is, before it."""
    first = first_names("params", model.params)
    tied = {name: of for name, of in first.items() if of != name}
    return {"ties": tied} if tied else {}


def tie(stored: storage.Stored, model: Chain, ties: Any) -> None:
    """Let parameters that were one array be one again."""
    if ties is None:
        return
    params = model.params
    with stored.made_of("model"):
        for name, first in _check.instance("ties", ties, dict).items():
            same = name in params and first in params and first not in ties
            if not same or not np.array_equal(params[name], params[first], equal_nan=True):
                raise ValueError(f"{str(name)[:100]} is not the array that it is said to be")
    for prefix, leaf in leaves(model):
        for name in leaf.params:
            if prefix + name in ties:
                leaf.params[name] = params[ties[prefix + name]]


def _buffers(leaf: Any) -> Mapping[str, Any]:
    return getattr(leaf, "buffers", {})


def filled(
    stored: storage.Stored, model: Composite, told: Any = None, precision: str | None = None
) -> Any:
    """A model of layers without values, with those of a file; at a precision its layers are frozen.

    Nothing is read before the names, shapes and dtypes of all arrays were found to be right. `told`
    is what the file says of what was recorded.
    """
    expected = {
        prefix + name: of
        for prefix, leaf in leaves(model)
        for name, of in _described(leaf, precision).items()
    }
    source: str = ""
    cases: list[list[str]] = []
    if told is not None:
        with stored.made_of("model"):
            source, cases = recorded.expected_names(_check.instance("recorded", told, dict))
        shown = stored.described()
        for k, case in enumerate(cases):
            for name in (f"{recorded.PREFIX}{k}.{one}" for one in case):
                array = shown.get(name, _MISSING)
                expected[name] = array.shape, array.dtype
    stored.check(expected)
    arrays, prefixes = stored.read(), {id(leaf): prefix for prefix, leaf in leaves(model)}

    check_scales(stored.name, arrays)

    def fill(leaf: Any) -> Any:
        prefix = prefixes[id(leaf)]
        own = {name: arrays[prefix + name] for name in _described(leaf, precision)}
        if precision is not None and isinstance(leaf, RecurrentLayer):
            return frozen_of(type(leaf), leaf.options, precision, own)
        leaf.params = {name: own[name] for name in leaf._shapes}
        if getattr(leaf, "_buffer_shapes", {}):
            leaf.buffers = {name: own[name] for name in leaf._buffer_shapes}
        return leaf

    whole = model._with(fill)
    whole.recorded = None if told is None else recorded.read(source, cases, arrays)
    return whole


def checked(model: Composite, precision: Any) -> str | None:
    """A precision that all recurrent layers of a model can have."""
    for _, leaf in leaves(model):
        if isinstance(leaf, RecurrentLayer):
            checked_precision(precision, leaf)
    return precision if precision is None else str(precision)


def _described(leaf: Any, precision: str | None) -> dict[str, Any]:
    """The shapes and dtypes of its arrays, by their names."""
    if precision is not None and isinstance(leaf, RecurrentLayer):
        return stored_arrays(leaf._shapes, precision, leaf.dtype)
    dtype = leaf.dtype if isinstance(leaf, RecurrentLayer) else leaf._own_dtype
    shapes = {**leaf._shapes, **getattr(leaf, "_buffer_shapes", {})}
    return {name: (shape, dtype) for name, shape in shapes.items()}
