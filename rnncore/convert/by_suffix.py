"""A layer or a model from a file of whatever kind, which its suffix tells."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from rnncore._files.stored import TEXT
from rnncore.convert import loading

__all__ = ["SUFFIXES", "FileRead", "read_file"]

_TORCH, _KERAS = (".safetensors", ".pt", ".pth"), (".keras", ".h5")
SUFFIXES = (".npz", *_TORCH, *_KERAS, ".onnx")
_MOST_OF_HEADER = 1 << 24


class FileRead(NamedTuple):
    """What came of a file.

    Attributes
    ----------
    model : a layer or a model, or one that is frozen
    what : the kind of file, in words
    own : whether it is a file of rnncore
    """

    model: Any
    what: str
    own: bool


def read_file(
    path: str | os.PathLike[str],
    *,
    batch_first: bool = False,
    config: str | None = None,
    verify: bool = True,
) -> FileRead:
    """Read a file of rnncore, PyTorch, Keras or ONNX.

    Parameters
    ----------
    path : with one of the suffixes in `SUFFIXES`
        A .safetensors file may be of rnncore or of PyTorch.
    batch_first : of the layers, which a file of PyTorch's parameters does not tell
    config : the text of Keras's ``model.to_json()``, for a file of weights alone
    verify : whether a file of rnncore has to give what was recorded with it

    Raises
    ------
    ValueError for another suffix, for an argument that is not for this file, and, as TypeError and
    OSError too, what the converters raise; ImportError where a library is needed that is not there.
    """
    place = os.fspath(path)
    suffix = Path(place).suffix
    if suffix not in SUFFIXES:
        expected = ", ".join(SUFFIXES)
        raise ValueError(f"{place} has the suffix {suffix!r}, expected one of {expected}")
    if os.path.exists(place) and not os.path.isfile(place):
        raise ValueError(f"{place} is no file")
    own = suffix == ".npz" or (suffix == ".safetensors" and _is_own(place))
    if batch_first and (own or suffix not in _TORCH):
        raise ValueError(f"batch_first is True, and {place} tells its layout itself")
    if config is not None and suffix not in _KERAS:
        raise ValueError(f"config is given, and {place} is no file of Keras")
    if own:
        return FileRead(loading.load(place, verify=verify), "a file of rnncore", True)
    if suffix in _TORCH:
        return _of_torch(place, batch_first)
    return _of_keras(place, config) if suffix in _KERAS else _of_onnx(place)


def _of_torch(place: str, batch_first: bool) -> FileRead:
    from rnncore.convert.from_torch import from_torch

    model = from_torch(place, batch_first=batch_first)
    return FileRead(model, "a state_dict of PyTorch", False)


def _of_keras(place: str, config: str | None) -> FileRead:
    from rnncore.convert.from_keras import from_keras

    what = "a model of Keras" if config is None else "weights of Keras"
    return FileRead(from_keras(place, config=config), what, False)


def _of_onnx(place: str) -> FileRead:
    from rnncore.convert.from_onnx import from_onnx

    return FileRead(from_onnx(place), "a model of ONNX", False)


def _is_own(place: str) -> bool:
    """Whether a .safetensors file has the text that rnncore writes; no library is needed to see."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError), open(place, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length <= _MOST_OF_HEADER:
            return TEXT in json.loads(file.read(length)).get("__metadata__", {})
    return False
