"""A training step: forward with its trace, and the gradients of x and of all parameters."""

from rates import on_layers, report_rate

from rnncore._bench.library import RNNCore


@on_layers
def bench_training(benchmark, problem):
    benchmark.group = f"training {problem.cell} {problem.dtype}"
    _, grads = benchmark(RNNCore(problem).training)
    report_rate(benchmark, problem.sizes.flops(problem.cell, "training"))
    assert grads.x.shape == problem.x.shape
