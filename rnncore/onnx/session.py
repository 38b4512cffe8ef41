"""Sessions: a model of ONNX, made ready once and run as often as one likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnncore._check import some
from rnncore.convert.onnx_file import library, read
from rnncore.convert.onnx_graph import Port, graph_of
from rnncore.onnx.program import Program

__all__ = ["NodeArg", "Session"]


class NodeArg(NamedTuple):
    """An input or an output of a model, as onnxruntime describes it.

    Attributes
    ----------
    name : what it is called
    shape : a list of sizes, of names of sizes, and None for any size; None if nothing is said
    type : such as "tensor(float)" or "tensor(int64)"
    """

    name: str
    shape: list[int | str | None] | None
    type: str


class Session:
    """A model of ONNX that runs here: recurrent nodes and products compiled, all others in NumPy.

    RNN, GRU and LSTM run with all that the operators have (both directions, layout 1, clip,
    activations, sequence_lens, peepholes, coupled gates), and so do Loop and Scan whose body is
    such a cell; MatMul, Gemm and Conv with constant weights are products of the compiled core.
    Weights are packed once. All other nodes run in NumPy, most by the evaluator of the package
    onnx. Threads may share a session.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        Tensors may lie in files beside the model, or in folders below it.

    Raises
    ------
    FileNotFoundError, or another OSError, if the file cannot be read; ValueError for what is no
    model of ONNX or is damaged, and for a node that cannot be run, which it names; ImportError
    where the package onnx is not installed.

    Examples
    --------
    >>> import rnncore.onnx
    >>> from rnncore.layers import GRU
    >>> layer, x = GRU(3, 4, rng=0), np.ones((5, 2, 3), np.float32)
    >>> session = Session(rnncore.onnx.export(layer))
    >>> session.get_inputs()
    [NodeArg(name='x', shape=['T', 'B', 3], type='tensor(float)')]
    >>> (y,) = session.run(None, {"x": x})
    >>> np.array_equal(y, layer(x)[0])
    True
    """

    def __init__(self, model: Any) -> None:
        file = read(model)
        graph, opsets = graph_of(file)
        try:
            self._program = Program(graph, opsets)
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from error
        self._inputs, self._outputs = graph.inputs, graph.outputs
        self._checks = [_InputCheck(port) for port in graph.inputs]
        self._places = {port.name: k for k, port in enumerate(graph.outputs)}

    def get_inputs(self) -> list[NodeArg]:
        """What `run` takes."""
        return [_described(port) for port in self._inputs]

    def get_outputs(self) -> list[NodeArg]:
        """What `run` gives."""
        return [_described(port) for port in self._outputs]

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]
    ) -> list[np.ndarray]:
        """The outputs of these names, by default all, for these inputs.

        Parameters
        ----------
        output_names : names of outputs, in the order wanted; None for all
        input_feed : an array for each input

        Returns
        -------
        list of arrays, the caller's own. Nothing that comes in is written to.

        Raises
        ------
        ValueError for a name that there is not, an input that is missing or misshapen, and for a
        node that cannot be run on these inputs; TypeError for an input of another dtype.
        """
        wanted = self._wanted(output_names)
        if not isinstance(input_feed, Mapping):
            raise TypeError(
                f"input_feed is of type {type(input_feed).__name__}, expected names and arrays"
            )
        given = [check(input_feed) for check in self._checks]
        if len(input_feed) != len([value for value in given if value is not None]):
            names = [port.name for port in self._inputs]
            unknown = [str(name) for name in input_feed if name not in names]
            if unknown:
                raise ValueError(f"input_feed has {some(unknown)}, expected {some(names)}")
        found = self._program(*given)
        taken = {id(value) for value in given}  # an output may be an input, or two be one
        return [_own(found[place], taken) for place in wanted]

    def _wanted(self, names: Sequence[str] | None) -> list[int]:
        if names is None:
            return list(range(len(self._outputs)))
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise TypeError(
                f"output_names is of type {type(names).__name__}, expected None or a list of names"
            )
        unknown = [str(name) for name in names if name not in self._places]
        if unknown:
            raise ValueError(
                f"output_names has {some(unknown)}, expected {some(list(self._places))}"
            )
        return [self._places[name] for name in names]

    def __repr__(self) -> str:
        inputs = ", ".join(port.name for port in self._inputs)
        return f"Session({inputs} -> {', '.join(self._places)})"


class _InputCheck:
    """What an input has to be: its dtype, its number of axes, and those sizes that are given."""

    def __init__(self, port: Port) -> None:
        self._name, self._shape = port.name, port.shape
        self._optional = port.type.HasField("optional_type")
        self._dtype = None
        if port.tensor is not None and port.tensor.elem_type:
            try:
                self._dtype = library().helper.tensor_dtype_to_np_dtype(port.tensor.elem_type)
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"input {port.name!r} has data type {port.tensor.elem_type}, which there is not"
                ) from error

    def __call__(self, feed: Mapping[str, Any]) -> Any:
        if self._name not in feed:
            if self._optional:
                return None
            raise ValueError(f"input_feed has no {self._name!r}, which the model reads")
        value = feed[self._name]
        if self._dtype is None:
            return value
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            raise TypeError(
                f"{self._name} is of type {type(value).__name__}, expected a numpy array of"
                f" {self._dtype}"
            )
        texts = self._dtype.kind == "O" and value.dtype.kind in "UO"
        if value.dtype != self._dtype and not texts:
            raise TypeError(f"{self._name} has dtype {value.dtype}, expected {self._dtype}")
        if self._shape is not None and not self._fits(value.shape):
            expected = ", ".join("?" if size is None else str(size) for size in self._shape)
            raise ValueError(f"{self._name} has shape {value.shape}, expected ({expected})")
        return value

    def _fits(self, shape: tuple[int, ...]) -> bool:
        assert self._shape is not None
        return len(shape) == len(self._shape) and all(
            not isinstance(want, int) or have == want
            for have, want in zip(shape, self._shape, strict=True)
        )


def _own(value: Any, taken: set[int]) -> Any:
    """An array of the caller's: views, inputs and constants, which are read-only, are copied."""
    if not isinstance(value, np.ndarray):
        return value
    owned = value.base is None and value.flags.writeable and value.flags.c_contiguous
    if not owned or id(value) in taken:
        return np.array(value, order="C")
    taken.add(id(value))
    return value


def _described(port: Port) -> NodeArg:
    return NodeArg(port.name, port.shape, _type_text(port.type))


def _type_text(type_: Any) -> str:
    """As onnxruntime writes it."""
    if type_.HasField("tensor_type"):
        kind = library().TensorProto.DataType
        number = type_.tensor_type.elem_type
        name = kind.Name(number).lower() if number in kind.values() else "undefined"
        return f"tensor({name})"
    if type_.HasField("sequence_type"):
        return f"seq({_type_text(type_.sequence_type.elem_type)})"
    if type_.HasField("optional_type"):
        return f"optional({_type_text(type_.optional_type.elem_type)})"
    return "undefined"
