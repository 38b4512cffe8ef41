"""Named workloads: the sizes of one layer in one direction."""

import math
import re
from collections.abc import Collection
from typing import NamedTuple

from rnncore._cells.kind import CellKind
from rnncore._cells.table import CELLS

_SIZES = re.compile("x".join([r"([1-9][0-9]*)"] * 4))

KINDS = {kind.prefix: kind for kind in CELLS.values()}


class Workload(NamedTuple):
    """T steps, B batch rows, I inputs, H hidden units."""

    T: int
    B: int
    I: int
    H: int

    def flops(self, cell: str, passed: str = "inference") -> int:
        """Floating-point operations of the products in a pass forward, or of a training step.

        A backward pass takes twice as many as one forward: a product for the gradient of either
        factor.

        >>> Workload(1, 1, 64, 64).flops("lstm"), Workload(1, 1, 64, 64).flops("lstm", "training")
        (65536, 196608)
        """
        shapes = shapes_of(KINDS[cell], self.I, self.H).values()
        products = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
        forward = 2 * self.T * self.B * products
        return forward * (3 if passed == "training" else 1)


def shapes_of(kind: CellKind, I: int, H: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters, by the stems of their names."""
    return kind.shapes({**kind.defaults, "bias": True}, I, H)


# From one step of one sequence to batches whose weights exceed a core's caches.
WORKLOADS = {
    "step-64": Workload(1, 1, 64, 64),
    "control-16": Workload(1000, 1, 16, 16),
    "online-32": Workload(100, 1, 32, 32),
    "online-128": Workload(100, 1, 128, 128),
    "online-512": Workload(100, 1, 512, 512),
    "small-batch-64": Workload(50, 8, 64, 64),
    "batch-128": Workload(100, 16, 128, 128),
    "batch-256": Workload(100, 32, 256, 256),
    "batch-512": Workload(50, 64, 512, 512),
    "language-650": Workload(35, 20, 650, 650),  # the medium model of Zaremba et al. 2014
    "large-1024": Workload(25, 128, 1024, 1024),
}

# Chosen by others.
PUBLIC = {
    # The training set of DeepBench (baidu-research/DeepBench, code/kernels/rnn_problems.h), which
    # gives units, rows and steps; it has as many inputs as units.
    "deepbench-lstm-256x16": Workload(150, 16, 256, 256),
    "deepbench-lstm-256x32": Workload(150, 32, 256, 256),
    "deepbench-lstm-256x64": Workload(150, 64, 256, 256),
    "deepbench-lstm-512x16": Workload(25, 16, 512, 512),
    "deepbench-lstm-512x32": Workload(25, 32, 512, 512),
    "deepbench-gru-512x32": Workload(1, 32, 512, 512),
    # The daily shape of the RNN benchmark for PyTorch on CPUs: batch 64, 50 steps, 500 inputs, 500
    # units.
    "pytorch-500x64": Workload(50, 64, 500, 500),
}

# What `rnncore bench` measures unless it is told otherwise: one row, few rows, many rows.
SHORT = ("online-32", "online-128", "small-batch-64", "batch-128", "batch-256", "language-650")

# What it draws: time against hidden size, for a single row and for a batch.
SWEEP_STEPS, SWEEP_ROWS, SWEEP_SIZES = 50, (1, 16), (16, 32, 64, 128, 256, 512, 1024)


def sweep(rows: int) -> list[Workload]:
    """As many inputs as units, and more and more of both."""
    return [Workload(SWEEP_STEPS, rows, size, size) for size in SWEEP_SIZES]


def workloads_of(cell: str) -> dict[str, Workload]:
    """What `cell` is measured on: a public workload that names a cell is for that cell alone."""
    others = {f"-{name}-" for name in KINDS if name != cell}
    public = {name: w for name, w in PUBLIC.items() if not any(o in name for o in others)}
    return WORKLOADS | public


def workloads_named(names: Collection[str], cell: str) -> dict[str, Workload]:
    """Those of `cell` that are named, or sizes: ``100x1x50x50`` are T, B, I, H; all for "all".

    >>> workloads_named(["online-32", "50x32x100x100"], "lstm")["50x32x100x100"]
    Workload(T=50, B=32, I=100, H=100)

    Raises
    ------
    ValueError for what is neither.
    """
    known = workloads_of(cell)
    sizes = {name: Workload(*map(int, name.split("x"))) for name in names if _SIZES.fullmatch(name)}
    if unknown := [name for name in names if name not in (*known, *sizes, "all")]:
        shown = ", ".join(name or "''" for name in unknown)
        raise ValueError(
            f"no workload {shown} for {cell}; there are {', '.join(known)}, "
            "and sizes TxBxIxH, as 100x1x64x64"
        )
    chosen = {name: (known | sizes)[name] for name in names if name != "all"}
    return (known if "all" in names else {}) | chosen
