"""Layers and models as files of ONNX."""

from __future__ import annotations

import os
import secrets
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rnncore import _check
from rnncore._version import __version__
from rnncore.convert.onnx_file import MOST_BYTES, library
from rnncore.convert.onnx_made import below
from rnncore.layers.frozen import Frozen
from rnncore.models import members
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.chain import Chain
from rnncore.models.embedding import Embedding
from rnncore.models.freezing import FrozenModel
from rnncore.models.part import Part
from rnncore.onnx.export_layers import layer_nodes
from rnncore.onnx.export_nodes import Value, Writer

__all__ = ["export"]

_OLDEST, _NEWEST = 14, 22
_IR = 8  # what readers of these opsets take; later ones only add


def export(
    model: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 17,
    lengths: bool = False,
    state: bool = False,
) -> Any:
    """A layer or a model as a model of ONNX, of any number of steps and rows.

    Every recurrent layer of a stack is one node RNN, GRU or LSTM, with both directions, and all
    options that those have: activations, clip, where a GRU resets, coupled gates, peepholes that
    are "current". Dropout and zoneout are off. The file reads and gives what the model does: x
    (T, B, I) or, with `batch_first`, (B, T, I); ids in int64.

    Parameters
    ----------
    model : a recurrent layer, a `Sequential`, or a layer of `rnncore.models`
    path : where to write the file; None writes none
    opset : version of the operators, 14 to 22
    lengths : whether the file has an input ``lengths`` (B,), int32
        Past its length a row's y is 0, as the model's is.
    state : whether the file has the initial states as inputs and the final ones as outputs
        They are ``h0`` and ``hn``, (L*D, B, H), of an LSTM also ``c0`` and ``cn``; where a model
        has several recurrent layers ``rnn.h0`` and so on, by the name of the layer. For a stream of
        single steps.

    Returns
    -------
    onnx.ModelProto, checked by `onnx.checker`. Of recurrent layers in float64 with a UserWarning:
    onnxruntime runs those in float32 alone; `Session` runs both.

    Raises
    ------
    TypeError for what is no layer or model; ValueError for one that ONNX's operators do not have,
    such as a projected LSTM, and for one of more than 2 GiB; ImportError where onnx is not
    installed; OSError as the file system has it.

    Examples
    --------
    >>> from rnncore.layers import LSTM
    >>> file = export(LSTM(3, 4, num_layers=2, rng=0), state=True)
    >>> [node.op_type for node in file.graph.node if node.op_type == "LSTM"]
    ['LSTM', 'LSTM']
    >>> [port.name for port in file.graph.input], [port.name for port in file.graph.output]
    (['x', 'h0', 'c0'], ['y', 'hn', 'cn'])
    """
    library()
    opset = _check.size("opset", opset, minimum=_OLDEST, maximum=_NEWEST)
    lengths, state = _check.flag("lengths", lengths), _check.flag("state", state)
    model = _plain(model)
    writer = Writer(opset, np.dtype(np.float32) if model.dtype is None else model.dtype)
    _warn_of_float64(model)
    _check_params(model)
    x = _inputs(writer, model, lengths, state)
    y = layer_nodes(writer, model, x, "" if isinstance(model, Chain) else "0")
    if lengths and "T" in y.axes:
        y = writer.masked(y, "end")
    file = _model(writer, y, x, _states(model) if state else [])
    if path is not None:
        _write(file, Path(os.fsdecode(path)))
    return file


def _warn_of_float64(model: Any) -> None:
    if model.dtype == np.float64 and _states(model):
        warnings.warn(
            "model has recurrent layers of float64, which onnxruntime does not run: its RNN, GRU"
            " and LSTM compute in float32 alone",
            UserWarning,
            stacklevel=3,
        )


def _plain(model: Any) -> Any:
    """A layer or model, of a frozen one that which it was made of."""
    if isinstance(model, FrozenModel):
        model = model.model
    if isinstance(model, members.Composite | Frozen):
        model = members.changed(model, _thawed)
    known = isinstance(model, members.Composite | Part) or members.is_recurrent(model)
    if not known:
        raise TypeError(
            f"model is of type {type(model).__name__}, expected a layer or a model of rnncore"
        )
    return model


def _thawed(layer: Any) -> Any:
    """What a frozen layer was made of; others as they are."""
    if not isinstance(layer, Frozen):
        return layer
    if layer.precision is not None:
        raise ValueError(
            f"model has precision {layer.precision!r}, expected None: ONNX's recurrent nodes have"
            " float weights"
        )
    return layer._layer


def _check_params(model: Any) -> None:
    """Users may have put anything among the parameters."""
    for prefix, layer in members.leaves(model):
        own = getattr(layer, "_plan", None)
        if own is not None:
            own.checked(layer.params)
        elif layer.params:
            _check.parameters(layer.params, layer._shapes, dtype=layer.dtype, owner=prefix or "it")


def _inputs(writer: Writer, model: Any, lengths: bool, state: bool) -> Value:
    """The inputs of the graph: x, the initial states, the lengths."""
    onnx = library()
    make, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    steps = ["B", "T"] if _batch_first(model) else ["T", "B"]
    own = kinds.DOUBLE if writer.dtype == np.float64 else kinds.FLOAT
    axes = "".join(steps)
    if isinstance(_first(model), Embedding):
        writer.inputs.append(make("x", kinds.INT64, steps))
        x = Value("x", axes)
    else:
        writer.inputs.append(make("x", own, [*steps, _width(_first(model))]))
        x = Value("x", axes + "C")
    if state:
        for at, layer, prefix in _states(model):
            shapes = [
                [layer.num_layers * layer.num_directions, "B", width] for width in layer._widths
            ]
            names = [f"{prefix}{stem}0" for stem in ("h", "c")[: len(shapes)]]
            writer.state_inputs[at] = names
            for name, shape in zip(names, shapes, strict=True):
                writer.inputs.append(make(name, own, shape))
    if lengths:
        writer.lengths = "lengths"
        writer.inputs.append(make("lengths", kinds.INT32, ["B"]))
    for name in ("x", "y", "lengths", *(n for own in writer.state_inputs.values() for n in own)):
        writer.name(name)
    return x


def _states(model: Any) -> list[tuple[str, Any, str]]:
    """Every recurrent layer: where it is, itself, and what its states' names begin with."""
    found: list[tuple[str, Any, str]] = []

    def look(member: Any, at: str, called: str) -> None:
        if members.is_recurrent(member):
            found.append((at, member, called))
        elif isinstance(member, Bidirectional):
            found.append((at, member.layer, called))
        elif isinstance(member, Chain):
            for name, own in zip(member.names, member, strict=True):
                look(own, below(at, name), f"{called}{name}.")

    look(model, "" if isinstance(model, Chain) else "0", "")
    alone = len(found) == 1
    return [(at, layer, "" if alone else called) for at, layer, called in found]


def _first(model: Any) -> Any:
    """The layer that reads x."""
    while isinstance(model, Chain | Bidirectional):
        model = model.layer if isinstance(model, Bidirectional) else model[0]
    return model


def _batch_first(model: Any) -> bool:
    return bool(getattr(model, "batch_first", False))


def _width(layer: Any) -> int | str:
    for name in ("input_size", "in_features", "in_channels", "size"):
        if getattr(layer, name, None) is not None:
            return int(getattr(layer, name))
    return "C"


def _model(writer: Writer, y: Value, x: Value, states: list[tuple[str, Any, str]]) -> Any:
    onnx = library()
    make, helper = onnx.helper.make_tensor_value_info, onnx.helper
    kind = onnx.TensorProto.DOUBLE if writer.dtype == np.float64 else onnx.TensorProto.FLOAT
    order = "".join(axis for axis in x.axes if axis in y.axes and axis != "C") + "C"
    y = writer.turned(y, order, "end") if sorted(order) == sorted(y.axes) else y
    writer.nodes.append(helper.make_node("Identity", [y.name], ["y"], "end/y"))
    sizes = {"T": None, "B": "B", "C": None}
    outputs = [make("y", kind, [sizes[axis] for axis in y.axes])]
    for at, layer, prefix in states:
        for stem, value, width in zip("hc", writer.state_outputs[at], layer._widths, strict=False):
            name = f"{prefix}{stem}n"
            writer.nodes.append(helper.make_node("Identity", [value], [name], f"end/{name}"))
            rows = layer.num_layers * layer.num_directions
            outputs.append(make(name, kind, [rows, "B", width]))
    size = sum(array.nbytes for array in writer.constants.values())
    if size > MOST_BYTES - (1 << 20):
        raise ValueError(f"model takes {size:,} bytes, expected less than {MOST_BYTES:,}")
    constants = [
        onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        for name, array in writer.constants.items()
    ]
    graph = helper.make_graph(writer.nodes, "rnncore", writer.inputs, outputs, constants)
    file = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", writer.opset)],
        ir_version=_IR,
        producer_name="rnncore",
        producer_version=__version__,
    )
    onnx.checker.check_model(file, full_check=True)
    return file


def _write(file: Any, place: Path) -> None:
    """Either the whole file is there in the end or what was there before."""
    if place.suffix != ".onnx":
        raise ValueError(f"{place} has the suffix {place.suffix!r}, expected '.onnx'")
    place = Path(os.path.realpath(place))
    beside = place.with_name(f".rnncore-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as new:
            new.write(file.SerializeToString())
            new.flush()
            os.fsync(new.fileno())
        os.replace(beside, place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise type(error)(error.errno, error.strerror, str(place)) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
