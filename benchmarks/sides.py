"""The compiled core and its NumPy twin, side by side on the same cells and workloads."""

import pytest
from cells import CELLS
from rates import LARGE_FLOPS, TIMING

from rnncore import functional, reference
from rnncore._bench.workloads import WORKLOADS

SIDES = {"reference": reference, "compiled": functional}
OTHER = {"reference": functional, "compiled": reference}

# The reference is timed where a pass takes it some 10 ms.
REFERENCE_FLOPS = 1e9


def _flops(cell: str, workload: str) -> int:
    return WORKLOADS[workload].flops(CELLS[cell].kind.prefix)


def on_both_sides(function):
    """Parametrise a benchmark: side by side for every cell, workload and dtype.

    The variants of a cell share their products: on the larger workloads they are marked as large.
    """
    plain = {"rnn-tanh", "gru-after", "lstm"}
    cases = [
        pytest.param(
            dtype, cell, workload, side,
            id=f"{dtype}-{cell}-{workload}-{side}",
            marks=pytest.mark.large
            if _flops(cell, workload) > (LARGE_FLOPS if cell in plain else LARGE_FLOPS / 20)
            else (),
        )
        for dtype in ("float32", "float64")
        for cell in CELLS
        for workload in WORKLOADS
        for side in SIDES
        if side == "compiled" or _flops(cell, workload) <= REFERENCE_FLOPS
    ]  # fmt: skip
    return TIMING(pytest.mark.parametrize(("dtype", "cell", "workload", "side"), cases)(function))
