"""The training of `rnncore train`: its steps, and the files that keep what was learned."""

import math
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._commands.curve import RunningMean
from rnncore._console import report
from rnncore._console.command import bad_input, replacing
from rnncore._console.signals import Ended, noted
from rnncore.language_model import LanguageModel, Trainer
from rnncore.language_model.files import not_finite
from rnncore.language_model.text import in_short

MODEL, EARLIER = "model.npz", "model.earlier.npz"
SAVE_EVERY = 30.0  # seconds of training
_SAVING_SHARE = 20  # saving takes at most such a part of the time
_WARM_UP = 0.02  # of the time; then the learning rate falls to 0 in a straight line
_HISTORY = {
    name: np.dtype(kind) for name, kind in (("seconds", "f8"), ("bits", "f8"), ("characters", "i8"))
}
_MOST = 2**62  # of anything: it can still be counted on

Show = Callable[[float, float, float], None]


@dataclass
class Run:
    """One training: the time that it had before this process, and what it did in it."""

    trainer: Trainer
    out: Path
    validation: NDArray[np.uint8]
    seconds_before: float = 0.0
    history: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _HISTORY})
    new: bool = True  # a model in the folder is another one, to be kept
    kept_earlier: bool = False
    step_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    signals: list[int] = field(default_factory=list)
    diverged: str = ""
    best: dict[str, np.ndarray] = field(default_factory=dict)  # parameters of the fewest bits
    best_bits: float = math.inf  # per character of the validation text

    @property
    def path(self) -> Path:
        return self.out / MODEL

    @property
    def characters(self) -> int:
        """Read in this process."""
        return len(self.step_seconds) * self.trainer.batch * self.trainer.window

    def arrays(self) -> dict[str, np.ndarray]:
        """The history, as it is saved and drawn."""
        return {name: np.array(self.history[name], kind) for name, kind in _HISTORY.items()}

    def take_up(self, path: Path, history: dict[str, np.ndarray]) -> None:
        """Go on from the history that was read from `path`; without one nothing is known of before.

        Raises
        ------
        ValueError if it is not what `arrays` gives.
        """
        if not history:
            return
        if history.keys() != _HISTORY.keys():
            raise ValueError(
                f"{path} has the history {', '.join(sorted(history))}, expected"
                f" {', '.join(sorted(_HISTORY))}"
            )
        for name, kind in _HISTORY.items():
            values = history[name]
            if values.dtype != kind:
                raise ValueError(f"{path}: history.{name} has dtype {values.dtype}, not {kind}")
            if name != "bits" and (np.diff(values, prepend=0) < 0).any():
                raise ValueError(f"{path}: history.{name} falls or is negative somewhere")
            if (values > _MOST).any():
                raise ValueError(f"{path}: history.{name} is larger than {_MOST} somewhere")
        self.history = {name: values.tolist() for name, values in history.items()}
        self.seconds_before = sum(self.history["seconds"][-1:])

    def choose(self, model: LanguageModel) -> None:
        """Keep what a model is, if the validation text is told in fewer bits than ever."""
        bits = model.bits_per_character(self.validation)
        if bits < self.best_bits:
            self.best_bits = bits
            self.best = {name: array.copy() for name, array in model.arrays().items()}

    def end(self) -> LanguageModel:
        """The model as it was best; training does not go on."""
        model = self.trainer.model
        for name, array in model.arrays().items():
            np.copyto(array, self.best.get(name, array))
        return model

    def end_if_asked(self) -> None:
        """Raise what the signals that came during the training would have raised.

        One Ctrl-C is none of them: it stops the training alone.
        """
        for number in self.signals:
            if number != signal.SIGINT:
                raise Ended(number)
        if len(self.signals) > 1:
            raise KeyboardInterrupt

    def save(self) -> None:
        """Look at the validation text, and write the model; keep the earlier one of a new run.

        A model that is no good is never written.
        """
        if not self.step_seconds:
            return
        if bad := not_finite(self.trainer.model.arrays()):
            self.diverged = self.diverged or f"{in_short(bad)} not finite any more"
            return
        self.choose(self.trainer.model)
        with bad_input("cannot write to"):
            if self.new and self.path.exists():
                with replacing(self.path) as beside:
                    self.trainer.save(beside, self.arrays(), self.best)
                    with replacing(self.out / EARLIER) as second:
                        _second_name(self.path, second)
                self.kept_earlier = True
            else:
                self.trainer.save(self.path, self.arrays(), self.best)
        self.new = False


def _second_name(path: Path, second: Path) -> None:
    try:
        os.link(path, second)
    except OSError:  # not every file system can
        shutil.copy2(path, second)


def learn(console: Any, run: Run, seconds: float, peak: float) -> None:
    """Train until the time is over or a signal comes; what was learned is saved in any case.

    No signal interrupts a step or a save: `run.signals` tells which came.
    """
    with noted() as run.signals:
        try:
            with report.progress(console, seconds) as show:
                _steps(run, show, seconds, peak)
        except OSError:  # of the console; where its terminal has closed, the signal says more
            run.end_if_asked()
            raise
        finally:
            run.save()


def _steps(run: Run, show: Show, seconds: float, peak: float) -> None:
    trainer, history = run.trainer, run.history
    read = sum(history["characters"][-1:])
    smoothed, due = RunningMean(), SAVE_EVERY
    start = time.perf_counter()
    while True:
        before = time.perf_counter()
        try:
            bits = trainer.step(learning_rate(run.seconds / seconds, peak)).bits
        except FloatingPointError as error:
            run.diverged = f"{error} at step {trainer.steps + 1}"
            return
        now = time.perf_counter()
        run.step_seconds.append(now - before)
        run.seconds = now - start
        history["seconds"].append(run.seconds_before + run.seconds)
        history["characters"].append(read + run.characters)
        history["bits"].append(bits)
        show(run.seconds, smoothed.add(bits), run.characters / run.seconds)
        if run.seconds >= seconds or run.signals:
            return
        if run.seconds >= due:
            before = time.perf_counter()
            run.save()
            taken = time.perf_counter() - before
            start += taken  # no time of training
            due = run.seconds + max(SAVE_EVERY, _SAVING_SHARE * taken)


def learning_rate(done: float, peak: float) -> float:
    """The learning rate when a fraction `done` of the time is over.

    It rises to `peak` while Adam's means are still forming, then falls in a straight line, so that
    whatever time there is ends in the small steps that bring the loss down.

    >>> [round(learning_rate(done, 1.0), 2) for done in (0.0, 0.01, 0.02, 0.51, 1.0)]
    [0.05, 0.5, 1.0, 0.5, 0.01]
    """
    if done < _WARM_UP:
        return peak * max(0.05, done / _WARM_UP)
    return peak * max(0.01, (1 - done) / (1 - _WARM_UP))
