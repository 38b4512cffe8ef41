"""Losses, each with its gradient: the cross-entropy of a softmax, and the mean squared error."""

from __future__ import annotations

import numpy as np

from rnncore import _check
from rnncore._engine import losses


def softmax_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of ``-log(softmax(logits)[target])`` over all positions, in nats, and its gradient::

        p = exp(logits) / sum(exp(logits))        dlogits = (p - onehot(target)) / positions

    The largest logit of each position is subtracted first, so that no exponential overflows, and
    what is below the normal numbers is 0. All sums have a fixed order.
    Divided by log(2) the loss is in bits.

    Parameters
    ----------
    logits : (..., K) array, float32 or float64
    targets : (...) array of integers from 0 to K - 1

    Returns
    -------
    loss : float
    dlogits : (..., K) array of the dtype of `logits`

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes are not as above, a target is out of range, or there is no position.

    Examples
    --------
    >>> loss, dlogits = softmax_cross_entropy(np.log([[1.0, 3.0]]), np.array([0]))
    >>> round(float(np.exp(-loss)), 12), dlogits.round(12)
    (0.25, array([[-0.75,  0.75]]))
    """
    logits = _check.array("logits", logits, (*np.shape(logits)[:-1], "K"))
    classes = logits.shape[-1]
    targets = _check.ids("targets", targets, classes, shape=logits.shape[:-1])
    if targets.size == 0:
        raise ValueError(f"logits has shape {logits.shape}, expected at least one position")
    loss, dlogits = losses.softmax_cross_entropy(logits.reshape(-1, classes), targets.reshape(-1))
    return loss, dlogits.reshape(logits.shape)


def mse(y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of ``(y - target)**2`` over all elements, and its gradient ``2 * (y - target) / size``.

    Parameters
    ----------
    y, target : arrays of one shape and one dtype, float32 or float64

    Returns
    -------
    loss : float
    dy : array like y

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes differ, or there is no element.

    Examples
    --------
    >>> mse(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    (4.5, array([0., 3.]))
    """
    y = _check.array("y", y, np.shape(y))
    target = _check.array("target", target, y.shape, dtype=y.dtype, owner="y")
    if y.size == 0:
        raise ValueError(f"y has shape {y.shape}, expected at least one element")
    return losses.mse(y, target)
