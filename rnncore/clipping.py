"""The cure for exploding gradients: scale a gradient back where it is too long.

Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
"""

import math

import numpy as np

from rnncore import _validate
from rnncore._groups import Groups, flatten_writable

_CHUNK = 16384  # elements converted to float64 at a time: 128 KB, which stays in the cache


def clip_grad_norm(grads: Groups, max_norm: float) -> float:
    """Scale gradients in place so that their common norm is at most `max_norm`.

    All arrays count as one long vector: where ``norm > max_norm``, each is multiplied by
    ``max_norm / norm``, so that the direction of the step stays as it is.

    Parameters
    ----------
    grads : dict of arrays, or a list of such dicts
        As `backward` returns them in ``grads.params``. An array that is listed under two names
        counts for both in the norm and is scaled once.
    max_norm : float
        The longest norm to allow, above 0; infinity only measures.

    Returns
    -------
    float
        The Euclidean norm before, summed in float64.

    Raises
    ------
    FloatingPointError
        If a gradient is infinite or NaN; the message names the arrays. Nothing has been changed
        then, and nothing should be: scaled by such a norm every gradient would become 0 or NaN,
        and the parameters with them. Skip the step, or stop.
    TypeError, ValueError
        If `grads` or `max_norm` are not what is described above; nothing has been changed.

    Examples
    --------
    >>> grads = {"weight": np.array([[3.0]]), "bias": np.array([4.0])}
    >>> clip_grad_norm(grads, max_norm=1.0)
    5.0
    >>> grads["weight"], grads["bias"]
    (array([[0.6]]), array([0.8]))
    """
    named = flatten_writable("grads", grads)
    limit = _validate.positive("max_norm", max_norm)
    norm = _norm(named)
    if norm > limit:
        scale = limit / norm
        # bias_ih and bias_hh have the same gradient, which may be one array under both names
        for array in {_memory(array): array for array in named.values()}.values():
            np.multiply(array, scale, out=array)
    return norm


def clip_grad_value(grads: Groups, limit: float) -> None:
    """Clip every element of the gradients to ``[-limit, limit]``, in place.

    Unlike `clip_grad_norm` this turns the gradient. An infinity becomes `limit`, NaN stays NaN.

    Parameters
    ----------
    grads : dict of arrays, or a list of such dicts
    limit : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If `grads` or `limit` are not what is described above; nothing has been changed.

    Examples
    --------
    >>> grads = {"bias": np.array([-3.0, 0.5])}
    >>> clip_grad_value(grads, 1.0)
    >>> grads["bias"]
    array([-1. ,  0.5])
    """
    named = flatten_writable("grads", grads)
    limit = _validate.positive("limit", limit)
    for array in named.values():
        np.clip(array, -limit, limit, out=array)


def _norm(named: dict[str, np.ndarray]) -> float:
    norm = math.sqrt(sum(_sum_of_squares(array, 1.0) for array in named.values()))
    if 1e-150 < norm < math.inf:
        return norm
    bad = [repr(name) for name, array in named.items() if not np.isfinite(array).all()]
    if bad:
        raise FloatingPointError(f"gradient is not finite in {', '.join(bad)}")
    # float64 gradients alone get here: their squares overflow or underflow, the norm may not
    largest = max((float(np.abs(array).max(initial=0.0)) for array in named.values()), default=0.0)
    if largest == 0.0:
        return 0.0
    return largest * math.sqrt(sum(_sum_of_squares(array, largest) for array in named.values()))


def _sum_of_squares(array: np.ndarray, unit: float) -> float:
    """Sum of ``(array / unit)**2`` in float64, without a float64 copy of the whole array."""
    flat = array.reshape(-1)
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # _norm looks at what comes out
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK].astype(np.float64)
            if unit != 1.0:
                chunk /= unit
            total += float(np.dot(chunk, chunk))
    return total


def _memory(array: np.ndarray) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return array.ctypes.data, array.shape, array.strides
