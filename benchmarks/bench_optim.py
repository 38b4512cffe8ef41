"""What a training step does besides its layers, beside PyTorch: clipping, optimisers, losses.

The large case has a million parameters in a dozen arrays, two layers of 256 LSTM units with an
embedding and a head; the small one is what a call from Python costs: one layer of 64 units.
PyTorch is left out where it is not installed; the results are compared with its.
"""

import numpy as np
import pytest

import rnncore as rc

TIMING = pytest.mark.benchmark(max_time=0.3, min_rounds=5, warmup=True, warmup_iterations=3)
SIDES = ("rnncore", "torch")
MODELS = {"large": (1200, 64, 256, 2, 200), "small": (96, 32, 64, 1, 96)}
OPTIMIZERS = {
    "adam": ("Adam", {"lr": 1e-4}),
    "momentum": ("SGD", {"lr": 1e-4, "momentum": 0.9}),
    "sgd": ("SGD", {"lr": 1e-4}),
}
LOGITS = {"2048 x 96": (2048, 96), "2240 x 10000": (2240, 10_000)}

on_both = pytest.mark.parametrize("side", SIDES)
of_each_model = pytest.mark.parametrize("model", MODELS)


def on_torch(side):
    """PyTorch, held to one thread; the benchmark is skipped where it is not installed."""
    if side != "torch":
        return None
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    return torch


def made(model):
    """The layers, and a gradient of each parameter; drawn anew, the same every time."""
    ids, inputs, units, layers, outputs = MODELS[model]
    parts = [rc.Embedding(ids, inputs, rng=0), rc.LSTM(inputs, units, layers, rng=1)]
    parts.append(rc.Linear(units, outputs, rng=2))
    rng = np.random.default_rng(3)
    grads = [
        {key: rng.standard_normal(p.shape, np.float32) for key, p in part.params.items()}
        for part in parts
    ]
    return parts, grads


def as_torch(torch, parts, grads):
    """The parameters, each with its gradient."""
    parameters = []
    for part, of_part in zip(parts, grads, strict=True):
        for key, p in part.params.items():
            parameters.append(torch.nn.Parameter(torch.tensor(p)))
            parameters[-1].grad = torch.tensor(of_part[key])
    return parameters


@TIMING
@on_both
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@of_each_model
def bench_step(benchmark, model, optimizer, side):
    torch = on_torch(side)
    benchmark.group = f"{optimizer}, {model} model"
    name, options = OPTIMIZERS[optimizer]
    parts, grads = made(model)
    if torch:
        theirs = as_torch(torch, parts, grads)
        steps = getattr(torch.optim, name)(theirs, **options, fused=True)
        steps.step()
        getattr(rc, name)(parts, **options).step(grads)
        ours = [p for part in parts for p in part.params.values()]
        for p, parameter in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)
        benchmark(steps.step)
    else:
        benchmark(getattr(rc, name)(parts, **options).step, grads)


@TIMING
@on_both
@pytest.mark.parametrize("limit", ["scaling", "measuring"])
@of_each_model
def bench_clip_grad_norm(benchmark, model, limit, side):
    torch = on_torch(side)
    benchmark.group = f"clip_grad_norm, {limit}, {model} model"
    parts, grads = made(model)
    bound = [rc.clip_grad_norm(grads, np.inf)]

    def next_bound():  # a little less every time: there always is something to scale
        bound[0] *= 0.9999 if limit == "scaling" else 1
        return bound[0]

    if torch:
        theirs = as_torch(torch, parts, grads)
        norm = torch.nn.utils.clip_grad_norm_(theirs, np.inf)
        assert norm.item() == pytest.approx(bound[0], rel=1e-5)
        benchmark(lambda: torch.nn.utils.clip_grad_norm_(theirs, next_bound()))
    else:
        benchmark(lambda: rc.clip_grad_norm(grads, next_bound()))


@TIMING
@on_both
@of_each_model
def bench_clip_grad_value(benchmark, model, side):
    torch = on_torch(side)
    benchmark.group = f"clip_grad_value, {model} model"
    parts, grads = made(model)
    if torch:
        theirs = as_torch(torch, parts, grads)
        benchmark(lambda: torch.nn.utils.clip_grad_value_(theirs, 0.5))
    else:
        benchmark(lambda: rc.clip_grad_value(grads, 0.5))


@TIMING
@of_each_model
def bench_clip_and_step(benchmark, model):
    benchmark.group = f"clip_grad_norm and Adam, {model} model"
    parts, grads = made(model)
    optimizer = rc.Adam(parts)

    def both():
        rc.clip_grad_norm(grads, 1.0)
        optimizer.step(grads)

    benchmark(both)


def time_loss(benchmark, ours, theirs, given, target, rtol):
    """A loss and its gradient: of rnncore, or of torch, where `theirs` is not None, compared."""
    if theirs is None:
        benchmark(ours, given, target)
        return
    torch = pytest.importorskip("torch")
    loss, gradient = ours(given, target)
    x, wanted = torch.tensor(given, requires_grad=True), torch.tensor(target)

    def forward_backward():
        x.grad = None
        found = theirs(x, wanted)
        found.backward()
        return found

    assert benchmark(forward_backward).item() == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=rtol, atol=1e-9)


@TIMING
@on_both
@pytest.mark.parametrize("logits", LOGITS)
def bench_softmax_cross_entropy(benchmark, logits, side):
    torch = on_torch(side)
    benchmark.group = f"softmax_cross_entropy, {logits}"
    rng = np.random.default_rng(0)
    x = rng.standard_normal(LOGITS[logits], np.float32)
    targets = rng.integers(0, x.shape[1], len(x))
    theirs = torch.nn.functional.cross_entropy if torch else None
    time_loss(benchmark, rc.softmax_cross_entropy, theirs, x, targets, rtol=1e-4)


@TIMING
@on_both
def bench_mse(benchmark, side):
    torch = on_torch(side)
    benchmark.group = "mse, 2048 x 96"
    y, target = np.random.default_rng(0).standard_normal((2, 2048, 96), np.float32)
    theirs = torch.nn.functional.mse_loss if torch else None
    time_loss(benchmark, rc.mse, theirs, y, target, rtol=1e-5)


@TIMING
@on_both
def bench_embedding_backward(benchmark, side):
    torch = on_torch(side)
    benchmark.group = "gradient of an embedding, 4096 ids of 256, vectors of 64"
    rng = np.random.default_rng(0)
    ids, dy = rng.integers(0, 256, 4096), rng.standard_normal((4096, 64), np.float32)
    layer = rc.Embedding(256, 64, rng=0)
    _, trace = layer.forward(ids)
    if not torch:
        benchmark(layer.backward, trace, dy)
        return
    theirs = torch.nn.Embedding(256, 64)
    out, arriving = theirs(torch.tensor(ids)), torch.tensor(dy)

    def backward():
        theirs.weight.grad = None
        out.backward(arriving, retain_graph=True)

    benchmark(backward)
    expected = layer.backward(trace, dy).params["weight"]
    np.testing.assert_allclose(theirs.weight.grad.numpy(), expected, rtol=1e-4, atol=1e-4)
