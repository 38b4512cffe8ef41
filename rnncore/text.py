"""Text to learn from: finding it, holding a part back, and what compressors make of that part.

A character is a byte here, so every file can be read, and bits per character are comparable with
the size of a compressed file.
"""

import bz2
import gzip
import lzma
import os
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_HELD_OUT = 256 << 10
_LEAST_BYTES = 40  # 5 % of it are the two that it takes to predict one from the other
_SPLIT_SEED = 0  # the same split whatever the seed of the model: results stay comparable
_NO_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


@dataclass(frozen=True)
class Corpus:
    """A text in two parts, as arrays of bytes, and where it came from."""

    train: np.ndarray
    held_out: np.ndarray
    source: str
    files: int


def read_corpus(paths: Sequence[str | os.PathLike[str]] = ()) -> Corpus:
    """Read files and folders, or the source code of the Python standard library without any.

    A file that is named is read whatever it holds. Of a folder, all files in it and below are read
    that are UTF-8 text, but for hidden ones; of the standard library its ``*.py`` files without
    tests. The files are put in a random but fixed order.

    Held back are 5 % of the bytes and at most 256 KiB: whole files, the first in that order that
    fit, so that no part of a file is learned from while another part is predicted. Where they make
    up less than half of that, as with a single file, it is the end of the text.

    Raises
    ------
    ValueError
        If a path does not exist or cannot be read, or there are fewer than 40 bytes.
    """
    if paths:
        names = [name for path in paths for name in _files_of(Path(path))]
        source = ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" * (len(paths) > 3))
    else:
        names = standard_library()
        source = f"the Python standard library, {sysconfig.get_path('stdlib')}"
    named = {Path(path) for path in paths}
    names = list(dict.fromkeys(names))  # a file named twice would be learned and held back
    contents = []
    for k in np.random.default_rng(_SPLIT_SEED).permutation(len(names)):
        content = _read(names[k])
        if content and (names[k] in named or _is_text(content)):
            contents.append(content)
    if not contents:
        raise ValueError(f"no text in {source}")
    size = sum(map(len, contents))
    if size < _LEAST_BYTES:
        raise ValueError(f"{source} has {size} characters, expected at least {_LEAST_BYTES}")
    train, held_out = _split(contents)
    return Corpus(_as_array(train), _as_array(held_out), source, len(contents))


def standard_library() -> list[Path]:
    """The ``*.py`` files of the running Python's standard library, without tests, in order."""
    root = Path(sysconfig.get_path("stdlib"))
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if _NO_LIBRARY.isdisjoint(path.relative_to(root).parts)
    ]


def compressed_bits(text: np.ndarray) -> dict[str, float]:
    """Bits per character that gzip, bz2 and xz need for `text`, each at its best level."""
    content = text.tobytes()
    sizes = {
        "gzip": len(gzip.compress(content, 9, mtime=0)),
        "bz2": len(bz2.compress(content, 9)),
        "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
    }
    return {name: 8 * size / len(content) for name, size in sizes.items()}


def _split(contents: list[bytes]) -> tuple[bytes, bytes]:
    size = sum(map(len, contents))
    wanted = min(MAX_HELD_OUT, size // 20)
    room = wanted
    train, held_out = [], []
    for content in contents:
        if len(content) <= room:
            held_out.append(content)
            room -= len(content)
        else:
            train.append(content)
    if train and room <= wanted // 2:
        return b"".join(train), b"".join(held_out)
    text = b"".join(contents)
    return text[: size - wanted], text[size - wanted :]


def _files_of(path: Path) -> list[Path]:
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}")
    if not path.is_dir():
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)
