"""What runs a stack of layers forward, and the shapes around it.

Inside, everything is time first and a batch; users may have the batch first, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic

import numpy as np

from rnncore import _check
from rnncore._cells.kind import CellKind
from rnncore._engine.batch import ragged
from rnncore._engine.cells import CellStack
from rnncore._engine.passes import StackRun
from rnncore._engine.runner import Runner
from rnncore.layers.results import Array, StateT

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

States = tuple[Array, ...]  # (L*D, B, P or H) each


class Stack(Generic[StateT]):
    """What has layers upon each other, in one or two directions, and can run them forward."""

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    batch_first: bool
    dtype: np.dtype[Any]
    _kind: ClassVar[CellKind]
    _runner: Runner
    _stack: CellStack
    _widths: tuple[int, ...]  # of the states: P, or H
    _no_states: tuple[None, ...]  # one for each

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _infer(
        self, weights: Any, x: Array, state: StateT | None, lengths: ArrayLike | None
    ) -> tuple[Array, StateT]:
        """The outputs and the final state, with nothing kept."""
        if lengths is None:
            found = self._runner.call(self._stack, weights, x, state)
            if found is not None:
                return found  # type: ignore[no-any-return]
        x = self._input(x)
        given = x.shape
        inside = self._time_first(x) if self.batch_first or len(given) == 2 else x
        T, B, _ = inside.shape
        starts = self._no_states if state is None else self._split("state", state, given)
        batch = None if lengths is None else ragged(lengths, T, B)
        y = (np.empty if batch is None else np.zeros)(self._output_shape(given), self.dtype)
        ends = self._empty_states(B)
        outputs = self._time_first(y) if self.batch_first or len(given) == 2 else y
        self._runner.infer(StackRun(self._stack, weights, inside, starts, outputs, ends, batch))
        return y, self._packed(ends, given)

    def _input(self, x: Array) -> Array:
        """`x`, checked."""
        right = type(x) is np.ndarray and x.dtype == self.dtype and x.ndim == 3
        if right and x.shape[2] == self.input_size:  # a small call would feel a closer look
            return x
        axes: tuple[str, ...] = ("B", "T") if self.batch_first else ("T", "B")
        shapes: list[tuple[str | int, ...]] = [(*axes, self.input_size), ("T", self.input_size)]
        return _check.array("x", x, *shapes, dtype=self.dtype, owner="the layer")

    # Between the shapes of users and those inside

    def _output_shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """Of `y`, for an `x` of this shape."""
        return *given[:-1], (2 if self.bidirectional else 1) * self._widths[0]

    def _time_first(self, x: Array) -> Array:
        """(T, B, ...), as a view."""
        if x.ndim == 2:
            return x[:, np.newaxis]
        return x.swapaxes(0, 1) if self.batch_first else x

    def _as_given(self, y: Array, given: tuple[int, ...]) -> Array:
        """Undo `_time_first`, in contiguous memory of the caller's own.

        Only what a trace holds is read-only, so what can be written to belongs to nobody else.
        """
        if len(given) == 2:
            y = y[:, 0]
        elif self.batch_first:
            y = y.swapaxes(0, 1)
        return y if y.flags.writeable and y.flags.c_contiguous else y.copy()

    def _split(
        self, name: str, state: Any, given: tuple[int, ...], *, gaps: bool = False
    ) -> tuple[Array | None, ...]:
        """The parts of a state, each (L*D, B, P or H), or None."""
        if state is None:
            return self._no_states
        cells = self.num_layers * (2 if self.bidirectional else 1)
        rows: tuple[int, ...] = () if len(given) == 2 else (given[0 if self.batch_first else 1],)
        shapes = []
        for width in self._widths:
            shapes.append((cells, *rows, width))
        parts = state if type(state) is tuple else (state,)
        right = len(parts) == len(shapes) and (len(parts) > 1) == (type(state) is tuple)
        for part, shape in zip(parts, shapes, strict=False):
            right = right and type(part) is np.ndarray and part.shape == shape
            right = right and part.dtype == self.dtype
        if not right:  # a small call would feel a closer look
            parts = _check.arrays(
                name,
                state,
                self._kind.parts,
                shapes,
                dtype=self.dtype,
                owner="the layer",
                gaps=gaps,
            )
        if rows:
            return parts
        return tuple([None if part is None else part[:, np.newaxis] for part in parts])

    def _packed(self, parts: States, given: tuple[int, ...]) -> StateT:
        """Undo `_split`."""
        if len(given) == 2:
            parts = tuple([part[:, 0] for part in parts])
        return parts[0] if len(parts) == 1 else parts  # type: ignore[return-value]

    def _empty_states(self, B: int) -> States:
        cells, found = self.num_layers * (2 if self.bidirectional else 1), []
        for width in self._widths:
            found.append(np.empty((cells, B, width), self.dtype))
        return tuple(found)
