"""The files of models that commands write, and whether one can be written."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rnncore._console.command import require_extra

WRITTEN = {".npz": (), ".safetensors": ("safetensors",), ".onnx": ("onnx",)}  # and what by
FLOATS = "and ONNX's recurrent operators have weights of float32"


def check_out(name: str, out: Path, precision: str | None, made: Path | None = None) -> None:
    """Find out what cannot be written before the work, not after; `name` is that of the argument.

    `made` is a folder that need not be there yet.

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
    if made is not None and folder == made.resolve():
        return
    if not folder.is_dir():
        raise ValueError(f"{name} is {out}, and there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{name} is {out}, and nothing can be written to {folder}")


def check_kind(name: str, out: Path, model: Any) -> None:
    """Find out whether a model can be in such a file: by one that is gone at once."""
    with TemporaryDirectory() as folder:
        try:
            write(model, Path(folder) / f"model{out.suffix}")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} is {out}: {error}") from error


def write(model: Any, out: Path) -> None:
    """Write a model, frozen or not, to a file that `check_out` has let through."""
    if out.suffix != ".onnx":
        model.save(out)
        return
    from rnncore.onnx.export import export

    export(model, out)
