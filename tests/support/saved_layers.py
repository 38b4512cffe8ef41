"""Layers to save, and how their files are looked at."""

import re

import numpy as np
import problems
import pytest

from rnncore.layers import GRU, LSTM, RNN, LayerNormLSTM

LAYERS = [
    RNN(3, 4, nonlinearity="relu", rng=0),
    GRU(3, 4, 2, reset="before", bias=False, dtype=np.float64, rng=0),
    GRU(3, 4, batch_first=True, rng=0),
    LSTM(1, 1, rng=0),
    LSTM(3, 4, 2, bidirectional=True, peephole="current", coupled=True, rng=0),
    LSTM(3, 4, 2, proj_size=2, dropout=0.1, recurrent_dropout=0.2, zoneout=0.3, rng=0),
    RNN(3, 4, activations=[("ScaledTanh", 1.7, 0.7)], clip=2.5, rng=0),
    GRU(3, 4, activations=("HardSigmoid", ["LeakyRelu", 0.1]), rng=0),
    LSTM(3, 4, activations=("sigmoid", "tanh", ("Affine", 1, 0.5)), clip=3, rng=0),
    GRU(3, 4, 2, bias_init=("chrono", 20), bidirectional=True, rng=0),
    *[kind(3, 4, 2, rng=0) for kind in problems.LAYERS],
    LayerNormLSTM(3, 4, eps=1e-3, bias=False, dtype=np.float64, rng=0),
]


def assert_same_arrays(got, want):
    assert sorted(got) == sorted(want)  # .safetensors has an order of its own
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, strict=True)


def refused(path, reason):
    """A ValueError that begins with the path and goes on with the reason."""
    return pytest.raises(ValueError, match=f"^{re.escape(str(path))} {reason}")
