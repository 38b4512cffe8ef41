"""A whole sequence through a frozen layer, every cell and workload."""

from rates import on_layers, report_rate

from rnncore._bench.library import RNNCore


@on_layers
def bench_inference(benchmark, problem):
    benchmark.group = f"inference {problem.cell} {problem.dtype}"
    y, _ = benchmark(RNNCore(problem).inference)
    report_rate(benchmark, problem.sizes.flops(problem.cell))
    assert y.shape == problem.dy.shape
