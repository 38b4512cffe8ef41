"""Learning rates that change: each schedule gives the rate of a step, from the step alone.

>>> schedule = CosineDecay(0.1, steps=100)
>>> [schedule(step) for step in (0, 50, 100, 200)]
[0.1, 0.05, 0.0, 0.0]

In a loop that is ``optimizer.lr = schedule(optimizer.steps)`` before every step, or before every
epoch with the number of the epoch. A schedule is never changed: a loop that goes on where another
one stopped has the same rates. `rnncore.train.plateau` has the one that looks at losses.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from rnncore import _check
from rnncore._common.sealed import Sealed

_MOST_STEPS = 2**62
DescribedType = TypeVar("DescribedType", bound="Described")


class Described(Sealed):
    """Options that are fixed, and how they are shown."""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make a schedule like this one."""
        return {name: getattr(self, name) for name in self._fixed}

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"


class Schedule(Described):
    """What all schedules of steps share."""

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self._at(_check.size("step", step, minimum=0, maximum=_MOST_STEPS))

    def _at(self, step: int) -> float:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """All that there is to tell, of plain numbers and texts that JSON can hold."""
        return {"schedule": type(self).__name__, "options": dict(map(_plain, self.options.items()))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the schedule that gave `state`, one of the same class.

        Raises
        ------
        ValueError, TypeError
            If a key is missing or unknown, or an option is not what the class takes. Nothing has
            been changed then.
        """
        self.__dict__.update(_restored(state, type(self)).__dict__)


class StepDecay(Schedule):
    """The rate falls by a factor at some steps, and is constant between: ``lr * factor**falls``.

    The rates of ``torch.optim.lr_scheduler.StepLR``, or with a list of steps of ``MultiStepLR``.

    Parameters
    ----------
    lr : float
        At step 0; at least 0.
    every : int, or a sequence of ints
        How many steps are between two falls; or the steps at which it falls, each larger than the
        one before.
    factor : float
        Above 0 and at most 1.

    Examples
    --------
    >>> schedule = StepDecay(8.0, every=10, factor=0.5)
    >>> [schedule(step) for step in (0, 9, 10, 29)]
    [8.0, 8.0, 4.0, 2.0]
    >>> StepDecay(8.0, every=[3, 5], factor=0.5)(5)
    2.0
    """

    _fixed = ("lr", "every", "factor")

    def __init__(self, lr: float, every: int | Sequence[int], factor: float = 0.1):
        self.lr = _check.not_negative("lr", lr)
        self.every: int | tuple[int, ...]
        if isinstance(every, list | tuple):
            self.every = tuple(_check.size(f"every[{k}]", at) for k, at in enumerate(every))
            if list(self.every) != sorted(set(self.every)) or not self.every:
                raise ValueError(f"every is {list(every)}, expected steps that go up")
        else:
            self.every = _check.size("every", every)
        self.factor = _check.not_negative("factor", factor)
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor is {factor}, expected a number above 0 and at most 1")

    def _at(self, step: int) -> float:
        if isinstance(self.every, int):
            falls = step // self.every
        else:
            falls = bisect_right(self.every, step)
        return self.lr * self.factor**falls


class CosineDecay(Schedule):
    """The rate falls along half a cosine (Loshchilov and Hutter 2017), and then stays::

        lowest + (lr - lowest) * (1 + cos(pi * step / steps)) / 2

    The rates of ``torch.optim.lr_scheduler.CosineAnnealingLR`` up to `steps`.

    Parameters
    ----------
    lr : float
        At step 0; at least 0.
    steps : int
        From which step on it is `lowest`.
    lowest : float
        From 0 to `lr`.

    Examples
    --------
    >>> schedule = CosineDecay(3.0, steps=4, lowest=1.0)
    >>> [round(schedule(step), 3) for step in range(6)]
    [3.0, 2.707, 2.0, 1.293, 1.0, 1.0]
    """

    _fixed = ("lr", "steps", "lowest")

    def __init__(self, lr: float, steps: int, lowest: float = 0.0):
        self.lr = _check.not_negative("lr", lr)
        self.steps = _check.size("steps", steps)
        self.lowest = lowest_rate(lowest, self.lr)

    def _at(self, step: int) -> float:
        return _along_cosine(self.lr, self.lowest, min(step / self.steps, 1.0))


class OneCycle(Schedule):
    """From a low rate up to the highest and down to almost none (Smith and Topin 2018).

    The rates of ``torch.optim.lr_scheduler.OneCycleLR``, which has momentums too. Both ways are
    half a cosine: up from ``lr / start`` to `lr`, within the share `up` of the steps, and down to
    ``lr / start / end`` at the last one.

    Parameters
    ----------
    lr : float
        The highest; at least 0.
    steps : int
        At least 2; what comes later has the rate of the last one.
    up : float, 0 to below 1
        ``up * steps`` has to be above 1: the rate rises from step 0 to step ``up * steps - 1``.
    start, end : float
        At least 1.

    Examples
    --------
    >>> schedule = OneCycle(1.0, steps=11, up=5 / 11, start=4.0, end=10.0)
    >>> [round(schedule(step), 4) for step in (0, 2, 4, 7, 10)]
    [0.25, 0.625, 1.0, 0.5125, 0.025]
    """

    _fixed = ("lr", "steps", "up", "start", "end")

    def __init__(
        self, lr: float, steps: int, up: float = 0.3, start: float = 25.0, end: float = 1e4
    ):
        self.lr = _check.not_negative("lr", lr)
        self.steps = _check.size("steps", steps, minimum=2)
        self.up = _check.fraction("up", up)
        if self.up * self.steps <= 1:
            raise ValueError(
                f"up is {self.up} and steps is {self.steps}, expected a product above 1"
            )
        self.start, self.end = _at_least_1("start", start), _at_least_1("end", end)

    def _at(self, step: int) -> float:
        low, top, last = self.lr / self.start, self.up * self.steps - 1, self.steps - 1
        if step <= top:
            return _along_cosine(low, self.lr, step / top)
        return _along_cosine(self.lr, low / self.end, min((step - top) / (last - top), 1.0))


class WarmUp(Schedule):
    """A rate that rises in equal steps to its full value, and then another schedule, or no change::

        then(0) * (start + (1 - start) * step / steps) before step `steps`, then(step - steps) after

    The rates of ``torch.optim.lr_scheduler.LinearLR``, and with another schedule those of both in a
    ``SequentialLR``.

    Parameters
    ----------
    then : float or a schedule
        The rate, or the schedule whose step 0 comes after `steps`.
    steps : int
    start : float, 0 to below 1
        The share of the rate at step 0.

    Examples
    --------
    >>> schedule = WarmUp(CosineDecay(0.3, steps=100), steps=3, start=0.0)
    >>> [round(schedule(step), 3) for step in (0, 1, 2, 3, 53, 103)]
    [0.0, 0.1, 0.2, 0.3, 0.15, 0.0]
    """

    _fixed = ("then", "steps", "start")

    def __init__(self, then: float | Schedule, steps: int, start: float = 1 / 3):
        if isinstance(then, Mapping):
            then = _restored(then, *_KINDS.values())
        if isinstance(then, Described) and not isinstance(then, Schedule):
            raise TypeError(
                f"then is of type {type(then).__name__}, expected a number or a schedule of steps"
            )
        self.then = then if isinstance(then, Schedule) else _check.not_negative("then", then)
        self.steps = _check.size("steps", steps)
        self.start = _check.fraction("start", start)

    def _at(self, step: int) -> float:
        if step >= self.steps:
            return self._then(step - self.steps)
        return self._then(0) * (self.start + (1 - self.start) * (step / self.steps))

    def _then(self, step: int) -> float:
        return self.then._at(step) if isinstance(self.then, Schedule) else self.then


_KINDS: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (StepDecay, CosineDecay, OneCycle, WarmUp)
}


def _restored(state: Mapping[str, Any], *kinds: type[Schedule]) -> Schedule:
    """The schedule that gave `state`, of one of these classes."""
    kind, options = options_of(state, *kinds)
    return kind(**options)


def options_of(
    state: Mapping[str, Any], *kinds: type[DescribedType], others: Sequence[str] = ()
) -> tuple[type[DescribedType], Mapping[str, Any]]:
    """Which of these classes gave `state`, and with which options; it has `others` beside them."""
    state = _check.instance("state", state, Mapping)
    _same_keys("state", state, ("schedule", "options", *others))
    names = [kind.__name__ for kind in kinds]
    name = _check.choice("state['schedule']", state["schedule"], names)
    kind = kinds[names.index(name)]
    options = _check.instance("state['options']", state["options"], Mapping)
    _same_keys("state['options']", options, kind._fixed)
    return kind, options


def _same_keys(what: str, given: Mapping[str, Any], expected: Sequence[str]) -> None:
    if set(given) != set(expected):
        raise ValueError(
            f"{what} has {', '.join(sorted(map(repr, given))) or 'no keys'}, expected"
            f" {', '.join(sorted(map(repr, expected)))}"
        )


def _plain(option: tuple[str, Any]) -> tuple[str, Any]:
    """An option as JSON has it."""
    name, value = option
    if isinstance(value, Schedule):
        return name, value.state_dict()
    return name, list(value) if isinstance(value, tuple) else value


def _along_cosine(first: float, last: float, share: float) -> float:
    """Of the way from one rate to another."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def lowest_rate(value: float, lr: float) -> float:
    """Check where a rate stops to fall."""
    lowest = _check.not_negative("lowest", value)
    if lowest > lr:
        raise ValueError(f"lowest is {lowest}, expected at most lr, {lr}")
    return lowest


def _at_least_1(name: str, value: float) -> float:
    number = _check.real(name, value)
    if number < 1:
        raise ValueError(f"{name} is {number}, expected a number of at least 1")
    return number
