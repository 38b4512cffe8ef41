"""Files of named tensors: .safetensors without any library, .pt by PyTorch's reader of weights."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rnncore._check.texts import shown
from rnncore._files.stored import MOST_ARRAYS
from rnncore.convert.widened import of_bfloat16

_PT = (".pt", ".pth", ".bin", ".ckpt")
_MOST_OF_HEADER = 1000 * (MOST_ARRAYS + 1)  # bytes
_MOST_AXES = 16
# By their names in the file: how they are read.
_DTYPES = {
    "BOOL": "<u1", "U8": "<u1", "I8": "<i1", "U16": "<u2", "I16": "<i2", "U32": "<u4",
    "I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4",
    "F64": "<f8", "F8_E4M3": "<u1", "F8_E5M2": "<u1",
}  # fmt: skip
_READ = ("F16", "BF16", "F32", "F64")


class Loaded(Mapping[str, Any]):
    """Named tensors, whose numbers are read when they are asked for.

    Attributes
    ----------
    name : where they are from, for messages
    """

    def __init__(self, entries: Mapping[str, Any], name: str = "") -> None:
        self._entries, self.name = entries, name

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def load_tensors(path: str | os.PathLike[str]) -> Loaded:
    """The named tensors of a .safetensors or .pt file.

    Raises
    ------
    ValueError that names a file that is damaged, of another kind or holds more than tensors;
    OSError where it cannot be read; ImportError for a .pt file without PyTorch.
    """
    place = os.fspath(path)
    suffix = Path(place).suffix
    if suffix != ".safetensors" and suffix not in _PT:
        expected = ", ".join(map(repr, (".safetensors", *_PT)))
        raise ValueError(f"{place} has the suffix {suffix!r}, expected one of {expected}")
    if os.path.exists(place) and not os.path.isfile(place):
        raise ValueError(f"{place} is no file")
    if suffix == ".safetensors":
        with open(place, "rb") as file:
            return Loaded(_Tensors(place, _safetensors_header(place, file)), place)
    with open(place, "rb") as file:
        return Loaded(_pt(place, file), place)


# .safetensors: eight bytes with the length of a header, JSON, and the numbers one after the other


class _Stored(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class _Tensors(Mapping[str, Any]):
    """The tensors of a .safetensors file, each read when it is asked for."""

    def __init__(self, place: str, stored: dict[str, _Stored]) -> None:
        self._place, self._stored = place, stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, name: str) -> np.ndarray:
        stored = self._stored[name]
        if stored.dtype not in _READ:
            # Of this dtype and shape, without memory: what is not needed is not read.
            return np.broadcast_to(np.zeros((), _DTYPES[stored.dtype]), stored.shape)
        with open(self._place, "rb") as file:
            file.seek(stored.start)
            count = math.prod(stored.shape)
            found = np.fromfile(file, _DTYPES[stored.dtype], count)
        if found.size != count:
            raise ValueError(f"{self._place} is damaged: {name!r} ends too early")
        found = found.reshape(stored.shape)
        if stored.dtype == "BF16":
            return of_bfloat16(found)
        return found.astype(found.dtype.newbyteorder("="), copy=False)


def _safetensors_header(place: str, file: BinaryIO) -> dict[str, _Stored]:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"{place} is damaged: it ends within its header, or is no .safetensors")
    if length > _MOST_OF_HEADER:
        raise ValueError(f"{place} has a header of {length} bytes, expected at most 10 million")
    try:
        header = json.loads(file.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is damaged: its header is no JSON") from error
    if not isinstance(header, dict):
        raise ValueError(f"{place} is damaged: its header holds no names")
    header.pop("__metadata__", None)
    if len(header) > MOST_ARRAYS:
        raise ValueError(f"{place} holds {len(header)} tensors, expected at most {MOST_ARRAYS}")
    found = {name: _stored(place, name, entry) for name, entry in header.items()}
    at = 0
    for name, stored in sorted(found.items(), key=lambda item: item[1].start):
        if stored.start != at:
            raise ValueError(f"{place} is damaged: {shown(name)} overlaps another, or leaves a gap")
        at = stored.end
    if at != size - 8 - length:
        raise ValueError(f"{place} is damaged: it has {size - 8 - length} bytes of {at}")
    return {
        name: stored._replace(start=stored.start + 8 + length, end=stored.end + 8 + length)
        for name, stored in found.items()
    }


def _stored(place: str, name: str, entry: Any) -> _Stored:
    """What the header says of a tensor, if it can be."""
    if not isinstance(entry, dict):
        raise ValueError(f"{place} is damaged: {shown(name)} is not described")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    ends: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"{place}: {shown(name)} has dtype {shown(dtype)}, expected floats")
    lists = isinstance(shape, list) and isinstance(ends, list) and len(ends) == 2
    if not lists or not all(type(k) is int and 0 <= k < 1 << 62 for k in (*shape, *ends)):
        raise ValueError(f"{place} is damaged: {shown(name)} has no shape, or no place")
    if len(shape) > _MOST_AXES:
        raise ValueError(f"{place}: {shown(name)} has {len(shape)} axes, expected few")
    nbytes = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if ends[1] - ends[0] != nbytes:
        raise ValueError(f"{place} is damaged: {shown(name)} is not as long as its shape says")
    return _Stored(dtype, tuple(shape), *ends)


# .pt


def _pt(place: str, file: BinaryIO) -> Mapping[str, Any]:
    """What `torch.save` wrote of a state_dict; no code of the file is run."""
    size = os.fstat(file.fileno()).st_size
    _check_zip(place, file, size)
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{place}: reading it needs PyTorch: pip install torch") from error
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, as the damage has it
        # Not what PyTorch says: it advises to load the file all the same, whatever it runs.
        raise ValueError(
            f"{place} cannot be read as tensors alone: it is damaged, or holds code or objects,"
            f" which are not loaded; torch.save(module.state_dict(), path) writes what can be read"
            f" ({type(error).__name__})"
        ) from None
    found = _state_dict_within(place, loaded)
    total = 0
    for name, tensor in found.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        nbytes = tensor.numel() * tensor.element_size()
        total += nbytes
        plain = str(tensor.layout) == "torch.strided" and tensor.device.type == "cpu"
        plain = plain and not tensor.is_quantized
        if plain and nbytes > tensor.untyped_storage().nbytes():
            raise ValueError(f"{place}: {shown(name)} has more numbers than are in the file")
    if total > 4 * size:
        raise ValueError(f"{place} is {size} bytes, and its tensors would take {total}")
    return found


def _check_zip(place: str, file: BinaryIO, size: int) -> None:
    """Refuse what is no file of `torch.save`, and what would become more than it is."""
    start = file.read(4)
    file.seek(0)
    if start != b"PK\3\4":
        raise ValueError(
            f"{place} is damaged, or was written by a version of PyTorch before 1.6, or is a"
            " pickle, which is not loaded"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            _check_pieces(archive, size)
    except Exception as error:  # of many kinds, as the damage has it
        told = f"{place} is damaged, or not of torch.save: {str(error)[:200]}"
        raise ValueError(told) from error
    file.seek(0)


def _check_pieces(archive: zipfile.ZipFile, size: int) -> None:
    infos = archive.infolist()
    if len(infos) > 2 * MOST_ARRAYS:
        raise ValueError(f"it holds {len(infos)} pieces, expected at most {2 * MOST_ARRAYS}")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise ValueError("it is compressed")
    if sum(info.file_size for info in infos) > size:
        raise ValueError("its pieces are larger than the file")
    # PyTorch does not look at the checksums, which are all 0 where it was told to leave them out.
    if any(info.CRC for info in infos) and archive.testzip() is not None:
        raise ValueError("a checksum differs")


def _state_dict_within(place: str, loaded: Any) -> Mapping[str, Any]:
    """The mapping of tensors, which checkpoints have under a name of their own."""
    if isinstance(loaded, Mapping):
        for name in ("state_dict", "model_state_dict", "model", "net", "module"):
            if isinstance(loaded.get(name), Mapping):
                return _named(place, loaded[name])
        return _named(place, loaded)
    raise ValueError(f"{place} holds a {type(loaded).__name__}, expected a state_dict")


def _named(place: str, found: Mapping[Any, Any]) -> Mapping[str, Any]:
    if len(found) > MOST_ARRAYS:
        raise ValueError(f"{place} holds {len(found)} entries, expected at most {MOST_ARRAYS}")
    if not all(isinstance(name, str) for name in found):
        raise ValueError(f"{place} holds a mapping whose keys are no names")
    return found
