"""The cure for exploding gradients: scale a gradient back where it is too long.

Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
"""

import math
from collections.abc import Iterable

import numpy as np

from rnncore import _check
from rnncore._common.groups import Groups, added, flatten_writable, known_parameters
from rnncore._common.places import first_names, place
from rnncore._common.quiet import quiet
from rnncore._engine.arrays import Arrays, bound, gathered, in_place, scale, squares_of
from rnncore._engine.norms import pieces, sum_of_squares

# A factor below this loses digits as a float32.
_SMALLEST_FACTOR = float(np.finfo(np.float32).tiny)
_SMALLEST_NORM = 1e-150  # below, squares of float64 underflow


def clip_grad_norm(grads: Groups, max_norm: float) -> float:
    """Scale gradients in place so that their common norm is at most `max_norm`.

    All arrays count as one long vector: where ``norm > max_norm``, each is multiplied by
    ``max_norm / norm``, so that the direction of the step stays as it is.

    The gradients of a tied parameter, one array under several names in the layers' `params`, are
    added up first: the norm is that of their sum, and each of them is scaled. The dict that
    `backward` returns knows what its gradients are of; in any other each array counts by itself.

    Parameters
    ----------
    grads : what `backward` returns, a dict of arrays, or a list of these
        An array that is listed under two names counts for both in the norm and is scaled once.
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
        If `grads` or `max_norm` are not what is described above, an array is read-only, or two
        overlap that are not the same; nothing has been changed.

    Examples
    --------
    >>> grads = {"weight": np.array([[3.0]]), "bias": np.array([4.0])}
    >>> clip_grad_norm(grads, max_norm=1.0)
    5.0
    >>> grads["weight"], grads["bias"]
    (array([[0.6]]), array([0.8]))
    """
    arrays = _apart(grads)
    if arrays is not None:
        limit = _check.positive("max_norm", max_norm)
        norm = math.sqrt(squares_of(arrays))
        if _SMALLEST_NORM < norm < math.inf and limit / norm >= _SMALLEST_FACTOR:
            if norm > limit:
                scale(arrays, limit / norm)
            return norm
    return _clip_norm_by_name(grads, max_norm)


@quiet
def _clip_norm_by_name(grads: Groups, max_norm: float) -> float:
    """`clip_grad_norm` for all gradients there are."""
    named, first = _to_change(grads)
    limit = _check.positive("max_norm", max_norm)
    unit, root = _norm(named, _of_each_parameter(grads, named))
    norm = unit * root
    if norm > limit:
        factor = limit / norm
        for name in set(first.values()):
            array = named[name]
            if factor >= _SMALLEST_FACTOR:
                np.multiply(array, factor, out=array)
            else:
                array[...] = array.astype(np.float64) / unit * (limit / root)
    return norm


def clip_grad_value(grads: Groups, limit: float) -> None:
    """Clip every element of the gradients to ``[-limit, limit]``, in place.

    Unlike `clip_grad_norm` this turns the gradient. An infinity becomes `limit`, NaN stays NaN.

    Of a tied parameter, as in `clip_grad_norm`, the sum of the gradients is clipped: where it is
    beyond the limit, the first of them becomes what is allowed and the others 0.

    Parameters
    ----------
    grads : what `backward` returns, a dict of arrays, or a list of these
    limit : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If `grads` or `limit` are not what is described above, an array is read-only, or two
        overlap that are not the same; nothing has been changed.

    Examples
    --------
    >>> grads = {"bias": np.array([-3.0, 0.5])}
    >>> clip_grad_value(grads, 1.0)
    >>> grads["bias"]
    array([-1. ,  0.5])
    """
    arrays = _apart(grads)
    if arrays is not None:
        bound(arrays, _check.positive("limit", limit))
    else:
        _clip_value_by_name(grads, limit)


@quiet
def _clip_value_by_name(grads: Groups, limit: float) -> None:
    """`clip_grad_value` for all gradients there are."""
    named, first = _to_change(grads)
    limit = _check.positive("limit", limit)
    for names in _of_each_parameter(grads, named):
        arrays = [named[name] for name in dict.fromkeys(first[name] for name in names)]
        if len(names) == 1:
            np.clip(arrays[0], -limit, limit, out=arrays[0])
            continue
        total = added([named[name] for name in names])
        beyond = np.abs(total) > limit
        for array in arrays:
            array[beyond] = 0
        allowed = np.clip(total[beyond], -limit, limit)
        arrays[0][beyond] = allowed / [first[name] for name in names].count(first[names[0]])


def _apart(grads: Groups) -> Arrays | None:
    """The gradients, where each is of a parameter of its own and can be changed from end to end.

    None where that has to be looked at by name, or something is wrong, which is told by name.
    """
    of: list[np.ndarray] = []
    _, found = gathered(grads, of)
    arrays = in_place(found, True) if found else None
    if arrays is None or not arrays.apart():
        return None
    params = in_place(of, False)
    return arrays if params is not None and params.apart() else None


def _to_change(grads: Groups) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The gradients by name, and for each the first name that it has."""
    named = flatten_writable("grads", grads)
    return named, first_names("grads", named)


def _of_each_parameter(grads: Groups, named: dict[str, np.ndarray]) -> list[list[str]]:
    """The names of the gradients that add up to one, for every parameter as far as it is known."""
    known = known_parameters("grads", grads)
    groups: dict[object, list[str]] = {}
    for name, array in named.items():
        key: object = name
        if name in known:
            key = place(known[name]), array.shape, array.dtype
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _norm(named: dict[str, np.ndarray], groups: list[list[str]]) -> tuple[float, float]:
    """The norm as a product, each factor of which is finite; the first one mostly is 1."""
    totals = [added([named[name] for name in names]) for names in groups]
    norm = _root_of_sum(map(sum_of_squares, totals))
    if _SMALLEST_NORM < norm < math.inf:
        return 1.0, norm
    bad = [repr(name) for name, array in named.items() if not np.isfinite(array).all()]
    if not bad:
        bad = [
            f"the sum of {', '.join(map(repr, names))}"
            for names, total in zip(groups, totals, strict=True)
            if not np.isfinite(total).all()
        ]
    if bad:
        raise FloatingPointError(f"gradient is not finite in {', '.join(bad)}")
    # float64 gradients alone get here: their squares overflow or underflow, the norm may not
    largest = max((float(np.abs(total).max(initial=0.0)) for total in totals), default=0.0)
    if largest == 0.0:
        return 1.0, 0.0
    scaled = (piece.astype(np.float64) / largest for total in totals for piece in pieces(total))
    return largest, _root_of_sum(map(sum_of_squares, scaled))


def _root_of_sum(squares: Iterable[float]) -> float:
    total = 0.0
    for square in squares:  # sum() adds in another way from Python 3.12 on
        total += square
    return math.sqrt(total)
