"""What a value of a graph is to a chain of layers, where its numbers are not known."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Const", "Dims", "Filled", "Flow", "LengthsIn", "Made", "MisfitError", "OfLengths", "Pooled",
    "Size", "StateIn", "StateOut", "product", "unknown",
]  # fmt: skip


class MisfitError(ValueError):
    """A node that is no part of a chain; says why."""


class Const(NamedTuple):
    """An array that depends on no input."""

    array: np.ndarray


class Size(NamedTuple):
    """A size: an integer times the sizes of axes of the model's input, by their letters."""

    factor: int
    axes: tuple[str, ...] = ()

    @property
    def number(self) -> int | None:
        return None if self.axes else self.factor


class Dims(NamedTuple):
    """A tensor of sizes, such as Shape makes; `scalar` where it has no axis."""

    sizes: tuple[Size, ...]
    scalar: bool = False


class Filled(NamedTuple):
    """A tensor of any shape with one number everywhere, which may be a size."""

    value: float | Size


class Flow(NamedTuple):
    """What goes down the chain.

    Attributes
    ----------
    step : how many layers it went through
    axes : "0" and "1", or one of them, as the input has them; "F" features; "D" the directions of a
        layer; "-" an axis of size 1; "01" both axes of the input as one
    width : features
    directions : the size of "D"
    pads : steps of zeros that were put before and after, for the convolution that comes next
    fill : what a mask by lengths put past the end of each row, if there was one
    """

    step: int
    axes: tuple[str, ...]
    width: int | None
    directions: int = 1
    pads: tuple[int, int] = (0, 0)
    fill: float | None = None


class StateIn(NamedTuple):
    """An initial state that is an input of the model, or its part for one layer."""

    name: str


class StateOut(NamedTuple):
    """Final states, one for each place along the axis of layers and directions.

    Each is the Flow that it would be where it is the last output of a layer too, or None.
    """

    lasts: tuple[Flow | None, ...] = ()

    @property
    def last(self) -> Flow | None:
        return self.lasts[0] if len(self.lasts) == 1 else None


class LengthsIn(NamedTuple):
    """The lengths, an input of the model.

    Attributes
    ----------
    name : of the input
    axes : "B" the rows, "-" an axis of size 1; None where nodes have turned or cut them
    """

    name: str
    axes: tuple[str, ...] | None = ("B",)


class OfLengths(NamedTuple):
    """What was reckoned from the lengths.

    Attributes
    ----------
    name : of the input; "" for the places of the steps, which are to be compared with it
    what : "steps" the places 0, 1, ...; "within" which of them are within the lengths; "any"
        length > 0; "count" max(length, 1); "place" length - 1; "last" max(length - 1, 0)
    axes : as of a Flow, but for the rows, which are "B"
    """

    name: str
    what: str
    axes: tuple[str, ...]


class Pooled(NamedTuple):
    """Steps of a Flow put together, before the node that makes it a pool of a row's own steps.

    Attributes
    ----------
    kind : "mean" a sum; "max", "last"
    flow : before
    axis : of it, that goes
    """

    kind: str
    flow: Flow
    axis: int


class Made(NamedTuple):
    """A layer to be made: its class by name, options, parameters and buffers, and its node's name.

    `inner` are the layers of a Residual; `timed` says whether the class has batch_first.
    """

    kind: str
    options: dict[str, Any]
    params: dict[str, np.ndarray]
    buffers: dict[str, np.ndarray]
    name: str
    timed: bool = False
    inner: tuple[Any, ...] = ()


def product(sizes: tuple[Size, ...]) -> Size:
    return Size(
        math.prod(size.factor for size in sizes),
        tuple(sorted(axis for size in sizes for axis in size.axes)),
    )


def unknown(value: Any) -> str:
    """For messages: what a value is."""
    if value is None:
        return "a value that no layer here makes"
    kinds = {Const: "a constant", Dims: "sizes", Filled: "a constant", StateIn: "an initial state"}
    kinds |= {StateOut: "a final state", LengthsIn: "lengths", Flow: "the output of a layer"}
    kinds |= {OfLengths: "what is reckoned from lengths", Pooled: "what is no pool yet"}
    return kinds[type(value)]
