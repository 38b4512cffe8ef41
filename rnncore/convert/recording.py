"""What the framework that a file is from gives for a few inputs: for the model made of it to give.

The framework runs if it is installed. If it is not, or cannot run the file, nothing is recorded,
and what is kept with the model says so and why.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from rnncore.convert import recording_keras, recording_onnx, recording_torch
from rnncore.convert.recording_inputs import NotRecordedError, Run, record
from rnncore.models.recorded import Recorded
from rnncore.models.sequential import Sequential

__all__ = ["recorded_of"]


def recorded_of(
    path: str | os.PathLike[str], model: Sequential, config: str | None = None
) -> Recorded:
    """What the framework of a file gives for a few inputs, some of them with lengths.

    Parameters
    ----------
    path : with a suffix of PyTorch, Keras or ONNX
    model : what the file was converted to
    config : as `rnncore.convert.from_keras` takes it

    Returns
    -------
    Recorded: with no cases where the framework is not installed or cannot run the file; the source
    says so then. The model has not been compared with it yet: `Recorded.check` does that.
    """
    name = os.path.basename(os.fspath(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = _run_of(os.fspath(path), model, config)
            return record(run, model, name)
    except NotRecordedError as why:
        return Recorded(f"{name}; nothing was recorded: {why}", ())


def _run_of(path: str, model: Sequential, config: str | None) -> Run:
    suffix = Path(path).suffix
    if suffix == ".onnx":
        return recording_onnx.run_of(path, model)
    if suffix in (".keras", ".h5"):
        return recording_keras.run_of(path, model, config)
    return recording_torch.run_of(model)
