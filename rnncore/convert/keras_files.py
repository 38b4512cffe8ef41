"""Files of models of Keras, of which nothing is believed and no code is run.

A .keras is a zip of metadata.json, config.json and model.weights.h5; a legacy .h5 is an HDF5 file
with the config as an attribute. Which of them it is its first bytes tell, since Keras 2.12 writes
both under the suffix .keras. Neither Keras nor a library of HDF5 is imported.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import Any, BinaryIO, NamedTuple

from rnncore.convert import hdf5, keras_weights
from rnncore.convert.keras_config import Node, node_of
from rnncore.convert.keras_weights import Weights

_MOST_CONFIG = 1 << 23  # bytes of JSON
_MOST_MEMBERS = 1_000
_MOST_OF_DIRECTORY = 1 << 20
_MOST_NARROWER = 16  # times: floats do not shrink so much
_ZIP = b"PK\3\4"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


class Source(NamedTuple):
    """A model of Keras, as it is told."""

    model: Node
    version: int
    weights: Weights


def read(file: BinaryIO, config: Any = None) -> Source:
    """What is in a file.

    Parameters
    ----------
    file : open for reading bytes
    config : what ``model.to_json()`` gave, for a file of weights alone

    Raises
    ------
    ValueError, among others that damage leads to.
    """
    start = file.read(8)
    file.seek(0)
    if start.startswith(_ZIP):
        return _of_zip(file, config)
    if start == hdf5.SIGNATURE:
        return _of_hdf5(hdf5.File(file).root, config)
    if not start:
        raise ValueError("it is empty")
    raise ValueError("it is no file of Keras: neither a zip nor HDF5")


# .keras


def _of_zip(file: BinaryIO, config: Any) -> Source:
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise ValueError("two of its parts have one name")
        if _WEIGHTS not in members and "model.weights.json" in members:
            raise ValueError("its weights are in several pieces: save it without max_shard_size")
        for name in (_CONFIG, _METADATA, _WEIGHTS):
            if name not in members:
                raise ValueError(f"it has no {name}, which a .keras has")
        if config is not None:
            raise ValueError("config is given, and the file has one of its own")
        told = _json(_member(file, archive, members[_CONFIG], _MOST_CONFIG))
        about = _json(_member(file, archive, members[_METADATA], _MOST_CONFIG))
        content = _member(file, archive, members[_WEIGHTS], None)
    version = major_of(about.get("keras_version") if isinstance(about, dict) else None)
    model = node_of(told)
    root = hdf5.File(io.BytesIO(content)).root
    return Source(model, version, keras_weights.of_groups(root, model))


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory that `zipfile` would read for long: APPNOTE.TXT of PKWARE, 4.3.16."""
    size = file.seek(0, os.SEEK_END)
    tail = min(size, 22 + 65535)
    file.seek(size - tail)
    content = file.read(tail)
    end = content.rfind(b"PK\5\6")
    if end < 0 or len(content) - end < 22:
        raise ValueError("the end of the zip is missing")
    number = int.from_bytes(content[end + 10 : end + 12], "little")
    length = int.from_bytes(content[end + 12 : end + 16], "little")
    if number > _MOST_MEMBERS or length > _MOST_OF_DIRECTORY:
        raise ValueError(f"it has more than {_MOST_MEMBERS} parts")
    file.seek(0)


def _member(
    file: BinaryIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int | None
) -> bytes:
    """A part of a zip, no larger than what is in the file can be."""
    size = file.seek(0, os.SEEK_END)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed in a way that is not Keras's")
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    bound = size * _MOST_NARROWER + (1 << 20) if most is None else most
    if info.file_size > bound or info.compress_size > size:
        raise ValueError(f"{info.filename} has {info.file_size} bytes, expected at most {bound}")
    with archive.open(info) as member:
        content = member.read(info.file_size)
        if len(content) != info.file_size or member.read(1):
            raise ValueError(f"{info.filename} has another size than it says")
    return content


# .h5


def _of_hdf5(root: hdf5.Group, config: Any) -> Source:
    told = root.attributes.get("model_config")
    if told is not None:
        if config is not None:
            raise ValueError("config is given, and the file has one of its own")
        model = node_of(_json(told))
        stored = root.group("model_weights")
        if stored is None:
            raise ValueError("it has no group model_weights, which a model of Keras has")
        version = major_of(root.attributes.get("keras_version", "2"))
        return Source(model, version, keras_weights.of_names(stored, model))
    legacy = bool(keras_weights.texts(root, "layer_names"))
    if not legacy and root.group("layers") is None and root.group(keras_weights._LAYERS[1]) is None:
        raise ValueError("it is HDF5 and no file of Keras: it has neither a config nor layers")
    if config is None:
        raise ValueError(
            "it has weights alone, which do not tell what the layers are: give config=, the text of"
            " model.to_json(), or save the whole model, model.save('model.keras')"
        )
    told = _json(config) if isinstance(config, str | bytes) else config
    model = node_of(told)
    given = told.get("keras_version") if isinstance(told, dict) else None
    if legacy:
        version = major_of(root.attributes.get("keras_version", given or "2"))
        return Source(model, version, keras_weights.of_names(root, model))
    return Source(model, major_of(given or "3"), keras_weights.of_groups(root, model))


# Texts


def _json(text: str | bytes) -> Any:
    if len(text) > _MOST_CONFIG:
        raise ValueError(f"its JSON has more than {_MOST_CONFIG} bytes")
    return json.loads(text)


def major_of(text: Any) -> int:
    """2 or 3, of a text such as 3.15.1 or 2.2.4-tf."""
    major = str(text).partition(".")[0]
    if major not in ("2", "3"):
        raise ValueError(f"it was written by Keras {str(text)[:20]}, expected 2 or 3")
    return int(major)
