"""The check that a gradient is right: against the slope of the loss along a random direction."""

import numpy as np


def directional_error(loss, grads, inputs, name, rng, eps=1e-4):
    """Relative gap between <dL/dname, v> and the slope of L along a random unit v.

    A wrong entry of the gradient shows wherever it is, for v has no zeros. The slope is the
    difference quotient of four points, whose error is of order eps**4: with eps = 1e-4 that is as
    small as the rounding of L over eps, 1e-12 both.
    """
    v = rng.standard_normal(inputs[name].shape)
    v /= np.linalg.norm(v)

    def difference(step):
        ahead, behind = inputs[name] + step * v, inputs[name] - step * v
        return loss({**inputs, name: ahead}) - loss({**inputs, name: behind})

    numeric = (8 * difference(eps) - difference(2 * eps)) / (12 * eps)
    exact = np.vdot(grads[name], v)
    return abs(numeric - exact) / max(1e-12, abs(numeric) + abs(exact))
