"""Named workloads: the sizes of one layer in one direction."""

from typing import NamedTuple

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


class Workload(NamedTuple):
    """T steps, B batch rows, I inputs, H hidden units."""

    T: int
    B: int
    I: int
    H: int

    def flops(self, cell: str) -> int:
        """Floating-point operations of the products in one pass forward.

        A backward pass takes twice as many: one product for the gradient of either factor.
        """
        return 2 * self.T * self.B * GATES[cell] * self.H * (self.I + self.H)


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

# Chosen by others.  DeepBench gives no number of inputs: it has as many as hidden units.
PUBLIC = {
    "deepbench-lstm-256x16": Workload(150, 16, 256, 256),
    "deepbench-lstm-256x32": Workload(150, 32, 256, 256),
    "deepbench-lstm-256x64": Workload(150, 64, 256, 256),
    "deepbench-lstm-512x16": Workload(25, 16, 512, 512),
    "deepbench-lstm-512x32": Workload(25, 32, 512, 512),
    "deepbench-gru-512x32": Workload(1, 32, 512, 512),
    "pytorch-500x64": Workload(50, 64, 500, 500),
}


def workloads_of(cell: str) -> dict[str, Workload]:
    """What `cell` is measured on: a public workload that names a cell is for that cell alone."""
    others = {f"-{name}-" for name in GATES if name != cell}
    public = {name: w for name, w in PUBLIC.items() if not any(o in name for o in others)}
    return WORKLOADS | public
