"""A part that moves axes about, and computes nothing: what converted models have at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._check.texts import shape_text
from rnncore.models.part import HeadGrads, Part, PartTrace, saved

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Rearrange"]

_MOST_AXES = 8


@saved
class Rearrange(Part):
    """The axes of x in another order, side by side or joined; axes of size 1 come and go.

    Parameters
    ----------
    ndim : int
        How many axes x has.
    order : a sequence, one entry for each axis of y
        The axis of x that it is; a list of axes that are joined to one; None for a new axis of
        size 1. Axes of x that are not in it must have size 1, and are left out.

    Raises
    ------
    ValueError, TypeError for another order, and of a call for an x that does not have these axes;
    ValueError with lengths: what the axes are is not known here.

    Examples
    --------
    >>> channels_last = Rearrange(3, (0, 2, 1))
    >>> channels_last(np.zeros((2, 5, 7), np.float32)).shape
    (2, 7, 5)
    >>> Rearrange(3, ([0, 1], None))(np.zeros((2, 5, 1), np.float32)).shape
    (10, 1)
    """

    ndim: int
    order: tuple[Any, ...]

    def __init__(self, ndim: int, order: Sequence[Any]) -> None:
        ndim = _check.size("ndim", ndim, maximum=_MOST_AXES)
        super().__init__(ndim=ndim, order=_checked_order(order, ndim))

    def __call__(self, x: np.ndarray, *, lengths: ArrayLike | None = None) -> np.ndarray:
        self._check_x(x, lengths)
        moved = np.empty(self._shape(x.shape), x.dtype)
        turned = x.transpose(self._axes)
        moved.reshape(turned.shape)[...] = turned
        return moved

    def forward(
        self, x: np.ndarray, *, lengths: ArrayLike | None = None, training: bool = True
    ) -> tuple[np.ndarray, PartTrace]:
        y = self(x, lengths=lengths)
        kept: tuple[np.ndarray, ...] | None = () if _check.flag("training", training) else None
        return y, self._trace(x, None, kept, batch_first=False)

    def backward(self, trace: PartTrace, dy: np.ndarray) -> HeadGrads:
        self._checked_kept(trace)
        dy = _check.array("dy", dy, self._shape(trace.shape), dtype=trace.dtype, owner="the layer")
        axes = self._axes
        turned = dy.reshape(tuple([trace.shape[axis] for axis in axes]))
        dx = np.empty(trace.shape, dy.dtype)
        dx.transpose(axes)[...] = turned
        return self._grads(dx, {})

    @property
    def _axes(self) -> tuple[int, ...]:
        """All axes of x: those of y in their order, then what is left out."""
        there = [axis for entry in self.order for axis in _listed(entry)]
        return (*there, *[axis for axis in range(self.ndim) if axis not in there])

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([int(np.prod([shape[k] for k in _listed(entry)])) for entry in self.order])

    def _check_x(self, x: Any, lengths: Any) -> None:
        _check.instance("x", x, np.ndarray)
        if lengths is not None:
            raise ValueError(
                "lengths is given, expected None: the model changes its arrays' axes, and does not"
                " know which of them are steps"
            )
        if x.ndim != self.ndim:
            raise ValueError(f"x has shape {shape_text(x.shape)}, expected {self.ndim} axes")
        used = {axis for entry in self.order for axis in _listed(entry)}
        for axis in set(range(self.ndim)) - used:
            if x.shape[axis] != 1:
                raise ValueError(
                    f"x has shape {shape_text(x.shape)}, expected a size of 1 of axis {axis}"
                )


def _listed(entry: Any) -> Sequence[int]:
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _checked_order(order: Any, ndim: int) -> tuple[Any, ...]:
    if not isinstance(order, list | tuple) or not 1 <= len(order) <= _MOST_AXES:
        raise ValueError(f"order is {order!r}, expected at most {_MOST_AXES} axes")
    found = tuple([tuple(entry) if isinstance(entry, list) else entry for entry in order])
    axes = [axis for entry in found for axis in _listed(entry)]
    if not all(type(axis) is int and 0 <= axis < ndim for axis in axes):
        raise ValueError(f"order is {order!r}, expected axes from 0 to {ndim - 1}")
    if len(set(axes)) != len(axes):
        raise ValueError(f"order is {order!r}, expected each axis once")
    return found
