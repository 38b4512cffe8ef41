"""Packing the weights: what `freeze` takes, and a layer that is called without being frozen."""

import numpy as np
import pytest
from rates import DTYPES, TIMING, layer_of

from rnncore._bench.workloads import KINDS, Workload


@TIMING
@pytest.mark.parametrize("units", [64, 256, 1024])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", KINDS)
def bench_freeze(benchmark, cell, dtype, units):
    benchmark.group = f"freeze {cell} {dtype}"
    one = layer_of(cell, Workload(1, 1, units, units), dtype)
    frozen = benchmark(one.layer.freeze)
    np.testing.assert_array_equal(frozen(one.problem.x)[0], one.layer(one.problem.x)[0])
    if benchmark.stats is not None:
        weights = sum(one.layer.params[f"weight_{of}_l0"].nbytes for of in ("ih", "hh"))
        benchmark.extra_info["GB/s"] = round(weights / benchmark.stats["median"] / 1e9, 2)
