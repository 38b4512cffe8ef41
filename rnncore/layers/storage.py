"""Named arrays and what tells how to use them, in one file without pickle.

The suffix says which: a plain .npz, every array under its own name, and under ``rnncore`` a text,
the JSON of ``{"format": 1, "kind": ..., "options": {...}}``; or a .safetensors, with the same text
in its metadata. ``numpy.load`` and the library safetensors read them without this package, and a
layer's arrays have PyTorch's names.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, TypeVar

import numpy as np

from rnncore import _check
from rnncore._check.texts import shown
from rnncore._files import npz, safetensors
from rnncore._files.stored import MOST_ARRAYS, MOST_TEXT, TEXT, most_layers
from rnncore.layers.parameters import LATER

if TYPE_CHECKING:
    from typing_extensions import TypeIs

FORMAT = 1
_FORMS = {".npz": npz, ".safetensors": safetensors}

# Where a file is: its path, or what is open for reading or writing bytes.
Place: TypeAlias = "str | os.PathLike[str] | BinaryIO"


class Savable(Protocol):
    """What `save` needs to see, and `load` to make: ``kind(**options)`` and then its parameters."""

    @property
    def options(self) -> dict[str, Any]: ...

    params: dict[str, np.ndarray]
    dtype: np.dtype
    _shapes: dict[str, tuple[int, ...]]  # of the parameters


_KINDS: dict[str, Callable[..., Savable]] = {}
_LOADERS: dict[str, Callable[[Stored], Any]] = {}  # of what is loaded in another way
SavableType = TypeVar("SavableType", bound=type)
LoaderType = TypeVar("LoaderType", bound="Callable[[Stored], Any]")


def savable(kind: SavableType) -> SavableType:
    """Let `load` make objects of this class: a decorator, so that nothing here imports layers."""
    _KINDS[kind.__name__] = kind
    return kind


def loads(kind: str) -> Callable[[LoaderType], LoaderType]:
    """Let `load` call a function for what is stored as of this kind: a decorator."""

    def register(loader: LoaderType) -> LoaderType:
        _LOADERS[kind] = loader
        return loader

    return register


def kind_of(name: Any) -> Callable[..., Any]:
    """The class of this name; ValueError where it is none that can be saved."""
    if name not in _KINDS:
        raise ValueError(f"{name} is no layer, expected {' or '.join(sorted(_KINDS))}")
    return _KINDS[name]


def check_kind(layer: Any) -> None:
    """Raise TypeError for an object of a class that `load` does not know."""
    if _KINDS.get(type(layer).__name__) is not type(layer):
        raise TypeError(
            f"layer is of type {type(layer).__name__}, expected {' or '.join(sorted(_KINDS))}"
        )


def save(layer: Savable, path: Place) -> None:
    """Save a layer's class, options and parameters to a .npz or .safetensors file.

    Raises
    ------
    TypeError for an object of a class that `load` does not know, and what `save_arrays` raises.
    """
    check_kind(layer)
    save_arrays(path, type(layer).__name__, layer.options, layer.params)


def load(path: Place, *, verify: bool = True) -> Any:
    """Make the layer or model anew that `save` saved, with the same options, dtype and parameters.

    Its random generator is a new one. Nothing is drawn, and nothing is made before names, shapes
    and sizes of all that is in the file were found to be right.

    Parameters
    ----------
    path : with the suffix .npz or .safetensors, or a file that is open for reading bytes
    verify : whether a model that was converted has to give what was recorded where it was made

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be read; ValueError, which names the
    file, if it is damaged, comes from elsewhere or from a newer version, holds no layer, or gives
    something else than was recorded; ImportError for a .safetensors file where that library is not
    installed.
    """
    verify = _check.flag("verify", verify)
    with opened(path) as stored:
        stored.verify = verify
        if stored.kind in _LOADERS:
            return _LOADERS[stored.kind](stored)
        if stored.kind not in _KINDS:
            expected = " or ".join(sorted({*_KINDS, *_LOADERS}))
            raise ValueError(f"{stored.name} holds a {stored.kind}, expected {expected}")
        with stored.made_of(stored.kind):
            layer = _KINDS[stored.kind](**stored.options, rng=LATER)
        stored.check({name: (shape, layer.dtype) for name, shape in layer._shapes.items()})
        layer.params = stored.read()
    return layer


def save_arrays(
    path: Place, kind: str, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write `arrays` to a .npz or .safetensors file, with their `kind` and `options`.

    Under a path, either the whole file is there in the end or what was there before: it is written
    beside its place, brought to the disk, and then renamed.

    Parameters
    ----------
    path : with the suffix .npz or .safetensors, or a file that is open for writing bytes, which
        gets a .npz unless its name has the other suffix
    kind : what the arrays make up, such as the name of a class
    options : what JSON can hold; comes back from `load_arrays` as it went in
    arrays : of any dtype but object; a .safetensors file holds numbers alone

    Raises
    ------
    ValueError for another suffix, for an array of a dtype that the file cannot hold, for one named
    ``rnncore``, and for more arrays or options than `load_arrays` would take; TypeError for options
    that JSON cannot hold; OSError as the file system has it; ImportError for a .safetensors file
    where that library is not installed.
    """
    form = _form_of(path, "write") or npz
    _check_names(kind, arrays)
    text = json.dumps({"format": FORMAT, "kind": kind, "options": dict(options)})
    if len(arrays) > MOST_ARRAYS or len(text) > MOST_TEXT:
        raise ValueError(
            f"arrays has {len(arrays)} entries and options {len(text)} characters, expected at most"
            f" {MOST_ARRAYS} and {MOST_TEXT}"
        )
    if not _is_path(path):
        whole = io.BytesIO()  # so that what cannot be written is found before anything is
        form.write(whole, text, arrays)
        _write_all(path, whole.getbuffer())
        return
    place = Path(os.path.realpath(os.fsdecode(path)))  # a link goes on to lead there
    beside = place.with_name(f".rnncore-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as new:
            form.write(new, text, arrays)
            new.flush()
            os.fsync(new.fileno())
        if place.exists():
            shutil.copymode(place, beside)
        os.replace(beside, place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        # The name of the file that was asked for, not of the one beside it.
        raise type(error)(error.errno, error.strerror, os.fsdecode(path)) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _check_names(kind: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse names that would not come back as they are."""
    if TEXT in arrays:
        raise ValueError(f"arrays has the key {TEXT!r}, which the file keeps for itself")
    if not _is_name_of_kind(kind):
        raise ValueError(f"kind is {kind!r}, expected a name of at most 100 letters")
    for name in arrays:
        if not isinstance(name, str) or "\0" in name or len(name) > 100:
            raise ValueError(
                f"arrays has the key {name!r}, expected a text of at most 100 characters"
            )


def _is_name_of_kind(kind: Any) -> bool:
    return isinstance(kind, str) and kind.isidentifier() and len(kind) <= 100


def _write_all(file: BinaryIO, content: memoryview) -> None:
    """A file without a buffer, as a socket is, takes what it can at a time."""
    while content:
        taken = file.write(content)
        if not taken:
            raise BlockingIOError(f"{_name_of(file)} takes no more bytes, {len(content)} are left")
        content = content[taken:]


def load_arrays(
    path: Place, kind: str | None = None
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save_arrays` wrote.

    Parameters
    ----------
    path : with the suffix .npz or .safetensors, or a file that is open for reading bytes
    kind : what the file must hold; None: anything

    Returns
    -------
    kind, options, arrays: the arrays in the byte order of this machine.

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be read; ValueError, which names the
    file, if it is damaged, comes from elsewhere or from a newer version, or is of another kind.
    """
    with opened(path, kind) as stored:
        return stored.kind, stored.options, stored.read()


@contextlib.contextmanager
def opened(path: Place, kind: str | None = None) -> Iterator[Stored]:
    """What a file says that it holds, before its arrays are read; raises as `load_arrays`."""
    form, name = _form_of(path, "read"), _name_of(path)
    if _is_path(path) and os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{name} is no file")  # a pipe would be waited for
    with open(path, "rb") if _is_path(path) else _in_place(path) as source:
        with _damage_told(name):
            if not source.read(1):
                raise ValueError("it is empty, or was read to its end: seek(0) goes back")
            source.seek(0)
            if form is None:
                form = npz if source.read(4) == b"PK\3\4" else safetensors
                source.seek(0)
            reader = form.Reader(source)
        if reader.text is None:
            raise ValueError(
                f"{name} is {_KIND_OF_FILE[form]} that rnncore did not save, expected a saved"
                f" layer: load_params of a layer takes its arrays, {_ARRAYS_OF[form]}"
            )
        with _damage_told(name):
            header = json.loads(reader.text)
            version = header["format"]
            found = _check.instance("kind", header["kind"], str)
            options = _check.instance("options", header["options"], dict)
            if not _is_name_of_kind(found):
                raise ValueError("its kind is no name")
        # A newer format may mean anything by its arrays: they are not even read.
        if type(version) is not int or version != FORMAT:
            raise ValueError(
                f"{name} has format {str(version)[:20]}, expected {FORMAT}: it is from another"
                " version of rnncore"
            )
        if kind is not None and found != kind:
            raise ValueError(f"{name} holds a {found}, expected a {kind}")
        if (most := most_layers(options)) > (there := len(reader.names)):
            raise ValueError(
                f"{name} holds no {found} that can be made here: num_layers is {shown(most)},"
                f" and there are {there} arrays"
            )
        yield Stored(name, found, options, reader)


class Stored:
    """An open file: what it says, and its arrays once that was found to be right."""

    def __init__(self, name: str, kind: str, options: dict[str, Any], reader: Any) -> None:
        self.name, self.kind, self.options, self._reader = name, kind, options, reader
        self.verify = True  # whether what was recorded has to be given again

    @property
    def names(self) -> list[str]:
        """Of the arrays."""
        return list(self._reader.names)

    def check(self, expected: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> None:
        """Raise ValueError if there are not just the arrays of these shapes and dtypes."""
        named = dict.fromkeys(self.names)
        described = self.described() if named.keys() == expected.keys() else named
        with self.made_of(self.kind):
            _check.same_names(described, expected)
            for name, (shape, dtype) in expected.items():
                _check.array(name, described[name], shape, dtype=dtype, owner="the layer")

    def described(self) -> dict[str, np.ndarray]:
        """Arrays of zeros that take no memory, of the dtypes and shapes of those in the file."""
        with _damage_told(self.name):
            return {name: _without_data(self._reader.describe(name)) for name in self.names}

    def read(self) -> dict[str, np.ndarray]:
        """All arrays, in the byte order of this machine."""
        with _damage_told(self.name):
            arrays = self._reader.read()
        return {
            name: array.astype(array.dtype.newbyteorder("="), copy=False)
            for name, array in arrays.items()
        }

    @contextlib.contextmanager
    def made_of(self, what: str) -> Iterator[None]:
        """Tell what cannot be made of options and arrays as a ValueError that names the file."""
        try:
            yield
        except (TypeError, ValueError) as error:
            reason = str(error)[:1000]
            raise ValueError(
                f"{self.name} holds no {what} that can be made here: {reason}"
            ) from error


def _without_data(array: Any) -> np.ndarray:
    """An array of this dtype and shape that takes no memory."""
    return np.broadcast_to(np.zeros((), array.dtype.newbyteorder("=")), array.shape)


@contextlib.contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Damage can make the readers of all these forms raise almost anything."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # A wrong offset in the file is an invalid argument; a disk that fails is something else.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = (str(error) or type(error).__name__)[:300]  # some readers quote what they read
        raise ValueError(f"{name} is damaged or was not saved by rnncore: {reason}") from error


# Paths and open files


_KIND_OF_FILE = {npz: "an .npz", safetensors: "a .safetensors file"}
_ARRAYS_OF = {npz: "dict(numpy.load(file))", safetensors: "safetensors.numpy.load_file(file)"}


def _is_path(path: Any) -> TypeIs[str | os.PathLike[str]]:
    return isinstance(path, str | bytes | os.PathLike)


def _name_of(path: Any) -> str:
    """For messages."""
    return os.fsdecode(path) if _is_path(path) else f"the file {getattr(path, 'name', '')}".strip()


def _form_of(path: Any, use: str) -> ModuleType | None:
    """The form that a path has by its suffix; of an open file by its name to write, or None."""
    if not _is_path(path):
        if not hasattr(path, use) or isinstance(path, io.TextIOBase):
            raise TypeError(
                f"path is of type {type(path).__name__}, expected a path or a file open for bytes"
            )
        named = Path(str(getattr(path, "name", ""))).suffix == ".safetensors"
        suffix = ".safetensors" if named and use == "write" else None
    else:
        suffix = Path(os.fsdecode(path)).suffix
        if suffix not in _FORMS:
            expected = " or ".join(map(repr, _FORMS))
            raise ValueError(f"{os.fsdecode(path)} has the suffix {suffix!r}, expected {expected}")
    if suffix == ".safetensors":
        try:
            import safetensors.numpy  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"{_name_of(path)}: the form .safetensors needs the library safetensors: pip"
                " install safetensors"
            ) from error
    return None if suffix is None else _FORMS[suffix]


def _in_place(path: BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """An open file as it is, if it is read from its start and can go back there; else a copy."""
    if hasattr(path, "seekable") and path.seekable() and path.tell() == 0:
        return contextlib.nullcontext(path)
    content = path.read()
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(f"path gives {type(content).__name__}, expected a file open for bytes")
    return io.BytesIO(content)
