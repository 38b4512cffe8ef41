"""`rnncore convert`: a file of PyTorch, Keras, ONNX or rnncore as one of rnncore, or of ONNX."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from rnncore._commands.model_lines import (
    line,
    off_by,
    precision_of,
    recorded_in,
    recorded_lines,
    refused,
    table,
)
from rnncore._commands.written import FLOATS, check_out, write
from rnncore._console.streams import tell
from rnncore.convert.by_suffix import FileRead, read_file
from rnncore.convert.recording import recorded_of
from rnncore.layers.frozen import Frozen
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.models.freezing import FrozenModel
from rnncore.models.members import changed
from rnncore.models.part import Part
from rnncore.models.recorded import Recorded
from rnncore.models.sequential import Sequential


def convert(arguments: argparse.Namespace) -> int:
    source, out = Path(arguments.model), Path(arguments.out)
    with refused():
        check_out("OUT", out, arguments.precision)
        config = _text_of(arguments.config)
        read = read_file(source, batch_first=arguments.batch_first, config=config)
        size = source.stat().st_size
        model = _whole(source, read)
        if out.suffix == ".onnx":
            model = _plain(source, model)
        lines = [line("Read", f"{source}, {read.what}, {size:,} bytes"), *table(model)]
        if not read.own:
            record = not arguments.no_record
            model.recorded = _recorded(source, model, config, record=record)
        lines += _recorded_lines(model)
        model = _frozen(source, model, arguments.precision)
        if arguments.precision is not None:
            lines += _frozen_lines(model)
        write(model, out)
    lines.append(line("Written", f"{out}, {out.stat().st_size:,} bytes"))
    print("\n".join(lines), flush=True)
    return _replay(out, model) if out.suffix == ".onnx" else 0


# What came, and where it goes


def _text_of(path: str | None) -> str | None:
    if path is None:
        return None
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path} is no file")
    return Path(path).read_text("utf-8")


def _whole(source: Path, read: FileRead) -> Any:
    """A model, which can hold what was recorded; of rnncore's own files what they hold."""
    model = read.model
    if not isinstance(model, Sequential | FrozenModel | RecurrentLayer | Frozen | Part):
        raise ValueError(
            f"{source} holds {type(model).__name__}, which no file of rnncore can hold by itself,"
            " expected a layer or a model"
        )
    return model if read.own or isinstance(model, Sequential) else Sequential(model)


def _plain(source: Path, model: Any) -> Any:
    """A model that is not frozen, which files of ONNX are made of."""
    precision = precision_of(model)
    if precision is not None:
        raise ValueError(f"{source} is frozen at {precision}, {FLOATS}")
    model = model.model if isinstance(model, FrozenModel) else model
    return changed(model, lambda leaf: leaf._layer if isinstance(leaf, Frozen) else leaf)


def _frozen(source: Path, model: Any, precision: str | None) -> Any:
    if precision is None:
        return model
    if not isinstance(model, Sequential | RecurrentLayer):
        raise ValueError(
            f"--precision is {precision}, and {source} holds {type(model).__name__}, expected a"
            " model or a recurrent layer that is not frozen"
        )
    return model.freeze(precision)


# What its source gives


def _recorded(source: Path, model: Sequential, config: str | None, *, record: bool) -> Recorded:
    """What the source gives for a few inputs, once the model has given the same."""
    if not record:
        return Recorded(f"{source.name}; nothing was recorded: --no-record", ())
    found = recorded_of(source, model, config)
    try:
        found.check(model)
    except ValueError as error:
        raise ValueError(f"{source}: {error}; --no-record converts it all the same") from error
    return found


def _recorded_lines(model: Any) -> list[str]:
    recorded = recorded_in(model)
    if recorded is None:
        return [line("Recorded", "nothing: the file has nothing recorded")]
    return recorded_lines(recorded, off_by(recorded, model))


def _frozen_lines(model: Any) -> list[str]:
    """What the precision costs, as far as it is known."""
    recorded = recorded_in(model)
    told = f"{model.precision}, weights of {model.nbytes:,} bytes"
    if recorded is not None and recorded.cases:
        told += f"; from what was recorded {off_by(recorded, model)}"
    return [line("Frozen", told)]


def _replay(out: Path, model: Any) -> int:
    """Run a file of ONNX that was written; 1 if something else comes out of it."""
    whole = model if isinstance(model, Sequential) else Sequential(model)
    found = recorded_of(out, whole)
    try:
        found.check(whole)
    except ValueError as error:
        tell(f"rnncore convert: {out}: {error}")
        return 1
    told = [found.source] if not found.cases else [found.source, off_by(found, whole)]
    print(line("Replayed", ", ".join(told)))
    return 0
