"""What runs a stack of layers forward, and the shapes around it.

Inside, everything is time first and a batch; users may have the batch first, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from rnncore import _check
from rnncore._engine import passes, traces

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# The state of an RNN or GRU is one array, that of an LSTM the pair (h, c).
State: TypeAlias = "np.ndarray | tuple[np.ndarray, np.ndarray]"


class Stack:
    """What has layers upon each other, in one or two directions, and can run them forward."""

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    batch_first: bool
    dtype: np.dtype
    _parts: ClassVar[tuple[str, ...]] = ("h",)
    _widths: tuple[int, ...]  # of the parts of a state: P, and H of a memory

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _infer(
        self,
        stack: tuple[passes.PackedCell, ...],
        x: np.ndarray,
        state: State | None,
        lengths: ArrayLike | None,
    ) -> tuple[np.ndarray, State]:
        """The outputs and the final state, with nothing kept."""
        x = self._input(x)
        starts = self._split("state", state, x.shape)
        inside = self._time_first(x)
        batch = None if lengths is None else traces.ragged(lengths, *inside.shape[:2])
        y = (np.empty if batch is None else np.zeros)(self._output_shape(x.shape), self.dtype)
        ends = self._empty_states(x.shape)
        passes.infer(
            stack, self.num_directions, inside, starts, self._time_first(y), ends, batch=batch
        )
        return y, self._packed(ends, x.shape)

    def _input(self, x: np.ndarray) -> np.ndarray:
        """`x`, checked."""
        right = type(x) is np.ndarray and x.dtype == self.dtype and x.ndim == 3
        if right and x.shape[2] == self.input_size:  # a small call would feel a closer look
            return x
        axes = ("B", "T") if self.batch_first else ("T", "B")
        shapes = ((*axes, self.input_size), ("T", self.input_size))
        return _check.array("x", x, *shapes, dtype=self.dtype, owner="the layer")

    # Between the shapes of users and those inside

    def _output_shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """Of `y`, for an `x` of this shape."""
        return *given[:-1], self.num_directions * self._widths[0]

    def _state_shapes(self, given: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """(L*D, B, P or H), of every part of a state for an `x` of this shape."""
        batch = 1 if len(given) == 2 else given[0 if self.batch_first else 1]
        cells = self.num_layers * (2 if self.bidirectional else 1)
        return [(cells, batch, width) for width in self._widths]

    def _time_first(self, x: np.ndarray) -> np.ndarray:
        """(T, B, ...), as a view."""
        if x.ndim == 2:
            return x[:, np.newaxis]
        return x.swapaxes(0, 1) if self.batch_first else x

    def _as_given(self, y: np.ndarray, given: tuple[int, ...]) -> np.ndarray:
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
    ) -> tuple[np.ndarray | None, ...]:
        """The parts of a state, each (L*D, B, P or H) or None."""
        if state is None:
            return (None,) * len(self._parts)
        inside = self._state_shapes(given)
        shapes = [(cells, width) for cells, _, width in inside] if len(given) == 2 else inside
        parts = _check.arrays(
            name, state, self._parts, shapes, dtype=self.dtype, owner="the layer", gaps=gaps
        )
        return tuple(
            None if part is None else part.reshape(shape)
            for part, shape in zip(parts, inside, strict=True)
        )

    def _packed(self, parts: tuple[np.ndarray, ...], given: tuple[int, ...]) -> State:
        """Undo `_split`."""
        if len(given) == 2:
            parts = tuple(part[:, 0] for part in parts)
        return parts[0] if len(parts) == 1 else parts

    def _empty_states(self, given: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        dtype = self.dtype
        return tuple([np.empty(shape, dtype) for shape in self._state_shapes(given)])
