"""Losses, each with its gradient: of classes, of yes and no, and of numbers.

All are means over what counts. That is every position, unless it is left out by a `mask`, by the
`lengths` of the rows, by a weight of 0, or by `ignore_index`. What does not count does not show:
whatever stands there, NaN included, is not read, and its gradient is 0. With weights the mean is
``sum(weight * loss) / sum(weight)``: a weight of 2 is as if a position were there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnncore import _check
from rnncore._cells.activations import sigmoid
from rnncore._common.quiet import quiet
from rnncore._engine import losses
from rnncore.train.counted import Counted, Positions, counted, numbers
from rnncore.train.cross_entropy import softmax_cross_entropy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Doubles: TypeAlias = NDArray[np.float64]


__all__ = ["bce_with_logits", "huber", "mae", "mse", "softmax_cross_entropy"]


def mse(
    y: np.ndarray,
    target: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[float, np.ndarray]:
    """Mean of ``(y - target)**2`` over all elements, and its gradient ``2 * (y - target) / size``.

    Parameters
    ----------
    y, target : arrays of one shape and one dtype, float32 or float64
    weight : array of the dtype of `y`, optional
        At least 0 each; of the shape of `y` or of its first axes, or with 1 in place of some of
        these sizes. (B,) is one weight a row; of a `y` of two axes, which may be (T, B) or rows of
        numbers, it goes along the axis that it fits.
    mask : array of bool, optional
        Of the shapes of a weight; elements count where it is True.
    lengths : (B,) integers from 0 to T, optional
        Elements at and past the length of their row do not count; `y` is (T, B, ...).
    batch_first : bool
        Whether `y` is (B, T, ...).

    Returns
    -------
    loss : float
    dy : array like y

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes are not as above, a weight is out of range, or nothing counts.

    Examples
    --------
    >>> mse(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    (4.5, array([0., 3.]))
    >>> mse(np.array([1.0, 5.0]), np.array([np.nan, 2.0]), mask=np.array([False, True]))
    (9.0, array([0., 6.]))
    """
    given = _Given("y", y, "target", target, weight, mask, lengths, batch_first)
    return _mean_of(given, _squares, losses.mse)


def mae(
    y: np.ndarray,
    target: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[float, np.ndarray]:
    """Mean of ``|y - target|`` over all elements, and its gradient ``sign(y - target) / size``.

    Arguments, results and errors are those of `mse`.

    Examples
    --------
    >>> mae(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    (1.5, array([0. , 0.5]))
    """
    given = _Given("y", y, "target", target, weight, mask, lengths, batch_first)
    return _mean_of(given, _sizes)


def huber(
    y: np.ndarray,
    target: np.ndarray,
    *,
    delta: float = 1.0,
    weight: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[float, np.ndarray]:
    """Squares of small errors, and what is linear in large ones: a mean that outliers do not rule.

    With d = y - target (Huber 1964)::

        loss = mean of d**2 / 2 where |d| <= delta, and of delta * (|d| - delta / 2) elsewhere
        dy = clip(d, -delta, delta) / size

    Arguments, results and errors are those of `mse`, and:

    Parameters
    ----------
    delta : float
        Above 0.

    Examples
    --------
    >>> huber(np.array([1.0, 5.0]), np.array([0.0, 2.0]), delta=2.0)
    (2.25, array([0.5, 1. ]))
    """
    bend = _check.positive("delta", delta)
    given = _Given("y", y, "target", target, weight, mask, lengths, batch_first)
    return _mean_of(given, partial(_bent, delta=bend))


def bce_with_logits(
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[float, np.ndarray]:
    """Mean cross-entropy of yes and no, in nats, and its gradient: every logit is one question.

    With p = sigmoid(logits), the probability of yes::

        loss = mean of -(targets * log(p) + (1 - targets) * log(1 - p))
        dlogits = (p - targets) / size

    computed as ``max(x, 0) - x * t + log(1 + exp(-|x|))``, which overflows for no logit x.

    Parameters
    ----------
    logits, targets : arrays of one shape and one dtype, float32 or float64
        Targets are from 0, no, to 1, yes.
    weight, mask, lengths, batch_first : as for `mse`
        The mean is weighted, as in all losses here; PyTorch divides this one by the number of
        elements instead.

    Returns
    -------
    loss : float
    dlogits : array like logits

    Raises
    ------
    ValueError, TypeError
        As `mse`, and for a target that counts and is not from 0 to 1.

    Examples
    --------
    >>> loss, dlogits = bce_with_logits(np.log([3.0, 1.0]), np.array([1.0, 0.0]))
    >>> np.exp(-2 * loss).round(12), dlogits.round(12)
    (np.float64(0.375), array([-0.125,  0.25 ]))
    """
    given = _Given("logits", logits, "targets", targets, weight, mask, lengths, batch_first)
    return _mean_of(given, _surprise)


# Elements, one by one


class _Given(NamedTuple):
    """What a loss of elements was given, and how it names the first two."""

    name: str
    y: np.ndarray
    name_of_target: str
    target: np.ndarray
    weight: np.ndarray | None
    mask: np.ndarray | None
    lengths: ArrayLike | None
    batch_first: bool


def _mean_of(
    given: _Given,
    of_elements: Callable[[Doubles, Doubles], tuple[Doubles, Doubles]],
    in_core: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]] | None = None,
) -> tuple[float, np.ndarray]:
    """The mean of a loss and its gradient; without weights from the core, if that has it."""
    y = _check.array(given.name, given.y, np.shape(given.y))
    target = _check.array(
        given.name_of_target, given.target, y.shape, dtype=y.dtype, owner=given.name
    )
    if y.size == 0:
        raise ValueError(f"{given.name} has shape {y.shape}, expected at least one element")
    batch_first, found = _check.flag("batch_first", given.batch_first), Counted(None, None)
    if not (given.weight is None and given.mask is None and given.lengths is None):
        positions = Positions(given.name, y.shape, batch_first, in_time=False)
        found = counted(positions, y.dtype, given.mask, given.lengths, given.weight)
    which, weight = found
    some, of_some = (y, target) if which is None else (y[which], target[which])
    if in_core is not None and weight is None:
        loss, slopes = in_core(some, of_some)
    else:
        of_each = None if weight is None else numbers(weight, which, some.size)
        each = of_elements(some.astype(np.float64), of_some.astype(np.float64))
        loss, exact = losses.weighted_mean(*each, of_each)
        slopes = _rounded(exact, y.dtype)
    if which is None:
        return loss, slopes
    dy = np.zeros(y.shape, y.dtype)
    dy[which] = slopes
    return loss, dy


@quiet
def _rounded(exact: Doubles, dtype: np.dtype[Any]) -> np.ndarray:
    return exact.astype(dtype, copy=False)


@quiet
def _squares(y: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    d = y - target
    return d * d, 2 * d


@quiet
def _sizes(y: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    d = y - target
    return np.abs(d), np.sign(d)


@quiet
def _bent(y: Doubles, target: Doubles, delta: float) -> tuple[Doubles, Doubles]:
    d = y - target
    size = np.abs(d)
    square = np.minimum(size, delta)
    return square * (size - square / 2), np.clip(d, -delta, delta)


@quiet
def _surprise(x: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    wrong = ~((target >= 0) & (target <= 1) | np.isnan(target))
    if wrong.any():
        raise ValueError(f"targets holds {target[wrong][0]}, expected numbers from 0 to 1")
    return np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x))), sigmoid(x) - target
