"""The steps of a training, from epoch to epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore.fitting import checkpoint
from rnncore.fitting.batches import Batch, Given, Rows
from rnncore.fitting.best import Best
from rnncore.fitting.history import History
from rnncore.fitting.predict import outputs
from rnncore.fitting.progress import Silent, progress_of
from rnncore.fitting.scores import Loss, Means
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
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.optimizer, self.schedule, self.rng = optimizer, schedule, rng
        self.history, self.epoch, self.best = History(), 0, Best(options.patience)
        self._loss, self._metrics, self._options = loss, dict(metrics), options

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

    def run(self) -> History:
        """All epochs that are left."""
        path, options = self._options.checkpoint, self._options
        self._try_validation()
        goes_on = path is not None and os.path.exists(path)
        if path is not None and goes_on:
            checkpoint.resume(self, path)
        if isinstance(self.schedule, OnPlateau):
            self.optimizer.lr = self.schedule.rate
        if path is not None and not goes_on:
            checkpoint.save(self, path)  # so that the first epoch can be begun again
        progress = progress_of(options.progress)
        try:
            while self.epoch < options.epochs and not self.history.stopped:
                values = self._epoch(progress) | self._validated()
                self.history.add(values)
                self.epoch += 1
                self._look_at(values)
                progress.end(values)
                for call in options.callbacks:
                    if isinstance(found := call(self), bool | np.bool_) and found:
                        self.history.stopped = True
                if path is not None:
                    checkpoint.save(self, path)
        finally:
            progress.close()
        self.best.give_back(self.arrays)
        return self.history

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
        progress.begin(self.epoch, self._options.epochs, self.train.how_many(size))
        pending = _Pending(every > 1)
        for k, batch in enumerate(self.train.batches(size, self.rng), 1):
            try:
                loss = self._learn(batch, means, pending)
                if k % every == 0:
                    self._step(pending)
            except (FloatingPointError, ValueError) as error:
                kind = ValueError if isinstance(error, ValueError) else FloatingPointError
                raise kind(f"epoch {self.epoch + 1}, batch {k}: {error}") from error
            progress.advance(loss, batch.rows)
        self._step(pending)  # of the last batches, where they are fewer
        rate = float(self.optimizer.lr)
        return {**means.values(), "lr": rate, "seconds": time.perf_counter() - began}

    def _learn(self, batch: Batch, means: Means, pending: _Pending) -> float:
        """Forward and back through a batch, or its windows one after the other; the last loss."""
        windows, state, loss = self._options.window, None, float("nan")
        for part in _cut(batch, windows, self._loss.batch_first):
            given: dict[str, Any] = {} if windows is None else {"state": state}
            if part.lengths is not None:
                given["lengths"] = part.lengths
            y, *final, trace = self.model.forward(part.x, **given)
            state = final[0] if final else None
            scored = self._loss(y, part)
            if scored is None:
                continue
            means.add(scored, y)
            found = self.model.backward(trace, pending.scaled(scored.dy, scored.mass))
            pending.add(getattr(found, "params", found), scored.mass)
            loss = scored.loss
            if windows is not None:
                self._step(pending)
        return loss

    def _step(self, pending: _Pending) -> None:
        grads = pending.taken()
        if grads is None:
            return
        if self.schedule is not None and not isinstance(self.schedule, OnPlateau):
            rate = self.schedule(self.optimizer.steps)
            self.optimizer.lr = _check.not_negative("what schedule gives", rate)
        if self._options.clip_norm is not None:
            clip_grad_norm(grads, self._options.clip_norm)
        self.optimizer.step(grads)

    # What follows it

    def _validated(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        means = Means(self._metrics)
        for batch in self.validation.batches(self._options.batch_size, None):
            y = outputs(self.model, batch)
            scored = self._loss(y, batch)
            if scored is not None:
                means.add(scored, y)
        return {f"val_{name}": value for name, value in means.values().items()}

    def _try_validation(self) -> None:
        """Find out whether its first batch can be read: before the work, not after."""
        if self.validation is None:
            return
        try:
            for batch in self.validation.batches(self._options.batch_size, None):
                self._loss(outputs(self.model, batch), batch)
                break
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation: {error}") from error


def _cut(batch: Batch, size: int | None, batch_first: bool) -> Iterator[Batch]:
    """The windows of a batch; without a size the batch."""
    if size is None:
        yield batch
        return
    axis = 1 if batch_first else 0
    for start in range(0, batch.x.shape[axis], size):
        at = (slice(None),) * axis + (slice(start, start + size),)
        x, lengths = batch.x[at], batch.lengths
        if lengths is not None:
            lengths = np.clip(lengths - start, 0, x.shape[axis])
        yield Batch(x, batch.target[at], lengths, batch.rows)


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
