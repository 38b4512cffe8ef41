"""The chain of layers that a graph turns out to be, as it is found node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_graph import Node
from rnncore.convert.onnx_values import Const, Flow, Made, MisfitError, StateOut, unknown

__all__ = ["Call", "Chain"]


class Chain:
    """Layers found so far, and which axis of the input is time.

    Attributes
    ----------
    made : the layers
    time : the letter of the axis that is time; None as long as no layer says
    lengths : the name of the input that says how long rows are; None as long as no node reads it
    declared : sizes that the file gives for axes of the input
    """

    def __init__(self, declared: Mapping[str, int], width: int | None, opset: int) -> None:
        self.made: list[Made] = []
        self.time: str | None = None
        self.lengths: str | None = None
        self._heeding: Node | None = None
        self._blind: Node | None = None
        self.declared, self.declared_width, self.opset = declared, width, opset

    def head(self, value: Any) -> Flow:
        """`value`, if it is what the last layer gave, or its last step."""
        if isinstance(value, StateOut) and value.last is not None:
            value = self._last(value.last)
        if not isinstance(value, Flow):
            raise MisfitError(f"it reads {unknown(value)}, expected the output of the layer before")
        if value.step != len(self.made):
            raise MisfitError("it reads what another layer has read already: the graph branches")
        if value.pads != (0, 0):
            raise MisfitError("it reads what was padded, which a convolution alone may here")
        if value.fill not in (None, 0):
            raise MisfitError("it reads what is masked for a maximum over steps, which it is not")
        return value

    def _last(self, flow: Flow) -> Flow:
        """A final state that goes on down the chain: of rows that end, the last output."""
        flow = flow._replace(axes=tuple("-" if axis == "D" else axis for axis in flow.axes))
        if flow.step != len(self.made):
            return flow
        return self.add(Made("Pool", {"kind": "last"}, {}, {}, "", True), flow)

    def add(self, made: Made, flow: Flow, **changes: Any) -> Flow:
        """One more layer, and what it gives."""
        self.made.append(made)
        return flow._replace(step=len(self.made), **{"fill": None, **changes})

    def set_lengths(self, name: str, node: Node | None = None) -> None:
        """These are the lengths; with a node that needs all layers over time to read them."""
        if self.lengths not in (None, name):
            raise MisfitError(
                f"it reads {name!r} as lengths, and a node before it {self.lengths!r}"
            )
        self.lengths, self._heeding = name, node or self._heeding
        self._check_heeded()

    def set_blind(self, node: Node) -> None:
        """This one goes over the steps of all rows, however long those are."""
        self._blind = self._blind or node
        self._check_heeded()

    def _check_heeded(self) -> None:
        if self._blind is not None and self._heeding is not None:
            raise MisfitError(
                f"rows end at their lengths for {self._heeding}, and go on for {self._blind}"
            )

    def set_time(self, axis: str) -> None:
        if axis not in ("0", "1"):
            raise MisfitError("it goes over an axis that is not time")
        if self.time not in (None, axis):
            raise MisfitError("it goes over another axis than the layers before it")
        self.time = axis

    def set_batch(self, axis: str) -> None:
        if axis in ("0", "1"):
            self.set_time("1" if axis == "0" else "0")
        elif axis != "-":
            raise MisfitError("it has features where its batch should be")

    def rows(self, value: Any) -> Flow:
        """`value` with its features last, and nothing else but rows before."""
        flow = self.head(value)
        if not flow.axes or flow.axes[-1] != "F" or "D" in flow.axes:
            raise MisfitError("it does not read features along the last axis")
        return flow


class Call(NamedTuple):
    """A node, what its inputs are to the chain, and the chain."""

    node: Node
    inputs: list[Any]
    chain: Chain

    @property
    def opset(self) -> int:
        return self.chain.opset

    @property
    def declared(self) -> Mapping[str, int]:
        return self.chain.declared

    @property
    def declared_width(self) -> int | None:
        return self.chain.declared_width

    def input(self, k: int) -> Any:
        return self.inputs[k] if k < len(self.inputs) else None

    def constant(self, k: int, what: str) -> np.ndarray:
        """An input as an array of floats, float32 or float64."""
        value = self.input(k)
        if not isinstance(value, Const):
            raise MisfitError(f"its {what} is no constant")
        return self.wide(value.array, what)

    def optional(self, k: int, what: str) -> np.ndarray | None:
        return None if self.input(k) is None else self.constant(k, what)

    def wide(self, array: np.ndarray, what: str) -> np.ndarray:
        if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
            raise MisfitError(f"its {what} has dtype {array.dtype}, expected floats")
        own = np.float64 if array.dtype == np.float64 else np.float32
        return np.ascontiguousarray(array, own)

    def made(
        self,
        kind: str,
        options: dict[str, Any],
        params: Mapping[str, np.ndarray | None] | None = None,
        *,
        timed: bool = False,
        buffers: dict[str, np.ndarray] | None = None,
    ) -> Made:
        own = {name: a for name, a in (params or {}).items() if a is not None}
        arrays = [*own.values(), *(buffers or {}).values()]
        if len({a.dtype for a in arrays}) > 1:
            raise MisfitError("its parameters are of different dtypes")
        if arrays:
            options = {**options, "dtype": arrays[0].dtype.name}
        return Made(kind, options, own, buffers or {}, self.node.name, timed)
