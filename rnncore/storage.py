"""Named arrays and what tells how to use them, in one .npz file without pickle.

The file is a plain .npz: every array under its own name, and under ``rnncore`` a text, the JSON of
``{"format": 1, "kind": ..., "options": {...}}``. ``numpy.load`` reads it without this package.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from rnncore import _validate

FORMAT = 1
_HEADER = "rnncore"


class Savable(Protocol):
    """What `save` needs to see, and `load` to make: ``kind(**options)`` and then its parameters."""

    @property
    def options(self) -> dict[str, Any]: ...

    params: dict[str, np.ndarray]

    def load_params(self, mapping: Mapping[str, np.ndarray]) -> None: ...


_KINDS: dict[str, type[Savable]] = {}
SavableType = TypeVar("SavableType", bound=type)


def savable(kind: SavableType) -> SavableType:
    """Let `load` make objects of this class: a decorator, so that nothing here imports layers."""
    _KINDS[kind.__name__] = kind
    return kind


def save(layer: Savable, path: str | os.PathLike[str]) -> None:
    """Save a layer's class, options and parameters to the .npz file `path`.

    Raises
    ------
    TypeError for an object of a class that `load` does not know, and what `save_arrays` raises.
    """
    if _KINDS.get(type(layer).__name__) is not type(layer):
        raise TypeError(
            f"layer is of type {type(layer).__name__}, expected {' or '.join(sorted(_KINDS))}"
        )
    save_arrays(path, type(layer).__name__, layer.options, layer.params)


def load(path: str | os.PathLike[str]) -> Any:
    """Make the layer anew that `save` saved, with the same options, dtype and parameters.

    Its random generator is a new one.

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be opened; ValueError, which names the
    path, if it is damaged, comes from elsewhere or from a newer version, or holds no layer.
    """
    kind, options, params = load_arrays(path)
    if kind not in _KINDS:
        raise ValueError(f"{path} holds a {kind}, expected {' or '.join(sorted(_KINDS))}")
    try:
        layer = _KINDS[kind](**options)
        layer.load_params(params)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} holds no {kind} that can be made here: {error}") from error
    return layer


def save_arrays(
    path: str | os.PathLike[str],
    kind: str,
    options: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write `arrays` to the .npz file `path`, with their `kind` and `options`.

    Either the whole file is there in the end or what was there before: it is written beside its
    place, brought to the disk, and then renamed.

    Parameters
    ----------
    kind : what the arrays make up, such as the name of a class
    options : what JSON can hold; comes back from `load_arrays` as it went in
    arrays : of any dtype but object

    Raises
    ------
    ValueError for a suffix other than .npz, for an array of objects and for an array named
    ``rnncore``; TypeError for options that JSON cannot hold; OSError as the file system has it.
    """
    path = _npz_path(path)
    if _HEADER in arrays:
        raise ValueError(f"arrays has the key {_HEADER!r}, which the file keeps for itself")
    header = json.dumps({"format": FORMAT, "kind": kind, "options": dict(options)})
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            _write_npz(file, {_HEADER: np.array(header), **arrays})
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load_arrays(
    path: str | os.PathLike[str], kind: str | None = None
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save_arrays` wrote.

    Parameters
    ----------
    kind : what the file must hold; None: anything

    Returns
    -------
    kind, options, arrays: the arrays in the byte order of this machine.

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be opened; ValueError, which names the
    path, if it is damaged, comes from elsewhere or from a newer version, or is of another kind.
    """
    path = _npz_path(path)
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as npz:
                header = json.loads(npz[_HEADER].item())
                version = header["format"]
                found = _validate.instance("kind", header["kind"], str)
                options = _validate.instance("options", header["options"], dict)
                names = [name for name in npz.files if name != _HEADER]
                # A newer format may mean anything by its arrays: they are not even read.
                arrays = {name: _native(npz[name]) for name in names if version == FORMAT}
        except Exception as error:
            # Damage can make the readers of zip, npy and JSON raise almost anything.
            raise ValueError(
                f"{path} is damaged or was not saved by rnncore: {error or type(error).__name__}"
            ) from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has format {version}, expected {FORMAT}: it is from another version of rnncore"
        )
    if kind is not None and found != kind:
        raise ValueError(f"{path} holds a {found}, expected a {kind}")
    return found, options, arrays


def _npz_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix == ".safetensors":
        raise NotImplementedError(f"{path}: the suffix .safetensors is not supported yet, use .npz")
    if path.suffix != ".npz":
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected '.npz'")
    return path


def _write_npz(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """`numpy.savez`, without pickle and with any name for an array (there, `file` is taken)."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, value in arrays.items():
            # A member's size is not known in advance, and may pass the 2 GiB of a plain zip.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
