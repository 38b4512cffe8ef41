"""The activation functions of Keras, as cells and as layers of a model here take them.

Formulas: `keras.src.activations` of Keras 3.15, `keras.src.backend` of Keras 2.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnncore.convert import layouts
from rnncore.convert.keras_config import Node, node_of, refusal, shown

Function = tuple[Any, ...]  # a name of `rnncore.models.activation`, and its numbers

# By the words of Keras; a hard sigmoid is not in both versions the same.
_WORDS: Mapping[str, Function] = {
    "linear": ("identity",),
    "sigmoid": ("sigmoid",),
    "tanh": ("tanh",),
    "relu": ("relu",),
    "relu6": ("relu6",),
    "leaky_relu": ("leaky_relu", 0.2),
    "elu": ("elu", 1.0),
    "celu": ("celu", 1.0),
    "selu": ("selu",),
    "gelu": ("gelu",),
    "silu": ("silu",),
    "swish": ("silu",),
    "mish": ("mish",),
    "hard_silu": ("hard_swish",),
    "hard_swish": ("hard_swish",),
    "hard_tanh": ("hard_tanh", -1.0, 1.0),
    "softplus": ("softplus",),
    "softsign": ("softsign",),
    "exponential": ("exponential",),
    "log_sigmoid": ("log_sigmoid",),
    "softmax": ("softmax",),
    "softmax_v2": ("softmax",),
    "log_softmax": ("log_softmax",),
}
# Those that a cell can have, by the names that cells know.
_OF_CELLS = {
    "identity": ("affine", 1.0, 0.0),
    "sigmoid": ("sigmoid",),
    "tanh": ("tanh",),
    "relu": ("relu",),
    "softsign": ("softsign",),
    "softplus": ("softplus",),
    "leaky_relu": ("leakyrelu",),
    "elu": ("elu",),
    "hard_sigmoid": ("hardsigmoid",),
    "thresholded_relu": ("thresholdedrelu",),
}
LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax", "ThresholdedReLU")


def of_option(node: Node, key: str, version: int, default: str | None = None) -> Function:
    """The function that an option of a layer names.

    Raises
    ------
    ValueError for one that there is not here, or that is code of the user's own.
    """
    told = node.config.get(key, default)
    if told is None:
        return ("identity",)
    if isinstance(told, Mapping):
        if told.get("class_name") in (*LAYERS, "Activation"):
            return of_layer(node_of(told), version)
        told = told.get("config")
        if not isinstance(told, str):
            raise refusal(node, f"has {key} of a kind that is not known")
        raise refusal(node, f"has {key} {shown(told)}, a function whose code is not in the file")
    if told == "hard_sigmoid":
        return ("hard_sigmoid", *layouts.hard_sigmoid(library(version))[1:])
    if not isinstance(told, str) or told not in _WORDS:
        raise refusal(node, f"has {key} {shown(told)}, which there is not here")
    return _WORDS[told]


def of_layer(node: Node, version: int) -> Function:
    """The function that a layer is, such as a LeakyReLU."""
    if node.kind == "Activation":
        return of_option(node, "activation", version)
    if node.kind == "LeakyReLU":
        return ("leaky_relu", node.number("negative_slope" if version > 2 else "alpha", 0.3))
    if node.kind == "ELU":
        return ("elu", node.number("alpha", 1.0))
    if node.kind == "ThresholdedReLU":
        return ("thresholded_relu", node.number("theta", 1.0))
    if node.kind == "Softmax":
        if node.config.get("axis", -1) not in (-1, [-1]):
            raise refusal(node, f"has axis {shown(node.config['axis'])}, expected -1, the last")
        return ("softmax",)
    slope, threshold = node.number("negative_slope", 0.0), node.number("threshold", 0.0)
    limit = None if node.config.get("max_value") is None else node.number("max_value")
    if slope == 0 and threshold == 0:
        if limit is not None and limit < 0:
            raise refusal(node, f"has max_value {limit}, expected at least 0")
        return ("relu",) if limit is None else ("hard_tanh", 0.0, limit)
    if limit is None and threshold == 0:
        return ("leaky_relu", slope)
    if limit is None and slope == 0:
        return ("thresholded_relu", threshold)
    raise refusal(node, "has two of negative_slope, max_value and threshold, expected one of them")


def of_cell(node: Node, key: str, version: int, default: str | None = None) -> Function:
    """The function of an option of a recurrent layer, as `activations` takes it.

    Raises
    ------
    ValueError for one that no cell has.
    """
    name, *numbers = of_option(node, key, version, default)
    if name not in _OF_CELLS:
        raise refusal(node, f"has {key} {name!r}, expected one of {', '.join(_OF_CELLS)}")
    return (*_OF_CELLS[name], *numbers)


def library(version: int) -> str:
    """The row of the table of layouts."""
    return "keras" if version > 2 else "keras2"
