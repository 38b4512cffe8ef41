"""One row of a table: rnncore beside each library that is installed, on one workload."""

from dataclasses import asdict, dataclass
from statistics import geometric_mean, median
from typing import Any

from rnncore._bench.library import Library, RNNCore, check
from rnncore._bench.limits import Machine, limit, measured
from rnncore._bench.peers import PEERS, missing
from rnncore._bench.problem import Problem
from rnncore._bench.timing import interleave, ratio
from rnncore._bench.workloads import Workload


@dataclass(frozen=True)
class Row:
    """The figures of one workload."""

    sizes: Workload
    seconds: float  # rnncore's median
    ratios: dict[str, float]  # library -> how many times as long
    gflops: float  # of the products alone, in 1e9 operations a second
    limit: float  # the least seconds that follow from the machine
    machine: Machine  # what this core reached just before

    @property
    def of_peak(self) -> float:
        return self.gflops / self.machine.peak

    @property
    def of_limit(self) -> float:
        return self.limit / self.seconds

    @property
    def best(self) -> float | None:
        """The ratio of the fastest of the other libraries."""
        return min(self.ratios.values(), default=None)

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "sizes": self.sizes._asdict(),
            "peak": self.machine.peak,
            "of_peak": self.of_peak,
            "of_limit": self.of_limit,
        }


def peers_for(cell: str, passed: str, dtype: str) -> list[type[Library]]:
    """The installed libraries that have this cell and pass in this dtype."""
    able = [peer for peer in PEERS if passed in peer.passes and dtype in peer.dtypes]
    return [peer for peer in able if cell in peer.cells and not missing(peer)]


def compare(passed: str, cell: str, dtype: str, sizes: Workload, seconds: float) -> Row:
    """Check rnncore and its peers against each other on one workload, then time them in turns.

    Raises
    ------
    DisagreementError if a library computes something else: then there is nothing to compare.
    """
    problem = Problem(cell, dtype, sizes)
    kinds: list[type[Library]] = [RNNCore, *peers_for(cell, passed, dtype)]
    libraries = [kind(problem) for kind in kinds]
    check(libraries, passed)
    machine = measured(cell, dtype)
    times = interleave({one.name: getattr(one, passed) for one in libraries}, seconds)
    ours = times.pop(RNNCore.name)
    ratios = {name: ratio(theirs, ours) for name, theirs in times.items()}
    gflops = sizes.flops(cell, passed) / median(ours) / 1e9
    least = limit(machine, cell, dtype, sizes, passed)
    return Row(sizes, median(ours), ratios, gflops, least, machine)


def summary(rows: list[Row]) -> str:
    """How the best other library does: the geometric mean over the rows, and the worst for us.

    >>> machine = Machine(4.0, (), 0.0, 0.0)
    >>> row = Row(Workload(1, 1, 2, 3), 1.0, {"other": 2.0, "another": 8.0}, 1.0, 0.5, machine)
    >>> summary([row, row])
    'best other library: geometric mean 2.00, worst for rnncore 2.00 at 1,1,2,3'
    """
    compared = [(row.best, row) for row in rows if row.best is not None]
    if not compared:
        return "no other library that has this cell is installed"
    least, worst = min(compared, key=lambda pair: pair[0])
    mean = geometric_mean(best for best, _ in compared)
    sizes = ",".join(map(str, worst.sizes))
    return (
        f"best other library: geometric mean {mean:.2f}, worst for rnncore {least:.2f} at {sizes}"
    )
