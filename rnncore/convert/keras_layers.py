"""The layers of Keras, class by class, as those of a model here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnncore.convert import keras_activations, keras_recurrent, made
from rnncore.convert.keras_chain import Chain
from rnncore.convert.keras_config import MODELS, Node, refusal, shown
from rnncore.convert.keras_masks import HELD
from rnncore.convert.keras_weights import RECURRENT
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool


def add(chain: Chain, node: Node) -> None:
    """Put what a layer of Keras does behind the layers of `chain`.

    Raises
    ------
    ValueError, which names the layer and its class, for what does not fit.
    """
    if node.kind in MODELS:
        for inner in node.order:
            add(chain, inner)
        return
    make = _MAKERS.get(node.kind)
    if make is None:
        hint = _HINTS.get(node.kind, "there is no such layer here")
        raise refusal(node, f"does not fit: {hint}")
    _check_policy(node)
    if not chain.parts and not chain.axes:
        _begin(chain, node)
    make(chain, node)


# What comes


def _input(chain: Chain, node: Node) -> None:
    if node.flag("sparse") or node.flag("ragged"):
        raise refusal(node, "is sparse or ragged, expected arrays")


def _begin(chain: Chain, node: Node) -> None:
    """What the model reads, by its first layer that tells."""
    build = node.config.get("build_config")
    shape = node.config.get("batch_shape", node.config.get("batch_input_shape"))
    if shape is None and isinstance(build, Mapping):
        shape = build.get("input_shape")
    if not isinstance(shape, list | tuple) or not all(n is None or type(n) is int for n in shape):
        chain.ids = node.kind == "Embedding"
        return
    chain.axes = len(shape)
    whole = node.kind == "InputLayer" and str(node.config.get("dtype")).startswith(("int", "uint"))
    if node.kind == "Embedding" or whole:
        chain.ids = True
        return
    if len(shape) not in (2, 3):
        raise refusal(node, f"reads arrays of {len(shape)} axes, expected (B, T, I) or (B, I)")
    chain.steps, chain.width = len(shape) == 3, shape[-1]


def _check_policy(node: Node) -> None:
    """Numbers are widened; those that are quantised are something else."""
    told = node.config.get("dtype")
    if isinstance(told, Mapping):
        config = told.get("config")
        told = config.get("name") if isinstance(config, Mapping) else None
    known = ("float", "bfloat", "mixed_", "int", "uint", "bool")
    if node.config.get("quantization_config") or (
        told is not None
        and not (isinstance(told, str) and told.startswith(known) and "_from_" not in told)
    ):
        raise refusal(node, f"has the dtype policy {shown(told)}, and is quantised")


# By the step


def _embedding(chain: Chain, node: Node) -> None:
    if chain.parts or chain.axes > 2:
        raise refusal(node, "reads numbers that are no ids: it has to be the first layer")
    (weight,) = chain.arrays(node)
    if weight.ndim != 2:
        raise refusal(node, f"has a weight of shape {weight.shape}, expected two axes")
    ids, width = weight.shape
    chain.add(
        node, made.part(Embedding, {"weight": weight}, num_embeddings=ids, embedding_dim=width)
    )
    chain.ids, chain.width, chain.steps = False, width, chain.axes == 2
    if node.flag("mask_zero"):
        chain.mask.made_of_ids(node)


def _dense(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    function = keras_activations.of_option(node, "activation", chain.version)
    kernel, *bias = chain.arrays(node)
    I = chain.width_of(node, kernel, 0)
    if kernel.ndim != 2 or any(b.shape != kernel.shape[1:] for b in bias):
        raise refusal(node, f"has a kernel of shape {kernel.shape}, which is none of a Dense")
    params = {"weight": kernel.T, "bias": bias[0] if bias else None}
    chain.add(
        node,
        made.part(Linear, params, in_features=I, out_features=kernel.shape[1], bias=bool(bias)),
    )
    chain.width = kernel.shape[1]
    _function(chain, node, function)


def _function(chain: Chain, node: Node, function: Any, what: str = "activation") -> None:
    if function != ("identity",):
        chain.add(node, Activation(function if len(function) > 1 else function[0]), what)


def _activation(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    if node.kind == "Softmax" and chain.mask.padding is not None:
        raise refusal(node, "has a mask, by which it leaves out numbers of a step")
    _function(chain, node, keras_activations.of_layer(node, chain.version), "")


def _rescaling(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    numbers = node.number("scale"), node.number("offset", 0.0)
    chain.add(node, Activation(("affine", *numbers)))


def _dropout(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    chain.add(node, Dropout(node.number("rate")))


def _nothing(chain: Chain, node: Node) -> None:
    """What is there in training alone."""


def _batch_norm(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    chain.last_axis(node)
    if node.flag("renorm") or node.config.get("virtual_batch_size") is not None:
        raise refusal(node, "has renorm or virtual_batch_size, expected neither")
    arrays = chain.arrays(node)
    mean, var = arrays[-2:]
    params = _affine(chain, node, arrays[:-2], mean)
    chain.add(
        node,
        made.part(
            BatchNorm,
            {**params, "running_mean": mean, "running_var": var},
            size=len(mean),
            eps=node.number("epsilon"),
            momentum=round(1 - node.number("momentum"), 12),
        ),
    )


def _layer_norm(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    chain.last_axis(node)
    if node.flag("rms_scaling"):
        raise refusal(node, "has rms_scaling, expected a mean and a variance")
    arrays, eps = chain.arrays(node), node.number("epsilon")
    if arrays:
        params = _affine(chain, node, arrays, arrays[0])
        chain.add(node, made.part(LayerNorm, params, size=len(arrays[0]), eps=eps))
    else:
        if chain.width is None:
            raise refusal(node, "does not tell how many numbers it reads")
        part = LayerNorm(chain.width, eps=eps, affine=False, dtype=chain.dtype or np.float32)
        chain.add(node, part)


def _affine(
    chain: Chain, node: Node, arrays: list[np.ndarray], like: np.ndarray
) -> dict[str, np.ndarray]:
    """Weight and bias; what Keras leaves out changes nothing."""
    size = chain.width_of(node, like, 0)
    if any(array.shape != (size,) for array in (*arrays, like)):
        raise refusal(node, f"has arrays of other shapes than ({size},)")
    left = list(arrays)
    scale = left.pop(0) if node.flag("scale", True) else np.ones_like(like)
    bias = left.pop(0) if node.flag("center", True) else np.zeros_like(like)
    chain.width = size
    return {"weight": scale, "bias": bias}


def _every_step(chain: Chain, node: Node) -> None:
    """TimeDistributed: what looks at a step alone does so anyhow."""
    (inner,) = node.inner
    chain.need_steps(node)
    kinds = {layer.kind for layer in (inner.inner if inner.kind in MODELS else (inner,))}
    other = sorted(kinds - _BY_STEP)
    if other:
        raise refusal(node, f"has a {other[0]} for each step, expected layers such as Dense")
    steps, chain.steps = chain.steps, False  # which the inner layer does not see
    add(chain, inner)
    chain.steps = steps


# Over time


def _conv(chain: Chain, node: Node) -> None:
    chain.need_steps(node)
    _check_layout(node)
    padding = node.word("padding", "valid")
    if padding not in ("valid", "same", "causal"):
        raise refusal(node, f"has padding {shown(padding)}, expected valid, same or causal")
    chain.mask.dropped(node)
    function = keras_activations.of_option(node, "activation", chain.version)
    kernel, *bias = chain.arrays(node)
    if kernel.ndim != 3 or any(b.shape != kernel.shape[2:] for b in bias):
        raise refusal(node, f"has a kernel of shape {kernel.shape}, which is none of a Conv1D")
    try:
        weight = made.ungrouped(kernel.transpose(2, 1, 0), node.size("groups", 1))
    except ValueError as error:
        raise refusal(node, str(error)) from error
    I = chain.width_of(node, weight, 1)
    options = {
        "stride": node.size("strides", 1),
        "dilation": node.size("dilation_rate", 1),
        "padding": padding,
    }
    params = {"weight": weight, "bias": bias[0] if bias else None}
    sizes = {"in_channels": I, "out_channels": kernel.shape[2], "kernel_size": kernel.shape[0]}
    part = made.part(Conv1d, params, **sizes, **options, bias=bool(bias), batch_first=True)
    chain.add(node, part)
    chain.width = kernel.shape[2]
    _function(chain, node, function)


def _check_layout(node: Node) -> None:
    layout = node.config.get("data_format") or "channels_last"
    if layout != "channels_last":
        raise refusal(node, f"has data_format {shown(layout)}, expected channels_last")


def _pool(chain: Chain, node: Node) -> None:
    chain.need_steps(node)
    _check_layout(node)
    chain.mask.dropped(node)
    padding = node.word("padding", "valid")
    if padding not in ("valid", "same"):
        raise refusal(node, f"has padding {shown(padding)}, expected valid or same")
    window = node.size("pool_size")
    stride = window if node.config.get("strides") is None else node.size("strides")
    kind = "max" if node.kind.startswith("Max") else "mean"
    chain.add(node, Pool(kind, window, stride=stride, padding=padding, batch_first=True))


def _global_pool(chain: Chain, node: Node) -> None:
    chain.need_steps(node)
    _check_layout(node)
    if node.flag("keepdims"):
        raise refusal(node, "has keepdims, expected rows without steps")
    kind = "max" if node.kind.startswith("GlobalMax") else "mean"
    if kind == "max":
        chain.mask.dropped(node, allowed=HELD)
    else:
        chain.mask.used(node, None)
    chain.add(node, Pool(kind, batch_first=True))
    chain.steps = False


def _masking(chain: Chain, node: Node) -> None:
    chain.need_steps(node)
    if chain.parts:
        first = next(iter(chain.parts))
        raise refusal(
            node,
            f"masks what layer {first!r} gives: here rows have lengths from the start, so a mask"
            " has to be made of the input",
        )
    chain.mask.made_of_rows(node, node.number("mask_value", 0.0))


def _flatten(chain: Chain, node: Node) -> None:
    chain.need_numbers(node)
    if chain.steps is not False:
        raise refusal(node, "makes one row of all steps, whose number then is fixed")


_MAKERS: Mapping[str, Callable[[Chain, Node], None]] = {
    "InputLayer": _input,
    "Embedding": _embedding,
    **dict.fromkeys((*RECURRENT, "RNN"), keras_recurrent.layer),
    "Bidirectional": keras_recurrent.both,
    "Dense": _dense,
    **dict.fromkeys((*keras_activations.LAYERS, "Activation"), _activation),
    "Rescaling": _rescaling,
    "Dropout": _dropout,
    **dict.fromkeys(
        ("SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Identity",
         "ActivityRegularization"), _nothing
    ),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "TimeDistributed": _every_step,
    "Conv1D": _conv,
    **dict.fromkeys(("MaxPooling1D", "AveragePooling1D"), _pool),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalAveragePooling1D"), _global_pool),
    "Masking": _masking,
    "Flatten": _flatten,
}  # fmt: skip
_BY_STEP = {
    "Dense", "Activation", *keras_activations.LAYERS, "Rescaling", "Dropout", "GaussianNoise",
    "GaussianDropout", "AlphaDropout", "Identity", "ActivityRegularization", "BatchNormalization",
    "LayerNormalization", "InputLayer",
}  # fmt: skip
_MERGES = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
_HINTS = {
    "Lambda": "it is code, which is never run from a file",
    **dict.fromkeys(_MERGES, "branches that come together are no chain"),
    **dict.fromkeys(("Attention", "MultiHeadAttention"), "it reads several inputs"),
    **dict.fromkeys(("Reshape", "Permute", "RepeatVector"), "axes keep their places here"),
    "StackedRNNCells": "it belongs into an RNN",
}
