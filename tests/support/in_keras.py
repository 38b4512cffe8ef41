"""Models of Keras for the tests, on its backend of PyTorch: no TensorFlow is needed."""

import os

import numpy as np
from numpy.testing import assert_allclose

from rnncore.convert.from_keras import from_keras

os.environ.setdefault("KERAS_BACKEND", "torch")


def randomised(model, rng):
    """Every weight drawn, so that no two are alike; of small variance, and that above 0."""
    for weight in model.weights:
        values = rng.standard_normal(weight.shape) / 2
        if "variance" in weight.path:
            values = rng.uniform(0.5, 2, weight.shape)
        weight.assign(values.astype(np.float32))
    return model


def outputs(model, x, **options):
    import keras

    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(x, **options)))


def three_ways(model, folder):
    """The same model from a .keras, from a legacy .h5, and from memory."""
    for suffix in (".keras", ".h5"):
        path = folder / f"model{suffix}"
        model.save(path)
        yield from_keras(path)
    yield from_keras(model)


def check(model, folder, *xs, rtol=1e-5):
    """What comes out of a model of Keras and of those made of it, for several x."""
    found = list(three_ways(model, folder))
    for x in xs:
        expected = outputs(model, x)
        for made in found:
            y, _ = made(x)
            assert y.dtype == expected.dtype
            assert_allclose(y, expected, rtol=rtol, atol=rtol * max(1, np.abs(expected).max()))
    return found[0]
