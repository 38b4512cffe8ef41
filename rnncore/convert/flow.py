"""What stands at a point of a foreign graph: the layers on the way there, and what its axes are.

A graph of PyTorch moves axes about; a model here has one layout. So axes are followed by what they
are, and moving them costs nothing, until the whole graph is known and its layers are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnncore.convert.axes import Rearrange
from rnncore.convert.widened import Copies
from rnncore.models.residual import Residual

Maker = Callable[[bool], Any]  # of `batch_first`, a layer of a model


POINTWISE = "pointwise"  # what is known of a layer that looks at every number alone


class Refusal(ValueError):  # noqa: N818
    """Something that does not fit, whose place is not told yet."""


@dataclass(eq=False)
class Axis:
    """An axis of the arrays that flow: its size in the example, and what it is once known.

    The role is "B" for rows of a batch, "T" for steps, "C" for the numbers of a position.
    """

    size: int
    role: str = ""

    def become(self, role: str, what: str) -> None:
        """Take a role; Refusal if it has another."""
        names = {"B": "rows of the batch", "T": "steps", "C": "numbers of a position"}
        if self.role not in ("", role):
            raise Refusal(f"{what} are {names[self.role]} here, expected {names[role]}")
        self.role = role


Entry = tuple[Axis, ...]  # an axis of PyTorch's: of several of ours where they are joined, or none
Entries = tuple[Entry, ...]


@dataclass(frozen=True, eq=False)
class Link:
    """A layer in the chain, after the one that it reads."""

    before: Link | None
    name: str
    make: Maker
    live: tuple[Axis, ...]  # the axes of what it gives, in no order
    about: Any = None  # what later nodes ask for
    owns: tuple[Any, ...] = ()  # what is known of the recurrent layers in it, in their order


@dataclass(frozen=True, eq=False)
class Value:
    """What flows at a node: what the chain gives, with its axes as PyTorch has them there."""

    link: Link
    entries: Entries

    @property
    def live(self) -> tuple[Axis, ...]:
        return self.link.live

    def moved(self, entries: Entries) -> Value:
        """The same numbers with other axes."""
        return Value(self.link, entries)

    def then(
        self, name: str, make: Maker, entries: Entries, about: Any = None, owns: Any = ()
    ) -> Value:
        """What a layer gives for it; axes that are not in `entries` are gone, others are new."""
        there = [axis for entry in entries for axis in entry]
        hidden = [axis for axis in self.live if not any(axis in e for e in self.entries)]
        kept = [axis for axis in hidden if axis not in there and axis.size == 1]
        return Value(Link(self.link, name, make, (*there, *kept), about, owns), entries)

    def single(self, dim: int) -> Axis:
        """The axis at a place; Refusal where several are joined, or where there is none."""
        entry = self.entries[dim]
        if len(entry) == 1:
            return entry[0]
        if len(entry) > 1:
            sizes = " x ".join(str(axis.size) for axis in entry)
            raise Refusal(f"axis {dim} joins axes of sizes {sizes}, expected one of them")
        raise Refusal(f"axis {dim} is a new one of size 1")

    def channels(self, dim: int) -> Value:
        """`self` with the numbers of a position on the axis `dim`."""
        return self.known(dim, "C", f"axis {dim}")

    def known(self, dim: int, role: str, what: str) -> Value:
        """`self` with an axis of a role at the place `dim`: one of size 1 may become it."""
        dim %= len(self.entries)
        if self.entries[dim]:
            self.single(dim).become(role, what)
            return self
        named = [axis for entry in self.entries for axis in entry]
        for own in self.live:
            if own.role == role and own.size == 1 and own not in named:
                return Value(self.link, (*self.entries[:dim], (own,), *self.entries[dim + 1 :]))
        if any(axis.role == role for axis in self.live):
            raise Refusal(f"{what} is a new one of size 1, and there are such already")
        own = Axis(1, role)
        entries = (*self.entries[:dim], (own,), *self.entries[dim + 1 :])
        return Value(_with_axis(self.link, own, what), entries)


def _with_axis(link: Link, axis: Axis, what: str) -> Link:
    """A chain whose x has one more axis, where none of its layers minds."""
    if link.before is None:
        return Link(None, link.name, link.make, (*link.live, axis))
    if link.about != POINTWISE:
        raise Refusal(f"{what} is a new one of size 1, after other layers")
    before = _with_axis(link.before, axis, what)
    return Link(before, link.name, link.make, (*link.live, axis), link.about)


@dataclass(eq=False)
class Source:
    """The x of a graph."""

    axes: tuple[Axis, ...]
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))  # of the parameters
    names: set[str] = field(default_factory=lambda: {"batch_first"})  # of layers, and of no layer
    copies: Copies = field(default_factory=Copies)  # of the graph's arrays

    def value(self) -> Value:
        link = Link(None, "", lambda batch_first: None, self.axes)
        return Value(link, tuple([(axis,) for axis in self.axes]))

    def name(self, wanted: str) -> str:
        """A name for a layer that no other has."""
        wanted = wanted.replace(".", "_")[:40] or "layer"
        found, k = wanted, 1
        while found in self.names:
            k += 1
            found = f"{wanted}_{k}"
        self.names.add(found)
        return found

    def layout(self) -> bool:
        """Whether the batch comes first, once the whole graph was read."""
        axes = [axis for axis in self.axes if axis.role != "C"]
        known = [axis.role for axis in axes]
        if len(axes) == 2 and sorted(known) in (["", "B"], ["", "T"]):
            missing = "T" if "B" in known else "B"
            axes[known.index("")].role = missing
        roles = [axis.role for axis in axes]
        return "B" in roles and "T" in roles and roles.index("B") < roles.index("T")


def chain(value: Value, source: Source) -> tuple[dict[str, Any], bool]:
    """The layers up to a value, by their names, and `batch_first`; with x and y as the graph's.

    Raises
    ------
    Refusal where the axes cannot be brought in order.
    """
    links: list[Link] = []
    link: Link | None = value.link
    while link is not None:
        links.append(link)
        link = link.before
    root, *layers = reversed(links)
    first = source.layout()
    found: dict[str, Any] = {}
    entry = _order(_own_order(root.live, first), source.axes)
    if entry is not None:
        found[source.name("arrange")] = Rearrange(len(source.axes), entry)
    for layer in layers:
        found[layer.name] = layer.make(first)
    own = _own_order(value.live, first)
    last = _last_order(value.entries, own)
    if last is not None:
        found[source.name("rearrange")] = Rearrange(len(own), last)
    return found, first


def between(inner: Value, outer: Value) -> list[Link] | None:
    """The layers that make `outer` of `inner`, in order; None where it is not made of it."""
    found: list[Link] = []
    link: Link | None = outer.link
    while link is not None and link is not inner.link:
        found.append(link)
        link = link.before
    return found[::-1] if link is inner.link else None


def residual(links: Sequence[Link]) -> Maker:
    """A maker of what adds the x of these layers to what they give."""

    def make(batch_first: bool) -> Any:
        named = {link.name: link.make(batch_first) for link in links}
        return Residual(**named)

    return make


def _own_order(axes: Sequence[Axis], batch_first: bool) -> list[Axis]:
    """The axes as a model has them: rows and steps, then the features."""
    ranks = {"B": 0, "T": 1, "": 2, "C": 3} if batch_first else {"T": 0, "B": 1, "": 2, "C": 3}
    return sorted(axes, key=lambda axis: ranks[axis.role])


def _order(own: Sequence[Axis], given: Sequence[Axis]) -> list[Any] | None:
    """How to take the axes of x; None where it is in order."""
    order = [given.index(axis) if axis in given else None for axis in own]
    if len(own) == len(given) and order == list(range(len(given))):
        return None
    return order


def _last_order(entries: Entries, own: Sequence[Axis]) -> list[Any] | None:
    """How to give y the axes of the graph's; None where it has them."""
    order: list[Any] = []
    for entry in entries:
        places = [own.index(axis) for axis in entry]
        order.append(None if not places else places[0] if len(places) == 1 else places)
    there = [axis for entry in entries for axis in entry]
    if any(axis not in there and axis.size != 1 for axis in own):
        raise Refusal("an axis of what the layers give is left out")
    return None if order == list(range(len(own))) else order
