"""Named arrays in a .safetensors file, with a text in its metadata.

The format itself does not tell of damage, as a zip does: so a checksum goes with it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from rnncore._files.stored import MOST_ARRAYS, TEXT, Description

_CHECKSUM = f"{TEXT} crc32"
# The library believes a header of up to 100 MB.
_MOST_OF_HEADER = 1000 * (MOST_ARRAYS + 1)
_DTYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16,
    "U32": np.uint32, "I32": np.int32, "U64": np.uint64, "I64": np.int64,
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


def write(file: BinaryIO, text: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays`, which must be numbers; ValueError for others."""
    from safetensors import numpy as safetensors

    native = {name: _native(np.asarray(value, order="C")) for name, value in arrays.items()}
    for name, value in native.items():
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{name} has dtype {value.dtype}, expected numbers for .safetensors")
    if "__metadata__" in native:
        raise ValueError("arrays has the key '__metadata__', which .safetensors keeps for itself")
    metadata = {TEXT: text, _CHECKSUM: _checksum(text, native)}
    file.write(safetensors.save(native, metadata))


class Reader:
    """What `write` wrote. Everything raises, among others, ValueError and the library's error."""

    def __init__(self, file: BinaryIO) -> None:
        from safetensors import safe_open

        if int.from_bytes(file.read(8), "little") > _MOST_OF_HEADER:
            raise ValueError(f"its header has more than {_MOST_OF_HEADER} bytes")
        with _on_disk(file) as path:
            self._file = safe_open(path, framework="numpy")
        self._metadata = self._file.metadata() or {}
        self.text = self._metadata.get(TEXT)
        self.names = list(self._file.keys())
        if self.text is not None and len(self.names) > MOST_ARRAYS:
            raise ValueError(f"it holds more than {MOST_ARRAYS} arrays")

    def describe(self, name: str) -> Description:
        """The dtype and the shape of an array, without its data."""
        piece = self._file.get_slice(name)
        if piece.get_dtype() not in _DTYPES:
            raise ValueError(f"{name!r} has dtype {piece.get_dtype()}")
        return Description(np.dtype(_DTYPES[piece.get_dtype()]), tuple(piece.get_shape()))

    def read(self) -> dict[str, np.ndarray]:
        """All arrays."""
        arrays = {name: self._file.get_tensor(name) for name in self.names}
        if self._metadata.get(_CHECKSUM) != _checksum(self.text or "", arrays):
            raise ValueError("the checksum is another")
        return arrays


@contextlib.contextmanager
def _on_disk(file: BinaryIO) -> Iterator[str]:
    """The path of what `file` holds: the library opens nothing else, and maps it."""
    if isinstance(name := getattr(file, "name", None), str):
        yield name
        return
    with tempfile.NamedTemporaryFile() as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy.name


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Of all that is in a file, whatever the order of its arrays."""
    found = zlib.crc32(text.encode())
    for name, value in sorted(arrays.items()):
        found = zlib.crc32(f"{name} {value.dtype.name} {value.shape}".encode(), found)
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)  # as in the file
        found = zlib.crc32(little.reshape(-1).view(np.uint8).data, found)
    return f"{found:08x}"


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
