"""What the framework that a model comes from gave for a few inputs, kept with the model.

A file carries it, and `rnncore.load` computes it again: so a model that is not computed as it was
where it was made is not used unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnncore import _check

if TYPE_CHECKING:
    from rnncore.layers.results import Array

# Of the largest magnitude of an output: two right programs differ by so much after some layers.
TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}
PREFIX = "recorded."  # of the names of the arrays in a file


class Case(NamedTuple):
    """An input, the lengths of its rows or None, and the output."""

    x: Array
    lengths: Array | None
    y: Array


class Recorded(NamedTuple):
    """Where a model comes from, such as "torch 2.13.0", and what it gave there."""

    source: str
    cases: tuple[Case, ...]

    def check(self, model: Any) -> float:
        """The largest difference of `model` from what was recorded, relative to its magnitude.

        Raises
        ------
        ValueError where it is more than rounding comes to.
        """
        worst = 0.0
        for case in self.cases:
            y = model(case.x, lengths=case.lengths)[0]
            if y.shape != case.y.shape:
                raise ValueError(f"y has shape {y.shape}, and {self.source} gave {case.y.shape}")
            worst = max(worst, _difference(y, case.y))
        limit = TOLERANCE[np.dtype(np.float32) if model.dtype is None else model.dtype]
        if not worst <= limit:
            raise ValueError(
                f"outputs are off by {worst:.1e} of the largest that {self.source} gave, expected"
                f" at most {limit:.0e}: this machine does not compute the model as it was recorded"
            )
        return worst


def _difference(y: Array, expected: Array) -> float:
    """What is no number, or infinite, has to be just so."""
    there = np.isfinite(expected)
    if not np.array_equal(y[~there], expected[~there], equal_nan=True):
        return float("inf")
    if not np.isfinite(y[there]).all():
        return float("inf")
    if not there.any():
        return 0.0
    wide, aim = y[there].astype(np.float64), expected[there].astype(np.float64)
    scale = max(float(np.abs(aim).max()), 1e-6)
    return float(np.abs(wide - aim).max()) / scale


# In a file


def still_given(model: Any) -> Recorded | None:
    """What was recorded of a model, if it has not been trained on since."""
    try:
        if model.recorded is not None:
            model.recorded.check(model)
    except ValueError:
        return None
    found: Recorded | None = model.recorded
    return found


def arrays_of(recorded: Recorded | None) -> dict[str, np.ndarray]:
    """By the names that they have in a file."""
    found: dict[str, np.ndarray] = {}
    for k, case in enumerate(() if recorded is None else recorded.cases):
        for name, value in zip(Case._fields, case, strict=True):
            if value is not None:
                found[f"{PREFIX}{k}.{name}"] = value
    return found


def told(recorded: Recorded | None) -> dict[str, Any]:
    """What a file says of it beside the arrays."""
    if recorded is None:
        return {}
    cases = [
        [name for name, value in zip(Case._fields, case, strict=True) if value is not None]
        for case in recorded.cases
    ]
    return {"recorded": {"source": recorded.source, "cases": cases}}


def expected_names(options: Mapping[str, Any]) -> tuple[str, list[list[str]]]:
    """The source, and of each case which arrays a file has; by what `told` wrote.

    Raises
    ------
    TypeError, ValueError for what it cannot have written.
    """
    source = _check.instance("source", options.get("source"), str)
    cases = _check.instance("cases", options.get("cases"), list)
    for case in cases:
        if case not in (["x", "y"], ["x", "lengths", "y"]):
            raise ValueError("a recorded case has other arrays than x, lengths and y")
    return source, cases


def read(source: str, cases: Sequence[Sequence[str]], arrays: Mapping[str, Any]) -> Recorded:
    """What `told` and `arrays_of` wrote."""
    found = []
    for k in range(len(cases)):
        x, lengths, y = (arrays.get(f"{PREFIX}{k}.{name}") for name in Case._fields)
        found.append(Case(x, lengths, y))  # type: ignore[arg-type]  # x and y are there
    return Recorded(source, tuple(found))
