"""Layers of PyTorch, run to compare a model with that was made of a state_dict.

A file of parameters holds no class. What its sizes say that it is, PyTorch has classes for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore.convert.recording_inputs import NotRecordedError, Run, inputs_of
from rnncore.layers import kinds
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.sequential import Sequential


def run_of(model: Sequential) -> Run:
    """PyTorch's layers with a model's parameters.

    Raises
    ------
    NotRecordedError without PyTorch, and for a layer that it has no class for.
    """
    try:
        import torch
    except ImportError as error:
        raise NotRecordedError("PyTorch is not installed") from error
    modules = [_module(torch, name, layer) for name, layer in zip(model.names, model, strict=True)]

    def call(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        with torch.no_grad():
            if lengths is None:
                found: np.ndarray = _through(torch, modules, torch.from_numpy(x)).numpy()
                return found
            return _by_rows(torch, modules, x, lengths, bool(model.batch_first))

    return Run(f"torch {torch.__version__}", inputs_of(model), call)


def _module(torch: Any, name: str, layer: Any) -> Any:
    """A module like a layer, with its parameters."""
    nn, module = torch.nn, None
    if isinstance(layer, kinds.RNN | kinds.GRU | kinds.LSTM):
        kind = getattr(nn, type(layer).__name__)
        shared = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
        options = {key: layer.options[key] for key in shared}
        if layer.options.get("proj_size"):
            options["proj_size"] = layer.options["proj_size"]
        module = kind(**options)
    elif isinstance(layer, Linear):
        module = nn.Linear(layer.in_features, layer.out_features, bias="bias" in layer.params)
    elif isinstance(layer, Embedding):
        module = nn.Embedding(layer.num_embeddings, layer.embedding_dim)
    elif isinstance(layer, LayerNorm):
        module = nn.LayerNorm(layer.size, eps=layer.eps, elementwise_affine=layer.affine)
    elif isinstance(layer, BatchNorm):
        module = nn.BatchNorm1d(layer.size, eps=layer.eps, affine=layer.affine)
    if module is None:
        raise NotRecordedError(f"of the layer {name!r}, {layer!r}, no module of PyTorch was made")
    arrays = {**layer.params, **layer.buffers} if hasattr(layer, "buffers") else layer.params
    state = {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}
    try:
        module.to(next(iter(state.values())).dtype).load_state_dict(
            state, strict=not isinstance(layer, BatchNorm)
        )
    except RuntimeError as error:
        raise NotRecordedError(f"of the layer {name!r} no module of PyTorch was made") from error
    return module.eval()


def _through(torch: Any, modules: list[Any], x: Any) -> Any:
    for module in modules:
        if isinstance(module, torch.nn.BatchNorm1d):
            x = module(x.reshape(-1, x.shape[-1])).reshape(x.shape)
        else:
            x = module(x)
            x = x[0] if isinstance(x, tuple) else x
    return x


def _by_rows(
    torch: Any, modules: list[Any], x: np.ndarray, lengths: np.ndarray, batch_first: bool
) -> np.ndarray:
    """Every row by itself, as long as it is, and zeros behind."""
    found: np.ndarray | None = None
    for b, length in enumerate(lengths):
        row = x[b : b + 1, :length] if batch_first else x[:length, b : b + 1]
        y = _through(torch, modules, torch.from_numpy(np.ascontiguousarray(row))).numpy()
        if found is None:
            found = np.zeros((*x.shape[:2], y.shape[-1]), y.dtype)
        if batch_first:
            found[b : b + 1, :length] = y
        else:
            found[:length, b : b + 1] = y
    assert found is not None
    return found
