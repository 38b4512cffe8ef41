"""A learning rate that falls where nothing gets better any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.train.schedules import Described, lowest_rate, options_of

_PROGRESS = ("rate", "best", "worse", "rest")


class OnPlateau(Described):
    """The rate falls by a factor once a loss has not fallen for some time.

    The rates of ``torch.optim.lr_scheduler.ReduceLROnPlateau``. Called once an epoch, with what is
    watched, it gives the rate to go on with: ``optimizer.lr = schedule(loss)``. It keeps what it
    has seen, which `state_dict` gives.

    A value is better if it is finite and below ``best * (1 - threshold)``, or for
    ``mode="max"`` above ``best * (1 + threshold)``. After more than `patience` values in a row that
    are not, the rate is multiplied with `factor`; then `cooldown` values are not counted.

    Parameters
    ----------
    lr : float
        At first; at least 0.
    factor : float
        Above 0 and below 1.
    patience, cooldown : int
        At least 0.
    threshold : float, 0 to below 1
    mode : "min" or "max"
        Whether lower or higher is better.
    lowest : float
        From 0 to `lr`; the rate stays at or above it.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what is described above.

    Examples
    --------
    >>> schedule = OnPlateau(1.0, factor=0.5, patience=1)
    >>> [schedule(loss) for loss in (5.0, 4.0, 4.0, 4.0, 3.0)]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    _fixed = ("lr", "factor", "patience", "threshold", "mode", "cooldown", "lowest")

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        mode: str = "min",
        cooldown: int = 0,
        lowest: float = 0.0,
    ):
        self.lr = _check.not_negative("lr", lr)
        self.factor = _check.fraction("factor", factor)
        if not self.factor:
            raise ValueError(f"factor is {factor}, expected a number above 0 and below 1")
        self.patience = _check.size("patience", patience, minimum=0)
        self.threshold = _check.fraction("threshold", threshold)
        self.mode = _check.choice("mode", mode, ("min", "max"))
        self.cooldown = _check.size("cooldown", cooldown, minimum=0)
        self.lowest = lowest_rate(lowest, self.lr)
        self._rate, self._best = self.lr, math.inf if self.mode == "min" else -math.inf
        self._worse = self._rest = 0

    @property
    def rate(self) -> float:
        """What the last call gave; at first `lr`."""
        return self._rate

    def __call__(self, value: float) -> float:
        """The learning rate, once `value` was seen: a loss, or what else is watched."""
        seen = _number(value)
        if self._is_better(seen):
            self._best, self._worse = seen, 0
        else:
            self._worse += 1
        if self._rest:
            self._rest, self._worse = self._rest - 1, 0
        if self._worse > self.patience:
            self._rate = max(self._rate * self.factor, self.lowest)
            self._rest, self._worse = self.cooldown, 0
        return self._rate

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.mode == "min":
            return value < self._best * (1 - self.threshold)
        return value > self._best * (1 + self.threshold)

    def state_dict(self) -> dict[str, Any]:
        """The options and what was seen, of plain numbers and texts that JSON can hold."""
        seen = {
            "rate": self._rate,
            "best": self._best if math.isfinite(self._best) else None,  # of nothing
            "worse": self._worse,
            "rest": self._rest,
        }
        return {"schedule": type(self).__name__, "options": self.options, **seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises
        ------
        ValueError, TypeError
            If a key is missing or unknown, or a value is none that the class takes. Nothing has
            been changed then.
        """
        _, options = options_of(state, type(self), others=_PROGRESS)
        other = type(self)(**options)
        other._rate = _check.not_negative("rate", state["rate"])
        if state["best"] is not None:
            other._best = _check.real("best", state["best"])
        other._worse = _check.size("worse", state["worse"], minimum=0)
        other._rest = _check.size("rest", state["rest"], minimum=0)
        self.__dict__.update(other.__dict__)


def _number(value: float) -> float:
    """Infinity and NaN are numbers too, if no good ones."""
    if isinstance(value, float | np.floating):
        return float(value)
    return _check.real("value", value)
