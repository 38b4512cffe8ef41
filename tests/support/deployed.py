"""The files and arrays that the page on deploying speaks of."""

import os

import numpy as np

import rnncore.onnx
from rnncore.models.linear import Linear
from rnncore.models.sequential import Sequential

os.environ.setdefault("KERAS_BACKEND", "torch")


def write_files():
    """tagger.pt, detector.keras, detector.onnx, branches.onnx; gives the module of PyTorch."""
    import keras
    import onnx
    import torch

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(100, 16)
            self.rnn = torch.nn.LSTM(16, 24, num_layers=2, bidirectional=True)
            self.head = torch.nn.Linear(48, 10)

        def forward(self, words):
            return self.head(self.rnn(self.embed(words))[0])

    module = Tagger()
    torch.save(module.state_dict(), "tagger.pt")
    layers = keras.layers
    keras.Sequential([layers.Input((None, 5)), layers.GRU(8), layers.Dense(1)]).save(
        "detector.keras"
    )
    model = Sequential(rnncore.GRU(5, 8, batch_first=True, rng=0), Linear(8, 1, rng=0))
    file = rnncore.onnx.export(model, "detector.onnx")
    file.graph.node.append(onnx.helper.make_node("Sigmoid", ["y"], ["gate"]))
    file.graph.node.append(onnx.helper.make_node("Mul", ["y", "gate"], ["z"]))
    file.graph.output[0].name = "z"
    onnx.save(file, "branches.onnx")
    return module


def names_of(module):
    """What the pieces of code find."""
    rng = np.random.default_rng(0)
    return {
        "module": module,
        "words": rng.integers(0, 100, (7, 2)),
        "x": rng.standard_normal((2, 7, 5)).astype(np.float32),
        "blocks": rng.standard_normal((32, 160)).astype(np.float32),
    }
