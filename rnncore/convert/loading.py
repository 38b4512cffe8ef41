"""`load`: rnncore's own files, and what else is a model by its suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rnncore.layers import storage


def load(path: storage.Place, *, verify: bool = True) -> Any:
    """Make the layer or model anew that a file holds.

    Of a .npz or .safetensors that `save` wrote it has the same options, dtype and parameters; its
    random generator is a new one. Nothing is drawn, and nothing is made before names, shapes and
    sizes of all that is in the file were found to be right. A .onnx is read as `from_onnx` does.

    Parameters
    ----------
    path : with the suffix .npz, .safetensors or .onnx, or a file that is open for reading bytes
    verify : whether a model that was converted has to give what was recorded where it was made

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be read; ValueError, which names the
    file, if it is damaged, comes from elsewhere or from a newer version, holds no layer, or gives
    something else than was recorded; ImportError for a form whose library is not installed.
    """
    if isinstance(path, str | os.PathLike) and Path(os.fsdecode(path)).suffix == ".onnx":
        from rnncore.convert.from_onnx import from_onnx

        return from_onnx(path)
    return storage.load(path, verify=verify)
