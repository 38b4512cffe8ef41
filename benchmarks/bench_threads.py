"""One thread and more: batches are shared by rows, a single row by its units."""

import os

import numpy as np
import pytest
from rates import TIMING, layer_of, report_rate

import rnncore
from rnncore._bench import one_core
from rnncore._bench.library import PASSES
from rnncore._bench.workloads import KINDS, Workload

WORKLOADS = {
    "1-row": Workload(100, 1, 256, 256),
    "16-rows": Workload(50, 16, 256, 256),
    "64-rows": Workload(25, 64, 256, 256),
}
COUNTS = sorted({1, 2, *(n for n in (4, 8, 16, 32, 64) if n <= (os.cpu_count() or 1))})


@TIMING
@pytest.mark.threads
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("passed", PASSES)
def bench_threads(benchmark, passed, cell, workload, count):
    if count > one_core.usable_cores():
        pytest.skip(f"{one_core.usable_cores()} cores for {count} threads")
    benchmark.group = f"threads {passed} {cell} {workload}"
    sizes = WORKLOADS[workload]
    one = layer_of(cell, sizes)
    with rnncore.num_threads(1):
        expected = one.arrays(getattr(one, passed)(), passed)
    with rnncore.num_threads(count):
        found = one.arrays(benchmark(getattr(one, passed)), passed)
    report_rate(benchmark, sizes.flops(cell, passed))
    for name, value in expected.items():  # the same bits, whatever the number of threads
        np.testing.assert_array_equal(found[name], value, err_msg=name)
