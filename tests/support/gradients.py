"""The check that a gradient is right: against the slope of the loss along a random direction."""

from itertools import islice

import numpy as np


def directional_error(loss, grads, inputs, name, rng, eps=1e-4):
    """Relative gap between <dL/dname, v> and the slope of L along a random unit v.

    A wrong entry of the gradient shows wherever it is, for v has no zeros. The slope is the
    difference quotient of four points, whose error is of order eps**4: with eps = 1e-4 that is as
    small as the rounding of L over eps, 1e-12 both.
    """
    numeric, exact = slopes(loss, grads, inputs, name, direction(inputs[name], rng), eps)
    return abs(numeric - exact) / max(1e-12, abs(numeric) + abs(exact))


def direction(a, rng):
    v = rng.standard_normal(a.shape)
    return v / np.linalg.norm(v)


def slopes(loss, grads, inputs, name, v, eps):
    """The slope of L along v, measured and by the gradient."""

    def difference(step):
        ahead, behind = inputs[name] + step * v, inputs[name] - step * v
        return loss({**inputs, name: ahead}) - loss({**inputs, name: behind})

    numeric = (8 * difference(eps) - difference(2 * eps)) / (12 * eps)
    return numeric, np.vdot(grads[name], v)


def smooth_directional_error(draw, name, rng, eps=1e-4):
    """`directional_error` at the first of the points ``draw()`` where the loss is smooth.

    Where the loss has a corner within reach of the difference quotient, as that of a relu or of a
    clipped sum has, the quotient says nothing of the gradient. There it is another one over half
    the distance: that is found without the gradient, so a wrong one is not let off.
    """
    for inputs, loss, grads in islice(iter(draw, None), 50):
        v = direction(inputs[name], rng)
        numeric, exact = slopes(loss, grads, inputs, name, v, eps)
        nearer, _ = slopes(loss, grads, inputs, name, v, eps / 2)
        if abs(nearer - numeric) <= 2e-8 * (abs(nearer) + abs(numeric)):
            return abs(numeric - exact) / max(1e-12, abs(numeric) + abs(exact))
    raise AssertionError(f"the loss has corners along {name} at 50 points")
