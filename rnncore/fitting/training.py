"""The steps of a training, from epoch to epoch."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncore import _check
from rnncore._common.groups import flatten
from rnncore.fitting import checkpoint
from rnncore.fitting.batches import Batch
from rnncore.fitting.history import History
from rnncore.fitting.layout import Layout
from rnncore.fitting.predict import outputs
from rnncore.fitting.progress import progress_of
from rnncore.fitting.scores import Loss, Means, takes
from rnncore.models.called import Model
from rnncore.models.members import is_recurrent, leaves
from rnncore.models.over_time import OverTime
from rnncore.train.clipping import clip_grad_norm
from rnncore.train.generators import rng_state, set_rng_state
from rnncore.train.optim import SGD, Adam, AdamW, RMSprop
from rnncore.train.optimizer import Optimizer
from rnncore.train.plateau import OnPlateau

OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


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
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Loss,
        metrics: Mapping[str, Callable[..., float]],
        schedule: Any,
        rng: np.random.Generator,
        layout: Layout,
        options: Options,
    ) -> None:
        self.model, self.optimizer, self.history, self.epoch = model, optimizer, History(), 0
        self._loss, self._metrics, self._schedule = loss, dict(metrics), schedule
        self._rng, self._layout, self._options = rng, layout, options
        if isinstance(schedule, OnPlateau):
            optimizer.lr = schedule.rate
        self._best: dict[str, np.ndarray] = {}
        self._lowest, self._waited = np.inf, 0

    def run(self, train: Any, validation: Any) -> History:
        """All epochs that are left."""
        path, options = self._options.checkpoint, self._options
        if path is not None and os.path.exists(path):
            self._go_on(path, train, validation)
        elif path is not None:
            self._write(path, train, validation)  # so that the first epoch can be begun again
        if validation is not None:
            self._try(validation)
        progress = progress_of(options.progress)
        try:
            while self.epoch < options.epochs and not self.history.stopped:
                values = self._epoch(train, progress)
                if validation is not None:
                    values |= self._validated(validation)
                self.history.add(values)
                self.epoch += 1
                self._watch(values)
                progress.end(values)
                for call in options.callbacks:
                    if isinstance(found := call(self), bool | np.bool_) and found:
                        self.history.stopped = True
                if path is not None:
                    self._write(path, train, validation)
        finally:
            progress.close()
        if options.patience is not None and self._best:
            for name, value in self._arrays().items():
                np.copyto(value, self._best[name])
        return self.history

    # An epoch

    def _epoch(self, train: Any, progress: Any) -> dict[str, float]:
        began, means = time.perf_counter(), Means(self._loss, self._metrics)
        batches = train.batches(self._options.batch_size, self._rng)
        count = len(batches) if hasattr(batches, "__len__") else None
        progress.begin(self.epoch, self._options.epochs, count)
        pending, loss = _Pending(self), float("nan")
        for k, make in enumerate(batches):
            batch = make()
            try:
                for x, part, state in self._windows(batch):
                    loss = self._learn(x, part, state, means, pending)
                if (k + 1) % self._options.accumulate == 0 or k + 1 == count:
                    pending.step()
            except (FloatingPointError, ValueError) as error:
                kind = ValueError if isinstance(error, ValueError) else FloatingPointError
                raise kind(f"epoch {self.epoch + 1}, batch {k + 1}: {error}") from error
            progress.advance(loss, batch.rows)
        pending.step()  # of batches of which nobody said how many there are
        rate = float(self.optimizer.lr)
        return {**means.values(), "lr": rate, "seconds": time.perf_counter() - began}

    def _windows(self, batch: Batch) -> Iterator[tuple[Any, Batch, list[Any]]]:
        """The batch, or its windows; each with a place for the state that goes from one on."""
        size, state = self._options.window, [None]
        axis = 1 if self._layout.batch_first else 0
        steps = batch.x.shape[axis]
        if size is None:
            yield batch.x, batch, state
            return
        for start in range(0, steps, size):
            cut = (slice(None),) * axis + (slice(start, start + size),)
            own = None if batch.lengths is None else np.clip(batch.lengths - start, 0, size)
            x = batch.x[cut]
            if own is not None:
                own = np.minimum(own, x.shape[axis])
            yield x, Batch(x, batch.target[cut], own, batch.rows), state

    def _learn(
        self, x: Any, batch: Batch, state: list[Any], means: Means, pending: _Pending
    ) -> float:
        """One pass forward and back; the loss."""
        given: dict[str, Any] = {} if batch.lengths is None else {"lengths": batch.lengths}
        if self._options.window is not None:
            given["state"] = state[0]
        y, *final, trace = self.model.forward(x, **given)
        state[:] = final or [None]
        scored = self._loss(y, batch)
        if scored is None:
            return float("nan")
        means.add(scored, y, batch)
        found = self.model.backward(trace, self._scaled(scored.dy, scored.mass))
        pending.add(getattr(found, "params", found), scored.mass)
        if self._options.window is not None:
            pending.step()
        return scored.loss

    def _scaled(self, dy: np.ndarray, mass: float) -> np.ndarray:
        """The gradient of a sum where several batches make one mean."""
        return dy * dy.dtype.type(mass) if self.accumulates else dy

    def step(self, grads: Any) -> None:
        """Of the optimiser."""
        if callable(self._schedule) and not isinstance(self._schedule, OnPlateau):
            self.optimizer.lr = _check.not_negative(
                "what schedule gives", self._schedule(self.optimizer.steps)
            )
        if self._options.clip_norm is not None:
            clip_grad_norm(grads, self._options.clip_norm)
        self.optimizer.step(grads)

    @property
    def accumulates(self) -> bool:
        return self._options.accumulate > 1

    # What follows it

    def _validated(self, validation: Any) -> dict[str, float]:
        means = Means(self._loss, self._metrics)
        for make in validation.batches(self._options.batch_size, None):
            batch = make()
            y = outputs(self.model, batch)
            scored = self._loss(y, batch)
            if scored is not None:
                means.add(scored, y, batch)
        return {f"val_{name}": value for name, value in means.values().items()}

    def _try(self, validation: Any) -> None:
        """Find out whether its first batch can be read: before the work, not after."""
        try:
            for make in validation.batches(self._options.batch_size, None):
                batch = make()
                self._loss(outputs(self.model, batch), batch)
                break
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation: {error}") from error

    def _watch(self, values: Mapping[str, float]) -> None:
        """Early stopping, and a rate that follows the loss."""
        watched = values.get("val_loss")
        if isinstance(self._schedule, OnPlateau):
            self.optimizer.lr = self._schedule(values["loss"] if watched is None else watched)
        if watched is None or self._options.patience is None:
            return
        if watched < self._lowest:
            self._lowest, self._waited = watched, 0
            self._best = {name: value.copy() for name, value in self._arrays().items()}
        else:
            self._waited += 1
            self.history.stopped = self._waited >= max(self._options.patience, 1)

    # A training that goes on

    def _arrays(self) -> dict[str, np.ndarray]:
        """What is trained, and what layers keep beside it."""
        return {**self.model.params, **getattr(self.model, "buffers", {})}

    def _write(self, path: str | os.PathLike[str], train: Any, validation: Any) -> None:
        state = self.optimizer.state_dict()
        slots = state.pop("slots")
        history = {name: self.history[name] for name in self.history}
        told = {
            "epoch": self.epoch,
            "stopped": self.history.stopped,
            "waited": self._waited,
            "lowest": self._lowest,
            "optimizer": state,
            "schedule": _state_of(self._schedule),
            "rng": rng_state([self._rng, *_generators(self.model)]),
        }
        groups = {"now": self._arrays(), "slots": slots, "best": self._best, "history": history}
        if getattr(train, "among", None) is not None:
            groups["rows"] = {"train": train.among, "held": validation.among}
        checkpoint.write(path, told, groups)

    def _go_on(self, path: str | os.PathLike[str], train: Any, validation: Any) -> None:
        told, groups = checkpoint.read(path)
        own, rows = self._arrays(), groups.get("rows")
        generators = [self._rng, *_generators(self.model)]
        checkpoint.check_alike(own, groups.get("now", {}), path)
        try:
            history = groups.get("history", {})
            columns = {name: list(map(float, a)) for name, a in history.items()}
            self._check_columns(columns, validation)
            set_rng_state(copy.deepcopy(generators), told["rng"])  # a trial, as the next
            if told["schedule"] is not None:
                copy.deepcopy(self._schedule).load_state_dict(told["schedule"])
            epoch, waited = int(told["epoch"]), int(told["waited"])
            if (rows is None) != (getattr(train, "among", None) is None):
                raise ValueError("its validation is another")
            state = {**told["optimizer"], "slots": groups.get("slots", {})}
            self.optimizer.load_state_dict(state)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{os.fspath(path)} is no checkpoint of this training: {error}"
            ) from error
        for name, value in groups.get("now", {}).items():
            np.copyto(own[name], value)
        set_rng_state(generators, told["rng"])
        if told["schedule"] is not None:
            self._schedule.load_state_dict(told["schedule"])
        if rows is not None:
            train.among, validation.among = rows["train"], rows["held"]
        self.epoch, self._waited = epoch, waited
        self._lowest, self._best = float(told["lowest"]), groups.get("best", {})
        self.history = History(columns)
        self.history.stopped = bool(told["stopped"])

    def _check_columns(self, columns: Mapping[str, Any], validation: Any) -> None:
        names = ["loss", *self._metrics]
        expected = {*names, "lr", "seconds"}
        if validation is not None:
            expected |= {f"val_{name}" for name in names}
        if columns and columns.keys() != expected:
            raise ValueError(f"it measured {', '.join(columns)}")


class _Pending:
    """Gradients that wait for a step: of one batch, or the sum of several."""

    def __init__(self, training: Training) -> None:
        self._training, self._grads, self._mass = training, None, 0.0

    _grads: Any

    def add(self, grads: Any, mass: float) -> None:
        self._mass += mass
        if self._grads is None:
            self._grads = grads
            if self._training.accumulates and type(grads) is dict:  # which may be written to again
                self._grads = {name: value.copy() for name, value in grads.items()}
            return
        for name, value in grads.items():
            self._grads[name] += value

    def step(self) -> None:
        if self._grads is None:
            return
        if self._training.accumulates:
            for value in self._grads.values():
                value /= self._mass
        self._training.step(self._grads)
        self._grads, self._mass = None, 0.0


def _state_of(schedule: Any) -> Any:
    return schedule.state_dict() if hasattr(schedule, "state_dict") else None


def _generators(model: Any) -> list[Any]:
    """The model, if random generators may be in it."""
    try:
        rng_state(model)
    except TypeError:
        return []
    return [model]


# What `fit` is given


def optimizer_of(given: Any, model: Any, lr: float, weight_decay: float) -> Any:
    """An optimiser of the model's parameters."""
    decay = _check.not_negative("weight_decay", weight_decay)
    if isinstance(given, Optimizer):
        if decay:
            raise ValueError("weight_decay is given beside an optimizer, which has its own")
        own = flatten("optimizer", given._params)
        if {id(a) for a in own.values()} != {id(a) for a in model.params.values()}:
            raise ValueError("optimizer is of other parameters than those of the model")
        return given
    if not (isinstance(given, type) and issubclass(given, Optimizer)):
        given = OPTIMIZERS[_check.choice("optimizer", given, list(OPTIMIZERS))]
    options = {"weight_decay": decay} if issubclass(given, Adam) else {}
    if decay and not options:
        raise ValueError(f"weight_decay is {decay}, which {given.__name__} has not")
    return given(model, lr, **options)


def schedule_of(given: Any) -> Any:
    if given is None or (callable(given) and not isinstance(given, type)):
        return given
    raise TypeError(
        f"schedule is of type {type(given).__name__}, expected a function of the number of steps"
    )


def check_windows(model: Any, layout: Layout) -> None:
    """Whether a model can be trained on windows of its steps."""
    if layout.per_step is False:
        raise ValueError("window is given, and the model has no output, or no target, at each step")
    if isinstance(model, Model):
        for name, leaf in leaves(model):
            back = is_recurrent(leaf) and leaf.bidirectional
            if back or isinstance(leaf, OverTime):
                raise ValueError(
                    f"window is given, and layer {name.removesuffix('.')} reads steps beyond one"
                )
    elif not takes(model.forward, ("state",)):
        raise ValueError("window is given, and the model's forward takes no state")
