"""Losses and the gradient of an embedding in the compiled core, in a fixed order of sums.

NumPy would take several passes over memory, and a temporary array for each. What has weights or is
smoothed takes them all the same: the core has the plain means alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnncore._common.quiet import quiet
from rnncore._core import core
from rnncore._engine.memory import contiguous

__all__ = [
    "embedding_backward",
    "mse",
    "softmax",
    "softmax_cross_entropy",
    "weighted_cross_entropy",
    "weighted_mean",
]


def softmax_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss of (rows, K) logits with (rows,) integers, and its gradient."""
    dlogits = np.empty(logits.shape, logits.dtype)
    loss = core.softmax_cross_entropy(contiguous(logits), _indices(targets), dlogits)
    return loss, dlogits


def mse(y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean squared error of two arrays of one shape and dtype, and its gradient."""
    dy = np.empty(y.shape, y.dtype)
    flat = contiguous(y).reshape(-1), contiguous(target).reshape(-1)
    return core.mse(*flat, dy.reshape(-1)), dy


@quiet
def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along an axis that is not empty."""
    y: np.ndarray = x - x.max(axis, keepdims=True)
    np.exp(y, out=y)
    np.divide(y, y.sum(axis, keepdims=True), out=y)
    return y


@quiet
def weighted_cross_entropy(
    logits: np.ndarray,
    targets: np.ndarray,
    weight: NDArray[np.float64],
    of_class: NDArray[np.float64] | None,
    smoothing: float,
) -> tuple[float, np.ndarray]:
    """The weighted mean loss of (rows, K) logits with (rows,) integers, and its gradient.

    Parameters
    ----------
    weight, of_class : (rows,) and (K,) arrays
        Of the rows and of the classes, None where these count alike; some row has a weight that is
        not 0, and so has its target.
    smoothing : from 0 to below 1
    """
    rows, dtype = np.arange(len(logits)), logits.dtype
    exps = logits - logits.max(axis=1, keepdims=True)  # at first how far each is below the largest
    at_target, of_all = exps[rows, targets], np.zeros(())
    if smoothing and of_class is None:
        of_all = exps.sum(axis=1, dtype=np.float64)
    elif smoothing and of_class is not None:
        weighing = np.flatnonzero(of_class)  # the others may be -infinity
        of_all = (exps[:, weighing] * of_class[weighing]).sum(axis=1)
    whole = float(logits.shape[1] if of_class is None else of_class.sum())
    np.exp(exps, out=exps)
    totals = exps.sum(axis=1, dtype=np.float64)
    logs, of_target = np.log(totals), 1.0 if of_class is None else of_class[targets]
    weight = weight / (weight * of_target).sum()
    target = (1 - smoothing) * weight * of_target  # the weight of the target
    each = smoothing / logits.shape[1] * weight  # of every class, times that of the class
    losses = np.where(target > 0, target * (logs - at_target), 0)
    if smoothing:
        losses += each * (whole * logs - of_all)
    # p is counted with all these weights, and each class with its own
    exps *= ((target + each * whole) / totals).astype(dtype)[:, np.newaxis]
    if smoothing:
        share = each[:, np.newaxis]
        exps -= (share if of_class is None else share * of_class).astype(dtype)
    exps[rows, targets] -= target.astype(dtype)
    return float(losses.sum()), exps


@quiet
def weighted_mean(
    losses: NDArray[np.float64], slopes: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[float, NDArray[np.float64]]:
    """The mean of `losses`, and its gradient from the derivative of each; `weight` is not all 0."""
    if weight is None:
        return float(losses.sum()) / losses.size, slopes / losses.size
    weight = weight / weight.sum()
    return float((weight * losses).sum()), slopes * weight


def embedding_backward(ids: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
    """Add row r of (rows, D) `dy` to row ``ids[r]`` of `dweight`, for all r in order."""
    core.embedding_backward(_indices(ids), contiguous(dy), dweight)


def _indices(ids: np.ndarray) -> np.ndarray:
    """Integers of any type as those that the core reads."""
    return np.require(ids, np.intp, ("C", "A"))
