"""Which classic mistake the numbers of a wrong function are those of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from rnncore.course.layouts import Arrays
from rnncore.course.slips import GATES, SLIPS, Slip, slipped
from rnncore.course.trials import Trial, opened

_RTOL = 1e-9  # of the largest number; rounding is a millionth of that


@dataclass(frozen=True)
class Mistake:
    """What a wrong function looks like.

    Attributes
    ----------
    name : what the mistake is called, such as ``"transposed weight"``
    outputs : the outputs that are to the last digits what comes of it
    text : where it is
    """

    name: str
    outputs: tuple[str, ...]
    text: str


def close(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    return bool(np.all(abs(a - b) <= _RTOL * abs(b).max()))  # NaN is not


# What may have been done to an output at its end, and how it is undone: with m examples


@dataclass(frozen=True)
class _Turn:
    slip: Slip
    undo: Callable[[np.ndarray, int], np.ndarray]


_NOTHING = np.empty(0)  # which no output is
_AS_IT_IS = _Turn(Slip("", ""), lambda a, m: a)
_TURNS = (
    _Turn(
        Slip("not summed over the examples", "np.sum(..., axis=1, keepdims=True) is missing"),
        lambda a, m: a.sum(axis=1, keepdims=True) if a.shape[1:] == (m,) else _NOTHING,
    ),
    _Turn(Slip("transposed result", "it is the transpose"), lambda a, m: a.T),
    _Turn(Slip("mean for sum", "it is divided by m: a mean, not a sum"), lambda a, m: a * m),
    _Turn(Slip("wrong sign", "it is the negative"), lambda a, m: -a),
    _Turn(Slip("wrong shape", "keepdims=True is missing"), lambda a, m: a[..., np.newaxis]),
    _Turn(
        Slip("wrong order of time", "its steps are turned around"),
        lambda a, m: a[..., ::-1] if a.ndim == 3 else _NOTHING,
    ),
)
_Given = Callable[[Trial], Arrays]


def _given(of: str, keys: tuple[str, ...], trial: Trial) -> Arrays:
    try:
        return opened(of, slipped(of, trial.problem.args, frozenset(keys)), {})[0]
    except ValueError:  # of a product whose sizes do not fit
        return {}


def _exchanged(a: str, b: str, trial: Trial) -> Arrays:
    right = trial.problem.right
    return {a: right[b], b: right[a]}


def _simple(of: str, right: Iterable[str]) -> Iterator[tuple[Slip, _Given, _Turn]]:
    """One mistake."""
    for key, slip in SLIPS[of].items():
        yield slip, partial(_given, of, (key,)), _AS_IT_IS
    for turn in _TURNS:
        yield turn.slip, lambda trial: trial.problem.right, turn
    for a, b in combinations(right, 2):
        name = GATES if a[:2] == b[:2] and a[:2] in ("dW", "db") else "outputs mixed up"
        yield Slip(name, f"{a} and {b} are exchanged"), partial(_exchanged, a, b), _AS_IT_IS


def _double(of: str) -> Iterator[tuple[Slip, _Given, _Turn]]:
    """Two at once."""
    for one, other in combinations(SLIPS[of].items(), 2):
        yield _both(one[1], other[1]), partial(_given, of, (one[0], other[0])), _AS_IT_IS
    for key, slip in SLIPS[of].items():
        for turn in _TURNS:
            yield _both(slip, turn.slip), partial(_given, of, (key,)), turn


def _both(a: Slip, b: Slip) -> Slip:
    return Slip(f"{a.name}, {b.name}", f"{a.text}; and {b.text}")


def looks_like(of: str, trials: list[Trial], names: list[str]) -> list[Mistake]:
    """The mistakes whose numbers are there: of one, and where none fits, of two at once."""
    mistakes, left = [], set(names)

    def add(name: str, outputs: Iterable[str], text: str) -> None:
        mistakes.append(Mistake(name, tuple(n for n in names if n in outputs), text))
        left.difference_update(outputs)

    for name in names:
        if any(trial.amiss.get(name, "").startswith("is missing") for trial in trials):
            add("missing key", {name}, "the dict has no such key")
    for candidates in (_simple(of, trials[0].problem.right), _double(of)):
        if left:
            fitting = [(s, _explained(trials, left, g, t)) for s, g, t in candidates]
        while left:
            slip, outputs = max(fitting, key=lambda one: len(one[1] & left))
            if not outputs & left:
                break
            add(slip.name, outputs & left, slip.text)
    for name in (name for name in names if name in left):
        given = [(t.found[name], t.problem.right[name]) for t in trials if name in t.found]
        other = [(a.shape, right.shape) for a, right in given if a.shape != right.shape]
        if other:
            got, wanted = other[0]
            kept = ": is keepdims=True missing?" if wanted == (*got, 1) else ""
            add("wrong shape", {name}, f"{got} where {wanted} belongs{kept}")
        elif given and not any(a.any() for a, _ in given):
            add("never filled", {name}, "all its numbers are 0")
    raised = [trial.amiss.get("", "") for trial in trials]
    if any("aligned" in text or "matmul" in text for text in raised) and not mistakes:
        add("sizes of a product", (), "they do not fit: a .T may be missing, or be one too many")
    return mistakes


def _explained(trials: list[Trial], names: set[str], given: _Given, turn: _Turn) -> set[str]:
    """Those of the outputs that are what is given, in every trial that gave any."""
    for trial in trials:
        if trial.found and names:
            m, expected = trial.problem.args[0].shape[1], given(trial)
            names = {
                n for n in names & trial.found.keys()
                if close(turn.undo(trial.found[n], m), expected.get(n))
            }  # fmt: skip
    return names if any(t.found for t in trials) else set()
