"""Members one after the other: how x goes down through them, and a gradient back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._common.groups import ParamGrads
from rnncore.layers.results import Array
from rnncore.models import members, texts
from rnncore.models.called import Model
from rnncore.models.members import Back, Composite, Flows, Passed, RowEnds, States
from rnncore.models.part import Part


class ChainTrace(NamedTuple):
    """What a chain keeps for the way back: the traces of its members."""

    names: tuple[str, ...]
    traces: tuple[Any, ...]


class Chain(Model):
    """Named members, each of which reads what the one before it gives.

    Attributes
    ----------
    names : of the members
    batch_first : whether arrays have the batch first; None where nothing tells
    dtype : of all parameters; None where there are none
    """

    _fixed = ("names", "batch_first", "dtype")

    def __init__(self, named: Mapping[str, Any], batch_first: bool | None = None) -> None:
        if not named:
            raise ValueError("there are no layers, expected at least one")
        for name, member in named.items():
            _check_name(name)
            _check_kind(name, member)
        self._members = dict(named)
        self.names = tuple(named)
        self.dtype: np.dtype[Any] | None = self._agreed("dtype", "computes in")
        own = self._agreed("batch_first", "has batch_first")
        if batch_first is not None and own not in (None, batch_first):
            raise ValueError(f"batch_first is {batch_first}, and that of the layers is {own}")
        self.batch_first: bool | None = batch_first if own is None else own
        self._count = sum(map(members.states_of, named.values()))
        self._check_sizes()

    # What it is made of

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members.values())

    def __repr__(self) -> str:
        return texts.table(self)

    def __getitem__(self, key: int | str) -> Any:
        """A member by its name or its place."""
        if isinstance(key, str):
            if key not in self._members:
                raise KeyError(f"there is no layer {key!r}, only {', '.join(self.names)}")
            return self._members[key]
        return self._members[self.names[key]]

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__.get("_members", {})
        if name in found:
            return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _within(self) -> list[tuple[str, Any]]:
        return [(f"{name}.", member) for name, member in self._members.items()]

    def _traces(self, trace: Any) -> tuple[Any, ...]:
        return tuple(trace.traces)

    # The way down and back

    def _infer(self, x: Array, states: States, ends: RowEnds | None) -> Passed:
        last: list[Any] = []
        for member, own in self._each(states):
            x, final, ends = members.infer(member, x, own, ends)
            last += final
        return Passed(x, tuple(last), ends)

    def _forward(
        self, x: Array, states: States, ends: RowEnds | None, training: bool
    ) -> tuple[Passed, ChainTrace]:
        last: list[Any] = []
        traces = []
        for member, own in self._each(states):
            (x, final, ends), trace = members.forward(member, x, own, ends, training)
            last += final
            traces.append(trace)
        return Passed(x, tuple(last), ends), ChainTrace(self.names, tuple(traces))

    def _backward(self, trace: ChainTrace, dy: Array, dstates: States, flows: Flows) -> Back:
        _check.instance("trace", trace, ChainTrace)
        if trace.names != self.names:
            raise ValueError(
                f"trace is of layers {', '.join(trace.names)}, expected one of"
                f" {', '.join(self.names)}"
            )
        found: dict[str, Back] = {}
        d: Array | None = dy
        steps = list(zip(self.names, self._each(dstates), trace.traces, strict=True))
        for name, (member, own), one in reversed(steps):
            assert d is not None, f"{name} gave nothing that could be differentiated"
            found[name] = members.backward(member, one, d, own, flows)
            d = found[name].dx
        params = {
            f"{name}.{key}": value
            for name in self.names
            for key, value in found[name].params.items()
        }
        first = tuple([state for name in self.names for state in found[name].dstates])
        return Back(d, first, ParamGrads(params, self.params))

    def _each(self, states: States) -> Iterator[tuple[Any, States]]:
        """The members, each with those of the states that are its own."""
        at = 0
        for member in self._members.values():
            count = members.states_of(member)
            yield member, states[at : at + count]
            at += count

    # What fits

    def _agreed(self, attribute: str, what: str) -> Any:
        """What all members have that have it at all."""
        found = {
            name: value
            for name, member in self._members.items()
            if (value := getattr(member, attribute, None)) is not None
        }
        for (first, a), (second, b) in pairwise(found.items()):
            if a != b:
                raise ValueError(f"{first} {what} {a} and {second} {b}, expected the same of both")
        return next(iter(found.values()), None)

    def _check_sizes(self) -> None:
        """Refuse what cannot follow upon each other."""
        width: int | None = None
        last, steps, taken = "", True, None
        for name, member in self._members.items():
            wants = members.width_taken(member)
            if width is not None and wants is not None and wants != width:
                raise ValueError(f"{name} reads {wants} numbers, and {last} gives {width}")
            if not steps and members.has_time(member):
                raise ValueError(f"{name} goes from step to step, and {last} leaves no steps")
            if taken is None and width is None:  # those before give what they read
                taken = wants
            width = members.width_given(member, wants if width is None else width)
            steps = steps and not members.ends_time(member)
            last = name
        self._ends_time = not steps
        self.input_size, self.output_size = taken, width


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name or "." in name or len(name) > 50:
        raise ValueError(
            f"a layer is named {name!r}, expected a text without dots of at most 50 characters"
        )


def _check_kind(name: str, member: Any) -> None:
    if not isinstance(member, Part | Composite) and not members.is_recurrent(member):
        raise TypeError(
            f"layer {name} is of type {type(member).__name__}, expected a layer of rnncore"
        )


def numbered(parts: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Members by their names; the places of those that have none."""
    found = {str(k): part for k, part in enumerate(parts)}
    twice = found.keys() & named.keys()
    if twice:
        raise ValueError(f"two layers are named {min(twice)!r}, expected names of their own")
    return {**found, **named}
