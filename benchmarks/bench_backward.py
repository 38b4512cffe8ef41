"""A backward pass, all gradients: each cell, compiled beside NumPy."""

import numpy as np
from cells import CELLS
from sides import OTHER, SIDES, on_both_sides

from rnncore._bench.agreement import assert_agree
from rnncore._bench.workloads import WORKLOADS


@on_both_sides
def bench_backward(benchmark, side, cell, workload, dtype):
    benchmark.group = f"backward {cell} {workload} {dtype}"
    cell, sizes, rng = CELLS[cell], WORKLOADS[workload], np.random.default_rng(0)
    inputs = cell.draw(sizes, dtype, rng)
    output_grads = cell.draw_output_grads(sizes, dtype, rng)

    trace = cell.forward(SIDES[side], inputs)
    found = benchmark(cell.backward, SIDES[side], trace, inputs, output_grads)
    trace = cell.forward(OTHER[side], inputs)
    expected = cell.backward(OTHER[side], trace, inputs, output_grads)
    assert_agree(found, expected, dtype, side)
