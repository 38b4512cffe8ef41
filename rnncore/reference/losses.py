"""Losses and their gradients in NumPy, a position at a time, as they are written down: the oracle.

The positions lie in one row here: (N, K) logits with (N,) targets, or N numbers with N targets.
`weight` (N,) is what each counts; what weighs nothing is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnncore._cells.arrays import FloatArray

# Of one element and its target: the loss and its derivative.
OfElement: TypeAlias = Callable[[float, float], tuple[float, float]]


def softmax_cross_entropy(
    logits: FloatArray,
    targets: np.ndarray,
    weight: FloatArray,
    class_weight: FloatArray,
    label_smoothing: float,
) -> tuple[float, FloatArray]:
    """The weighted mean cross-entropy of the softmax, and its gradient."""
    dlogits, K = np.zeros_like(logits), logits.shape[1]
    counts = [n for n in range(len(logits)) if weight[n] != 0]
    total = sum(weight[n] * class_weight[targets[n]] for n in counts)
    loss = 0.0
    for n in counts:
        onehot = np.arange(K) == targets[n]
        q = (1 - label_smoothing) * onehot * class_weight  # (X0) what is asked of each class
        q = q + label_smoothing / K * class_weight  # (X0)
        if not q.any():
            continue
        a = logits[n] - logits[n].max()  # (X1)
        log_p = a - np.log(np.exp(a).sum())  # (X2)
        loss += weight[n] / total * -(q * log_p)[q > 0].sum()  # (X3)
        dlog_p = -weight[n] / total * q  # (X3) loss = -sum(q * log_p)
        # (X2) log_p = a - log(sum(exp(a))): each a is in its own and, by its p, in all others
        dlogits[n] = dlog_p - np.exp(log_p) * dlog_p.sum()  # (X1) shifts nothing: they sum to 0
    return float(loss), dlogits


def mean_of(
    of_element: OfElement, y: FloatArray, target: FloatArray, weight: FloatArray
) -> tuple[float, FloatArray]:
    """The weighted mean of a loss of elements, and its gradient."""
    dy, loss = np.zeros_like(y), 0.0
    total = sum(u for u in weight if u != 0)
    for n in np.flatnonzero(weight):
        of_n, slope = of_element(float(y[n]), float(target[n]))
        loss += weight[n] / total * of_n
        dy[n] = weight[n] / total * slope
    return float(loss), dy


def square(y: float, target: float) -> tuple[float, float]:
    """Of `mse`."""
    return (y - target) ** 2, 2 * (y - target)


def size(y: float, target: float) -> tuple[float, float]:
    """Of `mae`."""
    return abs(y - target), float(np.sign(y - target))


def bent(delta: float) -> OfElement:
    """Of `huber`: a parabola up to delta, and its tangents beyond."""

    def of_element(y: float, target: float) -> tuple[float, float]:
        d = y - target
        if abs(d) <= delta:
            return d**2 / 2, d
        return delta * (abs(d) - delta / 2), float(np.copysign(delta, d))

    return of_element


def surprise(x: float, target: float) -> tuple[float, float]:
    """Of `bce_with_logits`: what an answer costs that had the probability p or 1 - p."""
    log_p, log_not_p = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    p = float(np.exp(log_p))
    return float(-(target * log_p + (1 - target) * log_not_p)), p - target
