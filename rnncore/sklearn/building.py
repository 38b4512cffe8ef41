"""The model of an estimator: its layers, and what it does to numbers before and after them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnncore.models.activation import Activation
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.sequential import Sequential
from rnncore.sklearn.options import CELLS, sizes_of
from rnncore.sklearn.scaling import Scaling


def body_of(
    estimator: Any, features: int, outputs: int, rng: np.random.Generator, *, tokens: int | None
) -> Sequential:
    """The layers that are trained, by the options of an estimator.

    `features` are numbers at a step; or, with `tokens`, so many ids have vectors of this size.
    """
    dtype, sizes = np.dtype(estimator.dtype), sizes_of(estimator.hidden_layer_sizes)
    layers: dict[str, Any] = {}
    if tokens is not None:
        layers["embedding"] = Embedding(tokens, features, dtype=dtype, rng=rng)
    if estimator.conv is not None:
        padding = "causal" if estimator._is_causal else "same"
        layers["conv"] = Conv1d(
            features, sizes[0], estimator.conv, padding=padding, batch_first=True, dtype=dtype,
            rng=rng,
        )  # fmt: skip
        layers["relu"], features = Activation("relu"), sizes[0]
    for k, size in enumerate(sizes):
        layers[f"rnn{k}"] = CELLS[estimator.cell](
            features, size, estimator.layers, batch_first=True,
            bidirectional=estimator.bidirectional,
            dropout=estimator.dropout if estimator.layers > 1 else 0.0, dtype=dtype, rng=rng,
        )  # fmt: skip
        features = size * (2 if estimator.bidirectional else 1)
    if estimator._pools:
        layers["pool"] = Pool(estimator.pooling, batch_first=True)
    if estimator.dropout:
        layers["dropout"] = Dropout(estimator.dropout, rng=rng)
    layers["head"] = Linear(features, outputs, dtype=dtype, rng=rng)
    return Sequential(**layers, batch_first=True)


def whole_of(body: Sequential, scaling: Scaling | None, of_target: Scaling | None) -> Sequential:
    """The model that reads numbers as they come, and gives those that are wanted.

    All arrays but those that scale are the ones of `body`.
    """
    layers: dict[str, Any] = {} if scaling is None else dict(scaling.layers(body.dtype))
    layers |= {name: body[name] for name in body.names if name != "dropout"}
    if of_target is not None:
        layers["head"] = of_target.undone_in(body["head"])
    return Sequential(**layers, batch_first=True)
