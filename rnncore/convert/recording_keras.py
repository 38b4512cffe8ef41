"""A file of Keras, run by Keras to compare with what was made of it.

A file may name any class and function as what draws a weight, or as what limits it, and Keras would
look for it. So Keras is handed a file only where it names Keras's own, of the kinds that a model
here was made of.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnncore.convert import keras_files
from rnncore.convert.keras_config import MODELS, Node
from rnncore.convert.recording_inputs import (
    Inputs,
    NotRecordedError,
    Run,
    inputs_of,
    skips_steps,
    told,
)
from rnncore.models.sequential import Sequential

_BACKENDS = ("torch", "jax", "tensorflow", "numpy")  # the first that is installed, if none is set
_ROOMS = ("initializers", "regularizers", "constraints", "dtype_policies")
_DEEPEST = 100


def run_of(path: str, model: Sequential, config: str | None = None) -> Run:
    """A file of Keras.

    Raises
    ------
    NotRecordedError without Keras or a backend of it, for a file that Keras cannot load or that
    names what is not Keras's, and for one that computes in half precision.
    """
    keras = _library()
    with open(path, "rb") as file:
        node = keras_files.read(file, config).model
    _check_names(keras, node)
    try:
        loaded = _loaded(keras, path, config)
        shape = tuple(loaded.inputs[0].shape)
        stateful = [layer for layer in loaded.layers if hasattr(layer, "reset_states")]
        narrow = {str(layer.compute_dtype) for layer in loaded.layers} - {"float32", "float64"}
    except Exception as error:  # of whatever kind
        raise NotRecordedError(
            f"Keras {keras.__version__} cannot load it: {told(error)}"
        ) from error
    if any("16" in name for name in narrow):
        raise NotRecordedError("it computes in half precision, and rounds where float32 does not")

    def call(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        for layer in stateful:
            if getattr(layer, "stateful", False):
                layer.reset_states()
        y = loaded(x, training=False)
        while isinstance(y, list | tuple):
            y = y[0]
        found: np.ndarray = keras.ops.convert_to_numpy(keras.ops.stop_gradient(y))
        return found

    name = f"Keras {keras.__version__} on {keras.backend.backend()}"
    return Run(name, _inputs(model, shape), call)


def _inputs(model: Sequential, shape: tuple[Any, ...]) -> Inputs:
    whole = inputs_of(model)
    axes = ("B", "T", "F")[: len(whole.axes)]
    if len(shape) == len(axes) - 1:
        axes = tuple(axis for axis in axes if axis != "T")
    if len(shape) != len(axes):
        raise NotRecordedError(f"its x has {len(shape)} axes")
    fixed = {a: n for a, n in zip(axes, shape, strict=True) if a != "F" and n is not None}
    return Inputs(axes, fixed, skips_steps(model))


def _library() -> Any:
    if "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ:
        there = [name for name in _BACKENDS if importlib.util.find_spec(name)]
        os.environ["KERAS_BACKEND"] = there[0] if there else "numpy"
    try:
        keras: Any = importlib.import_module("keras")
        keras.ops.zeros(1)  # which asks for the backend
    except Exception as error:  # of a backend that is not there, too
        if importlib.util.find_spec("keras") is None:
            raise NotRecordedError("Keras is not installed") from error
        raise NotRecordedError(f"Keras does not run here: {told(error)}") from error
    return keras


def _loaded(keras: Any, path: str, config: str | None) -> Any:
    if config is None:
        options = {"safe_mode": True} if Path(path).suffix == ".keras" else {}
        return keras.models.load_model(path, compile=False, **options)
    model = keras.models.model_from_json(config)
    model.load_weights(path)
    return model


# What a file names


def _check_names(keras: Any, node: Node) -> None:
    kinds = {"InputLayer", "StackedRNNCells", *MODELS}

    def collect(one: Node) -> None:
        kinds.add(one.kind)
        for inner in one.inner:
            collect(inner)

    collect(node)
    for name, module in _named(node.config, 0):
        own = module is None or module.split(".")[0] in ("keras", "tf_keras")
        if not own or not (name in kinds or _draws_or_limits(keras, name)):
            where = name if module is None else f"{module}.{name}"
            raise NotRecordedError(f"it names {where[:100]}, for which Keras would look")


def _named(value: Any, depth: int) -> Any:
    """The classes in a config, each with its module."""
    if depth > _DEEPEST:
        raise NotRecordedError("its config is too deep")
    if isinstance(value, Mapping):
        if "class_name" in value:
            name, module = value["class_name"], value.get("module")
            yield str(name), None if module is None else str(module)
        for inner in value.values():
            yield from _named(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named(inner, depth + 1)


def _draws_or_limits(keras: Any, name: str) -> bool:
    """Whether this is a class of an initializer, a regularizer, a constraint or a dtype."""
    if name in ("__keras_tensor__", "__tuple__"):
        return True
    return any(inspect.isclass(getattr(getattr(keras, room, None), name, None)) for room in _ROOMS)
