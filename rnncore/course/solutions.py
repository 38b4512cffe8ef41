"""Whether a learner's function is right, and which mistake it looks like if not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnncore import _check
from rnncore._common.quiet import quiet
from rnncore.course.mistakes import Mistake, close, looks_like
from rnncore.course.trials import Function, Problem, Trial, fits, meant, problems, tried


@dataclass(frozen=True, repr=False)
class Report:
    """What `check` found: true where the function is right, and a text to print.

    Attributes
    ----------
    of : which function of the exercise was meant
    right : the outputs that are right
    wrong : what is wrong, by the name of the output; of the function as a whole by ""
    mistakes : what it looks like; empty where nothing known fits
    """

    of: str
    right: tuple[str, ...]
    wrong: dict[str, str]
    mistakes: tuple[Mistake, ...]

    def __bool__(self) -> bool:
        return not self.wrong

    def __repr__(self) -> str:
        if self:
            return f"{self.of} is right: {', '.join(self.right)}."
        lines = [f"{self.of} is not right yet."]
        width = max(map(len, self.wrong))
        lines += [f"  {name or 'it':{width}} {text}" for name, text in self.wrong.items()]
        if self.right:
            lines.append(f"Right: {', '.join(self.right)}.")
        for mistake in self.mistakes:
            where = f" in {', '.join(mistake.outputs)}" if mistake.outputs else ""
            lines.append(f"Looks like: {mistake.name}{where}: {mistake.text}.")
        return "\n".join(lines)


@quiet
def check(function: Function, of: str | None = None) -> Report:
    """Compare a solution of your own with the function of the exercise.

    It is called on four small problems in float64, one of a single step and one of a single
    example, and what it gives is compared with what is right. Where it is wrong, the report says
    in which outputs and by how much. A mistake is named where the numbers are, to rounding, those
    that it leads to: the derivative of an activation or a gate forgotten, a transposed weight, a
    sum over examples or time left out, a gradient that is not handed on, time or gates mixed up,
    ``a_next`` in the place of ``a_prev``, a wrong shape, a missing key, inputs that were changed.

    Parameters
    ----------
    function : called with the arguments of the function that it is to be, by their position
    of : its name, such as ``"rnn_cell_backward"``; where None, it is in the name of `function`, or
        its arguments tell

    Returns
    -------
    Report: true if all is right; printed, it tells what is not. An error that `function` raises is
    part of it.

    Raises
    ------
    TypeError, ValueError
        If `function` is none, cannot be called so, or is not known to be one of these.

    Examples
    --------
    >>> def my_rnn_cell_backward(da_next, cache):
    ...     a_next, a_prev, xt, parameters = cache
    ...     dpre = da_next * (1 - a_next**2)
    ...     gradients = {"dxt": parameters["Wax"].T @ dpre, "da_prev": parameters["Waa"] @ dpre}
    ...     gradients |= {"dWax": dpre @ xt.T, "dWaa": dpre @ a_prev.T}
    ...     return gradients | {"dba": dpre.sum(axis=1, keepdims=True)}
    >>> report = check(my_rnn_cell_backward)
    >>> bool(report), list(report.wrong), report.mistakes[0].name
    (False, ['da_prev'], 'transposed weight')
    """
    of = meant(function, of)
    fits(function, of)
    trials = [tried(function, of, problem) for problem in problems(of)]
    wrong = _wrong(trials)
    given = set().union(*(trial.found for trial in trials))
    right = tuple(n for n in trials[0].problem.right if n in given and n not in wrong)
    mistakes = looks_like(of, trials, [name for name in wrong if name])
    changed = tuple(dict.fromkeys(name for trial in trials for name in trial.changed))
    if changed:
        wrong["inputs"] = f"are changed: {_check.some(changed)}"
        mistakes.append(Mistake("inputs changed", changed, "+= and [:] = write into what came"))
    return Report(of, right, wrong, tuple(mistakes))


def _wrong(trials: list[Trial]) -> dict[str, str]:
    """What is wrong, by name: with the problem where it is worst, and those where it is right."""
    found: dict[str, list[tuple[float, str, Problem]]] = {"": []}
    for trial in trials:
        right = trial.problem.right
        told = {name: (np.inf, text) for name, text in {"": "", **trial.amiss}.items() if text}
        for name in right.keys() & trial.found.keys():
            told[name] = _difference(trial.found[name], right[name])
        for name in dict.fromkeys(["", *told]):
            error, text = told.get(name, (0.0, ""))
            found.setdefault(name, []).append((error, text, trial.problem))
    wrong = {}
    for name in dict.fromkeys(["", *trials[0].problem.right, *found]):
        of_trials = found.get(name, [])
        error, text, problem = max(of_trials, key=lambda one: one[0], default=(0.0, "", None))
        if problem and error:
            marks = [problem.mark for error, _, problem in of_trials if not error]
            but = f"; not where {' or '.join(marks)}" if marks else ""
            wrong[name] = f"{text} ({problem.sizes}){but}"
    return wrong


def _difference(a: np.ndarray, right: np.ndarray) -> tuple[float, str]:
    """How far `a` is off, as a part of the largest number there; 0 if by rounding alone."""
    if a.shape != right.shape:
        return np.inf, f"has shape {a.shape}, expected {right.shape}"
    if close(a, right):
        return 0.0, ""
    off = np.nan_to_num(abs(a - right), nan=np.inf)
    at = np.unravel_index(off.argmax(), off.shape)
    place = ", ".join(map(str, at))
    text = f"is off by {off[at]:.2g}: {a[at]:.6g} at [{place}], expected {right[at]:.6g}"
    if a.dtype != right.dtype:
        text = f"has dtype {a.dtype}, {text}"
    return float(off[at] / abs(right).max()), text
