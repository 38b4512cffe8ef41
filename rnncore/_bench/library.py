"""What a library has to offer to be measured, and rnncore as the first that does.

A `Library` is made for a `Problem` and gives two calls to time, `inference` and `training`. What
they return stays in the library's own form; `arrays` turns it into NumPy arrays under the names
y, dx and d<parameter>, in rnncore's layout, by which the libraries are checked against each other.
"""

from typing import Any

import numpy as np

from rnncore._bench.agreement import assert_agree
from rnncore._bench.problem import Problem
from rnncore.layers.kinds import BY_PREFIX

PASSES = ("inference", "training")


class Library:
    """One library on one problem. `needs` are the modules without which it is left out."""

    name: str
    needs: tuple[str, ...] = ()
    cells: tuple[str, ...] = ("rnn", "gru", "lstm")
    passes: tuple[str, ...] = PASSES
    dtypes: tuple[str, ...] = ("float32", "float64")

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def inference(self) -> Any:
        """Compute y and keep nothing."""
        raise NotImplementedError

    def training(self) -> Any:
        """Compute y, then from dy the gradients of x and of all parameters."""
        raise NotImplementedError

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        """What either call returned, by name."""
        raise NotImplementedError


class RNNCore(Library):
    name = "rnncore"
    cells = tuple(BY_PREFIX)

    def __init__(self, problem: Problem, precision: str | None = None) -> None:
        super().__init__(problem)
        _, _, I, H = problem.sizes
        self.layer = BY_PREFIX[problem.cell](I, H, dtype=problem.dtype)
        self.layer.load_params(problem.params)
        self.frozen = self.layer.freeze(precision)

    def inference(self) -> Any:
        return self.frozen(self.problem.x)

    def training(self) -> Any:
        y, _, trace = self.layer.forward(self.problem.x)
        return y, self.layer.backward(trace, self.problem.dy)

    def arrays(self, result: Any, passed: str) -> dict[str, np.ndarray]:
        y, rest = result
        if passed == "inference":
            return {"y": y}
        return {"y": y, "dx": rest.x} | {f"d{name}": grad for name, grad in rest.params.items()}


def check(libraries: list[Library], passed: str) -> None:
    """Raise an AssertionError unless all give the results of the first."""
    first, *others = libraries
    expected = first.arrays(getattr(first, passed)(), passed)
    for library in others:
        found = library.arrays(getattr(library, passed)(), passed)
        assert_agree(found, expected, first.problem.dtype, library.name)
