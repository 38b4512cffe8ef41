"""What the functional core returns, whoever computes it: traces, and outputs without a trace.

A forward pass with ``training=True`` returns a trace: everything the backward pass reads except
the weights. Its arrays are read-only, so a trace may be used many times and by many threads. With
``training=False`` it returns only the outputs, and they are the caller's own.

Sizes: `T` steps, `B` batch rows, `I` inputs, `H` hidden units; `P` numbers in a state h: `H`, or
as many as an LSTM's projection leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rnncore._cells.arrays import FloatArray as FloatArray

if TYPE_CHECKING:
    from rnncore._cells.kind import CellKind


class Trace(Protocol):
    """What all traces show: inputs, states at all T+1 instants, direction, lengths.

    `x` and `y` are in time order. `h` and all else that a cell adds are in the order of
    computation, which is the reverse of it where `reverse` is true: ``h[0]`` is the initial state,
    ``h[-1]`` the final one. Past its length a row of a state holds its final one, and all else is
    0.
    """

    @property
    def x(self) -> FloatArray:
        """(T, B, I)"""

    @property
    def y(self) -> FloatArray:
        """(T, B, P)"""

    @property
    def h(self) -> FloatArray:
        """(T+1, B, P)"""

    @property
    def h_n(self) -> FloatArray:
        """(B, P)"""

    @property
    def lengths(self) -> NDArray[np.intp] | None:
        """(B,), where they were given"""

    @property
    def reverse(self) -> bool: ...


class GatedTrace(Trace, Protocol):
    """The trace of a cell with gates."""

    @property
    def gates(self) -> FloatArray:
        """(T, B, ..), side by side as the function that made the trace tells"""


class MemoryTrace(GatedTrace, Protocol):
    """The trace of a cell with a memory c."""

    @property
    def c(self) -> FloatArray:
        """(T+1, B, H)"""

    @property
    def c_n(self) -> FloatArray:
        """(B, H)"""


class Outputs(NamedTuple):
    """Of a pass that keeps nothing."""

    y: FloatArray  # (T, B, P)
    h_n: FloatArray  # (B, P)


class MemoryOutputs(NamedTuple):
    """The same of a cell with a memory."""

    y: FloatArray
    h_n: FloatArray
    c_n: FloatArray  # (B, H)


def outputs(y: FloatArray, ends: tuple[FloatArray, ...]) -> Outputs | MemoryOutputs:
    """Outputs and final states by their names."""
    return Outputs(y, *ends) if len(ends) == 1 else MemoryOutputs(y, *ends)


def steps_taken(T: int, lengths: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of T steps of computation each row takes, (T, B): as many as it is long."""
    return np.arange(T)[:, np.newaxis] < lengths


def in_order(a: FloatArray, reverse: bool, lengths: NDArray[np.intp] | None = None) -> FloatArray:
    """Turn time order into the order of computation, or back: (T, B, K) to (T, B, K).

    A row of length n takes n steps, from its first or, with `reverse`, from its own last one on:
    step s reads time s or n-1-s. Steps and times past the end are 0 in the result, whatever is
    there in `a`. Without lengths the result is a view.

    Examples
    --------
    >>> a = np.arange(1.0, 9.0).reshape(4, 2, 1)
    >>> in_order(a, True, np.array([3, 0]))[..., 0].T
    array([[5., 3., 1., 0.],
           [0., 0., 0., 0.]])
    """
    if lengths is None:
        return a[::-1] if reverse else a
    taken = steps_taken(len(a), lengths)
    read = np.arange(len(a))[:, np.newaxis]
    read = np.where(taken & reverse, lengths - 1 - read, read)
    return np.where(taken[..., np.newaxis], a[read, np.arange(len(lengths))], 0)


class ShowsStates:
    """A trace that shows each state of its cell by name: ``h``, ``h_n`` and so on."""

    family: ClassVar[str]  # where it comes from

    if TYPE_CHECKING:  # fields of one trace, properties of another

        @property
        def kind(self) -> CellKind: ...
        @property
        def reverse(self) -> bool: ...
        @property
        def lengths(self) -> NDArray[np.intp] | None: ...

    def _state(self, part: int) -> FloatArray:
        """One of the states at all instants, in the order of computation."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> FloatArray:
        parts = self.kind.parts if self.__dict__ else ()  # nothing is there yet in a copy
        if name.removesuffix("_n") not in parts:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        rows = self._state(parts.index(name.removesuffix("_n")))
        return rows[-1] if name.endswith("_n") else rows

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.kind.parts, *(f"{part}_n" for part in self.kind.parts)]

    @property
    def y(self) -> FloatArray:
        """Outputs in time order, (T, B, P): a view of `h`, or with `lengths` a copy."""
        y = in_order(self.h[1:], self.reverse, self.lengths)
        y.flags.writeable = False
        return y


def require_trace(trace: object, family: type[ShowsStates], kind: CellKind) -> None:
    """Say what came where `trace` is no trace of this cell and family."""
    if isinstance(trace, family) and trace.kind is kind:
        return
    if isinstance(trace, Outputs | MemoryOutputs):
        raise ValueError(
            "trace is the result of a forward pass with training=False, which keeps nothing for "
            "the backward pass; run forward with training=True"
        )
    expected, came = f"{kind.name}Trace", type(trace).__name__
    if isinstance(trace, ShowsStates):
        came = f"{trace.kind.name}Trace"
        if trace.family != family.family:
            came, expected = f"{came} of {trace.family}", f"{expected} of {family.family}"
    raise TypeError(f"trace is of type {came}, expected {expected}")
