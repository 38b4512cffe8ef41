"""A member of a model, of whatever sort: x, states and lengths go in, and come out.

A member is a recurrent layer, or a frozen one, with one state; a `Part`, which has none; or a
`Composite`, which has those of its members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnncore._common.sealed import Sealed
from rnncore.layers.frozen import Frozen
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.layers.results import Array
from rnncore.models.part import Part

States: TypeAlias = tuple[Any, ...]  # one entry for each recurrent layer
# For `flow` of the `backward` of recurrent layers, by the id of the trace: a layer may stand at two
# places. Empty where nobody asks.
Flows: TypeAlias = Mapping[int, np.ndarray]


class RowEnds(NamedTuple):
    """Where the rows of a batch end."""

    lengths: np.ndarray  # (B,)
    batch_first: bool  # of the arrays that have such rows

    def clear(self, a: Array) -> None:
        """Put zeros past the ends."""
        steps = np.arange(a.shape[1 if self.batch_first else 0])
        past = steps >= self.lengths[:, None]  # (B, T)
        a[past if self.batch_first else past.T] = 0


class Passed(NamedTuple):
    """What comes out of a member."""

    y: Array
    states: States
    ends: RowEnds | None  # of y; None where all rows have all steps, or there are no steps


class Back(NamedTuple):
    """What comes out of a member on the way back."""

    dx: Array | None  # None of integers
    dstates: States
    params: Mapping[str, np.ndarray]


class Composite(Sealed, ABC):
    """A member that has members itself."""

    _count: int  # of recurrent layers

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The layers' own arrays, by names such as ``"rnn.weight_hh_l0"``."""
        return self._flat("params")

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """What layers keep beside their parameters, such as running means; their own arrays."""
        return self._flat("buffers")

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return self._flat("_shapes")

    @property
    def _buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return self._flat("_buffer_shapes")

    def _flat(self, what: str) -> dict[str, Any]:
        return {
            prefix + key: value
            for prefix, leaf in leaves(self)
            for key, value in getattr(leaf, what, {}).items()
        }

    @abstractmethod
    def _within(self) -> list[tuple[str, Any]]:
        """The members, each with what its parameters' names begin with."""

    @abstractmethod
    def _infer(self, x: Array, states: States, ends: RowEnds | None) -> Passed: ...

    @abstractmethod
    def _forward(
        self, x: Array, states: States, ends: RowEnds | None, training: bool
    ) -> tuple[Passed, Any]: ...

    @abstractmethod
    def _backward(self, trace: Any, dy: Array, dstates: States, flows: Flows) -> Back: ...

    @abstractmethod
    def _traces(self, trace: Any) -> tuple[Any, ...]:
        """Of a trace, those of the members, in the order of `_within`."""

    @abstractmethod
    def _with(self, change: Callable[[Any], Any]) -> Composite:
        """One like this of what `change` makes of every leaf."""


def leaves(member: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The layers that have no members, each with what its parameters' names begin with."""
    if not isinstance(member, Composite):
        yield prefix, member
        return
    for name, own in member._within():
        yield from leaves(own, prefix + name)


def traces_of(member: Any, trace: Any) -> Iterator[Any]:
    """Of a trace of a member, those of its `leaves`."""
    if not isinstance(member, Composite):
        yield trace
        return
    for (_, own), one in zip(member._within(), member._traces(trace), strict=True):
        yield from traces_of(own, one)


def changed(member: Any, change: Callable[[Any], Any]) -> Any:
    """A member like this one, of what `change` makes of every leaf."""
    return member._with(change) if isinstance(member, Composite) else change(member)


def is_recurrent(member: Any) -> bool:
    return isinstance(member, RecurrentLayer | Frozen)


def states_of(member: Any) -> int:
    """How many recurrent layers it has."""
    if isinstance(member, Composite):
        return member._count
    return 1 if is_recurrent(member) else 0


def infer(member: Any, x: Array, states: States, ends: RowEnds | None) -> Passed:
    """A member's output and final states; nothing is kept."""
    if isinstance(member, Composite):
        return member._infer(x, states, ends)
    given = _given(member, ends)
    if isinstance(member, Part):
        return Passed(member(x, **given), (), _after(member, ends))
    y, state = member(x, states[0], **given)
    return Passed(y, (state,), ends)


def forward(
    member: Any, x: Array, states: States, ends: RowEnds | None, training: bool
) -> tuple[Passed, Any]:
    """The same, and the trace that `backward` reads."""
    if isinstance(member, Composite):
        return member._forward(x, states, ends, training)
    given = _given(member, ends)
    if isinstance(member, Part):
        y, trace = member.forward(x, training=training, **given)
        return Passed(y, (), _after(member, ends)), trace
    y, state, trace = member.forward(x, states[0], training=training, **given)
    return Passed(y, (state,), ends), trace


def backward(member: Any, trace: Any, dy: Array, dstates: States, flows: Flows) -> Back:
    """The gradients of what went in, from those of what came out."""
    if isinstance(member, Composite):
        return member._backward(trace, dy, dstates, flows)
    if isinstance(member, Part):
        found = member.backward(trace, dy)
        return Back(found.x, (), found.params)
    grads = member.backward(trace, dy, dstates[0], flow=flows.get(id(trace)))
    return Back(grads.x, (grads.state,), grads.params)


def _given(member: Any, ends: RowEnds | None) -> dict[str, Any]:
    """What a layer is told of where rows end."""
    if ends is None:
        return {}
    if has_time(member):
        return {"lengths": ends.lengths}
    return {"lengths": ends.lengths, "batch_first": ends.batch_first}


def _after(part: Part, ends: RowEnds | None) -> RowEnds | None:
    lengths = None if ends is None else part.lengths_after(ends.lengths)
    return None if ends is None or lengths is None else RowEnds(lengths, ends.batch_first)


# What fits upon what


def width_taken(member: Any) -> int | None:
    """How many numbers of a position it reads; None: as many as come."""
    return _first(member, ("input_size", "in_features", "size", "in_channels"))


def width_given(member: Any, taken: int | None) -> int | None:
    """How many it gives for `taken`; None where that is not known."""
    if is_recurrent(member):
        return (2 if member.bidirectional else 1) * int(member._widths[0])
    given = _first(member, ("output_size", "out_features", "embedding_dim", "out_channels"))
    return taken if given is None else given


def _first(member: Any, names: Sequence[str]) -> int | None:
    for name in names:
        value = getattr(member, name, None)
        if value is not None:
            return int(value)
    return None


def has_time(member: Any) -> bool:
    """Whether it goes from step to step, and so has a layout."""
    return getattr(member, "batch_first", None) is not None


def ends_time(member: Any) -> bool:
    """Whether there are no steps in what it gives."""
    return bool(getattr(member, "_ends_time", False))
