"""The compiled core and its NumPy twin, side by side on the same cells and workloads."""

import pytest
from cells import CELLS
from workloads import WORKLOADS

from rnncore import functional, reference

SIDES = {"reference": reference, "compiled": functional}
OTHER = {"reference": functional, "compiled": reference}

# The reference is timed where a pass takes it well under a second.
REFERENCE_FLOPS = 4e9

# Few rounds, for the largest workloads take a second.
TIMING = pytest.mark.benchmark(max_time=0.1, min_rounds=3, warmup=True, warmup_iterations=1)


def _worth_timing(side: str, cell: str, workload: str) -> bool:
    return side == "compiled" or WORKLOADS[workload].flops(CELLS[cell].kind) <= REFERENCE_FLOPS


def on_both_sides(function):
    """Parametrise a benchmark: side by side for every cell, workload and dtype."""
    cases = [
        (dtype, cell, workload, side)
        for dtype in ("float32", "float64")
        for cell in CELLS
        for workload in WORKLOADS
        for side in SIDES
        if _worth_timing(side, cell, workload)
    ]
    names = ("dtype", "cell", "workload", "side")
    ids = ["-".join(case) for case in cases]
    return TIMING(pytest.mark.parametrize(names, cases, ids=ids)(function))
