"""rnncore and NumPy's `matmul` in turns, both threaded: no waiting thread may slow the other.

Two pools whose threads spin while they wait keep the cores from each other: 10 times as long and
more. Compare "alternating" with the sum of the two alone.
"""

import numpy as np
import pytest
from rates import TIMING, layer_of

import rnncore
from rnncore._bench import one_core
from rnncore._bench.workloads import Workload

threadpoolctl = pytest.importorskip("threadpoolctl")

SIZES = Workload(20, 16, 256, 256)
MATRIX = 600


@TIMING
@pytest.mark.threads
@pytest.mark.parametrize("called", ["rnncore", "matmul", "alternating"])
@pytest.mark.parametrize("passed", ["inference", "training"])
def bench_alternating(benchmark, passed, called):
    benchmark.group = f"alternating with matmul, {passed}"
    a = np.random.default_rng(0).standard_normal((MATRIX, MATRIX), np.float32)
    ours = getattr(layer_of("lstm", SIZES), passed)
    calls = {"rnncore": [ours], "matmul": [lambda: a @ a]}
    calls["alternating"] = calls["rnncore"] + calls["matmul"]

    def run():
        for call in calls[called]:
            call()

    count = one_core.usable_cores()
    with rnncore.num_threads(count), threadpoolctl.threadpool_limits(count, user_api="blas"):
        benchmark(run)
