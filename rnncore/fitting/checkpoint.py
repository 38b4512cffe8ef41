"""The file of a training that can go on: everything that the next epoch depends on."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

from rnncore import _check
from rnncore.fitting.batches import Given, Rows, split_of
from rnncore.fitting.best import Best
from rnncore.fitting.history import History
from rnncore.fitting.told import check_same
from rnncore.layers import storage
from rnncore.train.generators import rng_state, set_rng_state

_KIND = "Training"
Arrays: TypeAlias = dict[str, np.ndarray]
Path: TypeAlias = str | os.PathLike[str]


class Training(Protocol):
    """What is read and written of a training under way."""

    model: Any
    train: Rows | Given
    validation: Rows | Given | None
    optimizer: Any
    schedule: Any
    rng: np.random.Generator
    history: History
    best: Best
    epoch: int

    @property
    def epochs(self) -> int: ...

    @property
    def told(self) -> dict[str, Any]: ...

    @property
    def arrays(self) -> Arrays: ...

    @property
    def columns(self) -> list[str]: ...


def save(training: Training, path: Path) -> None:
    """Write all of a training to a file; whole or not at all."""
    state, best = training.optimizer.state_dict(), training.best
    groups = {
        "now": training.arrays,
        "slots": state.pop("slots"),
        "best": best.arrays,
        "history": {name: training.history[name] for name in training.history},
        "rows": _held(training),
    }
    told = {
        "epoch": training.epoch,
        "stopped": training.history.stopped,
        "waited": best.waited,
        "lowest": best.lowest,
        "optimizer": state,
        "schedule": _state_of(training.schedule),
        "rng": rng_state(_generators(training)),
        "told": training.told,
    }
    arrays = {f"{group}/{name}": a for group, own in groups.items() for name, a in own.items()}
    storage.save_arrays(path, _KIND, told, arrays)


def resume(training: Training, path: Path) -> None:
    """Let a training go on from where its file was written.

    Raises
    ------
    OSError, ValueError that names the file, where it is damaged or of another training; nothing has
    been changed then.
    """
    _, told, arrays = storage.load_arrays(path, _KIND)
    held = _held(training)
    groups: dict[str, Arrays] = {group: {} for group in ("now", "slots", "best", "history", "rows")}
    try:
        for name, value in arrays.items():
            group, _, own = name.partition("/")
            groups[group][own] = value
        check_same(told["told"], training.told, float(told["optimizer"]["options"]["lr"]))
        _check_alike(training.arrays, groups["now"])
        if groups["best"]:
            _check_alike(training.arrays, groups["best"])
        _check_alike(held, groups["rows"])
        for name, value in groups["rows"].items():
            _check.ids(name, value, sum(map(len, held.values())))
        if groups["history"] and groups["history"].keys() != set(training.columns):
            raise ValueError(f"it measured {', '.join(groups['history'])}")
        # On copies first, which find out whether it is right.
        _restore(copy.deepcopy(training.schedule), told["schedule"])
        set_rng_state(copy.deepcopy(_generators(training)), told["rng"])
        epoch, waited, lowest = int(told["epoch"]), int(told["waited"]), float(told["lowest"])
        if epoch > training.epochs:
            raise ValueError(f"it has done {epoch} epochs, and epochs is {training.epochs}")
        stopped = bool(told["stopped"])
        training.optimizer.load_state_dict({**told["optimizer"], "slots": groups["slots"]})
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        place = os.fspath(path)
        raise ValueError(
            f"{place} is no checkpoint of this training: {error}; another needs another path"
        ) from error
    for mine, stored in ((training.arrays, groups["now"]), (held, groups["rows"])):
        for name, value in stored.items():
            np.copyto(mine[name], value)
    _restore(training.schedule, told["schedule"])
    set_rng_state(_generators(training), told["rng"])
    best = training.best
    best.lowest, best.waited, best.arrays = lowest, waited, groups["best"]
    training.epoch = epoch
    columns = groups["history"] and training.columns  # in their order, whatever the file's
    training.history = History({name: groups["history"][name].tolist() for name in columns})
    training.history.stopped = stopped


def _held(training: Training) -> dict[str, np.ndarray]:
    """Which rows are trained with and which are held back, where data was split."""
    split = split_of(training.train, training.validation)
    return {} if split is None else {"train": split[0].among, "held": split[1].among}


def _generators(training: Training) -> list[Any]:
    """That of the order of rows, and the model, if random generators may be in it."""
    try:
        rng_state(training.model)
    except TypeError:
        return [training.rng]
    return [training.rng, training.model]


def _state_of(schedule: Any) -> Any:
    return schedule.state_dict() if hasattr(schedule, "state_dict") else None


def _restore(schedule: Any, state: Any) -> None:
    if (state is None) != (_state_of(schedule) is None):
        raise ValueError("its schedule is another")
    if state is not None:
        schedule.load_state_dict(state)


def place_of(path: Any) -> str:
    """The path from the root, whatever folder is the current one later.

    Raises
    ------
    TypeError, ValueError, before anything is done, where no checkpoint could be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint is of type {type(path).__name__}, expected a path")
    place = os.fspath(path)
    if not str(place).endswith((".npz", ".safetensors")):
        raise ValueError(f"checkpoint is {place!r}, expected the suffix .npz or .safetensors")
    folder = os.path.dirname(place) or "."
    if "\0" in str(place):
        raise ValueError(f"checkpoint is {place!r}, which no file can be called")
    if not os.path.isdir(folder):
        raise ValueError(f"checkpoint is {place!r}, and there is no folder {folder!r}")
    return os.path.abspath(place)


def _check_alike(own: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]) -> None:
    for name in own.keys() | stored.keys():
        if name not in own or name not in stored or own[name].shape != stored[name].shape:
            raise ValueError(f"{name!r} differs, as of another model or other data")
        if own[name].dtype != stored[name].dtype:
            raise ValueError(f"{name!r} is {stored[name].dtype}, expected {own[name].dtype}")
