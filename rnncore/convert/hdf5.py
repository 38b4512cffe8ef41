"""Arrays and attributes of an HDF5 file as h5py writes it by default; nothing it says is believed.

The library of HDF5 itself crashes on some damaged files, and runs forever on others, so what Keras
writes is read here: groups, contiguous arrays of floats, attributes of numbers and texts. Links to
other files, filters and pieces are refused. Source: HDF5 File Format Specification 3.0, the
versions named at each function.
"""

from __future__ import annotations

import math
import os
import struct
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rnncore.convert import hdf5_messages
from rnncore.convert.hdf5_messages import DamageError, Kind

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_MOST_OF_A_PIECE = 1 << 24  # bytes of a header, a heap, an attribute: those of names and settings
_MOST_LOOKED_AT = 4  # times the file: everything is looked at once, most of it twice
_LONGEST_NAME = 1000
_DEEPEST = 64


class File:
    """An open file, whose groups and arrays are found by their paths.

    Parameters
    ----------
    file : open for reading bytes

    Raises
    ------
    ValueError for whatever is not as the format has it, or is not what h5py writes by default.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self._looked_at = 0  # bytes of all but arrays
        self._given = 0  # bytes of arrays that were read
        self._objects: dict[int, Group | Array] = {}
        self._texts: dict[int, dict[int, bytes]] = {}  # of heaps, by their addresses
        self.root = Group(self, Object(self, self._root()).messages)

    def at(self, address: int, size: int) -> bytes:
        """`size` bytes; there are no others than those of the file."""
        self._looked_at += size + 64
        if address + size > self.size or size > _MOST_OF_A_PIECE:
            raise DamageError("it ends too early, or an address in it is wrong")
        if self._looked_at > _MOST_LOOKED_AT * self.size + (1 << 16):
            raise DamageError("its groups or attributes go in circles")
        self._file.seek(address)
        return self._file.read(size)

    def node(self, address: int, size: int, signature: bytes) -> bytes:
        """The head of a node of a tree or a heap."""
        head = self.at(address, size)
        if not head.startswith(signature):
            raise DamageError(f"something else stands where {signature!r} is expected")
        return head

    def object(self, address: int) -> Group | Array:
        """What has its header there."""
        if address not in self._objects:
            found = Object(self, address)
            kind = Group if found.message(hdf5_messages.LAYOUT) is None else Array
            self._objects[address] = kind(self, found.messages)
        return self._objects[address]

    def texts(self, address: int) -> dict[int, bytes]:
        """The texts of a global heap, version 1, by their numbers."""
        if address not in self._texts:
            size = struct.unpack_from("<Q", self.node(address, 16, b"GCOL"), 8)[0]
            found, k, heap = {}, 16, self.at(address, size)
            while k + 16 <= size:
                index, stored = struct.unpack_from("<H6xQ", heap, k)
                found[index] = heap[k + 16 : k + 16 + stored]
                k += 16 + (stored + 7) // 8 * 8
            self._texts[address] = found
        return self._texts[address]

    def array(self, address: int, kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers that lie one after the other."""
        size = math.prod(shape) * kind.dtype.itemsize
        self._given += size
        if address + size > self.size or self._given > self.size:
            raise DamageError(f"an array of shape {shape} is larger than what there is of it")
        found = np.empty(shape, kind.dtype)
        if size:
            self._file.seek(address)
            room = found.reshape(-1).view(np.uint8).data
            if self._file.readinto(room) != size:  # type: ignore[attr-defined]
                raise DamageError("it ends too early")
        return found

    def _root(self) -> int:
        """Superblock, versions 0 and 1: the address of the header of the first group."""
        if self.size < 96 or self.at(0, 8) != SIGNATURE:
            raise DamageError("it is no HDF5 file")
        head = self.at(0, 96)
        if head[8] not in (0, 1):
            raise DamageError(
                f"it has the HDF5 superblock {head[8]}, and Keras writes 0: it was written with"
                " another libver"
            )
        if head[13:15] != b"\x08\x08":
            raise DamageError("its addresses do not have 8 bytes")
        start = 24 if head[8] == 0 else 28
        base, _, _, _ = struct.unpack_from("<4Q", head, start)
        if base != 0:
            raise DamageError("something else stands before it")
        return int(struct.unpack_from("<QQ", head, start + 32)[1])


class Message(NamedTuple):
    """A piece of an object's header."""

    kind: int
    flags: int
    content: bytes


class Object:
    """A group or an array: what its header says."""

    def __init__(self, file: File, header: int | list[Message]) -> None:
        self._file = file
        self.messages = self._read(header) if isinstance(header, int) else header

    def _read(self, address: int) -> list[Message]:
        """Object header, version 1, with all its continuations."""
        head = self._file.node(address, 16, b"\x01")
        count, size = struct.unpack_from("<H4xI", head, 2)
        blocks = [(address + 16, size)]
        found: list[Message] = []
        for start, length in blocks:  # which grows
            block, k = self._file.at(start, length), 0
            while k + 8 <= length and len(found) < count:
                kind, size, flags = struct.unpack_from("<HHB", block, k)
                content = block[k + 8 : k + 8 + size]
                if len(content) != size:
                    raise DamageError("a header is shorter than it says")
                if kind == hdf5_messages.CONTINUATION:
                    blocks.append(struct.unpack("<QQ", hdf5_messages.sized(content, 16)[:16]))
                found.append(Message(kind, flags, content))
                k += 8 + size
            if len(blocks) > 1000:
                raise DamageError("a header goes on for ever")
        return found

    def message(self, kind: int) -> bytes | None:
        """The only one of a kind."""
        found = [message for message in self.messages if message.kind == kind]
        if len(found) > 1 or (found and found[0].flags & 2):
            raise DamageError("a header has a message twice, or shares it")
        return found[0].content if found else None

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Texts, arrays of numbers, and lists of texts; None for what is anything else."""
        found = {}
        for message in self.messages:
            if message.kind == hdf5_messages.ATTRIBUTE and not message.flags & 2:
                name, kind, shape, data = hdf5_messages.attribute(message.content)
                found[name] = self._value(kind, shape, data)
        return found

    def _value(self, kind: Kind | None, shape: tuple[int, ...], data: bytes) -> Any:
        if kind is None:
            return None
        count, width = math.prod(shape), kind.dtype.itemsize
        data = hdf5_messages.sized(data, count * width)[: count * width]
        if kind.text:
            pieces = [data[k * width : (k + 1) * width] for k in range(count)]
            texts = [self._text(piece) if kind.elsewhere else _decoded(piece) for piece in pieces]
            return texts if shape else texts[0]
        return np.frombuffer(data, kind.dtype).reshape(shape)

    def _text(self, reference: bytes) -> str:
        """A text of any length, which a heap holds."""
        length, address, index = struct.unpack("<IQI", reference)
        if not length:
            return ""
        found = self._file.texts(address).get(index)
        if found is None:
            raise DamageError("a text is missing")
        return _decoded(hdf5_messages.sized(found, length)[:length])


class Array(Object):
    """An array."""

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return hdf5_messages.dataspace(self._needed(hdf5_messages.DATASPACE))

    @cached_property
    def kind(self) -> Kind:
        found = hdf5_messages.datatype(self._needed(hdf5_messages.DATATYPE))
        if found is None or found.text:
            raise DamageError("an array holds no floats")
        return found

    def read(self) -> np.ndarray:
        """All of it."""
        for kind, what in ((hdf5_messages.FILTERS, "compressed"), (hdf5_messages.FILES, "outside")):
            if self.message(kind) is not None:
                raise DamageError(f"an array is stored {what}, as Keras does not")
        layout = hdf5_messages.layout(self._needed(hdf5_messages.LAYOUT))
        size = math.prod(self.shape) * self.kind.dtype.itemsize
        if layout.content is not None:
            content = hdf5_messages.sized(layout.content, size)[:size]
            return np.frombuffer(content, self.kind.dtype).reshape(self.shape).copy()
        if size == 0:
            return np.empty(self.shape, self.kind.dtype)
        if layout.address == _UNDEFINED or layout.size < size:
            raise DamageError(f"an array of shape {self.shape} has {layout.size} bytes")
        return self._file.array(layout.address, self.kind, self.shape)

    def _needed(self, kind: int) -> bytes:
        found = self.message(kind)
        if found is None:
            raise DamageError("an array has no shape, no type, or no place")
        return found


class Group(Object):
    """Named groups and arrays."""

    @cached_property
    def members(self) -> dict[str, int]:
        """The addresses of the headers, by their names; what is elsewhere is left out."""
        found = self.message(hdf5_messages.SYMBOL_TABLE)
        if found is None:
            return {}
        tree, heap = struct.unpack("<QQ", hdf5_messages.sized(found, 16)[:16])
        # Local heap, version 0.
        size, _, start = struct.unpack_from("<QQQ", self._file.node(heap, 32, b"HEAP"), 8)
        names, members = self._file.at(start, size), {}
        for table in self._tables(tree, 0):
            head = self._file.node(table, 8, b"SNOD")
            entries = self._file.at(table + 8, 40 * struct.unpack_from("<H", head, 6)[0])
            for name, header, cached in struct.iter_unpack("<QQI20x", entries):
                if cached != 2:  # a symbolic link
                    text = names[name : name + _LONGEST_NAME].partition(b"\0")[0]
                    members[_decoded(text)] = header
        return members

    def _tables(self, address: int, depth: int) -> list[int]:
        """The addresses of the tables of entries: B-tree, version 1."""
        head = self._file.node(address, 24, b"TREE")
        if head[4] != 0 or depth > _DEEPEST:
            raise DamageError("a group is no tree of names")
        used = struct.unpack_from("<H", head, 6)[0]
        children = [
            child for _, child in struct.iter_unpack("<QQ", self._file.at(address + 24, 16 * used))
        ]
        if head[5] == 0:
            return children
        return [table for child in children for table in self._tables(child, depth + 1)]

    def find(self, path: str) -> Group | Array | None:
        """What is at a path from here, or None."""
        place: Group | Array = self
        for name in filter(None, path.split("/")):
            if not isinstance(place, Group) or name not in place.members:
                return None
            place = self._file.object(place.members[name])
        return place

    def group(self, path: str) -> Group | None:
        """A group at a path from here, or None."""
        found = self.find(path)
        return found if isinstance(found, Group) else None


def _decoded(text: bytes) -> str:
    return text.rstrip(b"\0").decode("utf-8", "replace")
