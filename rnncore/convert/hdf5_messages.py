"""What the headers of an HDF5 file say of an array or an attribute: shape, type, place.

Source: HDF5 File Format Specification 3.0, section IV.A.2, the versions named at each function.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

DATASPACE, DATATYPE, FILES, LAYOUT, FILTERS = 0x01, 0x03, 0x07, 0x08, 0x0B
ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0x0C, 0x10, 0x11
_MOST_AXES = 32
_INTEGER, _FLOAT, _STRING, _OPAQUE, _VARIABLE = 0, 1, 3, 5, 9


class DamageError(ValueError):
    """Something that the format does not have, or that Keras does not write."""


class Kind(NamedTuple):
    """The type of the numbers or texts of an array."""

    dtype: np.dtype  # of a text as many bytes as it takes
    text: bool = False
    elsewhere: bool = False  # a text of any length, in a heap
    bfloat16: bool = False  # whose bits the numbers are


class Layout(NamedTuple):
    """Where the numbers of an array are."""

    address: int
    size: int
    content: bytes | None  # the numbers themselves, where they stand in the header


def sized(content: bytes, size: int) -> bytes:
    """`content`, if there is as much of it."""
    if len(content) < size:
        raise DamageError("a part of it is shorter than it says")
    return content


def dataspace(content: bytes) -> tuple[int, ...]:
    """A shape; versions 1 and 2."""
    version, rank = sized(content, 4)[:2]
    if version not in (1, 2) or rank > _MOST_AXES or (version == 2 and content[3] > 1):
        raise DamageError("an array has a shape of an unknown kind")
    start = 8 if version == 1 else 4
    return struct.unpack_from(f"<{rank}Q", sized(content, start + 8 * rank), start)


def datatype(content: bytes) -> Kind | None:
    """A type; versions 1 to 3. None for one that Keras has no use for."""
    size = struct.unpack_from("<I", sized(content, 8), 4)[0]
    version, family, bits = content[0] >> 4, content[0] & 15, content[1]
    if not 1 <= version <= 5 or not 0 < size <= 1 << 20:
        raise DamageError("a type has an unknown version or size")
    order = ">" if bits & 1 else "<"
    if family == _FLOAT:
        exponent, mantissa = sized(content, 20)[13], content[15]
        if (size, exponent, mantissa) == (2, 8, 7):
            return Kind(np.dtype(f"{order}u2"), bfloat16=True)
        if (size, exponent, mantissa) in ((2, 5, 10), (4, 8, 23), (8, 11, 52)):
            return Kind(np.dtype(f"{order}f{size}"))
    if family == _INTEGER and size in (1, 2, 4, 8):
        return Kind(np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
    if family == _OPAQUE and size == 2:  # what NumPy takes a bfloat16 for
        return Kind(np.dtype("<u2"), bfloat16=True)
    if family == _STRING:
        return Kind(np.dtype(f"S{size}"), text=True)
    if family == _VARIABLE and bits & 15 == 1 and size == 16:
        return Kind(np.dtype("S16"), text=True, elsewhere=True)
    return None


def layout(content: bytes) -> Layout:
    """A place; versions 1 to 4 of what is compact or contiguous."""
    version = sized(content, 3)[0]
    if version in (1, 2):
        rank, family = content[1], content[2]
        sizes = 4 * rank
        if family == 0:
            size = struct.unpack_from("<I", sized(content, 12 + sizes), 8 + sizes)[0]
            return Layout(0, size, sized(content[12 + sizes :], size)[:size])
        if family == 1:
            dims = struct.unpack_from(f"<{rank}I", sized(content, 16 + sizes), 16)
            return Layout(struct.unpack_from("<Q", content, 8)[0], _product(dims), None)
    elif version in (3, 4):
        family = content[1]
        if family == 0:
            size = struct.unpack_from("<H", sized(content, 4), 2)[0]
            return Layout(0, size, sized(content[4:], size)[:size])
        if family == 1:
            address, size = struct.unpack_from("<QQ", sized(content, 18), 2)
            return Layout(address, size, None)
    else:
        raise DamageError("an array has a place of an unknown kind")
    raise DamageError("an array is stored in pieces, as Keras does not")


def attribute(content: bytes) -> tuple[str, Kind | None, tuple[int, ...], bytes]:
    """Name, type, shape and data; versions 1 to 3."""
    version, flags, *sizes = struct.unpack_from("<BBHHH", sized(content, 8))
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise DamageError("an attribute is of an unknown kind")
    start, pieces = 9 if version == 3 else 8, []
    for size in sizes:
        pieces.append(sized(content[start:], size)[:size])
        start += (size + 7) // 8 * 8 if version == 1 else size
    name = pieces[0].split(b"\0")[0].decode("utf-8", "replace")
    return name, datatype(pieces[1]), dataspace(pieces[2]), content[start:]


def _product(sizes: tuple[int, ...]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
