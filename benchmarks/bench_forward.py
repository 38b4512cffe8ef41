"""A forward pass that keeps its trace: each cell, compiled beside NumPy."""

import numpy as np
from cells import CELLS
from sides import OTHER, SIDES, on_both_sides

from rnncore._bench.agreement import assert_agree
from rnncore._bench.workloads import WORKLOADS


@on_both_sides
def bench_forward(benchmark, side, cell, workload, dtype):
    benchmark.group = f"forward {cell} {workload} {dtype}"
    cell = CELLS[cell]
    inputs = cell.draw(WORKLOADS[workload], dtype, np.random.default_rng(0))

    found = benchmark(cell.forward, SIDES[side], inputs)
    expected = cell.forward(OTHER[side], inputs, training=False)
    names = cell.output_grads.values()
    found, expected = ({name: getattr(r, name) for name in names} for r in (found, expected))
    assert_agree(found, expected, dtype, side)
