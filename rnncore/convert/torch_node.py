"""A node of a graph of PyTorch as an operator's reader sees it, and what nodes can give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnncore.convert.flow import Axis, Entries, Refusal, Source, Value


@dataclass(frozen=True)
class Given:
    """An input of the graph besides x, such as an initial state; or what is made of one alone."""

    name: str
    whole: bool = True


@dataclass(frozen=True, eq=False)
class Recurrence:
    """What is known of a recurrent layer: L layers and D directions, where its states come from."""

    L: int
    D: int
    initial: tuple[Given, ...] | None  # None for zeros
    plain: Callable[[bool], Any]  # makes the layer alone, whatever is made of its directions
    directions: Axis  # where a view has the directions, and
    half: Axis  # the outputs of one of them, on axes of their own


@dataclass(frozen=True, eq=False)
class Step:
    """What is known of a step that was taken: of what, and which."""

    of: Value
    kind: str


@dataclass(frozen=True, eq=False)
class Final:
    """The final states of a recurrent layer, (L * D, B, H) and views of it.

    `entries` tells their axes; `at` those of the layers and directions that were chosen already.
    """

    y: Value
    part: int  # 0 of h, 1 of c
    layers: Axis
    directions: Axis
    entries: Entries
    at: tuple[tuple[Axis, int], ...] = ()

    def moved(self, entries: Entries) -> Final:
        return Final(self.y, self.part, self.layers, self.directions, entries, self.at)

    def chosen(self, axis: Axis, index: int, entries: Entries) -> Final:
        at = (*self.at, (axis, index))
        return Final(self.y, self.part, self.layers, self.directions, entries, at)


@dataclass(frozen=True, eq=False)
class Half:
    """The outputs of one direction of a layer that has two; `step` where one was taken."""

    y: Value
    which: int
    entries: Entries
    step: str = ""  # "first" or "last"


@dataclass(frozen=True, eq=False)
class Magnitude:
    """|x|, or 1 + |x|: what PyTorch's softsign divides by."""

    y: Value
    plus_one: bool = False


Axes = Value | Final | Half


@dataclass(frozen=True, eq=False)
class Call:
    """A call of an operator: what came in, and what is known of what comes out.

    Attributes
    ----------
    op : the operator's name without its library and overload
    args, options : what comes in: a `Value`, a tensor that does not depend on x, a number, ..
    shape : of the result in the example; None where that is no tensor
    name : what a layer that is made here is to be called
    """

    op: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    shape: tuple[int, ...] | None
    name: str
    source: Source

    def arg(self, place: int, name: str, default: Any = None) -> Any:
        if len(self.args) > place:
            return self.args[place]
        return self.options.get(name, default)

    @property
    def x(self) -> Value:
        """The first argument, which has to flow."""
        return flowing(self.args[0], self.source)

    def array(self, value: Any, what: str) -> np.ndarray | None:
        """A tensor that does not depend on x, as an array."""
        if value is None:
            return None
        if is_flow(value) or isinstance(value, Given):
            raise Refusal(f"its {what} depends on what comes in, expected a parameter")
        return self.source.copies(what, value)

    def layer(self, kind: str = "") -> str:
        """The name for a layer that is made here."""
        return self.source.name(self.name or kind or self.op)


def is_flow(value: Any) -> bool:
    return isinstance(value, Value | Final | Half | Magnitude)


_AS_VALUE: list[Callable[[Any, Source], Value]] = []


def flowing(value: Any, source: Source) -> Value:
    """A `Value` of whatever flows; Refusal of what does not."""
    if isinstance(value, Value):
        return value
    if isinstance(value, Magnitude):
        raise Refusal("it reads magnitudes, of which there is no layer")
    if is_flow(value):
        return _AS_VALUE[0](value, source)
    if isinstance(value, Given):
        raise Refusal(f"it reads {value.name}, which is no initial state of a recurrent layer")
    raise Refusal("it reads nothing that depends on x")


def settles(function: Callable[[Any, Source], Value]) -> Callable[[Any, Source], Value]:
    """Let `flowing` make values of halves and final states by this function: a decorator."""
    _AS_VALUE.append(function)
    return function
