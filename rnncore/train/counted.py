"""Which positions of a loss count, and how much: masks, lengths and weights, in any of their forms.

A position is what has a loss of its own: a target of a cross-entropy, an element of other losses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _check

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Positions(NamedTuple):
    """Where positions are, and which of their axes are steps and rows."""

    of: str  # the argument that has them
    shape: tuple[int, ...]
    batch_first: bool
    in_time: bool  # whether two axes are (T, B) for sure, and not those of rows and elements


class Counted(NamedTuple):
    """Two arrays of the shape of the positions; None where all count, and where they do alike."""

    which: NDArray[np.bool_] | None
    weight: np.ndarray | None


def counted(
    positions: Positions,
    dtype: np.dtype[Any],
    mask: np.ndarray | None,
    lengths: ArrayLike | None,
    weight: np.ndarray | None,
) -> Counted:
    """Check what was given. A weight of 0 does not count; one that a mask hides is not looked at.

    Raises
    ------
    TypeError, ValueError for another shape or dtype, for a weight that is negative or not finite,
    and where nothing counts.
    """
    if lengths is not None:
        positions = positions._replace(in_time=True)
    which = None
    if mask is not None:
        which = _spread("mask", _booleans(mask), positions)
    if lengths is not None:
        inside = _inside(lengths, positions)
        which = inside if which is None else which & inside
    if weight is not None:
        weight = _check.array("weight", weight, np.shape(weight), dtype=dtype, owner=positions.of)
        weight = _spread("weight", weight, positions)
        which = weight != 0 if which is None else which & (weight != 0)
        all_weigh("weight", weight[which])
    if which is not None:
        some_count(which, positions.of, "mask, lengths and weight")
    return Counted(which, weight)


def all_weigh(name: str, weight: np.ndarray) -> None:
    """Check that all are finite and none is negative."""
    right = (weight >= 0) & (weight < np.inf)
    if not right.all():
        wrong = weight[~right][0]
        raise ValueError(f"{name} holds {wrong}, expected finite numbers of at least 0")


def some_count(which: np.ndarray, of: str, by: str) -> None:
    """Check that there is something left to take the mean of."""
    if not which.any():
        raise ValueError(f"{by} leave no position of {of}, expected at least one that counts")


def numbers(
    weight: np.ndarray | None, which: NDArray[np.bool_] | None, count: int
) -> NDArray[np.float64]:
    """The weights of what counts, one after the other."""
    if weight is None:
        return np.ones(count)
    return (weight.reshape(-1) if which is None else weight[which]).astype(np.float64)


def _booleans(mask: object) -> np.ndarray:
    if type(mask) is not np.ndarray:
        mask = _check.plain("mask", mask, "a numpy array of bool")
    if mask.dtype != np.bool_:
        raise TypeError(f"mask has dtype {mask.dtype}, expected bool")
    return mask


def _spread(name: str, value: np.ndarray, positions: Positions) -> np.ndarray:
    """One for each position, without a copy."""
    shape, form = positions.shape, value.shape
    if len(form) == 1 < len(shape):
        axis = _axis_of_rows(name, form[0], positions)
        form = tuple(form[0] if k == axis else 1 for k in range(len(shape)))
    elif len(form) <= len(shape) and (form or not shape):
        form += (1,) * (len(shape) - len(form))
    if len(form) != len(shape) or any(
        have not in (1, want) for have, want in zip(form, shape, strict=True)
    ):
        raise ValueError(_not_spread(name, value, positions))
    return np.broadcast_to(value.reshape(form), shape)


def _axis_of_rows(name: str, count: int, positions: Positions) -> int | None:
    """Where one value a row goes."""
    shape = positions.shape
    axis = 0 if positions.batch_first else 1
    if len(shape) == 2 and not positions.batch_first and not positions.in_time:
        fits = [k for k in (0, 1) if shape[k] == count]
        if len(fits) == 2:
            raise ValueError(
                f"{name} has shape ({count},) and {positions.of} {shape}, expected"
                f" ({count}, 1) or (1, {count}): rows may be along either axis"
            )
        axis = fits[0] if fits else axis
    if shape[axis] != count:
        raise ValueError(f"{name} has shape ({count},), expected {_forms(positions)}")
    return axis


def _not_spread(name: str, value: np.ndarray, positions: Positions) -> str:
    return f"{name} has shape {value.shape}, expected {_forms(positions)}"


def _forms(positions: Positions) -> str:
    shape = positions.shape
    if len(shape) < 2:
        return f"{shape} as {positions.of}"
    return f"{shape}, or 1 in place of some of these sizes, or one entry a row"


def _inside(lengths: ArrayLike, positions: Positions) -> NDArray[np.bool_]:
    """Whether a row is not over yet."""
    shape = positions.shape
    axes = "(B, T, ...)" if positions.batch_first else "(T, B, ...)"
    if len(shape) < 2:
        raise ValueError(f"lengths is given and {positions.of} has shape {shape}, expected {axes}")
    T, B = shape[1::-1] if positions.batch_first else shape[:2]
    checked = _check.lengths(lengths, T, B)
    assert checked is not None
    inside = np.arange(T)[:, np.newaxis] < checked
    if positions.batch_first:
        inside = inside.T
    return np.broadcast_to(inside.reshape(inside.shape + (1,) * (len(shape) - 2)), shape)
