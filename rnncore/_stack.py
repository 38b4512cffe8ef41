"""A stack of layers run forward: the loop over layers and directions, and the shapes around it.

Inside, everything is time first and a batch; users may have the batch first, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from rnncore import _validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

# The state of an RNN or GRU is one array, that of an LSTM the pair (h, c).
State: TypeAlias = "np.ndarray | tuple[np.ndarray, np.ndarray]"
# Runs layer and direction k: (k, x, initial states, reverse) -> y, h_n, ...
CellForward: TypeAlias = "Callable[[int, np.ndarray, tuple[np.ndarray | None, ...], bool], Any]"


class Stack:
    """What has layers upon each other, in one or two directions, and can run them forward."""

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    batch_first: bool
    dtype: np.dtype
    _parts: ClassVar[tuple[str, ...]] = ("h",)

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _run(
        self, x: np.ndarray, state: State | None, lengths: ArrayLike | None, cell: CellForward
    ) -> tuple[np.ndarray, State, tuple[Any, ...]]:
        """The outputs and final state of the stack, and what every call of `cell` returned."""
        if lengths is not None:
            raise NotImplementedError("lengths is not supported yet, expected None")
        axes = ("B", "T") if self.batch_first else ("T", "B")
        x = _validate.array(
            "x",
            x,
            (*axes, self.input_size),
            ("T", self.input_size),
            dtype=self.dtype,
            owner="the layer",
        )
        given = x.shape
        starts = self._split("state", state, given)

        y = self._time_first(x)
        ends = self._empty_states(given)
        results: tuple[Any, ...] = ()
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                start = tuple(None if part is None else part[k] for part in starts)
                result = cell(k, y, start, direction == 1)
                outputs.append(result.y)
                for end, part in zip(ends, self._parts, strict=True):
                    end[k] = getattr(result, f"{part}_n")
                results += (result,)
            y = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=-1)
        return self._as_given(y, given), self._packed(ends, given), results

    # Between the shapes of users and those inside

    def _state_shape(self, given: tuple[int, ...]) -> tuple[int, int, int]:
        """(L*D, B, H), for an `x` of this shape."""
        batch = 1 if len(given) == 2 else given[0 if self.batch_first else 1]
        return self.num_layers * self.num_directions, batch, self.hidden_size

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
        """The parts of a state, each (L*D, B, H) or None."""
        if state is None:
            return (None,) * len(self._parts)
        cells, batch, hidden = self._state_shape(given)
        shape = (cells, hidden) if len(given) == 2 else (cells, batch, hidden)
        parts = _validate.arrays(
            name, state, self._parts, shape, dtype=self.dtype, owner="the layer", gaps=gaps
        )
        return tuple(None if part is None else part.reshape(cells, batch, hidden) for part in parts)

    def _packed(self, parts: tuple[np.ndarray, ...], given: tuple[int, ...]) -> State:
        """Undo `_split`."""
        if len(given) == 2:
            parts = tuple(part[:, 0] for part in parts)
        return parts[0] if len(parts) == 1 else parts

    def _empty_states(self, given: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        shape = self._state_shape(given)
        return tuple([np.empty(shape, self.dtype) for _ in self._parts])
