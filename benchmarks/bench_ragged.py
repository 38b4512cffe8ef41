"""Sizes that are no multiple of the vector width, each in turns with the next one that is.

A register that is not full is computed all the same: at best H = 17 takes the time of H = 32 where
a register holds 16. `extra_info` has the rate of the products that were asked for, padding not
counted, and how it stands to that of the full size.
"""

from statistics import median

import pytest
from rates import TIMING, layer_of, report_rate

from rnncore._bench.library import PASSES
from rnncore._bench.timing import interleave
from rnncore._bench.workloads import KINDS, Workload
from rnncore._core import core

SIZES = (15, 17, 31, 33, 50, 100, 650)
SECONDS = 0.05


def full(units: int, dtype: str) -> int:
    """The next multiple of the vector width."""
    lanes = core.REGISTER_BYTES // {"float32": 4, "float64": 8}[dtype]
    return -(-units // lanes) * lanes


@TIMING
@pytest.mark.parametrize("units", SIZES)
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("passed", PASSES)
@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.large)])
def bench_ragged(benchmark, dtype, cell, passed, rows, units):
    benchmark.group = f"ragged {passed} {cell} {dtype}, {rows} row{'s' if rows > 1 else ''}"
    steps = 50 if units < 500 else 5
    sizes = [Workload(steps, rows, H, H) for H in (units, full(units, dtype))]
    ragged, filled = (getattr(layer_of(cell, each, dtype), passed) for each in sizes)
    benchmark(ragged)
    report_rate(benchmark, sizes[0].flops(cell, passed))
    if benchmark.stats is not None:
        times = interleave({"ragged": ragged, "full": filled}, SECONDS)
        rates = [
            each.flops(cell, passed) / median(taken)
            for each, taken in zip(sizes, times.values(), strict=True)
        ]
        benchmark.extra_info[f"of the rate of H = {sizes[1].H}"] = round(rates[0] / rates[1], 3)
