"""Named arrays in a .npz file, with a text beside them; nothing that the file says is believed.

What is read first is small and bounded: the directory of the zip, the text, the headers of arrays.
Data is read only where its size is that of its header and within that of the file.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Mapping
from typing import IO, BinaryIO

import numpy as np

from rnncore._files.stored import MOST_ARRAYS, MOST_TEXT, TEXT, Description

_MOST_OF_ARRAYS_HEADER = 1024  # its dict of three entries takes some 60 bytes
_READ_AT_ONCE = 1 << 24


def write(file: BinaryIO, text: str, arrays: Mapping[str, np.ndarray]) -> None:
    """`numpy.savez`, without pickle and with any name for an array (there, `file` is taken)."""
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
    try:
        for name, value in {TEXT: np.array(text), **arrays}.items():
            # A member's size is not known in advance, and may pass the 2 GiB of a plain zip.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                array = np.asarray(value)
                if array.dtype.kind == "V":
                    raise ValueError(f"{name} has dtype {array.dtype}, expected numbers or text")
                np.lib.format.write_array(member, array, allow_pickle=False)
    except BaseException:
        archive.fp = None  # Closing it in the middle of a member is an error too, and hides this.
        raise
    archive.close()


class Reader:
    """What `write` wrote. Everything raises, among others, ValueError and `zipfile.BadZipFile`."""

    def __init__(self, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        _check_directory(file, size)
        self._archive = zipfile.ZipFile(file)
        infos = self._archive.infolist()
        if infos and min(info.header_offset for info in infos) > 0:
            raise ValueError("something else stands before it, such as another file of its kind")
        self._members = {info.filename.removesuffix(".npy"): info for info in infos}
        if len(self._members) != len(infos):
            raise ValueError("two arrays have one name")
        if infos and not any(info.filename.endswith(".npy") for info in infos):
            raise ValueError("it is a zip without arrays of NumPy")
        self.text = None
        if TEXT not in self._members:  # nobody reads on
            return
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename!r} is compressed")
            if info.flag_bits & 1:
                raise ValueError(f"{info.filename!r} is encrypted")
            if info.compress_size != info.file_size:
                raise ValueError(f"{info.filename!r} has two sizes")
        if sum(info.file_size for info in infos) > size:
            raise ValueError("the arrays are larger than the file")
        self.text = self._text()
        self.names = [name for name in self._members if name != TEXT]

    def describe(self, name: str) -> Description:
        """The dtype and the shape of an array, without its data."""
        with self._archive.open(self._members[name]) as member:
            return _array_header(member, self._members[name].file_size)[0]

    def read(self) -> dict[str, np.ndarray]:
        """All arrays."""
        return {name: self._read(name) for name in self.names}

    def _text(self) -> str:
        dtype, shape = self.describe(TEXT)
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * MOST_TEXT:
            raise ValueError(f"{TEXT!r} is no text of at most {MOST_TEXT} characters")
        return str(self._read(TEXT).item())

    def _read(self, name: str) -> np.ndarray:
        size = self._members[name].file_size
        with self._archive.open(self._members[name]) as member:
            assert isinstance(member, zipfile.ZipExtFile)  # what it is in reading
            (dtype, shape), fortran_order = _array_header(member, size)
            array = np.empty(shape[::-1] if fortran_order else shape, dtype)
            # Bytes, whatever the dtype: Python's buffers know no text of NumPy's kind.
            room = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
            for start in range(0, len(room), _READ_AT_ONCE):
                piece = room[start : start + _READ_AT_ONCE]
                if member.readinto(piece) != len(piece):
                    raise ValueError(f"{name!r} ends too early")
            if member.read(1):  # what is read to its end is compared with its checksum
                raise ValueError(f"{name!r} is longer than its shape says")
        return array.T if fortran_order else array


def _check_directory(file: BinaryIO, size: int) -> None:
    """Refuse a directory that `zipfile` would read for long: it believes any size and number.

    Of the records at a zip's end: APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16.
    """
    tail = min(size, 22 + 65535 + 20 + 56)  # the end, its comment, and the records of a large file
    file.seek(size - tail)
    content = file.read(tail)
    end = content.rfind(b"PK\5\6")
    if end < 0 or len(content) - end < 22:
        raise ValueError("it is no zip file, or its end is missing")
    number, length = struct.unpack_from("<HL", content, end + 10)
    large = content.find(b"PK\6\6", max(0, end - 20 - 56), end)
    if large >= 0 and end - large >= 56:
        number, length = struct.unpack_from("<QQ", content, large + 32)
    if number > MOST_ARRAYS + 1 or length > 200 * (MOST_ARRAYS + 1) or length > size:
        raise ValueError(f"it holds more than {MOST_ARRAYS} arrays")
    file.seek(0)


def _array_header(member: IO[bytes], size: int) -> tuple[Description, bool]:
    """What an array is, and whether it lies there column by column; of `size` bytes with data."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        read = np.lib.format.read_array_header_1_0
    elif version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    else:
        raise ValueError(f"an array has the unknown version {version}")
    shape, fortran_order, dtype = read(member, max_header_size=_MOST_OF_ARRAYS_HEADER)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if dtype.kind == "V" or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"an array has dtype {dtype} and shape {shape}")
    if member.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of dtype {dtype} and shape {shape} is not as long as its data")
    return Description(dtype, shape), fortran_order
