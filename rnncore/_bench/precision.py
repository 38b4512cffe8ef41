"""Inference below float32, of rnncore and of others: time, error against float64, size."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import geometric_mean, median
from typing import Any, NamedTuple

import numpy as np

from rnncore._bench.agreement import assert_near
from rnncore._bench.library import RNNCore
from rnncore._bench.narrow import OTHERS, Narrow
from rnncore._bench.peers import missing
from rnncore._bench.problem import NormalProblem
from rnncore._bench.steps import CHECKED, RNNCoreStep, Stepper, outputs
from rnncore._bench.timing import interleave, ratio
from rnncore._bench.workloads import Workload

PLAIN = "float32"
WEIGHTS = {"bfloat16": "bfloat16", "w8a16": "int8", "w8a8": "int8"}

# From one step to batches whose weights exceed the second cache.
SHAPES = (
    *("1x1x64x64", "100x1x128x128", "100x1x256x256", "100x1x512x512", "50x1x1024x1024"),
    *("100x16x128x128", "25x16x512x512", "50x64x512x512"),
)


@dataclass(frozen=True)
class Figures:
    """Of one program on one workload."""

    seconds: float  # the median
    error: float  # the largest of y, against float64
    nbytes: int
    ratios: dict[str, float]  # precision of rnncore -> how many times as long this program takes


@dataclass(frozen=True)
class Row:
    """All programs on one workload, by name, those of rnncore first."""

    sizes: Workload
    programs: dict[str, Figures]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sizes": self.sizes._asdict()}


class Program(NamedTuple):
    """What is timed, and what it computes of the problem."""

    call: Callable[[], object]
    y: Callable[[], np.ndarray]
    nbytes: int


def name_of(precision: str) -> str:
    """Of rnncore at a precision.

    >>> name_of("w8a16")
    'rnncore w8a16'
    """
    return f"{RNNCore.name} {precision}"


def others_for(cell: str) -> list[type[Narrow]]:
    """The installed libraries that have this cell below float32."""
    return [other for other in OTHERS if cell in other.cells and not missing(other)]


def compare(cell: str, sizes: Workload, precisions: Sequence[str], seconds: float) -> Row:
    """Look at what each program computes, then time all of them in turns.

    A workload of one step is a step of a stream, and of others what goes on likewise: the state is
    handed on, and the error is that of `CHECKED` steps one after the other.

    Raises
    ------
    DisagreementError if one computes something else: then there is nothing to compare.
    """
    stepwise = sizes.T == 1
    problem = NormalProblem(cell, PLAIN, sizes)
    given = NormalProblem(cell, PLAIN, sizes._replace(T=CHECKED)) if stepwise else problem
    exact = given.in_float64()
    expected = RNNCore(exact).layer(exact.x)[0]
    programs = _programs(problem, given.x if stepwise else None, precisions)
    errors = {}
    for name, program in programs.items():
        y = program.y()
        assert_near(y, expected, name)
        errors[name] = float(np.abs(y - expected).max())
    times = interleave({name: program.call for name, program in programs.items()}, seconds)
    ours = {precision: times[name_of(precision)] for precision in precisions}
    return Row(
        sizes,
        {
            name: Figures(
                median(times[name]),
                errors[name],
                program.nbytes,
                {precision: ratio(times[name], own) for precision, own in ours.items()},
            )
            for name, program in programs.items()
        },
    )


def _programs(
    problem: NormalProblem, steps: np.ndarray | None, precisions: Sequence[str]
) -> dict[str, Program]:
    """By name; of those that read `steps` one after the other, or of whole sequences."""
    found = {}
    for precision in (None, *precisions):
        own = RNNCore(problem, precision)
        name = name_of(precision or PLAIN)
        if steps is None:
            found[name] = _whole(own, own.frozen.nbytes)
        else:
            found[name] = _stepwise(RNNCoreStep(problem, precision), steps, own.frozen.nbytes)
    wanted = {WEIGHTS[precision] for precision in precisions}
    for kind in others_for(problem.cell):
        if kind.weights not in wanted:
            continue
        other = kind(problem)
        if steps is None:
            found[other.name] = _whole(other, other.nbytes)
        else:
            found[other.name] = _stepwise(other.steps(), steps, other.nbytes)
    return found


def _whole(library: Any, nbytes: int) -> Program:
    def y() -> np.ndarray:
        found: np.ndarray = library.arrays(library.inference(), "inference")["y"]
        return found

    return Program(library.inference, y, nbytes)


def _stepwise(stepper: Stepper, x: np.ndarray, nbytes: int) -> Program:
    return Program(partial(stepper.step, x[0]), partial(outputs, stepper, x), nbytes)


# Over all workloads


class Beside(NamedTuple):
    """How others do over some workloads."""

    mean: float  # how many times as long they take: geometric mean
    worst: float
    at: Workload
    error: float  # of our y, over that of theirs, at most


class Standing(NamedTuple):
    """A precision of rnncore beside programs with weights of as many bits."""

    precision: str
    beside: str
    one_row: Beside | None  # of a single row, None where there is no such workload
    sequences: Beside | None  # of more than one step


def standings(rows: Sequence[Row], precisions: Sequence[str]) -> list[Standing]:
    """Each precision beside each program alike, and beside the best of them where there are more.

    The best is the fastest on each workload, and the most exact one in errors.
    """
    found = []
    for precision in precisions:
        alike = [
            other.name
            for other in OTHERS
            if other.weights == WEIGHTS[precision] and other.name in rows[0].programs
        ]
        for names in ([name] for name in alike):
            found.append(_standing(rows, precision, names, names[0]))
        if len(alike) > 1:
            found.append(_standing(rows, precision, alike, "the best of these"))
    return found


def _standing(rows: Sequence[Row], precision: str, names: list[str], beside: str) -> Standing:
    def over(chosen: list[Row]) -> Beside | None:
        ratios = [min(row.programs[n].ratios[precision] for n in names) for row in chosen]
        if not ratios:
            return None
        errors = [
            row.programs[name_of(precision)].error / min(row.programs[n].error for n in names)
            for row in chosen
        ]
        worst = min(ratios)
        at = chosen[ratios.index(worst)].sizes
        return Beside(geometric_mean(ratios), worst, at, max(errors))

    return Standing(
        precision,
        beside,
        over([row for row in rows if row.sizes.B == 1]),
        over([row for row in rows if row.sizes.T > 1]),
    )
