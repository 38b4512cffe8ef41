"""`rnncore info`: how rnncore runs here, or what a file of a model holds."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import rnncore
from rnncore._commands.model_lines import (
    line,
    off_by,
    precision_of,
    recorded_in,
    recorded_lines,
    refused,
    table,
)
from rnncore._console.streams import tell
from rnncore.convert.by_suffix import FileRead, read_file
from rnncore.language_model import KIND
from rnncore.layers import storage
from rnncore.models.freezing import FrozenModel

_MOST_OPERATORS = 12  # that are named


def info(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        rnncore.show_config()
        return 0
    path = Path(arguments.model)
    with refused():
        found = _language_model(path) or _graph(path)
        if isinstance(found, FileRead):
            return _model(path, found)
    for text in found:
        print(text)
    return 0


def _model(path: Path, read: FileRead) -> int:
    """Tell of a layer or a model; 1 if it does not give here what was recorded."""
    print(line("File", f"{path}, {read.what}, {path.stat().st_size:,} bytes"))
    for text in table(read.model):
        print(text)
    print(line("Precision", _precision(read.model)))
    recorded = recorded_in(read.model)
    if not read.own:
        return 0
    if recorded is None:
        print(line("Recorded", "nothing: it was not converted, or by code and not this command"))
        return 0
    for text in recorded_lines(recorded, f"here {off_by(recorded, read.model)}"):
        print(text)
    if precision_of(read.model) is not None:
        return 0  # narrow weights give something else, by what is told
    try:
        recorded.check(read.model)
    except ValueError as error:
        tell(f"rnncore info: {path}: {error}")
        return 1
    return 0


def _precision(model: Any) -> str:
    """Of the numbers that a model computes with."""
    dtype = (model.model if isinstance(model, FrozenModel) else model).dtype
    name = "of x: there are no parameters" if dtype is None else dtype.name
    precision = precision_of(model)
    if precision is None:
        return name
    return f"{precision} in recurrent layers, {name} elsewhere; weights of {model.nbytes:,} bytes"


def _graph(path: Path) -> FileRead | list[str]:
    """A file as the layers in it; of ONNX its graph, where that is no chain of layers."""
    try:
        return read_file(path, verify=False)
    except ValueError as error:
        if path.suffix != ".onnx":
            raise
        reason = error
    from rnncore.convert.onnx_file import read
    from rnncore.convert.onnx_graph import graph_of
    from rnncore.onnx.session import Session

    session = Session(path)  # what is no model at all is refused here
    graph, opsets = graph_of(read(path))
    lines = [line("File", f"{path}, a model of ONNX, {path.stat().st_size:,} bytes")]
    for word, ports in (("Input", session.get_inputs()), ("Output", session.get_outputs())):
        for port in ports:
            shape = "?" if port.shape is None else ", ".join(str(n or "?") for n in port.shape)
            lines.append(line(word, f"{port.name} {port.type} ({shape})"))
    counts = Counter(node.op for node in graph.nodes).most_common()
    named = ", ".join(f"{count} {op}" for op, count in counts[:_MOST_OPERATORS])
    more = f" and {len(counts) - _MOST_OPERATORS} more" if len(counts) > _MOST_OPERATORS else ""
    numbers = sum(value.size for value in graph.constants.values())
    return [
        *lines,
        line("Nodes", named + more),
        line("Numbers", f"{numbers:,} in constants, opset {opsets['']}"),
        line("Layers", f"none: {str(reason).removeprefix(f'{path}: ')}"),
    ]


def _language_model(path: Path) -> list[str]:
    """What `rnncore train` writes is no layer and no model of layers."""
    if path.suffix != ".npz":
        return []
    with storage.opened(path) as stored:
        if stored.kind != KIND:
            return []
        sizes = {name: array.shape for name, array in stored.described().items()}
        options = stored.options.get("model")
    return [
        line("File", f"{path}, a {KIND} of `rnncore train`, {path.stat().st_size:,} bytes"),
        line("Options", str(options)[:500]),
        line("Arrays", f"{len(sizes)}"),
    ]
