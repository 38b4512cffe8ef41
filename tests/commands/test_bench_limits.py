"""The limits of `rnncore bench`: computed by hand from the figures of a machine, and measured."""

import dataclasses
import math

import pytest

from rnncore._bench import limits
from rnncore._bench.library import PASSES
from rnncore._bench.limits import Cache, Machine, best_of, cache_sizes, limit, measured
from rnncore._bench.workloads import KINDS, Workload

# One operation, or a byte of the first cache, takes a nanosecond.
CACHES = Cache(100, 1.0), Cache(1000, 0.5), Cache(10_000, 0.25)
MACHINE = Machine(1.0, CACHES, gates=3e-9, gates_back=5e-9)
SIZES = Workload(3, 2, 5, 4)
# R and X: weights in products with h and with x, of 5 inputs and 4 units
WEIGHTS = {
    "rnn": (16, 20),
    "gru": (48, 60),
    "lstm": (64, 80),
    "layer_norm_lstm": (64, 80),
    "indrnn": (0, 20),
}


def nanoseconds(*arguments):
    return 1e9 * limit(*arguments)


@pytest.mark.parametrize(("passed", "times"), [("inference", 1), ("training", 3)])
@pytest.mark.parametrize("cell", KINDS)
def test_where_multiply_adds_bound_all_products_run_at_the_peak(cell, passed, times):
    fast = dataclasses.replace(MACHINE, caches=(Cache(100, 1e9),) * 3)
    R, X = WEIGHTS[cell]
    gates = 3 * 2 * 4 * (3 + 5 * (passed == "training"))
    expected = times * 2 * 3 * 2 * (R + X) + gates
    assert nanoseconds(fast, cell, "float32", SIZES, passed) == pytest.approx(expected)
    flops = SIZES.flops(cell, passed)
    assert nanoseconds(fast, cell, "float32", SIZES, passed) == pytest.approx(flops + gates)


def test_where_reading_bounds_a_step_reads_its_weights_once_and_a_pass_those_of_x():
    fast = dataclasses.replace(MACHINE, peak=1e9)
    # 64 and 80 float32: 256 and 320 bytes, of which the first cache gives 100
    recurrent, inputs, gates = 3 * (100 + 156 / 0.5), 100 + 220 / 0.5, 24 * 3
    expected = recurrent + inputs + gates
    assert nanoseconds(fast, "lstm", "float32", SIZES, "inference") == pytest.approx(expected)
    expected += recurrent + 24 * 5
    assert nanoseconds(fast, "lstm", "float32", SIZES, "training") == pytest.approx(expected)
    # twice the bytes in float64, and 20 steps: weights of x are still read once
    recurrent, inputs, gates = 20 * (100 + 412 / 0.5), 100 + 540 / 0.5, 160 * 3
    expected, sizes = recurrent + inputs + gates, SIZES._replace(T=20)
    assert nanoseconds(fast, "lstm", "float64", sizes, "inference") == pytest.approx(expected)


def test_of_each_product_the_slower_of_both_counts():
    # One row: 2 * 64 operations at 4 a nanosecond, 256 bytes; x has 3 rows of 2 * 80 operations
    machine = dataclasses.replace(MACHINE, peak=0.5)
    sizes = SIZES._replace(B=1)
    recurrent, inputs, gates = 3 * (100 + 156 / 0.5), 3 * 2 * 80 / 0.5, 12 * 3
    expected = recurrent + inputs + gates
    assert nanoseconds(machine, "lstm", "float32", sizes, "inference") == pytest.approx(expected)
    # dh waits for reading as h does, the other three products do not
    expected += recurrent + 3 * 2 * (64 + 2 * 80) / 0.5 + 12 * 5
    assert nanoseconds(machine, "lstm", "float32", sizes, "training") == pytest.approx(expected)


def test_what_no_cache_holds_comes_from_the_last():
    assert 1e9 * MACHINE.read(100) == pytest.approx(100)
    assert 1e9 * MACHINE.read(1000) == pytest.approx(100 + 900 / 0.5)
    assert 1e9 * MACHINE.read(50_000) == pytest.approx(100 + 900 / 0.5 + 49_000 / 0.25)
    assert MACHINE.read(0) == 0


@pytest.mark.parametrize("passed", PASSES)
@pytest.mark.parametrize("name", ["peak", "caches", "gates", "gates_back"])
def test_a_faster_machine_has_no_higher_limit(name, passed):
    better = {
        "peak": 2.0,
        "caches": tuple(Cache(one.size, 2 * one.gb_per_s) for one in CACHES),
        "gates": 1e-9,
        "gates_back": 1e-9,
    }
    faster = dataclasses.replace(MACHINE, **{name: better[name]})
    for sizes in (SIZES, SIZES._replace(B=1)):
        before = limit(MACHINE, "lstm", "float32", sizes, passed)
        assert limit(faster, "lstm", "float32", sizes, passed) <= before


def test_the_best_of_several_measurements():
    other = Machine(0.5, (Cache(100, 2.0), Cache(1000, 0.25), CACHES[2]), 4e-9, 4e-9)
    expected = Machine(1.0, (Cache(100, 2.0), *CACHES[1:]), 3e-9, 4e-9)
    assert best_of([MACHINE, other]) == best_of([other, MACHINE]) == expected


# What the system tells of the caches


def tell(system, core, *caches):
    for k, (kind, level, size) in enumerate(caches):
        folder = system / f"cpu{core}" / "cache" / f"index{k}"
        folder.mkdir(parents=True)
        for name, value in (("type", kind), ("level", level), ("size", size)):
            (folder / name).write_text(f"{value}\n")


def test_the_caches_of_a_core_as_the_system_tells_them(tmp_path):
    tell(tmp_path, 0, ("Data", 1, "32K"), ("Unified", 2, "512K"), ("Unified", 3, "4096K"))
    tell(
        tmp_path, 7, ("Data", 1, "48K"), ("Instruction", 1, "64K"), ("Unified", 2, "2048K"),
        ("Unified", 3, "266240K"), ("Unified", 4, "999999K"),
    )  # fmt: skip
    assert cache_sizes(7, tmp_path) == (48 << 10, 2 << 20, 260 << 20)
    assert cache_sizes(0, tmp_path) == (32 << 10, 512 << 10, 4 << 20)


def test_what_the_system_does_not_tell_is_as_usual(tmp_path):
    assert cache_sizes(0, tmp_path / "none") == limits.USUAL
    tell(tmp_path, 0, ("Data", "one", "32K"), ("Unified", 2, "512K"), ("Unified", 3, "much"))
    (tmp_path / "cpu0" / "cache" / "index3").mkdir()
    assert cache_sizes(0, tmp_path) == (limits.USUAL[0], 512 << 10, limits.USUAL[2])


# Measuring


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", KINDS)
def test_what_is_measured_is_finite_and_above_nothing(cell, dtype):
    machine = measured(cell, dtype)
    assert len(machine.caches) == 3
    assert [one.size for one in machine.caches] == sorted(one.size for one in machine.caches)
    rates = [one.gb_per_s for one in machine.caches]
    for value in (machine.peak, machine.gates, machine.gates_back, *rates):
        assert math.isfinite(value)
        assert value > 0


def test_each_array_lies_in_one_cache_and_not_in_the_one_before(monkeypatch):
    sizes = []

    def rate(a, seconds):
        sizes.append(a.nbytes)
        assert a.min() == a.max() == 1  # all of it is written to
        assert a.ctypes.data % 64 == 0  # no register straddles two lines
        return 1.0

    monkeypatch.setattr(limits.core, "read_gb_per_s", lambda a, seconds: rate(a, seconds))
    for dtype in ("float32", "float64"):
        for caches in ((32 << 10, 1 << 20, 32 << 20), (48 << 10, 2 << 20, 6 << 20)):
            monkeypatch.setattr(limits, "cache_sizes", lambda _, caches=caches: caches)
            sizes.clear()
            measured("rnn", dtype)
            assert all(size <= cache / 2 for size, cache in zip(sizes, caches, strict=True))
            assert all(size > cache for size, cache in zip(sizes[1:], caches, strict=False))
