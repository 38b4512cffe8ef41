"""Both directions of a recurrent layer, put together in one of four ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.layers.results import Array
from rnncore.models import members
from rnncore.models.called import Model
from rnncore.models.members import Back, Flows, Passed, RowEnds, States

MERGES = ("concat", "sum", "mul", "ave")


class MergeTrace(NamedTuple):
    """What the way back reads."""

    layer: Any
    y: Array | None  # of both directions, of a product


class Bidirectional(Model):
    """A recurrent layer of two directions, whose outputs are put together.

    Parameters
    ----------
    layer : a recurrent layer with ``bidirectional=True``
    merge : "concat", side by side; "sum", "mul" or "ave", the sum, product or mean of both
        As the `merge_mode` of Keras.

    Its parameters are those of the layer. A call gives the outputs and ``(state,)``, as that of a
    `Sequential`.

    Raises
    ------
    TypeError, ValueError for another layer, and for another word.

    Examples
    --------
    >>> from rnncore.layers import GRU
    >>> x, layer = np.ones((2, 1, 3), np.float32), GRU(3, 4, bidirectional=True, rng=0)
    >>> both, mean = layer(x)[0], Bidirectional(layer, "ave")(x)[0]
    >>> np.array_equal(mean, (both[..., :4] + both[..., 4:]) / 2)
    True
    """

    _fixed = ("layer", "merge", "batch_first", "dtype")
    _count = 1

    def __init__(self, layer: Any, merge: str = "concat") -> None:
        if not members.is_recurrent(layer):
            raise TypeError(
                f"layer is of type {type(layer).__name__}, expected a recurrent layer of rnncore"
            )
        if not layer.bidirectional:
            raise ValueError(f"layer is {layer!r}, expected bidirectional=True")
        self.layer, self.merge = layer, _check.choice("merge", merge, MERGES)
        self.batch_first, self.dtype = layer.batch_first, layer.dtype
        self.input_size = layer.input_size
        self.output_size = layer._widths[0] * (2 if merge == "concat" else 1)

    def __repr__(self) -> str:
        return f"Bidirectional({self.layer!r}, {self.merge!r})"

    def _within(self) -> list[tuple[str, Any]]:
        return [("", self.layer)]

    def _traces(self, trace: Any) -> tuple[Any, ...]:
        return (trace.layer,)

    def _with(self, change: Callable[[Any], Any]) -> Bidirectional:
        return Bidirectional(change(self.layer), self.merge)

    def _infer(self, x: Array, states: States, ends: RowEnds | None) -> Passed:
        y, last, ends = members.infer(self.layer, x, states, ends)
        return Passed(self._merged(y), last, ends)

    def _forward(
        self, x: Array, states: States, ends: RowEnds | None, training: bool
    ) -> tuple[Passed, Any]:
        (y, last, ends), trace = members.forward(self.layer, x, states, ends, training)
        kept = y if self.merge == "mul" else None
        if kept is not None:
            kept.flags.writeable = False
        return Passed(self._merged(y), last, ends), MergeTrace(trace, kept)

    def _backward(self, trace: Any, dy: Array, dstates: States, flows: Flows) -> Back:
        _check.instance("trace", trace, MergeTrace)
        if self.merge == "concat":
            return members.backward(self.layer, trace.layer, dy, dstates, flows)
        if self.merge == "ave":
            dy = dy / 2
        halves = dy, dy
        if trace.y is not None:
            first, second = np.split(trace.y, 2, axis=-1)
            halves = dy * second, dy * first
        dy = np.concatenate(halves, -1)
        return members.backward(self.layer, trace.layer, dy, dstates, flows)

    def _merged(self, y: Array) -> Array:
        if self.merge == "concat":
            return y
        first, second = np.split(y, 2, axis=-1)
        total: Array = np.multiply(first, second) if self.merge == "mul" else first + second
        if self.merge == "ave":
            total /= 2
        return total
