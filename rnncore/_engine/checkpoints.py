"""Long sequences in bounded memory: states at a few steps, the rest computed again.

The forward pass keeps the states between windows of steps. The backward pass takes the windows
from the last to the first, and runs each forward again before it runs back through it (Chen et al.
2016, "Training deep nets with sublinear memory cost"). Windows begin where the chunks of the
backward pass do, so that every sum has its terms in the same order: the gradients keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rnncore._cells.results import FloatArray
from rnncore._engine import passes
from rnncore._engine.traces import Cell, Masks, Ragged

Windows = list[tuple[int, int]]  # first step, step after the last


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """The trace of one layer and direction that holds the states between windows."""

    cell: Cell
    x: FloatArray  # (T, B, I)
    starts: tuple[tuple[FloatArray | None, ...], ...]  # of every window
    reverse: bool
    batch: Ragged | None
    masks: Masks
    windows: Windows

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it holds."""
        states = [part for start in self.starts for part in start]
        table = () if self.batch is None else self.batch
        return [a for a in (self.x, *states, *self.masks, *table) if a is not None]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for array in self.arrays:
            array.flags.writeable = False  # which a pickle forgets


def plan(
    limit: int,
    fixed: int,
    state: int,
    of_steps: Callable[[int, bool], int],
    begins: list[int],
    T: int,
) -> Windows | None:
    """The longest windows with which traces stay within `limit` bytes; None: all can be kept.

    Parameters
    ----------
    fixed : bytes that are held in any case, as those of inputs and masks
    state : bytes of the states between two windows, of all layers and directions
    of_steps : bytes of the trace of so many steps, of one layer and direction and of all of them
    begins : the steps where a window may begin

    Raises
    ------
    ValueError for a limit that no windows can keep, which names the least.

    Examples
    --------
    Of 10 steps of 4 bytes, 6 can be there at once, beside 3 states of 2 bytes and 10 others:

    >>> plan(40, 10, 2, lambda steps, everywhere: 4 * steps, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10)
    [(0, 6), (6, 10)]
    """
    least = fixed + of_steps(T, True)
    if least <= limit:
        return None
    for chunks in range(len(begins), 0, -1):
        edges = [*begins[::chunks], T]
        windows = list(pairwise(edges))
        longest = max(end - begin for begin, end in windows)
        needed = fixed + (len(windows) + 1) * state + of_steps(longest, False)
        if needed <= limit:
            return windows
        least = min(least, needed)
    raise ValueError(f"memory_limit is {limit}, expected at least {least} bytes for this x")


def forward(
    cell, weights, x, start, reverse, batch, masks, y, ends, windows: Windows
) -> Checkpoints:
    """Run forward and keep the states between `windows`; the arguments of `passes.trace`."""
    starts = []
    for window in windows:
        # Copies: the first may be the user's own, and `ends` is written to at every window.
        starts.append(tuple([None if part is None else part.copy() for part in start]))
        passes.trace(cell, weights, x, start, reverse, batch, masks, y, ends, window)
        start = ends
    return Checkpoints(cell, x, tuple(starts), reverse, batch, masks, windows)


def backward(kept: Checkpoints, weights, dy, dends, flow):
    """Run back and give what `passes.backward` gives."""
    weights = passes.contiguous(weights)
    ragged = kept.batch is not None
    gradients = passes.no_gradients(kept.cell, kept.x.shape, ragged, weights)
    if flow is not None:
        flow[...] = 0
    for start, window in zip(reversed(kept.starts), reversed(kept.windows), strict=True):
        part = passes.trace(
            kept.cell, weights, kept.x, start, kept.reverse, kept.batch, kept.masks, window=window
        )
        dends = passes.add_gradients(part, weights, dy, dends, gradients, flow)
        del part  # before the next one is computed
    return gradients, dends
