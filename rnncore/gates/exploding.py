"""Gradients that explode, and the cure: an RNN with large recurrent weights on the adding problem.

The units are rectified, and the recurrent weights orthogonal times a gain: what goes through them
forward or back is multiplied by up to that gain at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncore import tasks
from rnncore.gates.settings import Settings
from rnncore.layers import RNN
from rnncore.look.gradient_flow import gradient_flow
from rnncore.models.linear import Linear
from rnncore.train.clipping import clip_grad_norm
from rnncore.train.losses import mse
from rnncore.train.optim import SGD

_HIDDEN, _BATCH = 32, 32
GAINS = (1.0, 1.5, 2.0)  # whose gradients are measured
GAIN, LR, CLIP = 1.7, 0.05, 1.0  # of the trainings


class Training(NamedTuple):
    """One value for each step that was taken."""

    losses: np.ndarray  # mean squared error before the step
    norms: np.ndarray  # of the gradient, before clipping
    diverged: int | None  # the step whose gradient was infinite or NaN, counted from 1


class Exploding(NamedTuple):
    norms: dict[float, np.ndarray]  # gain -> |dL/dh| by distance from the last step, 0 first
    unclipped: Training
    clipped: Training


def measure(settings: Settings, advance: Callable[[], None]) -> Exploding:
    """`advance` is called after each update of the two trainings."""
    x, _ = tasks.adding(settings.adding_steps, _BATCH, settings.rng("adding"))
    norms = {
        gain: gradient_flow(_layers(settings, gain)[0], x).dh[0, ::-1].copy() for gain in GAINS
    }
    return Exploding(norms, _train(settings, math.inf, advance), _train(settings, CLIP, advance))


def _layers(settings: Settings, gain: float) -> tuple[RNN, Linear]:
    rng = settings.rng("parameters")
    layer = RNN(2, _HIDDEN, nonlinearity="relu", rng=rng)
    layer.params["weight_hh_l0"] *= gain
    return layer, Linear(_HIDDEN, 1, rng=rng)


def _train(settings: Settings, clip: float, advance: Callable[[], None]) -> Training:
    """Plain gradient descent, whose step is as long as the gradient.

    Adam would hide the explosion: it divides every gradient by its usual size.
    """
    rng = settings.rng("adding")
    layer, head = _layers(settings, GAIN)
    optimizer = SGD([layer.params, head.params], lr=LR)
    losses, norms, diverged = [], [], None
    for step in range(1, settings.adding_updates + 1):
        x, target = tasks.adding(settings.adding_steps, _BATCH, rng)
        h, _, trace = layer.forward(x)
        y, head_trace = head.forward(h[-1])
        loss, dy = mse(y, target)
        head_grads = head.backward(head_trace, dy)
        dh = np.zeros_like(h)
        dh[-1] = head_grads.x
        grads = [layer.backward(trace, dh).params, head_grads.params]
        try:
            norms.append(clip_grad_norm(grads, clip))
        except FloatingPointError:
            diverged = step
            break
        losses.append(loss)
        optimizer.step(grads)
        advance()
    return Training(np.array(losses), np.array(norms), diverged)
