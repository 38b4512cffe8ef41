"""ONNX files, read by what believes nothing: sizes are compared with what is there before use.

A file is protobuf, whose reader bounds how deep messages lie in each other. What a tensor says of
its size, and where its numbers lie, is the file's word alone, and is checked here.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["OnnxFile", "array_of", "library", "read"]

MOST_BYTES = (1 << 31) - 1  # of a message of protobuf
_MOST_AXES = 64  # of an array of NumPy


class OnnxFile(NamedTuple):
    """A model, what messages call it, and the folder in which its external data may lie."""

    model: Any
    name: str
    folder: Path | None


def library() -> Any:
    """The package onnx.

    Raises
    ------
    ImportError, which tells how it is installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "ONNX files are read with the package onnx: pip install 'rnncore[onnx]'"
        ) from error
    return onnx


def read(source: Any) -> OnnxFile:
    """A model from its path, its bytes, or as the `onnx.ModelProto` that it is already.

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be read; ValueError, which names it,
    for what is no model of ONNX; TypeError for another kind of source.
    """
    known = isinstance(source, str | os.PathLike | bytes | bytearray | memoryview)
    if not known and not hasattr(source, "SerializeToString"):
        raise _of_another_kind(source)
    onnx = library()
    if isinstance(source, onnx.ModelProto):
        return _checked(OnnxFile(source, "the model", None))
    name, folder = "the bytes", None
    if isinstance(source, str | os.PathLike):
        path = Path(os.fsdecode(source))
        name, folder, source = str(path), path.resolve().parent, _content(path)
    elif not known:
        raise _of_another_kind(source)
    if not len(source):
        raise ValueError(f"{name} is no model of ONNX: there is nothing in it")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(source))
    except Exception as error:  # DecodeError, of a library that is not named here
        raise ValueError(f"{name} is damaged or no model of ONNX: {_reason(error)}") from error
    return _checked(OnnxFile(model, name, folder))


def _of_another_kind(source: Any) -> TypeError:
    return TypeError(
        f"path is of type {type(source).__name__}, expected a path, bytes or an onnx.ModelProto"
    )


def array_of(tensor: Any, folder: Path | None) -> np.ndarray:
    """The numbers of a TensorProto, which are as many as its shape says.

    Raises
    ------
    ValueError, which names the tensor.
    """
    onnx = library()
    name = f"tensor {tensor.name!r}" if tensor.name else "a tensor"
    shape = tuple(tensor.dims)
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0:
        raise ValueError(f"{name} has shape {str(shape)[:200]}, expected sizes from 0")
    count, bits = math.prod(shape), _bits(tensor.data_type)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor = _inside(tensor, name, (count * bits + 7) // 8, folder)
    _check_count(tensor, name, count, bits)
    try:
        array: np.ndarray = onnx.numpy_helper.to_array(tensor)
    except MemoryError:
        raise
    except Exception as error:  # whatever the library raises for what it cannot read
        raise ValueError(f"{name} cannot be read: {_reason(error)}") from error
    return array


# The parts of it


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")  # a pipe would be waited for
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(
            f"{path} has {size:,} bytes, expected at most {MOST_BYTES:,}, the most of protobuf: a"
            " larger model keeps its tensors in files beside it"
        )
    return path.read_bytes()


def _checked(file: OnnxFile) -> OnnxFile:
    model = file.model
    if not model.HasField("graph"):
        raise ValueError(f"{file.name} is damaged or no model of ONNX: it has no graph")
    if not model.opset_import:
        raise ValueError(f"{file.name} names no version of the operators, expected opset_import")
    newest = library().defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and not 1 <= opset.version <= newest:
            raise ValueError(
                f"{file.name} has opset {opset.version}, expected 1 to {newest}, the newest that"
                " the installed package onnx knows"
            )
    return file


def _bits(data_type: int) -> int:
    """Of a number of this type; 0 for text."""
    onnx = library()
    if data_type == onnx.TensorProto.STRING:
        return 0
    name = onnx.TensorProto.DataType.Name(data_type) if _is_type(data_type) else "UNDEFINED"
    if name == "UNDEFINED":
        raise ValueError(f"a tensor has data type {data_type}, which there is not")
    narrow = {"4": 4, "2": 2}.get(name[-1]) if name.rstrip("0123456789").endswith("INT") else None
    if name.startswith("FLOAT4"):
        return 4
    if narrow is not None and name in ("INT4", "UINT4", "INT2", "UINT2"):
        return narrow
    return 8 * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize)


def _is_type(data_type: int) -> bool:
    return data_type in library().TensorProto.DataType.values()


def _check_count(tensor: Any, name: str, count: int, bits: int) -> None:
    """Refuse a tensor that holds other than it says: it would be made as large as it says."""
    if tensor.HasField("raw_data"):
        found, expected = len(tensor.raw_data), (count * bits + 7) // 8
        if found != expected:
            raise ValueError(
                f"{name} has shape {str(tuple(tensor.dims))[:200]} and {found:,} bytes,"
                f" expected {expected:,}"
            )
        return
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    held = sum(len(getattr(tensor, field)) for field in fields)
    if held > 2 * count or held * 64 < count * max(bits, 1):
        raise ValueError(
            f"{name} has shape {str(tuple(tensor.dims))[:200]} and {held:,} numbers in it"
        )


def _inside(tensor: Any, name: str, nbytes: int, folder: Path | None) -> Any:
    """A copy of a tensor with the data that lies in a file beside the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ValueError(
            f"{name} lies in the file {location[:200]!r}: expected the path of the model, beside"
            " which to look for it"
        )
    place = _beside(name, location, folder)
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or nbytes)
    except ValueError as error:
        raise ValueError(f"{name} has no numbers for offset and length") from error
    size = place.stat().st_size
    if length != nbytes or not 0 <= offset <= size - length:
        raise ValueError(
            f"{name} takes {nbytes:,} bytes, and says {length:,} from {offset:,} of {place.name},"
            f" which has {size:,}"
        )
    with open(place, "rb") as file:
        file.seek(offset)
        content = file.read(length)
    found = library().TensorProto()
    found.dims.extend(tensor.dims)
    found.name, found.data_type, found.raw_data = tensor.name, tensor.data_type, content
    return found


def _beside(name: str, location: str, folder: Path) -> Path:
    """The file of this name in the model's folder or below; links out of there are not followed."""
    wrong = not location or "\0" in location or "\\" in location or os.path.isabs(location)
    if not wrong:
        place = Path(os.path.realpath(folder / location))
        if place.is_relative_to(os.path.realpath(folder)):
            if not place.is_file():
                raise ValueError(f"{name} lies in {location[:200]!r}, and there is no such file")
            return place
    raise ValueError(
        f"{name} lies in {location[:200]!r}, expected a file in the folder of the model"
    )
