"""The memory of a stream."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnncore._cells.results import FloatArray
from rnncore._core import core
from rnncore._engine.cells import CoreCell
from rnncore._engine.memory import empty, padded


class StreamBuffers(NamedTuple):
    """What a stream holds of one layer: each state twice, in turn, and the gates of a step."""

    shape: core.Shape
    packed: np.ndarray
    states: tuple[FloatArray, ...]  # (2, B, width)
    made: tuple[FloatArray | None, ...]  # (1, B, width) each: what is made before a projection
    gates: FloatArray  # (1, B, slots * W)


def stream_buffers(cell: CoreCell, packed: np.ndarray, batch_size: int) -> StreamBuffers:
    """Zeros, for a stack's layer with these weights."""
    dtype, B = cell.dtype, batch_size
    W = padded(cell.H, dtype)

    def room(count: int, width: int) -> FloatArray:
        rows = empty(count * B * width, dtype).reshape(count, B, width)
        rows[...] = 0
        return rows

    states = tuple([room(2, padded(width, dtype)) for width in cell.widths])
    projected = room(1, W) if cell.projects else None
    made = (projected, *[None] * (len(states) - 1))
    return StreamBuffers(cell.shape, packed, states, made, room(1, cell.shape.slots * W))
