"""A learner's function on small problems: what it is called with, and what it gave."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.course import lstm, rnn
from rnncore.course.checks import lstm_shapes, rnn_shapes
from rnncore.course.layouts import Arrays

Function = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {
    function.__name__: function
    for function in (
        rnn.rnn_cell_forward, rnn.rnn_forward, rnn.rnn_cell_backward, rnn.rnn_backward,
        lstm.lstm_cell_forward, lstm.lstm_forward, lstm.lstm_cell_backward, lstm.lstm_backward,
    )
}  # fmt: skip
_ARGUMENTS = {name: tuple(inspect.signature(f).parameters) for name, f in FUNCTIONS.items()}
_OUTPUTS = {
    "rnn_cell_forward": ("a_next", "yt_pred", "cache"),
    "rnn_forward": ("a", "y_pred", "caches"),
    "lstm_cell_forward": ("a_next", "c_next", "yt_pred", "cache"),
    "lstm_forward": ("a", "y", "c", "caches"),
}
_GATES = ("ft", "it", "cct", "ot")
_CACHES = {
    "rnn": ("a_next", "a_prev", "xt", "parameters"),
    "lstm": ("a_next", "c_next", "a_prev", "c_prev", *_GATES, "xt", "parameters"),
}
# n_x, m, T_x, n_a, n_y. Four different sizes show what is transposed by an error; equal ones let it
# through, so that it is seen in the numbers. One step and one example are apart.
_SIZES = ((3, 2, 4, 5, 2), (4, 4, 4, 4, 4), (2, 3, 1, 4, 3), (3, 1, 5, 2, 4))


class Problem(NamedTuple):
    sizes: str
    mark: str  # what is special of them
    args: tuple[Any, ...]
    right: Arrays


class Trial(NamedTuple):
    problem: Problem
    found: Arrays  # by the names of what is right
    amiss: dict[str, str]  # what is no array, by its name; the function as a whole is ""
    changed: tuple[str, ...]  # inputs


def meant(function: object, of: str | None) -> str:
    """Which function of the exercise this is to be: by `of`, its name, or its arguments."""
    if not callable(function) or isinstance(function, type):
        what = "a class" if isinstance(function, type) else f"of type {type(function).__name__}"
        raise TypeError(f"function is {what}, expected a function")
    if of is not None:
        return _check.choice("of", of, tuple(FUNCTIONS))
    name = getattr(function, "__name__", "")
    fitting = [known for known in FUNCTIONS if known in name]
    if not fitting:
        fitting = [known for known, args in _ARGUMENTS.items() if args == _parameters(function)]
    if len(fitting) == 1:
        return fitting[0]
    choice = " or ".join(f"of={known!r}" for known in fitting or FUNCTIONS)
    raise ValueError(f"function is called {name!r}, expected {choice} to tell what it is to be")


def _parameters(function: Function) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some that are compiled do not tell
        return ()


def fits(function: Function, of: str) -> None:
    """Check that `function` can be called with the arguments of `of`."""
    wanted = _ARGUMENTS[of]
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*wanted)
    except TypeError:
        raise TypeError(
            f"function has the arguments {signature}, expected ({', '.join(wanted)}) as {of} has"
        ) from None


def problems(of: str) -> list[Problem]:
    rng = np.random.default_rng(0)
    return [_problem(of, sizes, rng) for sizes in _SIZES]


def _problem(of: str, sizes: tuple[int, ...], rng: np.random.Generator) -> Problem:
    n_x, m, T, n_a, n_y = sizes
    cell = of.partition("_")[0]
    shapes = rnn_shapes(n_x, n_a) if cell == "rnn" else lstm_shapes(n_x, n_a)
    shapes |= {"Wya" if cell == "rnn" else "Wy": (n_y, n_a), "by": (n_y, 1)}
    draw = rng.standard_normal
    p = {name: draw(shape) / np.sqrt(n_a) for name, shape in shapes.items()}
    args: tuple[Any, ...]
    if "cell" in of:
        states = tuple(draw((n_a, m)) for _ in range(1 + (cell == "lstm")))
        args = draw((n_x, m)), *states, p
        arriving = tuple(draw(state.shape) for state in states)
    else:
        args = draw((n_x, m, T)), draw((n_a, m)), p
        arriving = (draw((n_a, m, T)),)
    if of.endswith("backward"):
        args = *arriving, FUNCTIONS[of.replace("backward", "forward")](*args)[-1]
    right, _ = opened(of, FUNCTIONS[of](*args), {})
    told = {"n_x": n_x, "n_a": n_a, "n_y": n_y, "m": m, "T_x": T}
    left_out = {"n_y"} if of.endswith("backward") else set()
    left_out |= {"T_x"} if "cell" in of else set()
    texts = [f"{name} = {size}" for name, size in told.items() if name not in left_out]
    mark = "all sizes are equal" if n_x == n_a else "m = 1" if m == 1 else texts[-1]
    return Problem(", ".join(texts), mark, args, right)


def tried(function: Function, of: str, problem: Problem) -> Trial:
    args = deepcopy(problem.args)
    before = dict(_named(_ARGUMENTS[of], args))
    try:
        result = function(*args)
    except Exception as error:
        return Trial(problem, {}, {"": _raised(function, error)}, ())
    after = dict(_named(_ARGUMENTS[of], args))
    changed = [name for name in before if not _same(before[name], after.get(name))]
    changed += [name for name in after if name not in before]
    return Trial(problem, *opened(of, result, problem.right), tuple(changed))


def _raised(function: Function, error: Exception) -> str:
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    where = f", in line {frames[-1].lineno}, {frames[-1].line}" if frames else ""
    said = f": {error}" if str(error) else ""
    return f"raises {type(error).__name__}{said}{where.rstrip(', ')}"


def _named(names: Sequence[str], values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Copies of all that is in the arguments, by its name: "xt of caches[0][2]"."""
    for name, value in zip(names, values, strict=True):
        if isinstance(value, Mapping):
            yield from _named([f"{key} of {name}" for key in value], value.values())
        elif isinstance(value, tuple | list):
            inner = [f"{name}[{k}]" for k in range(len(value))]
            for parts in _CACHES.values():
                if isinstance(value, tuple) and len(value) == len(parts):
                    inner = [f"{part} of {name}" for part in parts]
            yield from _named(inner, value)
        else:
            yield name, deepcopy(value)


def _same(a: Any, b: Any) -> bool:
    return isinstance(b, np.ndarray) and np.array_equal(a, b)


def opened(of: str, result: Any, right: Arrays) -> tuple[Arrays, dict[str, str]]:
    """The arrays that a function gave, those of caches too, and what is no array."""
    amiss: dict[str, str] = {}
    if of.endswith("backward"):
        if not isinstance(result, Mapping):
            return {}, {"": f"returns {_kind(result)}, expected a dict: {', '.join(right)}"}
        keys = ", ".join(map(str, result)) or "none"
        amiss = {name: f"is missing; the keys are {keys}" for name in right if name not in result}
        values = {name: result[name] for name in right or result if name in result}
    else:
        names = _OUTPUTS[of]
        if not isinstance(result, tuple | list) or len(result) != len(names):
            return {}, {"": f"returns {_kind(result)}, expected ({', '.join(names)})"}
        *outputs, kept = result
        values = dict(zip(names, outputs, strict=False))
        try:
            values |= _of_cache(of, kept)
        except (TypeError, ValueError, IndexError):
            parts = f"({', '.join(_CACHES[of.partition('_')[0]])})"
            whole = parts if "cell" in of else f"([{parts} of every step], x)"
            amiss = {names[-1]: f"is {_kind(kept)}, expected {whole}"}
    found = {name: value for name, value in values.items() if _is_array(value)}
    for name in values.keys() - found.keys():
        amiss[name] = f"is {_kind(values[name])}, expected an array of numbers"
    return found, amiss


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _of_cache(of: str, kept: Any) -> dict[str, Any]:
    *names, _ = _CACHES[of.partition("_")[0]]

    def parts(cache: Any) -> dict[str, Any]:
        *values, _ = cache
        return dict(zip(names, values, strict=True))

    if "cell" in of:
        return {f"cache: {name}": value for name, value in parts(kept).items()}
    steps, x = kept
    by_step = [parts(step) for step in steps]
    stacked = {f"caches: {name}": np.stack([s[name] for s in by_step], -1) for name in names}
    return stacked | {"caches: x": x}


def _kind(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of dtype {value.dtype}"
    return "None: is there a return?" if value is None else f"of type {type(value).__name__}"
