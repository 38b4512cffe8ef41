"""Models of ONNX in onnxruntime, and layers and models to be written as such."""

import numpy as np

import rnncore as rc
from rnncore import models  # noqa: F401
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


def replay(model, feeds):
    """What onnxruntime makes of a ModelProto."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def batch_norm(size, rng, **options):
    layer = BatchNorm(size, **options)
    layer.buffers["running_mean"][...] = rng.standard_normal(size)
    layer.buffers["running_var"][...] = rng.uniform(0.5, 2, size)
    if layer.params:
        layer.params["weight"][...] = rng.uniform(0.5, 2, size)
        layer.params["bias"][...] = rng.standard_normal(size)
    return layer


LAYERS = {
    "rnn": lambda **o: rc.RNN(3, 4, rng=0, **o),
    "rnn relu": lambda **o: rc.RNN(3, 4, nonlinearity="relu", rng=0, **o),
    "gru": lambda **o: rc.GRU(3, 4, rng=0, **o),
    "gru before": lambda **o: rc.GRU(3, 4, reset="before", rng=0, **o),
    "gru no bias": lambda **o: rc.GRU(3, 17, bias=False, rng=0, **o),
    "lstm": lambda **o: rc.LSTM(3, 33, rng=0, **o),
    "lstm coupled": lambda **o: rc.LSTM(3, 4, coupled=True, rng=0, **o),
    "lstm peephole": lambda **o: rc.LSTM(3, 4, peephole="current", rng=0, **o),
    "lstm clip": lambda **o: rc.LSTM(3, 4, clip=0.3, rng=0, **o),
    "lstm activations": lambda **o: rc.LSTM(
        3, 4, activations=[("hardsigmoid", 1 / 6, 0.5), "softsign", ("leakyrelu", 0.3)], rng=0, **o
    ),
    "gru activations": lambda **o: rc.GRU(
        3, 4, activations=["hardsigmoid", ("scaledtanh", 1.5, 0.7)], rng=0, **o
    ),
}

FUNCTIONS = [
    "identity", "sigmoid", "tanh", "relu", "softsign", "softplus", "exponential", "selu",
    "hard_swish", ("leaky_relu", 0.3), ("thresholded_relu", 0.1), ("elu", 0.7), ("celu", 0.7),
    "softmax", "log_softmax", ("affine", 2.0, 0.5), ("hard_sigmoid", 0.3, 0.4),
    ("scaled_tanh", 1.5, 0.7), "relu6", "hard_tanh", "silu", "mish", "log_sigmoid", "gelu",
    "gelu_tanh",
]  # fmt: skip


def models_of(rng, batch_first=False):
    """Whole models, by names; each reads features of 3, or ids below 9."""
    b = {"batch_first": batch_first}
    return {
        "stack": Sequential(
            rnn=rc.LSTM(3, 4, num_layers=2, bidirectional=True, rng=0, **b),
            head=Linear(8, 5, rng=1),
        ),
        "two": Sequential(rc.GRU(3, 4, rng=0, **b), rc.GRU(4, 4, rng=1, **b), Pool("last", **b)),
        "tagger": Sequential(
            Embedding(9, 6, rng=0),
            Dropout(0.3),
            rc.LSTM(6, 4, rng=1, **b),
            LayerNorm(4),
            Linear(4, 2, bias=False, rng=2),
            Activation("log_softmax"),
        ),
        "conv": Sequential(
            Conv1d(3, 5, 3, padding="causal", rng=0, **b),
            batch_norm(5, rng),
            Activation("relu"),
            Conv1d(5, 4, 4, padding="same", bias=False, rng=1, **b),
            Pool("max", 2, **b),
            rc.GRU(4, 3, rng=2, **b),
            Pool("mean", **b),
            Linear(3, 1, rng=3),
            Activation("sigmoid"),
        ),
        "merged": Sequential(
            Bidirectional(rc.GRU(3, 4, 2, bidirectional=True, rng=0, **b), "sum"),
            Bidirectional(rc.LSTM(4, 4, bidirectional=True, rng=1, **b), "ave"),
            Bidirectional(rc.RNN(4, 4, bidirectional=True, rng=2, **b), "mul"),
        ),
        "residual": Sequential(
            Linear(3, 4, rng=0),
            Residual(rc.RNN(4, 4, rng=1, **b), Linear(4, 4, rng=2)),
            Reverse(**b),
            rc.RNN(4, 4, rng=3, **b),
            Reverse(**b),
            Pool("max", **b),
        ),
        "valid": Sequential(
            Conv1d(3, 4, 2, stride=2, dilation=2, rng=0, **b),
            Conv1d(4, 4, 3, padding=(2, 1), rng=1, **b),
            Pool("mean", 2, stride=1, **b),
            Pool("mean", 4, stride=1, padding="same", **b),
            Pool("max", 2, padding="same", **b),
            rc.LSTM(4, 4, rng=2, **b),
            LayerNorm(4, affine=False),
            batch_norm(4, rng, affine=False),
            Pool("first", **b),
        ),
    }


def input_for(model, T, B, rng, dtype=np.float32):
    shape = (B, T) if model.batch_first else (T, B)
    first = model[0] if isinstance(model, Sequential) else model
    if isinstance(first, Embedding):
        return rng.integers(0, 9, shape)
    return rng.standard_normal((*shape, 3)).astype(dtype)
