"""Ctrl-C in a long pass: it ends in the middle, and nothing but its results is lost."""

import signal
import threading

import numpy as np
import pytest

import rnncore
from rnncore._core import core
from rnncore._engine import passes

T, B, I, H = 6000, 1, 8, 1024  # at every step weights from beyond the caches: a second or more


@pytest.fixture
def layer():
    return rnncore.GRU(I, H, rng=0)


@pytest.fixture(params=[1, 3], ids=lambda n: f"{n} threads")
def team(request):
    with rnncore.num_threads(request.param):
        core.set_thread_limit(request.param)
        yield


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((T, B, I), np.float32)


def interrupted(call, raised=KeyboardInterrupt):
    """Run what Ctrl-C comes into."""
    timer = threading.Timer(0.02, signal.raise_signal, [signal.SIGINT])

    def run():
        timer.start()
        call()
        timer.join()  # it came too late, if at all

    try:
        with pytest.raises(raised):
            run()
    finally:
        timer.cancel()


@pytest.mark.usefixtures("team")
def test_inference_ends_in_the_middle(layer, x):
    short, before = x[:50], layer(x[:50])[0]
    y = np.full((T, B, H), np.nan, np.float32)
    weights, ends = layer._plan.read(layer.params), (np.empty((1, B, H), "f4"),)
    run = passes.StackRun(layer._stack, weights, x, (None,), y, ends, None)
    interrupted(lambda: passes.infer(run))
    assert np.isnan(y[-1]).all()
    np.testing.assert_array_equal(layer(short)[0], before)


@pytest.mark.usefixtures("team")
def test_training_ends_in_the_middle(layer, x):
    x = x[: T // 2]
    kept = x.copy()
    params = {name: value.copy() for name, value in layer.params.items()}
    _, _, short = layer.forward(x[:50])
    dy = np.ones((50, B, H), np.float32)
    before = layer.backward(short, dy)
    _, _, trace = layer.forward(x)
    (kept_trace,) = trace.cells
    dx, zeros = passes.nothing_yet(kept_trace.x, None), kept_trace.cell.zeros()
    gradients = passes.Gradients(dx, [zeros])
    gradients.x[...] = np.nan
    given = passes.arriving(np.ones((T // 2, B, H), np.float32), (None,), None)
    weights = layer._plan.read(layer.params)[0]
    interrupted(lambda: passes.add_gradients(kept_trace, weights, given, gradients))
    assert np.isnan(gradients.x[0]).all()
    interrupted(lambda: [layer.forward(x) for _ in range(1000)])
    after = layer.backward(short, dy)
    np.testing.assert_array_equal(after.x, before.x)
    np.testing.assert_array_equal(x, kept)
    for name, value in params.items():
        np.testing.assert_array_equal(layer.params[name], value)
        np.testing.assert_array_equal(after.params[name], before.params[name])


def test_a_handler_may_raise_what_it_likes(layer, x):
    def handler(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGINT, handler)
    try:
        interrupted(lambda: [layer(x) for _ in range(1000)], TimeoutError)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_pass_of_another_thread_goes_on(layer, x):
    found = []
    thread = threading.Thread(target=lambda: found.append(layer(x)[0]))
    thread.start()
    interrupted(thread.join)
    thread.join()
    np.testing.assert_array_equal(found[0], layer(x)[0])


def test_a_stream_keeps_its_state_and_lets_go_of_the_arrays():
    layer = rnncore.LSTM(256, 256, 2, rng=0)
    x = np.random.default_rng(0).standard_normal((2, 20_000, 256), np.float32)
    with rnncore.num_threads(2):
        core.set_thread_limit(2)
        stream = layer.freeze().stream(x.shape[1])
        stream(x[0])
        before = stream.copy()
        second = x[1].copy()
        interrupted(lambda: stream(second))
        second.resize((1, 1))  # refused while somebody reads the array
        np.testing.assert_array_equal(stream(x[1]), before(x[1]))


# Zeros that nobody has written take no memory, nor does what an interrupted call has not come to.
def test_packing_ends_in_the_middle():
    units = 8192
    cell = core.KINDS["LSTM"], 0, None, 0.0
    shape = core.Shape(cell, units, units, units, 8)
    w = np.zeros((4 * units, units))
    packed = core.empty(shape.packed_size, 1)
    packed[-8:] = 1  # of the bias or the weights of h, which come last
    interrupted(lambda: core.pack(shape, (w, w, None, None, (), None), packed))
    assert packed[-8:].all()


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_packing_of_a_linear_layer_ends_in_the_middle(backward):
    units = 16384
    w, dw = np.zeros((2, units, units))
    x, y = np.zeros((1, units)), np.full((1, units), np.nan)
    calls = {
        False: lambda: core.linear_forward(x, w, None, y),
        True: lambda: core.linear_backward(x, w, x, y, dw, np.zeros(units)),
    }
    interrupted(calls[backward])
    assert np.isnan(y).all()


def test_the_loss_of_a_softmax_ends_in_the_middle():
    logits = np.zeros((20_000_000, 1), np.float32)
    gradient = np.zeros_like(logits)
    gradient[-1] = np.nan
    targets = np.zeros(len(logits), np.intp)
    interrupted(lambda: core.softmax_cross_entropy(logits, targets, gradient))
    assert np.isnan(gradient[-1])


def test_a_mean_squared_error_ends_in_the_middle():
    y = np.zeros(600_000_000, np.float32)
    gradient = np.zeros_like(y)
    gradient[-1] = np.nan
    interrupted(lambda: core.mse(y, y, gradient))
    assert np.isnan(gradient[-1])


def test_the_gradient_of_an_embedding_ends_in_the_middle():
    dy = np.zeros((200_000_000, 1), np.float32)
    dy[-1] = np.nan
    ids = np.zeros(len(dy), np.intp)
    gradient = np.zeros((1, 1), np.float32)
    interrupted(lambda: core.embedding_backward(ids, dy, gradient))
    assert not np.isnan(gradient).any()
