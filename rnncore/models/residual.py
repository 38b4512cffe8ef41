"""What layers make of x, added to x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.layers.results import Array
from rnncore.models import chain, members
from rnncore.models.chain import Chain, ChainTrace
from rnncore.models.members import Back, Flows, Passed, RowEnds, States


class ResidualTrace(NamedTuple):
    """What the way back reads."""

    inner: ChainTrace
    ends: RowEnds | None


class Residual(Chain):
    """``y = x + layers(x)``: what the layers give has the shape of x (He et al. 2016, equation 1).

    Parameters
    ----------
    *layers, **named : as of a `Sequential`, as which it is called

    Raises
    ------
    TypeError, ValueError for what is no layer, and for layers that change the shape of x.

    Examples
    --------
    >>> from rnncore.models.activation import Activation
    >>> Residual(Activation("relu"))(np.array([[[-1.0, 2.0]]]))[0]
    array([[[-1.,  4.]]])
    """

    def __init__(self, *layers: Any, **named: Any) -> None:
        super().__init__(chain.numbered(layers, named))
        if self._ends_time or self.output_size != self.input_size:
            raise ValueError(
                f"the layers read {self.input_size} numbers and give {self.output_size}, expected"
                " the shape of what they read"
            )

    def _infer(self, x: Array, states: States, ends: RowEnds | None) -> Passed:
        y, last, after = super()._infer(x, states, ends)
        return Passed(_sum(x, y, ends), last, after)

    def _forward(
        self, x: Array, states: States, ends: RowEnds | None, training: bool
    ) -> tuple[Passed, Any]:
        (y, last, after), trace = super()._forward(x, states, ends, training)
        return Passed(_sum(x, y, ends), last, after), ResidualTrace(trace, ends)

    def _backward(self, trace: Any, dy: Array, dstates: States, flows: Flows) -> Back:
        _check.instance("trace", trace, ResidualTrace)
        dx, first, params = super()._backward(trace.inner, dy, dstates, flows)
        assert dx is not None
        return Back(_sum(dy, dx, trace.ends), first, params)

    def _traces(self, trace: Any) -> tuple[Any, ...]:
        return super()._traces(trace.inner)

    def _with(self, change: Callable[[Any], Any]) -> Residual:
        return Residual(
            **{name: members.changed(member, change) for name, member in self._members.items()}
        )


def _sum(x: Array, y: Array, ends: RowEnds | None) -> Array:
    """x + y, and 0 past the rows' ends."""
    if y.shape != x.shape:
        raise ValueError(f"layers give {y.shape} of x {x.shape}, expected the shape of x")
    total = np.add(x, y)
    if ends is not None:
        ends.clear(total)
    return total
