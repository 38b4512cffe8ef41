"""Text to learn from: finding it, holding a part back, and what compressors make of that part.

A character is a byte here, so every file can be read, and bits per character are comparable with
the size of a compressed file.
"""

import bz2
import gzip
import lzma
import os
import stat
import sysconfig
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnncore import _check

__all__ = [
    "MAX_HELD_OUT",
    "MAX_VALIDATION",
    "Corpus",
    "as_streams",
    "compressed_bits",
    "read_corpus",
    "standard_library",
]

MAX_HELD_OUT, MAX_VALIDATION = 256 << 10, 64 << 10
_LEAST_BYTES = 40  # 5 % of it are the two that it takes to predict one from the other
_SPLIT_SEED = 0  # the same split whatever the seed of the model: results stay comparable
_NO_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
_DEVICES = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}  # which may have no end
_KINDS = {**_DEVICES, stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


@dataclass(frozen=True)
class Corpus:
    """A text in three parts, as arrays of bytes, and where it came from.

    What is chosen between is chosen by `validation`; only what is told is measured on `held_out`.
    """

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    source: str
    files: int
    left_out: tuple[str, ...] = ()  # what in a folder could not be read, each with the reason


class _Found(NamedTuple):
    """A file to read: one that was named, or one of a folder."""

    path: Path
    named: bool
    identity: Hashable  # of the file itself, whatever name or link led to it


def read_corpus(paths: Sequence[str | os.PathLike[str]] = ()) -> Corpus:
    """Read files and folders, or the source code of the Python standard library without any.

    A file that is named is read whatever it holds, and so is a pipe. Of a folder, all regular files
    in it and below are read that are UTF-8 text, but for hidden ones; of the standard library its
    ``*.py`` files without tests. Links lead to files, not to other folders. What else there is in a
    folder (pipes, sockets, devices) and what cannot be read is left out, and told in `left_out`. A
    file counts once, and the files are put in a random but fixed order.

    Held back are 5 % of the bytes and at most 256 KiB: whole files, the first in that order that
    fit, so that no part of a file is learned from while another part is predicted. Where they make
    up less than half of that, as with a single file, it is the end of the text. The text for
    validation is taken of the rest in the same way: 5 % and at most 64 KiB.

    Raises
    ------
    ValueError
        If a path does not exist, cannot be read or is a device, or there are fewer than 40 bytes.
    """
    left_out: list[str] = []
    if paths:
        found = [file for path in paths for file in _files_of(path, left_out)]
        source = in_short(paths)
    else:
        found = _regular(standard_library(), left_out)
        source = f"the Python standard library, {sysconfig.get_path('stdlib')}"
    files = _each_once(found)
    contents = []
    for k in np.random.default_rng(_SPLIT_SEED).permutation(len(files)):
        content = _read(files[k], left_out)
        if content and (files[k].named or _is_text(content)):
            contents.append(content)
    if not contents:
        without = f"; left out: {in_short(left_out)}" if left_out else ""
        raise ValueError(f"no text in {source}{without}")
    size = sum(map(len, contents))
    if size < _LEAST_BYTES:
        raise ValueError(f"{source} has {size} characters, expected at least {_LEAST_BYTES}")
    rest, held_out = _split(contents, min(MAX_HELD_OUT, size // 20))
    train, chosen_by = _split(rest, min(MAX_VALIDATION, size // 20))
    return Corpus(
        _as_array(b"".join(train)),
        _as_array(chosen_by),
        _as_array(held_out),
        source,
        len(contents),
        tuple(left_out),
    )


def in_short(names: Sequence[object]) -> str:
    """
    >>> in_short(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more


def standard_library() -> list[Path]:
    """The ``*.py`` files of the running Python's standard library, without tests, in order."""
    root = Path(sysconfig.get_path("stdlib"))
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if _NO_LIBRARY.isdisjoint(path.relative_to(root).parts)
    ]


def as_streams(
    text: NDArray[np.uint8], streams: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut a text into parallel streams, time first, and the character after each.

    Raises
    ------
    ValueError, TypeError
        If the text is no array of bytes, or has no character for each stream and one more.

    >>> ids, targets = as_streams(np.frombuffer(b"abcdefg", np.uint8), 2)
    >>> [bytes(column) for column in ids.T], [bytes(column) for column in targets.T]
    ([b'abc', b'def'], [b'bcd', b'efg'])
    """
    text, streams = as_bytes("text", text), _check.size("streams", streams)
    if len(text) <= streams:
        raise ValueError(
            f"text has {len(text)} characters, expected at least {streams + 1} to make {streams}"
            " streams"
        )
    length = (len(text) - 1) // streams
    ids = text[: streams * length].reshape(streams, length).T
    targets = text[1 : streams * length + 1].reshape(streams, length).T
    return ids, targets


def as_bytes(name: str, text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Check that `text` is an array of bytes, (N,), and return it."""
    text = _check.instance(name, text, np.ndarray)
    if text.dtype != np.uint8:
        raise TypeError(f"{name} has dtype {text.dtype}, expected uint8")
    if text.ndim != 1:
        raise ValueError(f"{name} has shape {text.shape}, expected (N,)")
    return text


def compressed_bits(text: NDArray[np.uint8]) -> dict[str, float]:
    """Bits per character that gzip, bz2 and xz need for `text`, each at its best level."""
    content = text.tobytes()
    sizes = {
        "gzip": len(gzip.compress(content, 9, mtime=0)),
        "bz2": len(bz2.compress(content, 9)),
        "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
    }
    return {name: 8 * size / len(content) for name, size in sizes.items()}


def _split(contents: list[bytes], wanted: int) -> tuple[list[bytes], bytes]:
    """What is left, and a part of about so many bytes."""
    room = wanted
    train, held_out = [], []
    for content in contents:
        if len(content) <= room:
            held_out.append(content)
            room -= len(content)
        else:
            train.append(content)
    if train and room <= wanted // 2:
        return train, b"".join(held_out)
    text = b"".join(contents)
    return [text[:-wanted]], text[-wanted:]


def _files_of(named: str | os.PathLike[str], left_out: list[str]) -> list[_Found]:
    """What a path that was named stands for: itself, or the files of a folder."""
    if not os.fspath(named):
        raise ValueError("a path is empty, expected the name of a file or folder")
    path = Path(named)
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            if kind := _DEVICES.get(stat.S_IFMT(status.st_mode)):
                raise ValueError(f"no text in {path}, which is {kind}")
            return [_Found(path, True, _identity(path, status))]
        os.scandir(path).close()
    except FileNotFoundError as error:
        raise ValueError(f"no such file or folder: {path}") from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return _regular(_walk(path, left_out), left_out)


def _walk(path: Path, left_out: list[str]) -> Iterator[Path]:
    """What is in a folder and below and neither hidden nor a folder, in order."""

    def note(error: OSError) -> None:
        left_out.append(_with_reason(error.filename, error.strerror))

    for folder, folders, files in os.walk(path, onerror=note):
        shown = sorted(name for name in folders if not name.startswith("."))
        linked = [name for name in shown if os.path.islink(os.path.join(folder, name))]
        left_out += [
            _with_reason(os.path.join(folder, name), "a link to a folder") for name in linked
        ]
        folders[:] = [name for name in shown if name not in linked]
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _regular(paths: Iterable[Path], left_out: list[str]) -> list[_Found]:
    """The regular files among `paths`: only they are sure to have an end."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            left_out.append(_with_reason(path, error.strerror))
            continue
        if stat.S_ISREG(status.st_mode):
            found.append(_Found(path, False, _identity(path, status)))
        else:
            left_out.append(_with_reason(path, _KINDS.get(stat.S_IFMT(status.st_mode), "no file")))
    return found


def _identity(path: Path, status: os.stat_result) -> Hashable:
    # Some file systems number no files
    return (status.st_dev, status.st_ino) if status.st_ino else path


def _each_once(found: Iterable[_Found]) -> list[_Found]:
    """One of each file: under two names it would be learned and held back."""
    files: dict[Hashable, _Found] = {}
    for file in found:
        known = files.setdefault(file.identity, file)
        if file.named and not known.named:
            files[file.identity] = known._replace(named=True)
    return list(files.values())


def _read(file: _Found, left_out: list[str]) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        if file.named:
            raise ValueError(f"cannot read {file.path}: {error.strerror}") from error
        left_out.append(_with_reason(file.path, error.strerror))
        return b""


def _with_reason(path: object, reason: str | None) -> str:
    return f"{path} ({reason})"


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_array(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
