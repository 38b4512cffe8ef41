"""Named arrays and what tells how to use them, in one file without pickle.

The suffix says which: a plain .npz, every array under its own name, and under ``rnncore`` a text,
the JSON of ``{"format": 1, "kind": ..., "options": {...}}``; or a .safetensors, with the same text
in its metadata. ``numpy.load`` and the library safetensors read them without this package, and a
layer's arrays have PyTorch's names.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

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
    """Save a layer's class, options and parameters to the .npz or .safetensors file `path`.

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
    path, if it is damaged, comes from elsewhere or from a newer version, or holds no layer;
    ImportError for a .safetensors file where that library is not installed.
    """
    kind, options, params = load_arrays(path)
    if kind not in _KINDS:
        raise ValueError(f"{path} holds a {kind}, expected {' or '.join(sorted(_KINDS))}")
    try:
        layer = _KINDS[kind](**options)
        layer.load_params(params)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no {kind} that can be made here: {error}") from error
    return layer


def save_arrays(
    path: str | os.PathLike[str],
    kind: str,
    options: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write `arrays` to the .npz or .safetensors file `path`, with their `kind` and `options`.

    Either the whole file is there in the end or what was there before: it is written beside its
    place, brought to the disk, and then renamed.

    Parameters
    ----------
    kind : what the arrays make up, such as the name of a class
    options : what JSON can hold; comes back from `load_arrays` as it went in
    arrays : of any dtype but object; a .safetensors file holds numbers alone

    Raises
    ------
    ValueError for another suffix, for an array of a dtype that the file cannot hold and for one
    named ``rnncore``; TypeError for options that JSON cannot hold; OSError as the file system has
    it; ImportError for a .safetensors file where that library is not installed.
    """
    path, form = _path_and_form(path)
    if _HEADER in arrays:
        raise ValueError(f"arrays has the key {_HEADER!r}, which the file keeps for itself")
    header = json.dumps({"format": FORMAT, "kind": kind, "options": dict(options)})
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            form.write(file, header, arrays)
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
    path, form = _path_and_form(path)
    with open(path, "rb") as file:
        try:
            text, items = form.read(file)
            header = json.loads(text)
            version = header["format"]
            found = _validate.instance("kind", header["kind"], str)
            options = _validate.instance("options", header["options"], dict)
            # A newer format may mean anything by its arrays: they are not even read.
            items = items if version == FORMAT else ()
            arrays = {name: _native(array) for name, array in items}
        except Exception as error:
            # Damage can make the readers of all these forms raise almost anything.
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


class _Form(NamedTuple):
    """How a header and arrays lie in a file."""

    write: Callable[[BinaryIO, str, Mapping[str, np.ndarray]], None]
    read: Callable[[BinaryIO], tuple[str, Iterator[tuple[str, np.ndarray]]]]


def _path_and_form(path: str | os.PathLike[str]) -> tuple[Path, _Form]:
    path = Path(path)
    if path.suffix not in _FORMS:
        expected = " or ".join(map(repr, _FORMS))
        raise ValueError(f"{path} has the suffix {path.suffix!r}, expected {expected}")
    if path.suffix == ".safetensors":
        try:
            import safetensors.numpy  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"{path}: the suffix .safetensors needs the library safetensors: "
                "pip install 'rnncore[safetensors]'"
            ) from error
    return path, _FORMS[path.suffix]


def _write_npz(file: BinaryIO, header: str, arrays: Mapping[str, np.ndarray]) -> None:
    """`numpy.savez`, without pickle and with any name for an array (there, `file` is taken)."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, value in {_HEADER: np.array(header), **arrays}.items():
            # A member's size is not known in advance, and may pass the 2 GiB of a plain zip.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)


def _read_npz(file: BinaryIO) -> tuple[str, Iterator[tuple[str, np.ndarray]]]:
    npz = np.load(file, allow_pickle=False)
    return npz[_HEADER].item(), ((name, npz[name]) for name in npz.files if name != _HEADER)


def _write_safetensors(file: BinaryIO, header: str, arrays: Mapping[str, np.ndarray]) -> None:
    """The format itself does not tell of damage, as a zip does: so a checksum goes with it."""
    from safetensors import numpy as safetensors

    native = {name: _native(np.asarray(value, order="C")) for name, value in arrays.items()}
    for name, value in native.items():
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{name} has dtype {value.dtype}, expected numbers for .safetensors")
    if "__metadata__" in native:
        raise ValueError("arrays has the key '__metadata__', which .safetensors keeps for itself")
    metadata = {_HEADER: header, _CHECKSUM: _checksum(header, native)}
    file.write(safetensors.save(native, metadata))


def _read_safetensors(file: BinaryIO) -> tuple[str, Iterator[tuple[str, np.ndarray]]]:
    from safetensors import safe_open

    def items():
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if metadata[_CHECKSUM] != _checksum(metadata[_HEADER], arrays):
            raise ValueError("the checksum is another")
        yield from arrays.items()

    opened = safe_open(file.name, framework="numpy")
    metadata = opened.metadata() or {}
    return metadata[_HEADER], items()


def _checksum(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Of all that is in a file, whatever the order of its arrays."""
    found = zlib.crc32(header.encode())
    for name, value in sorted(arrays.items()):
        found = zlib.crc32(f"{name} {value.dtype.name} {value.shape}".encode(), found)
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)  # as in the file
        found = zlib.crc32(little.reshape(-1).view(np.uint8), found)
    return f"{found:08x}"


_CHECKSUM = f"{_HEADER} crc32"
_FORMS = {
    ".npz": _Form(_write_npz, _read_npz),
    ".safetensors": _Form(_write_safetensors, _read_safetensors),
}


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
