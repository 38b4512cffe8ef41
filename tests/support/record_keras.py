"""Write data/keras_<version>.*: what old versions of Keras save, for machines without them.

Run it as ``python tests/support/record_keras.py`` where TensorFlow 2.12 to 2.15 is installed, once
for each; test_from_keras_files.py replays what is there. Beside each model lies an .npz with an
input that has masked steps, and the model's output.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf

keras, L = tf.keras, tf.keras.layers
FOLDER = Path(__file__).parents[1] / "data"
VERSION = "_".join(version("keras").split(".")[:2])
# 2.12 writes HDF5 under both suffixes.
SUFFIX = {"2_12": ".keras", "2_13": ".keras"}.get(VERSION, ".h5")


def model():
    hard = {"recurrent_activation": "hard_sigmoid", "return_sequences": True}
    layers = [
        L.Input((None, 3)),
        L.Masking(0.5),
        L.GRU(2, name="gru_1", reset_after=False, **hard),
        L.GRU(2, name="gru", **hard),
        L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="ave"),
        keras.Sequential([L.TimeDistributed(L.Dense(3, name="z")), L.BatchNormalization()]),
        L.LeakyReLU(),
        L.Bidirectional(L.SimpleRNN(2)),
        L.Dense(2, activation="hard_sigmoid"),
    ]
    return keras.Sequential(layers)


def of_cudnn(rng):
    """Layers of cuDNN, which run on a GPU alone; Keras loads their weights into others."""

    def layers(lstm, gru, **options):
        first = lstm(4, return_sequences=True, name="l")
        both = L.Bidirectional(gru(3, **options), name="b")
        return keras.Sequential([L.Input((None, 5)), first, both, L.Dense(2, name="d")])

    old = tf.compat.v1.keras.layers
    made = layers(old.CuDNNLSTM, old.CuDNNGRU)
    for weight in made.weights:
        weight.assign(rng.standard_normal(weight.shape) / 2)
    made.save(FOLDER / "keras_cudnn.h5")
    plain = layers(L.LSTM, L.GRU, reset_after=True)
    with tempfile.TemporaryDirectory() as folder:
        made.save_weights(f"{folder}/w.h5")
        plain.load_weights(f"{folder}/w.h5")
    x = rng.standard_normal((3, 6, 5)).astype(np.float32)
    np.savez_compressed(FOLDER / "keras_cudnn.npz", x=x, y=plain(x).numpy())


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    made = model()
    for weight in made.weights:
        drawn = rng.uniform(0.5, 2, weight.shape)
        weight.assign(drawn if "variance" in weight.name else drawn - 1.25)
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    x[0, :2], x[1, 3:], x[2, 2] = 0.5, 0.5, 0.5
    path = FOLDER / f"keras_{VERSION}{SUFFIX}"
    made.save(path)
    np.savez_compressed(path.with_suffix(".npz"), x=x, y=made(x).numpy())
    if VERSION == "2_15":
        of_cudnn(rng)
