"""What a graph is written with: nodes, constants, names of values, and how they lie.

A `Value` says how its axes lie, so that each layer asks for the order that its operator reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore.convert.onnx_file import library

__all__ = ["Value", "Writer"]


class Value(NamedTuple):
    """A tensor of the graph: its name, and its axes by the letters T, B and C."""

    name: str
    axes: str


class Writer:
    """A graph on its way: nodes and constants, and the lengths where there are some."""

    def __init__(self, opset: int, dtype: np.dtype[Any]) -> None:
        self.opset, self.dtype = opset, dtype
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.lengths: str | None = None  # the name of that input
        self.state_inputs: dict[str, list[str]] = {}
        self.state_outputs: dict[str, list[str]] = {}
        self._names: dict[str, int] = {}
        self._by_content: dict[Any, str] = {}

    def name(self, stem: str) -> str:
        """A name that no other value has."""
        count = self._names[stem] = self._names.get(stem, -1) + 1
        return f"{stem}_{count}" if count else stem

    def constant(self, stem: str, array: Any) -> str:
        array = np.asarray(array)
        name = self.name(stem)
        self.constants[name] = array
        return name

    def ints(self, *numbers: int) -> str:
        """A constant of integers, one for all who want the same."""
        if numbers not in self._by_content:
            stem = "ints_" + "_".join(str(n).replace("-", "m") for n in numbers)[:40]
            self._by_content[numbers] = self.constant(stem, np.array(numbers, np.int64))
        return self._by_content[numbers]

    def number(self, value: float) -> str:
        """A constant of one number in the model's dtype."""
        key = ("number", value)
        if key not in self._by_content:
            self._by_content[key] = self.constant("number", np.array(value, self.dtype))
        return self._by_content[key]

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: int | Sequence[str] = 1,
        *,
        at: str,
        **attributes: Any,
    ) -> list[str]:
        """A node; `at` is the member that it is of, and the beginning of its name."""
        if isinstance(outputs, int):
            outputs = [self.name(f"{at}/{op}_out") for _ in range(outputs)]
        name = self.name(f"{at}/{op}")
        helper = library().helper
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name, **attributes))
        return list(outputs)

    def one(self, op: str, *inputs: str, at: str, **attributes: Any) -> str:
        """A node of one output."""
        return self.node(op, inputs, at=at, **attributes)[0]

    def turned(self, value: Value, axes: str, at: str) -> Value:
        """The value with its axes in this order."""
        if value.axes == axes:
            return value
        perm = [value.axes.index(axis) for axis in axes]
        return Value(self.one("Transpose", value.name, at=at, perm=perm), axes)

    def reduced(self, op: str, value: Value, axis: str, at: str) -> Value:
        """A mean, a maximum or a sum over an axis, which goes."""
        place, rest = value.axes.index(axis), value.axes.replace(axis, "")
        if self.opset >= (13 if op == "ReduceSum" else 18):
            name = self.one(op, value.name, self.ints(place), at=at, keepdims=0)
        else:
            name = self.one(op, value.name, at=at, axes=[place], keepdims=0)
        return Value(name, rest)

    def squeezed(self, name: str, axis: int, at: str) -> str:
        return self.one("Squeeze", name, self.ints(axis), at=at)

    def within(self, value: Value, at: str) -> str:
        """Where a value is within the lengths of its rows, of shape (T, B, 1) or (B, T, 1)."""
        assert self.lengths is not None
        key = ("within", value.axes)
        if key not in self._by_content:
            steps = self.squeezed(
                self.one(
                    "Slice",
                    self.one("Shape", value.name, at=at),
                    self.ints(value.axes.index("T")),
                    self.ints(value.axes.index("T") + 1),
                    at=at,
                ),
                0,
                at,
            )
            zero, one = (self.constant(f"int_{k}", np.array(k, np.int64)) for k in (0, 1))
            places = self.one("Range", zero, steps, one, at=at)
            lengths = self.one("Cast", self.lengths, at=at, to=7)
            axes = {"T": (1, 2), "B": (0, 2)}
            if value.axes[:2] == "BT":
                axes = {"T": (0, 2), "B": (1, 2)}
            places = self.one("Unsqueeze", places, self.ints(*axes["T"]), at=at)
            lengths = self.one("Unsqueeze", lengths, self.ints(*axes["B"]), at=at)
            self._by_content[key] = self.one("Less", places, lengths, at=at)
        return self._by_content[key]

    def masked(self, value: Value, at: str, other: float = 0.0) -> Value:
        """The value with `other` past the lengths of its rows."""
        value = self.turned(value, "BTC" if value.axes.startswith("B") else "TBC", at)
        where = self.within(value, at)
        name = self.one("Where", where, value.name, self.number(other), at=at)
        return Value(name, value.axes)
