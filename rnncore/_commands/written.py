"""The files of models that commands write, and whether one can be written."""

import os
from pathlib import Path
from typing import Any

from rnncore._console.command import require_extra

WRITTEN = {".npz": (), ".safetensors": ("safetensors",), ".onnx": ("onnx",)}  # and what by
FLOATS = "and ONNX's recurrent operators have weights of float32"


def check_out(name: str, out: Path, precision: str | None) -> None:
    """Find out what cannot be written before the work, not after; `name` is that of the argument.

    Raises
    ------
    ValueError that says what is in the way; InputError where a library is missing.
    """
    if out.suffix not in WRITTEN:
        expected = " or ".join(WRITTEN)
        raise ValueError(f"{name} is {out}, with the suffix {out.suffix!r}, expected {expected}")
    require_extra(*WRITTEN[out.suffix])
    if out.suffix == ".onnx" and precision is not None:
        raise ValueError(
            f"--precision is {precision} and {name} is {out}, {FLOATS}: leave out one of them"
        )
    if out.exists() and not out.is_file():
        raise ValueError(f"{name} is {out}, which is no file")
    folder = out.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{name} is {out}, and there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{name} is {out}, and nothing can be written to {folder}")


def write(model: Any, out: Path) -> None:
    """Write a model, frozen or not, to a file that `check_out` has let through."""
    if out.suffix != ".onnx":
        model.save(out)
        return
    from rnncore.onnx.export import export

    export(model, out)
