"""What the core measures of the core that it runs on."""

import math

import numpy as np
import pytest

from rnncore._core import core

TYPES = ("float32", "float64")
SECONDS = 1e-3


@pytest.mark.parametrize("dtype", TYPES)
def test_the_peak_is_finite_and_positive(dtype):
    assert 0 < core.peak_gflops(dtype, SECONDS) < math.inf
    assert 0 < core.peak_gflops(dtype, 0.0) < math.inf  # at least one run


@pytest.mark.parametrize("dtype", TYPES)
def test_the_rate_of_reading_is_finite_and_positive(dtype):
    least = 12 * core.REGISTER_BYTES // np.dtype(dtype).itemsize
    rate = core.read_gb_per_s
    for count in (least, least + 1, 5 * least - 1, 100_000):
        assert 0 < rate(np.ones(count, dtype), SECONDS) < math.inf
    for count in (0, 1, least - 1):
        with pytest.raises(ValueError, match="sizes"):
            rate(np.ones(count, dtype), SECONDS)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("units", [1, 17, 64])
@pytest.mark.parametrize("flags", [(), ("reset_before",), ("coupled", "current"), ("relu",)])
@pytest.mark.parametrize("kind", core.KINDS)
def test_the_time_of_gates_is_finite_and_positive(kind, flags, units, dtype):
    cell = core.KINDS[kind], sum(core.FLAGS[flag] for flag in flags), None, 1e-5
    shape = core.Shape(cell, 3, units, units, np.dtype(dtype).itemsize)
    for seconds in core.gate_seconds(shape, SECONDS):
        assert 0 < seconds < math.inf


@pytest.mark.parametrize("dtype", TYPES)
def test_a_projection_is_no_part_of_the_gates(dtype):
    cell = core.KINDS["LSTM"], core.FLAGS["projection"], None, 0.0
    shape = core.Shape(cell, 3, 33, 5, np.dtype(dtype).itemsize)
    for seconds in core.gate_seconds(shape, SECONDS):
        assert 0 < seconds < math.inf
