"""What one core reaches, measured, and the least time of a workload that follows from it."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnncore._bench.workloads import KINDS, Workload, shapes_of
from rnncore._core import core
from rnncore._engine.cells import cell_of
from rnncore._engine.memory import empty

SYSTEM = Path("/sys/devices/system/cpu")
USUAL = (32 << 10, 1 << 20, 32 << 20)  # bytes of the caches, where the system does not tell

# Seconds to measure for, 0.1 in all: the best of some hundred runs.
_PEAK, _READING, _GATES = 0.03, 0.015, 0.01
_GATE_REGISTERS = 16  # of units whose gates are timed: half of a first cache of 32 KB


@dataclass(frozen=True)
class Cache:
    """A cache, and the rate at which one core reads what lies in it."""

    size: int  # bytes
    gb_per_s: float


@dataclass(frozen=True)
class Machine:
    """What one core reaches with numbers of one dtype, and with the gates of one cell."""

    peak: float  # of multiply-adds, in 1e9 operations a second
    caches: tuple[Cache, ...]  # from the nearest to the farthest
    gates: float  # seconds of a unit at a step: all of the step but its products
    gates_back: float  # the same of the step backward

    def multiply(self, flops: float) -> float:
        """Seconds of so many operations."""
        return flops / (1e9 * self.peak)

    def read(self, size: int) -> float:
        """Seconds of so many bytes that are read again and again.

        Each cache gives what it holds and those before it do not; the last gives all that is left.

        >>> machine = Machine(1.0, (Cache(100, 4e-7), Cache(1000, 2e-7), Cache(9000, 1e-7)), 0, 0)
        >>> [round(machine.read(size), 9) for size in (80, 400, 10_000)]
        [0.2, 1.75, 94.75]
        """
        seconds, nearer = 0.0, 0
        for cache in self.caches:
            held = size if cache is self.caches[-1] else min(size, cache.size)
            seconds += (held - nearer) / (1e9 * cache.gb_per_s)
            nearer = held
        return seconds


def limit(machine: Machine, cell: str, dtype: str, sizes: Workload, passed: str) -> float:
    """The least seconds that a pass may take on such a core::

        recurrent = T max(2 B R / peak, read(s R))        what waits for the step before
        inputs = max(2 T B X / peak, read(s X))           what waits for nothing
        inference = recurrent + inputs + T B H gates
        training = inference + recurrent + 2 T B (R + 2 X) / peak + T B H gates_back

    R and X count the recurrent weights and those of the inputs, of s bytes each. All rows of a step
    are multiplied while weights are near: further tiles of rows find them in the first cache,
    which gives them faster than they are used, so a step reads them once. Backward, the product
    that gives dh waits for its step as the one forward does; dx and the gradients of both weights
    do not. Left out: latencies, the padding of H to whole registers, the packing of weights,
    what a trace stores, and copies.

    Examples
    --------
    Two rows of one step; weights of 4 bytes that are read at 4 of them in a second, two operations
    a second, gates of a second:

    >>> machine = Machine(2e-9, (Cache(1000, 16e-9),), gates=1.0, gates_back=2.0)
    >>> sizes = Workload(1, 2, 3, 1)
    >>> limit(machine, "rnn", "float32", sizes, "inference")  # max(2, 0.25) + max(6, 0.75) + 2
    10.0
    >>> limit(machine, "rnn", "float32", sizes, "training")  # 10 + 2 + 2 + 2 * 6 + 4
    30.0
    """
    T, B, _, H = sizes
    R, X = (_weights(cell, place, sizes) for place in ("w_hh", "w_ih"))
    s = np.dtype(dtype).itemsize
    recurrent = T * max(machine.multiply(2 * B * R), machine.read(s * R))
    inputs = max(machine.multiply(2 * T * B * X), machine.read(s * X))
    inference = recurrent + inputs + T * B * H * machine.gates
    if passed == "inference":
        return inference
    beside = machine.multiply(2 * T * B * (R + 2 * X))
    return inference + recurrent + beside + T * B * H * machine.gates_back


def _weights(cell: str, place: str, sizes: Workload) -> int:
    """How many weights of a cell are in products with h, "w_hh", or with x, "w_ih"."""
    kind = KINDS[cell]
    shapes = shapes_of(kind, sizes.I, sizes.H)
    stems = [weight.stem for weight in kind.weights if weight.place == place]
    return sum(math.prod(shapes[stem]) for stem in stems if stem in shapes)


# Measuring


def measured(cell: str, dtype: str) -> Machine:
    """What the core that this thread runs on reaches now."""
    caches = cache_sizes(_core_in_use())
    return Machine(
        core.peak_gflops(dtype, _PEAK),
        tuple(
            Cache(size, _read(in_cache, np.dtype(dtype)))
            for size, in_cache in zip(caches, _sizes_within(caches), strict=True)
        ),
        *_gates(cell, np.dtype(dtype)),
    )


def best_of(machines: Iterable[Machine]) -> Machine:
    """The best of all that was measured of one core."""
    found = list(machines)
    caches = zip(*(machine.caches for machine in found), strict=True)
    return Machine(
        max(machine.peak for machine in found),
        tuple(max(same, key=lambda cache: cache.gb_per_s) for same in caches),
        min(machine.gates for machine in found),
        min(machine.gates_back for machine in found),
    )


def cache_sizes(of: int, system: Path = SYSTEM) -> tuple[int, ...]:
    """Bytes of the first, second and third cache that a core reads data through.

    What the system does not tell is as it usually is.
    """
    sizes = dict(enumerate(USUAL, start=1))
    for folder in system.glob(f"cpu{of}/cache/index*"):
        try:
            kind, level, size = ((folder / name).read_text() for name in ("type", "level", "size"))
            if kind.strip() != "Instruction":
                sizes[int(level)] = int(size.strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return tuple(sizes[level] for level in range(1, len(USUAL) + 1))


def _core_in_use() -> int:
    """The last of the cores that this thread may use: where it is pinned there is no other."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _sizes_within(caches: tuple[int, ...]) -> tuple[int, int, int]:
    """Bytes that lie in one of the caches and for the most part in none before it.

    Of the third, which cores share, no more than it takes: others use it too.
    """
    first, second, third = caches
    return first // 2, second // 2, min(4 * second, third // 2)


def _read(size: int, dtype: np.dtype) -> float:
    a = empty(size // dtype.itemsize, dtype)
    a.fill(1)  # pages that nobody has written to are all the same one
    return core.read_gb_per_s(a, _READING)


def _gates(cell: str, dtype: np.dtype) -> tuple[float, float]:
    kind = KINDS[cell]
    H = _GATE_REGISTERS * core.REGISTER_BYTES // dtype.itemsize
    options = {**kind.defaults, "bias": True, "activations": None, "clip": None}
    return core.gate_seconds(cell_of(kind, options, 1, H, H, dtype).shape, _GATES)
