"""Training with a limit on the memory of a trace: what computing it anew costs.

A pass forward is a third of the work of a training step, and is done twice: at most 4/3 of the
time. `extra_info` has that, measured in turns, and the bytes.
"""

from statistics import median

import numpy as np
import pytest
from rates import TIMING

import rnncore
from rnncore._bench.timing import interleave
from rnncore._bench.workloads import KINDS

STEPS, ROWS, UNITS = 4000, 8, 128
# Of what states and gates take, beside x, which is kept in any case.
SHARES = {"half": 1 / 2, "tenth": 1 / 10, "twentieth": 1 / 20}
SECONDS = 3.0


@TIMING
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("cell", KINDS)
def bench_memory_limit(benchmark, cell, share):
    benchmark.group = f"memory limit {cell}, {STEPS} steps"
    layer = getattr(rnncore, cell.upper())(UNITS, UNITS, rng=0)
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((STEPS, ROWS, UNITS), np.float32) for _ in range(2))
    *_, trace = layer.forward(x)
    limit = int(x.nbytes + SHARES[share] * (trace.nbytes - x.nbytes))

    def training(memory_limit=None):
        *_, trace = layer.forward(x, memory_limit=memory_limit)
        return layer.backward(trace, dy)

    expected, found = training(), benchmark(training, limit)
    for name, value in expected.params.items():  # the same bits
        np.testing.assert_array_equal(found.params[name], value, err_msg=name)
    if benchmark.stats is not None:
        calls = {"limited": lambda: training(limit), "whole": training}
        times = interleave(calls, SECONDS)
        ratio = median(times["limited"]) / median(times["whole"])
        benchmark.extra_info["times the time without a limit"] = round(ratio, 3)
        benchmark.extra_info["MB"] = round(limit / 1e6, 1)
        benchmark.extra_info["MB without a limit"] = round(trace.nbytes / 1e6, 1)
