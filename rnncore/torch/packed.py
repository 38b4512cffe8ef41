"""Between the rows of a PackedSequence and a batch (T, B, ...) of rows that end early.

The kernel takes rows of any length, and reads nothing past the end of one. So rows are gathered
both ways, by an index each, and what stands past an end is any row at all. PyTorch's own
operations for this copy a batch once for every step where a row ends, backward too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Places:
    """Where the rows of a PackedSequence stand in a batch.

    Attributes
    ----------
    lengths : (B,), of the rows, longest first
    """

    def __init__(self, sizes: Tensor) -> None:
        """`sizes` (T,) tells how many rows have each step."""
        T, B = len(sizes), int(sizes[0])
        rows = torch.arange(B)
        there = rows < sizes[:, None]
        self.lengths = there.sum(0)
        self._shape = T, B
        self._packed = there.flatten().nonzero().squeeze(1)  # of each packed row the place
        begins = sizes.cumsum(0) - sizes
        self._batch = torch.where(there, begins[:, None] + rows, 0).flatten()  # and the other way

    def unpacked(self, data: Tensor) -> Tensor:
        """(T, B, ...) of the packed (rows, ...)."""
        found: Tensor = _Gather.apply(data, self._batch, self._packed)
        return found.unflatten(0, self._shape)

    def packed(self, batch: Tensor) -> Tensor:
        """Undo `unpacked`."""
        found: Tensor = _Gather.apply(batch.flatten(0, 1), self._packed, self._batch)
        return found


class _Gather(torch.autograd.Function):
    """Rows by an index; its gradient by the index back. What stands past an end does not count."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, index: Tensor, back: Tensor) -> Tensor:
        return rows.index_select(0, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        index, back = ctx.saved_tensors
        return _Gather.apply(d, back, index), None, None
