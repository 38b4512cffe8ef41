"""Optimisers: SGD with momentum, and Adam. They change the parameters in place."""

import math
from collections.abc import Mapping

import numpy as np

from rnncore import _check
from rnncore._common.groups import Groups, added, flatten, flatten_writable
from rnncore._common.places import first_names, near, place
from rnncore._common.quiet import quiet
from rnncore._common.sealed import Sealed

_CHUNK = 32768  # elements updated at a time, so that all their operands stay in the cache (L2)


class _Optimizer(Sealed):
    """What all optimisers share: named parameters, their slots, checks, and the walk over chunks.

    A subclass names its `_slots` (arrays of the parameter's shape that it keeps from step to step,
    zero at first) and gives `_update`, the step of one chunk.
    """

    _slots: tuple[str, ...] = ()

    def __init__(self, params: Groups, lr: float):
        self._params = params
        self.lr = lr
        named = flatten_writable("params", self._params)
        if not named:
            raise ValueError("params is empty, expected at least one array")
        self._layout = {name: (array.shape, array.dtype) for name, array in named.items()}
        self._first = first_names("params", named)
        self._steps = 0
        arrays = dict.fromkeys(self._first.values())
        self._kept = {
            slot: {name: np.zeros(*self._layout[name]) for name in arrays} for slot in self._slots
        }

    @property
    def lr(self) -> float:
        """The learning rate; may be set between steps."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _check.not_negative("lr", value)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._steps

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Copies of all that a later run needs to go on: ``"steps"`` and ``"slot.parameter"``.

        A tied array has its first name.
        """
        state = {"steps": np.array(self._steps, np.int64)}
        for slot, arrays in self._kept.items():
            state.update((f"{slot}.{name}", array.copy()) for name, array in arrays.items())
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave. Nothing is changed when a key or shape does not fit.

        Raises
        ------
        ValueError, TypeError
            If a key is missing or unknown, or an array has another shape or dtype.
        """
        state = dict(_check.instance("state", state, Mapping))
        own = {
            f"{slot}.{name}": array
            for slot, arrays in self._kept.items()
            for name, array in arrays.items()
        }
        _same_keys("state", state, ("steps", *own))
        steps = np.asarray(state.pop("steps"))
        if steps.shape != () or steps.dtype.kind not in "iu" or not 0 <= steps < 2**62:
            raise ValueError(f"state['steps'] is {steps!r}, expected a whole number of steps")
        for name, array in state.items():
            _check.array(f"state[{name!r}]", array, own[name].shape, dtype=own[name].dtype)
        for name, array in state.items():
            np.copyto(own[name], array)
        self._steps = int(steps)

    @quiet
    def step(self, grads: Groups) -> None:
        """Change the parameters by one step down their gradients.

        Parameters
        ----------
        grads : what `backward` returns, a dict of arrays, or a list of these
            The form of `params`: the same names, shapes and dtypes. They are only read. Infinities
            and NaN go into the parameters like any number; `clip_grad_norm` stops them before.

        Raises
        ------
        ValueError, TypeError
            If a gradient is missing or unknown, or has another shape or dtype than its parameter;
            if a parameter cannot be changed in place any more, or is tied to others than at first.
            No parameter has been changed then.
        """
        named_grads = flatten("grads", grads)
        named = flatten_writable("params", self._params)
        _same_keys("params", named, self._layout)
        _same_keys("grads", named_grads, self._layout)
        for name, (shape, dtype) in self._layout.items():
            _check.array(f"params[{name!r}]", named[name], shape, dtype=dtype)
            _check.array(
                f"grads[{name!r}]", named_grads[name], shape, dtype=dtype, owner="the parameter"
            )
        named = {name: named[name] for name in self._layout}
        self._still_tied(named)
        of_each: dict[str, list[np.ndarray]] = {}
        for name, grad in _unaliased(named_grads, named).items():
            of_each.setdefault(self._first[name], []).append(grad)
        totals = {name: added(arrays) for name, arrays in of_each.items()}
        pieces = [
            self._pieces(named[name], grad, *(slot[name] for slot in self._kept.values()))
            for name, grad in totals.items()
        ]
        self._steps += 1
        self._begin()
        for arrays, work in pieces:
            length = work.shape[1]
            for start in range(0, len(arrays[0]), length):
                chunk = [array[start : start + length] for array in arrays]
                self._update(*chunk, *work[:, : len(chunk[0])])

    def _still_tied(self, named: dict[str, np.ndarray]) -> None:
        """Check that the same parameters are one array as when the optimiser was made."""
        first = first_names("params", named)
        if first == self._first:
            return
        name = next(name for name in first if first[name] != self._first[name])
        now, then = (
            "an array of its own" if of == name else f"the array of params[{of!r}]"
            for of in (first[name], self._first[name])
        )
        raise ValueError(
            f"params[{name!r}] is {now}, expected {then}, as when the optimiser was made"
        )

    def _pieces(self, *arrays: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The parameter, its gradient and its slots cut along one axis, and room to work with."""
        param = arrays[0]
        if not param.flags.c_contiguous:
            return list(arrays), np.empty((2, *param.shape), param.dtype)
        flat = [array.reshape(-1) for array in arrays]
        return flat, np.empty((2, max(1, min(param.size, _CHUNK))), param.dtype)

    def _begin(self) -> None:
        """Work that a step does once, before the arrays."""

    def _update(self, param: np.ndarray, grad: np.ndarray, *slots_and_work: np.ndarray) -> None:
        raise NotImplementedError


class SGD(_Optimizer):
    """Stochastic gradient descent, with momentum as in ``torch.optim.SGD``::

        v = momentum * v + grad        param = param - lr * v

    Parameters
    ----------
    params : a layer, a cell, what has `params` as they do, a dict of arrays, or a list of these
        float32 or float64; changed in place by `step`. An array that is there under several names
        (tied weights) has one gradient, the sum of theirs in the order of the names, and is changed
        once. Arrays that overlap without being the same are refused.
    lr : float
        Learning rate, at least 0. An attribute, which may be changed between steps.
    momentum : float
        At least 0 and below 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above, or an array is read-only.

    Examples
    --------
    >>> params = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = SGD(params, lr=0.5)
    >>> optimizer.step({"weight": np.array([2.0, -2.0])})
    >>> params["weight"]
    array([0., 3.])

    Tied weights, here of an embedding and of a head, have the sum of their gradients:

    >>> weight = np.array([1.0, 2.0])
    >>> optimizer = SGD([{"weight": weight}, {"weight": weight}], lr=0.5)
    >>> optimizer.step([{"weight": np.array([1.0, 0.0])}, {"weight": np.array([1.0, 2.0])}])
    >>> weight
    array([0., 1.])
    """

    _slots: tuple[str, ...] = ("velocity",)
    _fixed = ("momentum",)

    def __init__(self, params: Groups, lr: float, momentum: float = 0.0):
        self.momentum = _check.fraction("momentum", momentum)
        if self.momentum == 0.0:
            self._slots = ()  # v is the gradient itself: nothing to keep
        super().__init__(params, lr)

    def _update(self, param: np.ndarray, grad: np.ndarray, *slots_and_work: np.ndarray) -> None:
        *velocity, change, _ = slots_and_work
        if velocity:
            (v,) = velocity
            np.multiply(v, self.momentum, out=v)
            np.add(v, grad, out=v)
            grad = v
        np.multiply(grad, self.lr, out=change)
        np.subtract(param, change, out=param)


class Adam(_Optimizer):
    """Adam (Kingma and Ba, 2015), the same steps as ``torch.optim.Adam``::

        grad = grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        param = param - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    with t = 1 at the first step. `weight_decay` is part of the gradient, and so is scaled by Adam
    like the rest of it; the decoupled decay of AdamW is another method.

    Parameters
    ----------
    params : a layer, a cell, what has `params` as they do, a dict of arrays, or a list of these
        float32 or float64; changed in place by `step`. An array that is there under several names
        (tied weights) has one gradient, the sum of theirs in the order of the names, and is changed
        once. Arrays that overlap without being the same are refused.
    lr : float
        Learning rate, at least 0. An attribute, which may be changed between steps.
    betas : pair of floats
        Decay of the two means, each at least 0 and below 1.
    eps, weight_decay : float
        At least 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above, or an array is read-only.

    Examples
    --------
    The first step has the length of `lr` in every element, whatever the gradient:

    >>> params = {"weight": np.array([1.0, 1.0])}
    >>> optimizer = Adam(params, lr=0.5, eps=0.0)
    >>> optimizer.step({"weight": np.array([1e-3, -1e3])})
    >>> params["weight"]
    array([0.5, 1.5])
    """

    _slots = ("mean", "square")
    _fixed = ("betas", "eps", "weight_decay")

    def __init__(
        self,
        params: Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(f"betas is {betas!r}, expected a pair of numbers")
        self.betas = (
            _check.fraction("betas[0]", betas[0]),
            _check.fraction("betas[1]", betas[1]),
        )
        self.eps = _check.not_negative("eps", eps)
        self.weight_decay = _check.not_negative("weight_decay", weight_decay)
        self._rate = self._root = 1.0  # of the step that is being taken
        super().__init__(params, lr)

    def _begin(self) -> None:
        beta1, beta2 = self.betas
        self._rate = self.lr / (1 - beta1**self._steps)
        self._root = math.sqrt(1 - beta2**self._steps)

    def _update(self, param: np.ndarray, grad: np.ndarray, *slots_and_work: np.ndarray) -> None:
        m, v, change, root = slots_and_work
        beta1, beta2 = self.betas
        if self.weight_decay:
            np.multiply(param, self.weight_decay, out=root)
            grad = np.add(grad, root, out=root)
        # m + (1 - beta1) * (grad - m): one product less, and exact where grad equals m
        np.subtract(grad, m, out=change)
        np.multiply(change, 1 - beta1, out=change)
        np.add(m, change, out=m)
        np.multiply(grad, grad, out=change)
        np.multiply(change, 1 - beta2, out=change)
        np.multiply(v, beta2, out=v)
        np.add(v, change, out=v)
        # sqrt(v / (1 - beta2**t)) = sqrt(v) / self._root
        np.sqrt(v, out=root)
        np.divide(root, self._root, out=root)
        np.add(root, self.eps, out=root)
        np.divide(m, root, out=change)
        np.multiply(change, self._rate, out=change)
        np.subtract(param, change, out=param)


def _unaliased(
    grads: dict[str, np.ndarray], params: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The gradients in the order of `params`; copies, where a step may write to their memory."""
    written = dict.fromkeys(place(array) for array in params.values())
    read = {name: place(grads[name]) for name in params}
    places = list(written | dict.fromkeys(read.values()))
    beside = {places[k] for j, k in near(places) if j < len(written)}
    return {
        name: grads[name].copy() if at in written or at in beside else grads[name]
        for name, at in read.items()
    }


def _same_keys(
    what: str, given: Mapping[str, object], expected: Mapping[str, object] | tuple[str, ...]
) -> None:
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        parts = [f"misses {_check.some(list(map(repr, missing)))}"] if missing else []
        parts += [f"has unknown {_check.some(list(map(repr, unknown)))}"] if unknown else []
        raise ValueError(f"{what} {' and '.join(parts)}")
