"""A model in the making: what stands where the next layer of Keras goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnncore.convert.keras_config import Node, refusal, shown
from rnncore.convert.keras_masks import Mask
from rnncore.convert.keras_weights import Weights

_LONGEST_NAME = 50  # of a layer of a model here


@dataclass
class Chain:
    """The layers that have been made, and what comes out of the last of them.

    Attributes
    ----------
    version : of Keras: 2 or 3
    weights : the arrays of a layer
    parts : the layers, by names like those in Keras
    steps : whether there are steps; None where that is not known
    axes : of the model's input; 0 where that is not known
    ids : whether x is still the model's input, of integers
    width : how many numbers a step has, or None
    mask : of the steps
    dtype : of all arrays
    """

    version: int
    weights: Weights
    parts: dict[str, Any] = field(default_factory=dict)
    steps: bool | None = None
    axes: int = 0
    ids: bool = False
    width: int | None = None
    mask: Mask = field(default_factory=Mask)
    dtype: Any = None
    _named: dict[str, int] = field(default_factory=dict)

    def add(self, node: Node, part: Any, what: str = "") -> None:
        """Put a layer behind the others; `what` it does where a layer of Keras becomes several."""
        end = f"_{what}" if what else ""
        stem = (node.name.replace(".", "_") or node.kind.lower())[: _LONGEST_NAME - 20]
        k = self._named[stem + end] = self._named.get(stem + end, 0) + 1
        name = f"{stem}{end}_{k}" if k > 1 else stem + end
        while name in self.parts or name == "batch_first":  # of a layer that has such a name itself
            name += "_"
        self.parts[name] = part

    def arrays(self, node: Node) -> list[np.ndarray]:
        """The arrays of a layer, all of one dtype."""
        found = self.weights(node)
        for array in found:
            self.dtype = array.dtype if self.dtype is None else self.dtype
            if array.dtype != self.dtype:
                raise refusal(
                    node, f"has {array.dtype} numbers and others {self.dtype}, expected one dtype"
                )
        return found

    def width_of(self, node: Node, array: np.ndarray, axis: int) -> int:
        """The inputs that a weight is for, which are those that come."""
        width = array.shape[axis] if array.ndim > axis else 0
        if width < 1 or (self.width is not None and width != self.width):
            raise refusal(node, f"has a weight for {width} inputs, expected {self.width or 'some'}")
        return width

    def need_steps(self, node: Node) -> None:
        """Raise for a layer over time where there are no steps."""
        if self.steps is False or self.ids:
            came = "ids" if self.ids else "rows without steps"
            raise refusal(node, f"reads {came}, expected steps (B, T, I)")
        self.steps = True

    def need_numbers(self, node: Node) -> None:
        """Raise for a layer that does not look at ids where those come."""
        if self.ids:
            raise refusal(node, "reads ids, expected an Embedding before it")

    def last_axis(self, node: Node) -> None:
        """Raise where a layer normalises along another axis than the last."""
        axis = node.config.get("axis", -1)
        if isinstance(axis, list | tuple) and len(axis) == 1:
            axis = axis[0]
        last = (-1,) if self.steps is None else (-1, 2 if self.steps else 1)
        if type(axis) is not int or axis not in last:
            raise refusal(node, f"has axis {shown(axis)}, expected -1, the last")
