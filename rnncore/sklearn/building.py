"""The model of an estimator: its layers, and what it does to numbers before and after them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore import _check
from rnncore.layers import GRU, LSTM, RNN
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.sequential import Sequential

CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
POOLING = ("last", "first", "mean", "max")
__all__ = ["CELLS", "POOLING", "body_of", "whole_of"]


def body_of(
    estimator: Any, features: int, outputs: int, rng: np.random.Generator, *, tokens: int | None
) -> Sequential:
    """The layers that are trained, by the options of an estimator.

    `features` are numbers at a step; or, with `tokens`, so many ids have vectors of this size.
    """
    dtype = np.dtype(estimator.dtype)
    cell = CELLS[_check.choice("cell", estimator.cell, list(CELLS))]
    sizes = estimator.hidden_layer_sizes
    sizes = (sizes,) if isinstance(sizes, int | np.integer) else tuple(sizes)
    layers: dict[str, Any] = {}
    if tokens is not None:
        layers["embedding"] = Embedding(tokens, features, dtype=dtype, rng=rng)
    if estimator.conv is not None:
        kernel = _check.size("conv", estimator.conv)
        layers["conv"] = Conv1d(
            features, sizes[0], kernel, padding="same", batch_first=True, dtype=dtype, rng=rng
        )
        layers["relu"], features = Activation("relu"), sizes[0]
    for k, size in enumerate(sizes):
        layers[f"rnn{k}"] = cell(
            features, size, _check.size("layers", estimator.layers), batch_first=True,
            bidirectional=_check.flag("bidirectional", estimator.bidirectional),
            dropout=estimator.dropout if estimator.layers > 1 else 0.0, dtype=dtype, rng=rng,
        )  # fmt: skip
        features = size * (2 if estimator.bidirectional else 1)
    if estimator._pools:
        pooling = _check.choice("pooling", estimator.pooling, POOLING)
        layers["pool"] = Pool(pooling, batch_first=True)
    if estimator.dropout:
        layers["dropout"] = Dropout(estimator.dropout, rng=rng)
    layers["head"] = Linear(features, outputs, dtype=dtype, rng=rng)
    return Sequential(**layers)


def whole_of(
    body: Sequential, mean: np.ndarray | None, scale: np.ndarray | None, target: Any
) -> Sequential:
    """The model that reads numbers as they come, and gives those that are wanted.

    `target` is (mean, scale) of the targets, or None: in that case the arrays are those of `body`.
    """
    layers: dict[str, Any] = {}
    if mean is not None and scale is not None:
        eps = float(np.finfo(np.float32).tiny)  # nothing beside the variance
        norm = BatchNorm(len(mean), eps=eps, affine=False, dtype=mean.dtype)
        norm.buffers["running_mean"][...] = mean
        norm.buffers["running_var"][...] = scale**2
        layers["scale"] = norm
    layers |= {name: body[name] for name in body.names if name != "dropout"}
    if target is not None:
        of_mean, of_scale = target
        head = Linear(body["head"].in_features, len(of_mean), dtype=body["head"].dtype, rng=0)
        own = body["head"].params
        head.params["weight"][...] = own["weight"] * of_scale[:, np.newaxis]
        head.params["bias"][...] = own["bias"] * of_scale + of_mean
        layers["head"] = head
    return Sequential(**layers, batch_first=True)
