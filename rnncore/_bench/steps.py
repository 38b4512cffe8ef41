"""One step at a time from Python, one row: what control and streaming do all day.

Each of these reads x_t (B, I) with ``step(x_t)``, goes on to its next state and gives y_t.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from rnncore._bench.agreement import assert_agree
from rnncore._bench.library import RNNCore
from rnncore._bench.peers import ONNX_STATES, ONNXRuntime, missing, onnx_model, onnx_session
from rnncore._bench.problem import Problem
from rnncore._bench.timing import interleave, ratio
from rnncore._bench.workloads import Workload

UNITS = 64
CHECKED = 20  # steps, after which the states have left the zeros that they started from


class StepTimes(NamedTuple):
    seconds: list[float]  # of rnncore, a round each
    ratios: dict[str, float]  # library -> how many times as long


class Stepper(Protocol):
    """What goes on from step to step."""

    @property
    def step(self) -> Callable[[np.ndarray], Any]:
        """Of x_t."""

    def array(self, y_t: Any) -> np.ndarray:
        """What `step` gave, (B, H), in memory of its own."""


def outputs(stepper: Stepper, x: np.ndarray) -> np.ndarray:
    """y of all steps of x."""
    return np.stack([stepper.array(stepper.step(x_t)) for x_t in x])


class ONNXRuntimeStep:
    """Two bindings in turn: each writes the state where the other reads it."""

    name = ONNXRuntime.name

    def __init__(self, problem: Problem) -> None:
        import onnxruntime

        model = self.model(problem)
        self.nbytes, self.session = len(model), onnx_session(model)
        _, B, I, H = problem.sizes
        starts, ends = ONNX_STATES[problem.cell]
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        zeros = np.zeros((1, B, H), problem.dtype)
        states = [[value(zeros.copy()) for _ in starts] for _ in range(2)]
        self.x = np.zeros((1, B, I), problem.dtype)
        x = value(self.x)  # shares its memory: a copy with update_inplace takes 3 us more
        self.y = value(np.zeros((1, 1, B, H), problem.dtype))
        self.bindings = []
        for read, written in (states, states[::-1]):
            binding = self.session.io_binding()
            binding.bind_ortvalue_input("x", x)
            binding.bind_ortvalue_output("y", self.y)
            for name, state in zip(starts, read, strict=True):
                binding.bind_ortvalue_input(name, state)
            for name, state in zip(ends, written, strict=True):
                binding.bind_ortvalue_output(name, state)
            self.bindings.append(binding)

    def model(self, problem: Problem) -> bytes:
        return onnx_model(problem, stateful=True)

    def step(self, x_t: np.ndarray) -> Any:
        self.x[0] = x_t
        self.session.run_with_iobinding(self.bindings[0])
        self.bindings.reverse()
        return self.y

    def array(self, y_t: Any) -> np.ndarray:
        shown: np.ndarray = y_t.numpy()[0, 0]
        return shown.copy()  # the next step writes to the memory that is shown


class RNNCoreStep:
    name = RNNCore.name

    def __init__(self, problem: Problem, precision: str | None = None) -> None:
        frozen = RNNCore(problem, precision).frozen
        self.step: Callable[[np.ndarray], np.ndarray] = frozen.stream(problem.sizes.B)

    def array(self, y_t: np.ndarray) -> np.ndarray:
        return y_t.copy()


def compare_steps(cell: str, dtype: str, seconds: float) -> StepTimes:
    """Check a stream against onnxruntime's steps where it can be, then time them."""
    kinds: list[type[RNNCoreStep] | type[ONNXRuntimeStep]] = [RNNCoreStep]
    able = cell in ONNXRuntime.cells and dtype in ONNXRuntime.dtypes
    if able and not missing(ONNXRuntime):
        kinds.append(ONNXRuntimeStep)
    problem = Problem(cell, dtype, Workload(1, 1, UNITS, UNITS))
    x = Problem(cell, dtype, Workload(CHECKED, 1, UNITS, UNITS)).x
    steppers = [kind(problem) for kind in kinds]
    y = {s.name: outputs(s, x) for s in steppers}
    for name, found in y.items():
        assert_agree({"y": found}, {"y": y[RNNCore.name]}, dtype, name)
    times = interleave({s.name: partial(s.step, x[0]) for s in steppers}, seconds)
    ours = times.pop(RNNCore.name)
    return StepTimes(ours, {name: ratio(theirs, ours) for name, theirs in times.items()})
