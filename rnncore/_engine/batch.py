"""Which rows and steps a pass takes, in which order, and what it drops and keeps of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnncore import _check
from rnncore._cells.results import FloatArray


class Ragged(NamedTuple):
    """A batch of rows of different lengths, as the compiled core wants it: longest first."""

    lengths: NDArray[np.intp]  # (B,), as they were given
    order: NDArray[np.intp]  # (B,), the rows by falling length
    alive: NDArray[np.intp]  # (T,), rows that have such a step
    table: NDArray[np.intp]  # what the core reads: order, lengths in that order, alive


def ragged(lengths: ArrayLike | None, T: int, B: int) -> Ragged | None:
    """The rows of a batch by falling length; None where all have all steps.

    >>> ragged([1, 3, 0], 3, 3).order, ragged([1, 3, 0], 3, 3).alive
    (array([1, 0, 2]), array([2, 1, 1]))
    """
    lengths = _check.lengths(lengths, T, B)
    if lengths is None:
        return None
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    alive = B - np.searchsorted(ordered[::-1], np.arange(T), side="right")
    batch = Ragged(lengths, order, alive, np.concatenate((order, ordered, alive)))
    for table in batch:
        table.flags.writeable = False
    return batch


class Masks(NamedTuple):
    """What recurrent dropout and zoneout drop and keep; see `rnncore.reference`."""

    h_mask: FloatArray | None = None  # (B, P)
    keeps: tuple[FloatArray | None, ...] = ()  # (T, B, P or H) of each state

    @property
    def arrays(self) -> list[FloatArray]:
        """Those that there are."""
        return [mask for mask in (self.h_mask, *self.keeps) if mask is not None]

    def in_core(self) -> tuple[FloatArray | None, ...]:
        """The mask of h, then what is kept of each state."""
        return (self.h_mask, *self.keeps)


def own_masks(masks: Masks | None) -> Masks | None:
    """Masks that nobody else can change, contiguous; None where there are none."""
    if masks is None or not masks.arrays:
        return None
    keeps = tuple([None if keep is None else _read_only(keep) for keep in masks.keeps])
    return Masks(None if masks.h_mask is None else _read_only(masks.h_mask), keeps)


def _read_only(mask: FloatArray) -> FloatArray:
    """`mask`, if nobody can change it and it lies as the core reads it, or a copy."""
    if mask.flags.writeable or mask.base is not None or not mask.flags.c_contiguous:
        mask = np.array(mask, order="C")
        mask.flags.writeable = False
    return mask
