"""What the benchmarks of rnncore alone share: how long they run, and what is reported of them."""

import pytest

from rnncore._bench.library import RNNCore
from rnncore._bench.problem import Problem
from rnncore._bench.workloads import KINDS, Workload, workloads_of

DTYPES = ("float32", "float64")
LARGE_FLOPS = 2e9  # of a pass: above, a case is marked as large

# Few rounds, for the largest workloads take a second.
TIMING = pytest.mark.benchmark(max_time=0.1, min_rounds=3, warmup=True, warmup_iterations=1)


def on_layers(function):
    """Parametrise a benchmark: every cell and dtype on every workload, the public ones too."""
    cases = [
        pytest.param(
            Problem(cell, dtype, sizes),
            id=f"{cell}-{dtype}-{name}",
            marks=pytest.mark.large if sizes.flops(cell) > LARGE_FLOPS else (),
        )
        for cell in KINDS
        for dtype in DTYPES
        for name, sizes in workloads_of(cell).items()
    ]
    return TIMING(pytest.mark.parametrize("problem", cases)(function))


def layer_of(cell: str, sizes: Workload, dtype: str = "float32") -> RNNCore:
    """A layer of rnncore, frozen too, and what it reads."""
    return RNNCore(Problem(cell, dtype, sizes))


def report_rate(benchmark, flops: int) -> None:
    """Note the rate of the products: `extra_info` of the saved results."""
    if benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["GFLOP/s"] = round(flops / benchmark.stats["median"] / 1e9, 2)
