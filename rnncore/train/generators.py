"""The state of the random generators that layers draw from: a training that goes on needs them.

A layer draws its dropout from the `rng` that it was made with, and layers may share one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._common.sealed import Sealed


class _Place(NamedTuple):
    """Where a generator is kept."""

    holder: dict[Any, Any] | None  # None where it cannot be replaced
    key: Any
    generator: np.random.Generator


def rng_state(owner: Any) -> dict[str, Any]:
    """Where the random generators of a layer or a model are, for `set_rng_state`.

    Parameters
    ----------
    owner : a layer, a model, a numpy.random.Generator, or a list or dict of these

    Returns
    -------
    dict of plain numbers, texts and lists, which JSON can hold: ``"generators"``, the states, and
    ``"places"``, which of them each place in the owner has.

    Raises
    ------
    TypeError
        If `owner` is nothing that may have generators.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> state = rng_state(rng)
    >>> first = rng.random(3)
    >>> set_rng_state(rng, state)
    >>> bool((rng.random(3) == first).all())
    True
    """
    places = _places(owner)
    found = {id(place.generator): place.generator for place in places}
    order = list(found)
    return {
        "generators": [_listed(generator.bit_generator.state) for generator in found.values()],
        "places": [order.index(id(place.generator)) for place in places],
    }


def set_rng_state(owner: Any, state: Mapping[str, Any]) -> None:
    """Go on drawing from where `rng_state` was called.

    Layers that shared a generator share one afterwards: where `owner` was read from a file, and
    each of its layers has one of its own, they get a common one. A generator that was shared in the
    same way is set, and so is whatever else draws from it.

    Parameters
    ----------
    owner : as for `rng_state`, with generators in the same places
    state : what `rng_state` gave

    Raises
    ------
    ValueError, TypeError
        If `state` is none of such an owner. Nothing has been changed then.
    """
    places = _places(owner)
    state = _check.instance("state", state, Mapping)
    if set(state) != {"generators", "places"}:
        raise ValueError(f"state has {sorted(map(str, state))}, expected 'generators' and 'places'")
    states = _check.instance("state['generators']", state["generators"], list)
    among = _check.instance("state['places']", state["places"], list)
    if len(among) != len(places):
        raise ValueError(
            f"state is of {len(among)} places of generators, but the owner has {len(places)}"
        )
    for k, which in enumerate(among):
        _check.size(f"state['places'][{k}]", which, minimum=0, maximum=len(states) - 1)
    made = [_made(f"state['generators'][{k}]", each) for k, each in enumerate(states)]
    own = [place.generator for place in places]
    alike = [own.index(each) for each in own] == [among.index(which) for which in among]
    if alike and all(type(g.bit_generator) is type(made[which].bit_generator)
                     for g, which in zip(own, among, strict=True)):  # fmt: skip
        for generator, which in zip(own, among, strict=True):
            generator.bit_generator.state = made[which].bit_generator.state
        return
    if any(place.holder is None for place in places):
        raise ValueError("owner has other generators than those whose state it is, expected alike")
    for place, which in zip(places, among, strict=True):
        assert place.holder is not None
        place.holder[place.key] = made[which]


def generators_of(owner: Any) -> list[np.random.Generator]:
    """The random generators of an owner, each once; none of what is no layer or model."""
    if not isinstance(owner, Sealed):
        return []
    return list({id(place.generator): place.generator for place in _places(owner)}.values())


def _places(owner: Any) -> list[_Place]:
    if not isinstance(owner, Sealed | np.random.Generator | dict | list | tuple):
        raise TypeError(
            f"owner is of type {type(owner).__name__}, expected a layer, a model, a numpy Generator"
            " or a list of these"
        )
    return list(_walked(owner, None, None, set()))


def _walked(value: Any, holder: Any, key: Any, seen: set[int]) -> Iterator[_Place]:
    """All places of generators, in the order of attributes and entries; each object once."""
    if isinstance(value, np.random.Generator):
        yield _Place(holder if isinstance(holder, dict) else None, key, value)
        return
    if isinstance(value, Sealed):
        inside: Any = value.__dict__
    elif isinstance(value, dict | list | tuple):
        inside = value
    else:
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    entries = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for name, entry in entries:
        yield from _walked(entry, inside, name, seen)


def _listed(state: Any) -> Any:
    """The state of a bit generator as JSON has it."""
    if isinstance(state, Mapping):
        return {name: _listed(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


_KINDS = {
    kind.__name__: kind
    for kind in (
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.MT19937,
        np.random.Philox,
        np.random.SFC64,
    )
}


# The largest that some numbers of a state may be: two are places in an array, which NumPy believes.
_LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}


def _within(state: Mapping[str, Any]) -> bool:
    parts = [value for value in state.values() if isinstance(value, Mapping)]
    within = all(0 <= state.get(name, 0) <= most for name, most in _LARGEST.items())
    return within and all(map(_within, parts))


def _made(what: str, state: Any) -> np.random.Generator:
    """A generator in this state, if it is one: NumPy believes most of what it is given."""
    state = _check.instance(what, state, Mapping)
    name = _check.choice(f"{what}['bit_generator']", state.get("bit_generator"), list(_KINDS))
    bits = _KINDS[name](0)
    try:
        bits.state = _like(state, bits.state)
        right = _listed(bits.state) == state and _within(state)
    except (KeyError, OverflowError, TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(f"{what} is no state of {name}")
    return np.random.Generator(bits)


def _like(state: Any, template: Any) -> Any:
    """What was listed as arrays again, where `template` has some."""
    if isinstance(template, Mapping):
        return {name: _like(state[name], value) for name, value in template.items()}
    return np.array(state, template.dtype) if isinstance(template, np.ndarray) else state
