"""The steps of a training, from epoch to epoch."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.fitting import checkpoint
from rnncore.fitting.batches import Batch, Given, Rows, Shared, everything, pieces
from rnncore.fitting.before import Before
from rnncore.fitting.best import Best
from rnncore.fitting.history import History
from rnncore.fitting.predict import outputs
from rnncore.fitting.progress import Silent, progress_of
from rnncore.fitting.scores import MASS, Loss, Means
from rnncore.fitting.team import CHECKPOINT, END, EPOCH, Apart, Part, Team
from rnncore.fitting.told import mark_of
from rnncore.train.clipping import clip_grad_norm
from rnncore.train.plateau import OnPlateau


class Options(NamedTuple):
    """What `fit` was told, checked."""

    epochs: int
    batch_size: int
    accumulate: int
    clip_norm: float | None
    patience: int | None
    window: int | None
    progress: bool
    checkpoint: str | os.PathLike[str] | None
    callbacks: tuple[Callable[..., Any], ...]


class Training:
    """A training under way, as callbacks see it.

    Attributes
    ----------
    model, optimizer, history : what is trained, by what, and what was measured so far
    epoch : how many epochs are done
    train, validation, schedule, rng, best : what else the next epoch depends on
    told : what `fit` has to be told again for it to go on
    """

    def __init__(
        self,
        model: Any,
        train: Rows | Given,
        validation: Rows | Given | None,
        loss: Loss,
        metrics: Mapping[str, Callable[..., float]],
        optimizer: Any,
        schedule: Any,
        rng: np.random.Generator,
        options: Options,
        told: Callable[[], dict[str, Any]],
        team: Team,
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.optimizer, self.schedule, self.rng = optimizer, schedule, rng
        self.history, self.epoch, self.best = History(), 0, Best(options.patience)
        self._loss, self._metrics, self._options = loss, dict(metrics), options
        self._tell, self._team = told, team
        self._apart = Apart(None if team.plain else model)
        self._looked = False  # at all targets
        self._begun = self._wrote = False  # a step of the optimiser; a checkpoint

    @cached_property
    def told(self) -> dict[str, Any]:
        """Found out once: it reads some of the data."""
        return self._tell()

    @property
    def epochs(self) -> int:
        """How many there are to be."""
        return self._options.epochs

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What is trained, and what layers keep beside it; the model's own."""
        return {**self.model.params, **getattr(self.model, "buffers", {})}

    @property
    def columns(self) -> list[str]:
        """Of the history."""
        names = ["loss", *self._metrics]
        held = [] if self.validation is None else [f"val_{name}" for name in names]
        return [*names, "lr", "seconds", *held]

    def run(self, before: Before) -> History:
        """All epochs that are left; all is as `before` where it ends before the first step."""
        rate = self.optimizer.lr
        try:
            return self._run()
        except BaseException:
            if not self._begun:
                before.put_back()
                self.optimizer.lr = rate
                if self._wrote and self._options.checkpoint is not None:
                    with contextlib.suppress(OSError):
                        os.unlink(self._options.checkpoint)
            raise

    def _run(self) -> History:
        path, options, team = self._options.checkpoint, self._options, self._team
        self._check_same()
        self._try_validation()
        goes_on = path is not None and team.meet(CHECKPOINT, os.path.exists(path))[0]
        if path is not None and goes_on:
            checkpoint.resume(self, path)
            self._begun = True
        if isinstance(self.schedule, OnPlateau):
            self.optimizer.lr = self.schedule.rate
        if not goes_on:
            self._save()  # so that the first epoch can be begun again
        progress = progress_of(options.progress and not team.rank)
        try:
            progress.start(self.epoch, options.epochs, ended=self.history.stopped)
            while self.epoch < options.epochs and not self.history.stopped:
                values = self._epoch(progress) | self._validated()
                self.history.add(values)
                self.epoch += 1
                self._look_at(values)
                progress.end(values)
                found = [call(self) for call in options.callbacks]
                ends = any(isinstance(one, bool | np.bool_) and one for one in found)
                if any(team.meet(EPOCH, ends)):
                    self.history.stopped = True
                self._save()
            best = self.history.best_epoch
            if self.best.arrays and best is not None and best + 1 < self.epoch:
                progress.back(best + 1)
        finally:
            progress.close()
        self.best.give_back(self.arrays)
        team.meet(END)
        return self.history

    def _save(self) -> None:
        if self._options.checkpoint is not None and not self._team.rank:
            checkpoint.save(self, self._options.checkpoint)
            self._wrote = True

    def _check_same(self) -> None:
        """Whether all ranks train the same model with the same data in the same way."""
        if self._team.size == 1:
            return
        weights = mark_of(*self.arrays.values(), *map(np.asarray, self.optimizer.state.values()))
        more = {"epochs": self._options.epochs, "callbacks": len(self._options.callbacks)}
        more["checkpoint"] = self._options.checkpoint is not None
        order = self.rng.bit_generator.state
        self._team.check_same(self.told | more | {"parameters": weights, "rng": order})

    def _look_at(self, values: Mapping[str, float]) -> None:
        """The rate, and whether to go on, by what was measured."""
        watched = values.get("val_loss")
        if isinstance(self.schedule, OnPlateau):
            self.optimizer.lr = self.schedule(values["loss"] if watched is None else watched)
        self.history.stopped = self.best.ends(watched, self.arrays)

    # An epoch

    def _epoch(self, progress: Silent) -> dict[str, float]:
        size, every = self._options.batch_size, self._options.accumulate
        began, means = time.perf_counter(), Means(self._metrics)
        progress.begin(self.epoch, self.train.how_many(size))
        pending = _Pending(every > 1 or not self._team.plain)
        self._apart.begin(self.rng)
        for k, shared in enumerate(self._shared(self.train, self.rng), 1):
            try:
                self._learn(shared, k, means, pending)
                if k % every == 0:
                    self._step(pending)
            except _TOLD as error:
                place = f"epoch {self.epoch + 1}, batch {k}{_not_finite(shared)}"
                raise _with_place(place, error) from error
            progress.advance(means, self.optimizer.lr, shared.rows)
        self._step(pending)  # of the last batches, where they are fewer
        rate = float(self.optimizer.lr)
        return {**means.values(), "lr": rate, "seconds": time.perf_counter() - began}

    def _shared(self, data: Rows | Given, rng: np.random.Generator | None) -> Iterator[Shared]:
        """The batches of an epoch, with what this rank has of each."""
        size, team = self._options.batch_size, self._team
        return data.batches(size, rng, everything if team.plain else team.share)

    def _learn(self, shared: Shared, k: int, means: Means, pending: _Pending) -> None:
        """Forward and back through batch k, or its windows one after the other."""
        window = self._options.window
        states: dict[int, Any] = {}
        for steps in self._windows(shared):
            parts = []
            for number, batch in shared.parts:
                cut = batch if window is None else self._window(batch, steps)
                with self._apart.of(k, steps.start, number):
                    parts.append(self._part(cut, number, states, means, pending))
            found = self._team.sum(parts, self.model.params, self._apart.kept, means.count)
            self._apart.settle(found.moved, shared.rows)
            means.add(found.numbers)
            mass = found.numbers[MASS]
            if found.grads is not None and (self._team.plain or mass):
                pending.add(found.grads, mass)
            if window is not None:
                self._step(pending)

    def _part(
        self, batch: Batch, number: int, states: dict[int, Any], means: Means, pending: _Pending
    ) -> Part:
        """What some rows give; those of a window go on from their state."""
        given: dict[str, Any] = {}
        if number in states and batch.lengths is not None and not batch.lengths.any():
            nothing = [0.0] * means.count
            return Part(None, nothing, self._apart.moved(batch.rows))  # other rows go on
        if self._options.window is not None:
            given["state"] = states.get(number)
        if batch.lengths is not None:
            given["lengths"] = batch.lengths
        y, *final, trace = self.model.forward(batch.x, **given)
        states[number] = final[0] if final else None
        scored, moved = self._loss(y, batch), self._apart.moved(batch.rows)
        if scored is not None and not self._looked:
            self._loss.check_classes(self.train, y, batch)
            self._looked = True
        numbers = means.of(scored, y)
        if scored is None:
            return Part(None, numbers, moved)
        found = self.model.backward(trace, pending.scaled(scored.dy, scored.mass))
        return Part(getattr(found, "params", found), numbers, moved)

    def _windows(self, shared: Shared) -> list[slice]:
        """Of all steps one after the other; one alone, where there are none."""
        window = self._options.window
        return pieces(shared.steps, window, self._loss.layout.least) if window else [slice(0, 0)]

    def _window(self, batch: Batch, steps: slice) -> Batch:
        axis = 1 if self._loss.layout.batch_first else 0
        at = (slice(None),) * axis + (steps,)
        x, lengths = batch.x[at], batch.lengths
        if lengths is not None:
            lengths = np.clip(lengths - steps.start, 0, x.shape[axis])
        return Batch(x, batch.target[at], lengths, batch.rows)

    def _step(self, pending: _Pending) -> None:
        grads = pending.taken()
        if grads is None:
            return
        if self.schedule is not None and not isinstance(self.schedule, OnPlateau):
            rate = self.schedule(self.optimizer.steps)
            self.optimizer.lr = _check.not_negative("what schedule gives", rate)
        if self._options.clip_norm is not None:
            clip_grad_norm(grads, self._options.clip_norm)
        self._begun = True
        self.optimizer.step(grads)

    # What follows it

    def _validated(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        means = Means(self._metrics)
        for shared in self._shared(self.validation, None):
            parts = []
            for _, batch in shared.parts:
                y = outputs(self.model, batch)
                parts.append(Part(None, means.of(self._loss(y, batch), y)))
            means.add(self._team.sum(parts, {}, [], means.count).numbers)
        return {f"val_{name}": value for name, value in means.values().items()}

    def _try_validation(self) -> None:
        """Find out whether its first batch can be read: before the work, not after."""
        if self.validation is None:
            return
        try:
            for shared in self._shared(self.validation, None):
                if any(self._counts(batch) for _, batch in shared.parts) or self._team.size > 1:
                    break
            else:
                raise ValueError("no position of it counts, expected at least one")
        except _TOLD as error:
            raise _with_place("validation", error) from error

    def _counts(self, batch: Batch) -> bool:
        """Whether anything of a batch of the validation does."""
        y = outputs(self.model, batch)
        counts = self._loss(y, batch) is not None
        if counts and self.validation is not None:
            self._loss.check_classes(self.validation, y, batch)
        return counts


_TOLD = (FloatingPointError, TypeError, ValueError)  # with the place where they come up


def _with_place(place: str, error: Exception) -> Exception:
    """An error like that, of its plain kind: what others derive may not be made of a text."""
    kind = next(kind for kind in _TOLD if isinstance(error, kind))
    return kind(f"{place}: {error}")


def _not_finite(shared: Shared) -> str:
    """What of a batch is NaN or infinite, to go on a sentence with."""
    found = ""
    for name in ("x", "target"):
        arrays = [getattr(part, name) for _, part in shared.parts]
        if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays):
            found += f", and {name} has NaN or infinity"
    return found


class _Pending:
    """Gradients that wait for a step: of one batch, or with `several` of the mean of all."""

    def __init__(self, several: bool) -> None:
        self._several, self._mass = several, 0.0
        self._grads: Any = None

    def scaled(self, dy: np.ndarray, mass: float) -> np.ndarray:
        """That of a sum, where there are several, for that of a mean."""
        return dy * dy.dtype.type(mass) if self._several else dy

    def add(self, grads: Any, mass: float) -> None:
        self._mass += mass
        if self._grads is not None:
            for name, value in grads.items():
                self._grads[name] += value
        elif self._several and type(grads) is dict:  # which somebody may write to again
            self._grads = {name: value.copy() for name, value in grads.items()}
        else:
            self._grads = grads

    def taken(self) -> Any:
        """What there is, which is here no more; None for nothing."""
        grads = self._grads
        if grads is not None and self._several:
            for value in grads.values():
                value /= self._mass
        self._grads, self._mass = None, 0.0
        return grads
