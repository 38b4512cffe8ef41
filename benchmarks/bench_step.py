"""One step of one row from Python: a call of a layer, of a frozen layer, and of a stream."""

import numpy as np
import pytest
from rates import DTYPES, TIMING, layer_of

from rnncore._bench.workloads import KINDS, Workload

STEPS = {
    "layer": lambda one, x: lambda: one.layer(x)[0][0],
    "frozen": lambda one, x: lambda: one.frozen(x)[0][0],
}


@TIMING
@pytest.mark.parametrize("units", [16, 64, 256])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("called", ["layer", "frozen", "stream"])
def bench_step(benchmark, called, cell, dtype, units):
    benchmark.group = f"step {cell} {dtype} {units}"
    one = layer_of(cell, Workload(1, 1, units, units), dtype)
    x = one.problem.x
    expected = one.layer(x)[0][0]
    if called == "stream":
        stream = one.frozen.stream()
        np.testing.assert_array_equal(stream(x[0]), expected)  # before its state goes on
        benchmark(stream, x[0])
    else:
        np.testing.assert_array_equal(benchmark(STEPS[called](one, x)), expected)
