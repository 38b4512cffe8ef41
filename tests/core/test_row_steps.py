"""The steps of a model's layers read and write within their arrays, or refuse."""

import numpy as np
import pytest

from rnncore import LSTM
from rnncore._core import core
from rnncore.layers.frozen import Stream


def array(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def read_only(a):
    a.flags.writeable = False
    return a


STEPS = {
    "norm": lambda: core.NormStep(4, 3, 1e-5, array(3), array(3)),
    "scale": lambda: core.ScaleStep(array(3), array(3)),
    "softmax": lambda: core.SoftmaxStep(4, 3, False),
    "function": lambda: core.FunctionStep(4, 3, 0, 0, 0),
    "linear": lambda: core.LinearStep(array(3, 3), array(3)),
}


@pytest.mark.parametrize("name", STEPS)
def test_rows_of_other_sizes_are_refused(name):
    step, x, y = STEPS[name](), array(5, 3), array(5, 3)
    step(x, y)
    for wrong in (
        lambda: step(array(5, 4), y),
        lambda: step(x, array(4, 3)),
        lambda: step(x, array(5, 2)),
        lambda: step(x.astype(np.float64), y),
        lambda: step(x, array(5, 3, dtype=np.float64)),
        lambda: step(array(5, 6)[:, ::2], y),
        lambda: step(x, array(5, 6)[:, ::2]),
        lambda: step(x, read_only(array(5, 3))),
        lambda: step(x[0], y),
        lambda: step(x.tolist(), y),
    ):
        with pytest.raises(ValueError, match="sizes"):
            wrong()


def test_what_steps_are_made_of_has_to_fit():
    stream = Stream(LSTM(3, 4).freeze(), 2)
    layer = core.LayerStep(stream)
    linear = core.LinearStep(array(3, 4), None)
    counts = np.zeros(2, np.intp)
    for wrong in (
        lambda: core.NormStep(4, 3, 1e-5, array(4), array(3)),
        lambda: core.NormStep(4, 3, 1e-5, array(3), None),
        lambda: core.NormStep(2, 3, 1e-5, None, None),
        lambda: core.NormStep(4, 0, 1e-5, None, None),
        lambda: core.NormStep(4, 3, 0, None, None).with_scales(array(5, 3), array(5, 3), array(4)),
        lambda: core.ScaleStep(array(3), array(4)),
        lambda: core.ScaleStep(array(3), array(3, dtype=np.float64)),
        lambda: core.SoftmaxStep(3, 3, False),
        lambda: core.FunctionStep(4, 3, 1000, 0, 0),
        lambda: core.FunctionStep(4, 3, -1, 0, 0),
        lambda: core.LinearStep(array(3), None),
        lambda: core.LinearStep(array(3, 4), array(4)),
        lambda: core.LinearStep(array(4, 3).T, None),
        lambda: core.LookupStep(array(3)),
        lambda: core.LookupStep(array(3, 4)[:, ::2]),
        lambda: core.WindowStep(array(2, 2, 3), 1),
        lambda: core.WindowStep(array(3, 2, 3, 4), 1),
        lambda: core.WindowStep(array(2, 2, 4, 4), 2),
        lambda: core.WindowStep(array(2, 2, 3, 4), 0),
        lambda: core.WindowStep(read_only(array(2, 2, 3, 4)), 1),
        lambda: core.PoolStep(array(2, 2), counts, 0, False),
        lambda: core.PoolStep(array(2, 3, 4), counts, 0, False),
        lambda: core.PoolStep(array(2, 2, 4), counts, 4, False),
        lambda: core.PoolStep(array(2, 2, 4), counts.astype(np.int32), 0, False),
        lambda: core.ChainStep([], 2, False),
        lambda: core.ChainStep([layer, core.SoftmaxStep(4, 3, False)], 2, False),
        lambda: core.ChainStep([layer, core.SoftmaxStep(8, 4, False)], 2, False),
        lambda: core.ChainStep([linear], 2, True),
        lambda: core.ModelStream(core.ChainStep([linear], 2, False), array(2, 4), print),
        lambda: core.LookupStep(array(0, 3)),
    ):
        with pytest.raises(ValueError, match="sizes"):
            wrong()


def test_ids_are_read_by_a_stream_alone():
    lookup, numbers = core.LookupStep(array(5, 1)), core.SoftmaxStep(4, 1, False)
    first = core.ChainStep([lookup, numbers], 2, False)
    for wrong in (
        lambda: lookup(array(2, 1), array(2, 1)),
        lambda: first(array(2, 1), array(2, 1)),
        lambda: core.ChainStep([numbers, lookup], 2, False),
        lambda: core.ChainStep([numbers, first], 2, False),
        lambda: core.ChainStep([lookup], 2, True),
    ):
        with pytest.raises(ValueError, match="sizes"):
            wrong()
    stream = core.ModelStream(first, array(2, 1), lambda name, value: value)
    assert stream(np.array([0, 4])).tolist() == [[1], [1]]
    for wrong in (np.array([0, 5]), np.array([-1, 0]), np.array([0]), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match="sizes"):
            stream(wrong)


def test_a_step_of_another_batch_is_refused():
    layer = core.LayerStep(Stream(LSTM(3, 4).freeze(), 2))
    windows = core.WindowStep(array(2, 2, 3, 4), 1)
    pool = core.PoolStep(array(2, 2, 4), np.zeros(2, np.intp), 0, False)
    with pytest.raises(ValueError, match="sizes"):
        layer(array(3, 3), array(3, 4))
    with pytest.raises(ValueError, match="sizes"):
        windows(array(3, 4), array(3, 12))
    with pytest.raises(ValueError, match="sizes"):
        pool(array(3, 4), array(3, 4))


def test_a_chain_stays_on_its_own_memory_whatever_its_phase():
    history = array(2, 1, 3, 2)
    step, y = core.WindowStep(history, 1), array(1, 6)
    for phase in (0, 1, 7, -3):
        step.phase = phase
        step(array(1, 2), y)
        assert (y == 1).all()
