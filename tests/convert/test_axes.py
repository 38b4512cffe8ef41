"""`Rearrange`: axes in another order, joined, new and left out; and the way back."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import rnncore as rc
from rnncore.convert.axes import Rearrange
from rnncore.models.ends import Ends

ORDERS = [
    ((2, 5, 3), (0, 2, 1), lambda x: x.transpose(0, 2, 1)),
    ((2, 5, 3), (2, (1, 0)), lambda x: x.transpose(2, 1, 0).reshape(3, 10)),
    ((2, 5), (None, 1, None, 0), lambda x: x.T[None, :, None]),
    ((2, 1, 3), ((0, 2),), lambda x: x.reshape(6)),
    ((1, 4), (1,), lambda x: x[0]),
]


@pytest.mark.parametrize(
    ("shape", "order", "expected"), ORDERS, ids=[str(order) for _, order, _ in ORDERS]
)
def test_there_and_back(shape, order, expected, rng, tmp_path):
    layer, x = Rearrange(len(shape), order), rng.standard_normal(shape)
    y, trace = layer.forward(x)
    assert_array_equal(y, expected(x))
    assert_array_equal(layer(x), y)
    assert not np.shares_memory(y, x)
    dy = rng.standard_normal(y.shape)
    dx = layer.backward(trace, dy).x
    assert dx.shape == x.shape
    assert_array_equal(layer(dx), dy)  # every number has gone back to its place
    assert_array_equal(
        layer(np.arange(x.size).reshape(shape)), expected(np.arange(x.size).reshape(shape))
    )
    layer.save(tmp_path / "a.npz")
    assert repr(rc.load(tmp_path / "a.npz")) == repr(layer)


def test_refused():
    for order in ((0, 0), (0, 3), ("a",), (), 3, (0, (1, True))):
        with pytest.raises(ValueError, match="order is"):
            Rearrange(3, order)
    layer = Rearrange(2, (1,))
    with pytest.raises(ValueError, match=r"x has shape \(3,\), expected 2 axes"):
        layer(np.zeros(3))
    with pytest.raises(ValueError, match="expected a size of 1 of axis 0"):
        layer(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="lengths is given"):
        layer(np.zeros((1, 3)), lengths=[1])
    with pytest.raises(TypeError, match="x is of type list"):
        layer([1])
    _, trace = layer.forward(np.zeros((1, 3)), training=False)
    with pytest.raises(ValueError, match="training=False"):
        layer.backward(trace, np.zeros(3))


def test_a_new_process_loads_what_converted_models_have(tmp_path):
    path = os.fspath(tmp_path / "m.npz")
    rc.Sequential(Rearrange(3, (0, 2, 1)), Ends(4, batch_first=True)).save(path)
    code = f"import rnncore as rc; print(len(rc.load({path!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "2\n", done.stderr
