"""Optimisers: SGD with momentum, RMSprop, Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._check.texts import shown
from rnncore._common.groups import Groups
from rnncore._common.quiet import quiet
from rnncore._engine.arrays import Arrays, adam, sgd
from rnncore.train.optimizer import Optimizer


class SGD(Optimizer):
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

    def _update(self, param: Arrays, grad: Arrays, *slots: Arrays) -> None:
        velocity = slots[0] if slots else Arrays([], True)
        sgd(param, grad, velocity, self.momentum, self.lr)


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e of his course, 2012), the steps of ``torch.optim.RMSprop``::

        grad = grad + weight_decay * param
        s = alpha * s + (1 - alpha) * grad**2
        v = momentum * v + grad / (sqrt(s) + eps)        param = param - lr * v

    and with `centered` (Graves 2013) the variance takes the place of the mean square::

        m = alpha * m + (1 - alpha) * grad        sqrt(s - m**2) in place of sqrt(s)

    Parameters
    ----------
    params : a layer, a cell, what has `params` as they do, a dict of arrays, or a list of these
        float32 or float64; changed in place by `step`. An array that is there under several names
        (tied weights) has one gradient, the sum of theirs in the order of the names, and is changed
        once. Arrays that overlap without being the same are refused.
    lr : float
        Learning rate, at least 0. An attribute, which may be changed between steps.
    alpha, momentum : float
        Decay of the mean square and of the steps, each at least 0 and below 1.
    eps, weight_decay : float
        At least 0.
    centered : bool

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above, or an array is read-only.

    Examples
    --------
    The first step is as long in every element, whatever the gradient:

    >>> params = {"weight": np.array([1.0, 1.0])}
    >>> optimizer = RMSprop(params, lr=0.25, alpha=0.75, eps=0.0)
    >>> optimizer.step({"weight": np.array([1e-3, -1e3])})
    >>> params["weight"]
    array([0.5, 1.5])
    """

    _fixed = ("alpha", "eps", "weight_decay", "momentum", "centered")

    def __init__(
        self,
        params: Groups,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        self.alpha = _check.fraction("alpha", alpha)
        self.eps = _check.not_negative("eps", eps)
        self.weight_decay = _check.not_negative("weight_decay", weight_decay)
        self.momentum = _check.fraction("momentum", momentum)
        self.centered = _check.flag("centered", centered)
        self._slots = (
            "square",
            *(("mean",) if self.centered else ()),
            *(("velocity",) if self.momentum else ()),
        )
        self._room: dict[str, list[np.ndarray]] = {}  # as large as the parameters, for one step
        super().__init__(params, lr)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_room": {}}

    def _update(self, param: Arrays, grad: Arrays, *slots: Arrays) -> None:
        kept, nothing = dict(zip(self._slots, slots, strict=True)), Arrays([], True)
        steps, slopes, means = (self._zeros(name) for name in ("step", "slope", "mean"))
        step, slope = Arrays(steps, True), Arrays(slopes, True)
        # The core has steps of two kinds, and these are made of them: 0 - (-1) * grad, ...
        sgd(slope, grad, nothing, 0.0, -1.0)
        if self.weight_decay:
            sgd(slope, param, nothing, 0.0, -self.weight_decay)
        if self.centered:
            mean, square = kept["mean"], kept["square"]
            adam(step, slope, mean, square, 0.0, self.alpha, self.alpha, 1.0, self.eps, 0.0)
            self._divide_by_deviation(slopes, steps)
        else:  # of a mean that forgets all but the last gradient
            mean, square = Arrays(means, True), kept["square"]
            adam(step, slope, mean, square, 0.0, 0.0, self.alpha, 1.0, self.eps, -1.0)
        sgd(param, step, kept.get("velocity", nothing), self.momentum, self.lr)

    @quiet
    def _divide_by_deviation(self, slopes: list[np.ndarray], steps: list[np.ndarray]) -> None:
        """The steps in the end: gradients divided by what they have deviated from their mean."""
        kept = zip(self._kept["square"].values(), self._kept["mean"].values(), strict=True)
        for slope, step, (square, mean) in zip(slopes, steps, kept, strict=True):
            np.multiply(mean, mean, out=step)
            np.subtract(square, step, out=step)
            np.maximum(step, 0, out=step)  # rounding may leave it below
            np.sqrt(step, out=step)
            np.add(step, self.eps, out=step)
            np.divide(slope, step, out=step)

    def _zeros(self, name: str) -> list[np.ndarray]:
        """Of the shapes of the parameters, in the memory of the step before."""
        like = self._kept["square"].values()
        room = self._room.setdefault(name, [np.empty_like(array) for array in like])
        for array in room:
            array.fill(0)
        return room


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), the same steps as ``torch.optim.Adam``::

        grad = grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        param = param - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    with t = 1 at the first step. `weight_decay` is part of the gradient, and so is scaled by Adam
    like the rest of it; the decoupled decay of `AdamW` is another method.

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
            raise ValueError(f"betas is {shown(betas)}, expected a pair of numbers")
        self.betas = (
            _check.fraction("betas[0]", betas[0]),
            _check.fraction("betas[1]", betas[1]),
        )
        self.eps = _check.not_negative("eps", eps)
        self.weight_decay = _check.not_negative("weight_decay", weight_decay)
        super().__init__(params, lr)

    def _update(self, param: Arrays, grad: Arrays, *slots: Arrays) -> None:
        self._adam(param, grad, *slots, decay=self.weight_decay)

    def _adam(self, param: Arrays, grad: Arrays, *slots: Arrays, decay: float) -> None:
        beta1, beta2 = self.betas
        unbias = 1 / math.sqrt(1 - beta2**self._steps)
        rate = self.lr / (1 - beta1**self._steps)
        mean, square = slots
        adam(param, grad, mean, square, decay, beta1, beta2, unbias, self.eps, rate)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as ``torch.optim.AdamW``::

        param = param - lr * weight_decay * param

    and then a step of `Adam` without decay: parameters shrink at one rate, whatever their
    gradients have been. Arguments and errors are those of `Adam`.

    Examples
    --------
    >>> params = {"weight": np.array([2.0, 2.0])}
    >>> optimizer = AdamW(params, lr=0.5, weight_decay=0.5, eps=0.0)
    >>> optimizer.step({"weight": np.array([1e-3, -1e3])})
    >>> params["weight"]  # a quarter less, and then a step
    array([1., 2.])
    """

    def __init__(
        self,
        params: Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, param: Arrays, grad: Arrays, *slots: Arrays) -> None:
        if self.weight_decay:
            sgd(param, param, Arrays([], True), 0.0, self.lr * self.weight_decay)
        self._adam(param, grad, *slots, decay=0.0)
