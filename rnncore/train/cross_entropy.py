"""The cross-entropy of a softmax, with its gradient.

What does not count does not show, as for all losses: see `rnncore.train.losses`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnncore import _check
from rnncore._engine import losses
from rnncore.train.counted import Positions, all_weigh, counted, numbers, some_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Which: TypeAlias = NDArray[np.bool_] | None


def softmax_cross_entropy(
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    ignore_index: int | None = None,
    class_weight: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    label_smoothing: float = 0.0,
    mask: np.ndarray | None = None,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[float, np.ndarray]:
    """Mean of ``-log(softmax(logits)[target])`` over all positions, in nats, and its gradient::

        p = exp(logits) / sum(exp(logits))        dlogits = (p - onehot(target)) / positions

    With weights u of positions and w of classes and with smoothing s of K classes, as in PyTorch::

        loss = sum of u * ((1 - s) * w[target] * -log(p[target]) + s / K * sum(w * -log(p)))
               over all positions, divided by the sum of u * w[target]

    The largest logit of each position is subtracted first, so that no exponential overflows, and
    what is below the normal numbers is 0. All sums have a fixed order.
    Divided by log(2) the loss is in bits.

    Parameters
    ----------
    logits : (..., K) array, float32 or float64
    targets : (...) array of integers from 0 to K - 1
        Where a position does not count, any integer.
    ignore_index : int, optional
        Positions with this target do not count.
    class_weight : (K,) array of the dtype of `logits`, optional
        At least 0 each.
    weight : array of the dtype of `logits`, optional
        At least 0 each; of the shape of `targets`, or with 1 in place of some of its sizes. For
        targets of more than one axis, (B,) is one weight a row.
    label_smoothing : float, 0 to below 1
        The share of a target that is dealt out to all classes alike (Szegedy et al. 2016).
    mask : array of bool, optional
        Of the shapes of a weight; positions count where it is True.
    lengths : (B,) integers from 0 to T, optional
        Positions at and past the length of their row do not count; targets are (T, B, ...).
    batch_first : bool
        Whether targets are (B, T, ...).

    Returns
    -------
    loss : float
    dlogits : (..., K) array of the dtype of `logits`

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes are not as above, a target or a weight is out of range, or nothing
        counts.

    Examples
    --------
    >>> loss, dlogits = softmax_cross_entropy(np.log([[1.0, 3.0]]), np.array([0]))
    >>> round(float(np.exp(-loss)), 12), dlogits.round(12)
    (0.25, array([[-0.75,  0.75]]))

    The first of two positions does not count:

    >>> two = np.log([[9.0, 1.0], [1.0, 3.0]])
    >>> loss, dlogits = softmax_cross_entropy(two, np.array([-100, 0]), ignore_index=-100)
    >>> round(float(np.exp(-loss)), 12), dlogits.round(12)
    (0.25, array([[ 0.  ,  0.  ],
           [-0.75,  0.75]]))
    """
    logits = _check.array("logits", logits, (*np.shape(logits)[:-1], "K"))
    classes, shape = logits.shape[-1], logits.shape[:-1]
    batch_first = _check.flag("batch_first", batch_first)
    smoothing = _check.fraction("label_smoothing", label_smoothing)
    of_class = _of_classes(class_weight, classes, logits.dtype)
    which, weights = None, None
    if ignore_index is None and weight is None and mask is None and lengths is None:
        targets = _check.ids("targets", targets, classes, shape=shape)
    else:
        targets = _integers("targets", targets, shape)
    if targets.size == 0:
        raise ValueError(f"logits has shape {logits.shape}, expected at least one position")
    if not (mask is None and lengths is None and weight is None):
        positions = Positions("targets", shape, batch_first, in_time=True)
        which, weights = counted(positions, logits.dtype, mask, lengths, weight)
    if ignore_index is not None:
        which = _not_ignored(targets, ignore_index, which)
    if of_class is not None and not smoothing:
        which = _weighing(targets, of_class, which)
    rows, ids = logits.reshape(-1, classes), targets.reshape(-1)
    if which is not None:
        rows, ids = logits[which], _check.ids("targets", targets[which], classes)
    if weights is None and of_class is None and not smoothing:
        loss, drows = losses.softmax_cross_entropy(rows, ids)
    else:
        of_rows = numbers(weights, which, len(rows))
        of_classes = None if of_class is None else of_class.astype(np.float64)
        if of_classes is not None and not of_classes[ids[of_rows != 0]].any():
            raise ValueError("class_weight is 0 for every target that counts, expected more")
        loss, drows = losses.weighted_cross_entropy(rows, ids, of_rows, of_classes, smoothing)
    if which is None:
        return loss, drows.reshape(logits.shape)
    dlogits = np.zeros(logits.shape, logits.dtype)
    dlogits[which] = drows
    return loss, dlogits


def _of_classes(value: np.ndarray | None, K: int, dtype: np.dtype[Any]) -> np.ndarray | None:
    if value is not None:
        value = _check.array("class_weight", value, (K,), dtype=dtype, owner="logits")
        all_weigh("class_weight", value)
    return value


def _integers(name: str, targets: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Check all but the range: where they do not count, targets may be anything."""
    if type(targets) is not np.ndarray:
        targets = _check.plain(name, targets, "a numpy array of integers")
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {targets.dtype}, expected integers")
    if targets.shape != shape:
        raise ValueError(f"{name} has shape {targets.shape}, expected {shape}")
    return targets


def _not_ignored(targets: np.ndarray, ignore_index: int, which: Which) -> Which:
    ignored = _check.size("ignore_index", ignore_index, minimum=-sys.maxsize - 1)
    others = np.asarray(targets != ignored)
    which = others if which is None else which & others
    some_count(which, "targets", "ignore_index, mask, lengths and weight")
    return which


def _weighing(targets: np.ndarray, of_class: np.ndarray, which: Which) -> Which:
    """Leave out targets of classes without weight, which have neither a loss nor a gradient."""
    if of_class.all():
        return which
    among = np.ones(targets.shape, np.bool_) if which is None else which.copy()
    among[among] = of_class[_check.ids("targets", targets[among], len(of_class))] != 0
    some_count(among, "targets", "class_weight and what else does not count")
    return among
