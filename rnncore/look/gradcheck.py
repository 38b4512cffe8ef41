"""Is a layer's backward the derivative of its forward? Finite differences give the answer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rnncore import _check
from rnncore._common.groups import added
from rnncore._common.places import place
from rnncore._common.quiet import quiet
from rnncore.layers.results import State
from rnncore.models.members import Composite


class Differentiable(Protocol):
    """What has parameters, a forward pass, and a backward pass that reads the trace of it."""

    @property
    def params(self) -> Mapping[str, np.ndarray]: ...

    @property
    def forward(self) -> Callable[..., tuple[object, ...]]: ...

    @property
    def backward(self) -> Callable[..., object]: ...


def gradcheck(
    layer: Differentiable,
    x: np.ndarray,
    state: State | None = None,
    *,
    lengths: np.ndarray | None = None,
    directions: int = 3,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    raise_exception: bool = True,
    rng: int | np.random.Generator | None = 0,
) -> dict[str, float]:
    """Compare every gradient of a layer with the slope of a loss, along random directions.

    The loss is the sum of all outputs and final states, each element times a weight drawn once::

        slope = (loss(p + eps * v) - loss(p - eps * v)) / (2 * eps)       |v| = 1
        error = |slope - <gradient, v>| / (|slope| + |<gradient, v>|)

    for p the input, the initial state and each parameter. A gradient that is wrong in any element
    shows along almost every v, so a few directions see what a difference for each element would.
    Where one array is a parameter under several names, its gradient is the sum of theirs.

    Parameters
    ----------
    layer : a recurrent layer, one of `rnncore.models`, or anything with their methods
        Of dtype float64: float32 has too few digits for differences. It is only read; copies of it
        are evaluated, each with the same state of its random generator.
    x : array
        An input of the layer. Integers have no gradient and are not checked.
    state : array or pair of arrays, optional; of a model a tuple of these
        The initial state of a recurrent layer, or of all of a model; by default one is drawn, since
        at zero some wrong gradients look right.
    lengths : (B,) array of integers, optional
        Passed on to a layer that takes them.
    directions : int
        How many random directions for each array; the largest error counts.
    eps : float
        Length of the step to both sides.
    rtol : float
        The error to allow. What rounding alone may do to the slope is counted as `rtol` at most.
    raise_exception : bool
        False returns the errors even where one is above `rtol`.
    rng : None, int or numpy.random.Generator
        Directions, weights and the drawn state come from it.

    Returns
    -------
    dict of float
        The error for ``"x"``, ``"state"`` (for an LSTM ``"state.h"`` and ``"state.c"``, for a
        model ``"state[0]"`` and so on) and each parameter by its name.

    Raises
    ------
    AssertionError
        If an error is above `rtol`, or NaN; the message names each such gradient.
    TypeError, ValueError
        If x, a state or a parameter is not float64, or an option is out of range.

    Examples
    --------
    >>> from rnncore.models.linear import Linear
    >>> layer = Linear(3, 2, dtype=np.float64, rng=0)
    >>> errors = gradcheck(layer, np.ones((4, 3)))
    >>> list(errors)
    ['x', 'weight', 'bias']
    >>> max(errors.values()) < 1e-6
    True
    """
    directions = _check.size("directions", directions, maximum=10**6)
    eps, rtol = _check.positive("eps", eps), _check.positive("rtol", rtol)
    raise_exception = _check.flag("raise_exception", raise_exception)
    if not all(hasattr(layer, name) for name in ("params", "forward", "backward")):
        raise TypeError(
            f"layer is of type {type(layer).__name__}, expected what has params, forward and "
            "backward"
        )
    rng = _check.generator("rng", rng)
    problem = _Problem(layer, x, state, lengths, rng)
    errors: dict[str, float] = {}
    for name, point in problem.points.items():
        at, gradient = problem.loss_along(name), problem.gradients[name]
        if gradient.shape != point.shape:
            raise AssertionError(
                f"gradient of {name} has shape {gradient.shape}, expected {point.shape}"
            )
        found = [_error(at, gradient, eps, rtol, problem.rounding, rng) for _ in range(directions)]
        errors[name] = float(np.max(found))  # unlike max(), np.max does not lose a NaN
    wrong = [f"{name} by {error:.2e}" for name, error in errors.items() if not error <= rtol]
    if wrong and raise_exception:
        raise AssertionError(
            f"gradients differ from finite differences, relative to a slope, for {', '.join(wrong)}"
            f" (rtol {rtol:.0e})"
        )
    return errors


class _Problem:
    """A loss of a layer as a function of the arrays at `points`, and its `gradients` there."""

    def __init__(
        self,
        layer: Any,
        x: np.ndarray,
        state: State | None,
        lengths: np.ndarray | None,
        rng: np.random.Generator,
    ):
        self._layer = layer
        self._x = x
        self._options = {} if lengths is None else {"lengths": lengths}
        if lengths is not None and not _takes(layer.forward, "lengths"):
            raise TypeError(f"{type(layer).__name__} takes no lengths")
        result = copy.deepcopy(layer).forward(x, **self._options)
        self._recurrent = len(result) == 3  # y, state, trace; the other layers have y, trace
        if not self._recurrent and state is not None:
            raise TypeError(f"{type(layer).__name__} takes no state")
        # Of a model the final states are a tuple with an entry for each of its recurrent layers.
        self._whole = isinstance(layer, Composite)
        self._ends: Any = result[1] if self._recurrent else ()
        self._state: tuple[np.ndarray, ...] = ()
        if self._recurrent:
            given = self._arrays(self._ends if state is None else self._without_gaps(state))
            self._state = _draw(given, rng) if state is None else given
        self.points = self._named(x, self._state, layer.params)
        for name, array in self.points.items():
            if not isinstance(array, np.ndarray) or array.dtype != np.float64:
                kind = getattr(array, "dtype", type(array).__name__)
                raise TypeError(f"{name} has dtype {kind}, expected float64 for a gradient check")

        *results, trace = self._forward(layer, x, self._state)
        outputs = self._flat(results)
        self._weights = [rng.standard_normal(array.shape) for array in outputs]
        backward = copy.deepcopy(layer).backward
        if self._recurrent:
            grads = backward(trace, self._weights[0], self._packed(self._weights[1:]))
            self.gradients = self._named(grads.x, self._arrays(grads.state), grads.params)
        else:
            grads = backward(trace, self._weights[0])
            self.gradients = self._named(grads.x, (), grads.params)
        self.gradients |= _tied_gradients(copy.deepcopy(layer).params, self.gradients)
        self.rounding = _rounding(self._weights, outputs)

    def loss_along(self, name: str) -> Callable[[np.ndarray], float]:
        """The loss as a function of a change of the array called `name`."""

        def loss(change: np.ndarray) -> float:
            layer = copy.deepcopy(self._layer)
            x, state = self._x.copy(), [array.copy() for array in self._state]
            _move(self._named(x, state, layer.params)[name], change)
            *outputs, _ = self._forward(layer, x, state)
            return _weighed(self._weights, self._flat(outputs))

        return loss

    def _forward(self, layer: Any, x: np.ndarray, state: Sequence[np.ndarray]) -> tuple[Any, ...]:
        layer = copy.deepcopy(layer)
        start = (self._packed(state),) if self._recurrent else ()
        results: tuple[Any, ...] = layer.forward(x, *start, **self._options)
        return results

    def _named(
        self, x: np.ndarray, state: Sequence[np.ndarray], params: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        inputs: dict[str, np.ndarray] = {} if np.asarray(self._x).dtype.kind in "iu" else {"x": x}
        names = _names("state", self._ends) if self._recurrent and not self._whole else []
        if self._whole:
            for k, entry in enumerate(self._ends):
                names += _names(f"state[{k}]", entry)
        return inputs | dict(zip(names, state, strict=False)) | dict(params)

    def _flat(self, outputs: list[Any]) -> list[np.ndarray]:
        y, *state = outputs
        return [y, *(self._arrays(state[0]) if state else ())]

    def _arrays(self, state: Any) -> tuple[np.ndarray, ...]:
        """Those of a state of the layer, or of all states of a model."""
        if not self._whole:
            return _arrays(state)
        return tuple([array for entry in state for array in _arrays(entry)])

    def _packed(self, arrays: Sequence[np.ndarray]) -> Any:
        """The other way."""
        if not self._whole:
            return tuple(arrays) if len(arrays) > 1 else arrays[0]
        states, at = [], 0
        for entry in self._ends:
            count = len(_arrays(entry))
            own, at = tuple(arrays[at : at + count]), at + count
            states.append(own if count > 1 else own[0])
        return tuple(states)

    def _without_gaps(self, state: Any) -> Any:
        """Zeros for the states of a model that are None."""
        if not self._whole or not isinstance(state, tuple | list):
            return state
        zeros = [tuple([np.zeros_like(array) for array in _arrays(end)]) for end in self._ends]
        if len(zeros) != len(state):
            raise ValueError(f"state has {len(state)} entries, expected {len(zeros)}")
        return tuple([zero if own is None else own for own, zero in zip(state, zeros, strict=True)])


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether it can be called with an argument of this name."""
    found = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in found)


def _error(
    at: Callable[[np.ndarray], float],
    gradient: np.ndarray,
    eps: float,
    rtol: float,
    rounding: float,
    rng: np.random.Generator,
) -> float:
    v, step = _direction(gradient.shape, eps, rng)
    return _gap(at(step), at(-step), np.vdot(gradient, v), eps, rtol, rounding)


# What is computed here, and not by the layer, whose floating-point signals are its own.


@quiet
def _tied_gradients(
    params: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Of every parameter, the gradient of all names under which a change of it shows."""
    names: dict[Any, list[str]] = {}
    for name, array in params.items():
        names.setdefault(place(array), []).append(name)
    return {
        name: added([gradients[one] for one in same])
        for same in names.values()
        if len(same) > 1
        for name in same
    }


@quiet
def _rounding(weights: list[np.ndarray], outputs: list[np.ndarray]) -> float:
    """How far off a loss may be: each of its terms by an ulp or so, independently."""
    terms = [w * out for w, out in zip(weights, outputs, strict=True)]
    return float(4 * np.finfo(np.float64).eps * np.sqrt(sum(np.vdot(t, t) for t in terms)))


@quiet
def _weighed(weights: list[np.ndarray], outputs: list[np.ndarray]) -> float:
    return float(sum(np.vdot(w, out) for w, out in zip(weights, outputs, strict=True)))


@quiet
def _move(array: np.ndarray, change: np.ndarray) -> None:
    array[...] += change


@quiet
def _direction(
    shape: tuple[int, ...], eps: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random direction, and a step of length `eps` that way."""
    v = rng.standard_normal(shape)
    v /= max(np.linalg.norm(v), np.finfo(np.float64).tiny)
    return v, eps * v


@quiet
def _gap(
    ahead: float, behind: float, exact: float, eps: float, rtol: float, rounding: float
) -> float:
    slope = (ahead - behind) / (2 * eps)
    return abs(slope - exact) / max(abs(slope) + abs(exact), rounding / eps / rtol, 1e-300)


def _names(name: str, state: Any) -> list[str]:
    """Of the arrays of a layer's state."""
    return [f"{name}.h", f"{name}.c"] if len(_arrays(state)) > 1 else [name]


def _arrays(state: Any) -> tuple[np.ndarray, ...]:
    return tuple(state) if isinstance(state, tuple | list) else (state,)


@quiet
def _draw(state: tuple[np.ndarray, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(rng.standard_normal(array.shape).astype(array.dtype) / 2 for array in state)
