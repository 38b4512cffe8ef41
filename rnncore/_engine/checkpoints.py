"""Long sequences in bounded memory: states at a few steps, the rest computed again.

The forward pass keeps the states between windows of steps. The backward pass takes the windows
from the last to the first, and runs each forward again before it runs back through it (Chen et al.
2016, "Training deep nets with sublinear memory cost"). Windows begin where the chunks of the
backward pass do, so that every sum has its terms in the same order: the gradients keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rnncore._cells.results import FloatArray
from rnncore._core import core
from rnncore._engine import passes
from rnncore._engine.batch import Masks, Ragged
from rnncore._engine.cells import CoreCell, Weights
from rnncore._engine.passes import Run, States
from rnncore._engine.traces import room_of

Windows = list[tuple[int, int]]  # first step, step after the last


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """The trace of one layer and direction that holds the states between windows."""

    cell: CoreCell
    x: FloatArray  # (T, B, I)
    starts: tuple[States, ...]  # of every window
    reverse: bool
    batch: Ragged | None
    masks: Masks | None
    windows: Windows

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it holds."""
        states = [part for start in self.starts for part in start]
        table = () if self.batch is None else self.batch
        held = [a for a in (self.x, *states, *table) if a is not None]
        return held + (self.masks.arrays if self.masks else [])

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


def windows(
    cells: Sequence[CoreCell],
    limit: int,
    shape: tuple[int, int],
    fixed: int,
    batch: Ragged | None,
    masks: Masks | None,
) -> Windows | None:
    """The steps between the states that traces within `limit` bytes keep; None: all of it.

    Parameters
    ----------
    cells : every layer and direction
    shape : T, B
    fixed : numbers that are held in any case
    masks : such as each cell will have, of any shape
    """
    (T, B), size, H = shape, cells[0].dtype.itemsize, cells[0].H

    def of_steps(steps: int, everywhere: bool) -> int:
        one = room_of(cells[0], steps, B, masks).size * size
        return one * (len(cells) if everywhere else 1)

    state = len(cells) * B * sum(cells[0].widths) * size
    alive = None if batch is None else batch.alive
    begins = core.chunk_begins(T, B, H, alive)[::-1] or [0]
    held = fixed * size + sum(table.nbytes for table in batch or ())
    return plan(limit, held, state, of_steps, begins, T)


def forward(run: Run, starts: States, y: FloatArray, ends: States, windows: Windows) -> Checkpoints:
    """Run forward and keep the states between `windows`; the arguments of `passes.trace`."""
    kept = []
    for window in windows:
        # Copies: the first may be the user's own, and `ends` is written to at every window.
        kept.append(tuple([None if part is None else part.copy() for part in starts]))
        passes.trace(run, starts, y, ends, window)
        starts = ends
    return Checkpoints(run.cell, run.x, tuple(kept), run.reverse, run.batch, run.masks, windows)


def backward(
    kept: Checkpoints, weights: Weights, given: passes.Arriving
) -> tuple[passes.Gradients, States]:
    """Run back and give what `passes.one_backward` gives."""
    run = Run(kept.cell, weights, kept.x, kept.reverse, kept.batch, kept.masks)
    dx = passes.nothing_yet(kept.x, kept.batch)
    gradients = passes.Gradients(dx, [kept.cell.zeros()])
    for starts, window in zip(reversed(kept.starts), reversed(kept.windows), strict=True):
        part = passes.trace(run, starts, window=window)
        dstarts = passes.add_gradients(part, weights, given, gradients)
        given = given._replace(dends=dstarts)
        del part  # before the next one is computed
    return gradients, given.dends
