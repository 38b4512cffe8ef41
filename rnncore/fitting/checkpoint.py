"""The file of a training that can go on: everything that the next epoch depends on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore.layers import storage

_KIND = "Training"
Arrays = dict[str, np.ndarray]


def write(
    path: str | os.PathLike[str], told: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write what is `told`, as JSON can hold it, and groups of arrays; whole or not at all."""
    arrays = {
        f"{group}/{name}": np.asarray(value)
        for group, own in groups.items()
        for name, value in own.items()
    }
    storage.save_arrays(path, _KIND, told, arrays)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Arrays]]:
    """What `write` was given; raises as `rnncore.load`."""
    _, told, arrays = storage.load_arrays(path, _KIND)
    groups: dict[str, Arrays] = {}
    for name, value in arrays.items():
        group, _, own = name.partition("/")
        groups.setdefault(group, {})[own] = value
    return told, groups


def check_path(path: Any) -> None:
    """Raise before anything is done where no checkpoint could be written."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint is of type {type(path).__name__}, expected a path")
    place = os.fspath(path)
    if not str(place).endswith((".npz", ".safetensors")):
        raise ValueError(f"checkpoint is {place!r}, expected the suffix .npz or .safetensors")
    folder = os.path.dirname(place) or "."
    if not os.path.isdir(folder):
        raise ValueError(f"checkpoint is {place!r}, and there is no folder {folder!r}")


def check_alike(own: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray], path: Any) -> None:
    """Raise ValueError where arrays are not those of a model."""
    for name in own.keys() | stored.keys():
        if name not in own or name not in stored or own[name].shape != stored[name].shape:
            raise ValueError(
                f"{os.fspath(path)} is of another model: its {name!r} differs, expected the"
                " checkpoint of this one"
            )
        if own[name].dtype != stored[name].dtype:
            raise ValueError(
                f"{os.fspath(path)} has {name!r} in {stored[name].dtype}, and the model in"
                f" {own[name].dtype}"
            )
