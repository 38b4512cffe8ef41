"""Models for tests: one with every way that layers can be put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import rnncore as rc
from rnncore.models.activation import Activation
from rnncore.models.batch_norm import BatchNorm
from rnncore.models.bidirectional import Bidirectional
from rnncore.models.conv import Conv1d
from rnncore.models.dropout import Dropout
from rnncore.models.embedding import Embedding
from rnncore.models.layer_norm import LayerNorm
from rnncore.models.linear import Linear
from rnncore.models.pool import Pool
from rnncore.models.residual import Residual
from rnncore.models.reverse import Reverse
from rnncore.models.sequential import Sequential


class Case(NamedTuple):
    """A model, and whether it reads ids and goes step by step."""

    make: Callable[..., Sequential]  # of dtype and batch_first
    ids: bool = False
    streams: bool = True


def _tagger(dtype: Any, batch_first: bool) -> Sequential:
    own: Any = {"dtype": dtype, "rng": 0}
    return Sequential(
        embed=Embedding(11, 17, **own),
        rnn=rc.LSTM(17, 9, 2, bidirectional=True, batch_first=batch_first, **own),
        head=Linear(18, 5, **own),
    )


def _language(dtype: Any, batch_first: bool) -> Sequential:
    own: Any = {"dtype": dtype, "rng": 0}
    return Sequential(
        Embedding(11, 9, **own),
        rc.LSTM(9, 33, 2, batch_first=batch_first, **own),
        LayerNorm(33, dtype=dtype),
        Linear(33, 11, **own),
        Activation("log_softmax"),
    )


def _audio(dtype: Any, batch_first: bool) -> Sequential:
    own: Any = {"dtype": dtype, "rng": 0}
    return Sequential(
        conv=Conv1d(4, 6, 3, padding="causal", dilation=2, batch_first=batch_first, **own),
        norm=BatchNorm(6, dtype=dtype),
        bend=Activation("gelu"),
        inner=Residual(rc.GRU(6, 6, batch_first=batch_first, **own), Linear(6, 6, **own)),
        rnn=rc.RNN(6, 17, batch_first=batch_first, **own),
        drop=Dropout(0.0),
        pool=Pool("mean", batch_first=batch_first),
        head=Linear(17, 2, **own),
    )


def _merged(dtype: Any, batch_first: bool, merge: str = "mul") -> Sequential:
    own: Any = {"dtype": dtype, "rng": 0}
    both = rc.GRU(4, 7, bidirectional=True, batch_first=batch_first, **own)
    return Sequential(
        Reverse(batch_first=batch_first),
        Bidirectional(both, merge),
        Sequential(rc.LSTM(7, 3, batch_first=batch_first, **own), Activation("tanh")),
        Pool("max", batch_first=batch_first),
    )


MODELS = {
    "tagger": Case(_tagger, ids=True, streams=False),
    "language": Case(_language, ids=True),
    "audio": Case(_audio),
    **{
        f"merged-{merge}": Case(
            lambda dtype, batch_first, merge=merge: _merged(dtype, batch_first, merge),
            streams=False,
        )
        for merge in ("concat", "sum", "mul", "ave")
        if merge != "concat"
    },
}
INPUTS = 4  # of those that read no ids


def an_input(case: Case, T: int, B: int, dtype: Any, rng: np.random.Generator) -> np.ndarray:
    """(T, B) ids, or (T, B, INPUTS)."""
    if case.ids:
        return rng.integers(0, 11, (T, B))
    return rng.standard_normal((T, B, INPUTS)).astype(dtype)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
