"""What public calls of models and of trainings give, asserted for mypy as in `typed_calls`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import rnncore as rc
from rnncore import reference
from rnncore.look.gradient_flow import GradientFlow
from rnncore.models.part import HeadGrads, PartTrace

Array = NDArray[Any]
Floats = NDArray[np.floating]
Params = dict[str, Array]
Maybe = Floats | None


def parts_of_models(x: Array) -> None:
    linear = rc.Linear(3, 4, bias=False, dtype=np.float64, rng=0)
    assert_type(linear(x, lengths=[1, 2], batch_first=True), Array)
    y, trace = linear.forward(x, lengths=None, training=True)
    assert_type(trace, PartTrace)
    assert_type(linear.backward(trace, y), HeadGrads)
    assert_type(linear.lengths_after([1, 2]), NDArray[np.intp] | None)
    assert_type(linear.options, dict[str, Any])
    linear.load_params(linear.params)
    linear.save("linear.npz")
    embedding = rc.Embedding(5, 4)
    vectors, ids = embedding.forward(x)
    grads = embedding.backward(ids, vectors)
    assert_type(grads.x, Array | None)
    assert_type(grads.params, Params)
    assert_type(embedding.dtype, np.dtype[Any])
    assert_type(rc.Activation(("leaky_relu", 0.1)).function, str | tuple[str | float, ...])
    assert_type(rc.BatchNorm(4, momentum=0.01, dtype="float64").buffers, Params)
    norms = rc.LayerNorm(4, eps=1e-6, affine=False), rc.Dropout(0.5, rng=0)
    assert_type((norms[0].eps, norms[1].p), tuple[float, float])
    conv = rc.Conv1d(3, 4, 5, stride=2, padding=(1, 2), dilation=2, batch_first=True, rng=0)
    assert_type(conv(x, lengths=[1, 2]), Array)
    assert_type(conv.padding, str | tuple[int, int])
    assert_type(conv.forward(x), tuple[Array, PartTrace])
    assert_type(rc.Pool("max", 2, stride=1).window, int | None)
    assert_type(rc.Reverse(batch_first=True).batch_first, bool)


def whole_models(x: Array) -> None:
    model = rc.Sequential(rc.Embedding(5, 3), rnn=rc.LSTM(3, 4), head=rc.Linear(4, 2))
    assert_type(model.params, Params)
    assert_type(model.names, tuple[str, ...])
    y, states = model(x, lengths=[1, 2])
    assert_type(y, Array)
    assert_type(states, tuple[Any, ...])
    y, states, trace = model.forward(x, states, training=True)
    assert_type(model.backward(trace, y).params, dict[str, Array])
    model.load_params(model.params)
    model.save("model.npz")
    fast = model.freeze("w8a16")
    assert_type(fast.precision, str | None)
    assert_type(fast.nbytes, int)
    assert_type(fast.compare(x).largest, float)
    assert_type(fast(x)[0], Array)
    stream = fast.stream(batch_size=2)
    stream.reset(rows=[0])
    assert_type(stream.state, tuple[Any, ...])
    assert_type(rc.Residual(rc.Linear(3, 3)).output_size, int | None)
    assert_type(rc.Bidirectional(rc.GRU(3, 4, bidirectional=True), "sum").merge, str)


def models_made_elsewhere() -> None:
    assert_type(rc.from_keras("model.keras"), rc.Sequential)
    assert_type(rc.from_onnx("model.onnx"), rc.Sequential)
    assert_type(rc.from_safetensors("model.safetensors", rc.GRU(3, 4), "rnn."), rc.GRU)
    # What comes of these is a layer or a model: only the file, or the module, tells which.
    readers: list[Callable[..., object]] = [rc.from_torch, rc.load]
    assert_type(len(readers), int)


def rates() -> None:
    assert_type(rc.StepDecay(0.1, 5)(3), float)
    assert_type(rc.CosineDecay(0.1, 5)(3), float)
    assert_type(rc.OneCycle(0.1, 5)(3), float)
    assert_type(rc.WarmUp(rc.CosineDecay(0.1, 5), 2)(3), float)
    assert_type(rc.OnPlateau(0.1)(3.0), float)


def losses(x: Array, layer: rc.GRU) -> None:
    assert_type(rc.bce_with_logits(x, x, mask=x), tuple[float, Array])
    assert_type(rc.mae(x, x, lengths=[1, 2]), tuple[float, Array])
    assert_type(rc.huber(x, x, delta=2.0, weight=x), tuple[float, Array])
    assert_type(rc.softmax(x, axis=0), Array)
    assert_type(rc.sigmoid(x), Array)
    assert_type(rc.RMSprop(layer, 0.1, momentum=0.9).lr, float)
    assert_type(rc.AdamW(layer, weight_decay=0.1).weight_decay, float)
    rc.set_rng_state(layer, rc.rng_state(layer))


def twins_of_models(x: Floats) -> None:
    y, activated = reference.activation_forward(x, "relu")
    assert_type(reference.activation_backward(activated, y), Floats)
    y, normed = reference.layer_norm_forward(x, x, None, eps=1e-5)
    assert_type(reference.layer_norm_backward(normed, y), tuple[Floats, Maybe, Maybe])
    y, moved, batch = reference.batch_norm_forward(x, x, x, lengths=[1, 2], training=True)
    assert_type(moved, tuple[Floats, Floats])
    assert batch is not None
    assert_type(reference.batch_norm_backward(batch, y), tuple[Floats, Maybe, Maybe])
    y, seen = reference.conv1d_forward(x, x, padding="same")
    assert_type(reference.conv1d_backward(seen, y), tuple[Floats, Floats, Maybe])
    y, pooled = reference.pool_forward(x, "max", 2)
    assert_type(reference.pool_backward(pooled, y), Floats)
    y, mapped = reference.linear_forward(x, x, None)
    assert_type(reference.linear_backward(mapped, y), tuple[Floats, Floats, Maybe])
    y, looked = reference.embedding_forward(np.array([1]), x)
    assert_type(reference.embedding_backward(looked, y), Floats)
    y, merged = reference.merge_forward(x, "sum")
    assert_type(reference.merge_backward(merged, y), Floats)
    assert_type(reference.dropout_forward(x, x), Floats)
    assert_type(reference.reverse_forward(x, [1, 2]), Floats)


def whole_trainings(model: rc.Sequential, x: Array) -> None:
    history = rc.fit(model, (x, x), loss="mse", epochs=3, metrics=["mae"], validation=0.1)
    rc.fit(model, (x, x), loss="mse", weight_decay=None, comm=None, ordered=True)
    rc.parallel.all_reduce([{"w": x}, {"b": x}], None, ordered=False)
    assert_type(history.loss, Array)
    assert_type(history.best_epoch, int | None)
    assert_type(history.stopped, bool)
    assert_type(rc.predict(model, x), Array)
    assert_type(rc.predict(model, [x]), Array | list[Array])


def training(layer: rc.GRU, x: Array) -> None:
    assert_type(rc.mse(x, x), tuple[float, Array])
    assert_type(rc.softmax_cross_entropy(x, x), tuple[float, Array])
    y, _, trace = layer.forward(x)
    grads = layer.backward(trace, y).params
    assert_type(rc.clip_grad_norm(grads, 1.0), float)
    rc.clip_grad_value([grads], 1.0)
    for optimizer in (rc.SGD(layer, 0.1, momentum=0.9), rc.Adam([layer.params], betas=(0.9, 0.9))):
        optimizer.step(grads)
        assert_type(optimizer.lr, float)
        assert_type(optimizer.steps, int)
        assert_type(optimizer.state, Params)
        optimizer.load_state(optimizer.state)
    assert_type(rc.SGD(layer, 0.1).momentum, float)
    adam = rc.Adam(layer)
    assert_type(adam.betas, tuple[float, float])
    assert_type(adam.eps, float)
    assert_type(adam.weight_decay, float)


# Looking, keeping, and what runs here


def looking(layer: rc.LSTM, x: Array) -> None:
    assert_type(rc.gradcheck(layer, x, directions=1, rng=None), dict[str, float])
    flow = rc.gradient_flow(layer, x)
    assert_type(flow, GradientFlow)
    assert_type(flow.dh, Array)
    assert_type(flow.dc, Array | None)
    assert_type(flow.gate_mean["f"], Array)
    assert_type(flow.names, tuple[str, ...])
